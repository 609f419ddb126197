"""What a chat model is: conversations in, replies or log-probabilities out, many at a time."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict

from etude.errors import EtudeError
from etude.models.decoding import PLAIN, Decoding


class Message(TypedDict):
    """One message: text, or parts in the form of the OpenAI API (`text_part`, `image_part`)."""

    role: Literal["system", "user", "assistant"]
    content: str | list[dict[str, Any]]


Conversation = list[Message]
StopReason = Literal["stop", "length", "refused", "error"]


@dataclass(frozen=True)
class Reply:
    """A model's answer to one conversation.

    Args:
        text: The answer; empty when there is none.
        stop_reason: `stop` (it ended), `length` (cut at `max_tokens` or at the context's end), `refused` (the
            model or its server declined) or `error`.
        prompt_tokens: Tokens of the conversation.
        cached_tokens: Those of them that were not read again for this answer.
        output_tokens: Tokens of the answer.
        seconds: Wall time until the answer was there.
        error: What went wrong, if something did.
    """

    text: str
    stop_reason: StopReason
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    error: str | None = None

    def __post_init__(self) -> None:
        """Replace halves of characters, which a server may send but nobody can store or show."""
        object.__setattr__(self, "text", self.text.encode("utf-8", "replace").decode())


@dataclass(frozen=True)
class Parameters:
    """How replies are generated; see `ChatModel.generate`."""

    max_tokens: int
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int = 0
    decoding: Decoding = PLAIN

    def to_json(self) -> dict[str, Any]:
        """What determines a reply; without sampling, the seed does not."""
        return {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "stop": list(self.stop),
            "seed": self.seed if self.temperature > 0 else 0,
            **self.decoding.to_json(),
        }


class ChatModel(Protocol):
    """A model that answers conversations."""

    @property
    def name(self) -> str:
        """The name it was asked for by."""

    @property
    def context_length(self) -> int | None:
        """The most tokens of conversation and answer, if known."""

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
        """Answer conversations.

        Args:
            conversations: Each a list of messages; one that ends with an assistant's message is continued.
            max_tokens: The most tokens of an answer.
            temperature: 0 for the most likely answer, else sampling.
            stop: An answer ends before the first of these strings.
            seed: For sampling. The same conversation and seed have the same answer, whatever else is asked.
            decoding: Nucleus, top-k and penalties; nothing of the kind by default.

        Returns:
            One reply per conversation, in order; `stop_reason="error"` for one that cannot be answered.

        Raises:
            EtudeError: Malformed conversations, or the model cannot be reached; finished replies are stored.
        """

    def score(
        self, conversations: Sequence[Conversation], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Log-probabilities of given answers.

        Args:
            conversations: Each a list of messages.
            options: For each conversation, the answers to score, e.g. class names.

        Returns:
            For each option the sum of the natural log-probabilities of its tokens after the conversation.
            The end of the answer is not counted: an option that begins another one never scores less.

        Raises:
            EtudeError: Malformed input, or the model gives no log-probabilities.
        """


class Engine(Protocol):
    """What stands behind a chat model: it answers, and `StoredChat` does the bookkeeping."""

    @property
    def name(self) -> str:
        """The name it was asked for by."""

    @property
    def identity(self) -> dict[str, Any]:
        """What determines its answers (engine, revision, arithmetic), as JSON; part of the store's keys."""

    @property
    def context_length(self) -> int | None:
        """The most tokens of conversation and answer, if known."""

    def generate(
        self, conversations: Sequence[Conversation], parameters: Parameters
    ) -> Iterator[tuple[int, Reply]]:
        """Yield each conversation's number and reply as soon as it is finished."""

    def score(
        self, conversations: Sequence[Conversation], options: Sequence[Sequence[str]]
    ) -> Iterator[tuple[int, list[float]]]:
        """Yield each conversation's number and the log-probabilities of its options."""


def text_part(text: str) -> dict[str, Any]:
    """A text as a part of a message's content."""
    return {"type": "text", "text": text}


def image_part(image: Path | bytes, *, mime: str = "image/png") -> dict[str, Any]:
    """A picture as a part of a message's content; the picture itself travels with the message.

    Args:
        image: A file, or the bytes of one.
        mime: The format when `image` is bytes.

    Raises:
        EtudeError: The file is missing or not a picture.
    """
    if isinstance(image, Path):
        mime = mimetypes.guess_type(image.name)[0] or ""
        if not mime.startswith("image/"):
            raise EtudeError(f"{image}: not a picture, by its name", "Use .png, .jpg, .webp or .gif files.")
        try:
            image = image.read_bytes()
        except OSError as error:
            raise EtudeError(
                f"{error.filename}: cannot be read ({error.strerror})", "Check the path."
            ) from error
    data = base64.b64encode(image).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:{mime};base64,{data}"}}


def plain_text(message: Message, model: str) -> str:
    """A message's content as text.

    Raises:
        EtudeError: It holds a picture; `model` cannot see any.
    """
    content = message["content"]
    if isinstance(content, str):
        return content
    if any(part.get("type") != "text" for part in content):
        raise EtudeError(
            f"{model} reads text only, and a message holds a picture",
            "Serve a model that sees, and give it as openai/MODEL with a base URL.",
        )
    return "\n".join(str(part["text"]) for part in content)


def check_conversations(conversations: Sequence[Conversation]) -> None:
    """Refuse what no chat model can answer.

    Raises:
        EtudeError: An empty conversation, an unknown role, or content that is neither text nor parts.
    """
    for number, conversation in enumerate(conversations):
        if not conversation:
            raise EtudeError(f"conversation {number} has no messages", "Give at least one user message.")
        for message in conversation:
            if not isinstance(message, dict) or message.get("role") not in ("system", "user", "assistant"):
                raise EtudeError(
                    f"conversation {number}: {str(message)[:80]!r} is not a message",
                    'A message is {"role": "system" | "user" | "assistant", "content": ...}.',
                )
            if not isinstance(message.get("content"), str | list):
                raise EtudeError(
                    f"conversation {number}: content is a {type(message.get('content')).__name__}",
                    "Content is a text, or a list of parts (text_part, image_part).",
                )
