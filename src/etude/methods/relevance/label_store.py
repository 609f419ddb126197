"""Documents, pairs and labels of one labelling in an SQLite file: a million pairs need no memory.

Labels are keyed by (qid, docid, prompt hash, model) and durable batch by batch, so a killed run goes on with
the pairs that are missing.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.relevance.collection import Document, Pair, Topic
from etude.methods.relevance.labels import Label

_SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (docid TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pairs (qid TEXT, docid TEXT, PRIMARY KEY (qid, docid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS labels (
    qid TEXT, docid TEXT, prompt TEXT, model TEXT, record TEXT NOT NULL,
    PRIMARY KEY (qid, docid, prompt, model)
) WITHOUT ROWID;
"""
_NAMED = 10


class LabelStore:
    """One labelling's tables.

    Args:
        path: The SQLite file.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, timeout=60)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.executescript(_SCHEMA)

    def fill(self, documents: Path, pairs: Iterable[tuple[str, str]]) -> None:
        """Read documents and pairs in one transaction; pairs that come again are one pair.

        Raises:
            EtudeError: A document is bad or comes twice.
        """
        with self._database:
            for docid, content in ((d.docid, d.content) for d in read_records(documents, Document)):
                try:
                    self._database.execute("INSERT INTO documents VALUES (?, ?)", (docid, content))
                except sqlite3.IntegrityError as error:
                    raise EtudeError(
                        f"{documents}: document {docid} comes twice", "Keep one of them."
                    ) from error
            self._database.executemany("INSERT OR IGNORE INTO pairs VALUES (?, ?)", pairs)
        if not self.count("pairs"):
            raise EtudeError("no pairs", "Give --pairs with qrels, a run, or lines: qid docid.")

    def drop_unusable(
        self, topics: Mapping[str, Topic], lacking: Mapping[str, list[str]], *, drop: bool
    ) -> dict[str, int]:
        """Find the pairs whose documents or topics are missing or empty, or lack what the prompt shows.

        Args:
            topics: By qid.
            lacking: Field to the qids of topics without it.
            drop: Leave these pairs out; else they are an error.

        Returns:
            What is wrong to the number of pairs left out.

        Raises:
            EtudeError: There are such pairs and `drop` is false; the message names ids.
        """
        rows = self._database.execute("SELECT DISTINCT qid FROM pairs").fetchall()
        named = {
            "no such topic": [qid for (qid,) in rows if qid not in topics],
            **{f"topics without {name}": qids for name, qids in lacking.items()},
        }
        wrong = {
            problem: ("qid", found)
            for problem, qids in named.items()
            if (found := [qid for (qid,) in rows if qid in set(qids)])
        }
        for problem, query in (
            ("no such document", "SELECT DISTINCT docid FROM pairs WHERE docid NOT IN "
             "(SELECT docid FROM documents)"),
            ("empty documents", "SELECT DISTINCT docid FROM pairs JOIN documents USING (docid) "
             "WHERE content = ''"),
        ):  # fmt: skip
            if found := [docid for (docid,) in self._database.execute(query)]:
                wrong[problem] = ("docid", found)
        if wrong and not drop:
            lines = (
                f"{problem}: {', '.join(sorted(ids)[:_NAMED])}"
                + (f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else "")
                for problem, (_, ids) in wrong.items()
            )
            raise EtudeError("\n".join(lines), "Mend the files, or leave these pairs out: --drop-missing.")
        dropped = {}
        with self._database:
            for problem, (column, ids) in wrong.items():
                before = self.count("pairs")
                self._database.executemany(f"DELETE FROM pairs WHERE {column} = ?", ((i,) for i in ids))
                dropped[problem] = before - self.count("pairs")
        if not self.count("pairs"):
            raise EtudeError("no pair is left", "Check that documents, topics and pairs use the same ids.")
        return dropped

    def missing(self, topics: Mapping[str, Topic], prompt: str, model: str) -> Iterator[Pair]:
        """Stream the pairs without a label of this prompt and model, query by query."""
        last = ("", "")
        while True:
            rows = self._database.execute(
                "SELECT qid, docid, content FROM pairs JOIN documents USING (docid) "
                "WHERE (qid, docid) > (?, ?) AND NOT EXISTS (SELECT 1 FROM labels WHERE "
                "labels.qid = pairs.qid AND labels.docid = pairs.docid AND prompt = ? AND model = ?) "
                "ORDER BY qid, docid LIMIT 1024",
                (*last, prompt, model),
            ).fetchall()
            for qid, docid, content in rows:
                topic = topics[qid]
                yield Pair(qid, docid, topic.query, content, topic.description, topic.narrative)
            if not rows:
                return
            last = rows[-1][:2]

    def add(self, labels: Iterable[Label], prompt: str) -> None:
        """Store labels durably under the prompt's key."""
        with self._database:
            self._database.executemany(
                "INSERT OR IGNORE INTO labels VALUES (?, ?, ?, ?, ?)",
                ((one.qid, one.docid, prompt, one.model, one.model_dump_json()) for one in labels),
            )

    def labels(self) -> Iterator[Label]:
        """Stream the labels, in the order of qid and docid."""
        rows = self._database.execute("SELECT record FROM labels ORDER BY qid, docid, prompt, model")
        while part := rows.fetchmany(1024):
            yield from (Label.model_validate_json(record) for (record,) in part)

    def documents(self) -> dict[str, str]:
        """Content by docid, all in memory."""
        return dict(self._database.execute("SELECT docid, content FROM documents ORDER BY docid"))

    def count(self, name: str) -> int:
        """Rows of `documents`, `pairs` or `labels`."""
        return int(self._database.execute(f"SELECT count(*) FROM {name}").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def batches(labels: Iterable[Label], size: int) -> Iterator[list[Label]]:
    """Labels in lists of at most `size`."""
    waiting = iter(labels)
    while part := list(islice(waiting, size)):
        yield part
