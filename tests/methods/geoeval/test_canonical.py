"""The search sees one form of a problem, however it is written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.methods.geoeval.canonical import canonical_form
from etude.methods.geoeval.cdl import parse_cdl
from etude.methods.geoeval.mirroring import turn_over
from etude.methods.geoeval.paraphrases import paraphrase
from etude.methods.geoeval.problems import Problem, read_problems
from etude.methods.geoeval.realiser import Realiser

SAMPLES = read_problems("samples")


def written(problem: Problem) -> tuple[object, ...]:
    form = canonical_form(problem).problem
    return form.construction_cdl, form.text_cdl, form.image_cdl, form.goal_cdl


@pytest.mark.parametrize("kind", ["letters", "order", "mirror"])
@given(place=st.integers(0, len(SAMPLES) - 1), seed=st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_other_letters_order_and_side_give_the_same_form(kind: str, place: int, seed: int) -> None:
    problem = SAMPLES[place]
    assert written(paraphrase(problem, kind, seed)) == written(problem)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["letters", "order", "mirror"])
def test_the_answer_is_then_the_same_to_the_last_digit(kind: str) -> None:
    for problem in SAMPLES:
        old, new = (Realiser(one).solve() for one in (problem, paraphrase(problem, kind)))  # type: ignore[arg-type]
        assert (old.value, old.status) == (new.value, new.status)


def test_a_form_says_facts_as_they_were_written() -> None:
    for problem in (paraphrase(one, "mirror") for one in SAMPLES):
        form = canonical_form(problem)
        said = {form.original(fact) for fact in (*form.problem.construction, *form.problem.facts)}
        assert said == {*problem.construction_cdl, *problem.text_cdl, *problem.image_cdl}
        assert form.original(form.problem.goal) == problem.goal_cdl


def test_letters_that_look_alike_need_not_be_told_apart() -> None:
    square = Problem(
        problem_id="1",
        construction_cdl=("Shape(AB,BC,CD,DA)",),
        text_cdl=("Square(ABCD)", "Equal(LengthOfLine(AB),4)"),
        goal_cdl="Value(AreaOfQuadrilateral(ABCD))",
    )
    assert Realiser(square).solve().value == pytest.approx(16)
    regular = Problem(
        problem_id="2",
        construction_cdl=("Shape(AB,BC,CA)",),
        text_cdl=("EquilateralTriangle(ABC)", "Equal(PerimeterOfTriangle(ABC),9)"),
        goal_cdl="Value(LengthOfLine(CA))",
    )
    for kind in ("letters", "order", "mirror"):
        assert written(paraphrase(regular, kind, 3)) == written(regular)


def test_what_is_turned_over_twice_is_itself() -> None:
    for problem in SAMPLES:
        for fact in (*problem.construction, *problem.facts, problem.goal):
            assert turn_over(turn_over(fact)) == fact
    assert turn_over(parse_cdl("MeasureOfAngle(ABC)")) == parse_cdl("MeasureOfAngle(CBA)")
