"""The verb `predict`: labels and probabilities for texts, resumable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.conspemollm.annotator import keeping_chat
from etude.methods.conspemollm.detector import FILE, ConspEmo
from etude.methods.conspemollm.examples import read_examples
from etude.methods.conspemollm.metrics import Scores, scores_of
from etude.methods.conspemollm.near_duplicates import group_texts
from etude.methods.conspemollm.prompted import ask, shots_from
from etude.methods.conspemollm.settings import Settings
from etude.methods.conspemollm.tasks import INVALID, ConspTask, TaskName, short_name, task_named
from etude.methods.conspemollm.texts_in import TextRow, read_texts, shard_slices, warnings_of
from etude.methods.conspemollm.training_runs import restored, scores_table
from etude.methods.conspemollm.wordings import wording_hash
from etude.render import console, table
from etude.runs import Run, content_hash, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType

Format = Literal["csv", "jsonl", "parquet"]
Answers = Literal["scored", "free"]
SHARD = 64
_Work = Callable[[list[tuple[str, str]]], list[dict[str, Any]]]


@dataclass(frozen=True)
class PredictResult:
    """Predictions.

    Args:
        file: One row for each text: id, label, p_CLASS, and affect on routes R2 and R3.
        labels: Label to number of texts.
        scores: Where the texts have labels.
        notices: What a reader should know.
    """

    file: str
    labels: dict[str, int]
    scores: dict[str, Scores]
    notices: list[str]

    def __rich__(self) -> RenderableType:
        """Labels, scores, notices."""
        from rich.console import Group

        parts: list[RenderableType] = [
            table(("label", "texts"), sorted(self.labels.items()), title="Predictions")
        ]
        if self.scores:
            parts.append(scores_table(self.scores, "Against the labels in the file"))
        return Group(
            *parts,
            *(f"note: {notice}" for notice in self.notices),
            "A label speaks of a text, never of its author.",
            f"written: {self.file}",
        )


@verb
def predict(
    detector: str,
    texts: Path,
    *,
    task: TaskName = "judgment",
    theory: str | None = None,
    answers: Answers = "scored",
    shots: int = 0,
    examples: Path | None = None,
    base_url: str | None = None,
    max_length: int | None = None,
    limit: int | None = None,
    format: Format = "csv",
    out: Path,
) -> PredictResult:
    """Label texts; the same command after a kill goes on where it was.

    Args:
        detector: A folder written by train; or, as a baseline, a chat model as it is (smollm2, a folder,
            org/name,
            openai/MODEL, inspect/PROVIDER/MODEL).
        texts: CSV, JSONL or Parquet with id, text and perhaps label (which is then scored against).
        task: intention, theory-type, judgment, relatedness or topic.
        theory: For relatedness: coronavirus, "sandy hook", or a theory in your own words.
        answers: Of an untuned model: scored (the likeliest label, local models) or free (what it writes; an
            answer
            that names no class is invalid).
        shots: Solved examples in the prompt of an untuned model (needs --examples).
        examples: Where these come from: a folder written by build.
        base_url: Address of an OpenAI-compatible server.
        max_length: Tokens of prompt and answer of an untuned local model.
        limit: Only the first texts.
        format: Of the table that is written.
        out: Run folder; the table lies in OUT/predictions.FORMAT, the scores in OUT/metrics.json.

    Raises:
        EtudeError: Bad rows, no such detector, or it was not trained for the task.
    """
    rows, counts = read_texts(texts, limit)
    asked = task_named(task)
    asked.statement(theory)  # refuses a missing theory before anything is loaded
    solved = shots_from(read_examples(examples), asked, shots) if shots and examples else []
    if shots and not examples:
        raise EtudeError("--shots needs solved examples", "Give --examples FOLDER, written by build.")
    work, identity = _worker(detector, asked, theory, answers, solved, base_url, max_length, out)
    config = {
        "detector": identity,
        "task": task,
        "theory": theory,
        "shots": solved,
        "texts": content_hash([[row.id, row.text] for row in rows]),
        "wording": wording_hash(),
    }
    with Run(out, config, command="conspemollm predict") as run:
        found: list[dict[str, Any]] = []
        for start, end in shard_slices(rows, SHARD):
            part = [(row.id, row.text) for row in rows[start:end]]
            found += run.step(f"rows {start}", lambda part=part: work(part))  # type: ignore[misc]
            if len(rows) > SHARD:
                console().print(f"labelled {end:,} of {len(rows):,} texts")
        file = out / f"predictions.{format}"
        write_records(file, found)
        if run.result is None:
            scored = score_rows(asked, rows, found)
            plain = {} if scored is None else {str(task): asdict(scored)}
            write_json(
                out / "metrics.json",
                {
                    **identity,
                    "task": task,
                    "template_hash": wording_hash(),
                    "texts": len(rows),
                    "scores": plain,
                },
            )
            run.complete({"scores": plain})
        told = {name: restored(one) for name, one in (run.result or {"scores": {}})["scores"].items()}
    labels = Counter(str(row["label"]) for row in found)
    notices = warnings_of(counts, len(rows))
    if labels[INVALID]:
        notices.append(f"{labels[INVALID]} of {len(rows)} answers name no class: invalid")
    return PredictResult(str(file), dict(labels), told, notices)


def score_rows(task: ConspTask, rows: Sequence[TextRow], found: Sequence[dict[str, Any]]) -> Scores | None:
    """Scores of predicted rows against the labels in their file; None without any label.

    Raises:
        EtudeError: A label in the file is no class of the task.
    """
    labelled = [(row, said) for row, said in zip(rows, found, strict=True) if row.label is not None]
    if not labelled:
        return None
    true = []
    for row, _ in labelled:
        labels = task.read(row.label or "")
        if labels is None:
            raise EtudeError(
                f"id {row.id!r}: label {row.label!r} is no class of {task.name}",
                f"The classes are {', '.join(task.classes)}.",
            )
        true.append(labels)
    said = [None if one["label"] == INVALID else task.read(str(one["label"])) for _, one in labelled]
    columns = [f"p_{short_name(label)}" for label in task.classes]
    values = [[one.get(column) for column in columns] for _, one in labelled]
    whole = all(value is not None for row in values for value in row)
    texts = [row.text for row, _ in labelled]
    groups = group_texts(texts, [row.id.partition("#")[0] for row, _ in labelled])
    return scores_of(task, true, said, np.array(values, dtype=float) if whole else None, groups)


def _worker(
    detector: str,
    task: ConspTask,
    theory: str | None,
    answers: Answers,
    shots: Sequence[tuple[str, str]],
    base_url: str | None,
    max_length: int | None,
    out: Path,
) -> tuple[_Work, dict[str, Any]]:
    """What labels a shard, and what it is."""
    if (Path(detector) / FILE).is_file():
        trained = ConspEmo.load(detector)
        if shots:
            raise EtudeError("a trained detector takes no shots", "Leave out --shots.")
        if task.name not in trained.tasks:
            raise EtudeError(
                f"{detector} was not trained for {task.name}", f"It knows {', '.join(trained.tasks)}."
            )
        return lambda part: trained.predict_rows(part, task.name, theory), trained.identity
    if answers == "free" or detector.startswith(("openai/", "inspect/", "scripted/", "replay/")):
        chat = keeping_chat(detector, base_url, out / "responses.sqlite")
        statement = task.statement(theory)
        return lambda part: ask(chat, task, statement, part, shots), {"model": detector, "answers": "free"}
    plain = ConspEmo(
        detector, tasks=(task.name,), settings=Settings(detector, tuning="lora", max_length=max_length)
    )
    if plain.family != "causal":
        raise EtudeError(
            f"{detector} is an encoder and was not trained", "Train it first: etude conspemollm train."
        )
    return lambda part: plain.predict_rows(part, task.name, theory, shots), {
        "model": detector,
        "answers": "scored",
    }
