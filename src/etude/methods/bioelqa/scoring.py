"""`evaluate`: links against gold over every denominator and slice, beside the retriever's first choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.bioelqa.linker import BioELQA
from etude.methods.bioelqa.linker_folders import linker_hash, load_linker
from etude.methods.bioelqa.linking import read_links, write_links
from etude.methods.bioelqa.mentions import MentionRow, read_mentions
from etude.methods.bioelqa.pubtator import NIL
from etude.methods.bioelqa.slices import COLUMNS, Pair, SliceResult, compare, membership, parse_slices
from etude.render import table
from etude.runs import write_json

_SHOWN = 20


@dataclass(frozen=True)
class Denominator:
    """Accuracy over one set of mentions.

    Args:
        name: Which mentions count.
        count: How many.
        retriever: Share that the retriever's first choice got right: any of the gold ids.
        linker: The same of the linker.
        strict: Of the linker, exactly all gold ids.
    """

    name: str
    count: int
    retriever: float
    linker: float
    strict: float


@dataclass(frozen=True)
class EvaluateResult:
    """How good the links are.

    Args:
        denominators: Over all mentions, those with an id, linkable ones, and unique linkable pairs.
        slices: On unique linkable pairs.
        unknown_ids: Gold ids that the vocabulary lacks, with their mentions, most frequent first.
        unknown: How many mentions have such an id.
        abstained: Mentions without a link, and how many of them have no entry indeed.
        out: Folder of links.jsonl, if one was asked for.
        exports: Inspect logs, if asked for.
        errors: Some wrong links: mention, gold, link.
    """

    denominators: tuple[Denominator, ...]
    slices: tuple[SliceResult, ...]
    unknown_ids: dict[str, int]
    unknown: int
    abstained: tuple[int, int]
    out: str | None = None
    exports: tuple[str, ...] = ()
    errors: tuple[tuple[str, str, str], ...] = ()

    def __rich__(self) -> Any:
        """Both tables."""
        from rich.console import Group

        lines = [
            f"{self.unknown:,} mentions have an id that the vocabulary lacks"
            + (": " + ", ".join(f"{i} ({n})" for i, n in list(self.unknown_ids.items())[:5])
               if self.unknown_ids else ""),
            f"{self.abstained[0]:,} mentions without a link, {self.abstained[1]:,} of them rightly",
            "a composite mention counts as right when any of its ids is linked; strict: all and no other",
        ]  # fmt: skip
        lines += [f"written to {self.out}"] if self.out else []
        lines += [f"inspect view --log-dir {Path(self.exports[0]).parent}"] if self.exports else []
        return Group(self.slice_table(), self.denominator_table(), *lines)

    def slice_table(self) -> Any:
        """Slices, the linker beside the retriever."""
        return table(COLUMNS, [s.cells() for s in self.slices], title="unique linkable pairs")

    def denominator_table(self) -> Any:
        """Accuracy by denominator."""
        rows = [(d.name, d.count, d.retriever, d.linker, d.strict) for d in self.denominators]
        return table(("mentions", "count", "retriever", "linker", "linker, strict"), rows)


@dataclass(frozen=True)
class Judged:
    """One mention with its gold and both answers.

    Args:
        row: The mention.
        names: Its normalized names.
        gold: Its ids.
        linked: The linker's ids.
        first: The retriever's.
        reachable: Whether a gold id was among the options (any of them).
    """

    row: MentionRow
    names: tuple[str, ...]
    gold: tuple[str, ...]
    linked: tuple[str, ...]
    first: tuple[str, ...]
    reachable: bool


@verb
def evaluate(
    model: Path,
    corpus: Path,
    *,
    slices: str = "unseen-mention,unseen-id,rare",
    ci: Literal["bootstrap", "none"] = "bootstrap",
    orders: int | None = None,
    min_score: float | None = None,
    fix_offsets: bool = False,
    export: Literal["inspect"] | None = None,
    out: Path | None = None,
) -> EvaluateResult:
    """Score a linker on mentions with gold ids, beside its own retriever's first choice.

    Args:
        model: What `train` wrote.
        corpus: A PubTator file, or rows with mention and id (several with |, -1 for none).
        slices: Of unseen-mention, unseen-id, rare (at most 2 training mentions), comma-separated.
        ci: Intervals of differences by paired bootstrap, or none.
        orders: Average over so many orders of the options; as trained by default.
        min_score: Abstain below this probability; as trained by default.
        fix_offsets: For PubTator files.
        export: Also write an Inspect log (inspect), to be opened with inspect view; needs --out.
        out: Folder for links.jsonl (a killed evaluation goes on there) and evaluation.json.

    Raises:
        EtudeError: No gold, or test documents that the linker was trained on.
    """
    wanted = parse_slices(slices)
    if export and out is None:
        raise EtudeError("--export inspect without --out", "Give the folder for the log.")
    rows, texts = read_mentions(corpus, fix_offsets=fix_offsets)
    linker = load_linker(model)
    linker.orders = linker.orders if orders is None else orders
    linker.min_score = linker.min_score if min_score is None else min_score
    check_leak(linker, rows)
    rows = [row for row in rows if row.gold is not None]
    if not rows:
        raise EtudeError(f"{corpus}: no mention has a gold id", "Give rows with id, or a PubTator file.")
    judged = judge(linker, rows, texts, None if out is None else out / "links.jsonl", linker_hash(model))
    found = score(linker, judged, wanted, bootstrap=ci == "bootstrap", out=None if out is None else str(out))
    if out is not None:
        write_json(out / "evaluation.json", _without_infinities(asdict(found)))
        if export:
            from etude.methods.bioelqa.inspect_log import write_link_log

            logs = (str(write_link_log(out / "inspect", linker, judged)),)
            found = EvaluateResult(**{**found.__dict__, "exports": logs})
    return found


def check_leak(linker: BioELQA, rows: Sequence[MentionRow]) -> None:
    """Refuse test documents whose mentions are among the solved cases.

    Raises:
        EtudeError: Some are.
    """
    shared = sorted({row.doc for row in rows if row.doc} & linker.trained_documents)
    if shared:
        raise EtudeError(
            f"{len(shared)} test documents are among the training documents: {', '.join(shared[:_SHOWN])}",
            "Their mentions are solved cases of the linker; take them out of one of the two.",
        )


def judge(
    linker: BioELQA,
    rows: Sequence[MentionRow],
    texts: dict[str, str],
    links: Path | None = None,
    identity: str = "",
) -> list[Judged]:
    """Both answers to every mention.

    Args:
        linker: Fitted.
        rows: With gold.
        texts: Document id to text.
        links: Where links are written (and taken from after a kill).
        identity: The linker's hash, for `links`.
    """
    retriever = BioELQA(
        linker.retriever, False, **asdict(linker.settings), preprocessing=linker.preprocessing
    )
    retriever.base = linker.base
    if links is None:
        ids = [link.id for link in linker.link_rows(rows, texts)]
    else:
        write_links(linker, rows, texts, links, top=5, identity=identity)
        ids = [row["id"] for row in read_links(links)]
    first = retriever.link_rows(rows, texts)
    return [
        Judged(
            row=row,
            names=linker.preprocessing.names(row, texts.get(row.doc, row.context)),
            gold=row.gold or (),
            linked=tuple(id.split("|")) if id else (),
            first=tuple(by_retriever.id.split("|")) if by_retriever.id else (),
            reachable=bool(set(row.gold or ()) & {option.id for option in by_retriever.options}),
        )
        for row, id, by_retriever in zip(rows, ids, first, strict=True)
    ]


def score(
    linker: BioELQA,
    judged: Sequence[Judged],
    slices: Sequence[Any],
    *,
    bootstrap: bool = True,
    out: str | None = None,
) -> EvaluateResult:
    """Accuracies over every denominator and slice."""
    assert linker.base is not None
    vocabulary = linker.base.vocabulary
    linkable = [j for j in judged if j.gold and all(id in vocabulary for id in j.gold)]
    pairs = list({Pair(j.names, j.gold): j for j in linkable if any(j.names)}.items())
    sets = (
        ("all", list(judged)),
        ("with an id", [j for j in judged if j.gold]),
        ("linkable", linkable),
        ("unique linkable pairs", [j for _, j in pairs]),
    )
    inside = membership(linker.base)
    results = []
    for name in slices:
        kept = [j for pair, j in pairs if inside[name](pair)]
        results.append(
            compare(name, [_any(j.first, j.gold) for j in kept], [_any(j.linked, j.gold) for j in kept],
                    [j.reachable for j in kept], bootstrap=bootstrap)
        )  # fmt: skip
    unknown: dict[str, int] = {}
    for j in judged:
        for id in j.gold:
            if id not in vocabulary:
                unknown[id] = unknown.get(id, 0) + 1
    silent = [j for j in judged if not j.linked]
    wrong = [j for _, j in pairs if not _any(j.linked, j.gold)]
    return EvaluateResult(
        denominators=tuple(_denominator(name, kept) for name, kept in sets),
        slices=tuple(results),
        unknown_ids=dict(sorted(unknown.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN]),
        unknown=sum(any(id not in vocabulary for id in j.gold) for j in judged),
        abstained=(len(silent), sum(not j.gold for j in silent)),
        out=out,
        errors=tuple((j.row.mention, "|".join(j.gold), "|".join(j.linked) or NIL) for j in wrong[:50]),
    )


def _any(answer: Sequence[str], gold: Sequence[str]) -> bool:
    """Any-of: some gold id was given; a mention without an entry is right when none was."""
    return bool(set(answer) & set(gold)) if gold else not answer


def _denominator(name: str, kept: Sequence[Judged]) -> Denominator:
    count = max(1, len(kept))
    return Denominator(
        name,
        len(kept),
        sum(_any(j.first, j.gold) for j in kept) / count,
        sum(_any(j.linked, j.gold) for j in kept) / count,
        sum(set(j.linked) == set(j.gold) for j in kept) / count,
    )


def _without_infinities(value: Any) -> Any:
    from etude.evidence.evidence import finite

    return finite(value)
