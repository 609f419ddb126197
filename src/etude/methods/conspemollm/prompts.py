"""From an instruction to token ids: one way for training and prediction, and only the text is ever cut.

The release wrapped training and inference prompts differently (a space after `Assistant:`) and cut the
answer off when an article was long. Here both go through `encode_prompt`; the answer's tokens are made apart
and appended, and a row whose answer and instruction leave no room for any text is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from etude.errors import EtudeError
from etude.methods.conspemollm.affect_tasks import Instruction
from etude.methods.conspemollm.long_texts import cut_text
from etude.methods.conspemollm.wordings import wordings

IGNORED = -100
LEAST_TEXT = 8
"""Tokens of text that must fit at least; with fewer there is nothing to judge."""


@dataclass(frozen=True)
class Encoded:
    """A training row.

    Args:
        ids: Prompt, answer and end token.
        labels: The answer and the end token; `IGNORED` over the prompt. As long as `ids`.
        cut: Whether the text was shortened.
    """

    ids: list[int]
    labels: list[int]
    cut: bool


def frame(statement: str, text: str, affect: str = "", shots: Sequence[tuple[str, str]] = ()) -> str:
    """The prompt up to where the answer begins.

    Args:
        statement: The task statement.
        text: The text.
        affect: Values for the line `Affect: ...`; no such line when empty.
        shots: Solved examples (text, answer) to show before it.
    """
    said = wordings()["frame"]
    solved = "".join(said["shot"].format(text=one, answer=answer) for one, answer in shots)
    asked = f"{statement}\n{solved}".rstrip("\n")
    if affect:
        return str(said["with_affect"].format(statement=asked, text=text, affect=affect))
    return str(said["prompt"].format(statement=asked, text=text))


def encode_prompt(
    tokenizer: Any,
    one: Instruction,
    most: int | None,
    answer_tokens: int,
    shots: Sequence[tuple[str, str]] = (),
) -> tuple[list[int], bool]:
    """Token ids of a prompt that leaves room for its answer, and whether the text was cut.

    Args:
        tokenizer: The model's; its own beginning token, if it has one, stands first.
        one: The instruction.
        most: Tokens of prompt and answer together; None for no limit.
        answer_tokens: Tokens that the answer needs.
        shots: As for `frame`.

    Raises:
        EtudeError: Instruction and answer alone leave no room for any text.
    """
    ids: list[int] = tokenizer.encode(frame(one.statement, one.text, one.affect, shots))
    if most is None or len(ids) + answer_tokens <= most:
        return ids, False
    around = len(tokenizer.encode(frame(one.statement, "", one.affect, shots)))
    room = most - answer_tokens - around
    while room >= LEAST_TEXT:  # tokens merge across the seam, so the first guess may be one too many
        text = cut_text(tokenizer, one.text, room)
        ids = tokenizer.encode(frame(one.statement, text, one.affect, shots))
        if len(ids) + answer_tokens <= most:
            return ids, True
        room -= max(1, len(ids) + answer_tokens - most)
    raise EtudeError(
        f"instruction and answer take {around + answer_tokens} of {most} tokens: no room for the text",
        "Use a longer --max-length, or a model with a longer context.",
    )


def encode_row(tokenizer: Any, one: Instruction, most: int | None) -> Encoded:
    """A training row whose loss falls on the answer and the end token alone.

    Raises:
        EtudeError: As `encode_prompt`, or the tokenizer has no end token.
    """
    if tokenizer.eos_token_id is None:
        raise EtudeError("the tokenizer has no end token", "Set eos_token in its tokenizer_config.json.")
    answer = [*encode_answer(tokenizer, one.answer), int(tokenizer.eos_token_id)]
    prompt, cut = encode_prompt(tokenizer, one, most, len(answer))
    return Encoded(prompt + answer, [IGNORED] * len(prompt) + answer, cut)


def encode_answer(tokenizer: Any, answer: str) -> list[int]:
    """Token ids of an answer."""
    ids: list[int] = tokenizer.encode(answer, add_special_tokens=False)
    if not ids:
        raise EtudeError("an answer is empty", "Every training row needs an answer.")
    return ids
