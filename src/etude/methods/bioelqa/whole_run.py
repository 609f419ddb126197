"""`run`: train, evaluate, and one page that shows both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from etude.methods import verb
from etude.methods.bioelqa.linking import read_links
from etude.methods.bioelqa.scoring import EvaluateResult, evaluate
from etude.methods.bioelqa.selectors import SelectorName
from etude.methods.bioelqa.slices import COLUMNS, SliceResult
from etude.methods.bioelqa.training import TrainResult, train
from etude.render import Block, Figure, TableBlock, Text, new_figure, save_page

_SHOWN = 25


@dataclass(frozen=True)
class RunResult:
    """Training, evaluation and their page."""

    training: TrainResult
    evaluation: EvaluateResult
    page: str

    def __rich__(self) -> Any:
        """Both, and where the page lies."""
        from rich.console import Group

        return Group(self.training.__rich__(), self.evaluation.__rich__(), f"page: {self.page}")


@verb
def run(
    corpus: tuple[Path, ...],
    *,
    vocab: str,
    test: Path,
    selector: SelectorName | Literal["none"] = "features",
    model: str | None = None,
    retriever: str = "tfidf",
    options: int = 10,
    clues: int = 3,
    clue_mask: float = 0.3,
    abstain: bool = False,
    orders: int = 1,
    slices: str = "unseen-mention,unseen-id,rare",
    fix_offsets: bool = False,
    seed: int = 0,
    out: Path,
) -> RunResult:
    """Train on a corpus, evaluate on another one, and write a page; resumes after a kill.

    Args:
        corpus: PubTator files to train on.
        vocab: A vocabulary (.tsv, .jsonl, .obo, hpo), or an index.
        test: A PubTator file, or rows with mention and id, that shares no document with the corpus.
        selector: features, encoder, seq2seq, causal, prompted, or none.
        model: Of the selector.
        retriever: tfidf, or an encoder.
        options: N, candidates that are shown.
        clues: k, solved cases that are shown.
        clue_mask: Share of training questions whose gold id is hidden.
        abstain: Offer "none of these".
        orders: Average over so many orders of the options.
        slices: Of unseen-mention, unseen-id, rare.
        fix_offsets: Look for misplaced mentions up to 20 characters around.
        seed: Of masking, orders, weights.
        out: Folder: the linker in `train/model`, links and evaluation in `test`, and report.html.

    Raises:
        EtudeError: As `train` and `evaluate`.
    """
    trained = train(
        corpus, vocab=vocab, selector=selector, model=model, retriever=retriever, options=options,
        clues=clues, clue_mask=clue_mask, abstain=abstain, orders=orders, fix_offsets=fix_offsets, seed=seed,
        out=out / "train",
    )  # fmt: skip
    found = evaluate(out / "train", test, slices=slices, fix_offsets=fix_offsets, out=out / "test")
    page = write_page(out / "report.html", trained, found, read_links(out / "test" / "links.jsonl"))
    return RunResult(trained, found, str(page))


def write_page(
    path: Path, trained: TrainResult, found: EvaluateResult, links: Sequence[dict[str, Any]]
) -> Path:
    """The report: slices with their figure, denominators, some links with options and clues, errors."""
    facts: list[tuple[str, float]] = [("solved cases", trained.cases), ("vocabulary", trained.entities)]
    facts += [(f"left out, {why}", n) for why, n in trained.left_out.items() if n]
    facts += [(name, value) for name, value in trained.training.items() if isinstance(value, int | float)]
    denominators = [(d.name, d.count, d.retriever, d.linker, d.strict) for d in found.denominators]
    slices: list[Block] = [
        Text(
            "Unique (mention, ids) pairs whose ids the vocabulary has. The retriever is the linker's own "
            "first candidate; wins are pairs that only the linker got right."
        ),
        Figure(slice_figure(found.slices), "Accuracy of retriever and linker on every slice"),
        TableBlock(COLUMNS, [s.cells() for s in found.slices]),
    ]
    examples = [
        (
            row["mention"],
            row["name"] or "abstained",
            row["score"],
            "; ".join(f"{o['name']} ({o['probability']:.2f})" for o in row["options"][:3]),
            "; ".join(f"{c['mention']} → {c['name']}" for c in row["clues"][:2]),
        )
        for row in list({row["mention"].lower(): row for row in links}.values())[:_SHOWN]
    ]
    return save_page(
        path,
        "bioelqa: entity linking as multiple choice",
        [
            ("Slices", slices),
            (
                "Every denominator",
                [
                    TableBlock(("mentions", "count", "retriever", "linker", "linker, strict"), denominators,
                               "A composite mention counts as right when any of its ids is linked; strict: "
                               "all of them"),
                    Text(f"{found.unknown:,} mentions have an id that the vocabulary lacks; "
                         f"{found.abstained[0]:,} have no link, {found.abstained[1]:,} of them rightly."),
                ],
            ),
            ("Links", [TableBlock(("mention", "link", "score", "best options", "nearest cases"), examples)]),
            ("Wrong links", [TableBlock(("mention", "gold", "link"), found.errors)]),
            ("Training", [TableBlock(("what", "value"), facts)]),
        ],
    )  # fmt: skip


def slice_figure(slices: Sequence[SliceResult]) -> Any:
    """Accuracy with Wilson's intervals, retriever beside linker, and the oracle above."""
    figure, axes = new_figure()
    for offset, label in ((-0.15, "retriever"), (0.15, "linker")):
        for place, one in enumerate(slices):
            interval = getattr(one, label)
            if interval is None:
                continue
            error = [[interval.value - interval.low], [interval.high - interval.value]]
            axes.errorbar(place + offset, interval.value, yerr=error, fmt="o", capsize=3,
                          color="#0072B2" if label == "retriever" else "#D55E00",
                          label=label if place == 0 else None)  # fmt: skip
    axes.plot(
        range(len(slices)), [s.oracle for s in slices], "_", markersize=22, color="#7F7F7F", label="oracle@N"
    )
    axes.set_xticks(range(len(slices)), [f"{s.name}\n({s.pairs:,})" for s in slices])
    axes.set_ylabel("accuracy")
    axes.legend()
    return figure
