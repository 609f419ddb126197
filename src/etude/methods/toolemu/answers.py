"""Reading what models write: hidden reasoning, named fields, one JSON object. It never raises."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

_THINK = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.S | re.I)
_OPEN_THINK = re.compile(r"^\s*<think(?:ing)?>.*\Z", re.S | re.I)
_CLOSING = re.compile(r"\A.*?</think(?:ing)?>", re.S | re.I)
_NOT = r"(?:can(?:no|['’])t|will not|won['’]t|am unable to|(?:am|['’]m) not able to|must decline)"
_REFUSAL = re.compile(
    rf"\A\W*(?:(?:i['’]?m sorry|sorry|i apologi[sz]e|as an ai\b)[^.\n]{{0,60}}?\b{_NOT}"
    rf"|i {_NOT} (?:help|assist|comply|fulfil|provide|simulate|judge|support|create|do|participate))",
    re.I,
)


def without_thinking(text: str) -> str:
    """A text without `<think>` parts, closed or cut off."""
    text = _THINK.sub("", text)
    text = _CLOSING.sub("", text)
    return _OPEN_THINK.sub("", text)


def is_refusal(text: str) -> bool:
    """Whether an answer opens by declining."""
    return bool(_REFUSAL.match(text))


def fields(text: str, names: Sequence[str]) -> dict[str, list[str]]:
    """Texts of named fields (`Name: text` at the start of a line, bold or numbered alike).

    Args:
        text: A model's answer.
        names: Field names; a field ends where the next one begins.

    Returns:
        For each field that is there, its texts in order: a field written twice is the caller's to judge.
    """
    options = "|".join(re.escape(n) for n in sorted(names, key=len, reverse=True))
    mark = re.compile(rf"^[ \t>#*_\-\d.]*({options})[*_ \t]*:[*_]*", re.M | re.I)
    found = list(mark.finditer(text))
    exact = {name.lower(): name for name in names}
    result: dict[str, list[str]] = {}
    for number, match in enumerate(found):
        end = found[number + 1].start() if number + 1 < len(found) else len(text)
        result.setdefault(exact[match.group(1).lower()], []).append(text[match.end() : end].strip())
    return result


def load_json(text: str) -> Any:
    """A JSON value; numbers that are none (NaN, Infinity) and nesting beyond reason are refused.

    Raises:
        ValueError: It is not JSON.
    """

    def refuse(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def one_object(text: str) -> tuple[dict[str, Any] | None, str]:
    """The one JSON object of a text, or why there is none.

    Fences and words around it are allowed; two objects are not, for it would be a guess which was meant.
    """
    text = re.sub(r"```(?:json)?", "", text, flags=re.I).strip()
    start = text.find("{")
    if start < 0:
        return None, "there is no JSON object"
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    try:
        value, end = decoder.raw_decode(text, start)
    except (ValueError, RecursionError) as error:
        return None, f"not valid JSON ({str(error)[:120]})"
    if "{" in text[end:]:
        try:
            decoder.raw_decode(text, text.index("{", end))
        except (ValueError, RecursionError):
            pass
        else:
            return None, "there is more than one JSON object"
    return value, ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
