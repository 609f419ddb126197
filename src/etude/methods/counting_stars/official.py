"""What the paper fixed: star counts, word scaling, placement by words, and the repository's file format.

Counting-Stars, arXiv 2403.11802; counts from nick7nlp/Counting-Stars (MIT). The published English and Chinese
lists are the same in every prompt of a given number of stars.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any

OFFICIAL_STARS = (32, 64, 128, 256, 512, 1024)
OFFICIAL_LENGTHS = tuple(range(4_000, 128_001, 4_000))
SCALE = {"en": 0.8, "zh": 0.7}
"""Words (English) or characters (Chinese) that the paper counts for one token."""


@cache
def _counts() -> dict[str, dict[str, list[int]]]:
    text = resources.files(__package__).joinpath("official_star_counts.json").read_text(encoding="utf-8")
    loaded: dict[str, dict[str, list[int]]] = json.loads(text)
    return loaded


def official_counts(stars: int) -> list[int]:
    """The published right numbers for 32, 64, ..., 1024 stars."""
    return list(_counts()["correct"][str(stars)])


def official_wrong(stars: int) -> list[int]:
    """The published mistaken numbers; each differs from its right number by one."""
    return list(_counts()["wrong"][str(stars)])


def official_units(length: int, lang: str) -> int:
    """Words (en) or characters (zh) of haystack that the paper takes for a length in tokens."""
    return int(length * SCALE[lang])


def official_text(text: str, lang: str) -> str:
    """A haystack as the paper prepares it: English on one line; Chinese without spaces, Latin letters and
    ASCII marks.
    """
    if lang == "en":
        return text.replace("\n", " ")
    lines = (line.strip().replace("------------", " ").replace(" ", "") for line in text.splitlines())
    return re.sub(r"[!-~]", lambda mark: mark[0] if mark[0].isdigit() else "", "".join(lines))


def official_cuts(units: int, sentences: list[str], lang: str) -> list[int]:
    """After how many units of haystack each published star stands.

    The published program inserts star i after (i+1)·s units of the text *as it has grown*, and takes earlier
    stars to have added as many units as star i's own sentence has. In words each star really adds two fewer,
    because its first and last words glue onto their neighbors, so the stars drift toward the end by two words
    each.

    Args:
        units: Words or characters of haystack.
        sentences: The star sentences, with their newlines.
        lang: `en` counts words, `zh` characters.

    Returns:
        For each star the number of haystack units before it, at most `units`.
    """
    step = units // len(sentences)
    cuts: list[int] = []
    grown = 0  # units that the earlier stars really added
    for index, sentence in enumerate(sentences):
        own = len(sentence.split(" ")) if lang == "en" else len(sentence)
        cut = min((index + 1) * step + own * index - grown, units)
        cuts.append(max(cut, cuts[-1] if cuts else 0))
        grown += own - 2 if lang == "en" else own
    return cuts


def official_row(prompt: str, question: str, counts: list[int], units: int) -> dict[str, Any]:
    """One line of the repository's test files."""
    return {
        "question": prompt,
        "context_size": units,
        "retrieval_question": question,
        "reference_counting_results": counts,
        "parameters": {"temperature": 0.0},
    }
