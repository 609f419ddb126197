"""Runs: what is written, what is refused before a token is spent, resuming, and the exports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from etude.errors import EtudeError
from etude.methods.counting_stars.commands import build, report, run, score
from etude.methods.counting_stars.instruments import Instrument
from etude.methods.counting_stars.tables import answers_of
from etude.models import Reply, register_scripted


@pytest.fixture
def cells(tmp_path) -> Path:
    out = tmp_path / "cells.jsonl"
    build(lengths="1000:4000:1000", stars=8, unit="official", seeds="0-2", out=out)
    return out


def oracle(conversation) -> str:
    return Instrument("oracle").answer(conversation[-1]["content"])


def test_a_run_writes_one_row_for_each_answer_and_each_star(cells, tmp_path):
    result = run(cells, model=("instrument/oracle", "instrument/window-1000"), out=tmp_path / "logs")
    answers = pl.read_parquet(tmp_path / "logs" / "answers.parquet")
    stars = pl.read_parquet(tmp_path / "logs" / "results.parquet")
    assert answers.height == 2 * 12
    assert stars.height == 2 * 12 * 8
    assert {
        "raw",
        "parsed",
        "parse_status",
        "prompt_tokens",
        "cached_tokens",
        "output_tokens",
        "seconds",
    } <= set(answers.columns)
    assert {"position", "depth", "count", "hit", "wrong_hit", "score_official", "score"} <= set(stars.columns)
    means = {s.model: s.score.mean for s in result.summaries}
    assert means["instrument/oracle"] == 1
    assert 0.3 < means["instrument/window-1000"] < 0.7
    assert stars.filter(pl.col("model") == "instrument/oracle")["hit"].all()


def test_a_second_run_asks_nothing(cells, tmp_path, monkeypatch):
    first = run(cells, model=("instrument/oracle",), out=tmp_path / "logs")
    monkeypatch.setattr(Instrument, "answer", lambda *_: pytest.fail("asked again"))
    assert run(cells, model=("instrument/oracle",), out=tmp_path / "logs") == first


def test_a_provider_that_fails_is_asked_for_the_missing_cells_only(cells, tmp_path):
    asked: list[str] = []
    broken = [True]

    def answer(conversation):
        asked.append(conversation[-1]["content"])
        if broken[0] and len(asked) % 3 == 0:
            return Reply("", "error", error="503 from the server")
        return oracle(conversation)

    register_scripted("flaky", answer)
    with pytest.raises(EtudeError, match=r"4 of 12 answers are missing.*503") as caught:
        run(cells, model=("scripted/flaky",), max_connections=2, out=tmp_path / "logs")
    assert "missing ones only" in caught.value.hint
    assert score((tmp_path / "logs",)).summaries[0].answers == 8
    asked.clear()
    broken[0] = False
    result = run(cells, model=("scripted/flaky",), max_connections=2, out=tmp_path / "logs")
    assert len(asked) == 4
    assert result.summaries[0].score.mean == 1


SLOW = """
import sys, time
from pathlib import Path
from etude.methods.counting_stars.commands import run
from etude.methods.counting_stars.instruments import Instrument
from etude.models import register_scripted

def answer(conversation):
    time.sleep(float(sys.argv[3]))
    return Instrument("lossy-0.5").answer(conversation[-1]["content"])

