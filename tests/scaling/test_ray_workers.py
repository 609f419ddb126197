"""A command with `--engine ray` whose worker is killed in the middle ends as the local one."""

import os
import signal
import threading

import pytest
from tests.docs.world import served
from tests.docs.worlds import relevance
from tests.scaling.processes import descendants

from etude.cli import main


def workers() -> list[int]:
    """Ray's processes that map batches."""
    return [pid for pid, title in descendants(os.getpid()).items() if "MapWorker" in title]


@pytest.mark.slow
def test_labels_are_the_same_when_a_worker_is_killed_and_no_stored_answer_is_asked_for_again(
    tmp_path, monkeypatch
):
    pytest.importorskip("ray")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    relevance.prepare(tmp_path)
    pairs = ["--docs", "d.jsonl", "--topics", "t.jsonl", "--pairs", "pool.qrels", "--model", "openai/judge"]
    monkeypatch.chdir(tmp_path)
    lock, killed, counted = threading.Lock(), [], []

    def judge(messages):
        with lock:
            counted.append(str(messages))
            if len(counted) == 9 and not killed:
                killed.append(workers()[0])
                os.kill(killed[0], signal.SIGKILL)
        return relevance.judge(messages)

    labels = {}
    for engine in ("local", "ray"):
        counted.clear()
        killed[:] = ["not this time"] if engine == "local" else []
        monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / f"cache-{engine}"))
        with served() as server:
            server.answer = judge
            where = ["--base-url", server.url, "--out", f"{engine}.qrels"]
            extra = ["--engine", "ray", "--workers", "2"] if engine == "ray" else []
            main(["relevance", "label", *pairs, *where, *extra, "--json"])
            assert not server.problems
        labels[engine] = (tmp_path / f"{engine}.qrels").read_text()
    assert labels["ray"] == labels["local"]
    assert len(killed) == 1 and isinstance(killed[0], int)
    twice = len(counted) - len(set(counted))
    assert len(counted) >= 24 and twice <= 8  # at most what was under way in the killed worker
