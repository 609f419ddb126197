"""How the next token is drawn beyond the temperature: nucleus, top-k, and penalties on repetition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from etude.errors import EtudeError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Decoding:
    """Settings of decoding; the defaults change nothing.

    Args:
        top_p: Sample among the likeliest tokens that together have this probability, in (0, 1].
        top_k: Sample among this many of the likeliest tokens; 0 for all.
        repetition_penalty: Divides positive and multiplies negative logits of tokens that the prompt or the
            answer holds already (Keskar et al. 2019, section 4.1); 1 for none.
        frequency_penalty: Taken from a token's logit for each time the answer holds it, in [-2, 2].
        presence_penalty: Taken once from the logits of tokens that the answer holds, in [-2, 2].

    Raises:
        EtudeError: A value is outside its range.
    """

    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0

    def __post_init__(self) -> None:
        allowed = {
            "top_p": ("in (0, 1]", 0 < self.top_p <= 1),
            "top_k": ("0 (all) or more", self.top_k >= 0),
            "repetition_penalty": ("above 0 (1 for none)", self.repetition_penalty > 0),
            "frequency_penalty": ("in [-2, 2]", -2 <= self.frequency_penalty <= 2),
            "presence_penalty": ("in [-2, 2]", -2 <= self.presence_penalty <= 2),
        }
        for name, (what, good) in allowed.items():
            if not good:
                raise EtudeError(f"{name} {getattr(self, name)} cannot be", f"{name} is {what}.")

    def to_json(self) -> dict[str, Any]:
        """The settings that are not the default."""
        plain = {field.name: field.default for field in fields(self)}
        return {name: value for name, value in asdict(self).items() if value != plain[name]}

    @property
    def looks_back(self) -> bool:
        """Whether what was read or written changes the logits."""
        return bool({"repetition_penalty", "frequency_penalty", "presence_penalty"} & self.to_json().keys())


PLAIN = Decoding()


def penalize(logits: Tensor, decoding: Decoding, prompt: Sequence[int], written: Sequence[int]) -> Tensor:
    """One row's logits, lowered for tokens that were there.

    Args:
        logits: (vocabulary,).
        decoding: The settings.
        prompt: Token ids before the answer.
        written: Token ids of the answer so far.

    Returns:
        (vocabulary,), a new tensor.
    """
    import torch
    from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

    if decoding.repetition_penalty != 1:
        seen = torch.tensor([[*prompt, *written]], device=logits.device)
        logits = RepetitionPenaltyLogitsProcessor(decoding.repetition_penalty)(seen, logits[None])[0]
    counts = torch.bincount(
        torch.tensor(written, dtype=torch.long, device=logits.device), minlength=len(logits)
    )
    return logits - decoding.frequency_penalty * counts - decoding.presence_penalty * (counts > 0)


def restrict(logits: Tensor, decoding: Decoding) -> Tensor:
    """Logits, (rows, vocabulary), after the temperature: minus infinity for what is not sampled."""
    from transformers.generation.logits_process import TopKLogitsWarper, TopPLogitsWarper

    if decoding.top_k:
        logits = TopKLogitsWarper(decoding.top_k)(None, logits)
    if decoding.top_p < 1:
        logits = TopPLogitsWarper(decoding.top_p)(None, logits)
    return logits
