"""How a language model is asked for a similarity between 0 and 5, and how its answer is read."""

from __future__ import annotations

import re

from etude.models import Conversation

TOP = 5.0
GRADES = ("0", "1", "2", "3", "4", "5")

_NUMBER = re.compile(r"(?<![\d.])\d+(?:\.\d+)?(?![\d.]*\d)")
_RANGE = re.compile(r"\b(?:out of|of|/)\s*5(?:\.0)?\b|/\s*5(?:\.0)?\b", re.IGNORECASE)
_TASK = (
    "Rate how similar two sentences are in meaning, from 0 (nothing in common) to 5 (the same meaning). "
    "Answer with the number only."
)
_EXAMPLES = (
    ("A boy is kicking a ball.", "A boy kicks a ball.", "5"),
    ("The cat sleeps on the sofa.", "A dog is barking at the mailman.", "0"),
    ("Two women are talking in a kitchen.", "Two women are having a conversation in a kitchen.", "5"),
    ("A man is playing a guitar.", "A man is playing a piano.", "2"),
    ("A woman is slicing an onion.", "Somebody is cutting a vegetable.", "4"),
    ("The bank raised its interest rates.", "A child is drawing with crayons.", "0"),
    ("A red car is parked at the curb.", "A car is driving on the highway.", "1"),
    ("Children are playing in the park.", "Some kids play soccer in a park.", "3"),
)


def grade_conversation(one: str, other: str) -> Conversation:
    """The user's message about a pair of sentences: the task, eight graded pairs of our own, the pair."""
    graded = "".join(f"{_pair(a, b)} {grade}\n\n" for a, b, grade in _EXAMPLES)
    return [{"role": "user", "content": f"{_TASK}\n\n{graded}{_pair(one, other)}"}]


def _pair(one: str, other: str) -> str:
    return f"(a) {one}\n(b) {other}\nSimilarity (0-5):"


def read_grade(answer: str) -> float | None:
    """The one number in [0, 5] that an answer holds; None where there is none, several, or one outside.

    `4.5 out of 5` and `4.5/5` are one number.
    """
    found = [float(number) for number in _NUMBER.findall(_RANGE.sub(" ", answer))]
    return found[0] if len(found) == 1 and 0 <= found[0] <= TOP else None
