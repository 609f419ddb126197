"""The response store: every reply of every chat model, once.

It is the cache (the same question is not asked twice), the resume (a killed run asks only what is missing)
and the transcript (`records`). A reply is written as soon as it is finished; errors are not written.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from etude.errors import EtudeError
from etude.models.chat import Conversation, Engine, Parameters, Reply, check_conversations
from etude.models.decoding import PLAIN, Decoding
from etude.runs import content_hash

Kind = Literal["generate", "score"]

_PATIENCE = 60.0  # seconds to wait for other processes that write

_SCHEMA = """
CREATE TABLE IF NOT EXISTS responses (
    key TEXT PRIMARY KEY,      -- hash of model, kind, messages and parameters
    request TEXT NOT NULL,     -- hash of kind, messages and parameters
    model TEXT NOT NULL,       -- the model's name
    identity TEXT NOT NULL,    -- JSON: engine, revision
    kind TEXT NOT NULL,        -- generate or score
    messages TEXT NOT NULL,    -- JSON
    parameters TEXT NOT NULL,  -- JSON
    response TEXT NOT NULL,    -- JSON: a reply, or log-probabilities
    created TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS by_request ON responses (request);
"""


class ResponseStore:
    """Replies in one SQLite file; several processes may use it at once.

    Args:
        path: The file; created when missing.

    Raises:
        EtudeError: The file is something else, or cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)
            _prepare(self._database)
        except (sqlite3.Error, OSError) as error:
            raise EtudeError(
                f"{self.path}: not a usable response store ({error})", "Give another file."
            ) from error

    def get(self, key: str) -> Any | None:
        """The stored response, or None."""
        row = self._database.execute("SELECT response FROM responses WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(
        self, key: str, engine: Engine, kind: Kind, messages: Conversation, parameters: Any, response: Any
    ) -> None:
        """Store a response, durably; a second one for the same key is ignored."""
        row = (
            key,
            request_hash(kind, messages, parameters),
            engine.name,
            json.dumps(engine.identity, sort_keys=True),
            kind,
            json.dumps(messages, ensure_ascii=False),
            json.dumps(parameters, ensure_ascii=False),
            json.dumps(response, ensure_ascii=False),
            datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        try:
            self._database.execute("INSERT OR IGNORE INTO responses VALUES (?,?,?,?,?,?,?,?,?)", row)
        except sqlite3.Error as error:
            raise EtudeError(
                f"{self.path}: cannot be written ({error})", "Free some space, or give another file."
            ) from error

    def find(self, request: str) -> list[tuple[str, Any]]:
        """Model names and responses for the same question, whichever model was asked."""
        rows = self._database.execute("SELECT model, response FROM responses WHERE request = ?", (request,))
        return [(model, json.loads(response)) for model, response in rows]

    def records(self) -> Iterator[dict[str, Any]]:
        """The transcript, oldest first: model, kind, messages, parameters, response, created."""
        columns = ("model", "identity", "kind", "messages", "parameters", "response", "created")
        for row in self._database.execute(
            f"SELECT {', '.join(columns)} FROM responses ORDER BY created, rowid"
        ):
            values = dict(zip(columns, row, strict=True))
            yield values | {
                key: json.loads(values[key]) for key in ("identity", "messages", "parameters", "response")
            }

    def __len__(self) -> int:
        """Number of responses."""
        return int(self._database.execute("SELECT count(*) FROM responses").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _prepare(database: sqlite3.Connection) -> None:
    """Set the journal and the schema up; waits for another process that does the same."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            database.execute("PRAGMA journal_mode=WAL")  # of two at once SQLite refuses one without waiting
            database.execute("PRAGMA synchronous=NORMAL")
            database.executescript(_SCHEMA)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)


def request_hash(kind: Kind, messages: Conversation, parameters: Any) -> str:
    """What identifies a question, whichever model is asked."""
    return content_hash({"kind": kind, "messages": messages, "parameters": parameters})


class StoredChat:
    """A chat model whose answers go through a response store.

    Args:
        engine: What answers.
        store: Where answers are kept, or None to keep none.
    """

    def __init__(self, engine: Engine, store: ResponseStore | None) -> None:
        self.engine = engine
        self.store = store

    @property
    def name(self) -> str:
        """The name it was asked for by."""
        return self.engine.name

    @property
    def context_length(self) -> int | None:
        """The most tokens of conversation and answer, if known."""
        return self.engine.context_length

    @property
    def identity(self) -> dict[str, Any]:
        """What determines the answers: engine, revision, arithmetic."""
        return self.engine.identity

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        stop: Sequence[str] = (),
        seed: int = 0,
        decoding: Decoding = PLAIN,
    ) -> list[Reply]:
        """Answer conversations; see `ChatModel.generate`."""
        check_conversations(conversations)
        if max_tokens < 1 or temperature < 0 or "" in stop:
            raise EtudeError(
                f"max_tokens={max_tokens}, temperature={temperature}, stop={list(stop)!r} cannot be",
                "max_tokens is at least 1, temperature at least 0, and stop strings are not empty.",
            )
        asked = Parameters(max_tokens, temperature, tuple(stop), seed, decoding)
        parameters = asked.to_json()
        keys = [self._key("generate", conversation, parameters) for conversation in conversations]
        found = {key: Reply(**stored) for key, stored in self._stored(keys).items()}
        missing = _first_of_each(keys, found)
        if missing:
            for number, reply in self.engine.generate([conversations[i] for i in missing], asked):
                at = missing[number]
                found[keys[at]] = reply
                if self.store is not None and reply.error is None:
                    self.store.put(
                        keys[at], self.engine, "generate", conversations[at], parameters, asdict(reply)
                    )
        return [found[key] for key in keys]

    def score(
        self, conversations: Sequence[Conversation], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Log-probabilities of given answers; see `ChatModel.score`."""
        check_conversations(conversations)
        if len(options) != len(conversations):
            raise EtudeError(
                f"{len(conversations)} conversations and {len(options)} lists of options",
                "Give one list each.",
            )
        for number, given in enumerate(options):
            if isinstance(given, str) or not given or not all(given):
                raise EtudeError(
                    f"options of conversation {number}: {given!r}", "Give a list of non-empty texts."
                )
        parameters = [{"options": list(given)} for given in options]
        keys = [self._key("score", *asked) for asked in zip(conversations, parameters, strict=True)]
        found: dict[str, list[float]] = self._stored(keys)
        missing = _first_of_each(keys, found)
        if missing:
            asked = [conversations[i] for i in missing], [options[i] for i in missing]
            for number, scores in self.engine.score(*asked):
                at = missing[number]
                found[keys[at]] = scores
                if self.store is not None:
                    self.store.put(keys[at], self.engine, "score", conversations[at], parameters[at], scores)
        return [found[key] for key in keys]

    def _key(self, kind: Kind, messages: Conversation, parameters: Any) -> str:
        return content_hash(
            [self.engine.name, self.engine.identity, request_hash(kind, messages, parameters)]
        )

    def _stored(self, keys: Sequence[str]) -> dict[str, Any]:
        if self.store is None:
            return {}
        held = {key: self.store.get(key) for key in dict.fromkeys(keys)}
        return {key: value for key, value in held.items() if value is not None}


def _first_of_each(keys: Sequence[str], found: dict[str, Any]) -> list[int]:
    """Places of the keys that are not found, each key once."""
    first: dict[str, int] = {}
    for place, key in enumerate(keys):
        if key not in found:
            first.setdefault(key, place)
    return list(first.values())
