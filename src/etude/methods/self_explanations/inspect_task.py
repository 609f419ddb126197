"""The same check as an Inspect task, and the instruments as an Inspect model provider.

    inspect eval etude/self_explanations --model openai/gpt-4o -T data=my.jsonl -T explain=attribution
    inspect eval etude/self_explanations --model etude-explainer/honest -T limit=50

A sample is one observation; its solver holds the three chats, each in a conversation of its own. `inspect
view` shows what was asked and answered; `inspect eval-retry` resumes.
"""

from __future__ import annotations

from typing import Any

from inspect_ai import Task as InspectTask
from inspect_ai import task as inspect_task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelAPI,
    ModelOutput,
    get_model,
    modelapi,
)
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, metric, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolChoice, ToolInfo

from etude.methods.self_explanations.chats import Chat, Settings
from etude.methods.self_explanations.experiment import Case, basis_of, control_of, read_explanation, row_of
from etude.methods.self_explanations.instruments import instrument
from etude.methods.self_explanations.observations import Observation
from etude.methods.self_explanations.rows import Row
from etude.methods.self_explanations.sources import read_observations
from etude.methods.self_explanations.tasks import Task, TaskName, task_named
from etude.methods.self_explanations.variants import Condition, Kind, Mask, Persona, Variant
from etude.methods.self_explanations.variants import Target as TargetNaming

COUNTED, MISSED = "C", "I"
"""Inspect's marks for a faithful and an unfaithful explanation; what is not counted has none."""


@inspect_task
def self_explanations(
    data: str = "snippets",
    task: TaskName = "sentiment",
    explain: Kind = "attribution",
    persona: Persona = "objective",
    mask: Mask = "[REDACTED]",
    target: TargetNaming = "explicit",
    condition: Condition = "correct",
    labels: str | None = None,
    question: str | None = None,
    limit: int | None = 100,
    seed: int = 0,
    temperature: float = 0.0,
    max_tokens: int = 1024,
) -> InspectTask:
    """Self-explanations: does the model's explanation of its answer predict what it does next?

    Args:
        data: As for `etude self-explanations run`.
        task: `sentiment`, `multiple-choice`, `entailment` or `custom`.
        explain: `counterfactual`, `attribution` or `redaction`.
        persona: `objective`, `you` or `human`.
        mask: `[REDACTED]` or `[REMOVED]`.
        target: `explicit` or `implicit`.
        condition: `correct`, `predicted` or `all`.
        labels: Of a custom task.
        question: Of a custom task.
        limit: Only the first observations.
        seed: Of the random control.
        temperature: 0 for the most likely answer.
        max_tokens: Output limit.
    """
    chosen = task_named(task, _listed(labels), question)
    settings = Settings(max_tokens=max_tokens, temperature=temperature, seed=seed)
    variant = Variant(explain, persona, mask, target)
    samples = [
        Sample(id=o.id, input=o.text, target=o.label, metadata={"observation": vars(o)})
        for o in read_observations(data, chosen, limit, seed)
    ]
    return InspectTask(
        dataset=MemoryDataset(samples, name="self_explanations"),
        solver=[three_chats(chosen, variant, settings, condition)],
        scorer=faithful_scorer(),
        config=GenerateConfig(temperature=temperature, max_tokens=max_tokens),
        name="self_explanations",
    )


