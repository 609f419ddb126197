"""A finished run as Inspect logs: one for each arm, opened with `inspect view`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etude.errors import EtudeError
from etude.methods.geoeval.complexity import levels
from etude.methods.geoeval.items import Item
from etude.methods.geoeval.runner import Arm, Response
from etude.methods.geoeval.tables import Responses, read_response
from etude.runs import atomic_path, content_hash


def write_inspect_logs(folder: Path, items: Sequence[Item], responses: Responses) -> list[Path]:
    """Write one `.eval` log for each arm, with every prompt, picture, response and score.

    Raises:
        EtudeError: inspect-ai is not installed.
    """
    try:
        from inspect_ai.log import write_eval_log
    except ImportError as error:
        raise EtudeError(
            "Inspect logs need the package inspect-ai", "pip install 'etude[inspect]'"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    hardness = dict(zip((item.id for item in items), levels(items), strict=True))
    written = []
    for arm in dict.fromkeys(arm for arm, _ in responses):
        answered = [(item, responses[arm, item.id]) for item in items if (arm, item.id) in responses]
        path = folder / f"{arm.model}_{arm.input}_{arm.method}.eval".replace("/", "_")
        with atomic_path(path) as temporary:
            write_eval_log(_log(arm, answered, hardness), str(temporary), format="eval")
        written.append(path)
    return written


def _log(arm: Arm, answered: Sequence[tuple[Item, Response]], hardness: dict[str, Any]) -> Any:
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalMetric,
        EvalResults,
        EvalScore,
        EvalSpec,
    )

    samples = [_sample(arm, item, response, hardness[item.id]) for item, response in answered]
    right = [sample.scores["answer_scorer"].value == "C" for sample in samples]
    created = datetime.now(UTC).isoformat(timespec="seconds")
    metric = EvalMetric(name="accuracy", value=sum(right) / len(right))
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=created,
            task="etude/geoeval",
            task_id=content_hash([item.id for item, _ in answered])[:22],
            run_id=content_hash([arm.model, arm.input, arm.method, created])[:22],
            task_args={"input": arm.input, "method": arm.method},
            dataset=EvalDataset(
                name="geoeval", samples=len(samples), sample_ids=[item.id for item, _ in answered]
            ),
            model=arm.model,
            config=EvalConfig(),
        ),
        results=EvalResults(
            total_samples=len(samples),
            completed_samples=len(samples),
            scores=[
                EvalScore(name="answer_scorer", scorer="etude/answer_scorer", metrics={"accuracy": metric})
            ],
        ),
        samples=samples,
    )


def _sample(arm: Arm, item: Item, response: Response, level: str) -> Any:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage

    from etude.methods.geoeval.inspect_task import answer_score, sample

    put = sample(item, level, arm.input, arm.method)
    reply = ChatMessageAssistant(content=response.text, model=arm.model, source="generate")
    stop: Any = {"length": "max_tokens", "refused": "content_filter"}.get(response.stop_reason, "stop")
    usage = ModelUsage(
        input_tokens=response.prompt_tokens,
        output_tokens=response.output_tokens,
        total_tokens=response.prompt_tokens + response.output_tokens,
    )
    return EvalSample(
        id=item.id,
        epoch=1,
        input=put.input,
        target=item.gold,
        messages=[*put.input, reply],
        output=ModelOutput(
            model=arm.model,
            choices=[ChatCompletionChoice(message=reply, stop_reason=stop)],
            usage=usage,
            time=response.seconds,
        ),
        scores={"answer_scorer": answer_score(item, read_response(item, arm, response))},
        metadata=put.metadata or {},
        model_usage={arm.model: usage},
        total_time=response.seconds,
    )
