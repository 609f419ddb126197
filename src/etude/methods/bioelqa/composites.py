"""Composite mentions: `renal and hepatic toxicity` names two diseases and must be split to be linked."""

from __future__ import annotations

import re

_JOINTS = re.compile(r"\s*,\s*(?:and|or)\s+|\s+(?:and/or|and|or|as well as)\s+|\s*[,/]\s*")


def split_composite(mention: str, count: int | None = None) -> tuple[str, ...]:
    """The names a composite mention is made of.

    Where the last part has more words than an earlier one, the earlier one borrows the words behind its
    length: `renal and hepatic toxicity` gives `renal toxicity`, `hepatic toxicity`. Where the first part has
    more words, later ones borrow its beginning: `carcinoma of breast and ovary`.

    Args:
        mention: As written.
        count: How many names there must be, if known; without as many joints the mention stays whole.
    """
    pieces = [piece.strip() for piece in _JOINTS.split(mention) if piece.strip()]
    if len(pieces) < 2 or (count is not None and len(pieces) != count):
        return (mention,)
    words = [piece.split() for piece in pieces]
    first, last = words[0], words[-1]
    if len(last) > len(first):
        return tuple(" ".join([*own, *last[len(own) :]]) if len(own) < len(last) else " ".join(own)
                     for own in words)  # fmt: skip
    if len(first) > len(last) and "of" in first:
        cut = first.index("of") + 1
        return tuple(" ".join(own) if i == 0 else " ".join([*first[:cut], *own])
                     for i, own in enumerate(words))  # fmt: skip
    return tuple(pieces)
