"""How sensitivity scales: a map made anew at every point of an axis, on the same texts, and an exponent.

Axes are n (tokens), d (width), k (features) and depth. Along n the same texts are cut shorter; along d
columns are cut before rows are rescaled. Every finished point (value, seed) is kept, so a killed run goes
on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.word_sensitivity.attention_features import RandomAttentionFeatures
from etude.methods.word_sensitivity.corpus import GAUSSIAN, EmbeddedTexts, embed_texts
from etude.methods.word_sensitivity.perturbation import AnyMap, FeatureMap, as_text, rescale
from etude.methods.word_sensitivity.plots import curve_figure, save_png
from etude.methods.word_sensitivity.random_features import DeepRandomFeatures, RandomFeatures
from etude.methods.word_sensitivity.results import Fit, fit_rows, folder_of, write_results
from etude.methods.word_sensitivity.supremum import Method, check_settings, name_of, sensitivity
from etude.models import model_directory, model_revision
from etude.render import Figure, TableBlock, Text, console, save_page, show
from etude.runs import Run, file_hash

Axis: TypeAlias = Literal["n", "d", "k", "depth"]


@dataclass(frozen=True)
class Shape:
    """What a map is made for.

    Args:
        n: Tokens.
        d: Width.
        k: Features, of rf and drf.
        depth: Layers, of drf.
    """

    n: int
    d: int
    k: int = 4096
    depth: int = 4


MakeMap: TypeAlias = Callable[[Shape, int], AnyMap]
"""From a shape and a seed to a map."""

MAPS: dict[str, MakeMap] = {
    "rf": lambda s, seed: RandomFeatures(s.n, s.d, s.k, seed=seed),
    "drf": lambda s, seed: DeepRandomFeatures(s.n, s.d, s.k, depth=s.depth, seed=seed),
    "raf": lambda s, seed: RandomAttentionFeatures(s.d, "softmax", seed=seed),
    "relu-raf": lambda s, seed: RandomAttentionFeatures(s.d, "relu", seed=seed),
}


@dataclass(frozen=True)
class Curve:
    """Sensitivity along an axis.

    Args:
        map: The map.
        axis: n, d, k or depth.
        exponent: Of the power law along the axis; None with a single point.
        low: Lower end of its 95 % interval.
        high: Upper end.
        fit: The fit, with the mean at every point.
        texts: How many.
        seeds: How many.
        notices: What a reader must know.
        out: The run's folder, if one was asked for.
        rows: One row per point, seed, text and position.
    """

    map: str
    axis: str
    exponent: float | None
    low: float | None
    high: float | None
    fit: Fit | None
    texts: int
    seeds: int
    notices: tuple[str, ...]
    out: str | None
    rows: tuple[dict[str, Any], ...]

    @property
    def figure(self) -> Any:
        """The curve as a matplotlib figure."""
        return curve_figure({self.map: self.fit} if self.fit else {}, self.axis)

    def __rich__(self) -> Any:
        """Means along the axis and the exponent."""
        from rich.console import Group

        lines = [
            show(Text(line)) for line in (*self.notices, *([f"written to {self.out}"] if self.out else []))
        ]
        return Group(show(self.table()), *lines)

    def table(self) -> TableBlock:
        """One row a point."""
        title = f"{self.map} along {self.axis}: {self.texts} texts x {self.seeds} seeds"
        if self.fit is None:
            best = max(row["value"] for row in self.rows)
            return TableBlock((self.axis, "sensitivity"), [(self.rows[0][self.axis], best)], title)
        title += f"; exponent {self.fit.exponent:.3f}, 95 % {self.fit.interval}, r² {self.fit.r2:.3f}"
        points = zip(self.fit.lengths, self.fit.means, self.fit.typical, strict=True)
        return TableBlock((self.axis, "sensitivity", "typical (median random Δ)"), list(points), title)


@verb
def curve(
    make_map: str | MakeMap,
    texts: str | Path | np.ndarray | None = None,
    lengths: str | int | Sequence[int] = "16,32,64,128,256",
    *,
    axis: Axis = "n",
    values: str | Sequence[int] | None = None,
    embeddings: str = "smollm2",
    d: int | None = None,
    k: int = 4096,
    depth: int = 4,
    seeds: int = 5,
    count: int = 5,
    positions: str = "sample:4",
    method: Method = "ascent",
    radius: float = 1.0,
    starts: int = 8,
    steps: int = 40,
    skip_short: bool = False,
    out: Path | None = None,
) -> Curve:
    """Draw word sensitivity along n, d, k or depth, and fit its exponent with a 95 % interval.

    Args:
        make_map: rf, drf, raf or relu-raf; from Python also a function (Shape, seed) -> map.
        texts: JSONL, CSV or plain text, or a .npy/.safetensors array (texts, tokens, width); Python's own
            prose by default. From Python also an array.
        lengths: Tokens, along axis n; a single number along another axis.
        axis: n, d, k or depth.
        values: Values along axis d, k or depth.
        embeddings: Model whose embedding matrix is used, or gaussian.
        d: Keep the first so many columns of the embeddings, then rescale.
        k: Features of rf and drf.
        depth: Layers of drf.
        seeds: Independent weights at each point.
        count: Texts.
        positions: sample:4, all, first, middle, last, or numbers like 0,5,7.
        method: ascent, or bound (the closed form alone).
        radius: Of the ball of Δ, in units of ‖x_i‖.
        starts: Ascents at each position.
        steps: Steps of each ascent, at most.
        skip_short: Drop texts that are too short instead of refusing them.
        out: Folder for sensitivity.parquet, fits.json, the plot and the page.

    Raises:
        EtudeError: An unknown map, or texts that cannot be used.
    """
    if isinstance(make_map, str) and make_map not in MAPS:
        raise EtudeError(f"map {make_map!r}", f"Choose {', '.join(MAPS)}; from Python give any function.")
    if method == "vocabulary":
        raise EtudeError(
            "method 'vocabulary' along a curve", "Use etude word-sensitivity measure for real words."
        )
    check_settings(radius, starts, steps)
    make = MAPS[make_map] if isinstance(make_map, str) else make_map
    points = _points(axis, whole_numbers(lengths, "lengths"), values)
    given = np.asarray(texts) if isinstance(texts, np.ndarray | Tensor) else None
    source = None if given is not None or texts is None else Path(str(texts))

    def load(n: int, width: int | None) -> EmbeddedTexts:
        if given is not None:
            return _array(given, n, width)
        return embed_texts(source, embeddings, n=n, count=count, d=width, skip_short=skip_short)

    longest = max(n for n, *_ in points)
    loaded = {width: load(longest, width) for width in {(p[1] or d) for p in points}}
    name = make_map if isinstance(make_map, str) else f"{make_map.__module__}.{make_map.__qualname__}"
    config = {
        "map": name,
        "texts": _identity(given, source),
        "embeddings": embeddings if embeddings == GAUSSIAN else model_revision(model_directory(embeddings)),
        "axis": axis,
        "points": [list(point) for point in points],
        "settings": [d, k, depth, seeds, count, positions, method, radius, starts, steps, skip_short],
    }
    shown = make_map if isinstance(make_map, str) else name.rpartition(".")[2]
    with folder_of(out) as folder, Run(folder, config, command="word-sensitivity curve") as run:
        rows: list[dict[str, Any]] = []
        for n, width, features, layers in points:
            data = loaded[width or d]
            shape = Shape(n, data.x.shape[2], features or k, layers or depth)
            for seed in range(seeds):

                def measured(data: EmbeddedTexts = data, shape: Shape = shape, seed: int = seed) -> Any:
                    return measure_point(
                        make(shape, seed), data, shape, seed, positions=positions, method=method,
                        radius=radius, starts=starts, steps=steps, source=_source(embeddings, source, given),
                    )  # fmt: skip

                rows += run.step(f"{shape} seed {seed}", measured)
            if seeds:
                console().print(f"{shown}: {axis} = {getattr(shape, axis)}")
        if not rows:
            raise EtudeError("no seeds", "Ask for at least one.")
        fit = fit_rows(rows, axis)
        notices = _notices(rows, loaded)
        found = Curve(
            rows[0]["map"], axis, *_interval(fit), fit,
            len({row["text_id"] for row in rows}), seeds, notices, None if out is None else str(out),
            tuple(rows),
        )  # fmt: skip
        if out is not None:
            write_results(folder, rows, {found.map: fit})
            _write_page(folder, found)
        if run.result is None:
            run.complete({"exponent": found.exponent, "low": found.low, "high": found.high})
    return found


def measure_point(
    map_: AnyMap,
    data: EmbeddedTexts,
    shape: Shape,
    seed: int,
    *,
    positions: str,
    method: Method,
    radius: float,
    starts: int,
    steps: int,
    source: str,
) -> list[dict[str, Any]]:
    """Every text at one point of a curve, with one draw of weights: a row per position."""
    told = map_.describe() if isinstance(map_, FeatureMap) else {}
    rows = []
    for text_id, x in zip(data.ids, data.x, strict=True):
        found = sensitivity(
            map_, x[: shape.n].contiguous(), positions=positions, radius=radius, method=method,
            starts=starts, steps=steps, seed=seed,
        )  # fmt: skip
        shared = {
            "map": name_of(map_), "source": source, "n": shape.n, "d": shape.d, "k": told.get("k"),
            "depth": told.get("depth"), "seed": seed, "text_id": text_id, "method": method, "radius": radius,
        }  # fmt: skip
        rows += [shared | position.row() for position in found.positions]
    return rows


def whole_numbers(given: str | int | Sequence[int], what: str) -> list[int]:
    """Numbers like 16,32,64, ascending, each once.

    Raises:
        EtudeError: Not numbers, or not positive.
    """
    pieces = str(given).split(",") if isinstance(given, str | int) else list(given)
    try:
        numbers = sorted({int(piece) for piece in pieces})
    except ValueError as error:
        raise EtudeError(f"{what} {given!r}", "Write whole numbers like 16,32,64.") from error
    if not numbers or numbers[0] < 1:
        raise EtudeError(f"{what} {given!r}", "Write positive whole numbers like 16,32,64.")
    return numbers


def _points(
    axis: Axis, lengths: list[int], values: str | Sequence[int] | None
) -> list[tuple[int, int | None, int | None, int | None]]:
    """(n, d, k, depth) at each point; None: as set for the whole curve."""
    if axis == "n":
        if values is not None:
            raise EtudeError("--values along axis n", "The values along axis n are the --lengths.")
        return [(n, None, None, None) for n in lengths]
    if len(lengths) > 1 or values is None:
        raise EtudeError(
            f"axis {axis} with {len(lengths)} lengths and {'no' if values is None else 'some'} values",
            f"Give one length and the values of {axis}: --lengths 128 --values 64,128,256.",
        )
    place = ("d", "k", "depth").index(axis)
    numbers = whole_numbers(values, "values")
    return [(lengths[0], *(v if p == place else None for p in range(3))) for v in numbers]  # type: ignore[misc]


def _interval(fit: Fit | None) -> tuple[float | None, float | None, float | None]:
    return (None, None, None) if fit is None else (fit.exponent, fit.low, fit.high)


def _array(given: np.ndarray, n: int, width: int | None) -> EmbeddedTexts:
    if given.ndim != 3 or given.shape[1] < n or given.shape[2] < (width or 1):
        raise EtudeError(
            f"an array of shape {given.shape} for {n} tokens and width {width or 'any'}",
            "Embeddings are (texts, tokens, width).",
        )
    kept = given[:, :n, : width or given.shape[2]]
    x = torch.stack([rescale(as_text(np.ascontiguousarray(text))) for text in kept])
    return EmbeddedTexts(x, tuple(f"text-{i:04d}" for i in range(len(given))))


def _identity(given: np.ndarray | None, source: Path | None) -> str:
    if given is not None:
        import hashlib

        return hashlib.sha256(np.ascontiguousarray(given).tobytes()).hexdigest()
    return "built-in" if source is None else file_hash(source)


def _source(embeddings: str, source: Path | None, given: np.ndarray | None) -> str:
    if given is not None:
        return "array"
    return embeddings if source is None or embeddings == GAUSSIAN else f"{embeddings}: {source.name}"


def _notices(rows: Sequence[dict[str, Any]], loaded: dict[int | None, EmbeddedTexts]) -> tuple[str, ...]:
    notices = []
    beyond = sorted({row["n"] for row in rows if row["n"] > row["d"] and row["map"] == "raf"})
    if beyond:
        notices.append(
            f"n > d at n = {', '.join(map(str, beyond))}: the theorem for attention needs d large against n, "
            "and sensitivity decays beyond it."
        )
    skipped = max((data.skipped for data in loaded.values()), default=0)
    if skipped:
        notices.append(f"{skipped} texts were too short and dropped.")
    return tuple(notices)


def _write_page(folder: Path, found: Curve) -> None:
    blocks: list[Any] = [Text(notice) for notice in found.notices]
    if found.fit is not None:
        save_png(folder / "curve.png", found.figure)
        blocks.append(Figure(found.figure, f"Word sensitivity of {found.map} along {found.axis}, log-log"))
    blocks.append(found.table())
    save_page(folder / "report.html", f"Word sensitivity of {found.map}", [("Curve", blocks)])
