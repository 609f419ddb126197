"""Names of places in a model: `layers.5.self_attn`, `layers.*.mlp`, `layers.5`, `final`.

A name is a module's path from the model, or from its base model, or its end; `*` stands for one part of a
path. `final` is what the base model gives out: the last hidden state, after the last norm.
"""

from __future__ import annotations

import difflib
import re
from typing import Any

from torch import nn

from etude.errors import EtudeError

FINAL = "final"
_OUTPUT_PROJECTIONS = ("o_proj", "out_proj", "c_proj", "output.dense", "dense", "wo")


def resolve_sites(model: nn.Module, patterns: str) -> list[str]:
    """Module paths that a comma-separated list of names stands for, in the model's order, `final` last.

    Raises:
        EtudeError: A name that fits nothing; the hint lists the nearest modules.
    """
    modules = [name for name, _ in model.named_modules() if name]
    found: dict[str, None] = {}
    for pattern in (piece.strip() for piece in patterns.split(",") if piece.strip()):
        if pattern == FINAL:
            found[FINAL] = None
            continue
        matches = _matching(pattern, modules)
        if not matches:
            raise _unknown(pattern, modules)
        found.update(dict.fromkeys(matches))
    if not found:
        raise EtudeError("no site", "Name one or more, e.g. layers.*.self_attn,final.")
    order = {name: index for index, name in enumerate([*modules, FINAL])}
    return sorted(found, key=order.__getitem__)


def base_model(model: nn.Module) -> nn.Module:
    """The model without its head."""
    found = getattr(model, getattr(model, "base_model_prefix", "") or "-", model)
    return found if isinstance(found, nn.Module) else model


def site_module(model: nn.Module, site: str) -> nn.Module:
    """The module of a resolved site."""
    return base_model(model) if site == FINAL else model.get_submodule(site)


def output_projection(model: Any, site: str) -> nn.Module:
    """The linear map after the heads are joined, whose input holds them one beside the other.

    Raises:
        EtudeError: The site is no attention module with such a map.
    """
    module = site_module(model, site)
    named = dict(module.named_modules())
    for suffix in _OUTPUT_PROJECTIONS:
        for name, child in named.items():
            if name == suffix or name.endswith(f".{suffix}"):
                found: nn.Module = child
                return found
    raise EtudeError(
        f"{site}: no output projection, so its heads cannot be told apart",
        f"Give an attention module, one that holds {', '.join(_OUTPUT_PROJECTIONS[:3])} or the like.",
    )


def head_count(model: Any) -> int:
    """Attention heads of each layer, from the config.

    Raises:
        EtudeError: The config does not say.
    """
    config = model.config.get_text_config(decoder=True)
    count = getattr(config, "num_attention_heads", None) or getattr(config, "n_head", None)
    if not isinstance(count, int):
        raise EtudeError(f"{config.model_type}: the config names no heads", "Ask for the whole site.")
    return count


def _matching(pattern: str, modules: list[str]) -> list[str]:
    expression = re.escape(pattern).replace(r"\*", r"[^.]+")
    exact = [name for name in modules if re.fullmatch(expression, name)]
    if exact:
        return exact
    within = [name for name in modules if re.fullmatch(rf"(.*\.)?{expression}", name)]
    roots = {len(name.split(".")) for name in within}
    return [name for name in within if len(name.split(".")) == min(roots)] if roots else []


def _unknown(pattern: str, modules: list[str]) -> EtudeError:
    short = [re.sub(r"^(model|transformer|encoder|decoder|bert)\.", "", name) for name in modules]
    near = difflib.get_close_matches(pattern, [*modules, *short], n=4, cutoff=0.4) or modules[:4]
    return EtudeError(f"no site {pattern!r} in this model", f"Nearest: {', '.join(dict.fromkeys(near))}.")
