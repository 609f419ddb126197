"""`evaluate`: a trained scorer, cosines, or a prompted chat model, on analogy questions, by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etude.data import write_records
from etude.errors import EtudeError
from etude.evidence import Interval, wilson_interval
from etude.methods import verb
from etude.methods.analogykb.analogy_questions import (
    AnalogyQuestion,
    GenerationItem,
    is_generation,
    read_items,
    read_questions,
)
from etude.methods.analogykb.grouped_accuracy import Accuracy, accuracy_of, answers, groups_of, hit_at
from etude.methods.analogykb.leakage import folded
from etude.methods.analogykb.pair_scorer import PairScorer
from etude.methods.analogykb.prompted import generated_terms, prompted_answers
from etude.methods.analogykb.scorers import SETTINGS, CosineScorer
from etude.models import chat_model

if TYPE_CHECKING:
    from rich.console import RenderableType

COSINE = "cosine"


@dataclass(frozen=True)
class Hits:
    """How often a generated word is right.

    Args:
        name: The set.
        items: How many.
        hit: Hit@k with its 95 % interval, by k.
    """

    name: str
    items: int
    hit: dict[int, Interval]


@dataclass(frozen=True)
class EvaluateResult:
    """Accuracy by set and group, and Hit@k of generation sets.

    Args:
        model: What answered.
        rows: One for each set and, if asked for, each group.
        hits: One for each generation set.
        notices: What a reader should know.
        answers: The file with every answer, if it was asked for.
    """

    model: str
    rows: tuple[Accuracy, ...]
    hits: tuple[Hits, ...]
    notices: tuple[str, ...]
    answers: str | None

    def __rich__(self) -> RenderableType:
        """The tables."""
        from rich.console import Group

        from etude.render import TableBlock, Text, show

        parts = []
        if self.rows:
            lines = [
                (r.name, r.group or "all", r.questions, r.accuracy.value,
                f"{r.accuracy.low:.3f} to {r.accuracy.high:.3f}",
                 r.chance, ", ".join(map(str, r.positions)), r.unanswered)
                for r in self.rows
            ]  # fmt: skip
            columns = (
                "test", "group", "questions", "accuracy", "95 % interval", "chance", "places "
                "chosen", "unanswered",
            )  # fmt: skip
            parts.append(show(TableBlock(columns, lines, f"Recognition by {self.model}")))
        if self.hits:
            lines2 = [(h.name, h.items, k, str(hit)) for h in self.hits for k, hit in h.hit.items()]
            parts.append(
                show(TableBlock(("test", "items", "k", "Hit@k"), lines2, f"Generation by {self.model}"))
            )
        parts += [show(Text(f"Note: {notice}")) for notice in self.notices]
        return Group(*parts)


@verb
def evaluate(
    model: str,
    questions: tuple[Path, ...],
    *,
    by_group: bool = False,
    demonstrations: Path | None = None,
    shots: int = 0,
    logprob: bool = False,
    k: Sequence[int] = (1, 5),
    limit: int | None = None,
    base_url: str | None = None,
    max_connections: int = 8,
    seed: int = 0,
    out: Path | None = None,
) -> EvaluateResult:
    """Measure how well a model recognizes (or completes) analogies.

    Args:
        model: A folder that train wrote; cosine (or cosine:ENCODER), the untrained scorer; or a chat model
            (smollm2, openai/MODEL, inspect/PROVIDER/MODEL), which is prompted with lettered choices.
        questions: Files with stem, choice, answer, group (or prefix); or generation items with accepted.
        by_group: Also for each group of a file.
        demonstrations: Questions to show a chat model first, e.g. mined ones.
        shots: How many of them.
        logprob: Read a chat model's log-probabilities of the letters instead of its answer.
        k: For generation: Hit@k for each.
        limit: Only the first so many of each file.
        base_url: Address of an OpenAI-compatible server.
        max_connections: Calls under way at once.
        seed: Of the choice of demonstrations.
        out: Write every answer as JSONL.

    Raises:
        EtudeError: Bad questions, no such model, or a demonstration that is a test question.
    """
    if not questions:
        raise EtudeError("no file of questions", "Give one or more, e.g. test.jsonl.")
    scorer = _scorer(model)
    rows: list[Accuracy] = []
    hits: list[Hits] = []
    notices: list[str] = []
    records: list[dict[str, Any]] = []
    chat = None
    if scorer is None:
        chat = chat_model(model, base_url=base_url, max_connections=max_connections)
    for source in questions:
        if is_generation(source):
            items = read_items(source)[:limit]
            most = max(k)
            if chat is not None:
                shown_items = (
                    _chosen(read_items(demonstrations), shots, seed) if demonstrations and shots else []
                )
                words = generated_terms(chat, items, shown_items, most, seed)
            else:
                words = _generate(scorer, model, items, most)
            found = {n: wilson_interval(sum(hit_at(items, words, n)), len(items)) for n in sorted(set(k))}
            hits.append(
                Hits(source.name, len(items), {n: hit for n, hit in found.items() if hit is not None})
            )
            records += [
                {"test": source.name, **i.model_dump(), "generated": w}
                for i, w in zip(items, words, strict=True)
            ]
            continue
        asked = read_questions(source)[:limit]
        notices += _notices(source, asked)
        if chat is not None:
            shown = _demonstrations(demonstrations, shots, seed, asked)
            chosen = prompted_answers(chat, asked, shown, logprob=logprob)
        else:
            assert scorer is not None
            chosen = list(answers(scorer, asked))
        rows.append(accuracy_of(source.name, asked, chosen))
        if by_group:
            rows += groups_of(source.name, asked, chosen)
        records += [
            {"test": source.name, **q.model_dump(), "chosen": c} for q, c in zip(asked, chosen, strict=True)
        ]
    if out is not None:
        write_records(out, records)
    return EvaluateResult(model, tuple(rows), tuple(hits), tuple(notices), None if out is None else str(out))


def _scorer(model: str) -> Any:
    """A trained or an untrained scorer; None when the name is a chat model's."""
    if model == COSINE or model.startswith(f"{COSINE}:"):
        return CosineScorer(model.partition(":")[2] or "minilm")
    if any((Path(model) / place / SETTINGS).is_file() for place in (".", "scorer")):
        return PairScorer.load(model).scorer
    return None


