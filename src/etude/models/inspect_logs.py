"""Finished work as Inspect logs, which `inspect view` opens (extra `[inspect]`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etude.errors import EtudeError
from etude.runs import atomic_path, content_hash

_STOP: dict[str, Any] = {
    "stop": "stop",
    "length": "max_tokens",
    "refused": "content_filter",
    "error": "unknown",
}


def require_inspect() -> None:
    """Raise an `EtudeError` that says what to install when inspect-ai is missing."""
    try:
        import inspect_ai  # noqa: F401
    except ImportError as error:
        raise EtudeError(
            "Inspect logs need the package inspect-ai", "pip install 'etude[inspect]'"
        ) from error


def inspect_sample(
    sample_id: str,
    asked: Sequence[Any],
    answer: str,
    *,
    model: str,
    target: str,
    scores: Mapping[str, Any],
    metadata: Mapping[str, Any],
    stop_reason: str = "stop",
    prompt_tokens: int = 0,
    output_tokens: int = 0,
    cached_tokens: int | None = None,
    seconds: float | None = None,
) -> Any:
    """One question that was asked and answered, as Inspect's `EvalSample`.

    Args:
        sample_id: The question's id.
        asked: Inspect's messages.
        answer: What the model said.
        model: Its name.
        target: The right answer.
        scores: Scorer to Inspect's `Score`.
        metadata: What else to keep; JSON values.
        stop_reason: Why the answer ended: `stop`, `length`, `refused` or `error`.
        prompt_tokens: Tokens of the question.
        output_tokens: Tokens of the answer.
        cached_tokens: Those of the question that were read from a cache.
        seconds: How long the answer took.
    """
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage

    reply = ChatMessageAssistant(content=answer, model=model, source="generate")
    usage = ModelUsage(
        input_tokens=prompt_tokens,
        output_tokens=output_tokens,
        total_tokens=prompt_tokens + output_tokens,
        input_tokens_cache_read=cached_tokens,
    )
    return EvalSample(
        id=sample_id,
        epoch=1,
        input=list(asked),
        target=target,
        messages=[*asked, reply],
        output=ModelOutput(
            model=model,
            choices=[ChatCompletionChoice(message=reply, stop_reason=_STOP[stop_reason])],
            usage=usage,
            time=seconds,
        ),
        scores=dict(scores),
        metadata=dict(metadata),
        model_usage={model: usage},
        total_time=seconds,
    )


def write_inspect_log(
    folder: Path,
    name: str,
    *,
    task: str,
    model: str,
    samples: Sequence[Any],
    scorer: str,
    metrics: Mapping[str, float],
    dataset: Sequence[str] | None = None,
    arguments: Mapping[str, Any] | None = None,
) -> Path:
    """Write one finished evaluation as a `.eval` file.

    Args:
        folder: Where; made when missing.
        name: Name of the file; characters that do not belong in a name become underscores.
        task: The task's name, without `etude/`.
        model: The model's name.
        samples: Inspect's `EvalSample`s.
        scorer: The scorer's name, without `etude/`.
        metrics: Metric to value over all samples.
        dataset: Ids of all questions, when not all were answered: the log then says `cancelled`.
        arguments: Of the task.

    Returns:
        The file.
    """
    from inspect_ai.log import (
        EvalConfig,
        EvalDataset,
        EvalLog,
        EvalMetric,
        EvalResults,
        EvalScore,
        EvalSpec,
        write_eval_log,
    )

    ids = list(dataset) if dataset is not None else [str(sample.id) for sample in samples]
    created = datetime.now(UTC).isoformat(timespec="seconds")
    log = EvalLog(
        status="success" if len(samples) == len(ids) else "cancelled",
        eval=EvalSpec(
            created=created,
            task=f"etude/{task}",
            task_id=content_hash(ids)[:22],
            run_id=content_hash([name, created])[:22],
            task_args=dict(arguments or {}),
            dataset=EvalDataset(name=task, samples=len(ids), sample_ids=ids),
            model=model,
            config=EvalConfig(),
        ),
        results=EvalResults(
            total_samples=len(ids),
            completed_samples=len(samples),
            scores=[
                EvalScore(
                    name=scorer,
                    scorer=f"etude/{scorer}",
                    metrics={key: EvalMetric(name=key, value=value) for key, value in metrics.items()},
                )
            ],
        ),
        samples=list(samples),
    )
    path = folder / ("".join(c if c.isalnum() or c in "-._" else "_" for c in name) + ".eval")
    with atomic_path(path) as temporary:
        write_eval_log(log, str(temporary), format="eval")
    return path
