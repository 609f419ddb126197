"""A finished run as Inspect logs: one for each model and variant, opened with `inspect view`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from etude.errors import EtudeError
from etude.methods.self_explanations.rates import cells_of
from etude.methods.self_explanations.rows import Row
from etude.runs import atomic_path, content_hash


def write_inspect_logs(folder: Path, rows: Sequence[Row]) -> list[Path]:
    """Write one `.eval` log for each model and variant, with every chat and score.

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
        from inspect_ai.model import ModelOutput

        from etude.methods.self_explanations.inspect_task import messages_of, row_score
    except ImportError as error:
        raise EtudeError(
            "Inspect logs need the package inspect-ai", "pip install 'etude[inspect]'"
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    created = datetime.now(UTC).isoformat(timespec="seconds")
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
        log = EvalLog(
            status="success",
            eval=EvalSpec(
                created=created,
                task="etude/self_explanations",
                task_id=content_hash([variant, [row.id for row in mine]])[:22],
                run_id=content_hash([model, variant, created])[:22],
                dataset=EvalDataset(
                    name=mine[0].data, samples=len(mine), sample_ids=[row.id for row in mine]
                ),
                model=model,
                config=EvalConfig(),
            ),
            results=EvalResults(
                total_samples=len(mine),
                completed_samples=len(mine),
                scores=[
                    EvalScore(
                        name="faithful_scorer",
                        scorer="etude/faithful_scorer",
                        metrics={name: EvalMetric(name=name, value=value) for name, value in rates.items()},
                    )
                ],
            ),
            samples=samples,
        )
        safe = "".join(c if c.isalnum() or c in "-." else "_" for c in f"{model}_{variant}")
        path = folder / f"{safe}.eval"
        with atomic_path(path) as temporary:
            write_eval_log(log, str(temporary), format="eval")
        written.append(path)
    return written
