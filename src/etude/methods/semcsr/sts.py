"""Semantic textual similarity: pairs with human scores, Spearman's correlation, alignment and uniformity.

Published figures are Spearman ×100 of cosines against the gold scores, `all`: the subsets of a year are
joined and one correlation is taken. `mean` averages the subsets' correlations and can differ by a point or
more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field
from scipy.stats import rankdata

from etude.data import read_lines, read_records
from etude.errors import EtudeError

Aggregation: TypeAlias = Literal["all", "mean"]
Vector: TypeAlias = NDArray[np.float64]
RESAMPLES = 10_000
ALIGNED = 4.0
"""Pairs scored so or higher count as positives in alignment."""
_COLUMNS = 7  # genre, file, year, number, score, sentence 1, sentence 2


class STSPair(BaseModel):
    """A pair of sentences with its human score.

    Args:
        score: Mean human similarity, 0 to 5.
        sentence1: The first sentence.
        sentence2: The second one.
        genre: Where the pair is from; a subset, with the year.
        year: Of the task.
    """

    score: float = Field(ge=0, le=5)
    sentence1: str = Field(min_length=1)
    sentence2: str = Field(min_length=1)
    genre: str = ""
    year: str = ""

    @property
    def subset(self) -> str:
        """Genre and year."""
        return " ".join(part for part in (self.genre, self.year) if part) or "all"


class TextEncoder(Protocol):
    """Anything that encodes texts: a `SentenceTransformer`, an etude `Encoder`."""

    def encode(self, sentences: Any, *, batch_size: int = 64) -> Any:
        """Vectors, (texts, dimension)."""


@dataclass(frozen=True)
class STSResult:
    """How an encoder did.

    Args:
        pairs: How many pairs.
        spearman: Correlation of cosines with human scores (of all pairs together).
        low: 2.5 percent point of its bootstrap over pairs.
        high: 97.5 percent point.
        mean: Mean of the subsets' correlations.
        subsets: Subset to its correlation.
        alignment: Mean squared distance of unit vectors of pairs scored 4 or more (lower is better).
        uniformity: Log of the mean of e^{-2·distance²} over all sentences (lower is more spread).
        cosines: Cosine of each pair.
    """

    pairs: int
    spearman: float
    low: float
    high: float
    mean: float
    subsets: dict[str, float]
    alignment: float | None
    uniformity: float
    cosines: Vector


def read_sts(source: Path | str) -> list[STSPair]:
    """Read an STS file.

    Args:
        source: Rows with `score, sentence1, sentence2[, genre, year]` (CSV, JSONL, TSV with a header,
            Parquet, hub id), or the STS benchmark's own tab-separated file of seven columns, where quotes are
            literal.

    Raises:
        EtudeError: The columns are other ones, or a score is outside 0 to 5.
    """
    path = Path(source)
    if path.is_file() and path.suffix in (".csv", ".tsv", ".txt") and _is_benchmark_file(path):
        pairs = [_benchmark_row(path, i, line) for i, line in enumerate(read_lines(path), 1) if line.strip()]
    else:
        pairs = list(read_records(source, STSPair))
    if len(pairs) < 3:
        raise EtudeError(f"{source}: {len(pairs)} pairs", "A correlation needs three pairs or more.")
    if len({pair.score for pair in pairs}) == 1:
        raise EtudeError(f"{source}: all scores are the same", "A correlation needs different scores.")
    return pairs


def _is_benchmark_file(path: Path) -> bool:
    first = next(iter(read_lines(path)), "").rstrip("\r\n").split("\t")
    if len(first) < _COLUMNS:
        return False
    try:
        float(first[4])
    except ValueError:
        return False
    return True


def _benchmark_row(path: Path, number: int, line: str) -> STSPair:
    cells = line.rstrip("\r\n").split("\t")
    if len(cells) < _COLUMNS:
        raise EtudeError(
            f"{path}:{number}: {len(cells)} of {_COLUMNS} columns", "Check the tabs of this line."
        )
    genre, file, year, _, score, one, other = cells[:_COLUMNS]
    try:
        return STSPair(score=float(score), sentence1=one, sentence2=other, genre=f"{genre}/{file}", year=year)
    except ValueError as error:
        raise EtudeError(
            f"{path}:{number}: {score!r} is no score, or a sentence is empty", "A score is 0 to 5."
        ) from error


def sts_texts(pairs: Sequence[STSPair]) -> list[str]:
    """The distinct sentences."""
    return list(dict.fromkeys(text for pair in pairs for text in (pair.sentence1, pair.sentence2)))


def sts_eval(encoder: TextEncoder, rows: Sequence[STSPair], *, resamples: int = RESAMPLES) -> dict[str, Any]:
    """An encoder's correlation as a dictionary: `spearman`, interval `ci`, and more; see `evaluate_sts`."""
    found = evaluate_sts(encoder, rows, resamples=resamples)
    return {**vars(found), "ci": (found.low, found.high), "cosines": found.cosines.tolist()}


