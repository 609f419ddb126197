"""Who writes: a causal model here (with shared heads), an encoder-decoder here, or a chat model anywhere.

All of them give one sentence of each kind for every given one. `load_writer` chooses by the model's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from etude.errors import EtudeError
from etude.methods.semcsr.prompts import KINDS, STOP, PromptSet, read_answer
from etude.methods.semcsr.triples import Status
from etude.models import chat_model, load_causal_lm, model_directory
from etude.models.scripted import is_registered
from etude.runs import read_json

if TYPE_CHECKING:
    from etude.methods.semcsr.paired_streams import Heads
    from etude.models import CausalLM, StoredChat

SERVED = ("openai/", "inspect/", "scripted/", "replay/")
_PROBES = ("0 probes", "A probe", "a probe", "'a", "(a", ".a", "- a", "\u00e9tude", "\u4e00")
_FAILURES = 3  # groups in a row that a provider may fail before the run stops


@dataclass(frozen=True)
class Writing:
    """How sentences are written.

    Args:
        lm: The model's name.
        prompts: What it is asked.
        omega: Weight of the opposite instruction; 0 is plain greedy decoding.
        plausibility: See `contrast`.
        max_tokens: The most tokens of a sentence.
        seed: Of the choice from a pool of templates.
        base_url: Of a served model.
        max_connections: Requests under way at once, for served models.
    """

    lm: str
    prompts: PromptSet
    omega: float = 0.0
    plausibility: float = 0.1
    max_tokens: int = 64
    seed: int = 0
    base_url: str | None = None
    max_connections: int = 8

    def __post_init__(self) -> None:
        if self.omega < 0 or not 0 < self.plausibility <= 1 or self.max_tokens < 1:
            raise EtudeError(
                f"omega {self.omega}, plausibility {self.plausibility}, max tokens {self.max_tokens}",
                "Omega is 0 or more, plausibility in (0, 1], max tokens 1 or more.",
            )
        if self.omega > 0 and is_served(self.lm):
            raise EtudeError(
                f"{self.lm}: contrastive generation needs logits",
                "Use --omega 0 or a local model.",
            )


@dataclass(frozen=True)
class Written:
    """What came of one sentence.

    Args:
        place: The template's place in the pool.
        sent1: The entailed sentence.
        hard_neg: The contradicting one.
        status: See `Triple`.
    """

    place: int
    sent1: str
    hard_neg: str
    status: Status


class Writer(Protocol):
    """Writes both sentences for each given one."""

    def write(self, sentences: Sequence[str]) -> list[Written]:
        """One result for each sentence, in order."""


def is_served(name: str) -> bool:
    """Whether a model is asked over a chat interface, which gives no logits."""
    return name.startswith(SERVED) or is_registered(name)


def load_writer(writing: Writing) -> Writer:
    """The writer for a model's name; its weights load with the first sentence.

    Raises:
        EtudeError: There is no such model.
    """
    if is_served(writing.lm):
        return ChatWriter(writing)
    config = read_json(model_directory(writing.lm) / "config.json")
    if config.get("is_encoder_decoder"):
        from etude.methods.semcsr.encoder_decoder import EncoderDecoderWriter

        return EncoderDecoderWriter(writing)
    return CausalWriter(writing)


def gather(places: Sequence[int], texts: Sequence[str | None]) -> list[Written]:
    """Results from the raw texts: first all entailments, then all contradictions; None did not end."""
    count = len(places)
    found = []
    for place, positive, negative in zip(places, texts[:count], texts[count:], strict=True):
        pair = [None if text is None else read_answer(text) for text in (positive, negative)]
        status: Status = "unfinished" if None in pair else "ok" if all(pair) else "empty"
        found.append(Written(place, pair[0] or "", pair[1] or "", status))
    return found


class CausalWriter:
    """A causal language model in this process.

    Args:
        writing: How it writes.
    """

    def __init__(self, writing: Writing) -> None:
        self.writing = writing
        self._heads: dict[int, tuple[list[list[int]], Any]] = {}

    @cached_property
    def lm(self) -> CausalLM:
        """The model."""
        return load_causal_lm(self.writing.lm)

    def write(self, sentences: Sequence[str]) -> list[Written]:
        """Write for a batch; sentences with the same template are written together."""
        prompts, seed = self.writing.prompts, self.writing.seed
        places = [prompts.place(sentence, seed) for sentence in sentences]
        texts: list[str | None] = [None] * (2 * len(sentences))
        for place in sorted(set(places)):
            chosen = [i for i, one in enumerate(places) if one == place]
            found = self._write(place, [sentences[i] for i in chosen])
            for at, text in zip([*chosen, *(i + len(sentences) for i in chosen)], found, strict=True):
                texts[at] = text
        return gather(places, texts)

    def rows(self, place: int, sentences: Sequence[str]) -> list[list[int]]:
        """Token ids of all entailment prompts, then of all contradiction prompts."""
        from etude.models.local import render

        tokenizer, prompts = self.lm.tokenizer, self.writing.prompts
        rows = []
        for kind in KINDS:
            for sentence in sentences:
                text = prompts.prompt(kind, place, sentence)
                if prompts.style == "completion":
                    rows.append(list(tokenizer.encode(text)))
                else:
                    rows.append(render(tokenizer, [{"role": "user", "content": text}], self.writing.lm))
        return rows

    def _write(self, place: int, sentences: Sequence[str]) -> list[str | None]:
        writing, count = self.writing, len(sentences)
        rows = self.rows(place, sentences)
        heads, read = self._read_heads(place, rows)
        tails = [row[len(heads[i // count]) :] for i, row in enumerate(rows)]
        stop = STOP if writing.prompts.style == "completion" else ()
        if writing.omega > 0:
            from etude.methods.semcsr.paired_streams import write_pairs

            return write_pairs(
                self.lm,
                read,
                [i // count for i in range(2 * count)],
                tails,
                [(i + count) % (2 * count) for i in range(2 * count)],
                omega=writing.omega,
                plausibility=writing.plausibility,
                max_tokens=writing.max_tokens,
                stop=stop,
            )
        from etude.models.generation import generate_batch

        found = []
        for kind, prefix in enumerate(read):
            part = tails[kind * count : (kind + 1) * count]
            found += generate_batch(
                self.lm, part, prefix=prefix, max_tokens=writing.max_tokens, stop=stop, max_rows=count
            )
        return [one.text if one.stop_reason == "stop" else None for one in found]

    def _read_heads(self, place: int, rows: Sequence[Sequence[int]]) -> tuple[list[list[int]], Any]:
        """What the prompts of each kind begin with, and what the model keeps of having read it, once.

        A head ends where probes with different first characters do; where a row's first character joins the
        head's last token all the same, the head is read again without it.
        """
        from etude.methods.semcsr.paired_streams import read_heads
        from etude.models.generation import prefill
        from etude.models.sharing import shared_prefix

        known = self._heads.get(place)
        if known is None:
            probes = self.rows(place, _PROBES)
            heads = [probes[i][: shared_prefix(probes[i : i + len(_PROBES)])] for i in (0, len(_PROBES))]
        else:
            heads = known[0]
        half = len(rows) // 2
        heads = [
            head[: min(_common(head, row) for row in rows[kind * half : (kind + 1) * half])]
            for kind, head in enumerate(heads)
        ]
        if known is None or heads != known[0]:
            read: Heads | list[Any]
            if self.writing.omega > 0:
                read = read_heads(self.lm, heads)
            else:
                read = [prefill(self.lm, head) if head else None for head in heads]
            self._heads[place] = heads, read
        return self._heads[place]


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Number of leading tokens that both share."""
    return next(
        (i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


class ChatWriter:
    """A chat model, served or scripted; replies are kept in the response store.

    Args:
        writing: How it writes.
    """

    def __init__(self, writing: Writing) -> None:
        self.writing = writing
        self.failures = 0

    @cached_property
    def chat(self) -> StoredChat:
        """The chat model."""
        writing = self.writing
        return chat_model(writing.lm, base_url=writing.base_url, max_connections=writing.max_connections)

    def write(self, sentences: Sequence[str]) -> list[Written]:
        """Ask in groups of `max_connections`; a group that the provider fails is marked, not lost.

        Raises:
            EtudeError: Three groups in a row failed: the provider is gone.
        """
        size = max(1, self.writing.max_connections)
        groups = [sentences[start : start + size] for start in range(0, len(sentences), size)]
        return [one for group in groups for one in self._ask(group)]

    def _ask(self, sentences: Sequence[str]) -> list[Written]:
        writing = self.writing
        places = [writing.prompts.place(sentence, writing.seed) for sentence in sentences]
        asked: list[Any] = [
            [{"role": "user", "content": writing.prompts.prompt(kind, place, sentence)}]
            for kind in KINDS
            for place, sentence in zip(places, sentences, strict=True)
        ]
        try:
            replies = self.chat.generate(asked, max_tokens=writing.max_tokens)
        except EtudeError:
            self.failures += 1
            if self.failures >= _FAILURES:
                raise
            return [Written(place, "", "", "failed") for place in places]
        self.failures = 0
        stops = [reply.stop_reason for reply in replies]
        texts = [None if reply.stop_reason == "length" else reply.text for reply in replies]
        found = gather(places, texts)
        count = len(places)
        return [
            Written(one.place, "", "", "failed")
            if {stops[i], stops[i + count]} & {"error", "refused"}
            else one
            for i, one in enumerate(found)
        ]
