"""geoeval's answer checker against math-verify: the same pairs in one run, checks per second and verdicts.

The pairs are gold answers of every notation of the field beside right and wrong predictions, so it is known
what either checker should say.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks._comparison import Comparison, Figure, Missing, in_turn, ratios
from benchmarks._peers import MATH_VERIFY
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


Check, Asked = Callable[[str, str], bool], tuple[str, str, bool]


def compare_checkers(repetitions: int) -> Comparison:
    """Checks a second of both, ours on more of the same pairs, since it is over sooner; and the verdicts."""
    count = 100
    figures, missing, details = list[Figure](), list[Missing](), dict[str, Any]()
    peer_there = MATH_VERIFY.version() is not None
    kinds = {"plain numbers": plain_pairs(20 * count), "every notation": written_pairs(20 * count)}
    for kind, pairs in kinds.items():
        verdicts: dict[str, list[bool]] = {}

        def check_all(
            name: str, check: Check, some: list[Asked], verdicts: dict[str, list[bool]] = verdicts
        ) -> None:
            answers._parse.cache_clear()
            verdicts[name] = [check(gold, pred) for gold, pred, _ in some]

        ours(*pairs[0][:2])
        arms = {"etude": lambda check=check_all, pairs=pairs: check("etude", ours, pairs)}
        if peer_there:
            theirs(*pairs[0][:2])  # both import what they need
            arms["math-verify"] = lambda check=check_all, p=pairs: check("math-verify", theirs, p[:count])
        seconds = in_turn(arms, repetitions)
        mine = tuple(len(pairs) / taken for taken in seconds["etude"])
        if kind == "plain numbers":
            figures.append(
                Figure(f"checking answers, {kind}", "", "per processor second", mine, 2000, "checks")
            )
        found: dict[str, Any] = {"etude, checks/s": round(statistics.median(mine))}
        found["etude, verdicts as they should be"] = _right(verdicts["etude"], pairs)
        if peer_there:
            peer = [count / taken for taken in seconds["math-verify"]]
            figures.append(
                Figure(
                    f"checking answers, {kind}",
                    "math-verify",
                    "checks a processor second",
                    ratios(mine, peer),
                )
            )
            missed = [
                pair for said, pair in zip(verdicts["math-verify"], pairs, strict=False) if said != pair[2]
            ]
            found["math-verify, checks/s"] = round(statistics.median(peer), 1)
            found["math-verify, verdicts as they should be"] = _right(verdicts["math-verify"], pairs)
            found["math-verify differs on"] = "; ".join(
                dict.fromkeys(f"{gold} / {pred}" for gold, pred, _ in missed)
            )[:300]
        else:
            missing.append(Missing(f"checking answers, {kind}", MATH_VERIFY))
        details[kind] = found
    return Comparison(figures, missing, details)


def _right(verdicts: list[bool], pairs: list[tuple[str, str, bool]]) -> float:
    hits = [said == pair[2] for said, pair in zip(verdicts, pairs, strict=False)]
    return round(sum(hits) / len(hits), 4)
