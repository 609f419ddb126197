"""From measurements to findings and verdicts. Nothing here knows any method."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from etude.evidence.claim import Check, Claim, Comparison, Contrast, Entry, Verdict
from etude.evidence.evidence import ArmResult, Evidence, Finding, PartFinding
from etude.evidence.statistics import bootstrap_interval, holm, mean_interval, sign_flip_p_value

LEVEL = 0.05


def settle(claim: Claim, evidence: Evidence) -> list[PartFinding]:
    """Settle every entry of every part, with Holm's correction over all comparisons of the claim.

    A comparison holds when its 95 % bootstrap interval lies on the better side of zero and the Holm-adjusted
    permutation p-value is below 0.05 (and, where asked, the mean is better on every seed); it fails when the
    same is true of the worse side; otherwise nothing is shown.

    Args:
        claim: The claim.
        evidence: Its arms' measurements.
    """
    arms = {arm.name: arm for arm in evidence.arms}
    settled = [
        [_settle_entry(entry, claim, arms, evidence) for entry in part.entries] for part in claim.parts
    ]
    tested = [(i, j) for i, row in enumerate(settled) for j, f in enumerate(row) if f.p_value is not None]
    adjusted = holm([settled[i][j].p_value or 0.0 for i, j in tested])
    for (i, j), p in zip(tested, adjusted, strict=True):
        settled[i][j] = _judge_comparison(replace(settled[i][j], p_adjusted=p), claim.parts[i].entries[j])
    return [
        PartFinding(part.name, part.statement, _all_of([f.verdict for f in findings]), findings)
        for part, findings in zip(claim.parts, settled, strict=True)
    ]


def _all_of(verdicts: Sequence[Verdict]) -> Verdict:
    if "fails" in verdicts:
        return "fails"
    return "holds" if verdicts and all(v == "holds" for v in verdicts) else "not shown"


def _settle_entry(entry: Entry, claim: Claim, arms: Mapping[str, ArmResult], evidence: Evidence) -> Finding:
    if isinstance(entry, Check):
        try:
            so, detail = entry.check(evidence)
        except (KeyError, StopIteration, ZeroDivisionError) as error:  # an arm it needs has crashed
            return Finding(
                entry.title, "not shown", "check", detail=f"not measured ({type(error).__name__}: {error})"
            )
        verdict: Verdict = "not shown" if so is None else "holds" if so else "fails"
        return Finding(entry.title, verdict, "check", detail=detail)
    names = entry.arms if isinstance(entry, Contrast) else (entry.arm, entry.baseline)
    kind = "contrast" if isinstance(entry, Contrast) else "comparison"
    used = [arms[name] for name in names]
    incomplete = [arm.name for arm in used if arm.errors or not arm.measurements]
    if incomplete:
        return Finding(
            entry.title, "not shown", kind, detail=f"not measured on every seed: {', '.join(incomplete)}"
        )
    units, dropped = _shared_units(used, entry.metric, entry.units)
    if not units:
        return Finding(entry.title, "not shown", kind, detail="the arms share no unit")
    groups = _groups(units, claim.clusters)
    note = f"{dropped} units that not all arms have were left out" if dropped else ""
    if isinstance(entry, Contrast):
        return _contrast(entry, used, units, groups, claim.seeds, note)
    return _compare(entry, used[0], used[1], units, groups, claim.seeds, note)


def _compare(
    entry: Comparison,
    arm: ArmResult,
    baseline: ArmResult,
    units: Sequence[str],
    groups: list[np.ndarray],
    seeds: Sequence[int],
    note: str,
) -> Finding:
    by_seed = {
        seed: arm.values(entry.metric, units, seed) - baseline.values(entry.metric, units, seed)
        for seed in seeds
    }
    if not (arm.seeded or baseline.seeded):
        by_seed = {seeds[0]: by_seed[seeds[0]]}
    differences = np.array(list(by_seed.values()))
    means = np.stack([differences[:, group].mean(1) for group in groups], axis=1)  # (seeds, groups)
    weights = np.array([float(len(group)) for group in groups])
    low, high = mean_interval(means, weights)
    return Finding(
        statement=entry.title,
        verdict="not shown",
        kind="comparison",
        value=float(differences.mean()),
        low=low,
        high=high,
        p_value=sign_flip_p_value(means.mean(0), weights),
        by_seed={str(seed): float(values.mean()) for seed, values in by_seed.items()},
        units=len(groups),
        detail=note,
        metric=entry.metric,
        arm=entry.arm,
        baseline=entry.baseline,
        better=entry.better,
    )


def _judge_comparison(finding: Finding, entry: Entry) -> Finding:
    assert isinstance(entry, Comparison)
    assert finding.low is not None and finding.high is not None and finding.p_adjusted is not None
    sign = -1.0 if entry.better == "lower" else 1.0
    gain_low = min(sign * finding.low, sign * finding.high)
    gain_high = max(sign * finding.low, sign * finding.high)
    significant = finding.p_adjusted < LEVEL
    each_seed = all(sign * value > 0 for value in finding.by_seed.values())
    if significant and gain_low > 0 and (each_seed or not entry.every_seed):
        return replace(finding, verdict="holds")
    if significant and gain_high < 0:
        return replace(finding, verdict="fails")
    return finding


def _contrast(
    entry: Contrast,
    arms: Sequence[ArmResult],
    units: Sequence[str],
    groups: list[np.ndarray],
    seeds: Sequence[int],
    note: str,
) -> Finding:
    values = {arm.name: np.array([arm.values(entry.metric, units, s) for s in seeds]) for arm in arms}

    def at(seed_rows: np.ndarray, unit_rows: np.ndarray) -> float:
        return float(
            entry.statistic({name: v[np.ix_(seed_rows, unit_rows)].mean(0) for name, v in values.items()})
        )

    def resampled(group: np.ndarray, seed: np.ndarray) -> np.ndarray:
        pairs = zip(group, seed, strict=True)
        return np.array([at(s, np.concatenate([groups[i] for i in g])) for g, s in pairs])

    low, high = bootstrap_interval(resampled, len(groups), len(seeds), resamples=1999)
    every_seed, every_unit = np.arange(len(seeds)), np.arange(len(units))
    by_seed = {str(seed): at(every_seed[[i]], every_unit) for i, seed in enumerate(seeds)}
    verdict: Verdict = "holds" if low > entry.null else "fails" if high < entry.null else "not shown"
    return Finding(
        statement=entry.title,
        verdict=verdict,
        kind="contrast",
        value=at(every_seed, every_unit),
        low=low,
        high=high,
        by_seed=by_seed,
        units=len(groups),
        detail=note,
        metric=entry.metric,
    )


def _shared_units(
    arms: Sequence[ArmResult], metric: str, keep: Callable[[str], bool] | None
) -> tuple[list[str], int]:
    sets = [set(arm.units(metric)) for arm in arms]
    shared, everything = set.intersection(*sets), set.union(*sets)
    kept = sorted(unit for unit in shared if keep is None or keep(unit))
    return kept, len([unit for unit in everything - shared if keep is None or keep(unit)])


def _groups(units: Sequence[str], clusters: Callable[[str], str] | None) -> list[np.ndarray]:
    """Unit indices of each independent group, in a fixed order."""
    members: dict[str, list[int]] = {}
    for index, unit in enumerate(units):
        members.setdefault(clusters(unit) if clusters else unit, []).append(index)
    return [np.array(members[name]) for name in sorted(members)]
