"""The documentation as data: its pages, and the commands and Python of their code blocks."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")],
    key=lambda page: page.as_posix(),
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LAUNCHED = r"(?:accelerate launch|torchrun --nproc-per-node (?P<processes>\d+)) -m etude\.cli"
_COMMAND = re.compile(rf"(?:\$ )?(?:etude|{_LAUNCHED}) (?P<rest>.+)")
_INLINE = re.compile(r"`etude ([^`]+)`")


def name(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and text of every code block."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Command:
    """An `etude` command of a code block.

    Args:
        line: As the page has it, on one line.
        shown: What the block shows below it, up to the next command.
    """

    line: str
    shown: str


def shown_commands(page: Path) -> list[Command]:
    """The `etude` commands in the page's code blocks, in the order of reading."""
    found: list[Command] = []
    for _, text in blocks(page):
        line, shown = "", []
        for read in [*text.replace("\\\n", " ").splitlines(), "$ "]:
            match = _COMMAND.fullmatch(read.strip())
            if (match and "│" not in read) or read.startswith("$ "):
                if line:
                    found.append(Command(line, "\n".join(shown)))
                line, shown = " ".join(read.split()) if match else "", []
            else:
                shown.append(read)
    return found


def arguments(line: str) -> list[str]:
    """The arguments of a command's line."""
    match = _COMMAND.fullmatch(line)
    assert match, line
    return shlex.split(match["rest"], comments=True)


def processes(line: str) -> list[str]:
    """What runs a command that names a number of processes; nothing for others."""
    match = _COMMAND.fullmatch(line)
    if not match or not match["processes"]:
        return []
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", match["processes"]]
    return [sys.executable, *torchrun, "-m", "etude.cli"]


def commands(page: Path) -> list[list[str]]:
    """Arguments of the `etude` commands in the page's code blocks, in the order of reading."""
    return [arguments(command.line) for command in shown_commands(page)]


def mentions(page: Path) -> list[list[str]]:
    """Arguments of the commands in running text, which may leave some out."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [shlex.split(rest) for rest in _INLINE.findall(text)]


def python_blocks(page: Path) -> list[str]:
    """The page's Python code."""
    return [text for language, text in blocks(page) if language == "python"]
