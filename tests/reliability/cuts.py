"""Files that a verb reads, cut short: an error that names the file, or the same result made anew.

Which files it reads is seen from their times of access. A table of lines that is cut between two lines (or
within the last field) is a shorter table: its result may differ, and what it lacks may be said without its
name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from tests.reliability.checks import Found, same_as_uninterrupted, tail
from tests.reliability.site import Site
from tests.reliability.space import in_memory
from tests.reliability.table import Command

LENGTHS = {"nothing": 0.0, "half": 0.5, "all but the last byte": 1.0}
OF_LINES = (".txt", ".csv", ".tsv", ".jsonl", ".qrels", ".trec", ".obo", ".pubtator", ".md", ".html", ".log")
_ROW = re.compile(r"\.\w+:\d+: \w+: ")  # the row of a table that names the file
FORGIVEN = (".lock", "-wal", "-shm")


def files_read(site: Site, command: Command) -> list[str]:
    """Files of the place that the command reads, by name."""
    site.restore(command.verb)
    files = [file for file in site.place.rglob("*") if file.is_file() and not _shared(site, file)]
    for file in files:
        os.utime(file, (1, file.stat().st_mtime))
    site.run(command)
    return sorted(
        str(file.relative_to(site.place)) for file in files if file.exists() and file.stat().st_atime > 1
    )


def cut_files(site: Site, command: Command, done: set[str], most: int) -> Iterator[Found]:
    """Cut every file that is read, at every length, one at a time."""
    verb = command.verb
    with in_memory(site):
        read = [name for name in files_read(site, command) if not name.endswith(FORGIVEN)]
        for name in _spread(read, most):
            for label, share in LENGTHS.items():
                trial = f"{name}: {label}"
                if trial in done:
                    continue
                site.restore(verb)
                file = site.place / name
                size = file.stat().st_size
                os.truncate(file, max(size - 1, 0) if share == 1 else int(size * share))
                ended = site.run(command)
                yield Found(verb, "cut", trial, list(_wrong(site, verb, name, ended)), ended.seconds)


def _wrong(site: Site, verb: str, name: str, ended: object) -> Iterator[str]:
    from tests.reliability.zygote import Outcome

    assert isinstance(ended, Outcome)
    file = Path(name)
    shorter = file.suffix in OF_LINES or file.name == "merges.txt"
    if ended.status == 0:
        if not shorter and file.name not in ended.out:  # a verb that checks files prints what it found
            differing = [
                one for one in same_as_uninterrupted(site, verb, ended) if not one.startswith("leaves")
            ]
            yield from (f"silently: {one}" for one in differing)
    elif not ended.told:
        yield f"ends with {ended.status}: {tail(ended.err)}"
    elif not (shorter or _named(file, ended.err) or _ROW.search(ended.err)):
        yield f"does not name it: {tail(ended.err)}"


def _named(file: Path, said: str) -> bool:
    """Whether an error calls a file by its name or by that of a folder it lies in."""
    return any(re.search(rf"(?<![\w-]){re.escape(part)}(?![\w-])", said) for part in file.parts[1:])


def _shared(site: Site, file: Path) -> bool:
    """Whether it lies in a folder of the user's cache."""
    return any(parent.is_symlink() for parent in file.parents if parent.is_relative_to(site.place))


def _spread(names: list[str], most: int) -> list[str]:
    """At most so many names, of every suffix some."""
    seen: dict[str, int] = {}
    ranked = []
    for name in names:
        kind = Path(name).suffix + Path(name).parent.name
        seen[kind] = seen.get(kind, 0) + 1
        ranked.append((seen[kind], name))
    return [name for _, name in sorted(ranked)][:most]
