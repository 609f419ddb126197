"""Every prompt, in our own words; versioned and hashed, so that a rate always says how it was asked.

A prompt is an instruction, an empty line, `Paragraph:` and the paragraph, which stands last: prompts about
different texts then share their beginning, and a local model reads it once.
"""

from __future__ import annotations

from dataclasses import dataclass

from etude.methods.self_explanations.variants import Kind, Persona, Variant
from etude.runs import content_hash

WORDING_VERSION = "etude-1"
PARAGRAPH = "\n\nParagraph:\n"

_MASK_VERB = {"[REDACTED]": "redacted", "[REMOVED]": "removed"}

_REMARK = " The paragraph may contain {verb} words; each of them is marked with {mask}."
_ONLY = " Do not explain your answer."

_SENTIMENT: dict[Persona, str] = {
    "objective": "Which sentiment does the paragraph below express?",
    "you": "Which sentiment would you say the paragraph below expresses?",
    "human": "Which sentiment would a human reader say the paragraph below expresses?",
}
_QUESTION: dict[Persona, str] = {
    "objective": 'Read the paragraph below and answer the question "{question}"',
    "you": 'Read the paragraph below. How would you answer the question "{question}"?',
    "human": 'Read the paragraph below. How would a human reader answer the question "{question}"?',
}
_LABELS = " Answer with one of these and nothing else: {options}."
_OPTIONS = " Answer with one of these options and nothing else: {options}."

_COUNTERFACTUAL: dict[Persona, str] = {
    "objective": "Change the paragraph below so that {subject} becomes {target}.",
    "you": "Change the paragraph below so that you would say that {subject} is {target}.",
    "human": "Change the paragraph below so that a human reader would say that {subject} is {target}.",
}
_FEW_EDITS = " Change as few words as possible. Reply with the changed paragraph only."
_OPPOSITE = "the opposite of what it is now"
_DIFFERENT = "different from what it is now"

_UNDETERMINED: dict[Persona, str] = {
    "objective": "{subject} cannot be determined",
    "you": "you cannot determine {subject}",
    "human": "a human reader cannot determine {subject}",
}
_ATTRIBUTION = (
    "Which words of the paragraph below matter most for {subject}? List the words without which "
    "{undetermined}, one word per line. Reply with the list only."
)
_REDACTION = (
    "Rewrite the paragraph below with {mask} in place of every word that matters most for {subject}, such "
    "that without these words {undetermined}. Keep all other words. Reply with the rewritten paragraph only."
)
_REDACTION_SHORT = (
    "Rewrite the paragraph below with {mask} in place of important words, such that {undetermined}. Reply "
    "with the rewritten paragraph only."
)

_OPENINGS: dict[Kind, str] = {
    "counterfactual": "Change the paragraph below",
    "attribution": "Which words of the paragraph below",
    "redaction": "Rewrite the paragraph below",
}


@dataclass(frozen=True)
class AskedPrompt:
    """What a prompt of ours asks: `classify` or an explanation type, and about which paragraph."""

    asks: str
    paragraph: str
    instruction: str


def wording_hash() -> str:
    """16 hex digits over every template: the same digits mean the same wording."""
    templates = {
        name: value
        for name, value in globals().items()
        if name.startswith("_") and name.isupper() and isinstance(value, str | dict)
    }
    return content_hash([WORDING_VERSION, PARAGRAPH, templates])[:16]


def sentiment_question(variant: Variant, text: str, labels: tuple[str, ...]) -> str:
    """The classify prompt of the sentiment task."""
    asked = _SENTIMENT[variant.persona] + _remark(variant) + _LABELS.format(options=_quoted(labels))
    return asked + _ONLY + PARAGRAPH + text


def label_question(variant: Variant, text: str, question: str, labels: tuple[str, ...]) -> str:
    """The classify prompt of a question with given labels."""
    asked = _QUESTION[variant.persona].format(question=question) + _remark(variant)
    return asked + _LABELS.format(options=_quoted(labels)) + _ONLY + PARAGRAPH + text


def option_question(variant: Variant, text: str, question: str, options: tuple[str, ...]) -> str:
    """The classify prompt of a question with numbered or lettered options."""
    asked = _QUESTION[variant.persona].format(question=question) + _remark(variant)
    return asked + _OPTIONS.format(options=", ".join(options)) + _ONLY + PARAGRAPH + text


def counterfactual_ask(variant: Variant, text: str, subject: str, target: str, *, opposite: bool) -> str:
    """Ask for an edited paragraph with another answer.

    Args:
        variant: Whether the target is named.
        text: The paragraph.
        subject: What is determined, e.g. `the sentiment`.
        target: The answer that the edit should have.
        opposite: Whether an unnamed target is "the opposite" (two options) or just "different".
    """
    named = f'"{target}"' if variant.target == "explicit" else (_OPPOSITE if opposite else _DIFFERENT)
    asked = _COUNTERFACTUAL[variant.persona].format(subject=subject, target=named)
    return asked + _FEW_EDITS + PARAGRAPH + text


def attribution_ask(variant: Variant, text: str, subject: str) -> str:
    """Ask for the most important words."""
    return (
        _ATTRIBUTION.format(subject=subject, undetermined=_undetermined(variant, subject)) + PARAGRAPH + text
    )


def redaction_ask(variant: Variant, text: str, subject: str) -> str:
    """Ask for the paragraph with the most important words masked."""
    template = _REDACTION_SHORT if variant.short else _REDACTION
    asked = template.format(mask=variant.mask, subject=subject, undetermined=_undetermined(variant, subject))
    return asked + PARAGRAPH + text


def read_prompt(prompt: str) -> AskedPrompt:
    """What a prompt of this module asks: how an instrument reads it."""
    instruction, _, paragraph = prompt.partition(PARAGRAPH)
    asks = next((kind for kind, opening in _OPENINGS.items() if instruction.startswith(opening)), "classify")
    return AskedPrompt(asks, paragraph, instruction)


def _remark(variant: Variant) -> str:
    if not variant.mask_remark:
        return ""
    return _REMARK.format(verb=_MASK_VERB[variant.mask], mask=variant.mask)


def _undetermined(variant: Variant, subject: str) -> str:
    return _UNDETERMINED[variant.persona].format(subject=subject)


def _quoted(labels: tuple[str, ...]) -> str:
    return ", ".join(f'"{label}"' for label in labels)
