"""What the verbs return, and how it looks on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from etude.methods.semcsr.triple_audit import Audit
from etude.render import Text, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType


def _group(*parts: RenderableType | str) -> RenderableType:
    from rich.console import Group

    return Group(*(show(Text(part)) if isinstance(part, str) else part for part in parts if part))


@dataclass(frozen=True)
class GenerateResult:
    """What was written.

    Args:
        out: The triples' file.
        triples: Rows with both sentences.
        failed: Rows without, by status; `failed` ones are asked again by the same command.
        duplicates: Sentences left out because an equal one came before.
        truncated: Sentences that were cut.
        overlapping: Sentences of the evaluation file that were kept on request.
        audit: What is wrong with the triples.
        examples: The first few: sentence, positive, hard negative.
    """

    out: str
    triples: int
    failed: Mapping[str, int]
    duplicates: int
    truncated: int
    overlapping: int
    audit: Audit
    examples: Sequence[tuple[str, str, str]]

    def __rich__(self) -> RenderableType:
        """Examples, counts and the audit's words."""
        failed = "".join(f", {count} {status}" for status, count in self.failed.items())
        again = "; the same command asks for the failed ones again" if "failed" in self.failed else ""
        return _group(
            table(("sentence", "must be true", "contradicts"), self.examples),
            f"{self.triples:,} triples{failed} ({self.duplicates} duplicates left out, {self.truncated} "
            f"sentences cut) in {self.out}{again}",
            f"{self.overlapping} sentences are in the evaluation file: results on it are transductive."
            if self.overlapping
            else "",
            self.audit.words(),
        )


@dataclass(frozen=True)
class ScoreResult:
    """What was scored.

    Args:
        out: The scored file.
        scorer: Which scorer.
        scored: Rows with all scores.
        unreadable: Scores that are missing because the answer was not one number in [0, 5].
        positive_histogram: Positive scores in [0,1), [1,2), [2,3), [3,4), [4,5].
        negative_histogram: The same of the negatives.
    """

    out: str
    scorer: str
    scored: int
    unreadable: int
    positive_histogram: list[int]
    negative_histogram: list[int]

    def __rich__(self) -> RenderableType:
        """Histograms and counts."""
        rows = [("positives", *self.positive_histogram), ("hard negatives", *self.negative_histogram)]
        return _group(
            table(("scores", "0-1", "1-2", "2-3", "3-4", "4-5"), rows),
            f"{self.scored:,} rows scored by {self.scorer}, {self.unreadable} answers without a score: "
            f"{self.out}",
        )


@dataclass(frozen=True)
class CurateResult:
    """What was kept.

    Args:
        out: The kept triples.
        kept: How many.
        dropped: Reason to how many.
        swapped: Kept rows whose roles were exchanged.
        before: The audit of what was given.
        after: The audit of what was kept.
        report: The page, if asked for.
    """

    out: str
    kept: int
    dropped: Mapping[str, int]
    swapped: int
    before: Audit
    after: Audit
    report: str | None = None

    def __rich__(self) -> RenderableType:
        """Reasons, the audit before and after, and where the rows are."""
        return _group(
            table(("dropped because", "rows"), list(self.dropped.items())),
            table(("", "given", "kept"), audit_rows(self.before, self.after)),
            f"{self.kept:,} kept ({self.swapped} with roles swapped), {sum(self.dropped.values()):,} "
            f"dropped: {self.out}",
            f"page: {self.report}" if self.report else "",
        )


def audit_rows(*audits: Audit) -> list[tuple[Any, ...]]:
    """Audits side by side, one figure a row."""
    names = {
        "rows": "rows",
        "failed": "rows that were not written",
        "positive_copies": "share of positives that are copies",
        "negative_copies": "share of negatives that are copies",
        "negations": "share of negatives with a negation more",
        "bare_negations": "share of negatives that only add a negation",
        "positive_length": "words of positive / sentence",
        "negative_length": "words of negative / sentence",
        "duplicate_anchors": "sentences that come again",
        "duplicate_positives": "positives that come again",
        "swapped": "share scored the wrong way round",
    }
    return [(said, *(getattr(one, name) for one in audits)) for name, said in names.items()]


@dataclass(frozen=True)
class TrainResult:
    """What was trained.

    Args:
        model: The folder; `SentenceTransformer(folder)` loads it.
        kind: `static`, `frozen-lm` or `full`.
        rows: Triples or pairs.
        steps: Optimizer steps.
        best_step: The step whose weights it has; None without development pairs.
        best_spearman: Its correlation on the development pairs.
        masked: Share of negatives that were masked; None without a mask.
    """

    model: str
    kind: str
    rows: int
    steps: int
    best_step: int | None
    best_spearman: float | None
    masked: float | None

    def __rich__(self) -> RenderableType:
        """What was trained and how to load it."""
        best = (
            f", best on the development pairs at step {self.best_step} "
            f"(Spearman {100 * self.best_spearman:.2f})"
            if self.best_spearman is not None
            else ""
        )
        masked = f"; {self.masked:.2%} of the negatives were masked" if self.masked is not None else ""
        return _group(
            f"{self.kind} encoder, {self.rows:,} rows, {self.steps} steps{best}{masked}",
            f'SentenceTransformer("{self.model}")',
        )


@dataclass(frozen=True)
class EvaluateResult:
    """How models did.

    Args:
        sts: One row for each model and file.
        differences: Of the model and each other one: difference, interval, seeds on which it is better.
        transfer: One row for each model and task.
        aggregation: `all` or `mean`.
        overlap: Training sentences of the model that the STS files hold.
        tables: Results of mteb, if asked for.
        page: The page, if asked for.
    """

    sts: Sequence[Mapping[str, Any]]
    differences: Sequence[Mapping[str, Any]]
    transfer: Sequence[Mapping[str, Any]]
    aggregation: str
    overlap: int
    tables: Sequence[Mapping[str, Any]] = field(default_factory=list)
    page: str | None = None

    def __rich__(self) -> RenderableType:
        """Tables, and what the aggregation is."""
        parts: list[RenderableType | str] = [
            table(list(rows[0]), [list(row.values()) for row in rows])
            for rows in (self.sts, self.differences, self.transfer, self.tables)
            if rows
        ]
        if self.sts:
            parts.append(
                f"Spearman x 100 of cosines, aggregation '{self.aggregation}'; intervals: bootstrap over "
                "pairs."
            )
        if self.overlap:
            parts.append(
                f"{self.overlap} sentences of these files were trained on: the figures are transductive."
            )
        return _group(*parts, f"page: {self.page}" if self.page else "")


@dataclass(frozen=True)
class RunResult:
    """All stages.

    Args:
        out: The folder: triples.jsonl, scored.jsonl, clean.jsonl, model, report.html.
        generated: Stage 1.
        curated: Stage 2.
        trained: Stage 3.
        evaluated: Against the untouched encoder and SimCSE, where STS pairs were given.
    """

    out: str
    generated: GenerateResult
    curated: CurateResult
    trained: TrainResult
    evaluated: EvaluateResult | None

    def __rich__(self) -> RenderableType:
        """Each stage in turn."""
        parts: list[Any] = [self.generated, self.curated, self.trained, self.evaluated]
        return _group(*(part.__rich__() for part in parts if part), f"page: {self.out}/report.html")
