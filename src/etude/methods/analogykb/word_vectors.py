"""Word vectors of a frozen encoder, kept in the cache, once for each revision of a model."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from etude.data.store import cache_root, locked
from etude.models import Encoder, load_encoder, model_directory, model_revision
from etude.render import console

_AT_ONCE = 512
_TELL_FROM = 2000  # words from which the wait is worth a line


def word_vectors(words: Sequence[str], encoder: str = "minilm") -> NDArray[np.float32]:
    """Vectors of words, (words, dimension), of length 1.

    Args:
        words: Words or terms.
        encoder: An embedded name, a directory, or a hub id.
    """
    revision = model_revision(model_directory(encoder))
    folder = cache_root() / "word-vectors"
    folder.mkdir(parents=True, exist_ok=True)
    with locked(f"word-vectors-{revision}"):
        database = sqlite3.connect(folder / f"{revision}.sqlite", timeout=60)
        try:
            database.execute(
                "CREATE TABLE IF NOT EXISTS vectors (word TEXT PRIMARY KEY, vector BLOB NOT NULL)"
            )
            found = _stored(database, words)
            missing = [word for word in dict.fromkeys(words) if word not in found]
            if missing:
                if len(missing) >= _TELL_FROM:
                    console().print(f"encoding {len(missing):,} words with {encoder}")
                model = _encoder(encoder, revision)
                for start in range(0, len(missing), _AT_ONCE):
                    part = missing[start : start + _AT_ONCE]
                    vectors = model.encode(part)
                    rows = [(w, v.tobytes()) for w, v in zip(part, vectors, strict=True)]
                    with database:
                        database.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
                    found |= dict(zip(part, vectors, strict=True))
        finally:
            database.close()
    return np.stack([found[word] for word in words]) if words else np.zeros((0, 1), dtype=np.float32)


@lru_cache(maxsize=1)
def _encoder(name: str, revision: str) -> Encoder:
    """The encoder, loaded once while its files stay the same."""
    return load_encoder(name)


def _stored(database: sqlite3.Connection, words: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    found: dict[str, NDArray[np.float32]] = {}
    distinct = list(dict.fromkeys(words))
    for start in range(0, len(distinct), _AT_ONCE):
        part = distinct[start : start + _AT_ONCE]
        marks = ",".join("?" * len(part))
        for word, blob in database.execute(f"SELECT word, vector FROM vectors WHERE word IN ({marks})", part):
            found[word] = np.frombuffer(blob, dtype=np.float32)
    return found
