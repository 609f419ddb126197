"""Block 4, the prompt-speech mixer: token embeddings of a prompt with the speech vectors in their slot.

Labels are -100 everywhere but at the target and its end token.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.speech_translation.design import MixerBlock, Position, Task
from etude.methods.speech_translation.lengths import pad_rows
from etude.methods.speech_translation.tasks import language_name
from etude.methods.speech_translation.utterances import Utterance
from etude.models.templates import templated

if TYPE_CHECKING:
    from etude.methods.speech_translation.language_models import LanguageModel

SLOT = "{speech}"
IGNORED = -100

_INSTRUCTIONS: dict[Task, tuple[str, ...]] = {
    "asr": (
        "Write down what is said in {source}.",
        "Transcribe the {source} speech.",
        "What does the speaker say? Write the {source} words.",
    ),
    "st": (
        "Translate the {source} speech into {target}.",
        "What is said, in {target}?",
        "Write a {target} translation of the speech.",
    ),
    "chain": ("Transcribe the {source} speech, then translate it into {target} on the next line.",),
    "qa": ("Answer from the speech: {question}", "{question}"),
    "continuation": ("Continue the text.", "Go on from what is said."),
}
_TAGS: dict[Task, str] = {
    "asr": "<transcribe><{source}>",
    "st": "<translate><{source}><{target}>",
    "chain": "<transcribe><translate><{source}><{target}>",
    "qa": "<answer><{source}> {question}",
    "continuation": "<continue><{source}>",
}
_PLACES: dict[Position, str] = {
    "before": "{prompt}\n{speech}",
    "after": "{speech}\n{prompt}",
    "around": "Speech: {speech}\n{prompt}",
}


@dataclass(frozen=True)
class Prompt:
    """Token ids on both sides of the speech."""

    before: list[int]
    after: list[int]


def check_template(template: str) -> None:
    """Refuse a prompt without exactly one place for the speech.

    Raises:
        EtudeError: It has none, or several.
    """
    found = template.count(SLOT)
    if found != 1:
        raise EtudeError(
            f"the prompt {template[:80]!r} has {found} places {SLOT}", f"Write {SLOT} exactly once."
        )


def templates_of(block: MixerBlock, task: Task) -> tuple[str, ...]:
    """Prompts of a task, each with one `{speech}`.

    Raises:
        EtudeError: One of the user's own has no slot, or two.
    """
    if task in block.templates:
        for template in block.templates[task]:
            check_template(template)
        return block.templates[task]
    if block.kind == "none":
        return (SLOT,)
    if block.kind == "tags":
        return (f"{SLOT}{_TAGS[task]}" if block.position != "before" else f"{_TAGS[task]}{SLOT}",)
    texts = _INSTRUCTIONS[task] if block.kind == "sampled" else _INSTRUCTIONS[task][:1]
    place = _PLACES[block.position]
    return tuple(place.replace("{prompt}", text) for text in texts)


def fill_template(template: str, utterance: Utterance) -> str:
    """Put an utterance's languages and question into a prompt; the slot stays, and stays alone.

    Raises:
        EtudeError: The target language is asked for and absent.
    """
    if "{target}" in template and not utterance.target_lang:
        raise EtudeError(
            f"utterance {utterance.id!r} has no target language", "Give --target-lang, or `target_lang`."
        )
    values = {
        "{source}": language_name(utterance.source_lang),
        "{target}": language_name(utterance.target_lang),
        "{question}": (utterance.question or "").replace(SLOT, "speech"),
    }
    for name, value in values.items():
        template = template.replace(name, value)
    return template


class PromptMixer(nn.Module):
    """Builds the language model's input.

    Args:
        block: Its settings.
        language: Tokenizer and embeddings.
    """

    def __init__(self, block: MixerBlock, language: LanguageModel) -> None:
        super().__init__()
        self.block = block
        self.tokenizer = language.tokenizer
        self.end = language.end
        self._known: dict[str, Prompt] = {}

    def prompt(
        self,
        utterance: Utterance,
        task: Task,
        *,
        template: str | None = None,
        draw: random.Random | None = None,
    ) -> Prompt:
        """Token ids around the speech of an utterance.

        Args:
            utterance: Its languages and question fill the template.
            task: Chooses the templates.
            template: Another template, with one `{speech}`.
            draw: With `sampled`, chooses among the templates; None takes the first.
        """
        if template is not None:
            check_template(template)
        else:
            choices = templates_of(self.block, task)
            template = draw.choice(choices) if draw else choices[0]
        text = fill_template(template, utterance)
        if text not in self._known:
            self._known[text] = self._encode(text)
        return self._known[text]

    def _encode(self, text: str) -> Prompt:
        tokenizer: Any = self.tokenizer
        chat = self.block.chat and bool(tokenizer.chat_template)
        if chat:
            text = templated(tokenizer, [{"role": "user", "content": text}])
        before, after = text.split(SLOT)
        start = [] if chat or tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        encode = tokenizer.encode
        return Prompt(
            start + encode(before, add_special_tokens=False), encode(after, add_special_tokens=False)
        )

    def target(self, text: str) -> list[int]:
        """Token ids of a target with its end token."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return [*ids, self.end]

    def forward(
        self,
        speech: Tensor,
        lengths: Tensor,
        prompts: Sequence[Prompt],
        embed: nn.Module,
        targets: Sequence[Sequence[int]] | None = None,
        *,
        left: bool = False,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Concatenate prompt, speech and target.

        Args:
            speech: (B, N, d_llm).
            lengths: (B,).
            prompts: One per row.
            embed: The language model's embeddings.
            targets: Token ids to append, for training.
            left: Pad on the left (generation) instead of on the right.

        Returns:
            Embeddings (B, S, d_llm), attention mask (B, S), labels (B, S) or None.
        """
        rows, labels = [], []
        for b, prompt in enumerate(prompts):
            target = list(targets[b]) if targets is not None else []
            before, after = (
                embed(torch.tensor(ids, dtype=torch.long, device=speech.device))
                for ids in (prompt.before, [*prompt.after, *target])
            )
            own = speech[b, : int(lengths[b])].to(before.dtype)
            rows.append(torch.cat([before, own, after]))
            silent = len(prompt.before) + len(own) + len(prompt.after)
            labels.append(torch.tensor([IGNORED] * silent + target, device=speech.device))
        if left:
            rows, labels = [row.flip(0) for row in rows], [row.flip(0) for row in labels]
        embeddings, sizes = pad_rows(rows)
        mask = (torch.arange(embeddings.shape[1], device=speech.device)[None] < sizes[:, None]).long()
        told = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=IGNORED)
        if left:
            embeddings, mask, told = embeddings.flip(1), mask.flip(1), told.flip(1)
        return embeddings, mask, None if targets is None else told
