"""One row for each model, variant and observation: three chats, the control's, and what was found."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from etude.data import read_records, write_records
from etude.errors import EtudeError
from etude.methods.self_explanations.variants import Variant

RESULTS = "results.jsonl"


class Row(BaseModel):
    """What was asked and answered about one observation, and whether the explanation is faithful.

    Attributes:
        id: Of the observation.
        model: Name of the model.
        task: Name of the task.
        data: Name of the data set.
        label: The right answer.
        variant: How it was asked.
        answers: How labels were read: `free`, `scored` or `calibrated`; not comparable with each other.
        condition: Which first answers count.
        predict: The first answer; None is a mismatch.
        correct: Whether it is the label.
        counted: Whether the condition counts it; explanations of others are not asked for.
        basis: The answer that is explained: the label, or under `predicted` the first answer.
        target: What a counterfactual should be classified as.
        words: The words an attribution lists.
        explain: The text that the third chat reads; None is a mismatch.
        masked: Words masked by an attribution, or masks in a redaction.
        masked_share: The same as a share of the original's words.
        keeps_the_rest: Whether a redaction leaves all other words as they were.
        edit_ratio: Word-level edit distance to the original over its words (counterfactual, redaction).
        changed: Whether a counterfactual is not the original text.
        control_explain: The original with as many words masked at random places.
        reference_explain: The original with as many words masked, those whose masking costs the answer most.
        explain_predict: The answer about the explanation; None is a mismatch.
        control_predict: The answer about the control.
        reference_predict: The answer about the reference.
        faithful: Whether the answer is the one that the explanation predicts; None if it cannot be said.
        flip: Whether it is another than the first one.
        error: What went wrong, and at which stage, when an answer did not come.
        cut: Whether the explanation was cut off at its token limit.
        tokens: Of the three chats.
        seconds: Of the three chats.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    model: str
    task: str
    data: str
    label: str
    variant: Variant
    answers: str
    condition: str
    predict_prompt: str
    predict_answer: str
    predict: str | None
    correct: bool | None
    counted: bool
    basis: str | None = None
    target: str | None = None
    explain_prompt: str | None = None
    explain_answer: str | None = None
    words: list[str] | None = None
    explain: str | None = None
    masked: int | None = None
    masked_share: float | None = None
    keeps_the_rest: bool | None = None
    edit_ratio: float | None = None
    changed: bool | None = None
    control_explain: str | None = None
    reference_explain: str | None = None
    explain_predict_prompt: str | None = None
    explain_predict_answer: str | None = None
    explain_predict: str | None = None
    control_predict: str | None = None
    reference_predict: str | None = None
    faithful: bool | None = None
    control_faithful: bool | None = None
    reference_faithful: bool | None = None
    flip: bool | None = None
    control_flip: bool | None = None
    error: str | None = None
    cut: bool = False
    tokens: int = 0
    seconds: float = 0.0

    @property
    def mismatch(self) -> str | None:
        """The first stage whose answer cannot be read: `predict`, `explain` or `explain_predict`."""
        if self.error:
            return None
        if self.predict is None:
            return "predict"
        if not self.counted:
            return None
        if self.explain is None:
            return "explain"
        return "explain_predict" if self.explain_predict is None else None


def write_rows(folder: Path, rows: Iterable[Row]) -> None:
    """Write a run's rows, in one step."""
    write_records(folder / RESULTS, rows)


def read_rows(folder: Path) -> list[Row]:
    """Read a run's rows.

    Raises:
        EtudeError: The folder holds no finished run, or no row.
    """
    again = "Give the --out of etude self-explanations run; finish it if it was killed."
    if not (folder / RESULTS).is_file():
        raise EtudeError(f"{folder}: no {RESULTS}", again)
    rows = list(read_records(folder / RESULTS, Row))
    if not rows:
        raise EtudeError(f"{folder / RESULTS}: no rows", again)
    return rows
