"""The wording of star sentences and questions, English and Chinese, under a version that never changes its
meaning.

The star sentence of the search task is the published one. The sentence of the reasoning task and the
questions are our own wording of what the paper describes; a cell records the version, so old cells keep their
wording.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

Task: TypeAlias = Literal["search", "reason"]
Lang: TypeAlias = Literal["en", "zh"]

TEMPLATE_VERSION = "etude-1"
STAR = "★"


@dataclass(frozen=True)
class Wording:
    """One language's wording.

    Args:
        sentence: Star sentence of each task; `{count}` is the right number, `{wrong}` the mistaken one.
        question: What follows the context, for each task.
        key: The JSON key of the answer.
    """

    sentence: dict[Task, str]
    question: dict[Task, str]
    key: str


_EN_QUESTION = (
    "\n\n\n\nThe night is misty, the moon is bright, and the little penguin has been counting ★. Go through "
    "the text above, find every sentence in which the little penguin counts ★, and collect the {which}, in "
    "the order of the text. Answer with one JSON object and nothing else: "
    '{{"little_penguin": [x, x, x, ...]}}, each x being {what}. Do not add the numbers up. Do not explain.'
)
_ZH_QUESTION = (
    "\n\n\n\n夜色朦胧，月光如水，小企鹅一直在数★。请通读上文，找出小企鹅数★的每一句话，按出现的先后收集{which}。"
    '只用一个JSON对象作答：{{"小企鹅": [x, x, x, ...]}}，每个x是{what}。不要求和，不要解释。'
)

_WORDINGS: dict[str, dict[Lang, Wording]] = {
    "etude-1": {
        "en": Wording(
            sentence={
                "search": "\nThe little penguin counted {count} ★\n",
                "reason": "\nThe little penguin counted {wrong} ★, then saw that this was a mistake and "
                "counted again; this time {count} ★ was right.\n",
            },
            question={
                "search": _EN_QUESTION.format(which="numbers counted", what="one number of ★"),
                "reason": _EN_QUESTION.format(which="correct numbers only", what="one correct number of ★"),
            },
            key="little_penguin",
        ),
        "zh": Wording(
            sentence={
                "search": "\n小企鹅数了{count}颗★\n",
                "reason": "\n小企鹅数了{wrong}颗★，随后发觉数错了，便重新数了一遍，"
                "这一次数对了，是{count}颗★\n",
            },
            question={
                "search": _ZH_QUESTION.format(which="所数的颗数", what="一次所数的颗数"),
                "reason": _ZH_QUESTION.format(which="正确的颗数", what="一次正确的颗数"),
            },
            key="小企鹅",
        ),
    }
}

QUESTION_MARK = "\n\n\n\n"
"""What separates the context from the question, in every version."""


@dataclass(frozen=True)
class Mention:
    """A star sentence found in a text: its characters `[start, end)`, the right number and, if any, the
    mistaken one.
    """

    start: int
    end: int
    count: int
    wrong: int | None


def wording(lang: Lang, version: str = TEMPLATE_VERSION) -> Wording:
    """The wording of a language under a version (a `KeyError` would be a cell from a newer release)."""
    return _WORDINGS[version][lang]


def known_versions() -> tuple[str, ...]:
    """Every version of the wording this release can rebuild."""
    return tuple(_WORDINGS)


def star_sentence(
    task: Task, lang: Lang, count: int, wrong: int | None, version: str = TEMPLATE_VERSION
) -> str:
    """One star sentence, with its newlines."""
    return wording(lang, version).sentence[task].format(count=count, wrong=wrong)


def question(task: Task, lang: Lang, version: str = TEMPLATE_VERSION) -> str:
    """The question that follows the context, with its four newlines."""
    return wording(lang, version).question[task]


def find_stars(text: str) -> list[Mention]:
    """Every complete star sentence in a text, of any version, task and language, in order."""
    found = [
        Mention(
            match.start(),
            match.end(),
            int(match["count"]),
            int(match["wrong"]) if "wrong" in match.groupdict() else None,
        )
        for pattern in _PATTERNS
        for match in pattern.finditer(text)
    ]
    return sorted(found, key=lambda mention: mention.start)


def _pattern(sentence: str, task: Task) -> re.Pattern[str]:
    body = (
        re.escape(sentence.strip("\n"))
        .replace(r"\{count\}", r"(?P<count>\d+)")
        .replace(r"\{wrong\}", r"(?P<wrong>\d+)")
    )
    return re.compile(
        body if task == "reason" else body + r"(?![,，])"
    )  # a reasoning sentence opens like a search one


_PATTERNS = [
    _pattern(sentence, task)
    for languages in _WORDINGS.values()
    for words in languages.values()
    for task, sentence in words.sentence.items()
]
