"""A finished run as Inspect logs: one for each model, opened with `inspect view`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from etude.errors import EtudeError
from etude.methods.counting_stars.cells import Cell, Haystacks
from etude.methods.counting_stars.tables import Answer, tables
from etude.runs import atomic_path, content_hash

_STOP: dict[str, Any] = {
    "stop": "stop",
    "length": "max_tokens",
    "refused": "content_filter",
    "error": "unknown",
}


def write_inspect_logs(
    folder: Path, cells: Sequence[Cell], answers: Mapping[tuple[str, str], Answer], haystacks: Haystacks
) -> list[Path]:
    """Write one `.eval` log for each model, with every prompt, answer and score.

    Raises:
        EtudeError: inspect-ai is not installed.
    """
    try:
        from inspect_ai.log import (
            EvalConfig,
            EvalDataset,
            EvalLog,
            EvalMetric,
            EvalResults,
            EvalSample,
            EvalScore,
            EvalSpec,
            write_eval_log,
        )
        from inspect_ai.model import (
            ChatCompletionChoice,
            ChatMessageAssistant,
            ChatMessageUser,
            ModelOutput,
            ModelUsage,
        )

        from etude.methods.counting_stars.inspect_task import star_score
    except ImportError as error:
        raise EtudeError(
            "Inspect logs need the package inspect-ai", "pip install 'etude[inspect]'"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    created = datetime.now(UTC).isoformat(timespec="seconds")
    scored = list(tables(cells, answers)[0].iter_rows(named=True))
    written = []
    for model in dict.fromkeys(name for name, _ in answers):
        samples = []
        for cell in cells:
            answer = answers.get((model, cell.id))
            if answer is None:
                continue
            prompt = ChatMessageUser(content=haystacks.prompt(cell).text)
            reply = ChatMessageAssistant(content=answer.raw, model=model, source="generate")
            stop = _STOP[answer.stop_reason]
            prompt_tokens, output_tokens = answer.prompt_tokens or 0, answer.output_tokens or 0
            usage = ModelUsage(
                input_tokens=prompt_tokens,
                output_tokens=output_tokens,
                total_tokens=prompt_tokens + output_tokens,
                input_tokens_cache_read=answer.cached_tokens,
            )
            samples.append(
                EvalSample(
                    id=cell.id,
                    epoch=1,
                    input=[prompt],
                    target=json.dumps(cell.counts),
                    messages=[prompt, reply],
                    output=ModelOutput(
                        model=model,
                        choices=[ChatCompletionChoice(message=reply, stop_reason=stop)],
                        usage=usage,
                        time=answer.seconds,
                    ),
                    scores={"star_scorer": star_score(cell, answer.raw, answer.stop_reason, "official")},
                    metadata={"length": cell.length, "seed": cell.seed, "cell": cell.model_dump(mode="json")},
                    model_usage={model: usage},
                    total_time=answer.seconds,
                )
            )
        values = [row["score_official"] for row in scored if row["model"] == model]
        log = EvalLog(
            status="success" if len(samples) == len(cells) else "cancelled",
            eval=EvalSpec(
                created=created,
                task="etude/counting_stars",
                task_id=content_hash([cell.id for cell in cells])[:22],
                run_id=content_hash([model, created])[:22],
                dataset=EvalDataset(
                    name="counting_stars", samples=len(cells), sample_ids=[cell.id for cell in cells]
                ),
                model=model,
                config=EvalConfig(),
            ),
            results=EvalResults(
                total_samples=len(cells),
                completed_samples=len(samples),
                scores=[
                    EvalScore(
                        name="star_scorer",
                        scorer="etude/star_scorer",
                        metrics={"mean": EvalMetric(name="mean", value=fmean(values))},
                    )
                ],
            ),
            samples=samples,
        )
        path = folder / f"{model.replace('/', '_')}.eval"
        with atomic_path(path) as temporary:
            write_eval_log(log, str(temporary), format="eval")
        written.append(path)
    return written
