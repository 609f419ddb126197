"""`questions`: recognition or generation sets from a knowledge base, free of the tests' pairs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etude.data import write_records
from etude.methods import verb
from etude.methods.analogykb.analogy_questions import AnalogyQuestion, GenerationItem
from etude.methods.analogykb.knowledge_base import AnalogyKB
from etude.methods.analogykb.prompted import solved
from etude.methods.analogykb.question_sets import Split, make_items, make_questions
from etude.methods.analogykb.sampling import Negatives, Partner

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class QuestionsResult:
    """A question set that was written.

    Args:
        out: The file.
        questions: How many.
        removed: Pairs that were not used because an excluded test has them.
        eligible: Pairs that could be drawn.
        relations: Relations they are of.
        positions: How often the right choice stands at each place (recognition).
        examples: The first few, as text.
    """

    out: str
    questions: int
    removed: int
    eligible: int
    relations: int
    positions: tuple[int, ...]
    examples: tuple[str, ...]

    def __rich__(self) -> RenderableType:
        """The facts and a few examples."""
        from rich.console import Group

        from etude.render import TableBlock, Text, show

        facts = [
            ("questions", self.questions),
            ("pairs to draw from", self.eligible),
            ("relations", self.relations),
            ("pairs removed, being in a test", self.removed),
        ]  # fmt: skip
        if self.positions:
            facts.append(("right choices at each place", ", ".join(map(str, self.positions))))  # type: ignore[arg-type]
        examples = [(text,) for text in self.examples]
        return Group(
            show(TableBlock(("", "value"), facts)),
            show(TableBlock(("for example",), examples)),
            show(Text(f"The file: {self.out}")),
        )


@verb
def questions(
    kb: Path,
    *,
    out: Path,
    n: int = 6000,
    task: Literal["recognition", "generation"] = "recognition",
    choices: int = 5,
    negatives: Negatives = "random",
    relations: Partner = "same",
    exclude: tuple[Path, ...] = (),
    split: Split = "train",
    sources: Sequence[str] = (),
    common: str | None = None,
    min_pairs: int = 5,
    encoder: str = "minilm",
    shuffle: bool = False,
    chat: bool = False,
    seed: int = 0,
) -> QuestionsResult:
    """Make a question set: a stem pair, choices and the right one; or A, B, C and every right D.

    No wrong choice is true anywhere in the graph, no choice shares a word with the stem, right choices are
    spread evenly over the places, and no pair of an excluded test is used, in either order.

    Args:
        kb: A knowledge base (what mine wrote).
        out: The file: .jsonl or .parquet, in the shape of relbert/analogy_questions.
        n: How many.
        task: recognition (choices) or generation (accepted words).
        choices: Choices of each question.
        negatives: random; nearest draws the most similar wrong pairs, which teaches a scorer that
            similarity is the mark of wrong ones (below chance on SAT): kept to show it.
        relations: Of the right pair: the same as the stem's, an accepted analogous one, or both.
        exclude: Files of test questions whose pairs must not be used.
        split: train, validation, test (a pair of words is in one of them, whatever its relation), or all.
        sources: Only pairs of these sources.
        common: Only pairs of common words: single pieces of this model's vocabulary, e.g. minilm.
        min_pairs: Only relations with so many pairs.
        encoder: Whose vectors say which pairs are nearest.
        shuffle: Deal the relations out anew first: the control that has everything but the relations.
        chat: Also write each as a solved conversation (messages), as evaluate asks chat models: what
            teenytinyllama finetune and other trainers of chat models read.
        seed: Of every draw.

    Raises:
        EtudeError: Nothing is left after exclusion, or too few relations or pairs.
    """
    base = AnalogyKB(kb)
    chosen = {
        "exclude": exclude, "split": split, "sources": sources, "common": common, "min_pairs": min_pairs,
        "seed": seed,
    }  # fmt: skip
    if task == "generation":
        items, removed, eligible, count = make_items(base, n, **chosen)  # type: ignore[arg-type]
        write_records(out, _rows(items, chat))
        shown = [
            f"{i.stem[0]} : {i.stem[1]} = {i.query} : {' | '.join(i.accepted[:4])} ({i.group})"
            for i in items[:5]
        ]
        return QuestionsResult(str(out), len(items), removed, eligible, count, (), tuple(shown))
    made = make_questions(
        base, n, choices=choices, negatives=negatives, relations=relations, encoder=encoder, shuffle=shuffle,
        **chosen,  # type: ignore[arg-type]
    )  # fmt: skip
    write_records(out, _rows(made.questions, chat))
    shown = [
        f"{q.stem[0]} : {q.stem[1]} = {q.choice[q.answer][0]} : {q.choice[q.answer][1]} ({q.group})"
        for q in made.questions[:5]
    ]
    places = Counter(q.answer for q in made.questions)
    return QuestionsResult(
        str(out), len(made.questions), made.removed, made.eligible, made.relations,
        tuple(places[i] for i in range(choices)), tuple(shown),
    )  # fmt: skip


def _rows(made: Sequence[AnalogyQuestion | GenerationItem], chat: bool) -> list[dict[str, Any]]:
    """Rows of the file, with a conversation if it is asked for."""
    return [one.model_dump() | ({"messages": solved(one)} if chat else {}) for one in made]
