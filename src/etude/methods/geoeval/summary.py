"""Accuracy of each arm, overall and by what is known about the problems, and paired tests between arms and
subsets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import polars as pl

from etude.evidence import holm, mcnemar_p_value, wilson_interval

Grouping = Literal["subset", "source", "diagram", "complexity", "step_band", "knowledge", "status"]
GROUPINGS: tuple[Grouping, ...] = ("subset", "source", "diagram", "complexity", "step_band", "knowledge")
Rule = Literal["symmetric", "released"]

_COLUMN = {"symmetric": "correct", "released": "released"}


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers.

    Args:
        correct: How many are right.
        items: Of how many.
        low: Lower end of the 95 % Wilson interval.
        high: Upper end.
    """

    correct: int
    items: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Correct answers as a share."""
        return self.correct / self.items

    def __str__(self) -> str:
        """`41.2 % [35.0, 47.7]`."""
        return f"{self.share:.1%} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class ArmSummary:
    """One arm.

    Args:
        model: Its model.
        input: What was shown.
        method: How it was answered.
        rule: The scorer.
        accuracy: On all items.
        groups: Grouping to group to accuracy.
        statuses: How many responses were read how.
        tokens: Output tokens of all responses together.
    """

    model: str
    input: str
    method: str
    rule: Rule
    accuracy: Accuracy
    groups: Mapping[str, Mapping[str, Accuracy]]
    statuses: dict[str, int]
    tokens: int


@dataclass(frozen=True)
class PairedTest:
    """McNemar's test on pairs of answers.

    Args:
        first: What was compared.
        second: With what.
        pairs: How many pairs.
        only_first: Pairs of which only the first answer is right.
        only_second: Pairs of which only the second is.
        p_value: Exact, two-sided.
        p_adjusted: After Holm's correction over all tests of the report.
    """

    first: str
    second: str
    pairs: int
    only_first: int
    only_second: int
    p_value: float
    p_adjusted: float = 1.0

    @property
    def difference(self) -> float:
        """Accuracy of the first less that of the second."""
        return (self.only_first - self.only_second) / self.pairs


def accuracy(flags: Sequence[bool]) -> Accuracy:
    """The share of true flags with its Wilson interval."""
    share = wilson_interval(sum(flags), len(flags))
    assert share is not None
    return Accuracy(sum(flags), len(flags), share.low, share.high)


def arm_labels(arms: Sequence[tuple[str, str, str]]) -> dict[tuple[str, str, str], str]:
    """Short names of arms (model, input, method): the model, and what else differs between them."""
    differing = [i for i in (1, 2) if len({arm[i] for arm in arms}) > 1]
    return {arm: " · ".join([arm[0], *(arm[i] for i in differing)]) for arm in arms}


def arms_of(results: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The rows of each arm by its short name, in the order of the table."""
    parts = {
        (str(model), str(given), str(method)): rows
        for (model, given, method), rows in results.group_by("model", "input", "method", maintain_order=True)
    }
    labels = arm_labels(list(parts))
    return {labels[arm]: rows for arm, rows in parts.items()}


def summarize(results: pl.DataFrame, rule: Rule = "symmetric") -> list[ArmSummary]:
    """A summary of each arm, in the order of the table."""
    column = _COLUMN[rule]
    found = []
    for key, rows in results.group_by("model", "input", "method", maintain_order=True):
        model, given, method = map(str, key)
        groups: dict[str, dict[str, Accuracy]] = {
            name: {
                _shown(name, value): accuracy(part[column].to_list())
                for (value,), part in rows.sort(name, maintain_order=True).group_by(name, maintain_order=True)
                if value is not None
            }
            for name in GROUPINGS
        }
        groups["complexity"] = {
            level: groups["complexity"][level]
            for level in ("easy", "middle", "hard")
            if level in groups["complexity"]
        }
        statuses = dict(rows["status"].value_counts().sort("status").iter_rows())
        found.append(
            ArmSummary(
                model,
                given,
                method,
                rule,
                accuracy(rows[column].to_list()),
                groups,
                statuses,
                int(rows["tokens"].sum()),
            )
        )
    return found


def paired_tests(results: pl.DataFrame, rule: Rule = "symmetric") -> list[PairedTest]:
    """Arms against each other on the items both answered, and built subsets against their parents in each
    arm.
    """
    column = _COLUMN[rule]
    arms = arms_of(results)
    tests = [
        test
        for (a, first), (b, second) in combinations(arms.items(), 2)
        if (test := _test(a, b, first.join(second, on="id", suffix="_2"), column))
    ]
    for name, rows in arms.items():
        for (subset,), built in rows.drop_nulls("parent_id").group_by("subset", maintain_order=True):
            pairs = rows.join(built, left_on="id", right_on="parent_id", suffix="_2")
            if test := _test(f"{name}: parents", f"{name}: {subset}", pairs, column):
                tests.append(test)
    adjusted = holm([test.p_value for test in tests])
    return [
        PairedTest(t.first, t.second, t.pairs, t.only_first, t.only_second, t.p_value, p)
        for t, p in zip(tests, adjusted, strict=True)
    ]


def _test(first: str, second: str, pairs: pl.DataFrame, column: str) -> PairedTest | None:
    if pairs.is_empty():
        return None
    a, b = pairs[column], pairs[f"{column}_2"]
    only = int((a & ~b).sum()), int((~a & b).sum())
    return PairedTest(first, second, pairs.height, *only, mcnemar_p_value(*only))


def _shown(name: str, value: Any) -> str:
    labels: dict[str, Callable[[bool], str]] = {
        "diagram": lambda yes: "with diagram" if yes else "text only",
        "knowledge": lambda yes: "outside knowledge" if yes else "self-contained",
    }
    return labels[name](value) if name in labels else str(value)
