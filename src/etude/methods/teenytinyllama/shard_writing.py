"""Documents into token shards, streaming: screened, encoded in batches, written part by part.

A part is a run of successive documents that fills one training shard. It is finished when its files are in
place and its record is stored; a killed process goes on with the next part. Everything depends on the
documents and the settings alone, so an interrupted preparation ends in the same files.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tokenizers import Tokenizer

from etude.errors import EtudeError
from etude.methods.teenytinyllama.loading import LoadedTokenizer, wrap_tokenizer
from etude.methods.teenytinyllama.notices import Notice
from etude.methods.teenytinyllama.provenance import SourceTally
from etude.methods.teenytinyllama.reading import Document
from etude.methods.teenytinyllama.screening import Fate, Rules, Screening, Stream, screen
from etude.methods.teenytinyllama.shards import (
    FORMAT,
    HELD_OUT,
    MANIFEST,
    TOKENIZER,
    Dtype,
    Manifest,
    Shard,
    check_dtype,
    read_manifest,
    smallest_dtype,
)
from etude.runs import Run, atomic_path, content_hash, file_hash, write_json

_BATCH_CHARACTERS = 1 << 21
_BATCH_DOCUMENTS = 4096
_FATES = ".fates.npy"
_SCRATCH = ".screening"
_SPLITS: tuple[tuple[Literal["train", "val"], Fate], ...] = (("train", Fate.TRAIN), ("val", Fate.VAL))


def write_shards(
    documents: Iterable[Document],
    tokenizer: Tokenizer | LoadedTokenizer,
    out: Path | str,
    *,
    block: int,
    rules: Rules | None = None,
    val_documents: Iterable[Document] = (),
    dtype: Dtype | Literal["auto"] = "auto",
    shard_tokens: int = 1 << 26,
    hashes: Mapping[str, str] | None = None,
    force: bool = False,
) -> Manifest:
    """Screen, encode and write a corpus; an interrupted call is finished by the same call.

    Args:
        documents: The corpus; read three times, so not a one-time iterator.
        tokenizer: Encodes the text. Its end token follows each document.
        out: The corpus's folder.
        block: Tokens of a training sequence; there must be at least one block of training tokens.
        rules: What is held out and what is removed; by default nothing.
        val_documents: Documents to hold out, beside those that the rules hold out.
        dtype: Of the token ids on disk; `auto` is the narrower one that fits.
        shard_tokens: A training shard is closed when it holds so many tokens.
        hashes: SHA-256 of the files that the documents name; where it says nothing, the texts are hashed.
        force: Accept validation documents that are inside the training text.

    Returns:
        The manifest, as written.

    Raises:
        EtudeError: The corpus is empty or smaller than one block, validation text is inside the training
            text, the tokenizer has no end token, the dtype is too narrow, or the disk is full.
    """
    if iter(documents) is documents or iter(val_documents) is val_documents:
        raise TypeError("documents must be readable more than once: give a list or a Corpus, not an iterator")
    loaded = tokenizer if isinstance(tokenizer, LoadedTokenizer) else wrap_tokenizer(tokenizer)
    rules = rules or Rules()
    chosen: Dtype = smallest_dtype(loaded.vocab_size) if dtype == "auto" else dtype
    check_dtype(chosen, loaded.vocab_size)
    _check(loaded, block, shard_tokens)

    def stream() -> Iterator[tuple[bool, Document]]:
        yield from ((True, document) for document in val_documents)
        yield from ((False, document) for document in documents)

    config = {
        "rules": asdict(rules),
        "block": block,
        "dtype": chosen,
        "shard_tokens": shard_tokens,
        "tokenizer": content_hash(loaded.tokenizer.to_str()),
        "end_token": loaded.end_token,
        "texts": _texts_hash(stream) if hashes is None else dict(hashes),
        "force": force,
    }
    with Run(out, config, command="teenytinyllama prepare") as run:
        if run.result is not None:
            return read_manifest(run.path)
        _clean(run.path)
        screening = _screened(stream, rules, run, force)
        writer = _Writer(run, loaded, chosen, shard_tokens)
        writer.write(stream, screening.fates)
        manifest = writer.manifest(block, rules.seed, screening, hashes or {})
        _check_size(manifest)
        run.complete({"manifest": MANIFEST})
        (run.path / _FATES).unlink()
        return manifest


class _Writer:
    """Writes parts; knows what the finished ones hold."""

    def __init__(self, run: Run, tokenizer: LoadedTokenizer, dtype: Dtype, shard_tokens: int) -> None:
        self.run, self.tokenizer, self.dtype, self.shard_tokens = run, tokenizer, dtype, shard_tokens
        self.parts: list[dict[str, Any]] = []
        self.notice = Notice("tokens written")

    def write(self, stream: Stream, fates: np.ndarray) -> None:
        """Write the parts that are not finished yet."""
        while self.run.finished(f"part-{len(self.parts)}"):
            self.parts.append(self.run.record(f"part-{len(self.parts)}"))
        start = self.parts[-1]["next"] if self.parts else 0
        last = int(np.flatnonzero(fates <= Fate.VAL)[-1]) + 1 if (fates <= Fate.VAL).any() else 0
        if start >= last:
            return
        kept = (
            (index, document)
            for index, (_, document) in enumerate(itertools.islice(stream(), last))
            if index >= start and fates[index] <= Fate.VAL
        )
        batches = _batches(kept, min(_BATCH_CHARACTERS, self.shard_tokens))
        for first in batches:
            part = self._part(itertools.chain([first], batches), fates, len(self.parts))
            self.run.finish(f"part-{len(self.parts)}", part)
            self.parts.append(part)

    def _part(
        self, batches: Iterable[list[tuple[int, Document]]], fates: np.ndarray, number: int
    ) -> dict[str, Any]:
        """Write batches until the training shard is full; the part's record."""
        with ExitStack() as stack:
            files = {name: _ShardFile(stack, self.run.path, name, number, self.dtype) for name, _ in _SPLITS}
            held_out = stack.enter_context(atomic_path(self.run.path / f".val-{number:05d}.jsonl"))
            sources = SourceTally()
            following = 0
            with open(held_out, "w", encoding="utf-8") as texts:
                for batch in batches:
                    rows = self.tokenizer.encode([document.text for _, document in batch])
                    for (index, document), ids in zip(batch, rows, strict=True):
                        split: Literal["train", "val"] = "train" if fates[index] == Fate.TRAIN else "val"
                        files[split].append([*ids, self.tokenizer.end_token], document)
                        sources.add(document, len(ids) + 1)
                        if split == "val":
                            texts.write(_held_out_line(document))
                        following = index + 1
                    self.notice.add(sum(map(len, rows)) + len(rows))
                    if files["train"].tokens >= self.shard_tokens:
                        break
            splits = {name: file.close() for name, file in files.items()}
        return {"next": following, "splits": splits, "sources": sources.rows()}

    def manifest(self, block: int, seed: int, screening: Screening, hashes: Mapping[str, str]) -> Manifest:
        """Join the parts' records and held-out texts, and write the manifest."""
        path = self.run.path
        if not (path / HELD_OUT).exists():
            with atomic_path(path / HELD_OUT) as temporary, open(temporary, "wb") as whole:
                for number in range(len(self.parts)):
                    with open(path / f".val-{number:05d}.jsonl", "rb") as part:
                        shutil.copyfileobj(part, whole)
        self.tokenizer.save(path / TOKENIZER)
        splits = {}
        for name, _ in _SPLITS:
            of_parts = [part["splits"][name] for part in self.parts]
            totals = {key: sum(p[key] for p in of_parts) for key in ("documents", "tokens", "bytes", "words")}
            splits[name] = {"shards": [p["shard"] for p in of_parts if p["shard"] is not None], **totals}
        manifest = Manifest.model_validate(
            {
                "format": FORMAT,
                "block": block,
                "dtype": self.dtype,
                "vocab_size": self.tokenizer.vocab_size,
                "end_token": self.tokenizer.end_token,
                "tokenizer_sha256": file_hash(path / TOKENIZER / "tokenizer.json"),
                "seed": seed,
                "splits": splits,
                "sources": SourceTally.join(part["sources"] for part in self.parts).sources(hashes),
                "removed": screening.removed(),
                "other_language": screening.other_language,
                "leaked_paragraphs": screening.leaked,
                "leaked_documents": screening.inside,
            }
        )
        write_json(path / MANIFEST, manifest.model_dump())
        for leftover in path.glob(".val-*.jsonl"):
            leftover.unlink()
        return manifest


