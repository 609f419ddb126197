"""The logs of a run: one JSON object a line, cut back to the checkpoint when a run resumes.

metrics.jsonl   step, tokens_seen, loss, lr, grad_norm, tokens_per_s, mfu, seconds, kwh, kgco2
eval.jsonl      step, split, tokens, loss, perplexity, bits_per_byte
samples.jsonl   step, prompt, text
emissions.csv   CodeCarbon's columns, one row a checkpoint, each the sum since the run's start
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from etude.methods.teenytinyllama.energy import read_emissions, write_emissions
from etude.runs import write_text

METRICS, EVALUATIONS, SAMPLES, EMISSIONS = "metrics.jsonl", "eval.jsonl", "samples.jsonl", "emissions.csv"


class RunLogs:
    """Writes a run's logs; only the leading process has one.

    Args:
        folder: The run's folder.
        step: Where the run goes on: rows of later steps are dropped, since they will be made again.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.folder = folder
        for name in (METRICS, EVALUATIONS, SAMPLES):
            kept = [row for row in read_log(folder / name) if row["step"] <= step]
            write_text(folder / name, "".join(_line(row) for row in kept))
        path = folder / EMISSIONS
        earlier = read_emissions(path) if path.exists() else []
        self._emissions = [row for row in earlier if int(row["run_id"].rpartition("-")[2]) <= step]

    def write(self, name: str, row: dict[str, Any]) -> None:
        """Append one row to a log."""
        with open(self.folder / name, "a", encoding="utf-8") as file:
            file.write(_line(row))

    def write_emissions(self, row: dict[str, Any]) -> None:
        """Append one row to emissions.csv."""
        self._emissions.append(row)
        write_emissions(self.folder / EMISSIONS, self._emissions)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The rows of a log; a last line that a kill cut short is left out."""
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = []
    for line in path.read_bytes().split(b"\n"):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            break
    return rows


def to_yaml(value: dict[str, Any], indent: str = "") -> str:
    """Nested mappings of JSON values as YAML; a scalar or list is written as JSON, which YAML includes."""
    lines: list[str] = []
    for key, item in value.items():
        if isinstance(item, dict) and item:
            lines += [f"{indent}{key}:\n", to_yaml(item, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {json.dumps(item, ensure_ascii=False)}\n")
    return "".join(lines)


def _line(row: dict[str, Any]) -> str:
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    return json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n"
