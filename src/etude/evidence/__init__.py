"""A paper's claim, put to the test: arms x seeds, paired statistics, a verdict that nobody writes by hand.

claim = Claim(
    name="example", statement="B beats A", metrics={"error": "lower"},
    arms=(Arm("A", run_a), Arm("B", run_b)),
    parts=(Part("main", "B beats A", (Comparison("error", "B", "A"),)),),
)
evidence = run_claim(claim, Path("claims/example"))
evidence.verdicts                     # {"main": "holds"}
"""

from etude.evidence.claim import (
    Arm,
    Check,
    Claim,
    Comparison,
    Contrast,
    Measurement,
    Part,
    Scale,
    parse_seeds,
)
from etude.evidence.evidence import Evidence, Finding, PartFinding
from etude.evidence.runner import keep, measurements, run_claim, settle_claim, stored
from etude.evidence.statistics import (
    Interval,
    bootstrap_interval,
    holm,
    mcnemar_p_value,
    sign_flip_p_value,
    wilson_interval,
)

__all__ = [
    "Arm",
    "Check",
    "Claim",
    "Comparison",
    "Contrast",
    "Evidence",
    "Finding",
    "Interval",
    "Measurement",
    "Part",
    "PartFinding",
    "Scale",
    "bootstrap_interval",
    "holm",
    "keep",
    "mcnemar_p_value",
    "measurements",
    "parse_seeds",
    "run_claim",
    "settle_claim",
    "sign_flip_p_value",
    "stored",
    "wilson_interval",
]