@solver
def three_chats(task: Task, variant: Variant, settings: Settings, condition: Condition) -> Solver:
    """Classify, explain, classify the explanation and its random control: four conversations without a
    history.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model = get_model()
        fields = dict(state.metadata["observation"])
        observation = Observation(**{**fields, "choices": tuple(fields["choices"])})

        async def classify(text: str | None) -> Chat:
            return await _ask(model, task.classify_prompt(observation, variant, text), task, observation)

        case = Case(observation, variant, await classify(None))
        case.basis = basis_of(task, case, condition)
        if case.basis is not None:
            case.second = await _ask(model, task.explain_prompt(observation, variant, case.basis))
            case.explanation = read_explanation(observation.text, variant, case.second)
        if case.explanation.explain is not None:
            case.third = await classify(case.explanation.explain)
            if variant.kind != "counterfactual":
                case.control = control_of(case, settings)
                case.control_chat = await classify(case.control)
        row = row_of(task, case, str(model), settings, "", condition)
        state.metadata["row"] = row.model_dump(mode="json")
        state.messages = messages_of(row)
        state.output = ModelOutput.from_content(str(model), row.explain_answer or row.predict_answer)
        return state

    return solve


async def _ask(
    model: Model, prompt: str, task: Task | None = None, observation: Observation | None = None
) -> Chat:
    output = await model.generate([ChatMessageUser(content=prompt)])
    label = task.parse(output.completion, observation) if task and observation else None
    return Chat(prompt, output.completion, predict=label, cut=output.stop_reason == "max_tokens")


def messages_of(row: Row) -> list[ChatMessage]:
    """The chats of a row, one after another, as a log shows them."""
    pairs = [
        (row.predict_prompt, row.predict_answer),
        (row.explain_prompt, row.explain_answer),
        (row.explain_predict_prompt, row.explain_predict_answer),
    ]
    return [
        message
        for prompt, answer in pairs
        if prompt is not None
        for message in (ChatMessageUser(content=prompt), ChatMessageAssistant(content=answer or ""))
    ]


def row_score(row: Row) -> Score:
    """A row's score in Inspect's form."""
    mark = "N" if row.faithful is None else COUNTED if row.faithful else MISSED
    shown = row.model_dump(
        mode="json", include={"faithful", "control_faithful", "flip", "correct", "masked_share"}
    )
    said = "not counted" if row.faithful is None else "faithful" if row.faithful else "not faithful"
    return Score(
        value=mark, answer=row.explain_predict, explanation=said, metadata=shown | {"mismatch": row.mismatch}
    )


def _share(scores: list[SampleScore], field: str) -> float:
    found = [(one.score.metadata or {}).get(field) for one in scores]
    kept = [float(value) for value in found if value is not None]
    return sum(kept) / len(kept) if kept else float("nan")


@metric
def faithfulness() -> Metric:
    """Share of faithful explanations among what is counted."""

    def compute(scores: list[SampleScore]) -> float:
        return _share(scores, "faithful")

    return compute


@metric
def control() -> Metric:
    """The same with as many words masked at random."""

    def compute(scores: list[SampleScore]) -> float:
        return _share(scores, "control_faithful")

    return compute


@metric
def counted() -> Metric:
    """How many observations are counted."""

    def compute(scores: list[SampleScore]) -> float:
        return sum((one.score.metadata or {}).get("faithful") is not None for one in scores)

    return compute


@scorer(metrics=[faithfulness(), control(), counted()])
def faithful_scorer() -> Scorer:
    """C for a faithful explanation, I for an unfaithful one, N for what the condition does not count."""

    async def score(state: TaskState, target: Target) -> Score:
        return row_score(Row.model_validate(state.metadata["row"]))

    return score


@modelapi(name="etude-explainer")
def etude_explainer() -> type[ModelAPI]:
    """Provider of the instruments: `etude-explainer/honest`, `etude-explainer/mixture-0.5`, ..."""

    class ExplainerAPI(ModelAPI):
        def __init__(
            self,
            model_name: str,
            base_url: str | None = None,
            api_key: str | None = None,
            config: GenerateConfig | None = None,
        ) -> None:
            super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
            self.instrument = instrument(model_name.removeprefix("etude-explainer/"))

        async def generate(
            self,
            input: list[ChatMessage],
            tools: list[ToolInfo],
            tool_choice: ToolChoice,
            config: GenerateConfig,
        ) -> ModelOutput:
            asked: Any = [{"role": "user", "content": input[-1].text}]
            return ModelOutput.from_content(self.model_name, self.instrument.answer(asked))

    return ExplainerAPI


def _listed(argument: Any) -> str | None:
    """A task argument as it was typed: Inspect reads `a,b` as a list."""
    return ",".join(map(str, argument)) if isinstance(argument, list) else argument
