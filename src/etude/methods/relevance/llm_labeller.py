"""A chat model as a labeller: by writing an answer, or by the log-probabilities of the grades (one pass)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from etude.errors import EtudeError
from etude.methods.relevance.collection import Keep, Pair, cut_document
from etude.methods.relevance.labels import Label
from etude.methods.relevance.wording import RelevancePrompt
from etude.models import ChatModel, Conversation, Decoding, Reply

Mode: TypeAlias = Literal["generate", "logprob"]
MOST_WORDS = 600
PAPER_DECODING = Decoding(frequency_penalty=0.5)
"""With temperature 0, what the paper decodes with."""
TOKENS_A_GRADE = 12
"""Output tokens allowed for a name and a grade."""


class LLMLabeller:
    """Labels by a chat model; one call for each pair, temperature 0.

    Args:
        model: The chat model; its store keeps every reply, so nothing is asked twice.
        prompt: What is asked.
        mode: `generate` reads the answer the model writes; `logprob` compares the grades' log-probabilities:
            the label is the likeliest grade, the score the expected one.
        most_words: Longer documents are cut to whole passages.
        keep: Which passages: the first, or those with the most words of the query.

    Raises:
        EtudeError: Several judges by log-probability.
    """

    def __init__(
        self,
        model: ChatModel,
        prompt: RelevancePrompt,
        mode: Mode = "generate",
        *,
        most_words: int = MOST_WORDS,
        keep: Keep = "lead",
    ) -> None:
        if mode == "logprob" and prompt.judges > 1:
            raise EtudeError(
                "several judges (M) have no single grade to score", "Use --mode generate, or leave M out."
            )
        self.model, self.prompt, self.mode = model, prompt, mode
        self.most_words, self.keep = most_words, keep

    @property
    def name(self) -> str:
        """The chat model's name."""
        return self.model.name

    @property
    def prompt_name(self) -> str:
        """The prompt's name and hash, with the mode where it is not generation."""
        return f"{self.prompt.name} {self.prompt.hash}" + (" logprob" if self.mode == "logprob" else "")

    def conversation(self, pair: Pair) -> tuple[Conversation, int]:
        """What the model is asked about a pair, and how many words of the document were left out."""
        text, left_out = cut_document(pair.text, pair.query, self.most_words, self.keep)
        render = self.prompt.render if self.mode == "generate" else self.prompt.render_choice
        return [
            {"role": "user", "content": render(pair.query, text, pair.description, pair.narrative)}
        ], left_out

    def label(self, pairs: Sequence[Pair]) -> list[Label]:
        """Ask about pairs.

        Raises:
            EtudeError: Some could not be asked; the others are in the model's store.
        """
        asked = [self.conversation(pair) for pair in pairs]
        conversations = [conversation for conversation, _ in asked]
        if self.mode == "logprob":
            scores = self.model.score(conversations, [self.prompt.options] * len(pairs))
            return [
                self._from_scores(pair, given, left_out)
                for pair, given, (_, left_out) in zip(pairs, scores, asked, strict=True)
            ]
        replies = self.model.generate(
            conversations, max_tokens=self.answer_tokens, temperature=0.0, decoding=PAPER_DECODING
        )
        failed = [(p, r) for p, r in zip(pairs, replies, strict=True) if r.stop_reason == "error"]
        if failed:
            pair, reply = failed[0]
            raise EtudeError(
                f"query {pair.qid}, document {pair.docid}: {reply.error} ({len(failed)} of {len(pairs)})",
                "A smaller --max-words if it is too long; the same command asks only for what is missing.",
            )
        return [
            self._from_reply(pair, reply, left_out)
            for pair, reply, (_, left_out) in zip(pairs, replies, asked, strict=True)
        ]

    @property
    def answer_tokens(self) -> int:
        """The output limit."""
        return 16 + TOKENS_A_GRADE * self.prompt.judges * (1 + len(self.prompt.asked_aspects))

    def _from_reply(self, pair: Pair, reply: Reply, left_out: int) -> Label:
        parsed = self.prompt.parse(reply.text, reply.stop_reason)
        return Label(
            qid=pair.qid,
            docid=pair.docid,
            model=self.name,
            prompt=self.prompt_name,
            O=parsed.O,
            M=parsed.aspects.get("M"),
            T=parsed.aspects.get("T"),
            judges=list(parsed.rows),
            status=parsed.status,
            prompt_tokens=reply.prompt_tokens,
            output_tokens=reply.output_tokens,
            words_left_out=left_out,
            raw=reply.text,
        )

    def _from_scores(self, pair: Pair, scores: Sequence[float], left_out: int) -> Label:
        shares = np.exp(np.array(scores) - np.max(scores))
        shares /= shares.sum()
        return Label(
            qid=pair.qid,
            docid=pair.docid,
            model=self.name,
            prompt=self.prompt_name,
            O=float(np.argmax(shares)),
            prob=[round(float(share), 6) for share in shares],
            score=float(shares @ np.arange(len(shares))),
            words_left_out=left_out,
            raw=json.dumps([round(float(value), 6) for value in scores]),
        )
