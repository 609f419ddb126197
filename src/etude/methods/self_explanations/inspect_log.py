"""A finished run as Inspect logs: one for each model and variant, opened with `inspect view`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etude.methods.self_explanations.rates import cells_of
from etude.methods.self_explanations.rows import Row
from etude.models.inspect_logs import require_inspect, write_inspect_log


def write_inspect_logs(folder: Path, rows: Sequence[Row]) -> list[Path]:
    """Write one `.eval` log for each model and variant, with every chat and score.

    Raises:
        EtudeError: inspect-ai is not installed.
    """
    require_inspect()
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ModelOutput

    from etude.methods.self_explanations.inspect_task import messages_of, row_score

    written = []
    for model, variant in dict.fromkeys((row.model, row.variant.name) for row in rows):
        mine = [row for row in rows if (row.model, row.variant.name) == (model, variant)]
        [cell, *_] = cells_of(mine)
        samples = [
            EvalSample(
                id=row.id,
                epoch=1,
                input=row.predict_prompt,
                target=row.label,
                messages=messages_of(row),
                output=ModelOutput.from_content(model, row.explain_answer or row.predict_answer),
                scores={"faithful_scorer": row_score(row)},
                metadata={"row": row.model_dump(mode="json")},
            )
            for row in mine
        ]
        rates = {
            "counted": float(cell.counted),
            **({"faithfulness": cell.faithfulness.value} if cell.faithfulness else {}),
            **({"control": cell.control.value} if cell.control else {}),
        }
        log = write_inspect_log(
            folder,
            f"{model}_{variant}",
            task="self_explanations",
            model=model,
            samples=samples,
            scorer="faithful_scorer",
            metrics=rates,
            arguments={"data": mine[0].data, "variant": variant},
        )
        written.append(log)
    return written
