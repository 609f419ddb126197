"""The verb `predict`: labels and probabilities for texts, resumable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from etude.data import write_records
from etude.data.batches import BatchEngine
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.conspemollm.annotator import keeping_chat
from etude.methods.conspemollm.detector import FILE, ConspEmo
from etude.methods.conspemollm.examples import read_examples
from etude.methods.conspemollm.metrics import Scores, scores_of
from etude.methods.conspemollm.near_duplicates import group_texts
from etude.methods.conspemollm.prompted import ask, shots_from
from etude.methods.conspemollm.settings import Settings, family_of
from etude.methods.conspemollm.sharding import Work, in_shards
from etude.methods.conspemollm.tasks import INVALID, ConspTask, TaskName, short_name, task_named
from etude.methods.conspemollm.texts_in import TableFormat, TextRow, read_texts, warnings_of
from etude.methods.conspemollm.training_runs import restored, scores_table
from etude.methods.conspemollm.wordings import wording_hash
from etude.render import table
from etude.runs import Run, content_hash, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType

Answers = Literal["scored", "free"]


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
    format: TableFormat = "csv",
    engine: BatchEngine = "local",
    workers: int = 2,
    out: Path,
) -> PredictResult:
    """Label texts; the same command after a kill goes on where it was.

    Args:
        detector: A folder written by train; or, as a baseline, a chat model as it is (smollm2, a folder,
            org/name, openai/MODEL, inspect/PROVIDER/MODEL).
        texts: CSV, JSONL or Parquet with id, text and perhaps label (which is then scored against).
        task: intention, theory-type, judgment, relatedness or topic.
        theory: For relatedness: coronavirus, "sandy hook", or a theory in your own words.
        answers: Of an untuned model: scored (the likeliest label, local models) or free (what it writes; an
            answer that names no class is invalid).
        shots: Solved examples in the prompt of an untuned model (needs --examples).
        examples: Where these come from: a folder written by build.
        base_url: Address of an OpenAI-compatible server.
        max_length: Tokens of prompt and answer of an untuned local model.
        limit: Only the first texts.
        format: Of the table that is written.
        engine: local, or ray: shards of texts through Ray Data, on one or many machines.
        workers: With ray.
        out: Run folder; the table lies in OUT/predictions.FORMAT, the scores in OUT/metrics.json.

    Raises:
        EtudeError: Bad rows, no such detector, or it was not trained for the task.
    """
    rows, counts = read_texts(texts, limit)
    asked = task_named(task)
    asked.statement(theory)  # refuses a missing theory, and then wrong labels, before anything is loaded
    for row in rows:
        if row.label is not None:
            given_labels(asked, row)
    solved = shots_from(read_examples(examples), asked, shots) if shots and examples else []
    if shots and not examples:
        raise EtudeError("--shots needs solved examples", "Give --examples FOLDER, written by build.")
    work = PredictWork(
        detector, task, theory, answers, tuple(solved), base_url, max_length, str(out / "responses.sqlite")
    )
    identity = work.identity()
    config = {
        "detector": identity,
        "task": task,
        "theory": theory,
        "shots": solved,
        "texts": content_hash([[row.id, row.text] for row in rows]),
        "wording": wording_hash(),
    }
    with Run(out, config, command="conspemollm predict") as run:
        found = in_shards(run, [(row.id, row.text) for row in rows], work, engine=engine, workers=workers)
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


def given_labels(task: ConspTask, row: TextRow) -> tuple[int, ...]:
    """The class numbers that a text's file gives it.

    Raises:
        EtudeError: The label is no class of the task.
    """
    labels = task.read(row.label or "")
    if labels is None:
        raise EtudeError(
            f"id {row.id!r}: label {row.label!r} is no class of {task.name}",
            f"The classes are {', '.join(task.classes)}.",
        )
    return labels


def score_rows(task: ConspTask, rows: Sequence[TextRow], found: Sequence[dict[str, Any]]) -> Scores | None:
    """Scores of predicted rows against the labels in their file; None without any label.

    Raises:
        EtudeError: A label in the file is no class of the task.
    """
    labelled = [(row, said) for row, said in zip(rows, found, strict=True) if row.label is not None]
    if not labelled:
        return None
    true = [given_labels(task, row) for row, _ in labelled]
    said = [None if one["label"] == INVALID else task.read(str(one["label"])) for _, one in labelled]
    columns = [f"p_{short_name(label)}" for label in task.classes]
    values = [[one.get(column) for column in columns] for _, one in labelled]
    whole = all(value is not None for row in values for value in row)
    texts = [row.text for row, _ in labelled]
    groups = group_texts(texts, [row.id.partition("#")[0] for row, _ in labelled])
    return scores_of(task, true, said, np.array(values, dtype=float) if whole else None, groups)


@dataclass(frozen=True)
class PredictWork:
    """Makes what labels texts in each worker: a trained detector, or a chat model as it is.

    Args:
        detector: A trained detector's folder, or a model's name.
        task: The task.
        theory: For relatedness.
        answers: `scored` or `free`, for a model as it is.
        shots: Solved examples.
        base_url: Of a served model.
        max_length: Tokens of prompt and answer of a model as it is.
        store: Keeps the answers of a chat model that has no store of its own.
    """

    detector: str
    task: TaskName
    theory: str | None
    answers: Answers
    shots: tuple[tuple[str, str], ...]
    base_url: str | None
    max_length: int | None
    store: str

    @property
    def trained(self) -> bool:
        """Whether it names a trained detector."""
        return (Path(self.detector) / FILE).is_file()

    @property
    def chats(self) -> bool:
        """Whether a chat model writes its answers."""
        served = self.detector.startswith(("openai/", "inspect/", "scripted/", "replay/"))
        return not self.trained and (self.answers == "free" or served)

    def identity(self) -> dict[str, Any]:
        """What determines the labels.

        Raises:
            EtudeError: No such detector, it was not trained for the task, or it takes no shots.
        """
        if self.chats:
            return {"model": self.detector, "answers": "free"}
        if not self.trained:
            if family_of(self.detector) != "causal":
                raise EtudeError(
                    f"{self.detector} is an encoder and was not trained",
                    "Train it first: etude conspemollm train.",
                )
            return {"model": self.detector, "answers": "scored", "max_length": self.max_length}
        found = ConspEmo.load(self.detector)
        if self.shots:
            raise EtudeError("a trained detector takes no shots", "Leave out --shots.")
        if self.task not in found.tasks:
            raise EtudeError(
                f"{self.detector} was not trained for {self.task}", f"It knows {', '.join(found.tasks)}."
            )
        return found.identity

    def __call__(self) -> Work:
        """Labels of (id, text) pairs."""
        if self.chats:
            chat = keeping_chat(self.detector, self.base_url, Path(self.store))
            task = task_named(self.task)
            return lambda part: ask(chat, task, task.statement(self.theory), part, self.shots)
        if self.trained:
            found = ConspEmo.load(self.detector)
        else:
            settings = Settings(self.detector, tuning="lora", max_length=self.max_length)
            found = ConspEmo(tasks=(self.task,), settings=settings)
        return lambda part: found.predict_rows(part, self.task, self.theory, self.shots)
