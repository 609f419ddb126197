"""toolemu: our runner against a straightforward thread pool, with a model stub of fixed latency.

The peer does what such a runner does: one thread per case, the same prompts, the same parsing, no response
store, no record of finished cases. Ours keeps every answer and every case durably, so nothing is asked again.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks._comparison import Comparison, Figure, ratios
from etude.methods.toolemu import run
from etude.methods.toolemu.agents import agent_from_name
from etude.methods.toolemu.cases import Suite, load_suite
from etude.methods.toolemu.emulators import emulator_from_name
from etude.methods.toolemu.sandbox import run_case
from etude.models import register_scripted
from etude.runs import write_json

PEERS = ()
KEPT = (
    "Every answer and every finished case is kept durably, so that nothing is asked again after a kill; "
    "writing that is what a call costs more than in a thread pool that keeps nothing."
)
STEPS = 3
CALLS = 2 * STEPS + 1  # each case: three calls of agent and emulator, and the final answer


def stub(latency: float) -> list[int]:
    """A model for both roles that answers after a fixed time; the list grows by one with each call."""
    calls: list[int] = []

    def answer(conversation: Any) -> str:
        calls.append(1)
        time.sleep(latency)
        if "You play the tools" in str(conversation[0]["content"]):
            return 'Simulator Log Summary: as before\nObservation: {"items": []}'
        if sum(m["role"] == "user" for m in conversation) > STEPS:
            return "Final Answer: done"
        return 'Action: GmailSearchEmails\nAction Input: {"keywords": "offer"}'

    register_scripted("stub", answer, revision=f"{latency}-{time.monotonic_ns()}")
    return calls


def many(count: int) -> Suite:
    """So many cases with one tool set; every instruction differs, so no two calls are the same."""
    suite = load_suite("world#world_0_gmail_0", None)
    [case] = suite.cases
    return Suite(
        [
            case.model_copy(update={"name": f"c{i}", "instruction": f"{i}: {case.instruction}"})
            for i in range(count)
        ],
        suite.toolkits,
    )


def files(suite: Suite, folder: Path) -> Path:
    content = suite.content()
    write_json(folder / "cases.json", content["cases"])
    write_json(folder / "toolkits.json", content["toolkits"])
    return folder / "cases.json"


def ours(suite: Suite, connections: int) -> float:
    with tempfile.TemporaryDirectory() as name:
        cases = files(suite, Path(name))
        started = time.perf_counter()
        run(
            agent="scripted/stub", emulator="scripted/stub", cases=str(cases), out=Path(name) / "run",
            max_connections=connections,
        )  # fmt: skip
        return time.perf_counter() - started


def thread_pool(suite: Suite, connections: int) -> float:
    started = time.perf_counter()
    options: Any = {"store": None, "base_url": None, "max_tokens": 1024, "max_connections": connections}
    agent, emulator = (
        agent_from_name("scripted/stub", **options),
        emulator_from_name("scripted/stub", "standard", **options),
    )
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(lambda case: run_case(case, suite.toolkits_of(case), agent, emulator), suite.cases))
    return time.perf_counter() - started


def compare(
    latency: float, cases: int, connections: int, repetitions: int
) -> tuple[list[Figure], dict[str, Any]]:
    """Both runners in turn, with a stub of this latency; every call is counted."""
    suite = many(cases)
    own, peer = [], []
    for _ in range(repetitions):
        calls = stub(latency)
        own.append(ours(suite, connections))
        if len(calls) != cases * CALLS:
            raise RuntimeError(f"{len(calls)} calls, not {cases * CALLS}")
        stub(latency)
        peer.append(thread_pool(suite, connections))
    ideal = latency * CALLS * -(-cases // connections)
    around = {
        name: [(one - ideal) * 1000 / (cases * CALLS) for one in taken]
        for name, taken in (("etude", own), ("thread pool", peer))
    }
    work = f"{cases} cases, {cases * CALLS} calls, {connections} at once, a stub of {latency * 1000:.0f} ms"
    if latency:
        figures = [Figure(work, "a thread pool that keeps nothing", "wall seconds", ratios(peer, own), 1,
                          if_missed=KEPT)]  # fmt: skip
    else:
        figures = [Figure(work, "", "overhead per call", tuple(around["etude"]), 5, "ms", True, KEPT)]
    details = {f"{name}, overhead per call, ms": statistics.median(one) for name, one in around.items()}
    return figures, details | {"etude, cases/minute": cases / statistics.median(own) * 60}


def repeated_calls(cases: int) -> Figure:
    """A finished run asked for again: how many calls are repeated."""
    with tempfile.TemporaryDirectory() as name:
        calls = stub(0.0)
        path = files(many(cases), Path(name))
        for _ in range(2):
            run(agent="scripted/stub", emulator="scripted/stub", cases=str(path), out=Path(name) / "run")
        again = len(calls) - cases * CALLS
        return Figure(
            f"a finished run of {cases} cases asked for again",
            "",
            "calls repeated",
            (again,),
            0,
            "calls",
            True,
        )


def main(*, full: bool, repetitions: int) -> Comparison:
    """Overhead with instant answers, throughput with slow ones; `full` runs 48 cases instead of 24."""
    cases = 48 if full else 24
    instant, overheads = compare(0.0, cases, 1, repetitions)
    slow, throughput = compare(0.2, cases, 8, repetitions)
    details = {"at 0 ms": overheads, "at 200 ms": throughput}
    return Comparison([*instant, *slow, repeated_calls(8)], (), details)
