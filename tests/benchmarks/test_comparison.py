"""The shape of a benchmark's figures: verdicts are computed, missing peers are named, results are kept."""

import importlib
import importlib.util
import json
import os
import sys
from itertools import count
from pathlib import Path

import pytest
from benchmarks._comparison import Comparison, Figure, Missing, Worker, in_turn, ratios
from benchmarks._peers import PEERS, Peer

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("values", "at_most", "met"),
    [((1.9, 2.0, 9.0), False, True), ((1.0, 1.9, 9.0), False, False), ((1.0, 1.9, 9.0), True, True)],
)
def test_a_target_is_met_by_the_median(values, at_most, met):
    assert Figure("work", "peer", "seconds", values, 2.0, at_most=at_most).met is met
    assert Figure("work", "peer", "seconds", values).met is None


def test_arms_take_turns_and_the_warm_up_is_not_counted():
    ticks, order = count(), []
    arms = {"ours": lambda: order.append("ours"), "peer": lambda: order.append("peer")}
    taken = in_turn(arms, 3, clock=lambda: float(next(ticks)), warm=True)
    assert order == ["ours", "peer"] * 4
    assert taken == {"ours": [1.0] * 3, "peer": [1.0] * 3}
    assert ratios([2.0, 6.0], [1.0, 2.0]) == (2.0, 3.0)


def test_a_peer_that_is_not_there_is_named_with_how_to_get_it(monkeypatch):
    peer = Peer(
        "thing", "thing", "E/bin/pip install thing", "ETUDE_THING_PYTHON", (("ETUDE_THING", "a file"),)
    )
    monkeypatch.setenv("ETUDE_THING_PYTHON", sys.executable)
    assert peer.python() is None and peer.version() is None  # the file that it needs is not named
    [missing] = Comparison([], [Missing("work", peer)]).to_json()["missing"]
    assert all(part in missing["how"] for part in ("pip install thing", "ETUDE_THING_PYTHON", "a file"))
    monkeypatch.setenv("ETUDE_THING", "here")
    assert peer.python() == sys.executable and peer.version() is None  # an interpreter without it
    assert Peer("pytest", "pytest", "pip install pytest").version() == pytest.__version__


def test_a_worker_stays_and_does_a_round_each_time_it_is_asked(tmp_path):
    (tmp_path / "work.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT / 'benchmarks')!r})\n"
        "from _worker_rounds import serve\n"
        "done = []\n"
        "print('a library that prints')\n"
        "serve({'ready': True}, lambda: (print('noise'), done.append(1), {'rounds': len(done)})[-1])\n"
    )
    command = [sys.executable, "-u", str(tmp_path / "work.py")]
    with pytest.raises(json.JSONDecodeError):  # what is printed before it serves is no answer
        Worker(command, environment=os.environ, cwd=tmp_path)
    text = (tmp_path / "work.py").read_text().replace("print('a library that prints')\n", "")
    (tmp_path / "work.py").write_text(text)
    worker = Worker(command, environment=os.environ, cwd=tmp_path)
    assert worker.ready == {"ready": True}
    assert [worker.round(), worker.round()] == [{"rounds": 1}, {"rounds": 2}]
    worker.close()
    assert worker.process.returncode == 0


def test_a_result_is_kept_until_its_source_versions_or_options_change(tmp_path):
    main = importlib.import_module("benchmarks.__main__")
    options = {"full": False, "repetitions": 5}
    figure = Figure("work", "peer", "seconds", (1.0, 2.0))
    stored = main.record("word_sensitivity", Comparison([figure]), **options, seconds=1.0)
    path = tmp_path / "word_sensitivity.json"
    assert not main.still_holds(path, "word_sensitivity", **options)
    path.write_text(json.dumps(stored))
    assert main.still_holds(path, "word_sensitivity", **options)
    assert not main.still_holds(path, "word_sensitivity", full=True, repetitions=5)
    path.write_text(json.dumps(stored | {"source": "other"}))
    assert not main.still_holds(path, "word_sensitivity", **options)
    path.write_text(json.dumps(stored | {"versions": stored["versions"] | {"torch": "0"}}))
    assert not main.still_holds(path, "word_sensitivity", **options)


def test_the_page_says_what_was_missed_why_and_what_was_left_out(monkeypatch):
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    figures = [
        Figure("slow | work", "a peer", "seconds", (1.0, 1.5), 2.0, if_missed="It is what it is."),
        Figure("fast work", "a peer", "seconds", (3.0, 4.0), 2.0, if_missed="Never said."),
    ]
    facts = {
        "name": "toolemu", "date": "2026-01-01", "command": "c", "repetitions": 2, "seconds": 60, "cores": 2,
        "threads": None, "machine": "x86_64", "versions": {"python": "3.11", "a peer": None},
    }  # fmt: skip
    page = generate.benchmark_section(facts | Comparison(figures, [Missing("more", PEERS[0])]).to_json())
    assert r"slow \| work" in page and "1.25 ×" in page and "1 to 1.5" in page
    assert "It is what it is." in page and "Never said." not in page
    assert "Left out: more beside auto-round" in page and "ETUDE_AUTOROUND_PYTHON" in page
