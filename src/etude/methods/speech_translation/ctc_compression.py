"""Content-based compression: a CTC head says which frames belong together (Gaido et al. 2021; Speech-LLaMA).

`average` merges runs of equal labels, blanks included, by their mean; `remove_blank` drops the frames whose
label is blank.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.speech_translation.length_adapters import (
    LengthAdapter,
    register_length_adapter,
    scatter_mean,
)
from etude.methods.speech_translation.lengths import length_mask, pad_rows

BLANK = 0
LETTERS = " abcdefghijklmnopqrstuvwxyz'"


@register_length_adapter("ctc")
class CTCCompression(LengthAdapter):
    """A CTC head over characters; its most likely path compresses.

    Args:
        width: d of the features.
        mode: `average` or `remove_blank`.
        vocabulary: The characters it knows, label 1 being the first; `train` takes those of the transcripts.
        weight: Of its CTC loss beside the translation loss.

    Attributes:
        all_blank: How many utterances had nothing but blanks; each became one mean vector.
    """

    needs_transcripts = True

    def __init__(
        self,
        width: int,
        mode: Literal["average", "remove_blank"] = "average",
        vocabulary: str = LETTERS,
        weight: float = 0.3,
    ) -> None:
        super().__init__(width)
        if mode not in ("average", "remove_blank"):
            raise EtudeError(f"the length adapter 'ctc' has no mode {mode!r}", "average or remove_blank.")
        self.mode, self.vocabulary, self.weight = mode, vocabulary, weight
        self.head = nn.Linear(width, len(vocabulary) + 1)
        self.all_blank = 0

    def labels(self, x: Tensor, lengths: Tensor) -> Tensor:
        """The most likely label of each frame, (B, T); blank behind each length."""
        best: Tensor = self.head(x).argmax(-1)
        return best.masked_fill(~length_mask(lengths, x.shape[1]), BLANK)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """About one vector per label (and one per blank between, with `average`)."""
        with torch.no_grad():
            labels = self.labels(x, lengths)
        real = length_mask(lengths, x.shape[1])
        spoken = (labels != BLANK) & real
        silent = ~spoken.any(1)
        self.all_blank += int(silent.sum())
        if self.mode == "average":
            starts = torch.ones_like(real)
            starts[:, 1:] = labels[:, 1:] != labels[:, :-1]
            starts[silent, 1:] = False
            keep = real
        else:
            starts = spoken.clone()
            starts[silent, 0] = True
            keep = spoken | (silent[:, None] & real)
        groups = (starts & real).cumsum(1) - 1
        counts = groups.masked_fill(~real, -1).amax(1) + 1
        return scatter_mean(x, groups, keep, int(counts.max())), counts

    def loss(self, x: Tensor, lengths: Tensor, transcripts: Sequence[str | None]) -> Tensor:
        """Mean CTC loss per character of the transcripts (Graves et al. 2006), in nats."""
        targets, sizes = pad_rows([self.encode(text or "").to(x.device) for text in transcripts])
        scores = self.head(x).log_softmax(-1).transpose(0, 1)
        loss = torch.nn.functional.ctc_loss(
            scores, targets, lengths, sizes, blank=BLANK, reduction="none", zero_infinity=True
        )
        return (loss / sizes.clamp(min=1)).mean()

    def supervised(
        self, x: Tensor, lengths: Tensor, transcripts: Sequence[str | None]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Compression, and the weighted CTC loss of the head where it is trained."""
        made = self(x, lengths)
        if not self.head.weight.requires_grad or self.weight == 0:
            return (*made, None)
        return (*made, self.weight * self.loss(x, lengths, transcripts))

    def encode(self, text: str) -> Tensor:
        """Labels of a transcript; characters that are not in the vocabulary are left out."""
        places = {character: i for i, character in enumerate(self.vocabulary, start=1)}
        known = [places[c] for c in text if c in places] or [places[c] for c in text.lower() if c in places]
        return torch.tensor(known, dtype=torch.long)

    def runs(self, x: Tensor, lengths: Tensor) -> list[list[tuple[int, int, str]]]:
        """Runs of equal labels of each row: first frame, frame behind the last, character (empty: blank)."""
        found = []
        for row, length in zip(self.labels(x, lengths).tolist(), lengths.tolist(), strict=True):
            starts = [i for i in range(length) if i == 0 or row[i] != row[i - 1]]
            ends = [*starts[1:], length]
            characters = ["", *self.vocabulary]
            found.append([(a, b, characters[row[a]]) for a, b in zip(starts, ends, strict=True)])
        return found

    def transcribe(self, x: Tensor, lengths: Tensor) -> list[str]:
        """What the head hears: runs merged, blanks dropped."""
        found = []
        for row in self.labels(x, lengths).tolist():
            merged = [b for a, b in zip([-1, *row], row, strict=False) if a != b and b != BLANK]
            found.append("".join(self.vocabulary[label - 1] for label in merged))
        return found


def characters_of(texts: Sequence[str]) -> str:
    """The characters of transcripts, sorted: a CTC vocabulary."""
    return "".join(sorted({character for text in texts for character in text}))
