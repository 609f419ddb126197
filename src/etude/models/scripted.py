"""Chat models that are Python functions: models of known quality, for tests, oracles and instruments."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from etude.errors import EtudeError
from etude.models.chat import Conversation, Parameters, Reply, plain_text

Answer = Callable[[Conversation], "str | Reply"]
Score = Callable[[Conversation, str], float]


@dataclass(frozen=True)
class Script:
    """A function that plays a chat model.

    Args:
        name: The name it is asked for by.
        answer: Conversation to text, or to a whole reply.
        score: Conversation and option to a log-probability; without it, scoring is refused.
        revision: Part of the store's keys: change it with the function, and old replies are not used again.
        context_length: The context it pretends to have, in words.
    """

    name: str
    answer: Answer
    score: Score | None = None
    revision: str = "1"
    context_length: int | None = None


_REGISTERED: dict[str, Script] = {}


def register_scripted(
    name: str,
    answer: Answer,
    *,
    score: Score | None = None,
    revision: str = "1",
    context_length: int | None = None,
) -> None:
    """Make a function available as `chat_model("scripted/NAME")` in this process; see `Script`."""
    _REGISTERED[name] = Script(name, answer, score, revision, context_length)


def is_registered(name: str) -> bool:
    """Whether a function is registered under this name."""
    return name in _REGISTERED


class ScriptedEngine:
    """A registered script as an engine.

    Args:
        name: The registered name.

    Raises:
        EtudeError: Nothing is registered under that name.
    """

    def __init__(self, name: str) -> None:
        if name not in _REGISTERED:
            raise EtudeError(
                f"no scripted model {name!r}",
                f"Register it in this process first; there are: {', '.join(sorted(_REGISTERED)) or 'none'}.",
            )
        self.script = _REGISTERED[name]
        self.name = f"scripted/{name}"

    @property
    def identity(self) -> dict[str, Any]:
        """The script's revision."""
        return {"engine": "scripted", "revision": self.script.revision}

    @property
    def context_length(self) -> int | None:
        """The context it pretends to have, in words."""
        return self.script.context_length

    def generate(
        self, conversations: Sequence[Conversation], parameters: Parameters
    ) -> Iterator[tuple[int, Reply]]:
        """Call the function; a text is cut at stop strings and at `max_tokens` words (its tokens)."""
        for number, conversation in enumerate(conversations):
            started = time.perf_counter()
            answer = self.script.answer(conversation)
            if isinstance(answer, Reply):
                yield number, answer
                continue
            text, ended = _cut(answer, parameters)
            yield (
                number,
                Reply(
                    text=text,
                    stop_reason="stop" if ended else "length",
                    prompt_tokens=sum(
                        len(plain_text(message, self.name).split()) for message in conversation
                    ),
                    output_tokens=len(text.split()),
                    seconds=round(time.perf_counter() - started, 4),
                ),
            )

    def score(
        self, conversations: Sequence[Conversation], options: Sequence[Sequence[str]]
    ) -> Iterator[tuple[int, list[float]]]:
        """Call the scoring function.

        Raises:
            EtudeError: The script has none.
        """
        if self.script.score is None:
            raise EtudeError(f"{self.name} cannot score", "Register it with score=...")
        for number, (conversation, given) in enumerate(zip(conversations, options, strict=True)):
            yield number, [self.script.score(conversation, option) for option in given]


def _cut(text: str, parameters: Parameters) -> tuple[str, bool]:
    """The text as far as it would have been written, and whether it ended by itself."""
    found = [at for at in (text.find(mark) for mark in parameters.stop) if at >= 0]
    text = text[: min(found)] if found else text
    words = text.split()
    if len(words) <= parameters.max_tokens:
        return text, True
    return " ".join(words[: parameters.max_tokens]), False
