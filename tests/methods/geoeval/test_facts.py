"""The fact language: read, printed, renamed, said in English and read back."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.geoeval.cdl import (
    Negative,
    Node,
    Number,
    Operation,
    Variable,
    mend_cdl,
    parse_cdl,
    parse_expression,
    print_cdl,
)
from etude.methods.geoeval.lexicon import FACTS, QUANTITIES
from etude.methods.geoeval.predicates import CONSTRUCTIONS, RELATIONS, SIGNATURES, STATEMENTS
from etude.methods.geoeval.predicates import QUANTITIES as MEASURED
from etude.methods.geoeval.problems import Problem, read_problems
from etude.methods.geoeval.renaming import letters_of, new_letters, rename_problem
from etude.methods.geoeval.verbalizer import read_english, variants, verbalize

LEAVES = st.one_of(
    st.integers(0, 999).map(lambda n: Number(str(n))),
    st.just(Number("pi")),
    st.sampled_from("xyzab").map(Variable),
)
EXPRESSIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Operation, st.sampled_from("+-*/^"), inner, inner), st.builds(Negative, inner)
    ),
    max_leaves=12,
)


@given(EXPRESSIONS)
def test_what_is_printed_reads_back_as_the_same_tree(tree: Node) -> None:
    assert parse_expression(print_cdl(tree)) == tree


def test_three_x_is_three_times_x_and_braces_are_parentheses() -> None:
    assert (
        print_cdl(parse_cdl("Equal(LengthOfLine(AB), 3x+{y-2}*4)")) == "Equal(LengthOfLine(AB),3*x+(y-2)*4)"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Equal(LengthOfLine(AB),7", "')' missing at character 25"),
        ("Bogus(AB)", "unknown predicate 'Bogus' at character 1"),
        ("Equal(LengthOfLine(ABC),7)", "2 different letters expected, found 'ABC' at character 20"),
        ("Equal(LengthOfLine(AA),7)", "2 different letters expected"),
        ("Equal(7)", "Equal takes 2 arguments"),
        ("Value(x,y)", "Value takes 1 arguments"),
        ("Value(x))", "unexpected ')' after the end"),
        ("Value(__import__)", "unexpected '_'"),
        ("Value(os.system)", "unexpected '.'"),
        ("Value(os)", "found 'os'"),
        ("Value(" + "(" * 200 + "x" + ")" * 200 + ")", "nested too deeply"),
        ("Value(" + "x+" * 2000 + "x)", "longer than 2,000 characters"),
        ("", "unknown predicate ''"),
    ],
)
def test_a_bad_fact_is_named_with_the_place_of_the_fault(text: str, problem: str) -> None:
    with pytest.raises(EtudeError) as error:
        parse_cdl(text)
    assert problem in error.value.problem


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("Shape(NL,LA,AN", "Shape(NL,LA,AN)"),
        ("IsMidpointOfLine(B,SR))", "IsMidpointOfLine(B,SR)"),
        ("Shape(DJ.JC,CD)", "Shape(DJ,JC,CD)"),
        ("Shape(GF,GFl,JGL)", "Shape(GF,GFL,JGL)"),
        ("PerpendicularBetweenLine(BC，AC)", "PerpendicularBetweenLine(BC,AC)"),
        ("Cocircular(AGFJH)", "Cocircular(A,GFJH)"),
        ("Equal(MeasureOfArc(A,JH),114)", "Equal(MeasureOfArc(AJH),114)"),
        ("Equal(RadiusOfCircle(S),MS)", "Equal(RadiusOfCircle(S),LengthOfLine(MS))"),
        ("Equal(x,Mul(pi,4))", "Equal(x,Mul(pi,4))"),
        ("Equal(LengthOfLine(AB),0.5)", "Equal(LengthOfLine(AB),0.5)"),
    ],
)
def test_slips_of_the_annotation_are_mended_and_nothing_else(slip: str, meant: str) -> None:
    assert mend_cdl(slip) == meant


def test_every_predicate_can_be_said() -> None:
    assert set(FACTS) == {*CONSTRUCTIONS, *RELATIONS, *STATEMENTS}
    assert set(QUANTITIES) == set(MEASURED)


@pytest.mark.parametrize(
    ("fact", "sentence"),
    [
        ("Equal(LengthOfLine(AB),7)", "AB = 7"),
        ("Equal(MeasureOfAngle(ABC),40)", "angle ABC = 40°"),
        ("Equal(MeasureOfAngle(ABC),2*x+3)", "angle ABC = (2x+3)°"),
        ("IsTangentOfCircle(PA,O)", "PA touches circle O"),
        ("Value(Sub(AreaOfCircle(D),AreaOfTriangle(ABC)))",
         "Find the difference of the area of circle D and the area of triangle ABC."),
    ],
)  # fmt: skip
def test_facts_are_said_in_plain_english(fact: str, sentence: str) -> None:
    assert verbalize(parse_cdl(fact)) == sentence


def _example(name: str) -> str:
    letters = iter("ABCDEFGH")
    sizes = [abs(size) if size > 0 else 3 for size in SIGNATURES[name] if size != -4]
    return f"{name}({','.join(''.join(next(letters) for _ in range(size)) for size in sizes)})"


@pytest.mark.parametrize("name", sorted({*RELATIONS, "Collinear", "Cocircular"}))
def test_every_way_to_say_a_relation_reads_back_as_that_relation(name: str) -> None:
    fact = parse_cdl(_example(name))
    for variant in range(variants(fact)):
        assert read_english(verbalize(fact, variant)) == fact


def test_what_the_verbalizer_never_says_is_not_read() -> None:
    with pytest.raises(EtudeError, match="not a sentence of the verbalizer"):
        read_english("the triangle looks nice")


def test_all_shared_records_round_trip_through_print_and_english(shared_data: Callable[[str], Path]) -> None:
    problems = read_problems(shared_data("geoeval") / "problems.jsonl")
    assert len(problems) == 2290
    unreadable, facts = 0, {}
    for problem in problems:
        for text in (*problem.construction_cdl, *problem.text_cdl, *problem.image_cdl, problem.goal_cdl):
            try:
                facts[parse_cdl(mend_cdl(text))] = text
            except EtudeError:
                unreadable += 1
    assert (
        unreadable == 5
    )  # two sides where one belongs, BB, an empty line, EJAG, OOL: nothing says what was meant
    for number, fact in enumerate(facts):
        assert parse_cdl(print_cdl(fact)) == fact
        if number % 4 == 0:
            assert read_english(verbalize(fact, number // 4)) == fact


def test_renaming_is_one_to_one_and_can_be_undone() -> None:
    for problem in read_problems("samples"):
        letters = new_letters(problem, np.random.default_rng(3))
        renamed = rename_problem(problem, letters)
        assert len(letters_of(renamed)) == len(letters_of(problem))
        back = rename_problem(renamed, {new: old for old, new in letters.items()})
        assert (back.construction, back.facts, back.goal) == (
            problem.construction,
            problem.facts,
            problem.goal,
        )


def test_new_letters_are_never_an_unknown_of_the_problem() -> None:
    problem = Problem(
        problem_id="1", construction_cdl=("Shape(AB,BC,CA)",), image_cdl=("Equal(LengthOfLine(AB),X)",),
        goal_cdl="Value(X)",
    )  # fmt: skip
    assert all("X" not in new_letters(problem, np.random.default_rng(s)).values() for s in range(40))


def test_duplicate_ids_and_empty_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"problem_id": 1}\n{"problem_id": "1"}\n')
    with pytest.raises(EtudeError, match="problem_id twice: 1"):
        read_problems(path)
    path.write_text("\n")
    with pytest.raises(EtudeError, match="no problems"):
        read_problems(path)


def test_a_copy_with_other_fields_forgets_what_was_parsed() -> None:
    problem = read_problems("samples")[0]
    assert problem.facts
    assert problem.changed(text_cdl=(), image_cdl=()).facts == ()
