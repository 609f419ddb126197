"""relevance: grades by log-probability against a written JSON answer, and overhead beside ragelo's RDNAM.

Both sides of the second part ask the same local stub server, which answers at once, about the same pairs:
what is measured is the program around the calls. ragelo lives in an environment of its own, whose python is
named by ETUDE_RAGELO_PYTHON (`python -m venv E; E/bin/pip install ragelo`); without it that part is left out.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from etude.errors import EtudeError
from etude.methods.relevance.answers import USABLE
from etude.methods.relevance.collection import Pair
from etude.methods.relevance.llm_labeller import LLMLabeller
from etude.methods.relevance.wording import RelevancePrompt
from etude.models import chat_model

WORKER = Path(__file__).with_name("_relevance_worker.py")
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


def one_pass(quick: bool) -> dict[str, Any]:
    """SmolLM2 on the same pairs: reading the grades' log-probabilities, and writing the JSON."""
    pairs = make_pairs(8 if quick else 16, 2)
    chat = chat_model("smollm2", store=None)
    seconds: dict[str, list[float]] = {"logprob": [], "generate": []}
    usable = {}
    LLMLabeller(chat, RelevancePrompt("-----"), "logprob").label(pairs[:1])  # loads the model
    for _ in range(1 if quick else 3):
        for mode in ("logprob", "generate"):
            labeller = LLMLabeller(chat, RelevancePrompt("---A-"), mode)  # type: ignore[arg-type]
            started = time.perf_counter()
            labels = labeller.label(pairs)
            seconds[mode].append(time.perf_counter() - started)
            usable[mode] = sum(one.status in USABLE for one in labels)
    rates = {mode: len(pairs) / statistics.median(taken) for mode, taken in seconds.items()}
    return {
        "pairs": len(pairs),
        "log-probability, pairs/s": round(rates["logprob"], 2),
        "JSON answer, pairs/s": round(rates["generate"], 2),
        "ratio": round(rates["logprob"] / rates["generate"], 2),
        "target": 3,
        "usable labels, log-probability": usable["logprob"],
        "usable labels, JSON answer": usable["generate"],
        "seconds, lowest to highest": {
            mode: f"{min(taken):.1f} to {max(taken):.1f}" for mode, taken in seconds.items()
        },
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


def overhead(quick: bool) -> dict[str, Any]:
    """Milliseconds a pair of both programs around the same instant answers."""
    peer = os.environ.get("ETUDE_RAGELO_PYTHON")
    if not peer:
        return {"left out": "set ETUDE_RAGELO_PYTHON to a python that has ragelo"}
    pairs = make_pairs(60 if quick else 300, 20)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    job = json.dumps({"url": url, "connections": 8, "pairs": [vars(pair) for pair in pairs]})
    taken: dict[str, list[float]] = {"etude": [], "ragelo": []}
    try:
        for _ in range(1 if quick else 3):
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
    return {
        "pairs": len(pairs),
        **{f"{who}, ms a pair": round(statistics.median(ms), 2) for who, ms in taken.items()},
        **{f"{who}, lowest to highest": f"{min(ms):.2f} to {max(ms):.2f}" for who, ms in taken.items()},
        "ragelo ÷ etude": round(statistics.median(taken["ragelo"]) / statistics.median(taken["etude"]), 2),
    }


def main(*, quick: bool = False) -> dict[str, Any]:
    """Run both parts."""
    return {"one pass": one_pass(quick), "overhead": overhead(quick)}