class _ShardFile:
    """One shard while it is written; no file comes to be when it stays empty."""

    def __init__(self, stack: ExitStack, folder: Path, split: str, number: int, dtype: Dtype) -> None:
        self.stack, self.path = stack, folder / f"{split}-{number:05d}.bin"
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self.digest = hashlib.sha256()
        self.file: Any = None
        self.tokens = self.documents = self.bytes = self.words = 0
        self.largest = 0

    def append(self, ids: list[Any], document: Document) -> None:
        if self.file is None:
            temporary = self.stack.enter_context(atomic_path(self.path))
            self.file = self.stack.enter_context(temporary.open("wb"))
        self.largest = max(self.largest, *ids)
        data = np.array(ids, dtype=self.dtype).tobytes()
        self.digest.update(data)
        self.file.write(data)
        self.tokens += len(ids)
        self.documents += 1
        self.bytes += len(document.text.encode())
        self.words += len(document.text.split())

    def close(self) -> dict[str, Any]:
        counts = {k: getattr(self, k) for k in ("documents", "tokens", "bytes", "words")}
        if self.file is None:
            return {"shard": None, **counts}
        self.file.flush()
        shard = Shard(
            file=self.path.name, tokens=self.tokens, sha256=self.digest.hexdigest(), largest=self.largest
        )
        return {"shard": shard.model_dump(), **counts}


