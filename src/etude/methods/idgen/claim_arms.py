"""What the arms of the claim do: train on one data set with one scheme, rank all items for all users."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.evidence import Measurement
from etude.methods.idgen.alternation import Alternator, GeneratorTraining
from etude.methods.idgen.backbones import Backbone
from etude.methods.idgen.baselines import item_knn, popularity
from etude.methods.idgen.claim_data import DataSet, corpus
from etude.methods.idgen.constrained_beams import Normalization
from etude.methods.idgen.evaluation import baseline_ranks, numbered
from etude.methods.idgen.leave_one_out import Question
from etude.methods.idgen.preparation import Corpus
from etude.methods.idgen.rank_metrics import gains, hits, rank_metrics, ranks_by_score
from etude.methods.idgen.recommender import GenerativeRecommender
from etude.methods.idgen.recommender_training import Training, fit_recommender
from etude.methods.idgen.sasrec import SASRecSettings, tuned_sasrec
from etude.methods.idgen.setup import Setup, start_alternation, start_recommender
from etude.methods.idgen.templates import own_templates
from etude.runs import Run

COLD = "HR@10, cold targets"
COLD_ONLY = "HR@10, among cold items"
_CHOOSERS = 600  # validation questions that choose how beams are scored


@dataclass(frozen=True)
class Budget:
    """What every trained arm gets.

    Args:
        backbone: The language model.
        training: Of the recommender.
        beams: Of the search.
        sasrec: Settings that validation chooses from.
        rounds: Of alternation.
        round_epochs: Passes of the recommender in a round.
        tune: Training of the generator in a round.
        taught_epochs: Passes of the tiny generator's lessons.
        generator: What writes ids, and what alternation tunes.
    """

    backbone: str
    training: Training
    beams: int
    sasrec: tuple[SASRecSettings, ...]
    rounds: int
    round_epochs: int
    tune: GeneratorTraining
    taught_epochs: int
    generator: str = "keywords"


def scheme_arm(data: DataSet, scheme: str, budget: Budget) -> Callable[[int], Measurement]:
    """A recommender on the ids of a scheme; a seed draws weights, order and random ids."""

    def run(seed: int) -> Measurement:
        began, found = time.process_time(), corpus(data)
        recommender = start_recommender(found, _setup(scheme, budget, seed), data.ids)
        with tempfile.TemporaryDirectory() as folder:
            trained = fit_recommender(
                recommender,
                found.split.train,
                replace(budget.training, seed=seed),
                templates=_templates(recommender.backbone),
                out=Path(folder),
            )
        return _measure(data, recommender, budget, began, {"training loss": trained.loss})

    return run


def alternation_arm(data: DataSet, budget: Budget, *, frozen: bool) -> Callable[[int], Measurement]:
    """Rounds with ids written anew, or with those of phase 0: the same generator, epochs and restarts."""

    def run(seed: int) -> Measurement:
        began, found = time.process_time(), corpus(data)
        recommender, generator = _phase_zero(data, budget, seed)
        with tempfile.TemporaryDirectory() as folder:
            alternator = Alternator(
                generator,
                recommender,
                found.items,
                found.split,
                _templates(recommender.backbone),
                budget.tune,
                replace(budget.training, epochs=budget.round_epochs, seed=seed),
                frozen=frozen,
            )
            with Run(Path(folder) / "rounds", {}, command="idgen alternation") as steps:
                reports = alternator.run(steps, budget.rounds)
        rounds = [
            [one.round, one.changed, one.generator_loss, one.recommender_loss, one.validation["NDCG@10"]]
            for one in reports
        ]
        return _measure(data, alternator.rec, budget, began, {"rounds": rounds})

    return run


def baseline_arm(data: DataSet, name: str, budget: Budget) -> Callable[[int], Measurement]:
    """`SASRec`, `item-kNN` or `popularity` on the same histories."""

    def run(seed: int) -> Measurement:
        began, found, facts = time.process_time(), corpus(data), {}
        train = numbered(found, [history.items for history in found.split.train])
        if name == "SASRec":
            asked = numbered(found, [question.history for question in found.split.validation])
            (next_items,) = numbered(found, [[question.target for question in found.split.validation]])
            with tempfile.TemporaryDirectory() as folder:
                scorer, tried = tuned_sasrec(
                    train,
                    len(found.items),
                    (asked, next_items),
                    out=Path(folder),
                    seed=seed,
                    grid=budget.sasrec,
                )
            facts = {"chosen": tried["chosen"], "tried": len(tried["tried"])}
        else:
            scorer = (item_knn if name == "item-kNN" else popularity)(train, len(found.items))
        ranks = baseline_ranks(scorer, found, found.split.test)
        cold, users = _cold(found)
        histories = numbered(found, [question.history for question in users])
        among: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        if users:
            columns = numbered(found, [sorted(cold)])[0]
            (targets,) = numbered(found, [[question.target for question in users]])
            places = [columns.index(target) for target in targets]
            among = ranks_by_score(places, scorer(histories)[:, columns])
        return _measurement(data, found, ranks, among, began, facts)

    return run


def _setup(scheme: str, budget: Budget, seed: int) -> Setup:
    return Setup(
        scheme=scheme,
        generator=budget.generator,
        backbone=budget.backbone,
        templates=tuple(own_templates(user_ids=False)),
        seed=seed,
        taught_epochs=budget.taught_epochs,
        text_tokens=budget.tune.text_tokens,
    )


def _templates(backbone: Backbone) -> tuple[Any, ...]:
    return tuple(own_templates(user_ids=False)) if backbone.is_seq2seq else ()


def _phase_zero(data: DataSet, budget: Budget, seed: int) -> tuple[GenerativeRecommender, Backbone]:
    """The generator and its ids, the same for all seeds, and a recommender that the seed has drawn."""
    first, generator = _taught(data, budget)
    own = start_recommender_on(first, _setup("textual", budget, seed))
    return own, copy.deepcopy(generator)


@cache
def _taught(data: DataSet, budget: Budget) -> tuple[GenerativeRecommender, Backbone]:
    with tempfile.TemporaryDirectory() as folder:
        return start_alternation(corpus(data), _setup("textual", budget, 0), out=Path(folder))


def start_recommender_on(first: GenerativeRecommender, setup: Setup) -> GenerativeRecommender:
    """A fresh recommender with the vocabulary and ids of another one."""
    if not setup.is_tiny:
        return replace(first, backbone=copy.deepcopy(first.backbone))
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setup.seed)
        model = type(first.backbone.model)(first.backbone.model.config)
    return replace(first, backbone=Backbone(model, first.backbone.tokenizer))


def _measure(
    data: DataSet, recommender: GenerativeRecommender, budget: Budget, began: float, facts: Mapping[str, Any]
) -> Measurement:
    """Choose the scoring of beams on validation questions, then rank the test items."""
    found = corpus(data)
    order = np.random.default_rng(0).permutation(len(found.split.validation))[:_CHOOSERS]
    some = [found.split.validation[place] for place in order]
    scored: dict[Normalization, float] = {
        how: rank_metrics(replace(recommender, normalize=how).ranks(some, beams=budget.beams))["NDCG@10"]
        for how in ("allowed", "vocabulary")
    }
    best: Normalization = "allowed" if scored["allowed"] >= scored["vocabulary"] else "vocabulary"
    chosen = replace(recommender, normalize=best)
    ranks = chosen.ranks(found.split.test, beams=budget.beams)
    cold, users = _cold(found)
    among = np.zeros(0, dtype=np.int64)
    if users:
        among = chosen.among(sorted(cold)).ranks(users, k=min(10, len(cold)), beams=budget.beams)
    return _measurement(data, found, ranks, among, began, {**facts, "beams scored": best})


def _cold(found: Corpus) -> tuple[list[str], list[Question]]:
    """Items without a training event, and the questions whose target is one of them."""
    counts = found.split.train_counts
    cold = [item for item in found.items if counts[item] == 0]
    users = [question for question in found.split.test if counts[question.target] == 0]
    return (cold, users) if len(cold) > 10 else ([], [])


def _measurement(
    data: DataSet,
    found: Corpus,
    ranks: NDArray[np.int64],
    among: NDArray[np.int64],
    began: float,
    facts: Mapping[str, Any],
) -> Measurement:
    names = [f"{data.name}/{question.user_id}" for question in found.split.test]
    _, users = _cold(found)
    cold = {f"{data.name}/{question.user_id}": place for place, question in enumerate(users)}
    values = {name: float(value) for name, value in zip(names, hits(ranks, 10), strict=True)}
    scores: dict[str, dict[str, float]] = {
        "HR@10": values,
        "NDCG@10": {name: float(value) for name, value in zip(names, gains(ranks, 10), strict=True)},
    }
    if cold:
        scores[COLD] = {name: values[name] for name in cold}
        scores[COLD_ONLY] = {name: float(hits(among, 10)[place]) for name, place in cold.items()}
    at_five = rank_metrics(ranks, (5,))
    return Measurement(scores, {**at_five, **facts, "CPU s": round(time.process_time() - began, 1)})
