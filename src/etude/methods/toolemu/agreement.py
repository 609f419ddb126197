"""Agreement: judges with each other, and judges with people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any

import numpy as np
from pydantic import BaseModel, Field

from etude.errors import EtudeError
from etude.methods.toolemu.linear import FAILURE_BELOW
from etude.methods.toolemu.trajectories import Score


@dataclass(frozen=True)
class JudgePair:
    """Two judges on the same runs; None where a figure is not defined.

    Args:
        judges: Their names.
        metric: What they scored.
        runs: Runs that both scored.
        unscored: Runs that one of them left unscored.
        incidence: Failures (score below 2) by each.
        agreement: Share of runs with the same failure verdict.
        kappa: Cohen's kappa of the failure verdicts.
        weighted_kappa: Quadratic-weighted kappa of the scores 0 to 3.
        tau_score: Kendall's tau-b of the agents' mean scores.
        tau_incidence: The same of the agents' failure incidences.
    """

    judges: tuple[str, str]
    metric: str
    runs: int
    unscored: int
    incidence: tuple[float, float]
    agreement: float
    kappa: float | None
    weighted_kappa: float | None
    tau_score: float | None
    tau_incidence: float | None


class HumanLabel(BaseModel):
    """One annotator's view of one run: the score 0 to 3, and whether the emulation was realistic."""

    agent: str
    case: str
    annotator: str
    safety: int = Field(ge=0, le=3)
    realistic: bool
    mode: str = "standard"
    seed: int = 0

    @property
    def key(self) -> str:
        """The trajectory's key."""
        return f"{self.agent}|{self.case}|{self.mode}|{self.seed}"


@dataclass(frozen=True)
class HumanAgreement:
    """One judge against the annotators' majority.

    Args:
        judge: The judge.
        runs: Runs with labels and a score.
        unscored: Labeled runs that the judge left unscored.
        realistic: Share of labeled runs without critical issues.
        flagged: Runs that the judge flags as failures.
        identified_precision: Share of them that people confirm, with a realistic run.
        precision: Share of flagged runs that people call failures.
        recall: Share of people's failures that are flagged.
        kappa: Cohen's kappa of the failure verdicts.
        annotators: Mean pairwise kappa of the annotators; None with one.
    """

    judge: str
    runs: int
    unscored: int
    realistic: float
    flagged: int
    identified_precision: float | None
    precision: float | None
    recall: float | None
    kappa: float | None
    annotators: float | None


def score_table(scores: Sequence[Score], metric: str) -> dict[str, dict[str, float | None]]:
    """Judge to run to score: the median over repeats, None where any repeat is unscored."""
    found: dict[str, dict[str, list[int | None]]] = defaultdict(lambda: defaultdict(list))
    for one in scores:
        if one.metric == metric:
            found[one.judge][one.key].append(one.score)
    return {
        judge: {
            key: None if None in values else float(median(v for v in values if v is not None))
            for key, values in by_key.items()
        }
        for judge, by_key in found.items()
    }


def compare_judges(scores: Sequence[Score], first: str, second: str, metric: str = "safety") -> JudgePair:
    """Agreement of two judges on runs that both scored.

    Raises:
        EtudeError: One of them scored nothing, or they share no run.
    """
    table = score_table(scores, metric)
    for judge in (first, second):
        if judge not in table:
            raise EtudeError(
                f"no {metric} scores by {judge!r}", f"There are: {', '.join(sorted(table)) or 'none'}."
            )
    shared = sorted(table[first].keys() & table[second].keys())
    both = [k for k in shared if table[first][k] is not None and table[second][k] is not None]
    if not both:
        raise EtudeError(f"{first} and {second} share no scored run", "Let both judge the same runs.")
    a, b = (np.array([table[j][k] for k in both], dtype=float) for j in (first, second))
    failed = a < FAILURE_BELOW, b < FAILURE_BELOW
    agents = [key.split("|")[0] for key in both]
    return JudgePair(
        judges=(first, second),
        metric=metric,
        runs=len(both),
        unscored=len(shared) - len(both),
        incidence=(float(failed[0].mean()), float(failed[1].mean())),
        agreement=float((failed[0] == failed[1]).mean()),
        kappa=kappa(failed[0], failed[1]),
        weighted_kappa=kappa(np.rint(a), np.rint(b), weights="quadratic"),
        tau_score=_tau(agents, a, b),
        tau_incidence=_tau(agents, failed[0], failed[1]),
    )


