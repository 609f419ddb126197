"""Scores of each model: overall, by length, and what depth does to them, with intervals over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from etude.evidence.statistics import mean_interval
from etude.methods.counting_stars.answers import STATUSES
from etude.methods.counting_stars.cells import Cell
from etude.methods.counting_stars.depth import DepthEffect, depth_effect
from etude.methods.counting_stars.scoring import Rule
from etude.methods.counting_stars.tables import Answer, tables


@dataclass(frozen=True)
class Score:
    """A mean with its 95 % bootstrap interval over seeds; the ends are None with a single seed."""

    mean: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        """`0.512 [0.480, 0.544]`."""
        return (
            f"{self.mean:.3f}" if self.low is None else f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"
        )


@dataclass(frozen=True)
class ModelSummary:
    """One model on one task and language.

    Args:
        model: Its name.
        task: `search` or `reason`.
        lang: `en` or `zh`.
        rule: The rule of `score`.
        score: Mean credit of all stars.
        chance: Expected score of random numbers.
        by_length: Length asked for to the mean at that length.
        precision: Share of listed numbers that are right.
        recall: Share of right numbers listed.
        f1: Mean F1 of the answers.
        order: Mean Kendall tau of the hits; None if no answer has two.
        exact: Share of answers that list exactly the right set.
        statuses: How many answers were read how.
        depth: What depth does to hits.
        answers: Number of answers.
    """

    model: str
    task: str
    lang: str
    rule: Rule
    score: Score
    chance: float
    by_length: Mapping[int, Score]
    precision: float
    recall: float
    f1: float
    order: float | None
    exact: float
    statuses: Mapping[str, int]
    depth: DepthEffect
    answers: int

    @property
    def unreadable(self) -> float:
        """Share of answers without any number: empty, refused or failed."""
        return sum(self.statuses.get(status, 0) for status in ("empty", "refused", "error")) / self.answers


def summarize(
    cells: Sequence[Cell], answers: Mapping[tuple[str, str], Answer], rule: Rule = "official"
) -> list[ModelSummary]:
    """Summaries of each model, task and language, in the order of the answers."""
    answer_table, star_table = tables(cells, answers)
    column = "score_official" if rule == "official" else "score"
    found = []
    for (model, task, lang), group in answer_table.group_by("model", "task", "lang", maintain_order=True):
        stars = star_table.filter(pl.col("model") == model, pl.col("task") == task, pl.col("lang") == lang)
        found.append(_summary(str(model), str(task), str(lang), rule, column, group, stars))
    return found


def _summary(
    model: str, task: str, lang: str, rule: Rule, column: str, answers: pl.DataFrame, stars: pl.DataFrame
) -> ModelSummary:
    orders = answers["order"].drop_nulls()
    counted = dict(answers["parse_status"].value_counts().iter_rows())
    return ModelSummary(
        model=model,
        task=task,
        lang=lang,
        rule=rule,
        score=_score(stars, column),
        chance=_mean(answers["chance_official" if rule == "official" else "chance"]),
        by_length={
            int(length[0]): _score(group, column)
            for length, group in stars.sort("length").group_by("length", maintain_order=True)
        },
        precision=_mean(answers["precision"]),
        recall=_mean(answers["recall"]),
        f1=_mean(answers["f1"]),
        order=_mean(orders) if len(orders) else None,
        exact=_mean(answers["exact"].cast(pl.Float64)),
        statuses={status: counted[status] for status in STATUSES if status in counted},
        depth=depth_effect(
            stars["hit"].cast(pl.Float64).to_numpy(),
            stars["depth"].to_numpy(),
            stars["length_tokens"].cast(pl.Float64).to_numpy(),
            stars["seed"].to_list(),
        ),
        answers=answers.height,
    )


def _score(stars: pl.DataFrame, column: str) -> Score:
    """Mean over stars; the interval resamples seeds."""
    seeds = stars.group_by("seed").agg(pl.col(column).mean(), pl.len()).sort("seed")
    mean = _mean(stars[column])
    if seeds.height < 2:
        return Score(mean, None, None)
    values, weights = seeds[column].to_numpy(), seeds["len"].to_numpy().astype(float)
    if np.ptp(values) == 0:
        return Score(mean, mean, mean)
    low, high = mean_interval(values[None, :], weights)
    return Score(mean, low, high)


def _mean(values: pl.Series) -> float:
    mean: Any = values.mean()
    return float(mean)
