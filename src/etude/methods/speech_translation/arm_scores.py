"""Arms of a comparison as a person sees them: tables of scores and costs, and quality against cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from etude.render import Figure, TableBlock, new_figure

SETTING = "standard-v1"


@dataclass(frozen=True)
class ArmScore:
    """One arm, over its seeds.

    Args:
        arm: Its name.
        scores: Metric to mean over seeds.
        shuffled: The same with exchanged audio.
        speech_tokens: Per utterance.
        trained: Parameters that were trained, in the last stage.
        real_time_factor: Of translating, greedily or with the beams asked for.
        memory_mb: Peak memory of the process so far.
        failures: Empty, refusing and looping outputs, all seeds.
        difference: Of the first metric to the first arm, with interval and Holm-adjusted p-value.
        notes: What could not be computed.
        other_beams: Number of beams to the scores with it, for those after the first.
    """

    arm: str
    scores: dict[str, float]
    shuffled: dict[str, float]
    speech_tokens: float
    trained: int
    real_time_factor: float
    memory_mb: float
    failures: dict[str, int]
    difference: dict[str, float] | None
    notes: list[str]
    other_beams: dict[str, dict[str, float]] = field(default_factory=dict)


def arms_tables(arms: Sequence[ArmScore]) -> list[TableBlock]:
    """Scores with their differences, and costs with what went wrong; one row per arm."""
    metrics = list(dict.fromkeys(name for arm in arms for name in arm.scores))
    beams = [(beam, metric) for beam in arms[0].other_beams for metric in arms[0].other_beams[beam]]
    scores: list[list[Any]] = []
    costs: list[list[Any]] = []
    for arm in arms:
        gap = arm.difference
        scores.append(
            [
                arm.arm,
                *(arm.scores.get(name) for name in metrics),
                *(arm.other_beams.get(beam, {}).get(metric) for beam, metric in beams),
                arm.shuffled.get(metrics[0]),
                gap["value"] if gap else None,
                f"{gap['low']:.2f} to {gap['high']:.2f}" if gap else "–",
                gap["p"] if gap else None,
            ]
        )
        failures = "/".join(str(arm.failures[kind]) for kind in ("empty", "refusing", "looping"))
        costs.append([arm.arm, arm.speech_tokens, arm.trained, arm.real_time_factor, arm.memory_mb, failures])
    more = [f"{metric}, {beam} beams" for beam, metric in beams]
    told = ["arm", *metrics, *more, f"{metrics[0]}, other audio", "difference", "95 %", "p (Holm)"]
    spent = ["arm", "speech tokens", "trained", "real time", "MB", "empty/refusing/looping"]
    return [
        TableBlock(told, scores, f"{SETTING}, scores: means over seeds"),
        TableBlock(spent, costs, f"{SETTING}, costs: means over seeds; memory so far, failures of all seeds"),
    ]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of points (cost, quality) that no other point beats in both, by rising cost."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front: list[int] = []
    best = -np.inf
    for i in order:
        if points[i][1] > best:
            front.append(i)
            best = points[i][1]
    return front


def pareto_figure(arms: Sequence[ArmScore], metric: str) -> Figure:
    """Quality against speech tokens and against the real-time factor, with the Pareto front."""
    figure, axes = new_figure(width=7.2, ncols=2, sharey=True)
    for axis, cost, label in (
        (axes[0], "speech_tokens", "speech tokens per utterance"),
        (axes[1], "real_time_factor", "seconds per second of audio"),
    ):
        costly = [arm for arm in arms if getattr(arm, cost) > 0]
        points = [(float(getattr(arm, cost)), arm.scores[metric]) for arm in costly]
        front = pareto_front(points)
        axis.plot([points[i][0] for i in front], [points[i][1] for i in front], color="#7F7F7F", zorder=1)
        axis.scatter([p[0] for p in points], [p[1] for p in points], zorder=2)
        for arm, point in zip(costly, points, strict=True):
            axis.annotate(arm.arm, point, textcoords="offset points", xytext=(4, 4), fontsize=8)
        for arm in arms:
            if arm not in costly:  # a cascade has no speech tokens
                axis.axhline(arm.scores[metric], linestyle="--", linewidth=1, color="#7F7F7F")
                place = (0.02, arm.scores[metric])
                axis.annotate(arm.arm, place, xycoords=axis.get_yaxis_transform(), va="bottom", fontsize=8)
        axis.set_xlabel(label)
    axes[0].set_ylabel(metric)
    return Figure(
        figure,
        f"{metric} against cost",
        "The line joins arms that no other beats in both; dashed: without speech tokens.",
    )
