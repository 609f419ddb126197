"""A model in a role. Threads share its engine; each has its own connection to the response store."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from etude.errors import EtudeError
from etude.models import ChatModel, Conversation, Reply, ResponseStore, StoredChat, chat_model

STORE = "responses.sqlite"


class Seat:
    """One model in one role.

    Args:
        model: A chat model's name, or a chat model.
        store: Response store of the run; None keeps nothing. Not for a chat model of another kind than ours.
        max_tokens: The most tokens of an answer.
        base_url: Address of an OpenAI-compatible server.
        max_connections: Requests of a served model under way at once.
    """

    def __init__(
        self,
        model: str | ChatModel,
        *,
        store: Path | None = None,
        max_tokens: int = 1024,
        base_url: str | None = None,
        max_connections: int = 8,
    ) -> None:
        if max_tokens < 1:
            raise EtudeError(f"max_tokens={max_tokens} leaves no room for an answer", "Give at least 64.")
        if isinstance(model, str):
            url = base_url if model.startswith(("openai/", "inspect/")) else None
            model = chat_model(model, base_url=url, store=None, max_connections=max_connections)
        self.model = model
        self.store = store
        self.max_tokens = max_tokens
        self.calls = 0
        self._mine = threading.local()
        self._count = threading.Lock()
        local = isinstance(model, StoredChat) and model.identity.get("engine") == "transformers"
        self._turn: AbstractContextManager[object] = threading.Lock() if local else nullcontext()

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    def ask(
        self,
        conversation: Conversation,
        *,
        stop: tuple[str, ...] = (),
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Reply:
        """One answer; from the store, if it is there.

        Raises:
            EtudeError: The model cannot be reached.
        """
        with self._count:
            self.calls += 1
        with self._turn:
            [reply] = self._chat().generate(
                [conversation], max_tokens=self.max_tokens, temperature=temperature, stop=stop, seed=seed
            )
        return reply

    def _chat(self) -> ChatModel:
        if self.store is None or not isinstance(self.model, StoredChat):
            return self.model
        if not hasattr(self._mine, "chat"):
            self._mine.chat = StoredChat(self.model.engine, ResponseStore(self.store))
        chat: ChatModel = self._mine.chat
        return chat
