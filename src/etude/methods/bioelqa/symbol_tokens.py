"""The symbols of options as single tokens of a tokenizer; checked before anything is trained or asked."""

from __future__ import annotations

from typing import Any

from etude.errors import EtudeError
from etude.methods.bioelqa.questions import symbols_for


def symbol_tokens(tokenizer: Any, count: int, kind: str = "letters", *, space: bool = True) -> list[int]:
    """Token of each symbol.

    Args:
        tokenizer: Of the generator.
        count: How many symbols.
        kind: letters or numbers.
        space: Whether a blank stands before the symbol, as it does behind `Answer:`.

    Raises:
        EtudeError: A symbol is several tokens, is unknown, or shares its token with another one.
    """
    symbols = symbols_for(count, kind)
    tokens = [tokenizer.encode(f" {s}" if space else s, add_special_tokens=False) for s in symbols]
    unknown = tokenizer.unk_token_id
    for symbol, ids in zip(symbols, tokens, strict=True):
        if len(ids) != 1 or ids[0] == unknown:
            raise EtudeError(
                f"the symbol {symbol!r} is {len(ids)} tokens of this model's tokenizer"
                if len(ids) != 1
                else f"the symbol {symbol!r} is unknown to this model's tokenizer",
                "Give fewer options, letters instead of numbers, or another model.",
            )
    flat = [ids[0] for ids in tokens]
    if len(set(flat)) < len(flat):
        raise EtudeError("two symbols are the same token", "Use a tokenizer that keeps letters apart.")
    return flat
