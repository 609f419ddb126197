"""Nothing is written but in the working directory, the cache and the scratch folder."""

from __future__ import annotations

import importlib
import inspect
import os
from pathlib import Path

from tests.reliability.checks import Found
from tests.reliability.site import Site
from tests.reliability.table import Command

from etude.catalogue import CARDS


def writes_elsewhere(site: Site, command: Command) -> Found:
    """Run a command beside a snapshot of what it has no business with."""
    site.restore(command.verb)
    before = _files(site)
    scratch = {file.name for file in (site.place / "scratch").iterdir()}
    ended = site.run(command)
    problems = [f"writes {name}" for name in sorted(_files(site) - before) if not _named(command, name)]
    left = {file.name for file in (site.place / "scratch").iterdir()} - scratch
    problems += [f"leaves {name} in the folder for temporary files" for name in sorted(left)]
    return Found(command.verb, "outside", "0", problems, ended.seconds)


def _files(site: Site) -> set[str]:
    """Files of the working directory and the home with their times."""
    return {
        str(file.relative_to(site.place))
        for part in ("work", "home")
        for file in (site.place / part).rglob("*")
        if file.is_file() and not file.is_symlink()
    }


def _named(command: Command, name: str) -> bool:
    """Whether the file lies in (or beside, with the same stem) something that the command was given."""
    part, _, inner = name.partition(os.sep)
    if part != "work":
        return False
    given = [*map(Path, (token for token in command.tokens if not token.startswith("-"))), *_told(command)]
    path = Path(inner)
    return any(path == one or one in path.parents or _beside(path, one) for one in given)


def _told(command: Command) -> list[Path]:
    """Where the verb's help says that it writes when it is told nothing."""
    method, verb = command.verb.split()
    function = getattr(importlib.import_module(CARDS[method].package), verb.replace("-", "_"))
    defaults = [parameter.default for parameter in inspect.signature(function).parameters.values()]
    return [default for default in defaults if isinstance(default, Path)]


def _beside(path: Path, given: Path) -> bool:
    """Whether it is, or lies in, a companion of the given: of `t.csv`, `t.work`, `t.csv.x` or `.t.csv.x`."""
    return any(
        one.parent == given.parent and (one.stem == given.stem or f"{given.name}." in one.name)
        for one in (path, *path.parents)
    )
