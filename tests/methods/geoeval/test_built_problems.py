"""Backward problems, rewordings and pictures: certified, deterministic, resumable."""

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.methods.geoeval import build, render, solve
from etude.methods.geoeval.backward import Rejections, backward_versions, candidates, make_backward
from etude.methods.geoeval.building import file_name
from etude.methods.geoeval.drawing import render_drawing
from etude.methods.geoeval.forward_chaining import forward_chain
from etude.methods.geoeval.model_rewriting import names_of, reword, what_changed
from etude.methods.geoeval.paraphrases import KINDS, Kind, certified, paraphrase
from etude.methods.geoeval.problems import Problem, read_problems
from etude.methods.geoeval.realiser import Realiser
from etude.models import chat_model, register_scripted

SAMPLES = {problem.problem_id: problem for problem in read_problems("samples")}


def test_a_backward_problem_gives_the_hidden_number_back() -> None:
    for problem in SAMPLES.values():
        for item in backward_versions(problem):
            found = Realiser(item, seed=9).solve()
            assert found.value == pytest.approx(float(item.hidden_value), rel=1e-6)
            assert item.parent_id == problem.problem_id and item.parent_hash == problem.content
            assert item.certificate["starts_agreeing"] >= 2
            assert item.choices == () and item.subset == "backward"


def test_a_number_that_does_not_matter_is_rejected_and_counted() -> None:
    apex = Problem(
        problem_id="apex", construction_cdl=("Shape(AB,BC,CA)",), goal_cdl="Value(LengthOfLine(AC))",
        text_cdl=("IsoscelesTriangle(ABC)", "Equal(MeasureOfAngle(CAB),40)", "Equal(LengthOfLine(AB),7)"),
    )  # fmt: skip
    rejections = Rejections()
    items = list(backward_versions(apex, rejections=rejections))
    assert [item.hidden_value for item in items] == ["7"]
    assert rejections.counts == {"the number does not influence the answer": 1}


def test_numbers_inside_expressions_are_candidates_but_exponents_and_pi_are_not() -> None:
    problem = Problem(
        problem_id="1", construction_cdl=("Shape(AB,BC,CA)",), goal_cdl="Value(x)",
        image_cdl=("Equal(LengthOfLine(AB),3*x^2-5)", "Equal(LengthOfLine(BC),2*pi)"),
    )  # fmt: skip
    assert [c.number.text for c in candidates(problem)] == ["3", "5", "2"]
    assert {c.unknown for c in candidates(problem)} == {"y"}


def test_a_parent_without_a_certified_answer_has_no_backward_version() -> None:
    rejections = Rejections()
    free = Problem(problem_id="f", construction_cdl=("Shape(AB,BC,CA)",), goal_cdl="Value(LengthOfLine(AB))")
    assert make_backward(free, rejections=rejections) is None
    assert rejections.counts == {"the parent has no certified answer": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_rewording_keeps_the_answer(kind: Kind) -> None:
    for name in ("ladder", "tangent", "rhombus", "inscribed", "sector"):
        found = certified(SAMPLES[name], paraphrase(SAMPLES[name], kind, seed=4), kind)
        assert found.certified, found.reason
        assert found.problem.subset == "aug" and found.problem.parent_id == name


def test_a_change_of_units_scales_the_answer() -> None:
    area = certified(SAMPLES["height"], paraphrase(SAMPLES["height"], "units"), "units")
    assert area.problem.problem_answer == "1500*sqrt(3)"


def test_units_do_not_fit_where_an_unknown_is_tied_to_a_length() -> None:
    with pytest.raises(EtudeError, match="ties an unknown to a unit"):
        paraphrase(SAMPLES["midline"], "units")


def test_a_mirrored_picture_is_the_mirror_image() -> None:
    twice = paraphrase(paraphrase(SAMPLES["thales"], "mirror"), "mirror")
    assert set(twice.facts) == set(SAMPLES["thales"].facts)
    once = Realiser(paraphrase(SAMPLES["ladder"], "mirror")).solve().coordinates
    (ax, ay), (bx, by), (cx, cy) = (once[p] for p in "ACB")
    assert (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) < 0  # A, C, B ran counter-clockwise before


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("In triangle ABC, AB and AC are equal, angle CAB measures 40 degrees. How large is angle ABC?", ""),
        ("In triangle ABC, AB = AC and angle CAB is 50 degrees. Find angle ABC.", "numbers changed"),
        ("In triangle ABD, AB = AD and angle DAB is 40 degrees. Find angle ABD.", "names lost: C"),
        ("In triangle ABC, AB = AC = DE and angle CAB is 40 degrees. Find angle ABC.", "names added: D, E"),
        ("", "it is empty"),
    ],
)  # fmt: skip
def test_a_model_s_rewording_must_keep_numbers_and_names(said: str, reason: str) -> None:
    register_scripted("reworder", lambda conversation: said)
    [found] = reword(chat_model("scripted/reworder"), [SAMPLES["isosceles"]])
    assert found.reason.startswith(reason) and (found.problem is None) == bool(reason)


