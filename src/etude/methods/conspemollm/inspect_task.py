"""The detection tasks for Inspect: any model as a zero- or few-shot baseline on your examples.

inspect eval etude/conspemollm --model openai/gpt-4o -T data=condid -T task=judgment -T shots=4
"""

from __future__ import annotations

from inspect_ai import Task as InspectTask
from inspect_ai import task as inspect_task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, accuracy, metric, scorer
from inspect_ai.solver import TaskState, generate

from etude.methods.conspemollm.examples import Split, read_examples
from etude.methods.conspemollm.metrics import scores_of
from etude.methods.conspemollm.prompted import ANSWER_TOKENS, conversation, shots_from
from etude.methods.conspemollm.tasks import INVALID, task_named


@inspect_task
def conspemollm(
    data: str, task: str = "judgment", split: Split = "test", shots: int = 0, limit: int | None = None
) -> InspectTask:
    """Conspiracy detection by prompting.

    Args:
        data: A folder written by `etude conspemollm build`, or a file of examples.
        task: `judgment`, `intention`, `theory-type`, `relatedness` or `topic`.
        split: Which examples are asked about.
        shots: Solved training examples in the prompt.
        limit: Only the first examples.
    """
    asked = task_named(task)
    examples = read_examples(data, task)
    solved = shots_from(examples, asked, shots)
    samples = [
        Sample(
            id=one.id,
            input=str(conversation(one.instruction, one.input, solved)[0]["content"]),
            target=asked.answer(one.labels),
            metadata={"labels": list(one.labels), "task": task},
        )
        for one in [one for one in examples if one.split == split][:limit]
    ]
    return InspectTask(
        dataset=MemoryDataset(samples, name="conspemollm"),
        solver=[generate()],
        scorer=class_scorer(),
        config=GenerateConfig(temperature=0.0, max_tokens=ANSWER_TOKENS),
        name="conspemollm",
    )


@metric
def macro_f1() -> Metric:
    """Mean F1 of the classes; an invalid answer is an error."""

    def compute(scores: list[SampleScore]) -> float:
        rows = [one.score.metadata or {} for one in scores]
        if not rows:
            return float("nan")
        said = [None if row["said"] is None else tuple(row["said"]) for row in rows]
        return scores_of(
            task_named(rows[0]["task"]), [tuple(row["true"]) for row in rows], said
        ).macro_f1.value

    return compute


@metric
def invalid() -> Metric:
    """Answers that name no class."""

    def compute(scores: list[SampleScore]) -> float:
        return sum((one.score.metadata or {}).get("said") is None for one in scores)

    return compute


@scorer(metrics=[accuracy(), macro_f1(), invalid()])
def class_scorer() -> Scorer:
    """C where the named classes are the right ones."""

    async def score(state: TaskState, target: Target) -> Score:
        task = task_named(state.metadata["task"])
        said = task.read(state.output.completion)
        right = tuple(state.metadata["labels"])
        return Score(
            value="C" if said == right else "I",
            answer=INVALID if said is None else task.answer(said),
            metadata={"task": task.name, "true": list(right), "said": None if said is None else list(said)},
        )

    return score
