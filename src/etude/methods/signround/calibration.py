"""Calibration text becomes samples of token ids, (samples, seqlen).

Documents are tokenized, put in an order drawn from the seed, joined with the end-of-text token between them,
and cut into samples; documents under `SHORTEST` tokens and the tail that fills no sample are dropped, and
counted.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor

from etude.data import Document, read_documents, read_records
from etude.errors import EtudeError
from etude.methods.signround.texts import calibration_documents
from etude.models.templates import templated

SHORTEST = 16  # tokens; shorter documents are headings and captions


@dataclass(frozen=True)
class Calibration:
    """Samples to calibrate on.

    Attributes:
        samples: Token ids, (samples, seqlen).
        dropped_documents: Documents that were too short.
        dropped_tokens: Tokens of the tail that filled no sample, or that were not asked for.
        asked: Samples that were asked for.
    """

    samples: Tensor
    dropped_documents: int
    dropped_tokens: int
    asked: int

    def as_dict(self) -> dict[str, int]:
        """The counts, for a report."""
        return {
            "samples": len(self.samples),
            "asked": self.asked,
            "seqlen": self.samples.shape[1],
            "dropped_documents": self.dropped_documents,
            "dropped_tokens": self.dropped_tokens,
        }


class TokenRow(BaseModel):
    """One document that is tokenized already."""

    input_ids: list[int]


def read_calibration(source: Path | None, tokenizer: Any) -> list[list[int]]:
    """Token ids of each calibration document.

    Args:
        source: ``.jsonl``/``.parquet`` with `text` or `messages`, ``.txt`` with blank lines between
            documents, or ``.parquet`` with `input_ids`; None is the prose of the Python installation.
        tokenizer: The model's tokenizer; its chat template is applied to `messages`.
    """
    if source is None:
        return encode(calibration_documents(), tokenizer)
    if source.suffix == ".parquet" and "input_ids" in parquet_columns(source):
        return [row.input_ids for row in read_records(source, TokenRow)]
    return encode(read_documents(source), tokenizer)


def parquet_columns(path: Path) -> list[str]:
    """Column names of a Parquet file; none when it cannot be read (its reader then says why)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(pq.read_schema(path).names)
    except (OSError, ValueError, pa.ArrowException):
        return []


def encode(documents: Sequence[Document], tokenizer: Any) -> list[list[int]]:
    """Token ids of documents: text without special tokens, messages through the chat template."""
    encoded = []
    for document in documents:
        if document.messages is None:
            encoded.append(list(tokenizer(document.text, add_special_tokens=False)["input_ids"]))
            continue
        if not getattr(tokenizer, "chat_template", None):
            raise EtudeError(
                f"document {document.id} holds messages, and this model's tokenizer has no chat template",
                "give calibration rows with `text`, or use a chat model",
            )
        text = templated(tokenizer, document.messages, ask=False)
        encoded.append(list(tokenizer(text, add_special_tokens=False)["input_ids"]))
    return encoded


def make_samples(
    documents: Sequence[Sequence[int]],
    *,
    seqlen: int,
    nsamples: int,
    vocabulary: int,
    end: int | None,
    seed: int,
) -> Calibration:
    """Pack tokenized documents into at most `nsamples` samples of `seqlen` tokens.

    Raises:
        EtudeError: A token id outside the model's vocabulary, or not enough text for one sample.
    """
    for number, document in enumerate(documents, 1):
        bad = next((token for token in document if not 0 <= token < vocabulary), None)
        if bad is not None:
            raise EtudeError(
                f"calibration document {number} holds token id {bad}; "
                f"the model's vocabulary ends at {vocabulary - 1}",
                "tokenize it with this model's tokenizer, or give text",
            )
    kept = [list(document) for document in documents if len(document) >= SHORTEST]
    random.Random(seed).shuffle(kept)
    stream: list[int] = []
    for document in kept:
        stream += document + ([end] if end is not None else [])
    count = min(nsamples, len(stream) // seqlen)
    if count == 0:
        raise EtudeError(
            f"the calibration text has {len(stream)} tokens in {len(kept)} usable documents, "
            f"and one sample needs {seqlen}",
            f"give more text, or a smaller --seqlen (documents under {SHORTEST} tokens are not used)",
        )
    samples = torch.tensor(stream[: count * seqlen]).view(count, seqlen)
    return Calibration(samples, len(documents) - len(kept), len(stream) - count * seqlen, nsamples)
