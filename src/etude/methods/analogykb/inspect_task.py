"""Analogy questions as an Inspect task.

    inspect eval etude/analogykb --model openai/gpt-4o -T questions=test.jsonl

A sample is one question with lettered choices. An answer that names no letter, or two, scores 0 and is
counted by `unanswered`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, mean, metric, scorer
from inspect_ai.solver import TaskState, generate

from etude.methods.analogykb.analogy_questions import read_questions
from etude.methods.analogykb.prompted import question_prompt, read_letter
from etude.methods.analogykb.text_to_text import LETTERS

_MESSAGES: dict[str, Any] = {
    "system": ChatMessageSystem,
    "user": ChatMessageUser,
    "assistant": ChatMessageAssistant,
}


@task
def analogykb(questions: str, demonstrations: str | None = None, shots: int = 0, seed: int = 0) -> Task:
    """Does the model recognize analogies?

    Args:
        questions: A file with stem, choice, answer, group.
        demonstrations: Questions shown before each.
        shots: How many of them.
        seed: Of their choice.
    """
    asked = read_questions(Path(questions))
    shown = []
    if demonstrations and shots:
        given = read_questions(Path(demonstrations))
        shown = [given[i] for i in np.random.default_rng(seed).choice(len(given), size=shots, replace=False)]
    samples = [
        Sample(
            id=f"{i:05}",
            input=[_MESSAGES[m["role"]](content=str(m["content"])) for m in question_prompt(question, shown)],
            target=LETTERS[question.answer],
            metadata={"choices": len(question.choice), "group": question.group},
        )
        for i, question in enumerate(asked)
    ]
    return Task(
        dataset=MemoryDataset(samples, name="analogykb"),
        solver=generate(),
        scorer=letter_scorer(),
        config=GenerateConfig(temperature=0.0, max_tokens=16),
        name="analogykb",
    )


@metric
def unanswered() -> Metric:
    """Share of answers that name no letter, or two."""

    def compute(scores: list[SampleScore]) -> float:
        return sum(s.score.answer is None for s in scores) / max(len(scores), 1)

    return compute


@scorer(metrics=[mean(), unanswered()])
def letter_scorer() -> Scorer:
    """1 where the named letter is the right one."""

    async def score(state: TaskState, target: Target) -> Score:
        place = read_letter(state.output.completion, int((state.metadata or {})["choices"]))
        letter = None if place is None else LETTERS[place]
        return Score(value=float(letter == target.text), answer=letter)

    return score
