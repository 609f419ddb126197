"""What a check of a verb finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.reliability.comparing import differences, printed, state
from tests.reliability.site import Site
from tests.reliability.zygote import Outcome


@dataclass
class Found:
    """The outcome of one trial.

    Args:
        verb: `METHOD VERB`.
        check: `kill`, `full`, `read-only`, `outside`, `cut` or `model`.
        trial: Which of its trials.
        problems: What was wrong, empty when nothing was.
        seconds: How long the runs took.
    """

    verb: str
    check: str
    trial: str
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


def note(site: Site, ended: Outcome) -> dict[str, Any]:
    """What an uninterrupted run printed and left."""
    return {"out": printed(ended.out), "files": state(site.place), "size": size(site.place)}


def size(place: Path) -> int:
    """Bytes on the disk below a folder, in whole pages."""
    files = (file for file in place.rglob("*") if file.is_file() and not file.is_symlink())
    return sum(-(-file.stat().st_size // 4096) * 4096 for file in files)


def same_as_uninterrupted(site: Site, verb: str, ended: Outcome) -> list[str]:
    """How a run that went through differs from the uninterrupted one."""
    if ended.status != 0:
        return [f"ends with {ended.status}: {tail(ended.err)}"]
    reference, problems = site.told(verb), []
    if printed(ended.out) != reference["out"]:
        problems.append(f"prints another result: {difference(reference['out'], printed(ended.out))}")
    differing = differences(reference["files"], state(site.place))
    if differing:
        problems.append(f"leaves other files: {', '.join(differing[:6])}")
    return problems


def tail(text: str) -> str:
    """The last lines of what was said."""
    return " | ".join(line.strip() for line in text.strip().splitlines()[-4:])[-600:]


def difference(one: Any, other: Any, where: str = "") -> str:
    """The first place where two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if one.get(key) != other.get(key):
                return difference(one.get(key), other.get(key), f"{where}.{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for at, pair in enumerate(zip(one, other, strict=True)):
            if pair[0] != pair[1]:
                return difference(*pair, f"{where}[{at}]")
    return f"{where}: {str(one)[:120]!r} became {str(other)[:120]!r}"
