"""The prompt variants of the paper: explanation type, persona, mask token, target, wording, mask remark."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from etude.errors import EtudeError

Kind: TypeAlias = Literal["counterfactual", "attribution", "redaction"]
Persona: TypeAlias = Literal["objective", "you", "human"]
Mask: TypeAlias = Literal["[REDACTED]", "[REMOVED]"]
Target: TypeAlias = Literal["explicit", "implicit"]
Condition: TypeAlias = Literal["correct", "predicted", "all"]
"""Which first answers count: right ones (the paper's), all that name an option, all that can be read."""
AnswerMode: TypeAlias = Literal["free", "scored", "calibrated"]
"""How a label is read: from free text, or the likeliest option, raw or against a content-free input."""

KINDS: tuple[Kind, ...] = get_args(Kind)
PERSONAS: tuple[Persona, ...] = get_args(Persona)
MASKS: tuple[Mask, ...] = get_args(Mask)
TARGETS: tuple[Target, ...] = get_args(Target)


@dataclass(frozen=True)
class Variant:
    """One way to ask.

    Args:
        kind: The type of explanation.
        persona: Who answers the classify question and, matched, the explanation: nobody in particular, "you",
            "a human".
        mask: What stands for a masked word, also in the remark of the classify prompt.
        target: Whether a counterfactual's target is named.
        short: The short wording of redaction.
        mask_remark: Whether the classify prompt says that words may be masked; without it, an ablation.
    """

    kind: Kind
    persona: Persona = "objective"
    mask: Mask = "[REDACTED]"
    target: Target = "explicit"
    short: bool = False
    mask_remark: bool = True

    @property
    def name(self) -> str:
        """The explanation type, and what differs from the paper's default prompt."""
        plain = Variant(self.kind)
        given = ((self.persona, plain.persona), (self.mask, plain.mask))
        parts: list[str] = [self.kind, *(value for value, default in given if value != default)]
        if self.kind == "counterfactual" and self.target != plain.target:
            parts.append(self.target)
        if self.short:
            parts.append("short")
        if not self.mask_remark:
            parts.append("no mask remark")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)


def grid(
    kinds: tuple[Kind, ...],
    personas: tuple[Persona, ...] = ("objective",),
    masks: tuple[Mask, ...] = ("[REDACTED]",),
    targets: tuple[Target, ...] = ("explicit",),
    *,
    short: bool = False,
    mask_remark: bool = True,
) -> list[Variant]:
    """Every combination; a target concerns counterfactuals only, the short wording redaction only."""
    return [
        Variant(kind, persona, mask, target, short and kind == "redaction", mask_remark)
        for kind, persona, mask in itertools.product(kinds, personas, masks)
        for target in (targets if kind == "counterfactual" else targets[:1])
    ]


def one_or_more(option: str, text: str, allowed: tuple[str, ...]) -> tuple[Any, ...]:
    """Names in a comma-separated text.

    Raises:
        EtudeError: A name is not allowed, or there is none.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in allowed]
    if unknown or not names:
        raise EtudeError(
            f"{option} {text!r}: {unknown[0]!r} is not known" if unknown else f"{option} names nothing",
            f"Choose from {', '.join(allowed)}, separated by commas.",
        )
    return names
