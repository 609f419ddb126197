"""Processes that descend from another one."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path


def descendants(ancestor: int) -> dict[int, str]:
    """The command line of each process that a process started, itself or through others, by its number."""
    titles, parents = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            titles[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):  # it ended meanwhile
            continue

    def is_below(process: int) -> bool:
        while process > 1:
            process = parents.get(process, 0)
            if process == ancestor:
                return True
        return False

    return {process: title for process, title in titles.items() if is_below(process)}


def kill_with_descendants(running: "subprocess.Popen[str]") -> None:
    """Kill a process and all that it started: a launcher alone would leave its workers behind."""
    for process in [*descendants(running.pid), running.pid]:
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(process, signal.SIGKILL)
    running.communicate()


def said_by(running: "subprocess.Popen[str]") -> str:
    """What a process prints until it ends well; one that does not end is killed with all that it started."""
    try:
        said, _ = running.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        kill_with_descendants(running)
        raise
    assert running.returncode == 0, said
    return said
