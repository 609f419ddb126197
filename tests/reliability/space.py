"""A full disk and a read-only one: two lines, status 2, nothing earlier lost; with space the command goes on.

A small file system in memory is mounted on the place, in a mount namespace of the sweep's own (file modes do
not bind the superuser, a mount does).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.reliability.checks import Found, same_as_uninterrupted, size, tail
from tests.reliability.comparing import state
from tests.reliability.site import Site
from tests.reliability.table import Command
from tests.reliability.zygote import Outcome

_PAGE = 4096


OWN_MOUNTS = "ETUDE_TESTS_OWN_MOUNTS"


def can_mount() -> bool:
    """Whether this process has mounts of its own, in which it may add some."""
    return OWN_MOUNTS in os.environ


def with_own_mounts(command: list[str]) -> list[str]:
    """The command that gives a command mounts of its own; what it mounts nobody else sees."""
    return ["unshare", "--mount", "env", f"{OWN_MOUNTS}=1", *command]


@contextmanager
def in_memory(site: Site) -> Iterator[None]:
    """The place on a file system of its own, large for now."""
    site.place.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", "size=8g,strictatime", "none", str(site.place))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(site.place)], check=True)


def full_disk(site: Site, command: Command, share: float) -> Found:
    """Leave room for a share of what the command writes."""
    verb, problems = command.verb, []
    with in_memory(site):
        site.restore(verb)
        before = state(site.place)
        used = _used(site.place)
        grown = max(site.told(verb)["size"] - size(site.place), 0)
        _mount(
            "-o", f"remount,size={used + max(_PAGE, int(share * grown) // _PAGE * _PAGE)}", str(site.place)
        )
        first = site.run(command)
        _mount("-o", "remount,size=8g", str(site.place))
        problems += _refused(site, verb, first, before, ("space", "full", "written", "store", "disk"))
        ended = site.run(command)
        problems += [f"with space again: {one}" for one in same_as_uninterrupted(site, verb, ended)]
    return Found(verb, "full", f"{share:g}", problems, round(first.seconds + ended.seconds, 2))


def read_only(site: Site, command: Command) -> Found:
    """Let nothing be written."""
    verb, problems = command.verb, []
    with in_memory(site):
        site.restore(verb)
        before = state(site.place)
        _mount("-o", "remount,ro", str(site.place))
        first = site.run(command)
        _mount("-o", "remount,rw", str(site.place))
        problems += _refused(site, verb, first, before, ("read-only", "written", "readonly", "store"))
        ended = site.run(command)
        problems += [f"when writable again: {one}" for one in same_as_uninterrupted(site, verb, ended)]
    return Found(verb, "read-only", "0", problems, round(first.seconds + ended.seconds, 2))


def _refused(
    site: Site, verb: str, ended: Outcome, before: dict[str, str], words: tuple[str, ...]
) -> Iterator[str]:
    """What is wrong with how a command ended that could not write."""
    if ended.status == 0:
        return
    if not ended.told:
        yield f"ends with {ended.status}: {tail(ended.err)}"
    elif not any(word in ended.err.lower() for word in words):
        yield f"does not say why: {tail(ended.err)}"
    reference, after = site.told(verb)["files"], state(site.place)
    lost = [name for name, held in before.items() if reference.get(name) == held and after.get(name) != held]
    if lost:
        yield f"earlier files are not what they were: {', '.join(lost[:5])}"


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def _used(place: Path) -> int:
    held = os.statvfs(place)
    return (held.f_blocks - held.f_bfree) * held.f_frsize
