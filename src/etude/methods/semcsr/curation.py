"""Stage 2: which triples are kept, and why the others are not.

With a = score(x, positive) and b = score(x, negative): the roles are swapped where b > a, and a triple is
kept iff a ≥ α, b ≤ β and a ≥ b + γ. (The released code tests only a ≠ b in place of γ, and swaps only where
the lower score is at most 4.)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from etude.errors import EtudeError
from etude.methods.semcsr.sentences import normalized
from etude.methods.semcsr.triple_audit import edit_similarity
from etude.methods.semcsr.triples import Triple

LEAST_ROWS = 16
"""Fewer scored rows than this may all have the same score by chance."""


@dataclass(frozen=True)
class Dropped:
    """A triple that was not kept.

    Args:
        triple: The triple, with its roles swapped where they were.
        reason: Why.
    """

    triple: Triple
    reason: str


@dataclass(frozen=True)
class Curator:
    """The rules.

    Args:
        alpha: Least score of a positive.
        beta: Greatest score of a negative.
        gamma: Least distance between them.
        max_copy: Greatest normalized edit similarity of the sentence to either; 1 for any.
    """

    alpha: float = 3.0
    beta: float = 3.0
    gamma: float = 1.0
    max_copy: float = 1.0

    def __post_init__(self) -> None:
        if not (
            0 <= self.alpha <= 5 and 0 <= self.beta <= 5 and 0 <= self.gamma <= 5 and 0 < self.max_copy <= 1
        ):
            raise EtudeError(
                f"alpha {self.alpha}, beta {self.beta}, gamma {self.gamma}, max copy {self.max_copy}",
                "Alpha, beta and gamma are on the scale 0 to 5, max copy in (0, 1].",
            )

    def split(self, rows: Iterable[Triple]) -> tuple[list[Triple], list[Dropped]]:
        """Kept triples and dropped ones with their reasons; each has its roles swapped where b > a.

        Raises:
            EtudeError: No row has scores, or all scores are the same: the scorer is broken.
        """
        given = list(rows)
        refuse_broken_scores(given)
        kept: list[Triple] = []
        dropped: list[Dropped] = []
        seen: set[tuple[str, str, str]] = set()
        for row in given:
            row = with_roles(row)
            key = (normalized(row.sent0), normalized(row.sent1), normalized(row.hard_neg))
            reason = "a duplicate of an earlier row" if key in seen else self.reason(row)
            seen.add(key)
            if reason:
                dropped.append(Dropped(row, reason))
            else:
                kept.append(row)
        return kept, dropped

    def reason(self, row: Triple) -> str:
        """Why a row is not kept; empty if it is. Pairs have only the rules of the positive."""
        if row.status != "ok" or not row.sent1:
            return f"not written ({row.status})" if row.status != "ok" else "no positive"
        a, b = row.positive_score, row.negative_score
        if a is None or (row.hard_neg and b is None):
            return "no score"
        if a < self.alpha:
            return f"positive below alpha ({self.alpha:g})"
        if b is not None and b > self.beta:
            return f"negative above beta ({self.beta:g})"
        if b is not None and a < b + self.gamma:
            return f"closer than gamma ({self.gamma:g})"
        others = [text for text in (row.sent1, row.hard_neg) if text]
        if self.max_copy < 1 and any(edit_similarity(row.sent0, text) > self.max_copy for text in others):
            return f"a copy of the sentence (above {self.max_copy:g})"
        return ""


def with_roles(row: Triple) -> Triple:
    """The row with positive and negative exchanged where the negative scores higher."""
    a, b = row.positive_score, row.negative_score
    if a is None or b is None or b <= a:
        return row
    return row.model_copy(
        update={"sent1": row.hard_neg, "hard_neg": row.sent1, "positive_score": b, "negative_score": a}
    )


def refuse_broken_scores(rows: Sequence[Triple]) -> None:
    """Refuse rows that were never scored, or that all have one score."""
    scores = [s for row in rows for s in (row.positive_score, row.negative_score) if s is not None]
    if not scores:
        raise EtudeError(
            "no row has a score", "Score the triples first: etude semcsr score TRIPLES --out FILE."
        )
    if len(scores) >= LEAST_ROWS and len(set(scores)) == 1:
        raise EtudeError(
            f"all {len(scores)} scores are {scores[0]:g}: the scorer does not tell sentences apart",
            "Use another --scorer or a stronger --lm, and look at some answers.",
        )


def reasons(dropped: Sequence[Dropped]) -> dict[str, int]:
    """How many rows each reason removed, the most frequent first."""
    return dict(Counter(one.reason for one in dropped).most_common())


def refuse_too_few(kept: int, dropped: Sequence[Dropped], batch_size: int) -> None:
    """Refuse a training set that does not fill one batch, naming the rule that removed most.

    Raises:
        EtudeError: Fewer rows are kept than a batch holds.
    """
    if kept >= batch_size:
        return
    found = reasons(dropped)
    most = next(iter(found), None)
    why = f"; most were dropped because: {most} ({found[most]})" if most else ""
    raise EtudeError(
        f"{kept} triples are left, fewer than one batch of {batch_size}{why}",
        "Loosen that rule, give more sentences, or use a smaller --batch-size.",
    )
