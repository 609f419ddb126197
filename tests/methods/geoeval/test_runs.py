"""Running, scoring and reporting with models of known quality; a killed run asks nothing twice."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from etude.cli import main
from etude.errors import EtudeError
from etude.methods.geoeval import report, run, score
from etude.methods.geoeval.baselines import chance_level, random_choice
from etude.methods.geoeval.readers import read_items
from etude.methods.geoeval.summary import accuracy, paired_tests
from etude.models import Reply, register_scripted

QUIZ = (
    "id,question,answer,options,subset,parent_id,source\n"
    "1,A square has side 4. What is its area?,16,,main,,ours\n"
    "2,A rectangle is 3 by 4. How long is its diagonal?,5,,main,,ours\n"
    "3,What is the area of a circle with radius 3?,9*pi,6*pi|9*pi|12*pi,main,,other\n"
    "4,A square has side X and area 16. What is X?,4,,backward,1,ours\n"
    "5,A rectangle is 3 by X and its diagonal is 5. What is X?,4,,backward,2,ours\n"
)
ANSWERS = {
    "A square has side 4": "16",
    "A rectangle is 3 by 4": "5",
    "What is the area": "(B)",
    "has side X": "4",
}


def oracle(conversation):
    """Knows all answers but that to problem 5."""
    text = str(conversation[-1]["content"])
    return next(
        (f"Clearly. The answer is {said}." for asked, said in ANSWERS.items() if asked in text), "No idea."
    )


@pytest.fixture
def quiz(tmp_path):
    path = tmp_path / "quiz.csv"
    path.write_text(QUIZ)
    register_scripted("oracle", oracle)
    return path


@pytest.fixture
def pictured(tmp_path):
    """Two problems, one with a picture and a fact."""
    Image.new("RGB", (8, 8), "white").save(tmp_path / "7.png")
    path = tmp_path / "pictured.csv"
    path.write_text("id,question,answer,image,facts\n7,Find x.,5,7.png,AC = x|AB = 3\n8,Find 2+3.,5,,\n")
    return path


def _rows(folder):
    return {row["id"]: row for row in pl.read_parquet(Path(folder) / "results.parquet").iter_rows(named=True)}


def test_a_model_of_known_quality_gets_the_score_it_should(quiz, tmp_path):
    result = run(quiz, model=("scripted/oracle", "solver/constant"), input=("text",), out=tmp_path / "logs")
    oracle_summary, constant_summary = result.summaries
    assert (oracle_summary.accuracy.correct, oracle_summary.accuracy.items) == (4, 5)
    assert constant_summary.accuracy.correct == 0
    assert oracle_summary.groups["subset"]["main"].share == 1.0
    assert oracle_summary.groups["subset"]["backward"].share == 0.5
    assert oracle_summary.groups["source"]["ours"].share == 0.75
    assert oracle_summary.statuses == {"answered": 4, "none": 1}
    rows = _rows(tmp_path / "logs")
    columns = "id subset source input steps length response pred gold correct method status tokens seconds"
    assert set(columns.split()) <= set(rows["1"])


def test_letters_count_where_the_problem_has_choices(quiz, tmp_path):
    run(quiz, model=("scripted/oracle",), input=("text",), out=tmp_path / "logs")
    row = _rows(tmp_path / "logs")["3"]
    assert (row["pred"], row["gold"], row["correct"]) == ("B", "9*pi", True)


def test_the_released_rule_accepts_what_the_symmetric_one_refuses(quiz, tmp_path):
    register_scripted("very-negative", lambda conversation: "The answer is -1000000.")
    run(quiz, model=("scripted/very-negative",), input=("text",), out=tmp_path / "logs")
    assert score(tmp_path / "logs").summaries[0].accuracy.correct == 0
    assert score(tmp_path / "logs", rule="released").summaries[0].accuracy.correct == 5


def test_pairs_are_tested_between_arms_and_between_parents_and_built_problems(quiz, tmp_path):
    run(quiz, model=("scripted/oracle", "solver/constant"), input=("text",), out=tmp_path / "logs")
    arms, built, _ = score(tmp_path / "logs").tests
    assert (arms.pairs, arms.only_first, arms.only_second) == (5, 4, 0)
    assert (built.first, built.second) == ("scripted/oracle: parents", "scripted/oracle: backward")
    assert (built.pairs, built.only_first, built.only_second) == (2, 1, 0)


def test_wilson_intervals_agree_with_statsmodels():
    from statsmodels.stats.proportion import proportion_confint

    found = accuracy([True] * 7 + [False] * 13)
    assert (found.low, found.high) == pytest.approx(proportion_confint(7, 20, method="wilson"))


def test_a_run_with_several_inputs_compares_them(quiz, tmp_path):
    result = run(quiz, model=("scripted/oracle",), input=("text", "text+facts"), out=tmp_path / "logs")
    assert [s.input for s in result.summaries] == ["text", "text+facts"]
    assert score(tmp_path / "logs").tests[0].first == "scripted/oracle · text"


def test_pictures_are_shown_to_models_that_see(pictured, tmp_path):
    seen = []

    def sees(conversation):
        seen.append(conversation[-1]["content"])
        return Reply("The answer is 5.", "stop")

    register_scripted("sees", sees)
    run(pictured, model=("scripted/sees",), input=("all",), out=tmp_path / "logs")
    shown, text_only = seen
    assert [part["type"] for part in shown] == ["image_url", "text"]
    assert shown[0]["image_url"]["url"].startswith("data:image/png;base64,")
    assert "AC = x" in shown[1]["text"]
    assert isinstance(text_only, str) and "attached" not in text_only


def test_a_served_model_gets_the_picture_with_the_request(pictured, tmp_path, monkeypatch):
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "cache"))
    requests = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            choice = {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "x = 5"},
            }
            body = json.dumps(
                {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        result = run(
            pictured, model=("openai/m",), input=("text+diagram",), out=tmp_path / "logs", max_connections=1,
            base_url=f"http://127.0.0.1:{server.server_port}/v1",
        )  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
    assert result.summaries[0].accuracy.share == 1.0
    contents = [request["messages"][0]["content"] for request in requests]
    assert [part["type"] for part in contents[0]] == ["image_url", "text"]
    assert contents[0][0]["image_url"]["url"].startswith("data:image/png;base64,") and isinstance(
        contents[1], str
    )


def test_a_model_that_reads_text_only_says_so_when_shown_a_picture(pictured, tmp_path):
    register_scripted("oracle", oracle)
    with pytest.raises(EtudeError, match="reads text only"):
        run(pictured, model=("scripted/oracle",), input=("text+diagram",), out=tmp_path / "logs")


def test_pictures_are_checked_before_anything_is_asked(pictured, tmp_path):
    (tmp_path / "7.png").write_bytes(b"broken")
    asked = []
    register_scripted("counts", lambda conversation: asked.append(1) or Reply("5", "stop"))
    with pytest.raises(EtudeError, match="not a picture"):
        run(pictured, model=("scripted/counts",), input=("text+diagram",), out=tmp_path / "logs")
    assert asked == []


def test_programs_of_models_are_run_and_their_output_is_the_answer(quiz, tmp_path):
    programs = {
        "side 4": "```python\nprint(4 * 4)\n```",
        "3 by 4": "```python\nimport os\nos.fork()\n```",
        "circle": "I would rather not.",
        "has side X": "```python\nprint(2 + 2)\n```",
        "3 by X": "```python\n1/0\n```",
    }

    def writes(conversation):
        return next(program for key, program in programs.items() if key in str(conversation[-1]["content"]))

    register_scripted("writes", writes)
    run(quiz, model=("scripted/writes",), input=("text",), method="pot", out=tmp_path / "logs")
    rows = _rows(tmp_path / "logs")
    assert [rows[i]["correct"] for i in "12345"] == [True, False, False, True, False]
    assert [rows[i]["status"] for i in "12345"] == [
        "answered", "program failed", "program missing", "answered", "program failed"
    ]  # fmt: skip


def test_a_second_model_reads_only_what_the_rules_cannot(quiz, tmp_path):
    asked = []

    def reads(conversation):
        asked.append(conversation[-1]["content"])
        return "4"

    register_scripted("reads", reads)
    register_scripted(
        "wordy", lambda c: "It is four." if "X" in str(c[-1]["content"]) else "The answer is 1."
    )
    run(quiz, model=("scripted/wordy",), input=("text",), extractor="scripted/reads", out=tmp_path / "logs")
    rows = _rows(tmp_path / "logs")
    assert len(asked) == 2 and all("It is four." in text for text in asked)
    assert [rows[i]["correct"] for i in "12345"] == [False, False, False, True, True]
    assert rows["4"]["read_by"] == "model"


def test_refused_empty_and_truncated_responses_are_told_apart(quiz, tmp_path):
    replies = iter(
        [
            Reply("", "refused"),
            Reply("", "stop"),
            Reply("So far 3 and", "length"),
            Reply("I cannot solve this.", "stop"),
            Reply("Who knows.", "stop"),
        ]
    )
    register_scripted("odd", lambda conversation: next(replies))
    run(quiz, model=("scripted/odd",), input=("text",), out=tmp_path / "logs")
    rows = _rows(tmp_path / "logs")
    assert [rows[i]["status"] for i in "12345"] == ["refused", "empty", "truncated", "refused", "none"]


def test_a_failed_request_is_no_answer_and_is_asked_again(quiz, tmp_path):
    attempts = []

    def fails_once(conversation):
        attempts.append(1)
        return (
            Reply("", "error", error="overloaded")
            if len(attempts) == 2
            else Reply("The answer is 4.", "stop")
        )

    register_scripted("fails", fails_once)
    with pytest.raises(EtudeError, match=r"1 of 5 answers are missing.*overloaded"):
        run(quiz, model=("scripted/fails",), input=("text",), out=tmp_path / "logs")
    result = run(quiz, model=("scripted/fails",), input=("text",), out=tmp_path / "logs")
    assert len(attempts) == 6 and result.summaries[0].accuracy.items == 5


KILLED = """
import os, sys, time
from pathlib import Path
from etude.methods.geoeval import run
from etude.models import register_scripted

