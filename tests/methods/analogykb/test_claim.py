"""The claim on a small budget, its verdicts from numbers alone; the demo."""

import pytest

from etude.errors import EtudeError
from etude.evidence import run_claim
from etude.methods.analogykb.claim import BUDGETS, CONTROL, FAMILIES, TRAINED, Budget, claim, claim_on
from etude.methods.analogykb.demo import demo


def test_without_data_it_says_which(tmp_path):
    with pytest.raises(EtudeError, match=r"triples.parquet, google_a.jsonl"):
        claim()
    with pytest.raises(EtudeError, match="this claim needs triples"):
        claim(data=tmp_path)


def test_method_and_control_have_the_same_five_seeds_and_stand_in_every_part(shared_data):
    made = claim(data=shared_data("analogykb"))
    assert made.seeds == (0, 1, 2, 3, 4)
    by_name = {arm.name: arm for arm in made.arms}
    assert by_name[TRAINED].seeded and by_name[CONTROL].seeded
    assert len(made.parts) == len(FAMILIES)
    for part in made.parts:
        assert [(e.arm, e.baseline) for e in part.entries] == [(TRAINED, CONTROL), (TRAINED, "untrained")]
    assert BUDGETS["laptop"].questions == 6000
    assert (BUDGETS["paper"].kind, BUDGETS["paper"].encoder) == ("encoder", "microsoft/deberta-v3-large")


@pytest.mark.slow
def test_a_small_budget_runs_every_arm(shared_data, tmp_path):
    budget = Budget(questions=200, curve=(50,), presets=True, per_relation=200)
    evidence = run_claim(
        claim_on(budget, scale="test", data=shared_data("analogykb"), seeds=(0, 1)), tmp_path
    )
    assert not [arm.name for arm in evidence.arms if arm.errors]
    units = evidence.arm(TRAINED).units("accuracy")
    assert len(units) == 1464 and evidence.arm(CONTROL).units("accuracy") == units
    assert evidence.arm("chance").mean("accuracy") == pytest.approx(0.25)
    assert evidence.arm(TRAINED).fact("removed") > 0
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_the_demo_shows_a_graph_its_questions_and_answers(tmp_path):
    made = demo(tmp_path)
    assert "80 pairs of five relations" in made.headline and len(made.came_out) == 4
