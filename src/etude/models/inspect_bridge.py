"""Chat through Inspect's model providers: Anthropic, Google, Bedrock and the rest (extra `[inspect]`)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from etude.errors import EtudeError
from etude.models.chat import Conversation, Parameters, Reply, StopReason

_REASONS: dict[str, StopReason] = {
    "stop": "stop",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "refused",
}


class InspectEngine:
    """A model of an Inspect provider.

    Args:
        model: Inspect's name of the model, `PROVIDER/MODEL`.
        base_url: The provider's address, if not its usual one.
        max_connections: Requests under way at once.
    """

    def __init__(self, model: str, *, base_url: str | None = None, max_connections: int = 8) -> None:
        self.model = model
        self.name = f"inspect/{model}"
        self.base_url = base_url
        self.max_connections = max_connections

    @cached_property
    def inspect_model(self) -> Any:
        """Inspect's model.

        Raises:
            EtudeError: Inspect or the provider's package is not installed, or its key is missing.
        """
        try:
            from inspect_ai.model import get_model
        except ImportError as error:
            raise EtudeError(
                f"{self.name} needs inspect-ai, which is not installed", "pip install 'etude[inspect]'"
            ) from error
        try:
            return get_model(self.model, base_url=self.base_url)
        except Exception as error:  # providers raise errors of their own kinds
            reason = " ".join(str(error).split())[:300]
            raise EtudeError(
                f"{self.name} cannot be used ({reason})", "Check the provider, its package and key."
            ) from error

    @property
    def identity(self) -> dict[str, Any]:
        """The provider's address."""
        return {"engine": "inspect", "base_url": self.base_url}

    @property
    def context_length(self) -> int | None:
        """Not known: providers do not say."""
        return None

    def generate(
        self, conversations: Sequence[Conversation], parameters: Parameters
    ) -> Iterator[tuple[int, Reply]]:
        """Answer conversations, `max_connections` at a time; Inspect itself repeats passing failures."""
        model = self.inspect_model
        with asyncio.Runner() as runner:
            for start in range(0, len(conversations), self.max_connections):
                part = conversations[start : start + self.max_connections]
                replies = runner.run(_together(model, part, parameters))
                yield from enumerate(replies, start)

    def score(
        self, conversations: Sequence[Conversation], options: Sequence[Sequence[str]]
    ) -> Iterator[tuple[int, list[float]]]:
        """Refused: providers give no log-probabilities of given answers."""
        raise EtudeError(
            f"{self.name} gives no log-probabilities of given answers",
            "Use a local model, or one served by vLLM as openai/MODEL.",
        )


async def _together(model: Any, conversations: Sequence[Conversation], parameters: Parameters) -> list[Reply]:
    return await asyncio.gather(*(ask(model, conversation, parameters) for conversation in conversations))


async def ask(model: Any, conversation: Conversation, parameters: Parameters) -> Reply:
    """One answer of an Inspect model.

    Args:
        model: From `inspect_ai.model.get_model`.
        conversation: The messages.
        parameters: How to answer.

    Returns:
        The reply; `stop_reason="error"` if the model failed.
    """
    from inspect_ai.model import GenerateConfig

    given = parameters.decoding.to_json()
    penalty = given.get("repetition_penalty")
    config = GenerateConfig(
        max_tokens=parameters.max_tokens,
        temperature=parameters.temperature,
        stop_seqs=list(parameters.stop) or None,
        seed=parameters.seed,
        top_p=given.get("top_p"),
        top_k=given.get("top_k"),
        frequency_penalty=given.get("frequency_penalty"),
        presence_penalty=given.get("presence_penalty"),
        extra_body={"repetition_penalty": penalty} if penalty else None,
    )
    started = time.perf_counter()
    try:
        output = await model.generate([_message(message) for message in conversation], config=config)
    except Exception as error:  # one conversation's failure is its own; it is not stored and is asked again
        return Reply("", "error", error=" ".join(str(error).split())[:300])
    usage = output.usage
    return Reply(
        text=output.completion,
        stop_reason=_REASONS.get(output.stop_reason, "error"),
        prompt_tokens=usage.input_tokens if usage else 0,
        cached_tokens=(usage.input_tokens_cache_read or 0) if usage else 0,
        output_tokens=usage.output_tokens if usage else 0,
        seconds=round(time.perf_counter() - started, 4),
        error=output.error,
    )


def _message(message: Any) -> Any:
    from inspect_ai.model import (
        ChatMessageAssistant,
        ChatMessageSystem,
        ChatMessageUser,
        ContentImage,
        ContentText,
    )

    kinds = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
    content = message["content"]
    if not isinstance(content, str):
        content = [
            ContentText(text=part["text"])
            if part["type"] == "text"
            else ContentImage(image=part["image_url"]["url"])
            for part in content
        ]
    return kinds[message["role"]](content=content)
