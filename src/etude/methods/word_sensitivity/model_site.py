"""Places in a transformer as feature maps: input embeddings (n, d) -> what a module gives out.

A forward hook records the site (a pre-hook on the output projection for a single head). The pass stops at
the deepest site asked for. In a causal model the rows before i cannot change, so their keys and values are
computed once and shared by every replacement; only rows from i on run again. Whether a model is causal is
tried, not believed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.word_sensitivity.perturbation import Perturbation, generator, on_sphere
from etude.methods.word_sensitivity.site_names import (
    FINAL,
    base_model,
    head_count,
    output_projection,
    resolve_sites,
    site_module,
)
from etude.models.kv_cache import fork, has_sliding_window, new_cache

Output: TypeAlias = Literal["frobenius", "last_token", "mean"]
"""What of a site counts: all rows, the last one, or their mean."""


class _Reached(Exception):
    """The deepest site has been recorded."""


class ModelProbe:
    """Several sites of one model, recorded in the same pass.

    Args:
        model: A transformers model, in evaluation mode.
        sites: Resolved paths (`resolve_sites`).
        output: What of each site counts.
        head: Only this attention head, before the output projection.
    """

    def __init__(
        self, model: Any, sites: Sequence[str], *, output: Output = "frobenius", head: int | None = None
    ) -> None:
        self.model, self.sites, self.output, self.head = model, list(sites), output, head
        self.base = base_model(model)
        inside = {id(module) for module in self.base.modules()}
        hooked = [self._hooked(site) for site in self.sites]
        self.entry = self.base if all(id(module) in inside for module in hooked) else model
        if head is not None and not 0 <= head < head_count(model):
            raise EtudeError(f"head {head}", f"This model's heads go from 0 to {head_count(model) - 1}.")
        self._causal: bool | None = None
        self._last: str | None = None  # the site that is reached last

    @property
    def causal(self) -> bool:
        """Whether a row leaves those before it as they are."""
        if self._causal is None:
            width = self.model.get_input_embeddings().weight.shape[1]
            x = torch.randn(2, 4, width, generator=generator(0, width))
            x[1, :3] = x[0, :3]
            first = self.model.get_input_embeddings().weight.detach()
            states = self.record((x * float(first.std())).to(first), stop=False)
            self._causal = all(torch.allclose(s[0, :3], s[1, :3], atol=1e-5) for s in states)
        return self._causal

    @property
    def can_share(self) -> bool:
        """Whether the prefix's keys and values can be kept."""
        config = self.model.config
        if not self.causal or has_sliding_window(config):
            return False
        try:
            new_cache(config)
        except EtudeError:
            return False
        return True

    def record(self, embeddings: Tensor, *, cache: Any = None, stop: bool = True) -> list[Tensor]:
        """What each site gives out, (batch, rows, width) each, for input embeddings (batch, rows, d).

        Args:
            embeddings: The rows to run.
            cache: Keys and values of the rows before them; the new rows' are added.
            stop: End the pass at the deepest site.
        """
        seen: dict[str, Tensor] = {}

        def keep(site: str) -> Callable[[Any], None]:
            def note(value: Any) -> None:
                seen[site] = self._rows(value, site)
                if stop and site == self._last:
                    raise _Reached

            return note

        arguments = {"inputs_embeds": embeddings, "use_cache": cache is not None}
        if cache is not None:
            arguments["past_key_values"] = cache
        with self._hooks(keep):
            try:
                self.entry(**arguments)
            except _Reached:
                pass
            else:
                self._last = list(seen)[-1] if seen else None
        missing = [site for site in self.sites if site not in seen]
        if missing:
            raise EtudeError(f"{missing[0]}: not reached by a forward pass", "Name a module that runs.")
        return [seen[site] for site in self.sites]

    def perturbed(self, x: Tensor, position: int) -> ProbePerturbation:
        """All sites around one text's row i."""
        return ProbePerturbation(self, x, position)

    def reduce(self, rows: Tensor, total: int) -> Tensor:
        """From rows (batch, rows, width) of a text of `total` tokens to what counts, in float64.

        For the mean the rows that are absent are rows that do not change: they cancel in differences.
        """
        rows = rows.double()
        if self.output == "last_token":
            return rows[:, -1:]
        return rows.sum(1, keepdim=True) / total if self.output == "mean" else rows

    def _hooked(self, site: str) -> nn.Module:
        return site_module(self.model, site) if self.head is None else output_projection(self.model, site)

    @contextmanager
    def _hooks(self, keep: Callable[[str], Callable[[Any], None]]) -> Any:
        handles = []
        for site in self.sites:
            note = keep(site)
            if self.head is None:
                handles.append(self._hooked(site).register_forward_hook(lambda m, i, o, note=note: note(o)))
            else:
                handles.append(self._hooked(site).register_forward_pre_hook(lambda m, i, note=note: note(i)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _rows(self, value: Any, site: str) -> Tensor:
        tensor = hidden_states(value, site)
        if self.head is None:
            return tensor
        width, odd = divmod(tensor.shape[-1], head_count(self.model))
        if odd:
            raise EtudeError(
                f"{site}: {tensor.shape[-1]} values do not divide into {head_count(self.model)} heads",
                "Ask for the whole site.",
            )
        return tensor[..., self.head * width : (self.head + 1) * width]


class ProbePerturbation:
    """Every site of a probe around one text's row.

    Args:
        probe: The sites.
        x: Input embeddings, (n, d).
        position: i.
    """

    def __init__(self, probe: ModelProbe, x: Tensor, position: int) -> None:
        self.probe, self.position, self.total = probe, position, len(x)
        weight = probe.model.get_input_embeddings().weight
        self.x = x.to(weight)
        self.row = self.x[position]
        self.cache: Any = None
        self.begin = 0
        with torch.no_grad():
            whole = probe.record(self.x[None])
            if position > 0 and probe.can_share:
                self.cache = new_cache(probe.model.config)
                probe.record(self.x[None, :position], cache=self.cache)
                self.begin = position
            self.base = [probe.reduce(s, self.total) for s in self.run(self.x[None, self.begin :])]
        self.norms = [float(probe.reduce(s, self.total).norm()) for s in whole]

    def run(self, rows: Tensor) -> list[Tensor]:
        """The sites' rows from the first that can change on, for rows (batch, n - begin, d)."""
        cache = None
        if self.cache is not None:
            same = torch.zeros(len(rows), dtype=torch.long, device=rows.device)
            cache = fork(self.cache, same, room=rows.shape[1])
        return self.probe.record(rows, cache=cache)

    def squared_distances(self, deltas: Tensor) -> Tensor:
        """(B, d) to (B, sites), in float64; differentiable."""
        rows = self.x[self.begin :].expand(len(deltas), -1, -1)
        unit = torch.zeros(rows.shape[1], 1, dtype=rows.dtype, device=rows.device)
        unit[self.position - self.begin] = 1.0
        moved = self.run(rows + unit * deltas.to(rows)[:, None])
        differences = [
            self.probe.reduce(new, self.total) - old for new, old in zip(moved, self.base, strict=True)
        ]
        return torch.stack([difference.flatten(1).square().sum(1) for difference in differences], dim=1)


class SitePerturbation(Perturbation):
    """One site of a probe around one text's row.

    Args:
        all_sites: The probe around the row.
        index: Which of its sites.
    """

    def __init__(self, all_sites: ProbePerturbation, index: int) -> None:
        self.all_sites, self.index = all_sites, index
        self.row, self.norm = all_sites.row, all_sites.norms[index]

    def squared_distances(self, deltas: Tensor) -> Tensor:
        """See `Perturbation`."""
        return self.all_sites.squared_distances(deltas)[:, self.index]

    def starts(self, count: int, radius: float, random: torch.Generator) -> Tensor:
        """Directions of real tokens and random ones, half and half, the best of four times as many."""
        table = self.all_sites.probe.model.get_input_embeddings().weight.detach()
        drawn = torch.randint(len(table), (2 * count,), generator=random).to(table.device)
        toward = table[drawn] - self.row
        lengths = toward.norm(dim=1, keepdim=True).clamp(min=1e-30)
        pool = torch.cat([toward * (radius / lengths), on_sphere(2 * count, self.row, radius, random)])
        with torch.no_grad():
            values = torch.cat([self.squared_distances(part) for part in torch.split(pool, 16)])
        return pool[values.argsort(descending=True)[:count]]


class ModelSite:
    """One place of a model as a feature map.

    Args:
        model: A transformers model, in evaluation mode.
        path: A module's name (`layers.5.self_attn`, `layers.5.mlp`, `layers.5`), or `final`.
        output: `frobenius` (all rows), `last_token` or `mean`.
        head: Only this attention head, before the output projection.

    Raises:
        EtudeError: No such site, or a head of something that has none.
    """

    def __init__(
        self, model: Any, path: str = FINAL, output: Output = "frobenius", head: int | None = None
    ) -> None:
        sites = resolve_sites(model, path)
        if len(sites) > 1:
            raise EtudeError(
                f"{path} names {len(sites)} sites", "Name one, or use etude word-sensitivity measure."
            )
        self.site = sites[0]
        self.probe = ModelProbe(model, sites, output=output, head=head)

    def __call__(self, x: Tensor) -> Tensor:
        """What the site gives out for input embeddings (n, d)."""
        return self.probe.reduce(self.probe.record(x[None])[0], len(x))[0]

    def perturbed(self, x: Tensor, position: int) -> SitePerturbation:
        """See `FeatureMap`."""
        return SitePerturbation(self.probe.perturbed(x, position), 0)

    def describe(self) -> dict[str, Any]:
        """See `FeatureMap`."""
        return {"map": "model", "site": self.site, "head": self.probe.head}


def hidden_states(value: Any, site: str) -> Tensor:
    """The hidden states (batch, tokens, width) among what a module takes or gives.

    Raises:
        EtudeError: There are none.
    """
    if isinstance(value, Tensor):
        found: Tensor | None = value
    else:
        states = getattr(value, "last_hidden_state", None)
        parts = value if isinstance(value, tuple | list) else ()
        found = states if states is not None else next((v for v in parts if isinstance(v, Tensor)), None)
    if found is None or found.ndim != 3:
        shape = type(value).__name__ if found is None else tuple(found.shape)
        raise EtudeError(
            f"{site}: gives out {shape}, not hidden states (batch, tokens, width)",
            "Name an attention module, an mlp, a layer, or final.",
        )
    return found
