"""The verb `chat`: a reply of text and pictures to a conversation of both, as parts and as a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.easygen.bridge_folder import JoinedModel, load_bridge
from etude.methods.easygen.dialog import CLOSE, OPEN, parse_reply
from etude.methods.easygen.drawing import Painter
from etude.methods.easygen.encoding import pictures_of
from etude.methods.easygen.pairs import Pair
from etude.methods.easygen.pictures import Picture as Source
from etude.methods.easygen.pictures import open_picture, png_bytes
from etude.methods.easygen.wording import PICTURE, Turn, plain_words
from etude.render import Block, Picture, Section, Text, save_page
from etude.runs import read_json, write_json

ABOUT_PICTURES = f"You can show pictures. To show one, write its description between {OPEN} and {CLOSE}."
NOT_PRESERVED = (
    "Pictures are generated from their descriptions alone, never from pictures of the conversation: who or "
    "what is shown there is not preserved."
)

Message = dict[str, Any]


@dataclass(frozen=True)
class ChatResult:
    """A reply.

    Attributes:
        parts: `{"type": "text", "text"}` and `{"type": "image", "path", "prompt"}`, in order.
        raw: What the language model wrote.
        notes: What was wrong with its protocol, and words that could not be drawn.
        page: The HTML page of the whole conversation.
        seed: Of reading and drawing.
    """

    parts: Sequence[dict[str, Any]]
    raw: str
    notes: Sequence[str]
    page: str
    seed: int

    def __rich__(self) -> Any:
        """The parts, one after the other."""
        from rich.console import Group
        from rich.text import Text as RichText

        from etude.render.terminal import plain

        said = [p["text"] if p["type"] == "text" else f"[{p['prompt']}: {p['path']}]" for p in self.parts]
        notes = [f"note: {note}" for note in self.notes]
        return Group(*(RichText(plain(line)) for line in [*said, *notes, f"page: {self.page}"]))


@verb
def chat(
    messages: str,
    model: Path,
    *,
    out: Path,
    image: tuple[Path, ...] = (),
    limit: int = 4,
    max_tokens: int = 128,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
) -> ChatResult:
    """Continue a conversation; descriptions between <Img> and </Img> in the reply are drawn.

    Pictures are generated from descriptions alone: who is on a picture of the conversation is not preserved.

    Args:
        messages: What the user says; or a `.json` file with messages `{"role", "content"}`, whose content is
            text or parts `{"type": "text", "text"}`, `{"type": "image", "path"}`.
        model: What `align`, `tune` or `adapt` wrote.
        out: Folder for the pictures, `messages.json` (to go on with) and `chat.html`.
        image: Pictures that go with what the user says.
        limit: The most pictures of a reply.
        max_tokens: The longest reply.
        seed: Of reading and drawing.
        steps: Solver steps of drawing; default: the model's.
        guidance: Guidance of drawing; default: the model's.
    """
    history = _messages(messages, image)
    joined = load_bridge(model)
    result = reply_to(
        history, joined, out, limit=limit, max_tokens=max_tokens, seed=seed, steps=steps, guidance=guidance
    )
    whole = [*history, {"role": "assistant", "content": list(result.parts)}]
    write_json(out / "messages.json", whole)
    save_page(out / "chat.html", "easygen chat", sections(whole, result.notes), lead=NOT_PRESERVED)
    return result


def reply_to(
    history: Sequence[Message],
    joined: JoinedModel,
    out: Path,
    *,
    limit: int = 4,
    max_tokens: int = 128,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
) -> ChatResult:
    """The reply to a conversation, its pictures drawn into `out`."""
    turns, shown = turns_of(history)
    if joined.note.mode == "mid" and len(shown) != 1:
        raise EtudeError(
            f"a conversation with {len(shown)} pictures", "A mid-aligned model reads exactly one."
        )
    if not any("dialogs" in stage for stage in joined.note.stages) and turns[0].role != "system":
        turns = [Turn("system", ABOUT_PICTURES), *turns]
    features = joined.features(shown, seed) if shown else None
    raw = joined.write([turns], features, max_tokens=max_tokens)[0]
    parsed = parse_reply(raw, limit=limit)
    parts, notes = list(parsed.parts), list(parsed.notes)
    painter = Painter(joined.bidiffuser, joined, steps, guidance) if parsed.prompts else None
    for number, part in enumerate(parts):
        if part["type"] != "image":
            continue
        assert painter is not None
        unknown = painter.bidiffuser.text.encode([part["prompt"]]).unknown
        if unknown:
            notes.append(f"words that cannot be drawn: {', '.join(unknown)}")
        try:
            file = painter.paint([part["prompt"]], out, seed=seed)[0]
        except EtudeError as error:
            notes.append(error.problem)
            parts[number] = {"type": "text", "text": part["prompt"]}
            continue
        parts[number] = {"type": "image", "path": str(file), "prompt": part["prompt"]}
    return ChatResult(parts, raw, notes, str(out / "chat.html"), seed)


def turns_of(history: Sequence[Message]) -> tuple[list[Turn], list[Pair]]:
    """Messages as turns, and the user's pictures in order.

    The assistant's pictures are put back as descriptions, as it wrote them.

    Raises:
        EtudeError: A message is not one, or the last one is not the user's.
    """
    turns: list[Turn] = []
    shown: list[Pair] = []
    for number, message in enumerate(history):
        role = message.get("role") if isinstance(message, dict) else None
        content = message.get("content") if isinstance(message, dict) else None
        if role not in ("system", "user", "assistant") or not isinstance(content, str | list):
            raise EtudeError(
                f"message {number}: not a message",
                'Write {"role": "user" | "assistant" | "system", "content": text or parts}.',
            )
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        said = []
        for part in parts:
            if not isinstance(part, dict) or part.get("type") not in ("text", "image"):
                raise EtudeError(f"message {number}: a part that is neither text nor image", "Mend the file.")
            if part["type"] == "text":
                said.append(plain_words(str(part.get("text", ""))))
            elif role == "assistant":
                said.append(f"{OPEN}{plain_words(str(part.get('prompt', '')))}{CLOSE}")
            else:
                said.append(f"{OPEN}{PICTURE}{CLOSE}")
                shown += pictures_of(str(part.get("path", "")))
        turns.append(Turn(str(role), " ".join(said)))
    if not turns or turns[-1].role != "user":
        raise EtudeError(
            "the last message is not the user's", "End the conversation with what the user says."
        )
    return turns, shown


def sections(history: Sequence[Message], notes: Sequence[str]) -> list[Section]:
    """A conversation as the parts of a page."""
    drawn = []
    for message in history:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        blocks: list[Block] = []
        for part in parts:
            if part["type"] == "text":
                blocks.append(Text(str(part["text"])))
                continue
            picture = open_picture(Source(Path(part["path"])))[0]
            scale = max(1, 192 // picture.width)
            alt = str(part.get("prompt", "a picture of the user"))
            blocks.append(Picture(png_bytes(picture, scale=scale), alt, alt))
        drawn.append(Section(str(message["role"]).capitalize(), blocks, level=3))
    if notes:
        drawn.append(Section("Notes", [Text(note) for note in notes], level=3))
    return drawn


def _messages(source: str, images: Sequence[Path]) -> list[Message]:
    path = Path(source)
    if path.suffix == ".json" and len(source) < 4000 and path.exists():
        stored = read_json(path)
        if not isinstance(stored, list):
            raise EtudeError(
                f"{path}: not a list of messages", json.dumps([{"role": "user", "content": "Hi"}])
            )
        history = stored
    else:
        if not source.strip() and not images:
            raise EtudeError("an empty message", "Say something, or show a picture with --image.")
        history = [{"role": "user", "content": [{"type": "text", "text": source}]}]
    if images and history:
        last = history[-1]
        parts = (
            last["content"]
            if isinstance(last["content"], list)
            else [{"type": "text", "text": last["content"]}]
        )
        shown = [{"type": "image", "path": str(image)} for image in images]
        history = [*history[:-1], {**last, "content": [*shown, *parts]}]
    return history
