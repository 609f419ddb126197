"""geoeval's answer checker against math-verify: the same pairs in one run, checks per second and verdicts.

The pairs are gold answers of every notation of the field beside right and wrong predictions, so it is known
what either checker should say.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.methods.geoeval.equivalence import check_answer

FORMS: tuple[tuple[str, str, str], ...] = (
    ("40.84", "13*pi", "rounded"),
    ("2.598", r"\frac{3\sqrt{3}}{2}", "rounded"),
    ("8.39", "8.3910", "rounded"),
    ("7/2", "3.5", "fraction"),
    (r"\frac{5}{4}", "1.25", "fraction"),
    (r"5\sqrt{2}", r"\sqrt{50}", "root"),
    ("3/2*sqrt(3)", r"\frac{3\sqrt{3}}{2}", "root"),
    (r"\frac{50\pi}{9}", "50*pi/9", "root"),
    ("40", r"40^\circ", "unit"),
    ("12", r"12 \text{ cm}", "unit"),
    ("1234", "1,234", "number"),
    ("(2,3)", r"\left(2, 3\right)", "coordinates"),
    ("x^2+2*x+1", "(x+1)^2", "expression"),
)
"""Gold answer, a prediction that says the same, and what kind of notation it is."""
WRONG = (
    "41.5", r"\frac{3\sqrt{2}}{2}", "8.6", "3.6", "1.26", r"\sqrt{51}", r"\frac{2\sqrt{3}}{3}", "51*pi/9",
    r"41^\circ", r"13 \text{ cm}", "1,243", r"\left(3, 2\right)", "(x+2)^2",
)  # fmt: skip


def plain_pairs(count: int) -> list[tuple[str, str, bool]]:
    """Plain decimals: half of the predictions are the gold answer within rounding, half are another
    number.
    """
    rng = np.random.default_rng(0)
    golds = rng.uniform(1, 200, count).round(2)
    factors = np.where(np.arange(count) % 2, 1.0, 1.5)
    return [
        (f"{gold:.2f}", f"{gold * factor:.2f}", factor == 1.0)
        for gold, factor in zip(golds, factors, strict=True)
    ]


def written_pairs(count: int) -> list[tuple[str, str, bool]]:
    """The notations above, right and wrong in turn."""
    pairs = [(gold, pred, True) for gold, pred, _ in FORMS]
    pairs += [(gold, wrong, False) for (gold, _, _), wrong in zip(FORMS, WRONG, strict=True)]
    return [pairs[i % len(pairs)] for i in range(count)]


def ours(gold: str, pred: str) -> bool:
    return check_answer(pred, gold).correct


def theirs(gold: str, pred: str) -> bool:
    from math_verify import parse, verify

    return bool(verify(parse(f"${gold}$"), parse(f"${pred}$")))


def measure(
    check: Callable[[str, str], bool], pairs: list[tuple[str, str, bool]], repeats: int
) -> tuple[list[float], float, list[int]]:
    """Checks per second of each repetition, share of verdicts as they should be, and which were not."""
    rates, wrong = [], list[int]()
    for _ in range(repeats):
        started = time.process_time()
        verdicts = [check(gold, pred) for gold, pred, _ in pairs]
        rates.append(len(pairs) / (time.process_time() - started))
        wrong = [
            i for i, (verdict, pair) in enumerate(zip(verdicts, pairs, strict=True)) if verdict != pair[2]
        ]
    return rates, 1 - len(wrong) / len(pairs), wrong


def compare(
    pairs: list[tuple[str, str, bool]], own: list[tuple[str, str, bool]], repeats: int
) -> dict[str, Any]:
    """Both checkers; ours on more of the same pairs, since it is over sooner."""
    ours(*pairs[0][:2])
    theirs(*pairs[0][:2])  # both import what they need
    mine, my_share, _ = measure(ours, own, repeats)
    peer, peer_share, missed = measure(theirs, pairs, repeats)
    return {
        "etude, checks/s": round(statistics.median(mine)),
        "math-verify, checks/s": round(statistics.median(peer), 1),
        "ratio": round(statistics.median(mine) / statistics.median(peer), 1),
        "etude, lowest and highest": f"{min(mine):,.0f} to {max(mine):,.0f}",
        "math-verify, lowest and highest": f"{min(peer):,.0f} to {max(peer):,.0f}",
        "repetitions": repeats,
        "etude, verdicts as they should be": round(my_share, 4),
        "math-verify, verdicts as they should be": round(peer_share, 4),
        "math-verify differs on": "; ".join(
            dict.fromkeys(f"{pairs[i][0]} / {pairs[i][1]}" for i in missed[:200])
        )[:300],
    }


def main(*, quick: bool = False) -> dict[str, Any]:
    try:
        import math_verify  # noqa: F401
    except ImportError as error:
        raise EtudeError(
            "the peer of this benchmark is math-verify", "pip install 'etude[geometry]'"
        ) from error
    repeats, count = (1, 100) if quick else (3, 400)
    plain, written = plain_pairs(20 * count), written_pairs(20 * count)
    return {
        "plain numbers": {**compare(plain[:count], plain, repeats), "target, checks/s": 2000},
        "every notation": compare(written[:count], written, repeats),
        "versions": {"math-verify": version("math-verify"), "sympy": version("sympy")},
    }
