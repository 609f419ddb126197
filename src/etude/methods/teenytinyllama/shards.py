"""The prepared corpus on disk: token shards and their manifest.

    manifest.json                 what it holds and where it came from (see `Manifest`)
    train-00000.bin, ...          token ids one after the other, little-endian uint16 or uint32
    val-00000.bin, ...            the same for the held-out documents
    val.jsonl                     the held-out documents themselves: id, text, source
    tokenizer/                    a copy of the tokenizer

Every document is followed by the end token. Shards are memory-mapped: reading a range costs no more memory
than the range.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ValidationError

from etude.errors import EtudeError
from etude.runs import file_hash, read_json

Split = Literal["train", "val"]
Dtype = Literal["uint16", "uint32"]

FORMAT = 1
MANIFEST = "manifest.json"
HELD_OUT = "val.jsonl"
TOKENIZER = "tokenizer"


class Shard(BaseModel):
    """One file of tokens: `largest` is its largest token id."""

    file: str
    tokens: int
    sha256: str
    largest: int


class SplitTotals(BaseModel):
    """What a split holds; `bytes` (UTF-8) and `words` (between spaces) are of its text."""

    shards: list[Shard]
    documents: int
    tokens: int
    bytes: int
    words: int


class Source(BaseModel):
    """Where text came from; counts are of the documents kept, in both splits."""

    file: str
    sha256: str
    license: str
    language: str
    documents: int
    bytes: int
    tokens: int


class Manifest(BaseModel):
    """`manifest.json`: all that training, evaluation and the model card need to know of a corpus.

    Args:
        format: Version of this format.
        block: Tokens of a training sequence.
        dtype: Of the token ids on disk.
        vocab_size: One more than the tokenizer's largest id.
        end_token: The id after each document.
        tokenizer_sha256: Of `tokenizer/tokenizer.json`.
        seed: Of the held-out choice.
        splits: Totals and shards of `train` and `val`.
        sources: Where the text came from, with licences.
        removed: Documents removed, by reason: empty, short, language, exact, near, leaked.
        other_language: Documents kept that are not in the target language (0 when none was named).
        leaked_paragraphs: Validation paragraphs that also occur in the training text.
        leaked_documents: Validation documents wholly inside the training text, kept by force.
    """

    format: int
    block: int
    dtype: Dtype
    vocab_size: int
    end_token: int
    tokenizer_sha256: str
    seed: int
    splits: dict[Split, SplitTotals]
    sources: list[Source]
    removed: dict[str, int]
    other_language: int
    leaked_paragraphs: int
    leaked_documents: int

    @property
    def licenses(self) -> list[str]:
        """The licences of the text, each once."""
        return sorted({source.license or "unknown" for source in self.sources})


@dataclass(frozen=True)
class TokenShards:
    """One split of a prepared corpus, memory-mapped.

    Args:
        folder: The corpus's folder.
        split: `train` or `val`.
        manifest: The corpus's manifest.
        arrays: One array of token ids per shard.
    """

    folder: Path
    split: Split
    manifest: Manifest
    arrays: tuple[np.ndarray, ...]

    @classmethod
    def open(cls, folder: Path | str, split: Split = "train") -> TokenShards:
        """Map a split of a prepared corpus.

        Raises:
            EtudeError: The folder is not a prepared corpus, a shard is missing or has another size than the
                manifest says, or holds a token id that the tokenizer does not have.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        totals = manifest.splits.get(split)
        if totals is None or not totals.tokens:
            raise EtudeError(
                f"{folder} has no {split} split",
                "Prepare the corpus again with --val-fraction or --validation.",
            )
        arrays = tuple(_map_shard(folder / shard.file, shard, manifest) for shard in totals.shards)
        return cls(folder, split, manifest, arrays)

    def __len__(self) -> int:
        """How many tokens the split has, end tokens included."""
        return sum(map(len, self.arrays))

    def read(self, start: int, stop: int) -> np.ndarray:
        """Tokens [start, stop) of the split as if it were one array, (stop - start,), in the file's dtype.

        A range within one shard is a view of the file, not a copy.

        Raises:
            IndexError: The range is not within the split.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"tokens [{start}, {stop}) of a split with {len(self)}")
        parts: list[np.ndarray] = []
        for array in self.arrays:
            if start < len(array) and stop > 0:
                parts.append(array[max(start, 0) : stop])
            start, stop = start - len(array), stop - len(array)
        return parts[0] if len(parts) == 1 else np.concatenate([self.arrays[0][:0], *parts])

    def verify(self) -> None:
        """Compare every shard of the split with its SHA-256 in the manifest; reads all of it.

        Raises:
            EtudeError: A shard is not what was written.
        """
        for shard in self.manifest.splits[self.split].shards:
            if file_hash(self.folder / shard.file) != shard.sha256:
                raise EtudeError(
                    f"{self.folder / shard.file}: its SHA-256 is not that of {MANIFEST}",
                    "The file is damaged: delete the folder and prepare the corpus again.",
                )


def read_manifest(folder: Path | str) -> Manifest:
    """The manifest of a prepared corpus.

    Raises:
        EtudeError: There is none, it is of another format, or a file name in it leaves the folder.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise EtudeError(
            f"{folder}: not a prepared corpus, it has no {MANIFEST}",
            "Make one with: etude teenytinyllama prepare FILES --tokenizer DIR --out DIR; "
            "if that was interrupted, run it again.",
        )
    state: Any = read_json(path)
    try:
        manifest = Manifest.model_validate(state)
    except ValidationError as error:
        first = error.errors()[0]
        raise EtudeError(
            f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}", "Prepare the corpus again."
        ) from error
    if manifest.format != FORMAT:
        raise EtudeError(f"{path}: format {manifest.format}, expected {FORMAT}", "Prepare the corpus again.")
    for shard in (shard for totals in manifest.splits.values() for shard in totals.shards):
        if Path(shard.file).name != shard.file:
            raise EtudeError(f"{path}: shard {shard.file!r} is outside of the folder", "Prepare it again.")
    return manifest


def smallest_dtype(vocab_size: int) -> Dtype:
    """uint16 while it holds every id of the vocabulary, else uint32."""
    return "uint16" if vocab_size <= 2**16 else "uint32"


def check_dtype(dtype: Dtype, vocab_size: int) -> None:
    """Refuse a dtype too narrow for a vocabulary.

    Raises:
        EtudeError: uint16 for more than 65,536 entries.
    """
    if dtype == "uint16" and vocab_size > 2**16:
        raise EtudeError(
            f"uint16 holds token ids up to 65,535, and the vocabulary has {vocab_size:,} entries",
            "Give --dtype uint32 (or auto).",
        )


def _map_shard(path: Path, shard: Shard, manifest: Manifest) -> np.ndarray:
    dtype = np.dtype(manifest.dtype).newbyteorder("<")
    if not path.is_file():
        raise EtudeError(f"{path}: no such file, but {MANIFEST} names it", "Prepare the corpus again.")
    if path.stat().st_size != shard.tokens * dtype.itemsize:
        raise EtudeError(
            f"{path}: {path.stat().st_size:,} bytes, where {MANIFEST} says {shard.tokens:,} tokens",
            "The file is damaged: delete the folder and prepare the corpus again.",
        )
    if shard.largest >= manifest.vocab_size:
        raise EtudeError(
            f"{path}: holds token id {shard.largest}, and the vocabulary has {manifest.vocab_size:,} entries",
            "Tokenizer and corpus do not belong together: prepare the corpus again.",
        )
    if not shard.tokens:
        return np.zeros(0, dtype)
    return np.memmap(path, dtype=dtype, mode="r")
