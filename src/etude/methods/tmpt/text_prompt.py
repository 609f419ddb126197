"""The targeted text prompt: `{text}. The stance on {target} is: [MASK].`, of which only the text is
shortened.

Paper section 4.1. The prompt is tokenized apart from the text and its length is set aside first, so that
prompt and mask survive truncation whatever the text is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from etude.errors import EtudeError

Readout: TypeAlias = Literal["mask", "mean", "cls"]


@dataclass(frozen=True)
class Prompted:
    """A text in its prompt, as tokens.

    Attributes:
        ids: Token ids, special tokens included.
        mask_at: Place of the mask; None without one.
        cut: Tokens of the text that were left out.
    """

    ids: tuple[int, ...]
    mask_at: int | None
    cut: int


class TargetedPrompt:
    """Puts texts into their prompts.

    Args:
        tokenizer: Of the text encoder.
        max_length: Most tokens, special ones and prompt included.
        readout: Where the encoder is read; `mask` needs a mask token.
        targeted: False leaves the target out (a control): `{text}. The stance is: [MASK].`

    Raises:
        EtudeError: The tokenizer has no mask token and the readout needs one.
    """

    def __init__(
        self, tokenizer: Any, max_length: int, readout: Readout = "mask", *, targeted: bool = True
    ) -> None:
        if readout == "mask" and tokenizer.mask_token_id is None:
            raise EtudeError(
                "the tokenizer has no mask token, and the readout is `mask`",
                "Use --text-readout mean or cls.",
            )
        self.tokenizer, self.max_length, self.targeted = tokenizer, max_length, targeted
        self.mask: int | None = tokenizer.mask_token_id
        self._before, self._after = _special_tokens(tokenizer)
        self._prompts: dict[str, list[int]] = {}

    def __call__(self, text: str, phrase: str) -> Prompted:
        """A text in the prompt of a target.

        Args:
            text: May be empty and of any length.
            phrase: What the prompt calls the target.

        Raises:
            EtudeError: The prompt leaves no room for any text.
        """
        prompt = self.prompt(phrase)
        room = self.max_length - len(self._before) - len(prompt) - len(self._after)
        if room < 1:
            raise EtudeError(
                f"the prompt for {phrase!r} has {len(prompt)} tokens and leaves none of "
                f"{self.max_length} for the text",
                "Shorten the target's phrase in the targets file, or raise --max-length.",
            )
        tokens = self._tokens(text)
        ids = [*self._before, *tokens[:room], *prompt, *self._after]
        end = len(self._before) + min(len(tokens), room)
        at = None if self.mask is None else end + prompt.index(self.mask)
        return Prompted(tuple(ids), at, max(0, len(tokens) - room))

    def prompt(self, phrase: str) -> list[int]:
        """The tokens that follow the text."""
        if phrase not in self._prompts:
            on = f" on {phrase}" if self.targeted else ""
            mask = [] if self.mask is None else [self.mask]
            self._prompts[phrase] = [
                *self._tokens(f". The stance{on} is:"), *mask, *self._tokens("."),
            ]  # fmt: skip
        return self._prompts[phrase]

    def _tokens(self, text: str) -> list[int]:
        """Tokens of untrusted text: a `[MASK]` or `[SEP]` written in a post stays text."""
        found: list[int] = self.tokenizer(
            text, add_special_tokens=False, truncation=False, split_special_tokens=True, verbose=False
        )["input_ids"]
        special = {*self._before, *self._after, *([] if self.mask is None else [self.mask])}
        return [token for token in found if token not in special]


def _special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    bare = list(tokenizer("a", add_special_tokens=False)["input_ids"])
    full = list(tokenizer("a")["input_ids"])
    start = next(i for i in range(len(full)) if full[i : i + len(bare)] == bare)
    return full[:start], full[start + len(bare) :]
