"""Native tool calling: the provider's own way to call tools, as an engine of the shared chat model.

The history travels as JSON in the texts of messages, so that the response store keys and keeps it like any
other conversation; this engine turns it into the provider's form.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from etude.errors import EtudeError
from etude.models import Conversation, Reply, StoredChat
from etude.models.chat import Parameters
from etude.models.served import ServedEngine
from etude.runs import content_hash


class NativeEngine:
    """A served model that calls tools.

    Args:
        model: `openai/MODEL`.
        tools: The tools in the provider's form.
        base_url: The server's address.

    Raises:
        EtudeError: The model is not served.
    """

    def __init__(self, model: str, tools: Sequence[dict[str, Any]], base_url: str | None = None) -> None:
        if not model.startswith("openai/"):
            raise EtudeError(
                f"{model}: native tool calling needs an OpenAI-compatible server",
                "Give openai/MODEL with --base-url, or leave ':native' out.",
            )
        self.served = ServedEngine(model.removeprefix("openai/"), base_url=base_url)
        self.tools = list(tools)
        self.name = model
        self.context_length: int | None = None
        self._limit = "max_tokens" if self.served.base_url else "max_completion_tokens"  # OpenAI's newer name

    @property
    def identity(self) -> dict[str, Any]:
        """The server and the tools."""
        return {**self.served.identity, "tools": content_hash(self.tools)[:16]}

    def generate(
        self, conversations: Sequence[Conversation], parameters: Parameters
    ) -> Iterator[tuple[int, Reply]]:
        """Ask one conversation after the other; a reply is JSON: `content` and `tool_calls`."""
        import openai

        for number, conversation in enumerate(conversations):
            started = time.perf_counter()
            try:
                client: Any = self.served.client
                answer = client.chat.completions.create(
                    model=self.served.model,
                    messages=[_in_providers_form(m) for m in conversation],
                    tools=self.tools,
                    temperature=parameters.temperature,
                    seed=parameters.seed,
                    **{self._limit: parameters.max_tokens},
                )
            except openai.BadRequestError as error:
                refused = error.code == "content_filter"
                yield number, Reply("", "refused" if refused else "error", error=str(error)[:300])
                continue
            except openai.OpenAIError as error:
                raise EtudeError(
                    f"{self.name} does not answer ({str(error)[:200]})",
                    "Repeat the command when the server is well: only what is missing is asked.",
                ) from error
            if not answer.choices:
                yield number, Reply("", "error", error="the server answered without a choice")
                continue
            message, usage = answer.choices[0].message, answer.usage
            calls = [
                {"id": c.id, "name": c.function.name, "arguments": c.function.arguments}
                for c in message.tool_calls or []
                if c.type == "function"
            ]
            refused = message.refusal is not None or answer.choices[0].finish_reason == "content_filter"
            text = message.content or message.refusal or ""
            yield (
                number,
                Reply(
                    json.dumps({"content": text, "tool_calls": calls}),
                    "refused" if refused else "stop",
                    usage.prompt_tokens if usage else 0,
                    0,
                    usage.completion_tokens if usage else 0,
                    round(time.perf_counter() - started, 4),
                ),
            )

    def score(
        self, conversations: Sequence[Conversation], options: Sequence[Sequence[str]]
    ) -> Iterator[tuple[int, list[float]]]:
        """Not for tools.

        Raises:
            EtudeError: Always.
        """
        raise EtudeError(f"{self.name} calls tools and does not score", "Use the plain chat model.")


def native_chat(model: str, tools: Sequence[dict[str, Any]], base_url: str | None) -> StoredChat:
    """A chat model that calls tools, without a store of its own."""
    return StoredChat(NativeEngine(model, tools, base_url), None)


def _in_providers_form(message: Any) -> dict[str, Any]:
    if message["role"] == "system" or not str(message["content"]).startswith("{"):
        return dict(message)
    held = json.loads(message["content"])
    if "tool_call_id" in held:
        return {"role": "tool", "tool_call_id": held["tool_call_id"], "content": held["content"]}
    if "user" in held:
        return {"role": "user", "content": held["user"]}
    calls = [
        {"id": c["id"], "type": "function", "function": {"name": c["name"], "arguments": c["arguments"]}}
        for c in held["tool_calls"]
    ]
    return {"role": "assistant", "content": held["content"], **({"tool_calls": calls} if calls else {})}
