"""Any chat model as a selector, without training: it writes one symbol, read strictly, or its symbols'
log-probabilities are compared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from etude.errors import EtudeError
from etude.methods.bioelqa.questions import Question, symbols_for
from etude.methods.bioelqa.wording import question_text
from etude.models import ChatModel, Conversation, chat_model
from etude.models.engines import DEFAULT_STORE
from etude.runs import read_json, write_json

Mode: TypeAlias = Literal["generate", "logprob"]

INSTRUCTION = (
    "You link names in texts to the entries of a vocabulary. Reply with the symbol of the one right entry "
    "and nothing else."
)
_ANSWER = re.compile(r"\A\W*(?:answer\W+|option\W+)?([A-Z]|\d{1,3})(?![A-Za-z0-9])", re.IGNORECASE)
_FILE = "prompted.json"
_TOKENS = 8


def conversation(question: Question, kind: str = "letters") -> Conversation:
    """What the model is asked."""
    return [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": question_text(question, kind)},
    ]


def parse_symbol(text: str, symbols: Sequence[str]) -> int | None:
    """The place of the symbol that an answer begins with, or None.

    `B`, `b.`, `(B)`, `Answer: B` and `B. Some name` are read; a symbol that was not offered, a sentence that
    merely begins with the letter A, or another symbol behind it (`A or B`) is no answer.
    """
    found = _ANSWER.match(text.strip())
    if not found or found[1].upper() not in symbols:
        return None
    rest = text.strip()[found.end() :]
    if re.match(r"\s+[a-z]", rest) or re.match(r"\W*(?:or|and|/|,)\W*[A-Z0-9](?!\w)", rest):
        return None
    return list(symbols).index(found[1].upper())


class PromptedSelector:
    """A chat model that chooses.

    Args:
        model: A name for `chat_model`, or a chat model.
        mode: `generate` reads what the model writes (an unreadable answer gives every option the same
            probability); `logprob` compares the symbols' log-probabilities in one pass.
        symbols: letters or numbers.
        base_url: Of a served model.
    """

    name = "prompted"
    reads_context = True

    def __init__(
        self,
        model: str | ChatModel = "smollm2",
        mode: Mode = "generate",
        *,
        symbols: str = "letters",
        base_url: str | None = None,
        store: Path | str | None = DEFAULT_STORE,
    ) -> None:
        self.chat: Any = (
            chat_model(model, base_url=base_url, store=store) if isinstance(model, str) else model
        )
        self.model_name = model if isinstance(model, str) else model.name
        self.mode, self.symbols, self.base_url = mode, symbols, base_url
        self.unreadable = 0

    @property
    def identity(self) -> dict[str, Any]:
        """Model and mode."""
        return {"selector": self.name, "model": self.model_name, "mode": self.mode, "symbols": self.symbols}

    def fit(self, questions: Sequence[Question], *, out: Path, seed: int = 0) -> dict[str, Any]:
        """Nothing is learned; the number of options is checked."""
        symbols_for(max(len(question.options) for question in questions), self.symbols)
        return {"steps": 0}

    def probabilities(self, questions: Sequence[Question]) -> list[np.ndarray]:
        """See `Selector.probabilities`; the number of unreadable answers is added to `unreadable`.

        Raises:
            EtudeError: A question could not be asked; finished answers are in the model's store.
        """
        asked = [place for place, question in enumerate(questions) if question.options]
        conversations = [conversation(questions[i], self.symbols) for i in asked]
        shown = [symbols_for(len(questions[i].options), self.symbols) for i in asked]
        found = [np.zeros(len(question.options)) for question in questions]
        if self.mode == "logprob":
            for place, scores in zip(asked, self.chat.score(conversations, shown), strict=True):
                shares = np.exp(np.array(scores) - max(scores))
                found[place] = shares / shares.sum()
            return found
        replies = self.chat.generate(conversations, max_tokens=_TOKENS, temperature=0.0)
        for place, symbols, reply in zip(asked, shown, replies, strict=True):
            if reply.stop_reason == "error":
                raise EtudeError(
                    f"{questions[place].mention!r}: {reply.error}",
                    "The same command goes on with the questions that are missing.",
                )
            chosen = parse_symbol(reply.text, symbols)
            if chosen is None:
                self.unreadable += 1
                found[place][:] = 1 / len(symbols)
            else:
                found[place][chosen] = 1
        return found

    def save(self, folder: Path) -> None:
        """See `Selector.save`."""
        write_json(
            folder / _FILE,
            {
                "model": self.model_name,
                "mode": self.mode,
                "symbols": self.symbols,
                "base_url": self.base_url,
            },
        )

    @classmethod
    def load(cls, folder: Path) -> PromptedSelector:
        """Read what `save` wrote."""
        stored = read_json(folder / _FILE)
        return cls(stored["model"], stored["mode"], symbols=stored["symbols"], base_url=stored["base_url"])
