"""All readers on thousands of damaged files each, in portions."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from tests.reliability.fuzzing import Fuzzed, fuzz
from tests.reliability.readers import all_readers

_PORTION = 500


def fuzz_all(folder: Path, count: int) -> list[Fuzzed]:
    """Fuzz every reader up to `count` files; `readers.jsonl` has what earlier calls did."""
    path, held = folder / "readers.jsonl", {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            held[row["name"]] = Fuzzed(**row | {"bugs": Counter(row["bugs"])})
    folder.mkdir(parents=True, exist_ok=True)
    for reader in all_readers() if count else ():
        while (done := number(held.get(reader.name))) < count:
            with tempfile.TemporaryDirectory() as scratch:
                more = fuzz(reader, min(_PORTION, count - done), Path(scratch), first=done)
            held[reader.name] = joined(held.get(reader.name), more)
            with open(path, "a", encoding="utf-8") as handle:
                handle.write(json.dumps(_row(held[reader.name])) + "\n")
            print(f"{reader.name}: {number(held[reader.name])} {dict(more.bugs) or ''}", file=sys.stderr)
    return list(held.values())


def _row(found: Fuzzed) -> dict[str, object]:
    return asdict(found) | {"bugs": dict(found.bugs)}  # asdict makes a counter of pairs of a counter


def number(found: Fuzzed | None) -> int:
    """How many files a reader has seen."""
    return 0 if found is None else found.read + found.refused + found.bugs.total()


def joined(one: Fuzzed | None, other: Fuzzed) -> Fuzzed:
    """Both counts."""
    if one is None:
        return other
    example = {**other.example, **one.example}
    return Fuzzed(
        one.name, one.read + other.read, one.refused + other.refused, one.bugs + other.bugs, example
    )


def readers_table(found: list[Fuzzed]) -> str:
    """A row per reader."""
    lines = ["| reader | files | read | refused | anything else |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.name} | {number(one)} | {one.read} | {one.refused} | {one.bugs.total()} |" for one in found
    ]
    return "\n".join(lines)
