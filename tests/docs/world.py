"""What a page of the documentation needs to be run: its files, and a table of what is replaced."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Answer = Callable[[list[dict[str, Any]]], str]


@dataclass(frozen=True)
class Left:
    """Commands (or Python blocks) that are not run: those that contain `part`."""

    part: str
    reason: str


@dataclass(frozen=True)
class Swapped:
    """Commands (or Python blocks) that contain `part` are run with `old` replaced by `new`, everywhere."""

    part: str
    reason: str
    old: str
    new: str


@dataclass(frozen=True)
class Served:
    """Commands that contain `part` talk to a server of the tests, in which `answer` plays the model.

    `OPENAI_BASE_URL` is its address, and so is what follows a `--base-url`.
    """

    part: str
    reason: str
    answer: Answer


Entry = Left | Swapped | Served


@dataclass(frozen=True)
class World:
    """One page's files and its table.

    Args:
        prepare: Writes, into the empty working directory, the files that the page's commands name.
        table: What is replaced or left out, and why.
        names: Names that the page's Python blocks use without defining them.
        before: What people do by hand before the commands that contain the text.
        writes: Files that the page says are written, beside every `--out`.
        same: Commands that contain one of these print every word that the page shows.
        embedded: Embedded models that are used as they are.
        needs: Modules of optional extras; without them the page is skipped.
        slow: Whether the page runs with the slow tests; the quick ones take forty seconds in all.
    """

    prepare: Callable[[Path], None]
    table: tuple[Entry, ...] = ()
    names: Callable[[Path], dict[str, Any]] = lambda folder: {}
    before: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    writes: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    embedded: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    slow: bool = False

    def left(self, text: str) -> bool:
        """Whether a command or block is left out."""
        return any(isinstance(entry, Left) and entry.part in text for entry in self.table)

    def swapped(self, text: str, *, of: str) -> str:
        """A text with what its command or block `of` is run with."""
        for entry in self.table:
            if isinstance(entry, Swapped) and entry.part in of:
                text = text.replace(entry.old, entry.new)
        return text

    def answer(self, line: str) -> Answer:
        """Who answers for the served model of a command."""
        found = [entry.answer for entry in self.table if isinstance(entry, Served) and entry.part in line]
        return found[0] if found else refuse


def refuse(messages: list[dict[str, Any]]) -> str:
    """No model was named for this command."""
    raise AssertionError(f"no answer for {messages}")


def write(folder: Path, **files: str) -> None:
    """Text files; `posts_csv` becomes `posts.csv`."""
    for name, text in files.items():
        (folder / name[::-1].replace("_", ".", 1)[::-1]).write_text(text, encoding="utf-8")


def jsonl(rows: list[dict[str, Any]]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@dataclass
class Server:
    """An OpenAI-compatible server on 127.0.0.1.

    Args:
        answer: Who answers now; a conversation becomes a text.
        asked: How many conversations came.
    """

    answer: Answer = refuse
    asked: int = 0
    url: str = ""
    problems: list[str] = field(default_factory=list)

    def reply(self, asked: dict[str, Any]) -> dict[str, Any]:
        """One chat completion."""
        self.asked += 1
        text = self.answer(asked["messages"])
        message = {"role": "assistant", "content": text}
        return {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": asked["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": len(text.split()), "total_tokens": 9},
        }


@contextmanager
def served(port: int = 0) -> Iterator[Server]:
    """A running server (on a free port by default); its problems are those of the functions that answered."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                self.say(200, server.reply(asked))
            except Exception as problem:
                server.problems.append(f"{type(problem).__name__}: {problem}")
                self.say(400, {"error": {"message": str(problem)}})

        def do_GET(self) -> None:
            self.say(200, {"object": "list", "data": []})

        def say(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        server.url = f"http://127.0.0.1:{running.server_port}/v1"
        yield server
        running.shutdown()


def last(messages: list[dict[str, Any]]) -> str:
    """The text of the last message."""
    content = messages[-1]["content"]
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)
