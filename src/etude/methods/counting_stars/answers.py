"""From what a model wrote to the numbers it listed, with a record of how hard that was.

Strict JSON first, then repaired JSON, then every number in the text; numbers may be words ("twenty-one",
"二十一") or carry a ★. Nothing a model writes is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from etude.methods.counting_stars.templates import Lang, wording

ParseStatus: TypeAlias = Literal["ok", "repaired", "empty", "refused", "overflow", "error"]
STATUSES: tuple[ParseStatus, ...] = ("ok", "repaired", "empty", "refused", "overflow", "error")


@dataclass(frozen=True)
class ParsedAnswer:
    """The numbers of an answer.

    Args:
        numbers: Listed numbers in order, repetitions included.
        status: `ok`: the JSON that was asked for. `repaired`: numbers were found in another form. `empty`:
            there are none. `refused`: the model or its provider declined. `overflow`: the answer was cut off
            at the output limit (its numbers still count). `error`: no answer came back.
    """

    numbers: tuple[int, ...]
    status: ParseStatus


def parse_answer(text: str, lang: Lang = "en", stop_reason: str = "stop") -> ParsedAnswer:
    """Read an answer.

    Args:
        text: What the model wrote.
        lang: Decides which JSON key was asked for.
        stop_reason: `stop`, `length`, `refused` or `error`, as the model's reply says.
    """
    if stop_reason == "error":
        return ParsedAnswer((), "error")
    strict = _strict(text, wording(lang).key)
    numbers = strict if strict is not None else tuple(_numbers(text))
    if stop_reason == "refused":
        return ParsedAnswer(numbers, "refused")
    if stop_reason == "length":
        return ParsedAnswer(numbers, "overflow")
    if not numbers:
        return ParsedAnswer((), "empty")
    return ParsedAnswer(numbers, "ok" if strict is not None else "repaired")


def _strict(text: str, key: str) -> tuple[int, ...] | None:
    """The list of integers under the key, if the answer is exactly the JSON asked for."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None
    listed = answer.get(key) if isinstance(answer, dict) and len(answer) == 1 else None
    if isinstance(listed, list) and all(type(item) is int for item in listed):
        return tuple(listed)
    return None


def _numbers(text: str) -> Iterator[int]:
    """The numbers of an answer in any other form: of the first list it holds, else of all of it."""
    start = min((place for mark in "[{" if (place := text.find(mark)) >= 0), default=-1)
    if start >= 0:
        listed = list(_flat(_repaired(text[start:])))
        if listed:
            yield from listed
            return
    yield from _scan(text)


def _repaired(text: str) -> Any:
    import json_repair

    try:
        return json_repair.loads(text)
    except (ValueError, RecursionError):
        return None


def _flat(value: Any) -> Iterator[int]:
    """Every number within a JSON value, in order; keys do not count."""
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int):
        yield value
    elif isinstance(value, float):
        if value == value and abs(value) < 1e15 and value == int(value):
            yield int(value)
    elif isinstance(value, str):
        yield from _scan(value)
    else:
        for part in value.values() if isinstance(value, dict) else value:
            yield from _flat(part)


_DIGITS = re.compile(r"(?<![\w.])\d{1,3}(?:,\d{3})+(?![\d.])|(?<![\d.])\d+(?:\.0+)?(?![\d.]*\d)")
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ENGLISH = dict(zip(_ONES, range(20), strict=True)) | dict(zip(_TENS, range(20, 100, 10), strict=True))
_CHINESE = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_CHINESE_UNITS = {"十": 10, "百": 100, "千": 1000}
_ENGLISH_RUN = re.compile(
    rf"\b(?:{'|'.join(sorted(_ENGLISH, key=len, reverse=True))})"
    r"(?:(?:[\s-]+|(?<=hundred) and |(?<=thousand) and )"
    rf"(?:hundred|thousand|{'|'.join(sorted(_ENGLISH, key=len, reverse=True))}))*\b",
    re.IGNORECASE,
)
_CHINESE_RUN = re.compile(f"[{''.join(_CHINESE)}{''.join(_CHINESE_UNITS)}]+")


def _scan(text: str) -> Iterator[int]:
    """The numbers in running text: digits if there are any, else words."""
    digits = [match[0] for match in _DIGITS.finditer(text)]
    if digits:
        yield from (
            int(float(found.replace(",", ""))) if "." in found else int(found.replace(",", ""))
            for found in digits
        )
        return
    words = [(match.start(), _english(match[0])) for match in _ENGLISH_RUN.finditer(text)]
    words += [(match.start(), _chinese(match[0])) for match in _CHINESE_RUN.finditer(text)]
    yield from (value for _, value in sorted(words))


def _english(words: str) -> int:
    total = current = 0
    for word in re.split(r"[\s-]+", words.lower()):
        if word == "hundred":
            current = max(current, 1) * 100
        elif word == "thousand":
            total, current = total + max(current, 1) * 1000, 0
        elif word != "and":
            current += _ENGLISH[word]
    return total + current


def _chinese(signs: str) -> int:
    if not any(sign in _CHINESE_UNITS for sign in signs):
        return int("".join(str(_CHINESE[sign]) for sign in signs))
    total, digit = 0, 0
    for sign in signs:
        if sign in _CHINESE_UNITS:
            total += max(digit, 1) * _CHINESE_UNITS[sign]
            digit = 0
        else:
            digit = _CHINESE[sign]
    return total + digit
