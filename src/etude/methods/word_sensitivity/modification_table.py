"""`modify`: context modification on the user's labeled texts, for learners and objectives side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.word_sensitivity.corpus import GAUSSIAN, EmbeddedTexts, embed_texts
from etude.methods.word_sensitivity.interpolation import Learner
from etude.methods.word_sensitivity.modification import ModificationTask, Objective
from etude.methods.word_sensitivity.plots import errors_figure, save_png
from etude.methods.word_sensitivity.results import folder_of, write_table
from etude.methods.word_sensitivity.scaling import MAPS, Shape
from etude.methods.word_sensitivity.supremum import check_settings, name_of
from etude.models import model_directory, model_revision
from etude.render import Block, Figure, TableBlock, Text, console, save_page, show
from etude.runs import Run, file_hash

MODIFICATION = "modification.parquet"
_SCHEMA = {
    "map": str, "learner": str, "objective": str, "n": int, "d": int, "N": int, "seed": int, "text_id": str,
    "f0_x": float, "f0_xd": float, "f1_x": float, "f1_xd": float, "alignment": float, "gamma": float,
    "error": float, "position": int, "penalty": float, "radius": float,
}  # fmt: skip
NOTE = (
    "Err ≥ (2 - γ)² for random features (up to a few percent at finite k). An error near 0 with γ near 2 is "
    "the trivial way: the old predictor had flipped already."
)


@dataclass(frozen=True)
class ModifyResult:
    """Every learner with every objective.

    Args:
        map: The map.
        n, d, n_train, tests: Sizes.
        rows: One row per seed, learner, objective and test text.
        skipped: Texts that were too short and dropped.
        out: The run's folder, if one was asked for.
    """

    map: str
    n: int
    d: int
    n_train: int
    tests: int
    rows: tuple[dict[str, Any], ...]
    skipped: int
    out: str | None

    def __rich__(self) -> Any:
        """One row per learner and objective."""
        from rich.console import Group

        lines = [NOTE]
        lines += [f"{self.skipped} texts were too short and dropped."] if self.skipped else []
        lines += [f"written to {self.out}"] if self.out else []
        return Group(show(self.table()), *(show(Text(line)) for line in lines))

    def table(self) -> TableBlock:
        """Means over test texts and seeds."""
        title = f"{self.map}: n = {self.n}, d = {self.d}, N = {self.n_train}, {self.tests} test texts a seed"
        return summary_table(self.rows, title)


def summary_table(rows: Sequence[dict[str, Any]], title: str) -> TableBlock:
    """Error, its median, γ, the bound and F, one row per map, learner and objective."""
    lines = []
    for key in dict.fromkeys((r["map"], r["learner"], r["objective"], r["penalty"]) for r in rows):
        own = [r for r in rows if (r["map"], r["learner"], r["objective"], r["penalty"]) == key]
        error, gamma, share = (np.array([r[c] for r in own]) for c in ("error", "gamma", "alignment"))
        objective = key[2] + (f", penalty {key[3]:g}" if key[3] else "")
        bound = np.square(np.maximum(2 - gamma, 0)).mean()
        lines.append(
            (key[0], key[1].replace("_", "-"), objective, float(error.mean()), float(np.median(error)),
             float(gamma.mean()), float(bound), float(share.mean()))
        )  # fmt: skip
    columns = ("map", "learner", "objective", "error", "median", "γ", "(2 - γ)²", "F")
    return TableBlock(columns, lines, title)


@verb
def modify(
    map: str,
    *,
    texts: Path | None = None,
    embeddings: str = "smollm2",
    n_train: int = 150,
    tokens: int = 32,
    d: int | None = None,
    k: int = 4096,
    depth: int = 4,
    tests: int = 10,
    learners: str = "fine_tuned,retrained",
    objectives: str = "loss,features,feature_alignment",
    penalty: float = 0.0,
    positions: str = "sample:1",
    radius: float = 1.0,
    starts: int = 8,
    steps: int = 120,
    seeds: int = 1,
    skip_short: bool = False,
    out: Path | None = None,
) -> ModifyResult:
    """Test whether a learner on these features tells a text from the same text with one word changed.

    Args:
        map: rf, drf, raf or relu-raf.
        texts: JSONL or CSV with text and label (-1 and 1, or 0 and 1).
        embeddings: Model whose embedding matrix is used, or gaussian (then texts are not needed).
        n_train: Training texts.
        tokens: Tokens of each text.
        d: Keep the first so many columns of the embeddings, then rescale.
        k: Features of rf and drf.
        depth: Layers of drf.
        tests: Test texts.
        learners: fine_tuned, retrained, or both.
        objectives: loss, features, feature_alignment, comma-separated.
        penalty: Times γ², added to the loss objective.
        positions: Rows that may be changed: sample:1, all, first, middle, last, or numbers.
        radius: Of the ball of Δ, in units of ‖x_i‖.
        starts: Ascents at each position.
        steps: Steps of each.
        seeds: Independent weights and splits.
        skip_short: Drop texts that are too short instead of refusing them.
        out: Folder for modification.parquet, the plot and the page.

    Raises:
        EtudeError: Labels that are not two-valued, or more training texts than can be interpolated.
    """
    if map not in MAPS:
        raise EtudeError(f"map {map!r}", f"Choose {', '.join(MAPS)}.")
    if texts is None and embeddings != GAUSSIAN:
        raise EtudeError("no --texts", "Give JSONL or CSV with text and label, or --embeddings gaussian.")
    if seeds < 1 or penalty < 0:
        raise EtudeError(f"seeds {seeds}, penalty {penalty:g}", "At least one seed, and no negative penalty.")
    check_settings(radius, starts, steps)
    chosen = _known(learners, Learner), _known(objectives, Objective)
    how = [(l, o, penalty if o == "loss" else 0.0) for l in chosen[0] for o in chosen[1]]
    config = {
        "map": map, "texts": None if texts is None else file_hash(texts), "n_train": n_train,
        "embeddings": embeddings if embeddings == GAUSSIAN else model_revision(model_directory(embeddings)),
        "tokens": tokens, "d": d, "learners": chosen[0], "objectives": chosen[1],
        "settings": [k, depth, tests, penalty, positions, radius, starts, steps, seeds, skip_short],
    }  # fmt: skip
    with folder_of(out) as folder, Run(folder, config, command="word-sensitivity modify") as run:
        rows: list[dict[str, Any]] = []
        width, skipped = 0, 0
        for seed in range(seeds):
            data = embed_texts(
                texts, embeddings, n=tokens, count=n_train + tests, d=d, skip_short=skip_short, labeled=True,
                order=seed,
            )  # fmt: skip
            width, skipped = data.x.shape[2], max(skipped, data.skipped)
            compute = partial(
                modification_rows, map, Shape(tokens, width, k, depth), data, seed, n_train=n_train,
                how=how, positions=positions, radius=radius, starts=starts, steps=steps,
            )  # fmt: skip
            rows += run.step(f"seed {seed}", compute)
            console().print(f"{map}: seed {seed}")
        found = ModifyResult(
            map, tokens, width, n_train, tests, tuple(rows), skipped, None if out is None else str(out)
        )
        if out is not None:
            write_table(folder / MODIFICATION, rows, _SCHEMA)
            _write_page(folder, found)
        if run.result is None:
            run.complete({"mean error": float(np.mean([row["error"] for row in rows]))})
    return found


def modification_rows(
    map_name: str,
    shape: Shape,
    data: EmbeddedTexts,
    seed: int,
    *,
    n_train: int,
    how: Sequence[tuple[Any, Any, float]],
    positions: str = "sample:1",
    radius: float = 1.0,
    starts: int = 8,
    steps: int = 120,
) -> list[dict[str, Any]]:
    """Every (learner, objective, penalty) of `how` with one draw of weights: a row per test text."""
    map_ = MAPS[map_name](shape, seed)
    task = ModificationTask(
        map_, data.x, data.labels, n_train=n_train, positions=positions, radius=radius, seed=seed
    )
    rows = []
    for learner, objective, penalty in how:
        found = task.minimize(learner, objective, penalty=penalty, starts=starts, steps=steps)
        shared = {
            "map": name_of(map_), "learner": learner, "objective": objective, "n": shape.n, "d": shape.d,
            "N": n_train, "seed": seed, "penalty": penalty, "radius": radius,
        }  # fmt: skip
        pairs = zip(data.ids[n_train:], found.texts, strict=True)
        rows += [shared | {"text_id": text_id} | asdict(text) for text_id, text in pairs]
    return rows


def _known(given: str, kind: Any) -> list[Any]:
    names = [piece.strip().replace("-", "_") for piece in given.split(",") if piece.strip()]
    unknown = [name for name in names if name not in get_args(kind)]
    if unknown or not names:
        raise EtudeError(f"{given!r}", f"Choose among {', '.join(get_args(kind))}.")
    return names


def _write_page(folder: Path, found: ModifyResult) -> None:
    groups: dict[str, list[tuple[float, float]]] = {}
    for row in found.rows:
        name = f"{row['learner'].replace('_', '-')}, {row['objective']}"
        groups.setdefault(name, []).append((row["gamma"], row["error"]))
    figure = errors_figure(groups)
    save_png(folder / "modification.png", figure)
    blocks: list[Block] = [Text(NOTE), Figure(figure, "Error against γ of every test text"), found.table()]
    save_page(folder / "report.html", f"Context modification on {found.map}", [("Errors", blocks)])
