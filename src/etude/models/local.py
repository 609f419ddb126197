"""Chat with a local model through transformers."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from etude.errors import EtudeError
from etude.models.chat import Conversation, Parameters, Reply, plain_text
from etude.models.local_lm import Dtype, context_length_of, load_causal_lm
from etude.models.names import model_directory, model_revision
from etude.models.sharing import plan
from etude.models.templates import templated
from etude.runs import content_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from etude.models.local_lm import CausalLM

_SHARE = 16  # shared tokens from which reading them once is worth a copy of their keys and values


class LocalEngine:
    """A causal language model in this process; its weights load when the first answer is needed.

    Args:
        name: An embedded name, a directory, or a hub id.
        dtype: Number format of the weights.
        device: `cpu`, `cuda` ...; default: the GPU if there is one.
    """

    def __init__(self, name: str, *, dtype: Dtype = "float32", device: str | None = None) -> None:
        self.name = name
        self.directory = model_directory(name)
        self.dtype = dtype
        self.device = device

    @cached_property
    def lm(self) -> CausalLM:
        """The model and its tokenizer."""
        return load_causal_lm(self.name, dtype=self.dtype, device=self.device)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Engine, content of the model's files, number format."""
        return {"engine": "transformers", "revision": model_revision(self.directory), "dtype": self.dtype}

    @cached_property
    def context_length(self) -> int | None:
        """The most tokens of conversation and answer, from the config."""
        return context_length_of(self.directory)

    def generate(
        self, conversations: Sequence[Conversation], parameters: Parameters
    ) -> Iterator[tuple[int, Reply]]:
        """Answer conversations, those that share a beginning together."""
        from etude.models.generation import generate_rows

        prompts = [render(self.lm.tokenizer, conversation, self.name) for conversation in conversations]
        limit = self.context_length
        fitting = []
        for number, prompt in enumerate(prompts):
            if limit is None or len(prompt) < limit:
                fitting.append(number)
            else:
                yield number, too_long(len(prompt), limit)
        for shared, rows, prefix in self._groups([prompts[i] for i in fitting]):
            started, numbers = time.perf_counter(), [fitting[i] for i in rows]
            replies = generate_rows(
                self.lm,
                [prompts[i][shared:] for i in numbers],
                prefix=prefix,
                max_tokens=parameters.max_tokens,
                temperature=parameters.temperature,
                stop=parameters.stop,
                seeds=[_row_seed(parameters.seed, prompts[i]) for i in numbers],
                decoding=parameters.decoding,
            )
            for place, made in replies:
                yield (
                    numbers[place],
                    Reply(
                        text=made.text,
                        stop_reason=made.stop_reason,
                        prompt_tokens=len(prompts[numbers[place]]),
                        cached_tokens=shared if place else 0,
                        output_tokens=len(made.tokens),
                        seconds=round(time.perf_counter() - started, 4),
                    ),
                )

    def score(
        self, conversations: Sequence[Conversation], options: Sequence[Sequence[str]]
    ) -> Iterator[tuple[int, list[float]]]:
        """Score given answers; each conversation is read once."""
        from etude.models.generation import score_rows

        tokenizer = self.lm.tokenizer
        prompts = [render(tokenizer, conversation, self.name) for conversation in conversations]
        answers = [[tokenizer.encode(text, add_special_tokens=False) for text in given] for given in options]
        if self.context_length is not None:
            for number, (prompt, given) in enumerate(zip(prompts, answers, strict=True)):
                total = len(prompt) + max(map(len, given))
                if total > self.context_length:
                    raise EtudeError(
                        f"conversation {number} has {total} tokens, {self.name} reads {self.context_length}",
                        "Shorten it, or use a model with a longer context.",
                    )
        for shared, rows, prefix in self._groups(prompts):
            tails = [prompts[i][shared:] for i in rows]
            for place, scored in score_rows(self.lm, tails, [answers[i] for i in rows], prefix=prefix):
                yield rows[place], [one.total for one in scored]

    def _groups(self, prompts: list[list[int]]) -> Iterator[tuple[int, list[int], Any]]:
        """Each group's shared tokens, row numbers and what was read; one group in memory at a time."""
        from etude.models.generation import crop_prefix, prefill

        prefix: Any = None
        for group in plan(prompts):
            shared = group.shared if group.shared >= _SHARE else 0
            head = prompts[group.rows[0]][:shared]
            if prefix is not None:
                same = next(
                    (
                        i
                        for i, pair in enumerate(zip(prefix.tokens, head, strict=False))
                        if pair[0] != pair[1]
                    ),
                    None,
                )
                crop_prefix(prefix, min(len(prefix), len(head)) if same is None else same)
            if shared:
                prefix = prefill(self.lm, head[len(prefix) if prefix else 0 :], prefix)
            yield shared, group.rows, prefix if shared else None


def render(tokenizer: PreTrainedTokenizerBase, conversation: Conversation, model: str) -> list[int]:
    """Token ids of a conversation, up to where the answer begins.

    A model without a chat template (a base model) reads the messages as plain text, one paragraph each.

    Raises:
        EtudeError: A message holds a picture, or the model's template refuses the conversation.
    """
    messages = [{"role": message["role"], "content": plain_text(message, model)} for message in conversation]
    if not tokenizer.chat_template:
        ids: list[int] = tokenizer.encode("\n\n".join(message["content"] for message in messages))
        return ids
    goes_on = messages[-1]["role"] == "assistant"
    text = templated(tokenizer, messages, ask=not goes_on, goes_on=goes_on)
    return list(tokenizer.encode(text, add_special_tokens=False))


def too_long(tokens: int, limit: int) -> Reply:
    """The reply to a conversation that does not fit."""
    return Reply("", "error", tokens, error=f"the prompt has {tokens} tokens, the model's context is {limit}")


def _row_seed(seed: int, prompt: list[int]) -> int:
    """A row's own seed: the same prompt draws the same numbers whatever stands beside it."""
    return int(content_hash([seed, prompt])[:15], 16)
