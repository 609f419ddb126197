"""`chat_model`: a name becomes a chat model."""

from __future__ import annotations

from pathlib import Path

from etude.data.store import cache_root
from etude.errors import EtudeError
from etude.models.chat import Engine
from etude.models.embedded import EMBEDDED
from etude.models.inspect_bridge import InspectEngine
from etude.models.local import LocalEngine
from etude.models.replay import ReplayEngine
from etude.models.responses import ResponseStore, StoredChat
from etude.models.scripted import ScriptedEngine, is_registered
from etude.models.served import ServedEngine

DEFAULT_STORE = "default"
"""The store in the cache folder."""


def chat_model(
    name: str,
    *,
    base_url: str | None = None,
    store: Path | str | None = DEFAULT_STORE,
    max_connections: int = 8,
) -> StoredChat:
    """A chat model by name.

    Args:
        name: An embedded name (`smollm2`), a directory, a `.gguf` file, or a hub id: a local model;
            `openai/MODEL`: one behind an OpenAI-compatible server; `inspect/PROVIDER/MODEL`: one of Inspect's
            providers; `scripted/NAME` (or a registered NAME): a function; `replay/FILE`: a recorded store.
        base_url: Address of the server, for `openai/` and `inspect/`.
        store: File of the response store; by default one in the cache folder; None keeps nothing. Scripted
            models and recordings keep nothing by default.
        max_connections: Requests under way at once, for served models.

    Raises:
        EtudeError: There is no such model; the hint names the closest ones.
    """
    engine = _engine(name, base_url, max_connections)
    path: Path | str | None = store
    if store == DEFAULT_STORE:
        passing = isinstance(engine, ScriptedEngine | ReplayEngine)
        path = None if passing else cache_root() / "responses.sqlite"
    return StoredChat(engine, None if path is None else ResponseStore(path))


def _engine(name: str, base_url: str | None, max_connections: int) -> Engine:
    kind, _, rest = name.partition("/")
    if kind in ("openai", "inspect", "scripted", "replay") and not rest:
        raise EtudeError(f"{name!r} names no model", f"Write {kind}/NAME.")
    if kind == "openai":
        return ServedEngine(rest, base_url=base_url, max_connections=max_connections)
    if kind == "inspect":
        return InspectEngine(rest, base_url=base_url, max_connections=max_connections)
    if kind == "scripted":
        return ScriptedEngine(rest)
    if kind == "replay":
        return ReplayEngine(rest)
    if is_registered(name):
        return ScriptedEngine(name)
    if base_url:
        raise EtudeError(
            f"{name} is a local model, a base URL is for served ones", f"Did you mean openai/{name}?"
        )
    if name in EMBEDDED and EMBEDDED[name].kind != "chat":
        kind = "a vision encoder" if EMBEDDED[name].kind == "vision" else "a sentence encoder"
        raise EtudeError(f"{name} is {kind} and does not chat", "Use smollm2 or another chat model.")
    return LocalEngine(name)
