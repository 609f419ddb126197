"""`measure`: the places of a real transformer, under real words or the worst vectors, at several lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.word_sensitivity.corpus import (
    read_passages,
    token_rows,
    token_texts,
)
from etude.methods.word_sensitivity.model_site import ModelProbe, Output, ProbePerturbation, SitePerturbation
from etude.methods.word_sensitivity.perturbation import fingerprint, generator
from etude.methods.word_sensitivity.plots import curve_figure, save_png
from etude.methods.word_sensitivity.results import Fit, fit_rows, folder_of, write_results
from etude.methods.word_sensitivity.scaling import whole_numbers
from etude.methods.word_sensitivity.site_names import resolve_sites
from etude.methods.word_sensitivity.supremum import (
    Found,
    check_settings,
    choose_positions,
    worst_of,
    worst_vector,
)
from etude.methods.word_sensitivity.vocabulary import Vocabulary, sample_ids
from etude.models import load_causal_lm, load_encoder
from etude.render import Figure, TableBlock, Text, console, save_page, show
from etude.runs import Run, file_hash

_FEW = 12  # sites up to which a plot stays readable


@dataclass(frozen=True)
class MeasureResult:
    """Sensitivity of every site.

    Args:
        model: The model.
        method: `vocabulary` (real words) or `ascent` (the worst vector in the ball).
        output: What of a site counted.
        causal: Whether rows before the changed one are out of its reach.
        fits: Site to its power law in n; None with a single length.
        means: Site to length to the mean sensitivity.
        worst: Site to the token that moved it farthest, where, and how far.
        skipped: Texts that were too short and dropped.
        out: The run's folder, if one was asked for.
        rows: One row per site, length, text and position.
    """

    model: str
    method: str
    output: str
    causal: bool
    fits: dict[str, Fit | None]
    means: dict[str, dict[int, float]]
    worst: dict[str, str]
    skipped: int
    out: str | None
    rows: tuple[dict[str, Any], ...]

    def __rich__(self) -> Any:
        """One row a site."""
        from rich.console import Group

        return Group(show(self.table()), *(show(Text(line)) for line in self.notes()))

    def table(self) -> TableBlock:
        """One row a site: sensitivity at each length, the exponent, the worst replacement."""
        lengths = sorted({n for means in self.means.values() for n in means})
        rows = [
            (site, *(means.get(n) for n in lengths), *_exponent(self.fits[site]), self.worst.get(site))
            for site, means in self.means.items()
        ]
        columns = ("site", *(f"n = {n}" for n in lengths), "exponent", "95 %", "moved farthest by")
        texts = len({row["text_id"] for row in self.rows})
        title = f"{self.model}: word sensitivity of {texts} texts, {self.method}, {self.output}"
        return TableBlock(columns, rows, title)

    def notes(self) -> list[str]:
        """What a reader must know."""
        what = (
            "Real words: each replaces a token, at whatever distance it lies."
            if self.method == "vocabulary"
            else "The worst vector in the ball, which need not be near any word."
        )
        notes = [what]
        if self.causal:
            notes.append("A causal model: only rows from the changed one on can change.")
        if self.skipped:
            notes.append(f"{self.skipped} texts were too short and dropped.")
        return notes + ([f"written to {self.out}"] if self.out else [])


@verb
def measure(
    model: str,
    *,
    texts: Path | None = None,
    sites: str = "final",
    lengths: str = "16,64,256",
    method: Literal["vocabulary", "ascent"] = "vocabulary",
    positions: str = "middle",
    output: Output = "frobenius",
    head: int | None = None,
    words: int = 64,
    count: int = 3,
    radius: float = 1.0,
    starts: int = 4,
    steps: int = 20,
    skip_short: bool = False,
    encoder: bool = False,
    batch: int = 32,
    seed: int = 0,
    out: Path | None = None,
) -> MeasureResult:
    """Measure how far one word moves the layers of a real transformer, and how that changes with length.

    Args:
        model: An embedded name (smollm2), a directory, or a hub id.
        texts: JSONL, CSV or plain text; Python's own prose by default.
        sites: Comma-separated module names, * for any part: layers.*.self_attn,layers.*.mlp,final.
        lengths: Tokens of the texts, e.g. 16,64,256.
        method: vocabulary: the worst real token; ascent: the worst vector in the ball.
        positions: middle, sample:4, all, first, last, or numbers like 0,5,7.
        output: What counts: all rows (frobenius), the last_token, or their mean.
        head: Only this attention head, before the output projection.
        words: Replacement tokens tried, a seeded sample; 0 tries the whole vocabulary.
        count: Texts.
        radius: Of the ball of Δ, in units of the token's own norm; for ascent.
        starts: Ascents at each position.
        steps: Steps of each ascent, at most.
        skip_short: Drop texts that are too short instead of refusing them.
        encoder: The model is a sentence encoder (minilm), not a causal one.
        batch: Replacements in one pass.
        seed: Of positions, replacements and starts.
        out: Folder for sensitivity.parquet, fits.json, the plot and the page.

    Raises:
        EtudeError: An unknown site or model, or texts that cannot be used.
    """
    check_settings(radius, starts, steps)
    sizes = whole_numbers(lengths, "lengths")
    loaded: Any = load_encoder(model) if encoder else load_causal_lm(model)
    check_length(loaded, sizes[-1], "--lengths asks for")
    paths = resolve_sites(loaded.model, sites)
    probe = ModelProbe(loaded.model, paths, output=output, head=head)
    chosen, skipped = _first_tokens(texts, model, sizes[-1], count, skip_short)
    candidates = None
    if method == "vocabulary":
        candidates = replacement_tokens(loaded.tokenizer, loaded.model, words, seed)
    config = {
        "model": loaded.revision, "texts": "built-in" if texts is None else file_hash(texts), "sites": paths,
        "lengths": sizes, "method": method, "output": output, "head": head, "positions": positions,
        "settings": [words, count, radius, starts, steps, skip_short, batch, seed],
    }  # fmt: skip
    source = "python-prose" if texts is None else texts.name
    with folder_of(out) as folder, Run(folder, config, command="word-sensitivity measure") as run:
        rows: list[dict[str, Any]] = []
        for n in sizes:
            for text_id, ids in chosen:
                x = embed_ids(loaded.model, ids[:n])
                shared = {
                    "map": model, "head": head, "source": source, "n": n, "d": x.shape[1], "seed": seed,
                    "text_id": text_id, "method": method, "radius": radius if method == "ascent" else None,
                }  # fmt: skip
                spots = choose_positions(positions, n, seed)
                settings = (radius, starts, steps, seed, batch)
                compute = partial(_all_sites, probe, x, spots, candidates, settings, shared)
                rows += run.step(f"{n} {text_id}", compute)
            console().print(f"{model}: n = {n}")
        found = _summary(model, method, output, probe.causal, paths, rows, skipped, out)
        if out is not None:
            write_results(folder, rows, found.fits)
            _write_page(folder, found)
        if run.result is None:
            run.complete({site: fit.exponent for site, fit in found.fits.items() if fit})
    return found


def check_length(loaded: Any, tokens: int, what: str) -> None:
    """Refuse more tokens than a model reads."""
    limit = getattr(loaded, "context_length", None) or getattr(loaded, "max_length", None)
    if limit is not None and tokens > limit:
        raise EtudeError(f"{what} {tokens} tokens", f"{loaded.name} reads at most {limit}.")


def embed_ids(model: Any, ids: Sequence[int]) -> Tensor:
    """Input embeddings of token ids as the model makes them, (tokens, d)."""
    module = model.get_input_embeddings()
    with torch.no_grad():
        rows: Tensor = module(torch.tensor(list(ids), device=module.weight.device))
    return rows


def replacement_tokens(tokenizer: Any, model: Any, words: int, seed: int) -> Vocabulary:
    """Real tokens to try: not special, not an all-zero row, not whitespace alone."""
    if words < 0:
        raise EtudeError(
            f"{words} replacement words", "Give a positive number, or 0 for the whole vocabulary."
        )
    table = model.get_input_embeddings().weight.detach()
    special = set(tokenizer.all_special_ids)
    used = (table != 0).any(1).tolist()
    usable = [i for i in range(min(len(table), len(tokenizer))) if i not in special and used[i]]
    ids = [i for i in sample_ids(usable, words, seed) if str(tokenizer.decode([i])).strip()]
    return Vocabulary(embed_ids(model, ids), tuple(ids), token_texts(tokenizer, ids))


def sites_at(
    around: ProbePerturbation, position: int, candidates: Vocabulary, *, batch: int = 32
) -> list[Found]:
    """The worst replacement for every site of a probe, all from the same passes."""
    with torch.no_grad():
        squared = torch.cat(
            [
                around.squared_distances(part - around.row)
                for part in torch.split(candidates.embeddings, max(1, batch))
            ]
        )  # (tokens, sites)
    return [
        worst_of(squared[:, index], SitePerturbation(around, index), position, candidates)
        for index in range(squared.shape[1])
    ]


def _all_sites(
    probe: ModelProbe,
    x: Tensor,
    positions: Sequence[int],
    candidates: Vocabulary | None,
    settings: tuple[float, int, int, int, int],
    shared: dict[str, Any],
) -> list[dict[str, Any]]:
    """Rows of every site at every position of one text."""
    radius, starts, steps, seed, batch = settings
    rows = []
    for position in positions:
        around = probe.perturbed(x, position)
        if candidates is not None:
            found = sites_at(around, position, candidates, batch=batch)
        else:
            found = [
                worst_vector(
                    SitePerturbation(around, index), position, radius,
                    generator(seed, position, fingerprint(x)), "ascent", starts, steps, site,
                )
                for index, site in enumerate(probe.sites)
            ]  # fmt: skip
        rows += [shared | {"site": site} | f.row() for site, f in zip(probe.sites, found, strict=True)]
    return rows


def _first_tokens(
    texts: Path | None, model: str, n: int, count: int, skip_short: bool
) -> tuple[list[tuple[str, tuple[int, ...]]], int]:
    """The first `count` texts of at least n tokens, as ids."""
    chosen: list[tuple[str, tuple[int, ...]]] = []
    skipped = 0
    for passage, ids in token_rows(read_passages(texts), model):
        if len(ids) >= n:
            chosen.append((passage.id, ids))
        elif not skip_short:
            raise EtudeError(
                f"{passage.where}: {len(ids)} tokens, and {n} are needed",
                "Give longer texts, ask for fewer tokens, or drop short ones with --skip-short.",
            )
        else:
            skipped += 1
        if len(chosen) == count:
            break
    if not chosen:
        raise EtudeError(f"no text of {n} tokens ({skipped} dropped)", "Give longer texts.")
    return chosen, skipped


def _summary(
    model: str, method: str, output: str, causal: bool, sites: Sequence[str], rows: Sequence[dict[str, Any]],
    skipped: int, out: Path | None,
) -> MeasureResult:  # fmt: skip
    fits: dict[str, Fit | None] = {}
    means: dict[str, dict[int, float]] = {}
    worst: dict[str, str] = {}
    for site in sites:
        own = [row for row in rows if row["site"] == site]
        fits[site] = fit_rows(own, "n")
        lengths = sorted({row["n"] for row in own})
        means[site] = {n: _mean_best([row for row in own if row["n"] == n]) for n in lengths}
        best = max(own, key=lambda row: row["value"])
        if best["token"] is not None:
            worst[site] = f"{best['token']!r} at {best['position']} of {best['n']}: {best['value']:.3g}"
    return MeasureResult(
        model, method, output, causal, fits, means, worst, skipped, None if out is None else str(out),
        tuple(rows),
    )  # fmt: skip


def _mean_best(rows: Sequence[dict[str, Any]]) -> float:
    """Mean over texts of the largest value over positions."""
    texts = {row["text_id"] for row in rows}
    return float(np.mean([max(r["value"] for r in rows if r["text_id"] == t) for t in texts]))


def _exponent(fit: Fit | None) -> tuple[float | None, str | None]:
    return (None, None) if fit is None else (fit.exponent, fit.interval)


def _write_page(folder: Path, found: MeasureResult) -> None:
    blocks: list[Any] = [Text(note) for note in found.notes()]
    drawn = {site: fit for site, fit in list(found.fits.items())[:_FEW] if fit is not None}
    if drawn:
        figure = curve_figure(drawn, "n")
        save_png(folder / "curve.png", figure)
        blocks.append(
            Figure(figure, "Word sensitivity of sites against length", f"First {len(drawn)} sites.")
        )
    save_page(
        folder / "report.html",
        f"Word sensitivity of {found.model}",
        [("Sites", [*blocks, found.table()])],
    )
