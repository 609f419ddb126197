"""What a model is told: the diagram in words, the problem, the choices; with or without the picture.

The order is the paper's (description, problem, choices, a line each); the wording is ours.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from etude.methods.geoeval.equivalence import option_text
from etude.methods.geoeval.items import Item, read_picture
from etude.models import Conversation, image_part, text_part

Input: TypeAlias = Literal["text", "text+facts", "text+diagram", "all"]
Method: TypeAlias = Literal["cot", "pot", "choice-letter"]
Wrapper: TypeAlias = Literal["chat", "instruct", "llama2", "plain"]

VERSION = 1

_OPENING = "Solve this geometry problem."
_TASKS: dict[Method, str] = {
    "cot": "Reason step by step. Finish with one line that reads: The answer is <your answer>.",
    "pot": (
        "Write one Python program in a ```python block that computes the answer (sympy, numpy and math are "
        "there; files and the network are not) and prints nothing but the answer on its last line."
    ),
    "choice-letter": (
        "Reason step by step, then choose one of the options. Finish with one line that reads: "
        "The answer is <letter>."
    ),
}
_PICTURE = "The diagram is attached as a picture."
_EXTRACTION = (
    "Below are a question and a response to it. Copy the final answer that the response gives, as a "
    "number, an expression or an option's letter, and nothing else. If it gives none, write "
    "NONE.\n\nQuestion: {question}\n\nResponse: {response}\n\nFinal answer:"
)


def problem_text(item: Item, given: Input) -> str:
    """Description of the diagram (if asked for and there), problem, choices."""
    lines = []
    if given in ("text+facts", "all") and item.facts:
        lines.append(f"The diagram shows: {'; '.join(item.facts)}.")
    lines.append(item.question.strip())
    if item.options:
        choices = (f"({chr(65 + i)}) {option_text(option)}" for i, option in enumerate(item.options))
        lines.append(f"Choices: {'  '.join(choices)}")
    return "\n".join(lines)


def conversation(item: Item, given: Input, method: Method, wrapper: Wrapper = "chat") -> Conversation:
    """The conversation that puts an item to a model.

    Args:
        item: What is asked.
        given: Which of text, facts and picture are shown; what an item does not have is left out.
        method: How it shall be answered.
        wrapper: `chat` leaves the form to the model's own template; the others are texts for base models.

    Raises:
        EtudeError: The picture is missing or cannot be read.
    """
    shown = given in ("text+diagram", "all") and item.image is not None
    pieces = [_OPENING, *([_PICTURE] if shown else []), "", problem_text(item, given), "", _TASKS[method]]
    text = _wrapped("\n".join(pieces), wrapper)
    if not shown:
        return [{"role": "user", "content": text}]
    assert item.image is not None
    mime = "image/png" if item.image.suffix.lower() == ".png" else f"image/{_format(item.image.suffix)}"
    parts: list[dict[str, Any]] = [image_part(read_picture(item), mime=mime), text_part(text)]
    return [{"role": "user", "content": parts}]


def extraction_conversation(item: Item, response: str) -> Conversation:
    """The conversation that asks a model for the answer in a response that the rules could not read."""
    text = _EXTRACTION.format(question=problem_text(item, "text"), response=response.strip()[-4_000:])
    return [{"role": "user", "content": text}]


def _wrapped(text: str, wrapper: Wrapper) -> str:
    if wrapper == "instruct":
        return f"### Human: {text}\n### Problem-solving Bot:"
    if wrapper == "llama2":
        return f"[INST] {text} [/INST]"
    return f"{text}\nAnswer:" if wrapper == "plain" else text


def _format(suffix: str) -> str:
    return {".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif", ".webp": "webp"}.get(suffix.lower(), "png")
