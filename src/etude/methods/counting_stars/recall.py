"""Does a language model recall a star? Asked without writing: log-probabilities of the right list, token by
token.

The prompt is read once. The right answer is then put in the model's mouth number by number (teacher forcing):
at each star, how likely is its number, how likely is a wrong number of as many digits, and would the model
have written the right one?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from etude.methods.counting_stars.cells import Cell, rebuild
from etude.methods.counting_stars.haystacks import Haystack
from etude.methods.counting_stars.nested import score_rows
from etude.methods.counting_stars.placement import generator
from etude.methods.counting_stars.runner import chat_rows, refuse_too_long
from etude.methods.counting_stars.templates import wording

if TYPE_CHECKING:
    from etude.models.local_lm import CausalLM


@dataclass(frozen=True)
class StarRecall:
    """One star of one cell.

    Args:
        cell: The cell's id.
        length: Its length.
        star: Index of the star.
        right: Log-probability (nats) of the right number and the sign that ends it, given the right list so
            far.
        wrong: The same of a wrong number with as many digits.
        recalled: Whether every token of the right number is the model's first choice.
    """

    cell: str
    length: int
    star: int
    right: float
    wrong: float
    recalled: bool


def recall_stars(lm: CausalLM, cells: Sequence[Cell], haystack: Haystack) -> list[StarRecall]:
    """Teacher-forced recall of every star; each cell's prompt is read once.

    Args:
        lm: The model.
        cells: What to read.
        haystack: Where the stars are hidden.

    Raises:
        EtudeError: A cell does not fit the model's context.
    """
    rows = chat_rows(lm.tokenizer, [rebuild(cell, haystack) for cell in cells])
    opened = [_ids(lm.tokenizer, f'{{"{wording(cell.lang, cell.template_version).key}": [') for cell in cells]
    options, asked = [], []
    for cell, row in zip(cells, rows, strict=True):
        refuse_too_long(cell, len(row), cell.least_output, lm.context_length, lm.name)
        chosen, numbers = _options(lm.tokenizer, cell)
        options.append(chosen)
        asked.append(numbers)
    found: list[StarRecall] = []
    prompts = [row + start for row, start in zip(rows, opened, strict=True)]
    for index, scored in score_rows(lm, prompts, options):
        cell = cells[index]
        for star in range(cell.stars):
            right, wrong = scored[2 * star], scored[2 * star + 1]
            last, other = asked[index][2 * star], asked[index][2 * star + 1]
            found.append(
                StarRecall(
                    cell.id,
                    cell.length,
                    star,
                    sum(right.logprobs[-last:]),
                    sum(wrong.logprobs[-other:]),
                    all(right.greedy[-last:]),
                )
            )
    return sorted(found, key=lambda one: (one.length, one.cell, one.star))


def wrong_numbers(cell: Cell) -> list[int]:
    """For each star a number with as many digits that no star shows; seeded by the cell."""
    rng = generator(cell.seed, 3, cell.length)
    shown = {*cell.counts, *(cell.wrong or ())}
    chosen = []
    for count in cell.counts:
        low = 10 ** (len(str(count)) - 1)
        high = min(10 * low - 1, cell.count_range[1])
        fitting = [number for number in range(low, high + 1) if number not in shown]
        chosen.append(int(fitting[rng.integers(len(fitting))]) if fitting else high + 1)
    return chosen


def _options(tokenizer: Any, cell: Cell) -> tuple[list[list[int]], list[int]]:
    """Right and wrong continuation of the list at each star, and how many of their last tokens are the
    number.
    """
    so_far: list[int] = []
    options, lengths = [], []
    for star, (count, wrong) in enumerate(zip(cell.counts, wrong_numbers(cell), strict=True)):
        end = "]" if star == cell.stars - 1 else ","
        between = "" if star == 0 else " "
        for number in (count, wrong):
            ids = _ids(tokenizer, f"{between}{number}{end}")
            options.append(so_far + ids)
            lengths.append(len(ids))
        so_far = so_far + _ids(tokenizer, f"{between}{count}{end}")
    return options, lengths


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
