"""The released scorer, restated and audited: what do answers that know nothing earn?

The published script calls a prediction right when `prediction - answer < 1e-3`, without an absolute value:
any number that is small enough is right. The audit gives both scorers four predictions that know nothing (a
huge negative number, 0, 10, and the gold answers in a random order) and counts what each accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from etude.errors import EtudeError
from etude.methods.geoeval.answers import parse_answer
from etude.methods.geoeval.equivalence import same_number

if TYPE_CHECKING:
    from rich.console import RenderableType

RELEASED_TOLERANCE = 1e-3


@dataclass(frozen=True)
class AuditRow:
    """One kind of prediction under both scorers.

    Args:
        prediction: What was predicted for every problem.
        released: Share that the released comparison accepts.
        symmetric: Share that ours accepts.
        flags: For each gold answer, what the released comparison and ours said.
    """

    prediction: str
    released: float
    symmetric: float
    flags: tuple[tuple[bool, bool], ...]


@dataclass(frozen=True)
class ScorerAudit:
    """What predictions that know nothing earn.

    Args:
        golds: How many numeric gold answers there are.
        left_out: How many others, which are not numbers, were left out.
        rows: One for each prediction.
    """

    golds: int
    left_out: int
    rows: tuple[AuditRow, ...]

    def __rich__(self) -> RenderableType:
        """The shares as a table."""
        from etude.render import table

        rows = [(row.prediction, f"{row.released:.1%}", f"{row.symmetric:.1%}") for row in self.rows]
        return table(("prediction", "released scorer accepts", "symmetric check accepts"), rows)


def released_equal(prediction: float, answer: float) -> bool:
    """The comparison of the published script."""
    return prediction - answer < RELEASED_TOLERANCE


def audit_scorer(golds: Sequence[str], *, seed: int = 0) -> ScorerAudit:
    """Compare the released comparison with the symmetric one on predictions that know nothing.

    Ours is given every advantage: the wide tolerance for rounded answers on all gold answers.

    Args:
        golds: Gold answers as they are written; those that are not numbers are left out.
        seed: Of the random order.

    Raises:
        EtudeError: Fewer than two of them are numbers.
    """
    read = [parse_answer(gold).value for gold in golds]
    values = np.array([value for value in read if value is not None])
    if len(values) < 2:
        raise EtudeError(
            f"{len(values)} of {len(golds)} gold answers are numbers", "Give problems with numeric answers."
        )
    shuffled = np.random.default_rng(seed).permutation(values)
    predictions = {
        "-1,000,000": np.full_like(values, -1e6),
        "0": np.zeros_like(values),
        "10": np.full_like(values, 10.0),
        "another problem's answer": shuffled,
    }
    ours = partial(same_number, rounded=True)
    rows = []
    for name, predicted in predictions.items():
        pairs = list(zip(predicted.tolist(), values.tolist(), strict=True))
        flags = tuple((released_equal(*pair), ours(*pair)) for pair in pairs)
        released, symmetric = np.mean(flags, axis=0).tolist()
        rows.append(AuditRow(name, released, symmetric, flags))
    return ScorerAudit(len(values), len(golds) - len(values), tuple(rows))
