"""Affect by word lists: VADER by default; the NRC lexicon only when asked for.

VADER (Hutto & Gilbert 2014, MIT) rates sentences; a document gets the mean of its sentences' ratings and the
lowest, highest and spread of their compounds. The NRC Emotion Lexicon (Mohammad & Turney 2013) may be used
for research, not commercially: it is never a default and says so.
"""

from __future__ import annotations

import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import EtudeError

VADER_COLUMNS = (
    "vader_negative", "vader_neutral", "vader_positive", "vader_compound", "vader_lowest", "vader_highest",
    "vader_spread",
)  # fmt: skip
NRC_EMOTIONS = (
    "anger", "anticipation", "disgust", "fear", "joy", "negative", "positive", "sadness", "surprise", "trust",
)  # fmt: skip
NRC_COLUMNS = tuple(f"nrc_{emotion}" for emotion in NRC_EMOTIONS)
NRC_NOTICE = (
    "The NRC Emotion Lexicon is free for research; commercial use needs a licence from its authors "
    "(saifmohammad.com/WebPages/NRC-Emotion-Lexicon.htm)."
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_MOST_SENTENCES = 400


def vader_scores(text: str) -> list[float]:
    """VADER of a text, in the order of `VADER_COLUMNS`; zeros for a text without words."""
    sentences = [part for part in _SENTENCE.split(text) if any(c.isalnum() for c in part)][:_MOST_SENTENCES]
    if not sentences:
        return [0.0] * len(VADER_COLUMNS)
    rated = [_vader().polarity_scores(sentence) for sentence in sentences]
    table = np.array([[one["neg"], one["neu"], one["pos"], one["compound"]] for one in rated])
    compounds = table[:, 3]
    spread = [compounds.min(), compounds.max(), compounds.std()]
    return [float(value) for value in (*table.mean(0), *spread)]


def nrc_rates(text: str) -> list[float]:
    """Share of a text's words that the NRC lexicon ties to each emotion, in the order of `NRC_COLUMNS`."""
    words = re.findall(r"[a-z']+", text.casefold())
    lexicon = _nrc()
    counts = dict.fromkeys(NRC_EMOTIONS, 0)
    for word in words:
        for emotion in lexicon.get(word, ()):
            if emotion in counts:
                counts[emotion] += 1
    return [counts[emotion] / max(1, len(words)) for emotion in NRC_EMOTIONS]


def require_nrc(accepted: bool) -> None:
    """Refuse the NRC lexicon unless its terms were accepted and the package that carries it is here.

    Raises:
        EtudeError: One of the two is missing.
    """
    if not accepted:
        raise EtudeError(
            f"the nrc provider was not unlocked. {NRC_NOTICE}", "If that fits, add --accept-nrc-licence."
        )
    _nrc()


@cache
def _vader() -> Any:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


@cache
def _nrc() -> dict[str, list[str]]:
    """The lexicon inside the package nrclex, read as data: its code (and its corpora) are not needed."""
    spec = importlib.util.find_spec("nrclex")
    places = list(spec.submodule_search_locations or ()) if spec else []
    file = Path(places[0]) / "data" / "nrc_en.json" if places else None
    if file is None or not file.is_file():
        raise EtudeError("the nrc provider needs the package nrclex", 'pip install "etude[nrc]"')
    return {str(word): list(tags) for word, tags in json.loads(file.read_text(encoding="utf-8")).items()}
