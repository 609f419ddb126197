"""Candidates of finished batches, durable: a killed naming goes on with the batches that are missing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from etude.methods.idgen.rounds import Round


class CandidateStore:
    """Candidates by round and text.

    Args:
        path: An SQLite file; in memory without one.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._database = sqlite3.connect(":memory:" if path is None else path, timeout=60)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS candidates (round TEXT, text TEXT, found TEXT NOT NULL, "
            "PRIMARY KEY (round, text)) WITHOUT ROWID"
        )

    def __enter__(self) -> CandidateStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def put(self, asked: Round, found: Mapping[str, list[str]]) -> None:
        """Keep a batch, in one transaction."""
        rows = [(asked.name, text, json.dumps(one)) for text, one in found.items()]
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO candidates VALUES (?, ?, ?)", rows)

    def get(self, asked: Round, text: str) -> list[str]:
        """The candidates of a text in a round; none where it was not asked."""
        query = "SELECT found FROM candidates WHERE round = ? AND text = ?"
        row = self._database.execute(query, (asked.name, text)).fetchone()
        return [] if row is None else [str(one) for one in json.loads(row[0])]

    def has(self, asked: Round, text: str) -> bool:
        """Whether a text was asked in a round."""
        query = "SELECT 1 FROM candidates WHERE round = ? AND text = ?"
        return self._database.execute(query, (asked.name, text)).fetchone() is not None
