"""Claims end to end: verdicts as they fall, crashes kept, finished arms reused, nothing hidden."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.evidence import (
    Arm,
    Check,
    Claim,
    Comparison,
    Contrast,
    Evidence,
    Measurement,
    Part,
    run_claim,
)

UNITS = 40


def noisy(shift: float, noise: float = 0.1, arm: int = 0) -> Callable[[int], Measurement]:
    def run(seed: int) -> Measurement:
        base = np.random.default_rng(99).normal(size=UNITS)
        own = np.random.default_rng([seed, arm]).normal(size=UNITS)
        values = {f"d{i}": float(base[i] + shift + noise * own[i]) for i in range(UNITS)}
        return Measurement({"error": values}, {"parameters": 10})

    return run


def crash(seed: int) -> Measurement:
    if seed == 1:
        raise RuntimeError("boom")
    return noisy(0.0)(seed)


def claim(*arms: Arm, parts: tuple[Part, ...], **options: object) -> Claim:
    return Claim(
        name="example", statement="B beats A", arms=arms, parts=parts, metrics={"error": "lower"}, **options
    )


def verdict(tmp_path: Path, *arms: Arm, entry: object, **options: object) -> str:
    return run_claim(claim(*arms, parts=(Part("p", "p", (entry,)),), **options), tmp_path).verdicts["p"]


A = Arm("A", noisy(0.0))
B = Arm("B", noisy(-0.2, arm=1))
TWIN = Arm("twin", noisy(0.0, arm=2))


def test_a_real_difference_holds_its_opposite_fails_and_noise_shows_nothing(tmp_path: Path) -> None:
    for arm, baseline, expected in (("B", "A", "holds"), ("A", "B", "fails"), ("twin", "A", "not shown")):
        found = verdict(tmp_path, A, B, TWIN, entry=Comparison("error", arm, baseline))
        assert found == expected


def test_higher_can_be_better(tmp_path: Path) -> None:
    assert verdict(tmp_path, A, B, entry=Comparison("error", "A", "B", better="higher")) == "holds"


def test_every_seed_can_be_demanded(tmp_path: Path) -> None:
    def fickle(seed: int) -> Measurement:
        return noisy(0.05 if seed == 2 else -0.6, arm=3)(seed)

    entry = Comparison("error", "fickle", "A", every_seed=True)
    assert verdict(tmp_path, A, Arm("fickle", fickle), entry=entry) == "not shown"


def test_one_failing_entry_fails_its_part_and_parts_stay_apart(tmp_path: Path) -> None:
    good, bad = Comparison("error", "B", "A"), Comparison("error", "A", "B")
    parts = (Part("both", "both", (good, bad)), Part("good", "good", (good,)))
    evidence = run_claim(claim(A, B, parts=parts), tmp_path)
    assert evidence.verdicts == {"both": "fails", "good": "holds"}
    assert all(f.p_adjusted >= f.p_value for part in evidence.parts for f in part.findings)


def test_a_crashed_arm_is_reported_and_the_rest_kept(tmp_path: Path) -> None:
    parts = (
        Part("crashed", "c", (Comparison("error", "X", "A"),)),
        Part("sound", "s", (Comparison("error", "B", "A"),)),
    )
    evidence = run_claim(claim(A, B, Arm("X", crash), parts=parts), tmp_path)
    assert evidence.verdicts == {"crashed": "not shown", "sound": "holds"}
    assert dict(evidence.arm("X").errors) == {1: "RuntimeError: boom"}
    assert sorted(evidence.arm("X").measurements) == [0, 2]
    assert "X" in evidence.parts[0].findings[0].detail


def test_a_finished_arm_is_reused_and_a_changed_one_is_not(tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []

    def counted(name: str) -> Callable[[int], Measurement]:
        def run(seed: int) -> Measurement:
            calls.append((name, seed))
            return noisy(0.0)(seed)

        return run

    part = (Part("p", "p", (Comparison("error", "B", "A"),)),)

    def run(size: int, seeds: tuple[int, ...]) -> None:
        arms = (Arm("A", counted("A"), seeded=False), Arm("B", counted("B"), {"size": size}))
        run_claim(claim(*arms, parts=part, seeds=seeds), tmp_path)

    run(1, (0, 1))
    assert calls == [("A", 0), ("B", 0), ("B", 1)]
    run(1, (0, 1, 2))
    assert calls[3:] == [("B", 2)]
    run(2, (0,))
    assert calls[4:] == [("B", 0)]


def test_a_users_mistake_in_an_arm_is_not_swallowed(tmp_path: Path) -> None:
    def mistaken(seed: int) -> Measurement:
        raise EtudeError("no data", "get some")

    with pytest.raises(EtudeError, match="no data"):
        verdict(tmp_path, A, Arm("M", mistaken), entry=Comparison("error", "M", "A"))


def test_clusters_are_the_units_of_resampling(tmp_path: Path) -> None:
    entry = Comparison("error", "B", "A")
    by_four = run_claim(
        claim(A, B, parts=(Part("p", "p", (entry,)),), clusters=lambda unit: str(int(unit[1:]) // 10)),
        tmp_path,
    )
    finding = by_four.parts[0].findings[0]
    assert finding.units == 4
    assert finding.verdict == "not shown"  # four clusters: the smallest possible p-value is 2/16


def test_a_contrast_holds_when_its_interval_is_above_the_null(tmp_path: Path) -> None:
    def ratio(v: dict) -> float:
        return float(np.mean(np.exp(v["A"])) / np.mean(np.exp(v["B"])))

    for null, expected in ((1.0, "holds"), (2.0, "fails")):
        entry = Contrast("A over B", "error", ("A", "B"), ratio, null=null)
        assert verdict(tmp_path, A, B, entry=entry) == expected


def test_units_can_be_chosen_and_missing_ones_are_counted(tmp_path: Path) -> None:
    def few(seed: int) -> Measurement:
        scores = dict(list(noisy(-0.2)(seed).scores["error"].items())[:30])
        return Measurement({"error": scores})

    entry = Comparison("error", "few", "A", units=lambda unit: int(unit[1:]) % 2 == 0)
    evidence = run_claim(claim(A, Arm("few", few), parts=(Part("p", "p", (entry,)),)), tmp_path)
    finding = evidence.parts[0].findings[0]
    assert finding.units == 15
    assert "5 units" in finding.detail


def test_a_check_is_exact_and_a_missing_arm_is_not_a_pass(tmp_path: Path) -> None:
    for expected, so in (("holds", True), ("fails", False), ("not shown", None)):
        assert verdict(tmp_path, A, entry=Check("c", lambda e, so=so: (so, "numbers"))) == expected
    missing = Check("c", lambda e: (e.arm("nobody").mean("error") == 0, ""))
    assert verdict(tmp_path, A, entry=missing) == "not shown"


def test_evidence_survives_json_and_is_drawn_without_markup(tmp_path: Path) -> None:
    entry = Comparison("error", "<b>B</b>", "A", statement="[red]B[/red] <script>")
    built = claim(A, Arm("<b>B</b>", noisy(-0.2)), parts=(Part("p", "p", (entry,)),), columns=("parameters",))
    evidence = run_claim(built, tmp_path)
    again = Evidence.load(tmp_path / "evidence.json")
    assert again.verdicts == evidence.verdicts
    assert again.arm("A").fact("parameters") == 10
    for name in ("A", "<b>B</b>"):
        for seed, measurement in evidence.arm(name).measurements.items():
            assert again.arm(name).measurements[seed].scores["error"] == pytest.approx(
                measurement.scores["error"], rel=1e-8
            )
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    from rich.console import Console

    console = Console(width=150, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(again)
    assert "[red]B[/red] <script>" in console.export_text()


def test_a_claim_that_names_what_it_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown arm"):
        claim(A, parts=(Part("p", "p", (Comparison("error", "B", "A"),)),))
    with pytest.raises(ValueError, match="share a name"):
        claim(A, A, parts=())
