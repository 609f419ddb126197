r"""From a response to its answer, by rules: no model is asked, and the same text gives the same answer.

In this order: the last `\boxed{}`, an answer that is announced ("the answer is", "Answer:", `####`), and,
unless the response was cut off, the last relation or number of its last lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from etude.methods.geoeval.answers import parse_answer
from etude.methods.geoeval.equivalence import option_index
from etude.methods.geoeval.notation import MOST_CHARACTERS

Status = Literal["answered", "none", "empty", "refused", "truncated"]


@dataclass(frozen=True, slots=True)
class Extraction:
    """The answer of a response.

    Args:
        answer: As it was written; empty if none was found.
        rule: `boxed`, `announced`, `relation`, `last number`, `letter`, `program`, `model` or, without an
            answer, empty.
        status: `answered`; `none` (text without an answer), `empty`, `refused`, or `truncated` (cut off
            before an answer was announced).
    """

    answer: str
    rule: str
    status: Status


_TAGGED = re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.S | re.I)
_ANNOUNCED = re.compile(
    r"(?:\bfinal\s+answer\b|\b(?:the\s+|my\s+)?(?:correct\s+)?(?:answer|option|choice)\b)"
    r"[*_\s]*(?:to\s+the\s+(?:problem|question)\s*)?(?:\bis\b|\bwould\s+be\b|:|=|≈)[*_ \t:]*",
    re.I,
)
_HASHES = re.compile(r"^####[ \t]*(.+)$", re.M)
_REFUSAL = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)"
    r"|i (?:cannot|can't|can not|won't) (?:\w+ )?(?:answer|solve|help|determine|assist|see|view)"
    r"|as an ai\b|cannot be (?:solved|answered) without)",
    re.I,
)
_SENTENCE_END = re.compile(
    r"(?:[.!?;](?=\s|$)|,\s+(?:so|which|and|because|since|as)\b|\s+(?:because|since|which|where|so)\b)"
)
_MATH_SPAN = re.compile(
    r"(?:[-+−]\s*)?(?:\\(?:d|t|c)?frac|\\?sqrt|√|\\?pi\b|π|\(|\d|\.\d)"
    r"(?:[\d\s.,:+\-−*/^(){}°²³√π·×÷%|\\]|\\?(?:sqrt|pi|frac|dfrac|tfrac|cdot|times|left|right|circ|degrees?|text|mathrm"
    r"|cm|mm|km|m|ft|in|sq|units?|inch(?:es)?|feet|meters?|square|cubic|sin|cos|tan)\b)*",
    re.I,
)
_LETTER = re.compile(
    r"\(([A-H])\)|\b([A-H])\b(?!\s*=)(?!\s*(?!because\b|since\b|as\b|or\b|is correct)[A-Za-z'∠△])"
)
_LAST_LINES = 3
_MOST_BOXES = 20
_LONGEST_SENTENCE = 4_000


def extract_answer(response: str, *, options: Sequence[str] = (), stop_reason: str = "stop") -> Extraction:
    """Find the answer of a response.

    Args:
        response: What a model wrote.
        options: The choices, if it was asked for a letter.
        stop_reason: `stop`, `length`, `refused` or `error`, as the model's server said.
    """
    text = response.strip()
    if not text:
        return Extraction("", "", "refused" if stop_reason == "refused" else "empty")
    for rule, found in _announced(text):
        if options and _names_several(found, options):
            return Extraction("", "", "none")
        answer = _letter_in(found, options) if options else ""
        answer = answer or _mathematics(found, first=True)
        if answer:
            return Extraction(answer, "letter" if options and len(answer) == 1 else rule, "answered")
    if stop_reason == "refused" or _REFUSAL.search(text):
        return Extraction("", "", "refused")
    if stop_reason == "length":
        return Extraction("", "", "truncated")
    if options and (letter := _closing_letter(text, options)):
        return Extraction(letter, "letter", "answered")
    for line in [line for line in reversed(text.splitlines()) if line.strip()][:_LAST_LINES]:
        if parse_answer(_bare(line)).kind in ("set", "interval", "ratio", "tuple"):
            return Extraction(_bare(line), "relation", "answered")
        if answer := _relation(line):
            return Extraction(answer, "relation", "answered")
        if answer := _mathematics(line, first=False):
            return Extraction(answer, "last number", "answered")
    return Extraction("", "", "none")


def printed_answer(output: str) -> Extraction:
    """The answer in what a program printed last: the line itself, or the answer of the sentence it is."""
    line = output.strip()
    if not line:
        return Extraction("", "program", "none")
    if _is_answer(line):
        return Extraction(_bare(line), "program", "answered")
    found = extract_answer(line)
    return Extraction(found.answer or line, "program", "answered")


def boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{}` (or `\fbox{}`) whose braces close."""
    for found in reversed(list(re.finditer(r"\\f?box(?:ed)?\s*\{", text))[-_MOST_BOXES:]):
        depth = 1
        for at in range(found.end(), len(text)):
            depth += (text[at] == "{") - (text[at] == "}")
            if depth == 0:
                return text[found.end() : at].strip()
    return None


