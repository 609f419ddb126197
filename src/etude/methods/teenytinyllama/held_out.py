"""Is a text really held out? A run knows its corpus by hash: text that it was trained on is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import yaml  # type: ignore[import-untyped]

from etude.errors import EtudeError
from etude.methods.teenytinyllama.bits_per_byte import encode_text
from etude.methods.teenytinyllama.reading import Document
from etude.methods.teenytinyllama.shards import HELD_OUT, MANIFEST, TokenShards, read_manifest
from etude.models import CausalLM
from etude.runs import file_hash

SEARCHED = 1 << 29  # training tokens that are searched document by document
_CHUNK = 1 << 24


def corpus_of(run: Path) -> Path | None:
    """The prepared corpus that a run was trained on, if it is still there and still the same."""
    folder = _named_corpus(run)
    return None if folder is None or _prepared_again(run, folder) else folder


def _named_corpus(run: Path) -> Path | None:
    """The folder of the run's corpus, if there is a corpus in it."""
    config = run / "config.yaml"
    if not config.is_file():
        return None
    try:
        folder = yaml.safe_load(config.read_text(encoding="utf-8"))["data"]
    except (yaml.YAMLError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise EtudeError(
            f"{config}: not the settings of a run", "It is damaged: restore it, or repeat the training."
        ) from error
    return Path(folder) if folder is not None and (Path(folder) / MANIFEST).is_file() else None


def _prepared_again(run: Path, folder: Path) -> bool:
    """Whether the folder holds another corpus now (other text, another tokenizer) than the run recorded."""
    return (run / MANIFEST).is_file() and read_manifest(run) != read_manifest(folder)


def held_out_file(name: str, run: Path | None) -> Path:
    """The held-out documents of the corpus that a run was trained on.

    Raises:
        EtudeError: The model is no run, or its corpus is gone or has none.
    """
    corpus = corpus_of(run) if run is not None else None
    if corpus is None or not (corpus / HELD_OUT).is_file():
        raise EtudeError(
            f"{name}: nothing to evaluate on"
            + (
                "" if run is None else ": its corpus is gone, was prepared again or has no held-out documents"
            ),
            "Give --texts FILE, --suites FILE or --harness TASK.",
        )
    return corpus / HELD_OUT


def check_held_out(
    lm: CausalLM, run: Path | None, path: Path, documents: Sequence[Document], *, force: bool = False
) -> list[str]:
    """Refuse text that a run was trained on.

    The documents are looked for in the corpus's training shards; where those are gone, too many, or prepared
    again since the run, a file that the run's manifest names is refused, and the last is said.

    Args:
        lm: The model, for its tokenizer.
        run: Its folder; without one nothing is known and nothing is checked.
        path: The file to evaluate on.
        documents: What it holds.
        force: Say it instead of refusing it.

    Returns:
        Notices.

    Raises:
        EtudeError: The text was trained on.
    """
    if run is None:
        return []
    problem = _trained_on(lm, run, path, documents)
    if problem is not None and not force:
        raise EtudeError(problem, "Evaluate on text that was held out, or give --force.")
    notices = [] if problem is None else [problem]
    folder = _named_corpus(run)
    if folder is not None and _prepared_again(run, folder):
        notices.append(
            f"{folder} was prepared again since {run} was trained: whether documents of {path} are among "
            "those it was trained on cannot be told, only whether the whole file is"
        )
    return notices


def _trained_on(lm: CausalLM, run: Path, path: Path, documents: Sequence[Document]) -> str | None:
    corpus = corpus_of(run)
    if (
        corpus is not None
        and (shards := TokenShards.open(corpus)).manifest.splits["train"].tokens <= SEARCHED
    ):
        known = training_hashes(shards)
        dtype = np.dtype(shards.manifest.dtype).newbyteorder("<")
        tokens = [np.array(encode_text(lm.tokenizer, document.text), dtype) for document in documents]
        shared = [d for d, ids in zip(documents, tokens, strict=True) if _digest(ids) in known]
        if not shared:
            return None
        return f"{path}: {len(shared)} of {len(documents)} documents ({shared[0].id!r}, ...) were trained on"
    if not (run / MANIFEST).is_file() or not path.is_file():
        return None
    digest = file_hash(path)
    if digest not in {source.sha256 for source in read_manifest(run).sources}:
        return None
    return (
        f"{path} is among the files of the corpus of {run} (SHA-256 {digest[:12]}…); the corpus as it was "
        "is gone, so whether it was held out cannot be told"
    )


def training_hashes(shards: TokenShards) -> set[bytes]:
    """A hash of each document of a split, by its tokens."""
    return {_digest(document) for document in split_documents(shards)}


def split_documents(shards: TokenShards) -> Iterator[np.ndarray]:
    """The token ids of each document of a split, without its end token; memory for one chunk."""
    rest = np.zeros(0, dtype=np.dtype(shards.manifest.dtype).newbyteorder("<"))
    for begin in range(0, len(shards), _CHUNK):
        tokens = np.concatenate([rest, shards.read(begin, min(len(shards), begin + _CHUNK))])
        ends = np.flatnonzero(tokens == shards.manifest.end_token)
        begins = [0, *(ends[:-1] + 1)] if len(ends) else []
        for start, end in zip(begins, ends, strict=True):
            yield tokens[start:end]
        rest = tokens[ends[-1] + 1 :] if len(ends) else tokens
    if len(rest):
        yield rest


def _digest(tokens: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(tokens).tobytes(), digest_size=16).digest()
