"""Candidates by asking a language model for a name; later rounds sample, and ask for longer ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from etude.methods.idgen.rounds import ASKED_ROUNDS, Round
from etude.methods.idgen.textual_ids import clean_id

if TYPE_CHECKING:
    from etude.models import ChatModel


class AskedSource:
    """Names by a chat model.

    Args:
        chat: The model.
        seed: Of the samples.
    """

    rounds = ASKED_ROUNDS

    def __init__(self, chat: ChatModel, seed: int = 0) -> None:
        self.chat, self.seed = chat, seed

    def candidates(self, texts: Sequence[str], asked: Round) -> list[list[str]]:
        """One candidate of each text; none where the model gives no words."""
        longest = asked.shortest + 4
        replies = self.chat.generate(
            [_question(text, asked.shortest, longest) for text in texts],
            max_tokens=6 * longest,
            temperature=0.0 if asked.penalty == 0 else 0.8,
            stop=("\n",),
            seed=self.seed + asked.penalty,
        )
        cleaned = [clean_id(reply.text).split()[:longest] for reply in replies]
        return [[" ".join(words)] if words else [] for words in cleaned]


def _question(text: str, fewest: int, most: int) -> list[Any]:
    """Ask for a name, after one solved example."""

    def ask(item: str) -> dict[str, str]:
        return {
            "role": "user",
            "content": f"Catalogue entry: {item[:1200]}\nGive it a name of {fewest} to {most} plain words "
            "that tells what it is and what sets it apart. Answer with the name alone.",
        }

    example = (
        "title: zebra weatherproof pocket notebook 3 x 5 grid; brand: zebra; description: writes in rain"
    )
    name = "weatherproof pocket notebook grid small field rain paper zebra ruled outdoor notes book"
    given = {"role": "assistant", "content": " ".join(name.split()[: max(fewest, 4)])}
    return [ask(example), given, ask(text or "an item without a description")]