def _screened(stream: Stream, rules: Rules, run: Run, force: bool) -> Screening:
    path = run.path / _FATES
    if not run.finished("screen"):
        scratch = run.path / _SCRATCH
        scratch.mkdir()
        try:
            found = screen(stream, rules, scratch, force=force)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise EtudeError(
                f"{scratch}: no space left for the signatures of the documents",
                "Free some space (about 600 bytes a document), give --dedup exact, or choose another --out.",
            ) from error
        with atomic_path(path) as temporary:
            np.save(temporary, found.fates, allow_pickle=False)
        counts = {k: getattr(found, k) for k in ("other_language", "leaked", "inside")}
        run.finish("screen", counts)
        shutil.rmtree(scratch)
    return Screening(np.load(path, allow_pickle=False), **run.record("screen"))


def _batches(
    documents: Iterable[tuple[int, Document]], characters: int
) -> Iterator[list[tuple[int, Document]]]:
    batch: list[tuple[int, Document]] = []
    size = 0
    for index, document in documents:
        batch.append((index, document))
        size += len(document.text)
        if size >= characters or len(batch) >= _BATCH_DOCUMENTS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _held_out_line(document: Document) -> str:
    row = {"id": document.id, "text": document.text, "source": document.source or document.file}
    return json.dumps(row, ensure_ascii=False) + "\n"


def _check(tokenizer: LoadedTokenizer, block: int, shard_tokens: int) -> None:
    if tokenizer.end_token is None:
        raise EtudeError(
            f"{tokenizer.name or 'the tokenizer'} has no end token",
            "Give one with an eos_token, such as </s>.",
        )
    if block < 2:
        raise EtudeError(f"block {block}", "Give at least 2 tokens, e.g. the model's context length.")
    if shard_tokens < 1:
        raise EtudeError(f"shard-tokens {shard_tokens}", "Give at least 1.")


def _check_size(manifest: Manifest) -> None:
    train = manifest.splits["train"]
    if not train.documents:
        removed = ", ".join(f"{n} {reason}" for reason, n in manifest.removed.items() if n)
        raise EtudeError(
            "the corpus is empty: no training document"
            + (f" is left (removed: {removed})" if removed else ""),
            "Give files that hold text, or loosen what is removed.",
        )
    if train.tokens < manifest.block + 1:
        raise EtudeError(
            f"the training text gives {train.tokens:,} tokens, fewer than one block of {manifest.block:,} "
            "and the token after it",
            "Give more text or a shorter block.",
        )


def _texts_hash(stream: Stream) -> str:
    """What identifies documents that are in no file: the digest of their texts, in order."""
    digest = hashlib.sha256()
    for given, document in stream():
        digest.update(bytes([given]) + hashlib.sha256(document.text.encode()).digest())
    return digest.hexdigest()


def _clean(folder: Path) -> None:
    """Delete what a killed process left half written."""
    for holder in [*folder.glob(".*.tmp"), folder / _SCRATCH]:
        shutil.rmtree(holder, ignore_errors=True)
