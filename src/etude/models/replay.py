"""Chat models that only repeat what a response store holds: a recorded run, exactly, on any machine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from etude.errors import EtudeError
from etude.models.chat import Conversation, Parameters, Reply
from etude.models.responses import Kind, ResponseStore, request_hash


class ReplayEngine:
    """A response store as an engine.

    Args:
        source: The store's file, with `#MODEL` behind it when it holds the answers of several models.

    Raises:
        EtudeError: There is no such file.
    """

    def __init__(self, source: str) -> None:
        path, _, self.model = source.partition("#")
        if not Path(path).is_file():
            raise EtudeError(
                f"{path}: no such response store", "Give a file that chat_model(..., store=FILE) wrote."
            )
        self.name = f"replay/{source}"
        self.store = ResponseStore(path)

    @property
    def identity(self) -> dict[str, Any]:
        """The recording."""
        return {"engine": "replay"}

    @property
    def context_length(self) -> int | None:
        """Not recorded."""
        return None

    def generate(
        self, conversations: Sequence[Conversation], parameters: Parameters
    ) -> Iterator[tuple[int, Reply]]:
        """Recorded replies to the same conversations with the same parameters."""
        for number, conversation in enumerate(conversations):
            yield number, Reply(**self._recorded("generate", conversation, parameters.to_json()))

    def score(
        self, conversations: Sequence[Conversation], options: Sequence[Sequence[str]]
    ) -> Iterator[tuple[int, list[float]]]:
        """Recorded log-probabilities of the same options."""
        for number, (conversation, given) in enumerate(zip(conversations, options, strict=True)):
            yield number, self._recorded("score", conversation, {"options": list(given)})

    def _recorded(self, kind: Kind, conversation: Conversation, parameters: Any) -> Any:
        found = self.store.find(request_hash(kind, conversation, parameters))
        chosen = [response for model, response in found if self.model in ("", model)]
        if not chosen:
            asked = str(conversation[-1]["content"])[:80]
            raise EtudeError(
                f"{self.name}: this was not recorded: {asked!r} with {parameters}",
                "Repeat the very same run, or ask a model instead of a recording.",
            )
        if len(chosen) > 1:
            names = ", ".join(sorted({model for model, _ in found}))
            raise EtudeError(f"{self.name}: recorded for several models ({names})", "Give replay/FILE#MODEL.")
        return chosen[0]