def test_a_round_trip_through_the_model_s_own_facts_must_have_the_old_answer() -> None:
    new = "AB and AC are equally long in triangle ABC; angle CAB = 40 degrees. What is angle ABC?"
    equal = "Equal(LengthOfLine(AB),LengthOfLine(AC))"
    facts = f"{equal}\nEqual(MeasureOfAngle(CAB),{{angle}})\nValue(MeasureOfAngle(ABC))"
    for angle, kept in ((40, True), (44, False)):
        answers = facts.replace("{angle}", str(angle))
        register_scripted("both", lambda c, a=answers: a if "notation" in c[0]["content"] else new)
        [found] = reword(chat_model("scripted/both"), [SAMPLES["isosceles"]], round_trip=True)
        assert (found.problem is not None) == kept


def test_the_article_a_is_no_point() -> None:
    assert names_of("A ladder AB leans at P Q R") == set("ABPQR")
    assert what_changed("Find x.", "Find  x.") == "it is the old wording"


def test_a_picture_is_the_same_every_time_and_shows_what_is_given() -> None:
    problem = SAMPLES["parallels"]
    first, second = (render_drawing(problem, Realiser(problem).solve()) for _ in range(2))
    assert first.svg() == second.svg() and first.png() == second.png()
    root = ElementTree.fromstring(first.svg())
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert sorted(texts) == sorted(["A", "B", "C", "D", "E", "4", "6", "5", "?"])


def test_labels_lie_on_the_page_and_off_each_other() -> None:
    for problem in SAMPLES.values():
        drawing = render_drawing(problem, Realiser(problem).solve())
        places = np.array([shape.points[0] for shape in drawing.shapes if shape.kind == "text"])
        assert (places > 0).all() and (places < [drawing.width, drawing.height]).all()
        apart = np.abs(places[:, None] - places[None]).max(-1) + 99 * np.eye(len(places))
        assert apart.min() > 6


def test_what_is_written_in_a_picture_is_escaped() -> None:
    hostile = SAMPLES["ladder"].changed(problem_id="<script>")
    assert "<script>" not in render_drawing(hostile, Realiser(hostile).solve()).svg()
    assert file_name("../../etc/passwd") == "_.._etc_passwd"


def test_a_problem_without_a_picture_cannot_be_drawn() -> None:
    free = SAMPLES["ladder"].changed(text_cdl=("Equal(LengthOfLine(AB),1)", "Equal(LengthOfLine(AB),2)"))
    with pytest.raises(EtudeError, match="no picture"):
        render_drawing(free, Realiser(free).solve())


def test_the_forward_chainer_computes_but_solves_no_equations() -> None:
    assert forward_chain(SAMPLES["rhombus"]).value == pytest.approx(40)
    assert forward_chain(SAMPLES["parallels"]).value == pytest.approx(12.5)
    assert forward_chain(SAMPLES["midline"]).value is None
    derived = forward_chain(SAMPLES["ladder"])
    assert derived.value == pytest.approx(12) and any(
        "Pythagoras" in step or "cosines" in step for step in derived.steps
    )


