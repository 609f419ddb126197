"""The verb `evaluate`: is affect worth it on your data; or how good is this detector."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.conspemollm.comparison import (
    ARMS,
    LEXICON_ARMS,
    FoldScore,
    Material,
    baseline_of,
    difference,
    fold_scores,
)
from etude.methods.conspemollm.detector import ConspEmo
from etude.methods.conspemollm.examples import Split, read_examples
from etude.methods.conspemollm.metrics import Scores
from etude.methods.conspemollm.resampled_t import PairedDifference
from etude.methods.conspemollm.splits import cross_topic, grouped_folds
from etude.methods.conspemollm.tasks import TaskName
from etude.methods.conspemollm.training_runs import scores_table
from etude.methods.conspemollm.wordings import wording_hash
from etude.render import console, table
from etude.runs import write_json

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class EvaluateResult:
    """Arms on the same folds, or a detector's scores.

    Args:
        arms: Arm to its mean macro-F1, its standard deviation over folds, and mean AUC.
        differences: Arm with affect to its paired difference from the same arm without.
        verdicts: Arm with affect to supported, not supported or inconclusive.
        cross_topic: Arm to "source to target" to macro-F1.
        scores: Of a trained detector, by task.
        texts: How many.
        synthetic: Whether the texts are our own synthetic ones.
    """

    arms: dict[str, dict[str, float | None]]
    differences: dict[str, PairedDifference]
    verdicts: dict[str, str]
    cross_topic: dict[str, dict[str, float]]
    scores: dict[str, Scores]
    texts: int
    synthetic: bool

    def __rich__(self) -> RenderableType:
        """The arms, their differences, other topics."""
        from rich.console import Group

        parts: list[RenderableType] = []
        if self.scores:
            parts.append(scores_table(self.scores, "The detector on held-out examples"))
        if self.arms:
            rows = [(name, s["macro_f1"], s["spread"], s["auc"]) for name, s in self.arms.items()]
            parts.append(
                table(
                    ("arm", "macro-F1", "± folds", "AUC"),
                    rows,
                    title=f"Cross-validation on {self.texts} texts",
                )
            )
        if self.differences:
            rows_ = [(name, str(d), self.verdicts[name]) for name, d in self.differences.items()]
            title = "What affect adds: paired differences in macro-F1, corrected resampled t"
            parts.append(table(("arm", "difference [95 %]", "affect helps"), rows_, title=title))
        if self.cross_topic:
            names = list(next(iter(self.cross_topic.values())))
            shown = [(arm, *(found[name] for name in names)) for arm, found in self.cross_topic.items()]
            parts.append(table(("arm", *names), shown, title="Train on one topic, test on another: macro-F1"))
        if self.synthetic:
            parts.append("These texts are synthetic: the figures show that it runs, nothing else.")
        return Group(*parts)


@verb
def evaluate(
    data: Path,
    *,
    detector: Path | None = None,
    task: TaskName = "judgment",
    split: Split = "test",
    arms: tuple[str, ...] = (),
    emobank: Path | None = None,
    encoder: str = "minilm",
    folds: int = 5,
    repeats: int = 5,
    train_size: int | None = None,
    seed: int = 0,
    out: Path | None = None,
) -> EvaluateResult:
    """Does affect help on your data? Text alone and text with affect on the same grouped folds, with a
    verdict.

    With --detector: the scores of a trained detector on held-out examples instead.

    Args:
        data: A folder written by build, or a file of examples.
        detector: A folder written by train.
        task: judgment, relatedness or intention (with --detector any that it was trained for).
        split: The detector's examples: train, dev or test.
        arms: majority, affect, tfidf, minilm, and the last two with +lexicon, +vad, +lexicon+vad or +shuffled
            (the control); by default all that your data allows.
        emobank: EmoBank's CSV, for the arms with vad.
        encoder: The frozen encoder of the minilm arms.
        folds: Folds of a partition.
        repeats: Partitions.
        train_size: Train on this many texts only.
        seed: Of the first partition.
        out: Also write the result as JSON to this file.

    Raises:
        EtudeError: Too few groups for the folds, a multi-label task, or an unknown arm.
    """
    if detector is not None:
        trained = ConspEmo.load(detector)
        chosen = [one for one in read_examples(data) if one.split == split and one.task in trained.tasks]
        if not chosen:
            raise EtudeError(
                f"{data}: no example of split {split} for {', '.join(trained.tasks)}", "Name another --split."
            )
        result = EvaluateResult({}, {}, {}, {}, trained.evaluate(chosen), len(chosen), _synthetic(chosen))
        _write(out, result, {**trained.identity, "seeds": [trained.settings.seed]})
        return result
    examples = read_examples(data, task)
    material = Material(examples, str(emobank) if emobank else None, encoder)
    names = list(arms or (ARMS if emobank else LEXICON_ARMS))
    names += [base for base in map(baseline_of, names) if base and base not in names]
    splits = grouped_folds(
        material.labels.tolist(), material.groups, folds=folds, repeats=repeats, seed=seed, size=train_size
    )
    other = cross_topic(material.topics, material.groups)
    found: dict[str, dict[str, FoldScore]] = {}
    crossed: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(names):
        console().print(f"{name}: {len(splits)} folds")
        found[name] = fold_scores(name, material, splits)
        if other:
            crossed[name] = {key: one.macro_f1 for key, one in fold_scores(name, material, other).items()}
    differences = {
        name: difference(found[name], found[base], splits)
        for name in found
        if (base := baseline_of(name)) is not None
    }
    synthetic = _synthetic(examples)
    result = EvaluateResult(
        arms={name: _summary(list(scores.values())) for name, scores in found.items()},
        differences=differences,
        verdicts={
            n: "synthetic texts: no verdict" if synthetic else d.verdict for n, d in differences.items()
        },
        cross_topic=crossed,
        scores={},
        texts=len(examples),
        synthetic=synthetic,
    )
    _write(out, result, {"task": task, "seeds": [seed + at for at in range(repeats)], "folds": folds})
    return result


def _summary(scores: list[FoldScore]) -> dict[str, float | None]:
    f1 = [one.macro_f1 for one in scores]
    areas = [one.auc for one in scores if one.auc is not None]
    return {
        "macro_f1": float(np.mean(f1)),
        "spread": float(np.std(f1, ddof=1)) if len(f1) > 1 else None,
        "auc": float(np.mean(areas)) if areas else None,
    }


def _synthetic(examples: Any) -> bool:
    return any(one.source == "synthetic" for one in examples)


def _write(out: Path | None, result: EvaluateResult, facts: dict[str, Any]) -> None:
    if out is not None:
        from etude.evidence.evidence import finite

        write_json(out, finite({**facts, "template_hash": wording_hash(), **asdict(result)}))
