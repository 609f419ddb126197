"""The verb `zeroshot`: a trained recommender on a catalogue and users that it never saw (section 4.4)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.methods import verb
from etude.methods.idgen.evaluation import (
    baseline,
    baseline_ranks,
    generative_ranks,
    parse_baselines,
    parse_ks,
)
from etude.methods.idgen.items import Missing
from etude.methods.idgen.leave_one_out import Part
from etude.methods.idgen.preparation import read_corpus
from etude.methods.idgen.rank_metrics import rank_metrics
from etude.methods.idgen.recommender import GenerativeRecommender
from etude.methods.idgen.textual_ids import read_ids, write_ids
from etude.methods.idgen.unseen_items import name_catalogue
from etude.render import table
from etude.runs import write_json

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class ZeroshotResult:
    """Metrics on the other catalogue.

    Args:
        run: The recommender's folder.
        part: `test` or `validation`.
        users: How many questions.
        items: Size of the other catalogue.
        known_words: Share of the words of its ids that the recommender's vocabulary had.
        arms: Arm to metric to its mean over users; baselines were trained on the other training part.
        chance: HR of lists drawn at random.
        out: Folder written, if any: ids.tsv and metrics.json.
    """

    run: str
    part: Part
    users: int
    items: int
    known_words: float
    arms: dict[str, dict[str, float]]
    chance: dict[str, float]
    out: str | None = None

    def __rich__(self) -> RenderableType:
        """One row an arm."""
        from rich.console import Group

        names = list(next(iter(self.arms.values())))
        rows: list[list[Any]] = [[arm, *(one[name] for name in names)] for arm, one in self.arms.items()]
        rows.append(["chance", *(self.chance.get(name) for name in names)])
        title = f"{self.part}, {self.users:,} users, {self.items:,} items never trained on"
        note = f"{self.known_words:.0%} of the words of the new ids were in the vocabulary."
        return Group(table([title, *names], rows), note)


@verb
def zeroshot(
    run: Path,
    *,
    items: Path,
    sequences: Path,
    ids: Path | None = None,
    generator: str = "keywords",
    part: Part = "test",
    k: str = "5,10",
    beams: int = 20,
    filter_seen: bool = False,
    against: str = "pop,itemknn",
    missing: Missing = "error",
    i_know: bool = False,
    out: Path | None = None,
) -> ZeroshotResult:
    """Name another catalogue's items and rank them for its users, without any training and without user ids.

    Args:
        run: Folder that `etude idgen train` wrote.
        items: The other catalogue.
        sequences: Its histories.
        ids: Ids of its items; written by the generator by default.
        generator: keywords, t5:DIR or lm:NAME.
        part: test, or validation.
        k: Lengths of the list, comma-separated.
        beams: Beams of the search, at least the largest k.
        filter_seen: Leave out the items of each history.
        against: Baselines, trained on the other training part: pop, itemknn, sasrec, or none.
        missing: Items of histories without a row: error, drop, or title-from-id.
        i_know: Go on with histories that are sorted by item id.
        out: Folder for the ids and the metrics.

    Raises:
        EtudeError: No recommender there, or anything wrong with the other files.
    """
    ks, names = parse_ks(k), parse_baselines(against)
    trained = GenerativeRecommender.load(run)
    corpus = read_corpus(sequences, items, missing=missing, i_know=i_know)
    named = name_catalogue(
        corpus.items,
        trained.backbone,
        ids=None if ids is None else read_ids(ids),
        generator=generator,
    )
    recommender = replace(trained, backbone=named.backbone, ids=named.ids, user_ids={})
    questions = corpus.split.questions(part)
    found, _ = generative_ranks(recommender, questions, max(ks), beams, filter_seen)
    arms = {"idgen, zero-shot": rank_metrics(found, ks)}
    for name in names:
        scorer, _ = baseline(name, corpus, out=(out or run) / "baselines" / f"zeroshot-{name}")
        arms[f"{name}, trained"] = rank_metrics(baseline_ranks(scorer, corpus, questions, filter_seen), ks)
    result = ZeroshotResult(
        run=str(run),
        part=part,
        users=len(questions),
        items=len(corpus.items),
        known_words=named.known_words,
        arms=arms,
        chance={f"HR@{one}": min(1.0, one / len(corpus.items)) for one in ks},
        out=None if out is None else str(out),
    )
    if out is not None:
        write_ids(out / "ids.tsv", named.ids)
        write_json(out / "metrics.json", asdict(result))
    return result
