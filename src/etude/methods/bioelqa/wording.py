"""A question as text (paper: prompt; the words are ours): solved cases, the mention, lettered options."""

from __future__ import annotations

from collections.abc import Sequence

from etude.methods.bioelqa.questions import Question, symbols_for

_CONTEXT = 240  # characters of context that are shown


def shared_text(question: Question) -> str:
    """What does not depend on the order of the options: clues, context, mention."""
    lines = []
    if question.clues:
        lines += ["Solved cases:", *(f'"{clue.mention}" is {clue.name}' for clue in question.clues), ""]
    if question.context:
        lines.append(f"Text: {question.context[:_CONTEXT]}")
    lines.append(f'Which entry does "{question.mention}" stand for?')
    return "\n".join(lines) + "\n"


def options_text(question: Question, symbols: Sequence[str]) -> str:
    """The options with their symbols, up to where the answer begins."""
    rows = (f"{symbol}. {option.name}" for symbol, option in zip(symbols, question.options, strict=False))
    return "\n".join(rows) + "\nAnswer:"


def question_text(question: Question, kind: str = "letters") -> str:
    """The whole text; its answer is one symbol."""
    return shared_text(question) + options_text(question, symbols_for(len(question.options), kind))
