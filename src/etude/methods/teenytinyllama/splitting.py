"""Held-out documents: which they are, and whether their text is inside the training text.

A document is held out by the hash of its own text and a seed: the choice does not depend on order or on other
documents, equal texts are always on one side, and the tokenizer can leave out the same documents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from etude.errors import EtudeError
from etude.methods.teenytinyllama.deduplication import text_key
from etude.methods.teenytinyllama.reading import Document

_LEAST = 60  # characters: shorter paragraphs (headings, buttons) may repeat without being a leak


def is_held_out(key: bytes, fraction: float, seed: int) -> bool:
    """Whether a document is held out.

    Args:
        key: `text_key` of its text.
        fraction: Share of documents to hold out, in [0, 1).
        seed: Another seed holds out other documents.
    """
    digest = hashlib.sha256(seed.to_bytes(8, "little", signed=True) + key).digest()
    return int.from_bytes(digest[:8], "little") < fraction * 2**64


def check_fraction(fraction: float) -> None:
    """Refuse a share that leaves nothing to train on.

    Raises:
        EtudeError: It is not in [0, 1).
    """
    if not 0 <= fraction < 1:
        raise EtudeError(f"val-fraction {fraction:g}", "Give a share in [0, 1), such as 0.01.")


@dataclass
class LeakCheck:
    """Finds validation documents whose text is inside training documents, by hashes of their paragraphs.

    A document is inside when each of its paragraphs of 60 or more characters occurs there; one without such
    paragraphs, when it occurs as a document. Only hashes of the validation paragraphs are held.
    """

    paragraphs: dict[bytes, bool] = field(default_factory=dict)
    documents: list[tuple[int, str, frozenset[bytes]]] = field(default_factory=list)

    def add(self, index: int, document: Document) -> None:
        """Take note of a validation document, number `index` of its stream."""
        keys = frozenset(_paragraph_keys(document.text))
        self.documents.append((index, document.id, keys))
        self.paragraphs.update(dict.fromkeys(keys, False))

    def search(self, training: Iterable[Document]) -> None:
        """Look for the validation paragraphs in training documents."""
        for document in training:
            for key in _paragraph_keys(document.text):
                if key in self.paragraphs:
                    self.paragraphs[key] = True

    @property
    def found(self) -> int:
        """How many validation paragraphs occur in the training text."""
        return sum(self.paragraphs.values())

    def inside(self) -> list[tuple[int, str]]:
        """Number and id of the validation documents that are inside the training text."""
        return [(i, name) for i, name, keys in self.documents if all(self.paragraphs[k] for k in keys)]


def _paragraph_keys(text: str) -> Iterator[bytes]:
    """Keys of the paragraphs of a text; of all of it when no paragraph is long enough."""
    long = [line for line in text.split("\n") if len(line.strip()) >= _LEAST]
    return map(text_key, long or [text])
