"""From what a model wrote to the label it chose, or None when it chose none (a mismatch).

A refusal is `unknown`: the model says that it cannot tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from etude.methods.self_explanations.observations import UNKNOWN

_UNKNOWN_PHRASES = re.compile(
    r"\bunknown\b"
    r"|\b(?:cannot|can not|can't|could not|couldn't) (?:be )?(?:\w+ly )?"
    r"(?:determined?|provided?|answer(?:ed)?|tell|say|infer(?:red)?)\b"
    r"|\b(?:unable|impossible|difficult|hard|not possible|not enough information) to "
    r"(?:determine|tell|say|answer)\b"
    r"|\b(?:insufficient|not enough) (?:context|information)\b"
    r"|\bno (?:clear|explicit) (?:sentiment|answer)s?\b"
    r"|\bboth positive and negative\b"
)
_REFUSAL = re.compile(r"^(?:i am sorry|i'm sorry|i apologi[sz]e|sorry)\b|\bas an ai\b")
_MARKUP = " \t\n\"'`*_([{<“‘#>-"
_SAID = (
    r"(?:is|are|was|be|seems?|appears?|looks?|feels?|expresses|conveys|classified as|considered|"
    r"answer|label|sentiment)(?: to be)?"
)
_LEAD = (
    r"(?:[:\s]+)"
    r"(?:(?:an?|the|mostly|overall|generally|clearly|very|quite|rather|somewhat|probably|likely)\s+)*"
)


def parse_label(text: str, labels: Mapping[str, str]) -> str | None:
    """A label from free text: the answer starts with one, or says "is / seems / classified as ... label".

    Args:
        text: What the model wrote.
        labels: Word to the label it stands for (`mixed` stands for `neutral`).
    """
    answer = _plain(text)
    words = "|".join(re.escape(word.lower()) for word in sorted(labels, key=len, reverse=True))
    by_word = {word.lower(): label for word, label in labels.items()}
    start = re.match(rf"(?:(?:sentiment|answer|label)\W+)?({words})(?!\w)", answer.lstrip(_MARKUP))
    said = re.search(rf"\b{_SAID}{_LEAD}[\"'`*_(]*({words})(?!\w)", answer)
    found = start or said
    if found is not None:
        return by_word[found[1]]
    return UNKNOWN if says_unknown(answer) else None


def parse_choice(text: str, choices: Sequence[str]) -> str | None:
    """A choice from free text: the first lone option letter, else the first option's text, else unknown.

    Args:
        text: What the model wrote.
        choices: The options in the order of their letters; the next letter is `unknown`.
    """
    answer = _plain(text)
    for match in re.finditer(r"(?:^|[\s(\[\"'*])([a-z])(?=[.,:;)\]\"'*]|\s*$)", answer, re.MULTILINE):
        index = ord(match[1]) - ord("a")
        if index <= len(choices):
            return [*choices, UNKNOWN][index]
    places = [
        (place.start(), -len(choice), choice)
        for choice in choices
        if (place := re.search(rf"(?<!\w){re.escape(choice.strip().lower())}(?!\w)", answer))
    ]
    if places:
        return min(places)[2]
    return UNKNOWN if says_unknown(answer) else None


def parse_yes_no(text: str) -> str | None:
    """An entailment answer: the option's number (1 yes, 2 no, 3 unknown), else unknown, else yes or no
    first.
    """
    answer = _plain(text)
    number = re.search(r"(?:^|[\s(\[\"'*])([123])(?=[.,:;)\]\"'*]|\s*$)", answer, re.MULTILINE)
    if number:
        return ("yes", "no", UNKNOWN)[int(number[1]) - 1]
    if says_unknown(answer):
        return UNKNOWN
    first = re.match(r"(?:answer\W+)?(yes|no)(?!\w)", answer.lstrip(_MARKUP))
    return first[1] if first else None


def says_unknown(answer: str) -> bool:
    """Whether an answer, in lower case, says that it cannot be told, or is a refusal."""
    return bool(_UNKNOWN_PHRASES.search(answer) or _REFUSAL.search(answer))


def _plain(text: str) -> str:
    return text.strip().lower().replace("’", "'")
