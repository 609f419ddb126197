"""relevance: grades by log-probability against a written JSON answer, and overhead beside ragelo's RDNAM.

Both sides of the second part ask the same local stub server, which answers at once, about the same pairs:
what is measured is the program around the calls.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks._comparison import Comparison, Figure, Missing, in_turn, ratios
from benchmarks._peers import RAGELO
from etude.errors import EtudeError
from etude.methods.relevance.answers import USABLE
from etude.methods.relevance.collection import Pair
from etude.methods.relevance.llm_labeller import LLMLabeller
from etude.methods.relevance.wording import RelevancePrompt
from etude.models import chat_model

WORKER = Path(__file__).with_name("_relevance_worker.py")
PEERS = (RAGELO,)
OVERHEAD = "300 pairs, a server that answers at once"
READING = (
    "Both sides read the prompts in the same batches and share what they have in common, and reading is "
    "most of the work. The written answers are moreover no labels: SmolLM2 writes none that can be read."
)
WORDS = [
    "the",
    "wind",
    "turns",
    "over",
    "the",
    "hills",
    "and",
    "brings",
    "rain",
    "to",
    "farms",
    "where",
    "people",
    "store",
    "grain",
    "in",
    "dry",
    "towers",
    "built",
    "of",
    "brick",
    "while",
    "rivers",
    "rise",
    "slowly",
    "and",
    "boats",
    "wait",
    "near",
    "wooden",
    "bridges",
    "for",
    "calm",
    "weather",
    "to",
    "return",
]


def make_pairs(count: int, queries: int, words: int = 60) -> list[Pair]:
    """Pairs of made-up text, several documents for each query."""
    return [
        Pair(f"q{i % queries:03}", f"d{i:05}", f"{WORDS[i % queries]} and {WORDS[i % queries + 3]}",
             " ".join(WORDS[(i * 7 + j * (1 + i % 5)) % len(WORDS)] for j in range(words)))
        for i in sorted(range(count), key=lambda i: i % queries)
    ]  # fmt: skip


def one_pass(repetitions: int) -> tuple[Figure, dict[str, Any]]:
    """SmolLM2 on the same pairs: reading the grades' log-probabilities, and writing the JSON."""
    pairs = make_pairs(16, 2)
    chat = chat_model("smollm2", store=None)
    usable: dict[str, int] = {}
    LLMLabeller(chat, RelevancePrompt("-----"), "logprob").label(pairs[:1])  # loads the model

    def label(mode: str) -> None:
        labels = LLMLabeller(chat, RelevancePrompt("---A-"), mode).label(pairs)  # type: ignore[arg-type]
        usable[mode] = sum(one.status in USABLE for one in labels)

    arms = {mode: lambda mode=mode: label(mode) for mode in ("logprob", "generate")}
    seconds = in_turn(arms, repetitions)
    figure = Figure(
        f"grades of {len(pairs)} pairs by SmolLM2, by log-probability",
        "ours, writing a JSON answer",
        "processor seconds",
        ratios(seconds["generate"], seconds["logprob"]),
        3,
        if_missed=READING,
    )
    return figure, {
        **{f"{mode}, pairs/CPU s": len(pairs) / statistics.median(one) for mode, one in seconds.items()},
        **{f"{mode}, usable labels of {len(pairs)}": count for mode, count in usable.items()},
    }


class Stub(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that answers every prompt at once with the same grade."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        message = {"role": "assistant", "content": '{"M": 1, "T": 1, "O": 1}'}
        answer: dict[str, Any] = {
            "id": "stub",
            "object": "chat.completion",
            "created": 0,
            "model": "stub",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": usage,
        }
        if self.path.endswith("/responses"):  # the newer interface, which ragelo uses
            text = '{"reasoning": "", "intent_match": 1, "trustworthiness": 1, "score": 1}'
            content = {"type": "output_text", "text": text, "annotations": []}
            answer = {
                "id": "stub",
                "object": "response",
                "created_at": 0,
                "status": "completed",
                "model": "stub",
                "output": [
                    {
                        "type": "message",
                        "id": "m",
                        "status": "completed",
                        "role": "assistant",
                        "content": [content],
                    }
                ],
                "parallel_tool_calls": False,
                "tool_choice": "auto",
                "tools": [],
                "usage": {
                    "input_tokens": 1,
                    "output_tokens": 1,
                    "total_tokens": 2,
                    "input_tokens_details": {"cached_tokens": 0},
                    "output_tokens_details": {"reasoning_tokens": 0},
                },
            }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Quiet."""


def overhead(peer: str, repetitions: int) -> tuple[Figure, dict[str, Any]]:
    """Milliseconds a pair of both programs around the same instant answers."""
    pairs = make_pairs(300, 20)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    job = json.dumps({"url": url, "connections": 8, "pairs": [vars(pair) for pair in pairs]})
    taken: dict[str, list[float]] = {"etude": [], "ragelo": []}
    try:
        for _ in range(repetitions):
            for who, python in (("etude", sys.executable), ("ragelo", peer)):
                done = subprocess.run(
                    [python, str(WORKER), who], input=job, capture_output=True, text=True, timeout=300
                )
                if done.returncode:
                    raise EtudeError(f"the {who} run failed: {done.stderr[-400:]}", "Run the worker by hand.")
                found = json.loads(done.stdout.strip().splitlines()[-1])
                if found["labels"] != len(pairs):
                    raise EtudeError(f"{who} gave {found['labels']} labels", "Run the worker by hand.")
                taken[who].append(found["seconds"] * 1000 / len(pairs))
    finally:
        server.shutdown()
    figure = Figure(OVERHEAD, "ragelo's RDNAM", "wall seconds", ratios(taken["ragelo"], taken["etude"]))
    return figure, {f"{who}, ms a pair": statistics.median(ms) for who, ms in taken.items()}


def main(*, full: bool, repetitions: int) -> Comparison:
    """Run both parts."""
    del full
    grades, labels = one_pass(repetitions)
    if not (peer := RAGELO.python()):
        return Comparison([grades], [Missing(OVERHEAD, RAGELO)], {"one pass": labels})
    around, overheads = overhead(peer, repetitions)
    return Comparison([grades, around], (), {"one pass": labels, "overhead": overheads})