def _generate(scorer: Any, model: str, items: Sequence[GenerationItem], k: int) -> list[list[str]]:
    if not hasattr(scorer, "generate"):
        raise EtudeError(
            f"{model} scores choices and cannot generate", "Give a seq2seq scorer or a chat model."
        )
    found: list[list[str]] = scorer.generate(items, k)
    return found


def _demonstrations(
    source: Path | None, shots: int, seed: int, asked: Sequence[AnalogyQuestion]
) -> list[AnalogyQuestion]:
    if source is None or shots == 0:
        return []
    shown = _chosen(read_questions(source), shots, seed)
    tested = {frozenset(map(folded, pair)) for q in asked for pair in (q.stem, q.choice[q.answer])}
    leaked = [
        q.stem
        for q in shown
        for pair in (q.stem, q.choice[q.answer])
        if frozenset(map(folded, pair)) in tested
    ]
    if leaked:
        raise EtudeError(
            f"{source}: the demonstration {' : '.join(leaked[0])} is in the test",
            "Make demonstrations with: etude analogykb questions KB --exclude TEST.",
        )
    return shown


def _chosen(given: list[Any], shots: int, seed: int) -> list[Any]:
    if shots > len(given):
        raise EtudeError(f"{shots} shots of {len(given)} demonstrations", "Ask for fewer shots.")
    return [given[i] for i in np.random.default_rng(seed).choice(len(given), size=shots, replace=False)]


def _notices(source: Path, asked: Sequence[AnalogyQuestion]) -> list[str]:
    found = []
    if twice := sum(len(set(q.choice)) < len(q.choice) for q in asked):
        found.append(
            f"{source.name}: {twice} questions have a wrong choice twice; chance is a little higher there."
        )
    if inside := sum(bool(set(q.stem) & {w for p in q.choice for w in p}) for q in asked):
        found.append(f"{source.name}: in {inside} questions a word of the stem is in a choice.")
    if len(counts := {len(q.choice) for q in asked}) > 1:
        found.append(f"{source.name}: questions have {min(counts)} to {max(counts)} choices.")
    return found
