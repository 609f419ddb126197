"""A bridge to EleutherAI's lm-eval, where the Portuguese suites live (assin2_rte, bluex, enem, faquad_nli,
hatebr …).

The package is not one of ours: it is imported when a task is asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.methods.teenytinyllama.classification import macro_f1, majority
from etude.methods.teenytinyllama.suites import Row
from etude.models import CausalLM


def harness_rows(
    lm: CausalLM,
    tasks: Sequence[str],
    *,
    shots: int = 0,
    limit: int | None = None,
    include: Path | None = None,
) -> list[Row]:
    """Accuracy and macro-F1 of each task as lm-eval computes them, beside chance and the most frequent
    answer.

    Args:
        lm: Model and tokenizer.
        tasks: Names of lm-eval.
        shots: Solved examples before each question.
        limit: Questions per task.
        include: Folder with task files of your own.

    Raises:
        EtudeError: lm-eval is not installed, or knows no such task.
    """
    if not tasks:
        return []
    try:
        evaluator, tasks_module, wrapper = (
            importlib.import_module(f"lm_eval.{name}")
            for name in ("evaluator", "tasks", "models.huggingface")
        )
    except ImportError as error:
        raise EtudeError("--harness needs lm-eval", "Install it with: pip install lm-eval") from error
    known: Any = tasks_module.TaskManager(include_path=str(include) if include else None)
    unknown = [task for task in tasks if task not in known.all_tasks]
    if unknown:
        raise EtudeError(f"lm-eval has no task {unknown[0]!r}", "See its list with: lm-eval ls tasks")
    found = evaluator.simple_evaluate(
        model=wrapper.HFLM(pretrained=lm.model, tokenizer=lm.tokenizer, batch_size=8),
        tasks=list(tasks),
        num_fewshot=shots,
        limit=limit,
        task_manager=known,
        log_samples=True,
        bootstrap_iters=0,
    )
    return [row for task in tasks for row in task_rows(task, lm.name, found["samples"].get(task, []))]


def task_rows(task: str, model: str, samples: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Rows from lm-eval's logged samples of a multiple-choice task."""
    asked = [
        (int(s["target"]), len(s["filtered_resps"]), int(np.argmax([r[0] for r in s["filtered_resps"]])))
        for s in samples
        if str(s["target"]).isdecimal()
    ]
    if not asked:
        raise EtudeError(
            f"{task} is not multiple choice: chance is not defined for it", "Run it with lm-eval itself."
        )
    truth, sizes, chosen = (np.array(column) for column in zip(*asked, strict=True))
    even = float((1 / sizes).mean())
    shares = np.unique(truth, return_counts=True)[1] / len(truth)

    def row(by: str, picked: np.ndarray) -> Row:
        return Row(task, by, float((picked == truth).mean()), macro_f1(truth, picked), len(truth))

    return [
        row(f"{model}, lm-eval", chosen),
        row("most frequent answer", np.full_like(truth, majority(truth))),
        Row(task, "chance", even, float((2 * shares * even / (shares + even)).mean()), len(truth)),
    ]
