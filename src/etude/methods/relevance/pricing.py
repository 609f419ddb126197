"""What a labelling would cost: pairs, tokens, money for each model, time, and the gold it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etude.errors import EtudeError
from etude.methods.relevance.collection import Keep, Pair, cut_document
from etude.methods.relevance.llm_labeller import Mode
from etude.methods.relevance.wording import RelevancePrompt
from etude.render import Text, show, table

if TYPE_CHECKING:
    from rich.console import RenderableType

CHARACTERS = 4.0
"""Characters of a token where no tokenizer is at hand."""
GOLD_SECONDS = 60.0
"""Seconds that a person takes for one judgement, where nothing else is said."""


@dataclass(frozen=True)
class Price:
    """A model's price.

    Args:
        model: Its name.
        prompt: Money for a million prompt tokens.
        output: Money for a million output tokens.
    """

    model: str
    prompt: float
    output: float


@dataclass(frozen=True)
class CostResult:
    """A dry run.

    Args:
        pairs: How many pairs.
        prompt_tokens: Of all prompts.
        output_tokens: Of all answers, at the length of a complete answer.
        shared_tokens: Prompt tokens that a prefix cache saves: what a query's prompts begin with alike.
        counted: How tokens were counted.
        costs: Model to money.
        hours: At the rate given, if one was.
        gold_hours: A person's hours for the same pairs.
    """

    pairs: int
    prompt_tokens: int
    output_tokens: int
    shared_tokens: int
    counted: str
    costs: dict[str, float]
    hours: float | None
    gold_hours: float

    def __rich__(self) -> RenderableType:
        """Tokens, time and money."""
        from rich.console import Group

        rows = [
            ("pairs", f"{self.pairs:,}"),
            ("prompt tokens", f"{self.prompt_tokens:,} ({self.counted})"),
            ("of them shared within a query", f"{self.shared_tokens:,}"),
            ("output tokens", f"{self.output_tokens:,}"),
            ("hours at the given rate", "give --rate" if self.hours is None else f"{self.hours:.2f}"),
            ("hours of a person for the same pairs", f"{self.gold_hours:,.1f}"),
        ]
        money = [(model, round(cost, 2)) for model, cost in self.costs.items()]
        blocks = [table(("quantity", "value"), rows)]
        if money:
            blocks.append(table(("model", "price of all labels"), money))
        return Group(*blocks, *([] if money else [show(Text("give --prices NAME=IN/OUT for money"))]))


def parse_prices(text: str) -> list[Price]:
    """Prices for a million tokens, from text such as `gpt-4o=2.5/10,mini=0.15/0.6`.

    Raises:
        EtudeError: The text is no price table.
    """
    prices = []
    for piece in text.split(","):
        name, _, amounts = piece.strip().rpartition("=")
        try:
            prompt, output = (float(amount) for amount in amounts.split("/"))
        except ValueError:
            prompt = output = -1.0
        if not name or min(prompt, output) < 0:
            raise EtudeError(f"--prices {piece!r}: no price", "Write NAME=IN/OUT per million tokens.")
        prices.append(Price(name, prompt, output))
    return prices


def estimate_cost(
    pairs: Iterable[Pair],
    prompt: RelevancePrompt,
    mode: Mode,
    count: Callable[[str], int] | None,
    prices: Iterable[Price],
    *,
    most_words: int,
    keep: Keep = "lead",
    rate: float | None = None,
    gold_seconds: float = GOLD_SECONDS,
) -> CostResult:
    """Count what would be asked, asking nothing.

    Args:
        pairs: Grouped by query.
        prompt: What would be asked.
        mode: How.
        count: Tokens of a text; by default a quarter of its characters.
        prices: Models to price.
        most_words: Of a document.
        keep: Which passages of longer ones.
        rate: Pairs a second.
        gold_seconds: A person's seconds for a judgement.
    """
    measure = count or (lambda text: round(len(text) / CHARACTERS))
    answer = '{"M": 1, "T": 1, "O": 1}' if prompt.asked_aspects else '{"O": 1}'
    each = 1 if mode == "logprob" else measure(answer) * prompt.judges
    total = prompt_tokens = shared = 0
    render = prompt.render_choice if mode == "logprob" else prompt.render
    last = before = ""
    for pair in pairs:
        shown, _ = cut_document(pair.text, pair.query, most_words, keep)
        text = render(pair.query, shown, pair.description, pair.narrative)
        if pair.qid == last:
            shared += measure(text[: alike(before, text)])
        before, last, total = text, pair.qid, total + 1
        prompt_tokens += measure(text)
    output = total * each
    return CostResult(
        pairs=total,
        prompt_tokens=prompt_tokens,
        output_tokens=output,
        shared_tokens=shared,
        counted="exact" if count else f"estimated: {CHARACTERS:g} characters each",
        costs={p.model: (prompt_tokens * p.prompt + output * p.output) / 1e6 for p in prices},
        hours=None if not rate else total / rate / 3600,
        gold_hours=total * gold_seconds / 3600,
    )


def alike(first: str, second: str) -> int:
    """How many characters two texts begin with alike."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(first), len(second)))
