"""What the verbs that ask a model give back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etude.methods.relevance.agreement import Agreement
from etude.methods.relevance.answers import USABLE
from etude.methods.relevance.prompt_study import PromptStudy
from etude.render import Text, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class LabelResult:
    """A finished labelling.

    Args:
        out: The qrels of the usable labels.
        records: All labels with raw answers (JSONL).
        model: Who labelled.
        prompt: With which prompt; empty for scorers.
        statuses: Status to number of labels.
        labelled_now: How many of them were made by this command (the others were there).
        left_out: Reason to number of pairs left out.
        prompt_tokens: Of all calls.
        output_tokens: Of all calls.
        cut_documents: Documents that were longer than allowed and cut.
        probes: Agreement on the gold probes, if there were any.
    """

    out: str
    records: str
    model: str
    prompt: str
    statuses: dict[str, int]
    labelled_now: int
    left_out: dict[str, int]
    prompt_tokens: int
    output_tokens: int
    cut_documents: int
    probes: Agreement | None = None

    def __rich__(self) -> RenderableType:
        """Labels by status, what was left out, and where the files are."""
        from rich.console import Group

        total = sum(self.statuses.values())
        rows = [(s, n, f"{n / total:.1%}", "yes" if s in USABLE else "no") for s, n in self.statuses.items()]
        lines = [f"{count} pairs left out: {reason}" for reason, count in self.left_out.items()]
        if self.cut_documents:
            lines.append(f"{self.cut_documents} documents were longer than allowed and were cut")
        lines += [f"{self.prompt_tokens:,} prompt and {self.output_tokens:,} output tokens"]
        lines += [f"qrels: {self.out}; all records: {self.records}"]
        title = f"{total:,} labels by {self.model} {self.prompt}, {self.labelled_now:,} of them now"
        drawn = table(("status", "labels", "share", "in the qrels"), rows, title=title)
        return Group(drawn, *(show(Text(line)) for line in lines), *([self.probes] if self.probes else []))


@dataclass(frozen=True)
class PromptsResult:
    """A prompt study.

    Args:
        study: Prompts, spread, choice.
        outside: Column of a table to its number of values outside the scale.
    """

    study: PromptStudy
    outside: dict[str, int] = field(default_factory=dict)

    def __rich__(self) -> RenderableType:
        """The study, and how many values were left out."""
        from rich.console import Group

        total = sum(self.outside.values())
        line = f"{total} values outside the scale, in {len(self.outside)} columns, were left out"
        return Group(self.study, *([show(Text(line))] if total else []))


@dataclass(frozen=True)
class CalibrateResult:
    """Fitted thresholds.

    Args:
        out: Their file.
        model: The scorer.
        thresholds: A score from the k-th on is at least grade k.
        fitted_on: How many queries they were fitted on.
        held_out: Agreement on the other queries.
    """

    out: str
    model: str
    thresholds: list[float]
    fitted_on: int
    held_out: Agreement

    def __rich__(self) -> RenderableType:
        """The thresholds and what they are worth on other queries."""
        from rich.console import Group

        cut = ", ".join(f"{t:.4g}" for t in self.thresholds)
        line = f"{self.model}: thresholds {cut}, fitted on {self.fitted_on} queries; on the others:"
        return Group(show(Text(line)), self.held_out, show(Text(f"label --thresholds {self.out}")))
