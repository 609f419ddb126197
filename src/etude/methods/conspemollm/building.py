"""The verb `build`: ConDID-style examples from your COCO and LOCO files."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.conspemollm.builder import ConDIDBuilder
from etude.methods.conspemollm.examples import CONDID_FILE, Example
from etude.methods.conspemollm.label_policies import LabelPolicy, Overlap, Uncertain, YesRelatedness
from etude.methods.conspemollm.loco import Missing
from etude.methods.conspemollm.synthetic import synthetic_builder
from etude.methods.conspemollm.wordings import wording_hash
from etude.render import table
from etude.runs import write_json

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class BuildResult:
    """What was built.

    Args:
        out: The folder; examples lie in its condid.jsonl.
        examples: Task to split to number of examples.
        answers: Task to answer to number of examples.
        counts: Doubtful labels and what became of them, mended texts, missing documents.
        synthetic: Whether these are our own synthetic texts.
    """

    out: str
    examples: dict[str, dict[str, int]]
    answers: dict[str, dict[str, int]]
    counts: dict[str, int]
    synthetic: bool

    def __rich__(self) -> RenderableType:
        """Examples by task and split, then what was left out or mended."""
        from rich.console import Group

        rows = [
            (task, *(splits.get(name, 0) for name in ("train", "dev", "test")),
             "; ".join(f"{answer}: {count}" for answer, count in sorted(self.answers[task].items())[:6]))
            for task, splits in self.examples.items()
        ]  # fmt: skip
        parts: list[RenderableType] = [
            table(("task", "train", "dev", "test", "answers"), rows, title="ConDID examples")
        ]
        if self.counts:
            parts.append(table(("labels, texts and documents", "how many"), list(self.counts.items())))
        if self.synthetic:
            parts.append("These texts are synthetic: for trying things out, no evidence about anything.")
        return Group(*parts, f"written: {self.out}/{CONDID_FILE}")


@verb
def build(
    *,
    coco: Path | None = None,
    loco: Path | None = None,
    annotations: Path | None = None,
    synthetic: bool = False,
    uncertain: Uncertain = "drop",
    overlap: Overlap = "drop",
    yes_relatedness: YesRelatedness = "drop",
    missing: Missing = "drop",
    dev: float = 0.1,
    test: float = 0.2,
    near_duplicate: float = 0.7,
    seed: int = 0,
    out: Path,
) -> BuildResult:
    """Build examples of the five tasks from your COCO and LOCO files, split so that nothing leaks.

    Documents and near-duplicate texts stay on one side of a split. Doubtful labels are treated as you say and
    counted.

    Args:
        coco: COCO as CSV: id, text and twelve category columns with 1, 2 or 3; or id, text, category, label.
        loco: Your copy of LOCO.json.
        annotations: LOCO's annotation table (doc id, seeds, annotator, conspiracy, relatedness), CSV or XLSX.
        synthetic: Use two dozen tweets and articles written by us instead, to try things out.
        uncertain: Judgments Y? and N?: drop them, or let them lean to their side. A bare ? is always dropped.
        overlap: Relatedness C/B: drop it, or take it as close or broad.
        yes_relatedness: Y in the relatedness column: drop it, or take it as close or broad.
        missing: Annotated documents that LOCO.json lacks: drop and count them, or stop with an error.
        dev: Share of the groups for validation.
        test: Share of the groups held out.
        near_duplicate: Least Jaccard similarity (three-word shingles) of near duplicates.
        seed: Of the split.
        out: Folder to write condid.jsonl and build.json to.

    Raises:
        EtudeError: No input, bad rows, a document that is missing (with --missing error).
    """
    if (loco is None) != (annotations is None):
        raise EtudeError(
            "LOCO needs both its texts and its annotations", "Give --loco LOCO.json --annotations FILE."
        )
    if synthetic and (coco or loco):
        raise EtudeError("--synthetic goes alone", "Leave it out to use your own files.")
    policy = LabelPolicy(uncertain, overlap, yes_relatedness)
    builder = synthetic_builder(policy) if synthetic else ConDIDBuilder(policy, missing)
    if coco is not None:
        builder.from_coco(coco)
    if loco is not None and annotations is not None:
        builder.from_loco(loco, annotations)
    made = builder.examples(dev=dev, test=test, seed=seed, threshold=near_duplicate)
    write_records(out / CONDID_FILE, made)
    result = BuildResult(
        out=str(out),
        examples=_count(made, "split"),
        answers=_count(made, "output"),
        counts={name: count for name, count in sorted(builder.counts.items()) if count},
        synthetic=synthetic,
    )
    kept = {
        **asdict(result),
        "out": None,
        "policy": asdict(policy),
        "seed": seed,
        "template_hash": wording_hash(),
    }
    write_json(out / "build.json", kept)
    return result


def _count(examples: list[Example], field: str) -> dict[str, dict[str, int]]:
    found: dict[str, Counter[str]] = {}
    for example in examples:
        found.setdefault(example.task, Counter())[str(getattr(example, field))] += 1
    return {task: dict(counts) for task, counts in found.items()}
