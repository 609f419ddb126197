"""The verb `evaluate`: full ranking on leave-one-out questions, against SASRec, popularity and item-kNN."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.idgen.baselines import Scorer, item_knn, popularity
from etude.methods.idgen.leave_one_out import Part, Question
from etude.methods.idgen.rank_metrics import rank_metrics, ranks_by_score
from etude.methods.idgen.recommender import GenerativeRecommender
from etude.methods.idgen.sasrec import tuned_sasrec
from etude.render import table
from etude.runs import read_json, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType

    from etude.methods.idgen.preparation import Corpus

BASELINES = ("sasrec", "pop", "itemknn")
_SEEDED = ("sasrec",)


@dataclass(frozen=True)
class EvaluateResult:
    """Metrics of the recommender and of baselines on the same questions.

    Args:
        run: The recommender's folder.
        part: `test`, or `validation`.
        users: How many questions.
        cold: Questions whose target has no training event.
        arms: Arm to metric to its mean over users and seeds.
        spread: Arm to metric to the standard deviation over seeds, where there are several.
        seeds: Of seeded arms.
        filter_seen: Whether items of the history were left out (the paper's figures do not).
        fewer_than_k: Lists of the recommender with fewer than k items.
        repeated: Share of targets that are in their own history; with `filter_seen` they cannot be found.
        protocol: `paper` where user ids were made from whole histories.
    """

    run: str
    part: Part
    users: int
    cold: int
    arms: dict[str, dict[str, float]]
    spread: dict[str, dict[str, float]]
    seeds: list[int]
    filter_seen: bool
    fewer_than_k: int
    repeated: float
    protocol: str

    def __rich__(self) -> RenderableType:
        """One row an arm."""
        from rich.console import Group

        names = list(next(iter(self.arms.values())))
        title = f"{self.part}, {self.users:,} users, all items ranked"
        title += ", seen items left out" if self.filter_seen else ""
        rows = [[arm, *(metrics[name] for name in names)] for arm, metrics in self.arms.items()]
        parts: list[Any] = [table([title, *names], rows)]
        if len(self.seeds) > 1:
            spread = [[arm, *(one[name] for name in names)] for arm, one in self.spread.items()]
            parts.append(table([f"standard deviation over {len(self.seeds)} seeds", *names], spread))
        notes = [f"{self.cold} targets have no training event, {self.repeated:.1%} repeat an item."]
        if self.fewer_than_k:
            notes.append(f"{self.fewer_than_k} lists are shorter than k.")
        if self.protocol == "paper":
            notes.append("Protocol paper: user ids know the test item; compare with protocol clean.")
        return Group(*parts, " ".join(notes))


@verb
def evaluate(
    run: Path,
    *,
    part: Part = "test",
    k: str = "5,10",
    beams: int = 20,
    filter_seen: bool = False,
    against: str = "sasrec,pop,itemknn",
    seeds: int = 1,
    held_back_wording: bool = False,
    out: Path | None = None,
) -> EvaluateResult:
    """Rank all items for each user's last one, and compare with baselines trained on the same histories.

    SASRec is trained with the full softmax and tuned on validation items; it is slow for large catalogues.

    Args:
        run: Folder that `etude idgen train` wrote.
        part: test, or validation.
        k: Lengths of the list, comma-separated.
        beams: Beams of the search, at least the largest k.
        filter_seen: Leave out the items of each history.
        against: Baselines, comma-separated: sasrec, pop, itemknn; none for none.
        seeds: Train this many in all, with the seeds that follow the run's own, and show the spread.
        held_back_wording: Ask in the wording that training never saw (models with an encoder).
        out: JSON to write; metrics-PART.json in the run's folder by default. Each user's ranks go beside it.

    Raises:
        EtudeError: The folder holds no recommender, or a name or number is wrong.
    """
    from etude.methods.idgen.training_runs import corpus_of, train_again

    ks = parse_ks(k)
    names = parse_baselines(against)
    if seeds < 1:
        raise EtudeError(f"--seeds {seeds}", "Give 1 or more.")
    corpus, own_seed = corpus_of(run), int(read_json(run / "run.json")["config"]["setup"]["seed"])
    used = [own_seed + number for number in range(seeds)]
    questions = corpus.split.questions(part)
    ranks: dict[str, list[NDArray[np.int64]]] = {}
    short = 0
    for seed in used:
        folder = run if seed == own_seed else train_again(run, seed)
        recommender = GenerativeRecommender.load(folder)
        if held_back_wording:
            if recommender.held_back is None:
                raise EtudeError(
                    f"{run}: no wording was held back", "Only models with an encoder read wordings."
                )
            recommender = replace(recommender, template=recommender.held_back)
        found, missing = generative_ranks(recommender, questions, max(ks), beams, filter_seen)
        ranks.setdefault("idgen", []).append(found)
        short += missing
    for name in names:
        for seed in used if name in _SEEDED else used[:1]:
            scorer, _ = baseline(name, corpus, out=run / "baselines" / f"{name}-{seed}", seed=seed)
            ranks.setdefault(name, []).append(baseline_ranks(scorer, corpus, questions, filter_seen))
    metrics = {arm: [rank_metrics(one, ks) for one in each] for arm, each in ranks.items()}
    counts = corpus.split.train_counts
    result = EvaluateResult(
        run=str(run),
        part=part,
        users=len(questions),
        cold=sum(counts[question.target] == 0 for question in questions),
        arms={arm: _over_seeds(each, np.mean) for arm, each in metrics.items()},
        spread={
            arm: _over_seeds(each, lambda values: np.std(values, ddof=1))
            for arm, each in metrics.items()
            if len(each) > 1
        },
        seeds=used,
        filter_seen=filter_seen,
        fewer_than_k=short,
        repeated=float(np.mean([question.target in question.history for question in questions])),
        protocol=str(read_json(run / "result.json")["protocol"]),
    )
    path = out or run / f"metrics-{part}.json"
    write_json(path, asdict(result))
    rows = (
        {
            "user_id": question.user_id,
            "target": question.target,
            "arm": arm,
            "seed": seed,
            "rank": int(one[place]),
        }
        for arm, each in ranks.items()
        for seed, one in zip(used, each, strict=False)
        for place, question in enumerate(questions)
    )
    write_records(path.with_name(f"{path.stem}-ranks.jsonl"), rows)
    return result


def generative_ranks(
    recommender: GenerativeRecommender,
    questions: Sequence[Question],
    k: int,
    beams: int = 20,
    filter_seen: bool = False,
) -> tuple[NDArray[np.int64], int]:
    """Ranks of the targets, 0 where not among k, and how many lists are shorter than k."""
    found, _ = recommender.search(
        [question.history for question in questions],
        k=k,
        beams=beams,
        filter_seen=filter_seen,
        users=[question.user_id for question in questions],
    )
    return recommender.ranks_in(questions, found), int((found < 0).any(1).sum())


def baseline(name: str, corpus: Corpus, *, out: Path, seed: int = 0) -> tuple[Scorer, Mapping[str, Any]]:
    """A baseline trained on the training histories, and what was tried to tune it.

    Args:
        name: `sasrec`, `pop` or `itemknn`.
        corpus: Histories and items.
        out: Folder for checkpoints.
        seed: Of SASRec.
    """
    train = numbered(corpus, [history.items for history in corpus.split.train])
    items = len(corpus.items)
    if name == "pop":
        return popularity(train, items), {}
    if name == "itemknn":
        return item_knn(train, items), {}
    validation = corpus.split.validation
    histories = numbered(corpus, [question.history for question in validation])
    (targets,) = numbered(corpus, [[question.target for question in validation]])
    return tuned_sasrec(train, items, (histories, targets), out=out, seed=seed)


def baseline_ranks(
    scorer: Scorer, corpus: Corpus, questions: Sequence[Question], filter_seen: bool = False
) -> NDArray[np.int64]:
    """Ranks of the targets among all items, from 1; 0 for a target that was left out."""
    histories = numbered(corpus, [question.history for question in questions])
    (targets,) = numbered(corpus, [[question.target for question in questions]])
    scores = scorer(histories)
    if filter_seen:
        for row, history in enumerate(histories):
            scores[row, history] = -np.inf
    return ranks_by_score(targets, scores)


def numbered(corpus: Corpus, histories: Sequence[Sequence[str]]) -> list[list[int]]:
    """Histories as item numbers, in the order of the sorted item ids."""
    number = {item: place for place, item in enumerate(sorted(corpus.items))}
    return [[number[item] for item in history] for history in histories]


def parse_ks(text: str) -> list[int]:
    """Lengths of the list from text.

    Raises:
        EtudeError: It names none, or one below 1.
    """
    try:
        ks = sorted({int(one) for one in text.split(",")})
    except ValueError as error:
        raise EtudeError(f"--k {text!r}", "Give numbers: 5,10.") from error
    if ks[0] < 1:
        raise EtudeError(f"--k {text!r}", "Give numbers from 1 on.")
    return ks


def parse_baselines(text: str) -> list[str]:
    """Names of baselines from text.

    Raises:
        EtudeError: There is no such baseline.
    """
    names = [] if text == "none" else [one.strip() for one in text.split(",") if one.strip()]
    unknown = [name for name in names if name not in BASELINES]
    if unknown:
        raise EtudeError(f"no baseline {', '.join(unknown)}", f"There are {', '.join(BASELINES)}, and none.")
    return names


def _over_seeds(each: Sequence[Mapping[str, float]], reduce: Callable[[Any], Any]) -> dict[str, float]:
    return {name: float(reduce([one[name] for one in each])) for name in each[0]}
