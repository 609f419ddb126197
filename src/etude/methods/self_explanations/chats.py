"""Separate single-turn chats: many prompts in, one answer each, none asked twice.

Every prompt is a conversation of its own: no chat sees another's history, else a model would be consistent
with its own words, not with its behavior. The same prompt is asked once, whichever explanation needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from etude.methods.self_explanations.observations import Observation
from etude.methods.self_explanations.tasks import Task
from etude.methods.self_explanations.variants import AnswerMode, Variant
from etude.models import Conversation, Reply, StoredChat, load_tokenizer
from etude.models.chat import plain_text
from etude.models.decoding import PLAIN, Decoding
from etude.render import console

T = TypeVar("T")

CONTENT_FREE = "N/A"
"""The paragraph without content, against which label log-probabilities are calibrated."""
PORTION = 2048
"""Prompts asked between two lines of progress."""
PAPER_DECODING = Decoding(top_p=0.95, top_k=50, repetition_penalty=1.2)
"""What the paper samples with, at temperature 0.1."""


@dataclass(frozen=True)
class Settings:
    """How a model is asked.

    Args:
        answers: `free` text, or the likeliest label: `scored`, or `calibrated` against a content-free input.
        max_tokens: Of an explanation.
        answer_tokens: Of a label in free text.
        temperature: 0 for the most likely answer; the paper samples at 0.1.
        seed: Of sampling, of the random control and of the bootstrap.
        decoding: Nucleus, top-k, repetition penalty; `PAPER_DECODING` are the paper's.
    """

    answers: AnswerMode = "free"
    max_tokens: int = 1024
    answer_tokens: int = 32
    temperature: float = 0.0
    seed: int = 0
    decoding: Decoding = PLAIN


@dataclass(frozen=True)
class Chat:
    """One finished chat.

    Args:
        prompt: What was asked.
        answer: What came back; for a label chosen by score, its log-probabilities.
        predict: The label in it, for classify chats; None when none can be read.
        error: What went wrong, if no answer came back.
        cut: Whether the answer was cut off at its token limit.
        tokens: Tokens of prompt and answer, as the model counts them (0 where labels are scored).
        seconds: Until the answer was there.
    """

    prompt: str
    answer: str
    predict: str | None = None
    error: str | None = None
    cut: bool = False
    tokens: int = 0
    seconds: float = 0.0


Question = tuple[Observation, Variant, str | None]
"""What to classify: an observation, how to ask, and the text in place of its own, if any."""


class Asker:
    """Asks one model, each prompt once.

    Args:
        model: The chat model.
        settings: How it is asked.

    Attributes:
        calls: Prompts that were sent to the model or its store.
        requested: Questions about texts that were needed, before sharing.
    """

    def __init__(self, model: StoredChat, settings: Settings) -> None:
        self.model = model
        self.settings = settings
        self.calls = 0
        self.requested = 0
        self._tokenizer: Any = None
        self._replies: dict[tuple[str, int], Reply] = {}
        self._scores: dict[tuple[str, tuple[str, ...]], list[float]] = {}

    @property
    def name(self) -> str:
        """The model's name; an instrument's without saying that it is scripted."""
        return self.model.name.removeprefix("scripted/")

    def explain(self, prompts: Sequence[str]) -> list[Chat]:
        """Free text, at most `max_tokens` long, for each prompt."""
        return self._write(prompts, self.settings.max_tokens, "explain")

    def classify(self, task: Task, questions: Sequence[Question], stage: str = "classify") -> list[Chat]:
        """The label of each text, by free text or by score."""
        prompts = [
            task.classify_prompt(observation, variant, text) for observation, variant, text in questions
        ]
        if self.settings.answers == "free":
            chats = self._write(prompts, self.settings.answer_tokens, stage)
            return [
                replace(chat, predict=None if chat.error else task.parse(chat.answer, question[0]))
                for chat, question in zip(chats, questions, strict=True)
            ]
        return [
            Chat(prompt, "", error=found)
            if isinstance(found, str)
            else Chat(prompt, _told(found), predict=max(found, key=lambda label: found[label]))
            for prompt, found in zip(prompts, self.label_scores(task, questions, stage), strict=True)
        ]

    def label_scores(
        self, task: Task, questions: Sequence[Question], stage: str = "score"
    ) -> list[Mapping[str, float] | str]:
        """Log-probability of each label, calibrated if asked for; or why there is none.

        Calibrated: minus the log-probability of the same label for the same question about a text without
        content, which takes out the model's liking for the label itself.
        """
        prompts = [
            task.classify_prompt(observation, variant, text) for observation, variant, text in questions
        ]
        answers = [task.scored_answers(observation) for observation, _, _ in questions]
        options = [tuple(given.values()) for given in answers]
        wrong = self._too_long(prompts)
        empty = [
            task.classify_prompt(observation, variant, CONTENT_FREE) for observation, variant, _ in questions
        ]
        kept = [i for i, prompt in enumerate(prompts) if prompt not in wrong]
        self.requested += len(kept)
        asked = [(prompts[i], options[i]) for i in kept]
        if self.settings.answers == "calibrated":
            asked += [(empty[i], options[i]) for i in kept]
        self._score(asked, stage)
        found: list[Mapping[str, float] | str] = []
        for prompt, given, blank, listed in zip(prompts, answers, empty, options, strict=True):
            if prompt in wrong:
                found.append(wrong[prompt])
                continue
            scores = self._scores[prompt, listed]
            if self.settings.answers == "calibrated":
                base = self._scores[blank, listed]
                scores = [score - lower for score, lower in zip(scores, base, strict=True)]
            found.append(dict(zip(given, scores, strict=True)))
        return found

    def _write(self, prompts: Sequence[str], most: int, stage: str) -> list[Chat]:
        self.requested += len(prompts)
        missing = [prompt for prompt in dict.fromkeys(prompts) if (prompt, most) not in self._replies]
        wrong = self._too_long(missing)
        for prompt in wrong:
            self._replies[prompt, most] = Reply("", "error", error=wrong[prompt])
        missing = [prompt for prompt in missing if prompt not in wrong]
        self.calls += len(missing)
        for portion in self._portions(missing, stage):
            replies = self.model.generate(
                [_single(prompt) for prompt in portion],
                max_tokens=most,
                temperature=self.settings.temperature,
                seed=self.settings.seed,
                decoding=self.settings.decoding,
            )
            self._replies.update(
                ((prompt, most), reply) for prompt, reply in zip(portion, replies, strict=True)
            )
        return [_chat(prompt, self._replies[prompt, most]) for prompt in prompts]

    def _score(self, asked: Sequence[tuple[str, tuple[str, ...]]], stage: str) -> None:
        missing = [key for key in dict.fromkeys(asked) if key not in self._scores]
        self.calls += len(missing)
        for portion in self._portions(missing, stage):
            scores = self.model.score(
                [_single(prompt) for prompt, _ in portion], [given for _, given in portion]
            )
            self._scores.update(zip(portion, scores, strict=True))

    def _portions(self, missing: Sequence[T], stage: str) -> Iterator[Sequence[T]]:
        for start in range(0, len(missing), PORTION):
            if len(missing) > PORTION:
                console().print(f"{self.name}: {stage}: {start:,} of {len(missing):,} prompts")
            yield missing[start : start + PORTION]

    def _too_long(self, prompts: Sequence[str]) -> dict[str, str]:
        """Prompts that do not fit the model's context: truncating them would remove evidence unseen."""
        limit = self.model.context_length
        if limit is None:
            return {}
        found = {}
        for prompt in dict.fromkeys(prompts):
            length = self._length(prompt)
            if length is not None and length >= limit:
                found[prompt] = f"the prompt has {length} tokens, the model's context is {limit}"
        return found

    def _length(self, prompt: str) -> int | None:
        """Tokens of a prompt where they can be counted here; a server refuses by itself what is too long."""
        from etude.models.local import LocalEngine, render
        from etude.models.scripted import ScriptedEngine

        engine = self.model.engine
        if isinstance(engine, LocalEngine):
            self._tokenizer = self._tokenizer or load_tokenizer(engine.name)
            return len(render(self._tokenizer, _single(prompt), engine.name))
        if isinstance(engine, ScriptedEngine):
            return sum(len(plain_text(message, engine.name).split()) for message in _single(prompt))
        return None


def _single(prompt: str) -> Conversation:
    return [{"role": "user", "content": prompt}]


def _chat(prompt: str, reply: Reply) -> Chat:
    return Chat(
        prompt,
        reply.text,
        error=reply.error,
        cut=reply.stop_reason == "length",
        tokens=reply.prompt_tokens + reply.output_tokens,
        seconds=reply.seconds,
    )


def _told(scores: Mapping[str, float]) -> str:
    return ", ".join(f"{label} {score:.3f}" for label, score in scores.items())