def test_the_verbs_build_solve_and_draw_the_samples(tmp_path: Path) -> None:
    built = build("backward", problems="samples", out=tmp_path / "b.jsonl", per_problem=2)
    assert built.built == len(read_problems(tmp_path / "b.jsonl")) >= 20
    solved = solve(tmp_path / "b.jsonl", out=tmp_path / "answers.csv")
    assert solved.right == solved.problems == built.built and solved.wrong == 0
    drawn = render("samples", out=tmp_path / "png", ids=("ladder,thales",), kind="png")
    assert (
        all(Path(name).read_bytes().startswith(b"\x89PNG") for name in drawn.written)
        and len(drawn.written) == 2
    )
    pictures = build("diagrams", problems="samples", out=tmp_path / "svg")
    assert len(list((tmp_path / "svg").glob("*.svg"))) == pictures.built == 12
    again = build("backward", problems="samples", out=tmp_path / "b.jsonl", per_problem=2)
    assert again == built


def test_a_bad_problem_stops_the_build_or_is_skipped_by_name(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    good = SAMPLES["ladder"].model_dump(mode="json")
    bad = {**good, "problem_id": "bad", "image_cdl": ["Bogus(AB)"]}
    path.write_text(json.dumps(good) + "\n" + json.dumps(bad) + "\n")
    with pytest.raises(EtudeError, match=r"problem bad: image_cdl: .*unknown predicate 'Bogus'"):
        build("backward", problems=path, out=tmp_path / "b.jsonl")
    done = build("backward", problems=path, out=tmp_path / "b.jsonl", skip_unsupported=True)
    assert done.built == 1 and len(done.skipped) == 1 and "Bogus" in done.skipped[0]


def test_wrong_places_and_ids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EtudeError, match=r"needs a \.jsonl file"):
        build("backward", problems="samples", out=tmp_path / "x.txt")
    with pytest.raises(EtudeError, match="no such problem"):
        solve("samples", ids=("nobody",))


_MANY = """
import sys
from pathlib import Path
from etude.methods.geoeval import building
made = building.backward_versions
def counted(problem, seed, rejections):
    with open(sys.argv[2], "a") as log:
        log.write(problem.problem_id + chr(10))
    return made(problem, seed, rejections=rejections)
building.backward_versions = counted
building.build("backward", problems=Path(sys.argv[1]), out=Path(sys.argv[3]))
"""


@pytest.mark.slow
def test_a_killed_build_goes_on_where_it_stopped(tmp_path: Path) -> None:
    problems = [p.changed(problem_id=f"{p.problem_id}{i}") for i in range(5) for p in SAMPLES.values()]
    path, log, out = tmp_path / "p.jsonl", tmp_path / "log", tmp_path / "b.jsonl"
    path.write_text("".join(p.model_dump_json() + "\n" for p in problems))
    command = [sys.executable, "-c", _MANY, str(path), str(log), str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment)
    steps = tmp_path / ".b.jsonl.run" / "steps"
    deadline = time.monotonic() + 60
    while len(list(steps.glob("*.json"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = 25 * len(list(steps.glob("*.json")))
    before = log.read_text().split()
    assert 0 < finished < len(problems) and not out.exists()
    subprocess.run(command, env=environment, check=True)
    after = log.read_text().split()[len(before) :]
    assert len(after) == len(problems) - finished
    straight = build("backward", problems=path, out=tmp_path / "straight.jsonl")
    assert out.read_text() == (tmp_path / "straight.jsonl").read_text() and straight.built > 40


def test_a_number_that_two_pictures_give_back_is_rejected() -> None:
    rejections = Rejections()
    items = list(backward_versions(SAMPLES["height"], rejections=rejections))
    assert "60" not in [item.hidden_value for item in items]  # the sine of 60 and of 120 degrees is the same
    assert rejections.counts["several numbers give this answer"] == 1
