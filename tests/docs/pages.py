"""The documentation as data: its pages, and the commands and Python of their code blocks."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")],
    key=lambda page: page.as_posix(),
)
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:\$ )?(?:etude|accelerate launch -m etude\.cli) (?P<rest>.+)")
_INLINE = re.compile(r"`etude ([^`]+)`")


def name(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[tuple[str, str]]:
    """The language and text of every code block."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def commands(page: Path) -> list[list[str]]:
    """Arguments of the `etude` commands in the page's code blocks, in the order of reading."""
    found = []
    for _, text in blocks(page):
        for line in text.replace("\\\n", " ").splitlines():
            match = _COMMAND.fullmatch(line.strip())
            if match and "│" not in line:
                found.append(shlex.split(match["rest"], comments=True))
    return found


def mentions(page: Path) -> list[list[str]]:
    """Arguments of the commands in running text, which may leave some out."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return [shlex.split(rest) for rest in _INLINE.findall(text)]


def python_blocks(page: Path) -> list[str]:
    """The page's Python code."""
    return [text for language, text in blocks(page) if language == "python"]
