"""The full tables (STS12-16, STS-B, SICK-R, transfer, BEIR) through the library mteb."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from etude.errors import EtudeError


def mteb_rows(name: str, encoder: Any, tasks: Sequence[str]) -> list[dict[str, Any]]:
    """Main scores of MTEB tasks.

    Args:
        name: Of the model, in the table.
        encoder: The `SentenceTransformer`.
        tasks: Names of tasks.

    Raises:
        EtudeError: mteb is not installed, or there is no such task.
    """
    if importlib.util.find_spec("mteb") is None:
        raise EtudeError("--mteb needs the package mteb", 'pip install "etude[mteb]"')
    import mteb

    try:
        chosen = mteb.get_tasks(tasks=list(tasks))
    except KeyError as error:
        raise EtudeError(
            f"mteb: {error.args[0] if error.args else error}"[:300], "See mteb.get_tasks() for the names."
        ) from error
    results = mteb.evaluate(encoder, chosen, cache=None)
    return [
        {"model": name, "task": one.task_name, "main score": 100 * one.get_score()}
        for one in results.task_results
    ]
