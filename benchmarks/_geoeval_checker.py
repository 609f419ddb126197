"""geoeval's answer checker against math-verify: the same pairs in one run, checks per second and verdicts.

The pairs are gold answers of every notation of the field beside right and wrong predictions, so it is known
what either checker should say.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.methods.geoeval import answers
from etude.methods.geoeval.equivalence import check_answer

FORMS: tuple[Callable[[int], tuple[str, str, str]], ...] = (
    lambda n: (f"{n * math.pi:.2f}", f"{n}*pi", f"{n + 2}*pi"),
    lambda n: (
        f"{n / 2 * math.sqrt(3):.3f}",
        rf"\frac{{{n}\sqrt{{3}}}}{{2}}",
        rf"\frac{{{n}\sqrt{{2}}}}{{2}}",
    ),
    lambda n: (f"{n}/8", f"{n / 8}", f"{n / 8 + 1}"),
    lambda n: (rf"\frac{{{n}}}{{4}}", f"{n / 4}", f"{n / 4 + 1}"),
    lambda n: (rf"{n}\sqrt{{2}}", rf"\sqrt{{{2 * n * n}}}", rf"\sqrt{{{2 * n * n + 1}}}"),
    lambda n: (f"{n}/2*sqrt(3)", rf"\frac{{{n}\sqrt{{3}}}}{{2}}", rf"\frac{{{n + 1}\sqrt{{3}}}}{{2}}"),
    lambda n: (rf"\frac{{{n}\pi}}{{9}}", f"{n}*pi/9", f"{n + 1}*pi/9"),
    lambda n: (f"{n}", rf"{n}^\circ", rf"{n + 1}^\circ"),
    lambda n: (f"{n}", rf"{n} \text{{ cm}}", rf"{n + 1} \text{{ cm}}"),
    lambda n: (f"{n + 1000}", f"{n + 1000:,}", f"{n + 1001:,}"),
    lambda n: (f"({n},{n + 1})", rf"\left({n}, {n + 1}\right)", rf"\left({n + 1}, {n}\right)"),
    lambda n: (f"x^2+{2 * n}*x+{n * n}", f"(x+{n})^2", f"(x+{n + 1})^2"),
)
"""For each number: a gold answer, a prediction that says the same in another notation, and one that does "
"not."""


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
    """The notations above with ever other numbers, right and wrong in turn; no pair is there twice."""
    pairs: list[tuple[str, str, bool]] = []
    number = 3
    while len(pairs) < count:
        for form in FORMS:
            gold, right, wrong = form(number)
            pairs += [(gold, right, True), (gold, wrong, False)]
        number += 1
    return pairs[:count]


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
        answers._parse.cache_clear()
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