def evaluate_sts(encoder: TextEncoder, rows: Sequence[STSPair], *, resamples: int = RESAMPLES) -> STSResult:
    """Encode each distinct sentence once and compare cosines with the human scores.

    Args:
        encoder: What encodes.
        rows: Pairs with scores.
        resamples: Bootstrap resamples over pairs; 0 for no interval.

    Raises:
        EtudeError: The vectors are not finite, or all cosines are the same: the encoder has collapsed.
    """
    texts = sts_texts(rows)
    vectors = unit_vectors(encoder.encode(texts, batch_size=64))
    place = {text: i for i, text in enumerate(texts)}
    first = vectors[[place[row.sentence1] for row in rows]]
    second = vectors[[place[row.sentence2] for row in rows]]
    cosines: Vector = np.einsum("ij,ij->i", first, second)
    gold = np.array([row.score for row in rows])
    subsets = {
        name: spearman(cosines[chosen], gold[chosen])
        for name in sorted({row.subset for row in rows})
        if len(chosen := np.array([i for i, row in enumerate(rows) if row.subset == name])) > 2
    }
    value = spearman(cosines, gold)
    low, high = bootstrap_spearman(cosines, gold, resamples=resamples) if resamples else (np.nan, np.nan)
    return STSResult(
        pairs=len(rows),
        spearman=value,
        low=low,
        high=high,
        mean=float(np.nanmean(list(subsets.values()))) if subsets else value,
        subsets=subsets,
        alignment=alignment(first[gold >= ALIGNED], second[gold >= ALIGNED]),
        uniformity=uniformity(vectors),
        cosines=cosines,
    )


def unit_vectors(vectors: Any) -> Vector:
    """Rows of length 1, as float64; a zero vector stays zero.

    Raises:
        EtudeError: A vector is not finite.
    """
    found = np.asarray(vectors, dtype=np.float64)
    if not np.isfinite(found).all():
        raise EtudeError(
            "the encoder gives vectors that are not finite", "It has diverged: train with a lower rate."
        )
    length = np.linalg.norm(found, axis=1, keepdims=True)
    unit: Vector = np.divide(found, length, out=np.zeros_like(found), where=length > 0)
    return unit


def spearman(one: Vector, other: Vector) -> float:
    """Spearman's correlation; NaN where one side is constant."""
    return float(_pearson(rankdata(one)[None], rankdata(other)[None])[0])


def _pearson(one: Vector, other: Vector) -> Vector:
    """Pearson's correlation of each row, (rows,)."""
    a, b = one - one.mean(1, keepdims=True), other - other.mean(1, keepdims=True)
    scale = np.sqrt((a**2).sum(1) * (b**2).sum(1))
    found: Vector = np.divide((a * b).sum(1), scale, out=np.full(len(a), np.nan), where=scale > 0)
    return found


def resampled_spearman(cosines: Sequence[Vector], gold: Vector, resamples: int, seed: int = 0) -> Vector:
    """Correlations of several encoders on the same resamples of pairs, (encoders, resamples)."""
    generator, found, size = np.random.default_rng(seed), [], 500
    for start in range(0, resamples, size):
        index = generator.integers(0, len(gold), (min(size, resamples - start), len(gold)))
        ranked = rankdata(gold[index], axis=1)
        found.append(np.stack([_pearson(rankdata(one[index], axis=1), ranked) for one in cosines]))
    return np.concatenate(found, axis=1)


def bootstrap_spearman(cosines: Vector, gold: Vector, *, resamples: int = RESAMPLES) -> tuple[float, float]:
    """95 % percentile interval of the correlation over pairs, ranks taken anew in each resample."""
    low, high = np.nanpercentile(resampled_spearman([cosines], gold, resamples)[0], [2.5, 97.5])
    return float(low), float(high)


def paired_difference(
    ours: Vector, theirs: Vector, gold: Vector, *, resamples: int = RESAMPLES
) -> tuple[float, float, float]:
    """Difference of two encoders' correlations and its 95 % interval over resampled pairs."""
    mine, others = resampled_spearman([ours, theirs], gold, resamples)
    low, high = np.nanpercentile(mine - others, [2.5, 97.5])
    return spearman(ours, gold) - spearman(theirs, gold), float(low), float(high)


def pair_contributions(cosines: Vector, gold: Vector) -> Vector:
    """What each pair contributes to the correlation: values whose mean is Spearman's, (pairs,).

    Jackknife pseudo-values n·ρ - (n-1)·ρ without the pair, shifted to have the mean ρ. Their spread is that
    of the estimate (ranks included), so that a bootstrap of their mean is one of the correlation.
    """
    count, value = len(gold), spearman(cosines, gold)
    kept = ~np.eye(count, dtype=bool)
    index = np.broadcast_to(np.arange(count), (count, count))[kept].reshape(count, count - 1)
    without = _pearson(rankdata(cosines[index], axis=1), rankdata(gold[index], axis=1))
    found = count * value - (count - 1) * without
    shifted: Vector = found - found.mean() + value
    return shifted


def alignment(first: Vector, second: Vector) -> float | None:
    """E‖f(x) - f(x⁺)‖² of unit vectors (Wang & Isola 2020); None without pairs."""
    return float(((first - second) ** 2).sum(1).mean()) if len(first) else None


def uniformity(vectors: Vector) -> float:
    """Log of the mean of e^{-2‖f(x)-f(y)‖²} over distinct pairs of unit vectors; 0 where all coincide."""
    squared = np.clip(2 - 2 * vectors @ vectors.T, 0, None)
    above = squared[np.triu_indices(len(vectors), 1)]
    return float(np.log(np.exp(-2 * above).mean())) if len(above) else 0.0


def halves(pairs: Sequence[STSPair], seed: int = 0) -> tuple[list[STSPair], list[STSPair]]:
    """Two halves of every subset, drawn by the seed: one to stop by, one to report."""
    generator = np.random.default_rng(seed)
    groups: dict[str, list[STSPair]] = {}
    for pair in pairs:
        groups.setdefault(pair.subset, []).append(pair)
    first: list[STSPair] = []
    second: list[STSPair] = []
    for name in sorted(groups):
        order = generator.permutation(len(groups[name]))
        cut = len(order) // 2
        first += [groups[name][i] for i in sorted(order[:cut])]
        second += [groups[name][i] for i in sorted(order[cut:])]
    return first, second
