"""Can a model grade similarity? Its grades of sentence pairs against people's, as an Inspect task.

    inspect eval etude/sts_grading --model openai/gpt-4o -T pairs=stsb_dev.csv -T limit=200

The prompt and the reading of the answer are those of the `text` scorer. A model whose correlation is near
zero should not curate triples.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from inspect_ai import Task
from inspect_ai import task as inspect_task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState, generate

from etude.methods.semcsr.grading import grade_conversation, read_grade
from etude.methods.semcsr.sts import STSPair, read_sts, spearman


@inspect_task
def sts_grading(pairs: str, limit: int | None = None) -> Task:
    """Similarity from 0 to 5 of sentence pairs, against human scores.

    Args:
        pairs: An STS file: score,sentence1,sentence2.
        limit: Only the first so many pairs.
    """
    return grading_task(read_sts(Path(pairs))[:limit])


def grading_task(pairs: Sequence[STSPair]) -> Task:
    """The task of given pairs."""
    samples = [
        Sample(
            id=i,
            input=[ChatMessageUser(content=str(message["content"])) for message in asked],
            target=str(pair.score),
            metadata={"subset": pair.subset},
        )
        for i, pair in enumerate(pairs)
        for asked in [grade_conversation(pair.sentence1, pair.sentence2)]
    ]
    return Task(
        dataset=MemoryDataset(samples, name="sts_grading"),
        solver=[generate()],
        scorer=grade_scorer(),
        config=GenerateConfig(temperature=0.0, max_tokens=16),
        name="sts_grading",
    )


@metric
def grade_spearman() -> Metric:
    """Spearman's correlation of the readable grades with the human scores; 0 where they are all the same."""

    def compute(scores: list[SampleScore]) -> Value:
        read = [(s.score.metadata or {}) for s in scores if (s.score.metadata or {}).get("grade") is not None]
        if len(read) < 2:
            return 0.0
        found = spearman(np.array([r["grade"] for r in read]), np.array([r["gold"] for r in read]))
        return float(np.nan_to_num(found))

    return compute


@metric
def readable() -> Metric:
    """Share of answers that are one number from 0 to 5."""

    def compute(scores: list[SampleScore]) -> Value:
        return float(np.mean([(s.score.metadata or {}).get("grade") is not None for s in scores]))

    return compute


@scorer(metrics=[grade_spearman(), readable()])
def grade_scorer() -> Scorer:
    """The grade in the answer; its distance to the human score, or nothing where it cannot be read."""

    async def score(state: TaskState, target: Target) -> Score:
        grade, gold = read_grade(state.output.completion), float(target.text)
        return Score(
            value=0.0 if grade is None else 1 - abs(grade - gold) / 5,
            answer=state.output.completion[:100],
            metadata={"grade": grade, "gold": gold},
        )

    return score
