"""Observations without a file: short reviews of our own making, and the world of bAbI's first task."""

from __future__ import annotations

import numpy as np

from etude.methods.self_explanations.lexicon import NEGATIVE, POSITIVE
from etude.methods.self_explanations.observations import Observation

_NOUNS = [
    "story",
    "cast",
    "film",
    "script",
    "music",
    "ending",
    "scene",
    "hero",
    "camera",
    "dialogue",
    "plot",
    "score",
    "family",
    "town",
    "voice",
    "pace",
]
_FRAMES = (
    "the {} {} and the {} {} of this {}",
    "a {} {} with some {} {} in the {}",
    "{} {} , {} {} , and then the {}",
    "the {} {} of the {} {} about a {}",
)
_TAILS = (
    "which takes place over one long night .",
    "from a director who has made three others .",
    "shown in black and white .",
    "set in a small town near the coast .",
)
_CLEAR = 0.7
"""Share of snippets most of whose opinion words agree with the label."""

PEOPLE = ("Daniel", "John", "Mary", "Sandra")
PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
_MOVES = ("moved to", "went to", "journeyed to", "travelled to", "went back to")


def snippets(count: int, seed: int = 0) -> list[Observation]:
    """Short reviews with one to four opinion words; in three of ten they do not tell the label.

    Args:
        count: How many.
        seed: The same seed gives the same snippets.
    """
    generator = np.random.default_rng(seed)
    made = []
    for number in range(count):
        label = ("positive", "negative")[int(generator.integers(2))]
        clear = generator.random() < _CLEAR
        parts = []
        for _ in range(int(generator.integers(1, 3))):
            agreeing = [bool(clear or generator.random() < 0.5) for _ in range(2)]
            sides = [(POSITIVE if agrees == (label == "positive") else NEGATIVE) for agrees in agreeing]
            nouns = generator.permutation(_NOUNS)[:3]
            opinions = [str(generator.choice(side)) for side in sides]
            frame = _FRAMES[int(generator.integers(len(_FRAMES)))]
            parts.append(frame.format(opinions[0], nouns[0], opinions[1], nouns[1], nouns[2]))
        tail = _TAILS[int(generator.integers(len(_TAILS)))]
        made.append(Observation(f"snippet-{seed}-{number}", f"{' ; '.join(parts)} , {tail}", label))
    return made


def babi_world(count: int, seed: int = 0) -> list[Observation]:
    """Questions of bAbI's first task (Weston et al. 2015): people move between six places; where is one of
    them?

    As in the original, a story is told two sentences at a time, five times, and after each pair one question
    is asked about a person who has been mentioned; the answer is the last place she moved to.

    Args:
        count: How many questions.
        seed: The same seed gives the same world.
    """
    generator = np.random.default_rng(seed)
    made: list[Observation] = []
    while len(made) < count:
        at: dict[str, str] = {}
        told: list[str] = []
        for _ in range(5):
            for _ in range(2):
                person = str(generator.choice(PEOPLE))
                place = str(generator.choice([place for place in PLACES if place != at.get(person)]))
                at[person] = place
                told.append(f"{person} {generator.choice(_MOVES)} the {place}.")
            asked = str(generator.choice(sorted(at)))
            made.append(
                Observation(
                    f"babi-{seed}-{len(made)}", " ".join(told), at[asked], f"Where is {asked}?", PLACES
                )
            )
    return made[:count]
