"""Words as text latents for small models: one fixed vector of unit variance per word, one slot per word.

It stands in for CLIP's text encoder and the GPT-2 decoder: a caption is `slots` vectors, and latents are read
back by the nearest vector. The vectors are drawn from a seed, not learned, so that only diffusion is trained.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.runs import read_json, write_json

EMPTY = ""  # the symbol of a slot without a word
_WORD = re.compile(r"[^\W_]+(?:[-'’.][^\W_]+)*")


@dataclass(frozen=True)
class EncodedText:
    """Captions as latents.

    Attributes:
        latents: (captions, tokens, dim).
        truncated: How many captions were longer than the latents.
        unknown: Words that the codec does not know, once each, in order; they are left out.
    """

    latents: Tensor
    truncated: int = 0
    unknown: tuple[str, ...] = ()


def words_of(caption: str) -> list[str]:
    """A caption's words in lower case, without punctuation: `Waving hand, medium-light` has three."""
    return _WORD.findall(caption.lower())


@dataclass(frozen=True)
class WordCodec:
    """A vocabulary with fixed vectors.

    Args:
        vocabulary: Words, in order; the empty symbol is added in front.
        slots: Vectors of a caption.
        dim: Their width.
        seed: Of the vectors.
    """

    vocabulary: tuple[str, ...]
    slots: int
    dim: int = 32
    seed: int = 0
    index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Number the words."""
        object.__setattr__(self, "index", {word: n for n, word in enumerate((EMPTY, *self.vocabulary))})

    @classmethod
    def of(
        cls, captions: Iterable[str], *, slots: int | None = None, dim: int = 32, seed: int = 0
    ) -> WordCodec:
        """A codec that knows all words of the captions.

        Args:
            captions: Of the training pairs.
            slots: Vectors of a caption; default: as many as the longest caption has words, at most 16.
            dim: Width of the vectors.
            seed: Of the vectors.
        """
        split = [words_of(caption) for caption in captions]
        longest = max((len(words) for words in split), default=1)
        vocabulary = tuple(sorted({word for words in split for word in words}))
        return cls(vocabulary, slots or max(1, min(16, longest)), dim, seed)

    @cached_property
    def vectors(self) -> Tensor:
        """(1 + words, dim), each of squared length `dim`."""
        drawn = torch.randn(
            len(self.index), self.dim, generator=torch.Generator().manual_seed(self.seed), dtype=torch.float64
        )
        vectors: Tensor = (drawn / drawn.norm(dim=1, keepdim=True) * math.sqrt(self.dim)).float()
        return vectors

    def ids(self, captions: Sequence[str]) -> tuple[Tensor, int, tuple[str, ...]]:
        """Word numbers, (captions, slots), how many captions were cut, and unknown words."""
        rows, truncated = [], 0
        unknown: dict[str, None] = {}
        for caption in captions:
            known = []
            for word in words_of(caption):
                if word in self.index:
                    known.append(self.index[word])
                else:
                    unknown.setdefault(word)
            truncated += len(known) > self.slots
            rows.append([*known, *[0] * self.slots][: self.slots])
        return torch.tensor(rows, dtype=torch.long).view(len(captions), self.slots), truncated, tuple(unknown)

    def encode(self, captions: Sequence[str]) -> EncodedText:
        """Captions to latents."""
        ids, truncated, unknown = self.ids(captions)
        return EncodedText(self.vectors[ids], truncated, unknown)

    def decode(self, latents: Tensor) -> list[str]:
        """Latents, (captions, slots, dim), to the words of the nearest vectors."""
        words = [EMPTY, *self.vocabulary]
        nearest = torch.cdist(latents.float().cpu(), self.vectors[None]).argmin(-1)
        return [" ".join(words[n] for n in row if n) for row in nearest.tolist()]

    def states(self, captions: Sequence[str]) -> Tensor:
        """What an adapter of the text condition works on: here the latents themselves."""
        return self.encode(captions).latents

    def from_states(self, states: Tensor) -> Tensor:
        """States to latents: the same."""
        return states

    def features(self, latents: Tensor) -> Tensor:
        """What a language model reads of a picture: the latents themselves."""
        return latents

    @property
    def tokens(self) -> int:
        """Latents of a caption."""
        return self.slots

    @property
    def feature_dim(self) -> int:
        """Width of the features."""
        return self.dim

    def save(self, folder: Path) -> None:
        """Write `words.json`."""
        write_json(
            folder / "text_codec" / "words.json",
            {"vocabulary": list(self.vocabulary), "slots": self.slots, "dim": self.dim, "seed": self.seed},
        )

    @classmethod
    def load(cls, folder: Path) -> WordCodec:
        """Read what `save` wrote.

        Raises:
            EtudeError: The file is not a codec's.
        """
        path = folder / "text_codec" / "words.json"
        stored = read_json(path)
        try:
            return cls(tuple(stored["vocabulary"]), stored["slots"], stored["dim"], stored["seed"])
        except (KeyError, TypeError) as error:
            raise EtudeError(
                f"{path}: not a word codec", "Copy the whole folder that was trained."
            ) from error
