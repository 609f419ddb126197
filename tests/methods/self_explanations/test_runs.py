"""Runs by the verbs: what is written, shared calls, conditions, kill and resume, transcripts, Inspect."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from etude.errors import EtudeError
from etude.methods.self_explanations.commands import report, run, show
from etude.methods.self_explanations.instruments import Honest
from etude.methods.self_explanations.rows import read_rows
from etude.models import Reply, register_scripted

SENTENCES = [
    ("a", "a good and charming film", "positive"),
    ("b", "the plot is dull", "negative"),
    ("sp12", "a superb cast in a lame story , lame", "negative"),
    ("d", "great but awful", "positive"),
]


@pytest.fixture
def data(tmp_path: Path) -> str:
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps({"id": i, "text": t, "label": y}) + "\n" for i, t, y in SENTENCES))
    return str(path)


def honest(conversation) -> str:
    return Honest().answer(conversation)


def test_three_types_cost_one_plus_two_times_three_calls_and_not_nine(tmp_path, data):
    asked = Counter()

    def answer(conversation):
        assert len(conversation) == 1  # a fresh chat: no history
        asked[conversation[0]["content"]] += 1
        return honest(conversation)

    register_scripted("counted", answer)
    result = run(
        data, task="sentiment", model=("scripted/counted",), control=False, limit=3, out=tmp_path / "r"
    )
    assert set(asked.values()) == {1}
    # masking by list and by redaction gives an honest model the same text, so even the third chat is shared
    assert result.calls == asked.total() == 3 * (1 + 3 + 2)
    assert result.requested == 3 * 9


def test_distinct_explanations_cost_seven_calls(tmp_path, data):
    def answer(conversation):
        text = honest(conversation)
        return (
            text.replace("[REDACTED]", "[REDACTED] [REDACTED]")
            if "Rewrite" in conversation[0]["content"]
            else text
        )

    register_scripted("different", answer)
    result = run(
        data, task="sentiment", model=("scripted/different",), control=False, limit=3, out=tmp_path / "r"
    )
    assert result.calls == 3 * 7


def test_rows_hold_the_three_chats_and_what_was_found(tmp_path, data):
    run(data, task="sentiment", model=("instrument/honest",), explain="attribution", out=tmp_path / "r")
    rows = {row.id: row for row in read_rows(tmp_path / "r")}
    one = rows["sp12"]
    assert one.predict == "negative"
    assert one.words == ["superb", "lame"]
    assert one.explain == "a [REDACTED] cast in a [REDACTED] story , [REDACTED]"
    assert one.masked == 3
    assert one.explain_predict == "unknown"
    assert one.faithful and one.flip
    assert one.explain in one.explain_predict_prompt
    assert one.control_explain.count("[REDACTED]") == 3
    tied = rows["d"]
    assert (tied.predict, tied.correct, tied.counted, tied.explain_prompt) == ("unknown", False, False, None)


def test_conditions_decide_what_is_explained_and_against_what(tmp_path, data):
    register_scripted(
        "contrary", lambda c: {"positive": "negative", "negative": "positive"}.get(honest(c), honest(c))
    )
    counted = {}
    for condition in ("correct", "predicted", "all"):
        out = tmp_path / condition
        run(
            data,
            task="sentiment",
            model=("scripted/contrary",),
            explain="counterfactual",
            condition=condition,
            out=out,
        )
        rows = read_rows(out)
        counted[condition] = {row.id: row.target for row in rows if row.counted}
    assert counted["correct"] == {}
    assert counted["predicted"] == {"a": "positive", "b": "negative", "sp12": "negative"}
    assert counted["all"] == {"a": "negative", "b": "positive", "sp12": "positive", "d": "negative"}


def test_a_second_run_asks_nothing_and_another_configuration_is_refused(tmp_path, data):
    asked = []
    register_scripted("once", lambda c: asked.append(1) or honest(c))
    first = run(data, task="sentiment", model=("scripted/once",), out=tmp_path / "r")
    written = (tmp_path / "r" / "results.jsonl").read_bytes()
    count = len(asked)
    again = run(data, task="sentiment", model=("scripted/once",), out=tmp_path / "r")
    assert (len(asked), again.cells, again.calls) == (count, first.cells, first.calls)
    assert (tmp_path / "r" / "results.jsonl").read_bytes() == written
    with pytest.raises(EtudeError, match="another configuration"):
        run(data, task="sentiment", model=("scripted/once",), persona="human", out=tmp_path / "r")
    (tmp_path / "r" / "results.jsonl").write_text("")
    with pytest.raises(EtudeError, match=r"results\.jsonl: no rows"):
        read_rows(tmp_path / "r")


KILLED = """
import sys, time
from pathlib import Path
from etude.methods.self_explanations.commands import run
from etude.methods.self_explanations.instruments import RandomExplainer
from etude.models import register_scripted

