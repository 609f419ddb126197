"""What a language model is asked to write, and how its answer is read.

Each set has templates of two kinds: `entailment` (a sentence that must be true given the first one) and
`contradiction` (one that cannot be true with it). Where a set holds several templates of a kind, a sentence
gets the same place of both pools, so that its two instructions are opposites (v2 of the paper, section 3.2
and its appendix; the wording is ours).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from etude.errors import EtudeError
from etude.runs import content_hash, read_json

Kind: TypeAlias = Literal["entailment", "contradiction"]
Style: TypeAlias = Literal["completion", "chat"]
KINDS: tuple[Kind, Kind] = get_args(Kind)
STOP = ('"', "\n")
"""Where a completion ends."""

_PLACE = "{sentence}"
_QUOTES = str.maketrans({'"': "'", "\u201c": "'", "\u201d": "'"})
_LABEL = re.compile(r"^(?:sentence|answer|output|paraphrase|entailment|contradiction)\s*:\s*", re.IGNORECASE)


@dataclass(frozen=True)
class PromptSet:
    """Templates of both kinds.

    Args:
        name: Its name in `prompt_id`.
        style: `completion` is continued as it is, up to a quotation mark; `chat` is a user's message.
        entailment: Templates with `{sentence}` where the sentence goes.
        contradiction: As many, each the opposite of the one at its place.
    """

    name: str
    style: Style
    entailment: tuple[str, ...]
    contradiction: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.entailment or len(self.entailment) != len(self.contradiction):
            raise EtudeError(
                f"prompts {self.name!r}: {len(self.entailment)} entailment and {len(self.contradiction)} "
                "contradiction templates",
                "Give one or more of each, as many of one kind as of the other.",
            )
        for template in (*self.entailment, *self.contradiction):
            if template.count(_PLACE) != 1:
                raise EtudeError(
                    f"prompts {self.name!r}: {template[:60]!r} holds {_PLACE} {template.count(_PLACE)} times",
                    f"Each template holds {_PLACE} once.",
                )

    @cached_property
    def hash(self) -> str:
        """12 hex digits over style and templates."""
        return content_hash([self.style, self.entailment, self.contradiction])[:12]

    def place(self, sentence: str, seed: int) -> int:
        """Which template of the pool a sentence gets: by its text and the seed, whatever stands beside it."""
        if len(self.entailment) == 1:
            return 0
        return int(content_hash([sentence, seed])[:8], 16) % len(self.entailment)

    def prompt(self, kind: Kind, place: int, sentence: str) -> str:
        """The prompt; quotation marks inside the sentence become apostrophes, since they end an answer."""
        template = (self.entailment if kind == "entailment" else self.contradiction)[place]
        return template.replace(_PLACE, sentence.translate(_QUOTES))


def read_answer(text: str) -> str:
    """The sentence in an answer: its first line, without a label, quotation marks and surplus spaces."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if not lines:
        return ""
    if len(lines) > 1 and lines[0].endswith(":"):  # "Here is a sentence:"
        lines = lines[1:]
    line = _LABEL.sub("", lines[0]).strip()
    if line[:1] in "\"'\u201c" and line[-1:] in "\"'\u201d":
        line = line[1:-1]
    return " ".join(line.strip('"\u201c\u201d').split())


def _fewshot(task: str, word: str, demonstrations: tuple[tuple[str, str], ...]) -> str:
    """Task line, demonstrations and query in the paper's shape: `Write ... "x": "y"`."""
    shown = [f'Write a sentence that {word} "{x}": "{y}"' for x, y in demonstrations]
    return "\n".join([task, *shown, f'Write a sentence that {word} "{_PLACE}": "'])


_ENTAILMENT_TASK = (
    "Rewrite each sentence in other words. What the new sentence says must be true whenever the first one is."
)
_CONTRADICTION_TASK = (
    "Contradict each sentence. The new sentence keeps the scene but changes what happens, so that both "
    "cannot be true at once."
)
_FOLLOWS, _CONTRADICTS = "must be true given", "contradicts"
_DEMONSTRATIONS = (
    (
        "An old man in a straw hat is selling peaches beside the road.",
        "A man with a hat offers fruit at the roadside.",
        "An old man in a straw hat is buying peaches at the supermarket.",
    ),
    (
        "The committee postponed its vote until the end of March.",
        "The vote of the committee was put off to late March.",
        "The committee held its vote earlier than planned.",
    ),
    (
        "Two girls are building a snowman in the garden.",
        "Children are making a figure of snow outdoors.",
        "Two girls are reading books on the sofa.",
    ),
    (
        "A gray cat sleeps on a pile of clean laundry.",
        "A cat is napping on top of some washed clothes.",
        "A gray cat is chasing a mouse across the kitchen.",
    ),
)


def _fewshot_set(name: str, shots: int) -> PromptSet:
    chosen = _DEMONSTRATIONS[:shots]
    return PromptSet(
        name,
        "completion",
        (_fewshot(_ENTAILMENT_TASK, _FOLLOWS, tuple((x, positive) for x, positive, _ in chosen)),),
        (_fewshot(_CONTRADICTION_TASK, _CONTRADICTS, tuple((x, negative) for x, _, negative in chosen)),),
    )


_ONLY = "Answer with the new sentence only."
_ZERO_SHOT = PromptSet(
    "zero-shot",
    "chat",
    (
        f'Paraphrase this sentence: "{_PLACE}" {_ONLY}',
        f'Say the same as this sentence with another sentence structure: "{_PLACE}" {_ONLY}',
        f'Write a different sentence that is also true if this one is true: "{_PLACE}" {_ONLY}',
        f'Paraphrase this sentence briefly; you may leave out details: "{_PLACE}" {_ONLY}',
    ),
    (
        "Change or swap details of this sentence so that it is contradicted, in the same context: "
        f'"{_PLACE}" {_ONLY}',
        f'Edit this sentence slightly so that it means the opposite: "{_PLACE}" {_ONLY}',
        f'Alter what this sentence means; the result must still make sense: "{_PLACE}" {_ONLY}',
        f'Write a realistic sentence with an idea that contrasts with this one: "{_PLACE}" {_ONLY}',
    ),
)

PROMPTS = {
    found.name: found for found in (_fewshot_set("nli-fewshot", 2), _fewshot_set("nli-4shot", 4), _ZERO_SHOT)
}
"""The sets that come with the package; `nli-fewshot` has the paper's two demonstrations."""


def prompt_set(name: str) -> PromptSet:
    """A set by its name, or one of the user's own: a JSON file with `style`, `entailment`, `contradiction`.

    Raises:
        EtudeError: There is no such set or file, or the file does not hold templates.
    """
    if name in PROMPTS:
        return PROMPTS[name]
    path = Path(name)
    if path.suffix != ".json":
        raise EtudeError(
            f"there are no prompts {name!r}",
            f"Give one of {', '.join(PROMPTS)}, or a .json file of your own.",
        )
    value = read_json(path)
    kinds = [value.get(kind) if isinstance(value, dict) else None for kind in KINDS]
    if not all(isinstance(pool, list) and all(isinstance(t, str) for t in pool) for pool in kinds):
        raise EtudeError(
            f"{path}: not a set of prompts",
            'It is {"style": "chat", "entailment": ["... {sentence} ..."], "contradiction": ["..."]}.',
        )
    style = value.get("style", "chat")
    if style not in get_args(Style):
        raise EtudeError(f"{path}: style {style!r}", f"Give one of {', '.join(get_args(Style))}.")
    return PromptSet(path.stem, style, *(tuple(pool) for pool in kinds if pool is not None))