register_scripted("slow", answer)
run(Path(sys.argv[1]), model=("scripted/slow",), max_connections=1, out=Path(sys.argv[2]))
"""


def test_a_run_killed_in_the_middle_is_readable_and_ends_like_an_uninterrupted_one(cells, tmp_path):
    def start(out: str, pause: str) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, "-c", SLOW, str(cells), str(tmp_path / out), pause])

    killed = start("killed", "0.4")
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "killed").glob("steps/*.json"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    partial = answers_of(tmp_path / "killed")
    assert 3 <= len(partial) < 12
    assert score((tmp_path / "killed",)).summaries[0].answers == len(partial)
    assert start("killed", "0").wait() == 0
    assert start("whole", "0").wait() == 0
    assert partial.items() <= answers_of(tmp_path / "killed").items()
    for table in ("answers.parquet", "results.parquet"):
        one, other = (pl.read_parquet(tmp_path / folder / table) for folder in ("killed", "whole"))
        assert one.drop("seconds", strict=False).equals(other.drop("seconds", strict=False))


def test_what_does_not_fit_is_refused_before_anything_is_asked(cells, tmp_path):
    register_scripted("small", lambda _: pytest.fail("asked"), context_length=2000)
    with pytest.raises(EtudeError, match=r"needs [\d,]+ tokens .* reads 2,000"):
        run(cells, model=("scripted/small",), out=tmp_path / "a")
    register_scripted("any", lambda _: pytest.fail("asked"))
    with pytest.raises(EtudeError, match="reads 1,000"):
        run(cells, model=("scripted/any",), context_length=1000, out=tmp_path / "b")
    with pytest.raises(EtudeError, match=r"--max-tokens 63 .*8 stars"):
        run(cells, model=("scripted/any",), max_tokens=63, out=tmp_path / "c")
    with pytest.raises(EtudeError, match="no model"):
        run(cells, model=(), out=tmp_path / "d")
    with pytest.raises(EtudeError, match="max-connections"):
        run(cells, model=("scripted/any",), max_connections=0, out=tmp_path / "e")
    with pytest.raises(EtudeError, match="nested engine"):
        run(cells, model=("scripted/any",), engine="nested", out=tmp_path / "f")


def test_another_configuration_in_the_same_folder_is_refused(cells, tmp_path):
    run(cells, model=("instrument/oracle",), out=tmp_path / "logs")
    with pytest.raises(EtudeError, match="another configuration"):
        run(cells, model=("instrument/middle-loss",), out=tmp_path / "logs")


def test_a_haystack_that_changed_since_the_cells_were_built_stops_the_run(tmp_path, english):
    text = tmp_path / "mine.txt"
    text.write_text(english.text[:30_000], encoding="utf-8")
    build(str(text), lengths="2000", stars=4, unit="official", out=tmp_path / "c.jsonl")
    moved = tmp_path / "moved.txt"
    text.rename(moved)
    with pytest.raises(EtudeError, match="no such file"):
        run(tmp_path / "c.jsonl", model=("instrument/oracle",), out=tmp_path / "a")
    result = run(tmp_path / "c.jsonl", model=("instrument/oracle",), haystack=str(moved), out=tmp_path / "b")
    assert result.summaries[0].score.mean == 1
    moved.write_text("Something else. " * 3000, encoding="utf-8")
    with pytest.raises(EtudeError, match="has changed"):
        run(tmp_path / "c.jsonl", model=("instrument/oracle",), haystack=str(moved), out=tmp_path / "c")


def test_empty_refused_and_cut_off_answers_are_counted_and_never_a_crash(cells, tmp_path):
    replies = [Reply("", "stop"), Reply("I cannot.", "refused"), Reply('{"little_penguin": [1, 2', "length")]
    asked = []

    def answer(_):
        asked.append(1)
        return replies[len(asked) % 3]

    register_scripted("strange", answer)
    [summary] = run(cells, model=("scripted/strange",), out=tmp_path / "logs").summaries
    assert summary.statuses == {"empty": 4, "refused": 4, "overflow": 4}
    assert summary.unreadable == pytest.approx(8 / 12)


def test_the_report_is_a_page_with_pictures_and_tables(cells, tmp_path):
    run(cells, model=("instrument/oracle", "instrument/window-1000"), out=tmp_path / "logs")
    result = report((tmp_path / "logs",), out=tmp_path / "report")
    page = Path(result.page).read_text(encoding="utf-8")
    assert page.count("Heat maps of score by star and length") == 1
    assert "recency" in page
    for name in ("heat_map", "depth_curve", "length_curve"):
        assert (tmp_path / "report" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    heat = pl.read_csv(tmp_path / "report" / "heat_map.csv")
    assert heat.height == 2 * 8 * 4
    assert heat.filter(pl.col("model") == "instrument/oracle")["score"].to_list() == [1.0] * 32
    with pytest.raises(EtudeError, match="no answers"):
        report((tmp_path,), out=tmp_path / "other")
    with pytest.raises(EtudeError, match="no run"):
        score(())


def test_two_runs_are_reported_together_unless_they_contradict_each_other(cells, tmp_path):
    run(cells, model=("instrument/oracle",), out=tmp_path / "a")
    run(cells, model=("instrument/middle-loss",), out=tmp_path / "b")
    assert len(score((tmp_path / "a", tmp_path / "b"), rule="ours").summaries) == 2
    step = next((tmp_path / "a" / "steps").glob("*.json"))
    changed = json.loads(step.read_text())
    changed["record"]["raw"] = "[]"
    (tmp_path / "c" / "steps").mkdir(parents=True)
    (tmp_path / "c" / "cells.jsonl").write_text(cells.read_text())
    (tmp_path / "c" / "steps" / step.name).write_text(json.dumps(changed))
    with pytest.raises(EtudeError, match="differently"):
        score((tmp_path / "a", tmp_path / "c"))


def test_an_exported_inspect_log_holds_prompts_answers_and_scores(cells, tmp_path):
    inspect_log = pytest.importorskip("inspect_ai.log")
    result = run(cells, model=("instrument/window-1000",), export="inspect", out=tmp_path / "logs")
    log = inspect_log.read_eval_log(result.exports[0])
    assert log.status == "success"
    assert len(log.samples) == 12
    assert log.results.scores[0].metrics["mean"].value == pytest.approx(result.summaries[0].score.mean)
    sample = log.samples[0]
    assert "The little penguin counted" in sample.messages[0].text
    assert len(sample.scores["star_scorer"].metadata["hits"]) == 8
    listed = subprocess.run(
        [
            sys.executable,
            "-m",
            "inspect_ai",
            "log",
            "list",
            "--json",
            "--log-dir",
            str(tmp_path / "logs" / "inspect"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "window-1000" in listed.stdout


def test_the_inspect_task_builds_its_own_grid_and_groups_scores_by_length(tmp_path):
    pytest.importorskip("inspect_ai")
    from inspect_ai import eval as inspect_eval

    from etude.methods.counting_stars.inspect_task import counting_stars

    [log] = inspect_eval(
        counting_stars(lengths="1000,2000", stars=8, task="reason"),
        model="etude-instrument/window-800",
        log_dir=str(tmp_path),
        display="none",
    )
    assert log.status == "success"
    grouped = {m.name: m.value for s in log.results.scores for m in s.metrics.values()}
    assert grouped["1000"] > grouped["2000"]


SERVER = """
import sys, time, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.n_ctx, parameters.n_parallel = sys.argv[1], 4096, 1
parameters.port, parameters.verbosity, parameters.warmup = 0, 0, False
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_served_model_is_asked_like_any_other(tmp_path):
    pytest.importorskip("xllamacpp")
    from etude.models import load_tokenizer
    from etude.models.embedded import gguf_file

    load_tokenizer("smollm2")
    build(lengths="256,512", stars=2, tokenizer="smollm2", placement="nested", out=tmp_path / "c.jsonl")
    command = [sys.executable, "-c", SERVER, str(gguf_file("smollm2"))]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        address = next(line for line in server.stdout if line.startswith("http")).strip()
        result = run(
            tmp_path / "c.jsonl", model=("openai/smollm2",), base_url=f"{address}/v1", max_connections=1,
            context_length=4096, out=tmp_path / "logs",
        )  # fmt: skip
    finally:
        server.kill()
        server.wait()
    answers = pl.read_parquet(tmp_path / "logs" / "answers.parquet")
    assert result.summaries[0].answers == answers.height == 2
    assert (answers["prompt_tokens"] > answers["length_tokens"]).all()
    assert answers["raw"].str.len_chars().min() > 0


@pytest.mark.slow
def test_nested_reading_gives_the_log_probabilities_of_independent_reading(english):
    from etude.methods.counting_stars.builder import build_cells
    from etude.methods.counting_stars.cells import rebuild
    from etude.methods.counting_stars.grid import StarGrid
    from etude.methods.counting_stars.nested import answer_rows, score_rows, tokens_to_read
    from etude.methods.counting_stars.runner import chat_rows
    from etude.models import load_causal_lm

    lm = load_causal_lm("smollm2")
    grid = StarGrid((100, 200, 300), 6, placement="nested")
    rows = chat_rows(lm.tokenizer, [rebuild(c, english) for c in build_cells(grid, english, lm.tokenizer)])
    options = [[[10, 11, 12], [20]]] * 3
    together = dict(score_rows(lm, rows, options))
    for index, row in enumerate(rows):
        [(_, alone)] = score_rows(lm, [row], [options[index]])
        for one, other in zip(together[index], alone, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=2e-3)
    total, read = tokens_to_read(rows)
    assert read < 0.8 * total
    cached = {row: known for row, _, known, _ in answer_rows(lm, rows, 2)}
    assert sum(cached.values()) == total - read