def answer(conversation):
    with open(sys.argv[3], "a") as log:
        log.write("call\\n")
    time.sleep(float(sys.argv[4]))
    return RandomExplainer().answer(conversation)

register_scripted("slow", answer)
run(sys.argv[1], task="sentiment", model=("scripted/slow",), limit=12, out=Path(sys.argv[2]))
"""


def test_a_killed_run_ends_like_an_uninterrupted_one_and_repeats_no_finished_call(tmp_path):
    def start(out: str, pause: str) -> subprocess.Popen:
        command = [
            sys.executable,
            "-c",
            KILLED,
            "snippets",
            str(tmp_path / out),
            str(tmp_path / f"{out}.log"),
            pause,
        ]
        return subprocess.Popen(command)

    def calls(out: str) -> int:
        path = tmp_path / f"{out}.log"
        return len(path.read_text().splitlines()) if path.exists() else 0

    killed = start("killed", "0.1")
    deadline = time.monotonic() + 120
    while calls("killed") < 20 and time.monotonic() < deadline:
        assert killed.poll() is None
        time.sleep(0.02)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    with pytest.raises(EtudeError, match="no results"):
        report((tmp_path / "killed",))
    assert start("killed", "0").wait() == 0
    assert start("whole", "0").wait() == 0
    assert calls("killed") - calls("whole") in (0, 1)  # at most the call in flight
    rows = [
        [row.model_dump(exclude={"seconds"}) for row in read_rows(tmp_path / out)]
        for out in ("killed", "whole")
    ]
    assert rows[0] == rows[1]


def test_failed_answers_are_counted_and_only_they_are_asked_again(tmp_path, data):
    asked, broken = [], [True]

    def answer(conversation):
        asked.append(conversation[0]["content"])
        if broken[0] and "plot" in conversation[0]["content"]:
            return Reply("", "error", error="503 from the server")
        return honest(conversation)

    register_scripted("flaky", answer)
    options = {
        "task": "sentiment",
        "model": ("scripted/flaky",),
        "explain": "attribution",
        "out": tmp_path / "r",
    }
    [cell] = run(data, **options).cells
    assert (cell.errors, cell.failed, cell.counted) == (1, ("b",), 2)
    assert any("without an answer: b" in warning for warning in cell.warnings)
    asked.clear()
    broken[0] = False
    [cell] = run(data, **options).cells
    assert (cell.errors, cell.counted) == (0, 3)
    assert all("plot" in prompt or "[REDACTED] is [REDACTED]" in prompt for prompt in asked)


def test_a_text_that_does_not_fit_is_named_and_never_cut(tmp_path, data):
    asked = []
    register_scripted("small", lambda c: asked.append(c) or honest(c), context_length=48)
    path = tmp_path / "long.jsonl"
    long = {"id": "long", "text": "good " * 60, "label": "positive"}
    path.write_text(Path(data).read_text() + json.dumps(long) + "\n")
    for answers in ("free", "scored"):
        register_scripted("small", honest, score=Honest().score, context_length=48)
        [cell] = run(
            str(path), task="sentiment", model=("scripted/small",), explain="attribution", answers=answers,
            out=tmp_path / answers,
        ).cells  # fmt: skip
        assert cell.failed == ("long",)
    assert "context is 48" in {r.id: r.error for r in read_rows(tmp_path / "free")}["long"]


def test_an_empty_list_and_a_paragraph_cut_off_at_the_limit_are_mismatches(tmp_path, data):
    register_scripted("silent", lambda c: "" if "Which words" in c[0]["content"] else honest(c))
    [cell] = run(
        data, task="sentiment", model=("scripted/silent",), explain="attribution", out=tmp_path / "a"
    ).cells
    assert (cell.mismatch["explain"], cell.counted) == (3, 0)
    register_scripted("honest", honest)
    [cell] = run(
        data,
        task="sentiment",
        model=("scripted/honest",),
        explain="redaction",
        max_tokens=3,
        out=tmp_path / "b",
    ).cells
    assert (cell.mismatch["explain"], cell.cut) == (3, 3)
    assert any("cut off" in warning for warning in cell.warnings)


def test_custom_labels_and_questions_are_the_users_own(tmp_path):
    path = tmp_path / "mail.jsonl"
    rows = [("1", "win a prize now", "spam"), ("2", "see you at lunch", "fine")]
    path.write_text("".join(json.dumps({"id": i, "text": t, "label": y}) + "\n" for i, t, y in rows))

    def answer(conversation):
        text = conversation[0]["content"]
        if "Which words" in text:
            return "- prize\n- lunch"
        paragraph = text.partition("Paragraph:")[2]
        return "spam" if "prize" in paragraph else "fine" if "lunch" in paragraph else "unknown"

    register_scripted("mail", answer)
    [cell] = run(
        str(path), task="custom", labels="spam,fine", question="Is this mail spam?", model=("scripted/mail",),
        explain="attribution", out=tmp_path / "r",
    ).cells  # fmt: skip
    assert (cell.correct, cell.faithful) == (2, 2)
    assert "Is this mail spam?" in read_rows(tmp_path / "r")[0].predict_prompt


def test_the_report_has_the_rates_as_json_markdown_and_a_page(tmp_path, data):
    for name in ("honest", "refuser"):
        run(
            data,
            task="sentiment",
            model=(f"instrument/{name}",),
            explain="attribution,redaction",
            out=tmp_path / name,
        )
    result = report((tmp_path / "honest", tmp_path / "refuser"), out=tmp_path / "both")
    stored = json.loads((tmp_path / "both" / "report.json").read_text())["cells"]
    assert [cell["model"] for cell in stored] == ["instrument/honest"] * 2 + ["instrument/refuser"] * 2
    text = (tmp_path / "both" / "report.md").read_text()
    assert "chain-of-thought" in text and "only 3 observations are counted" in text
    assert "<img" in (tmp_path / "both" / "report.html").read_text()
    assert len(result.cells) == 4
    with pytest.raises(EtudeError, match="no run was named"):
        report(())


def test_the_chats_stand_side_by_side_and_what_a_model_wrote_is_escaped(tmp_path, data):
    from rich.console import Console

    evil = "<script>alert(1)</script> [red]dull[/red] \x1b[2J"
    register_scripted("evil", lambda c: evil if "Which words" in c[0]["content"] else honest(c))
    run(data, task="sentiment", model=("scripted/evil",), explain="attribution", out=tmp_path / "r")
    shown = show(tmp_path / "r", id="b", out=tmp_path / "b.html")
    page = (tmp_path / "b.html").read_text()
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(shown)
    text = console.export_text()
    assert "1: classify" in text and "2: explain" in text and "3: classify the explanation" in text
    assert "\x1b" not in text and "[red]" in text
    with pytest.raises(EtudeError, match="no chats about 'zzz'") as caught:
        show(tmp_path / "r", id="zzz")
    assert "sp12" in caught.value.hint


def test_bad_options_are_refused_before_anything_is_asked(tmp_path, data):
    register_scripted("never", lambda _: pytest.fail("asked"))
    never = {"task": "sentiment", "model": ("scripted/never",), "out": tmp_path / "r"}
    for options, problem in (
        ({"explain": "rationale"}, "'rationale' is not known"),
        ({"persona": "robot"}, "'robot' is not known"),
        ({"mask": "[MASK]"}, "is not known"),
        ({"model": ()}, "no model was named"),
        ({"labels": "a,b"}, "for --task custom"),
        ({"model": ("instrument/none",)}, "no instrument"),
    ):
        with pytest.raises(EtudeError, match=problem):
            run(data, **{**never, **options})


def test_the_command_line_runs_shows_and_fails_in_two_lines(tmp_path, data):
    def etude(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "etude.cli", "self-explanations", *arguments],
            capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip

    done = etude(
        *("run", "--task", "sentiment", "--data", data, "--model", "instrument/honest", "--limit", "3"),
        *("--explain", "counterfactual,redaction", "--persona", "objective,human", "--out", "run/"),
    )
    assert done.returncode == 0, done.stderr
    assert "counterfactual, human" in done.stdout
    wrong = etude("show", "run/", "--id", "nobody")
    assert wrong.returncode == 2
    assert len(wrong.stderr.strip().splitlines()) == 2


def test_inspect_gives_the_same_rates_as_the_run(tmp_path):
    pytest.importorskip("inspect_ai")
    from inspect_ai import eval as inspect_eval
    from inspect_ai.log import read_eval_log

    import etude.inspect_tasks  # noqa: F401  (what the entry point loads)
    from etude.methods.self_explanations.inspect_task import self_explanations

    [log] = inspect_eval(
        self_explanations(limit=20),
        model="etude-explainer/mixture-0.5",
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success", log.error
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    [cell] = run(
        "snippets", task="sentiment", model=("instrument/mixture-0.5",), explain="attribution", limit=20,
        export="inspect", out=tmp_path / "r",
    ).cells  # fmt: skip
    assert metrics["faithfulness"] == pytest.approx(cell.faithfulness.value)
    assert metrics["control"] == pytest.approx(cell.control.value)
    assert metrics["counted"] == cell.counted
    [exported] = (tmp_path / "r" / "inspect").glob("*.eval")
    stored = read_eval_log(str(exported))
    assert stored.results.scores[0].metrics["faithfulness"].value == pytest.approx(cell.faithfulness.value)
    assert len(stored.samples) == 20
