"""Text vectors of a frozen encoder, kept in the cache: the same texts are embedded once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from etude.data.store import cache_root
from etude.errors import EtudeError
from etude.methods.conspemollm.long_texts import chunks
from etude.models import Encoder
from etude.runs import atomic_path, content_hash

LongText: TypeAlias = Literal["cut", "mean", "max"]


def give_pad_token(tokenizer: object) -> None:
    """A tokenizer without a padding token pads with its end or unknown token; padding is masked anyway.

    Raises:
        EtudeError: It has none of them.
    """
    if getattr(tokenizer, "pad_token", None) is not None:
        return
    for other in ("eos_token", "unk_token", "cls_token"):
        if (token := getattr(tokenizer, other, None)) is not None:
            tokenizer.pad_token = token  # type: ignore[attr-defined]
            return
    raise EtudeError(
        "the tokenizer has no padding, end or unknown token", "Set pad_token in tokenizer_config.json."
    )


def text_vectors(
    encoder: Encoder,
    texts: Sequence[str],
    long: LongText = "cut",
    *,
    keep: bool = True,
    tokens: int | None = None,
) -> NDArray[np.float32]:
    """Vectors of texts, (texts, dimension).

    Args:
        encoder: A frozen encoder.
        texts: The texts.
        long: A text longer than the encoder reads is cut, or read in chunks whose vectors are pooled by mean
            or maximum.
        keep: Whether to store the vectors in the cache folder, under the hash of encoder and texts.
        tokens: Read at most this many tokens of a chunk; the encoder's own limit by default.
    """
    give_pad_token(encoder.tokenizer)
    size = min(encoder.max_length, tokens or encoder.max_length)
    key = content_hash([encoder.revision, encoder.pooling, size, long, list(texts)])
    file = cache_root() / "vectors" / f"{key[:32]}.safetensors"
    if keep and file.is_file():
        return np.asarray(load_file(file)["vectors"])
    pieces = [chunks(encoder.tokenizer, text, size - 2) for text in texts]
    if long == "cut":
        pieces = [parts[:1] for parts in pieces]
    flat = [part for parts in pieces for part in parts]
    found = encoder.encode(flat, batch_size=32)
    vectors = np.zeros((len(texts), encoder.dimension), dtype=np.float32)
    start = 0
    for row, parts in enumerate(pieces):
        mine = found[start : start + len(parts)]
        start += len(parts)
        vectors[row] = mine.max(0) if long == "max" else mine.mean(0)
    if keep:
        with atomic_path(file) as temporary:
            save_file({"vectors": vectors}, temporary)
    return vectors