def compare_with_people(scores: Sequence[Score], labels: Sequence[HumanLabel], judge: str) -> HumanAgreement:
    """One judge against the majority of annotators (a tie counts as no failure, and as not realistic).

    Raises:
        EtudeError: An annotator labeled a run twice, or no labeled run was scored.
    """
    seen = Counter((label.key, label.annotator) for label in labels)
    twice = next((pair for pair, count in seen.items() if count > 1), None)
    if twice is not None:
        raise EtudeError(f"{twice[1]} labeled {twice[0]} twice", "Keep one row for each annotator and run.")
    by_run: dict[str, list[HumanLabel]] = defaultdict(list)
    for label in labels:
        by_run[label.key].append(label)
    given = score_table(scores, "safety").get(judge, {})
    labeled = [key for key in by_run if key in given]
    runs = [key for key in labeled if given[key] is not None]
    if not runs:
        raise EtudeError(f"{judge} scored none of the labeled runs", "Check agent, case, mode and seed.")
    failed = {key: _majority([label.safety < FAILURE_BELOW for label in by_run[key]]) for key in by_run}
    real = {key: _majority([label.realistic for label in by_run[key]]) for key in by_run}
    flagged = [key for key in runs if (given[key] or 0) < FAILURE_BELOW]
    people = [key for key in runs if failed[key]]
    confirmed = sum(failed[key] and real[key] for key in flagged)
    hits = sum(failed[key] for key in flagged)
    return HumanAgreement(
        judge=judge,
        runs=len(runs),
        unscored=len(labeled) - len(runs),
        realistic=fmean(real.values()),
        flagged=len(flagged),
        identified_precision=confirmed / len(flagged) if flagged else None,
        precision=hits / len(flagged) if flagged else None,
        recall=hits / len(people) if people else None,
        kappa=kappa([k in flagged for k in runs], [failed[k] for k in runs]),
        annotators=_annotator_kappa(by_run),
    )


def kappa(a: Any, b: Any, weights: str | None = None) -> float | None:
    """Cohen's kappa; None where both give everything the same single value, for it is then not defined."""
    from sklearn.metrics import cohen_kappa_score

    a, b = np.asarray(a).astype(int), np.asarray(b).astype(int)
    if len(set(a.tolist()) | set(b.tolist())) < 2:
        return None
    return float(cohen_kappa_score(a, b, weights=weights))


def _tau(agents: Sequence[str], a: np.ndarray, b: np.ndarray) -> float | None:
    from scipy.stats import kendalltau

    names = sorted(set(agents))
    if len(names) < 3:
        return None
    chosen = np.array(agents)
    value = kendalltau([a[chosen == n].mean() for n in names], [b[chosen == n].mean() for n in names])[0]
    return None if np.isnan(value) else float(value)


def _majority(votes: Sequence[bool]) -> bool:
    return 2 * sum(votes) > len(votes)


def _annotator_kappa(by_run: Mapping[str, Sequence[HumanLabel]]) -> float | None:
    people = sorted({label.annotator for labels in by_run.values() for label in labels})
    given = {
        p: {
            key: lab.safety < FAILURE_BELOW
            for key, labels in by_run.items()
            for lab in labels
            if lab.annotator == p
        }
        for p in people
    }
    found = []
    for number, one in enumerate(people):
        for other in people[number + 1 :]:
            shared = sorted(given[one].keys() & given[other].keys())
            value = (
                kappa([given[one][k] for k in shared], [given[other][k] for k in shared]) if shared else None
            )
            found += [] if value is None else [value]
    return fmean(found) if found else None
