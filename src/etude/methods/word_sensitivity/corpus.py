"""Texts in: rows with `text` (and `label`), plain text, or arrays of embeddings; as rows of norm √d.

Tokens are embedded by the rows of a model's embedding matrix, read from its weights without loading the
model. No token is added and none is padded: a text shorter than asked for is refused, or dropped and
counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from etude.data import prose, read_documents, read_rows
from etude.errors import EtudeError
from etude.methods.word_sensitivity.perturbation import as_text, generator, rescale
from etude.methods.word_sensitivity.vocabulary import Vocabulary
from etude.models import load_tokenizer, model_directory

GAUSSIAN = "gaussian"
_TABLES = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight", "shared.weight")
_LABELS = ({-1.0, 1.0}, {0.0, 1.0})


@dataclass(frozen=True)
class Passage:
    """One text of the user.

    Args:
        id: Its id, or where it stands.
        text: As it is.
        where: File and line, for errors.
        label: As given, or None.
    """

    id: str
    text: str
    where: str
    label: float | None = None


@dataclass(frozen=True)
class EmbeddedTexts:
    """Texts as matrices of one size.

    Args:
        x: (texts, n, d).
        ids: One a text.
        tokens: Token ids, (texts, n), where they come from text.
        labels: ±1, where there are labels.
        skipped: Texts that were too short and dropped.
    """

    x: Tensor
    ids: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...] = ()
    labels: tuple[float, ...] = ()
    skipped: int = 0


def read_passages(source: Path | str | None) -> list[Passage]:
    """Texts of a `.jsonl`, `.csv`, `.tsv`, `.parquet` or `.txt` file (one text a blank-line block).

    Without a source: the prose of the Python installation, in pieces of 4,000 characters.

    Raises:
        EtudeError: No file, an empty text, or a label that is not a number.
    """
    if source is None:
        text = prose()
        pieces = [text[start : start + 4000] for start in range(0, 200_000, 4000)]
        return [Passage(f"python-prose-{i}", piece, f"prose {i}") for i, piece in enumerate(pieces)]
    path = Path(source)
    if path.suffix == ".txt":
        return [Passage(d.id, d.text, f"{path}: {d.id}") for d in read_documents(path)]
    found = [_passage(path, line, row) for line, row in read_rows(path)]
    if not found:
        raise EtudeError(f"{path}: holds no text", "Give rows with a field text.")
    return found


def _passage(path: Path, line: int, row: dict[str, Any]) -> Passage:
    where = f"{path}:{line}"
    text = row.get("text")
    if not isinstance(text, str) or not text.strip():
        raise EtudeError(f"{where}: text: missing or empty", "Every row needs a non-empty field text.")
    label = row.get("label")
    try:
        number = None if label is None else float(label)
    except (TypeError, ValueError, OverflowError) as error:
        raise EtudeError(f"{where}: label: {label!r} is not a number", "Use -1 and 1, or 0 and 1.") from error
    return Passage(str(row.get("id", line)), text, where, number)


def signs(labels: Sequence[float | None], source: str) -> tuple[float, ...]:
    """Labels as ±1.

    Raises:
        EtudeError: A text without a label, or labels that are neither {-1, 1} nor {0, 1}, or all alike.
    """
    seen = {label for label in labels if label is not None}
    if None in labels or seen not in _LABELS:
        shown = ", ".join("none" if v is None else f"{v:g}" for v in sorted(set(labels), key=str))
        raise EtudeError(
            f"{source}: the labels are {shown or 'missing'}",
            "Two values are needed: -1 and 1, or 0 and 1, on every text.",
        )
    return tuple(1.0 if label == 1 else -1.0 for label in labels)


def embed_texts(
    source: Path | str | None,
    embeddings: str,
    *,
    n: int,
    count: int,
    d: int | None = None,
    skip_short: bool = False,
    labeled: bool = False,
    order: int | None = 0,
) -> EmbeddedTexts:
    """The first n tokens of `count` texts, (count, n, d), rows of norm √d.

    Args:
        source: Texts as for `read_passages`; for `.npy` and `.safetensors`, embeddings (N, n, d).
        embeddings: A model whose embedding matrix is used, or `gaussian` (X_ab ~ N(0, 1), no source).
        n: Tokens of each text.
        count: Texts.
        d: Keep the first so many columns (before the rows are rescaled).
        skip_short: Drop texts of fewer than n tokens instead of refusing them.
        labeled: Labels are needed.
        order: Seed of the order in which texts are taken; None: as they stand.

    Raises:
        EtudeError: Too few texts, one too short, a zero or non-finite row, or bad labels.
    """
    if min(n, count) < 1:
        raise EtudeError(f"{count} texts of {n} tokens", "Both must be at least 1.")
    path = None if source is None else Path(source)
    if embeddings == GAUSSIAN:
        width = d or 768
        drawn = torch.randn(count, n, width, generator=generator(order or 0, count, n, width))
        ids = tuple(f"gaussian-{i}" for i in range(count))
        return EmbeddedTexts(rescale(drawn), ids, labels=tuple(1.0 - 2 * (i % 2) for i in range(count)))
    if path is not None and path.suffix in (".npy", ".safetensors"):
        found = array_texts(path, n=n, count=count, d=d)
        if labeled:
            raise EtudeError(f"{path}: an array has no labels", "Give texts with labels, as JSONL or CSV.")
        return found
    table = embedding_table(embeddings)
    width = d or table.shape[1]
    if not 0 < width <= table.shape[1]:
        raise EtudeError(f"d={width}", f"The embeddings of {embeddings} are {table.shape[1]} wide.")
    chosen, rows, skipped = _tokenized(read_passages(path), embeddings, n, count, skip_short, order, labeled)
    x = torch.stack([rescale(as_text(table[list(row)][:, :width])) for row in rows])
    labels = signs([p.label for p in chosen], str(source)) if labeled else ()
    return EmbeddedTexts(x, tuple(p.id for p in chosen), tuple(rows), labels, skipped)


def _tokenized(
    passages: list[Passage],
    model: str,
    n: int,
    count: int,
    skip_short: bool,
    order: int | None,
    labeled: bool,
) -> tuple[list[Passage], list[tuple[int, ...]], int]:
    if labeled:
        signs([p.label for p in passages], passages[0].where.rpartition(":")[0])
    if order is not None:
        shuffled = torch.randperm(len(passages), generator=generator(order, len(passages)))
        passages = [passages[int(i)] for i in shuffled]
    chosen: list[Passage] = []
    rows: list[tuple[int, ...]] = []
    skipped = 0
    for passage, ids in token_rows(passages, model):
        if len(ids) < n:
            if not skip_short:
                raise EtudeError(
                    f"{passage.where}: {len(ids)} tokens, and {n} are needed",
                    "Give longer texts, ask for fewer tokens, or drop short ones with --skip-short.",
                )
            skipped += 1
            continue
        chosen.append(passage)
        rows.append(ids[:n])
        if len(rows) == count:
            return chosen, rows, skipped
    raise EtudeError(
        f"{len(rows)} texts of at least {n} tokens ({skipped} shorter ones dropped), and {count} are needed",
        "Give more texts, or ask for fewer.",
    )


def token_rows(passages: Sequence[Passage], model: str) -> Iterator[tuple[Passage, tuple[int, ...]]]:
    """Each passage with its token ids, without special tokens."""
    tokenizer: Any = load_tokenizer(model)
    for passage in passages:
        yield passage, tuple(tokenizer(passage.text, add_special_tokens=False, verbose=False)["input_ids"])


def array_texts(path: Path, *, n: int, count: int, d: int | None = None) -> EmbeddedTexts:
    """Embeddings (N, n, d) of a `.npy` or `.safetensors` file, cut and rescaled.

    Raises:
        EtudeError: Not readable, of another rank, too small, or with a zero or non-finite row.
    """
    array = _read_array(path)
    if array.ndim != 3:
        raise EtudeError(
            f"{path}: an array of shape {tuple(array.shape)}", "Embeddings are (texts, tokens, width)."
        )
    if len(array) < count or array.shape[1] < n or array.shape[2] < (d or 1):
        raise EtudeError(
            f"{path}: shape {tuple(array.shape)}, and ({count}, {n}, {d or 'any'}) is needed",
            "Ask for fewer texts, tokens or columns.",
        )
    kept = array[:count, :n, : d or array.shape[2]]
    rows = []
    for index, text in enumerate(kept):
        try:
            rows.append(rescale(as_text(text)))
        except EtudeError as error:
            raise EtudeError(f"{path}: text {index}: {error.problem}", error.hint) from error
    return EmbeddedTexts(torch.stack(rows), tuple(f"{path.stem}-{i}" for i in range(count)))


def _read_array(path: Path) -> Tensor:
    try:
        if path.suffix == ".npy":
            return torch.from_numpy(np.load(path, allow_pickle=False)).float()
        from safetensors.torch import load_file

        tensors = load_file(path)
    except FileNotFoundError as error:
        raise EtudeError(f"{path}: no such file", "Check the path.") from error
    except Exception as error:  # a damaged file fails in many ways
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise EtudeError(f"{path}: not a readable array ({reason})", "Write the file again.") from error
    if len(tensors) != 1:
        raise EtudeError(f"{path}: holds {len(tensors)} tensors", "Save one tensor (texts, tokens, width).")
    return next(iter(tensors.values())).float()


@cache
def embedding_table(model: str) -> Tensor:
    """A model's token embeddings, (vocabulary, d), read from its weights alone.

    Raises:
        EtudeError: No such model, or its weights name no token embeddings.
    """
    from safetensors import safe_open

    directory = model_directory(model)
    for file in sorted(directory.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118 (not a mapping)
                if name.endswith(_TABLES):
                    found: Tensor = weights.get_tensor(name)
                    return found.float()
    raise EtudeError(f"{model}: no token embeddings in its weights", f"Looked for {', '.join(_TABLES)}.")


def word_table(model: str, ids: Sequence[int], *, d: int | None = None) -> Vocabulary:
    """Some rows of a model's embedding matrix as replacement tokens, rows of norm √d."""
    tokenizer: Any = load_tokenizer(model)
    rows = embedding_table(model)[list(ids)]
    return Vocabulary(rescale(rows[:, : d or rows.shape[1]]), tuple(ids), token_texts(tokenizer, ids))


def token_texts(tokenizer: Any, ids: Sequence[int]) -> tuple[str, ...]:
    """Each token as text, by itself."""
    return tuple(str(tokenizer.decode([i])) for i in ids)
