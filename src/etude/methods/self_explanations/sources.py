"""A data source by name: a user's file, MCTest's files, or what can be made here."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.self_explanations.mctest import read_mctest
from etude.methods.self_explanations.observations import Observation, distinct
from etude.methods.self_explanations.samples import babi_world, snippets
from etude.methods.self_explanations.tasks import Task
from etude.runs import content_hash

MADE_HERE = {"snippets": ("sentiment", snippets), "babi-1": ("multiple-choice", babi_world)}
"""Source that needs no file to its task and maker."""
MADE = 1000


def read_observations(source: str, task: Task, limit: int | None = None, seed: int = 0) -> list[Observation]:
    """Read and check the observations of a task.

    Args:
        source: A file, folder or hub id with the task's rows; `snippets` or `babi-1`; or an MCTest `.tsv`.
        task: Decides which fields a row has.
        limit: Only the first ones.
        seed: Of what is made here.

    Raises:
        EtudeError: The source cannot be read, rows are bad (named by file, line and field), an id stands
            twice, or the source belongs to another task.
    """
    if limit is not None and limit < 1:
        raise EtudeError(f"--limit {limit}: nothing would be asked", "Give 1 or more, or leave it out.")
    if source in MADE_HERE:
        name, make = MADE_HERE[source]
        if task.name != name:
            raise EtudeError(f"{source} is for --task {name}, not {task.name}", "Change one of them.")
        return make(limit or MADE, seed)
    if source.endswith(".tsv") and Path(source).with_suffix(".ans").is_file():
        if task.name != "multiple-choice":
            raise EtudeError(f"{source} holds multiple choice", "Give --task multiple-choice.")
        return distinct(islice(read_mctest(Path(source)), limit), source)
    rows = read_records(source, task.row)
    return distinct((row.observation() for row in islice(rows, limit)), source)  # type: ignore[attr-defined]


def data_hash(observations: list[Observation]) -> str:
    """16 hex digits over all observations."""
    return content_hash([vars(observation) for observation in observations])[:16]