def slow(conversation):
    with open("calls.txt", "a") as handle:
        handle.write(str(conversation[-1]["content"]).split(chr(10))[2] + chr(10))
    if len(Path("calls.txt").read_text().splitlines()) == int(sys.argv[1]):
        Path("waiting").touch()
        time.sleep(600)
    return "The answer is 4."

register_scripted("slow", slow)
run("quiz.csv", model=("scripted/slow",), input=("text",), max_connections=1, out="logs")
"""


def test_a_run_that_was_killed_goes_on_with_the_missing_problems(quiz, tmp_path):
    (tmp_path / "script.py").write_text(textwrap.dedent(KILLED))
    here = Path(__file__).parents[3] / "src"
    environment = {**os.environ, "PYTHONPATH": f"{here}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "script.py"]
    process = subprocess.Popen([*command, "4"], cwd=tmp_path, env=environment)
    while not (tmp_path / "waiting").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list((tmp_path / "logs" / "steps").glob("*.json"))) == 3
    assert score(tmp_path / "logs").summaries[0].accuracy.items == 3  # what is there can be looked at
    subprocess.run([*command, "0"], cwd=tmp_path, env=environment, check=True)
    calls = (tmp_path / "calls.txt").read_text().splitlines()
    assert (
        len(calls) == 6 and len(set(calls)) == 5
    )  # only the answer under way when it was killed is asked again
    whole = run(quiz, model=("solver/constant",), out=tmp_path / "other")
    rows = _rows(tmp_path / "logs")
    assert len(rows) == whole.items == 5
    assert [rows[i]["correct"] for i in "12345"] == [False, False, False, True, True]


def test_another_configuration_in_the_same_folder_is_refused(quiz, tmp_path):
    run(quiz, model=("solver/constant",), out=tmp_path / "logs")
    with pytest.raises(EtudeError, match="another configuration"):
        run(quiz, model=("solver/random-choice",), out=tmp_path / "logs")
    quiz.write_text(QUIZ.replace("16", "17"))
    with pytest.raises(EtudeError, match="another configuration"):
        run(quiz, model=("solver/constant",), out=tmp_path / "logs")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": ()}, "no model was named"),
        ({"model": ("solver/oracle",)}, "no solver"),
        ({"max_connections": 0}, "--max-connections 0"),
        ({"method": "choice-letter"}, "4 problems have no choices"),
        ({"input": ("text+diagram",)}, "none of the problems has a picture"),
        ({"limit": 0}, "--limit 0"),
        ({"subset": "easy"}, "no problems"),
    ],
)
def test_bad_options_are_refused_before_anything_is_asked(quiz, tmp_path, options, message):
    with pytest.raises(EtudeError, match=message):
        run(quiz, **{"model": ("solver/constant",), "out": tmp_path / "logs", **options})


def test_two_files_with_the_same_id_are_refused(quiz, tmp_path):
    (tmp_path / "again.csv").write_text(QUIZ)
    with pytest.raises(EtudeError, match="has a problem of this id too"):
        run((quiz, tmp_path / "again.csv"), model=("solver/constant",), out=tmp_path / "logs")


def test_a_folder_without_answers_is_refused(tmp_path):
    with pytest.raises(EtudeError, match="no answers"):
        score(tmp_path)
    with pytest.raises(EtudeError, match="no run was named"):
        score(())


def test_runs_of_different_problems_are_not_mixed(quiz, tmp_path):
    run(quiz, model=("solver/constant",), out=tmp_path / "a")
    quiz.write_text(QUIZ.replace("side 4", "side 8"))
    run(quiz, model=("solver/random-choice",), out=tmp_path / "b")
    with pytest.raises(EtudeError, match="not the same problem"):
        score((tmp_path / "a", tmp_path / "b"))


def test_random_choices_are_at_chance_and_repeat(tmp_path):
    rows = "".join(f"{n},Which?,b,a|b|c|d\n" for n in range(800))
    (tmp_path / "q.csv").write_text("id,question,answer,options\n" + rows)
    items = read_items(tmp_path / "q.csv")
    share = sum(random_choice(item, seed=1) == "B" for item in items) / len(items)
    assert chance_level(items) == 0.25 and abs(share - 0.25) < 4 * (0.25 * 0.75 / 800) ** 0.5
    assert [random_choice(item, 1) for item in items] == [random_choice(item, 1) for item in items]


def test_the_report_escapes_what_models_write(quiz, tmp_path):
    register_scripted("nasty", lambda conversation: "<script>alert(1)</script> \x1b[2J The answer is 16.")
    run(quiz, model=("scripted/nasty",), input=("text",), out=tmp_path / "logs")
    page = Path(report(tmp_path / "logs", out=tmp_path / "report").page).read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page and "\x1b" not in page
    assert pl.read_csv(tmp_path / "report" / "results.csv").height == 5


def test_a_report_names_the_one_sided_rule_and_guessing(quiz, tmp_path):
    run(quiz, model=("scripted/oracle",), input=("text",), out=tmp_path / "logs")
    released = Path(report(tmp_path / "logs", out=tmp_path / "r", rule="released").page).read_text()
    assert "without an absolute value" in released and "Random choices would be right in 33.3%" in released


def test_check_on_the_command_line_compares_two_answers(capsys):
    main(["geoeval", "check", "3/2*sqrt(3)", "2.598", "--json"])
    assert json.loads(capsys.readouterr().out)["correct"] is True
    main(["geoeval", "check", "B", "15.8", "--option", "13.4", "15.8", "--json"])
    assert json.loads(capsys.readouterr().out)["correct"] is True
    main(["geoeval", "check", "-1000000", "7", "--json"])
    assert json.loads(capsys.readouterr().out)["correct"] is False


def test_a_single_arm_without_pairs_has_no_tests(quiz, tmp_path):
    quiz.write_text("question,answer\nArea?,4\n")
    run(quiz, model=("solver/constant",), out=tmp_path / "logs")
    assert score(tmp_path / "logs").tests == []
    assert paired_tests(pl.read_parquet(tmp_path / "logs" / "results.parquet")) == []