def _announced(text: str) -> Iterator[tuple[str, str]]:
    """Places where a response says what its answer is, the weightiest first, the last of a kind before
    others.
    """
    if (found := boxed(text)) is not None:
        yield "boxed", found
    for pattern in (_TAGGED, _HASHES):
        if matches := pattern.findall(text):
            yield "announced", matches[-1].strip()
    matches = list(_ANNOUNCED.finditer(text))
    for match, following in reversed(list(zip_longest(matches, matches[1:]))):
        said = (
            text[match.end() : following.start() if following else len(text)]
            .lstrip(" *_:$\n")
            .partition("\n")[0]
        )  # it may stand on the next line
        yield "announced", said


def _mathematics(text: str, *, first: bool) -> str:
    """The text if it is mathematics as a whole, else the first or last mathematical piece of it."""
    text = text.strip().strip("*_").strip()
    if (inner := boxed(text)) is not None:
        text = inner
    sentence = _SENTENCE_END.split(text, maxsplit=1)[0] if first else text
    for whole in (text, sentence):
        if whole and len(whole) <= MOST_CHARACTERS and _is_answer(whole):
            return _bare(whole)
    if first and (found := _relation(sentence)):
        return found
    near = sentence[:_LONGEST_SENTENCE] if first else sentence[-_LONGEST_SENTENCE:]
    pieces = [_bare(found[0]) for found in _MATH_SPAN.finditer(near)]
    pieces = [piece for piece in pieces if _is_answer(piece)]
    if not pieces:
        return ""
    return pieces[0] if first else pieces[-1]


def _is_answer(text: str) -> bool:
    """Whether it reads as an answer; `2x + 1` does, letters and words alone do not."""
    kind = parse_answer(_bare(text)).kind
    if kind in ("expression", "equation"):
        return any(map(str.isdigit, text)) and not re.search(r"(?<!\\)\b[A-Za-z]{4,}", text)
    return kind not in ("text", "empty")


def _bare(text: str) -> str:
    return text.strip().strip("*_`").strip().rstrip(".,;:").strip()


def _relation(line: str) -> str:
    """The right side of the last `=` (or `≈`) of a line, where it can be read."""
    sides = re.split(r"=|≈|\\approx|\bis equal to\b|\bequals\b", line)
    if len(sides) < 2:
        return ""
    last = re.sub(r"\\[)\]]|\$", " ", sides[-1])
    for text in (last, _SENTENCE_END.split(last, maxsplit=1)[0]):
        if _is_answer(text):
            return _bare(text)
    found = _MATH_SPAN.match(last.strip())
    return _bare(found[0]) if found and _is_answer(found[0]) else ""


def _letter_in(text: str, options: Sequence[str]) -> str:
    """The option that an announced answer names, as a letter."""
    shown = re.sub(r"\\text\s*\{([^{}]*)\}|\\mathrm\s*\{([^{}]*)\}", r"\1\2", text).strip().strip("*_$ ")
    if (index := option_index(shown, options)) is not None:
        return chr(65 + index)
    if letters := _letters(shown, options):
        return letters[0]
    sentence = _SENTENCE_END.split(shown, maxsplit=1)[0]
    if (index := option_index(_bare(sentence), options)) is not None:
        return chr(65 + index)
    return ""


def _letters(text: str, options: Sequence[str]) -> list[str]:
    """The options' letters that stand in a text, in order."""
    found = [match[1] or match[2] for match in _LETTER.finditer(text)]
    return [letter for letter in found if ord(letter) - 65 < len(options)]


def _names_several(text: str, options: Sequence[str]) -> bool:
    """`(A) 4 or (B) 5` is no choice."""
    return len(set(_letters(text, options))) > 1 and re.search(r"\bor\b", text) is not None


def _closing_letter(text: str, options: Sequence[str]) -> str:
    """A lone letter on the last line, or the last letter in brackets on it."""
    last = next(line for line in reversed(text.splitlines()) if line.strip()).strip().strip("*_. ")
    found = re.fullmatch(r"\(?([A-Ha-h])\)?(?:[.):].*)?", last) or re.search(
        r"(?:\(|\*\*)([A-H])(?:\)|\*\*|$)(?!.*\([A-H]\))", last
    )
    if found and ord(found[1].upper()) - 65 < len(options):
        return found[1].upper()
    return ""
