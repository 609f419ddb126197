"""A finished run as Inspect logs: one for each arm, opened with `inspect view`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from etude.methods.geoeval.complexity import levels
from etude.methods.geoeval.items import Item
from etude.methods.geoeval.runner import Arm, Response
from etude.methods.geoeval.tables import Responses, read_response
from etude.models.inspect_logs import inspect_sample, require_inspect, write_inspect_log


def write_inspect_logs(folder: Path, items: Sequence[Item], responses: Responses) -> list[Path]:
    """Write one `.eval` log for each arm, with every prompt, picture, response and score.

    Raises:
        EtudeError: inspect-ai is not installed.
    """
    require_inspect()
    hardness = dict(zip((item.id for item in items), levels(items), strict=True))
    written = []
    for arm in dict.fromkeys(arm for arm, _ in responses):
        samples = [
            _sample(arm, item, responses[arm, item.id], hardness[item.id])
            for item in items
            if (arm, item.id) in responses
        ]
        right = [sample.scores["answer_scorer"].value == "C" for sample in samples]
        log = write_inspect_log(
            folder,
            f"{arm.model}_{arm.input}_{arm.method}",
            task="geoeval",
            model=arm.model,
            samples=samples,
            scorer="answer_scorer",
            metrics={"accuracy": sum(right) / len(right)},
            arguments={"input": arm.input, "method": arm.method},
        )
        written.append(log)
    return written


def _sample(arm: Arm, item: Item, response: Response, level: str) -> Any:
    from etude.methods.geoeval.inspect_task import answer_score, sample

    put = sample(item, level, arm.input, arm.method)
    return inspect_sample(
        item.id,
        put.input,
        response.text,
        model=arm.model,
        target=item.gold,
        scores={"answer_scorer": answer_score(item, read_response(item, arm, response))},
        metadata=put.metadata or {},
        stop_reason=response.stop_reason,
        prompt_tokens=response.prompt_tokens,
        output_tokens=response.output_tokens,
        seconds=response.seconds,
    )
