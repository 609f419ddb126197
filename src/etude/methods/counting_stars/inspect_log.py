"""A finished run as Inspect logs: one for each model, opened with `inspect view`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from etude.methods.counting_stars.cells import Cell, Haystacks
from etude.methods.counting_stars.tables import Answer, tables
from etude.models.inspect_logs import inspect_sample, require_inspect, write_inspect_log


def write_inspect_logs(
    folder: Path, cells: Sequence[Cell], answers: Mapping[tuple[str, str], Answer], haystacks: Haystacks
) -> list[Path]:
    """Write one `.eval` log for each model, with every prompt, answer and score.

    Raises:
        EtudeError: inspect-ai is not installed.
    """
    require_inspect()
    from inspect_ai.model import ChatMessageUser

    from etude.methods.counting_stars.inspect_task import star_score

    scored = list(tables(cells, answers)[0].iter_rows(named=True))
    written = []
    for model in dict.fromkeys(name for name, _ in answers):
        samples = [
            inspect_sample(
                cell.id,
                [ChatMessageUser(content=haystacks.prompt(cell).text)],
                answer.raw,
                model=model,
                target=json.dumps(cell.counts),
                scores={"star_scorer": star_score(cell, answer.raw, answer.stop_reason, "official")},
                metadata={"length": cell.length, "seed": cell.seed, "cell": cell.model_dump(mode="json")},
                stop_reason=answer.stop_reason,
                prompt_tokens=answer.prompt_tokens or 0,
                output_tokens=answer.output_tokens or 0,
                cached_tokens=answer.cached_tokens,
                seconds=answer.seconds,
            )
            for cell in cells
            if (answer := answers.get((model, cell.id))) is not None
        ]
        log = write_inspect_log(
            folder,
            model,
            task="counting_stars",
            model=model,
            samples=samples,
            scorer="star_scorer",
            metrics={"mean": fmean(row["score_official"] for row in scored if row["model"] == model)},
            dataset=[cell.id for cell in cells],
        )
        written.append(log)
    return written
