"""32 requests in flight at llama.cpp's server, which is killed in the middle and comes back."""

import http.client
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.models.test_served import LlamaServer

from etude.cli import main
from etude.data import prose
from etude.errors import EtudeError
from etude.models import ResponseStore, chat_model

TOGETHER, ASKED, KILLED_AFTER = 32, 64, 20
SHAPE = ["--hidden", "64", "--layers", "2", "--heads", "2", "--mlp", "128", "--context", "512"]


class Relay(ThreadingHTTPServer):
    """Stands before a server, passes requests on and counts them.

    Attributes:
        server: What they are passed on to.
        asked: How often each conversation came.
        answered: How often each was answered.
        most: The most that were in flight at once.
    """

    daemon_threads, request_queue_size = True, 2 * TOGETHER

    def __init__(self, server: LlamaServer) -> None:
        super().__init__(("127.0.0.1", 0), RelayHandler)
        self.server, self.lock, self.gate = server, threading.Lock(), threading.Barrier(TOGETHER)
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.now = self.most = 0
        self.dies = True

    def passed_on(self, path: str, body: bytes) -> tuple[int, bytes]:
        """The server's answer; once so many are answered, it is killed instead."""
        with self.lock:
            if self.answered.total() >= KILLED_AFTER and self.dies and self.server.process.poll() is None:
                self.server.kill()
                self.dies = False
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=300)
        try:
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            found = connection.getresponse()
            return found.status, found.read()
        finally:
            connection.close()


class RelayHandler(BaseHTTPRequestHandler):
    """One request; where the server is dead, the line is cut without an answer."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        relay = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        conversation = json.loads(body)["messages"][-1]["content"]
        with relay.lock:
            relay.asked[conversation] += 1
            relay.now += 1
            relay.most = max(relay.most, relay.now)
            waits = relay.asked.total() <= TOGETHER
        try:
            if waits:
                relay.gate.wait(120)  # nothing is answered before all of them are here
            status, answer = relay.passed_on(self.path, body)
            with relay.lock:
                relay.answered[conversation] += 1
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
        finally:
            with relay.lock:
                relay.now -= 1

    def log_message(self, *args) -> None:
        pass


def pretrained(folder: Path) -> str:
    """A small model of our own as a GGUF file."""
    (folder / "train.txt").write_text(prose()[:60_000], encoding="utf-8")
    (folder / "held_out.txt").write_text(prose()[-8_000:], encoding="utf-8")
    corpus, run = str(folder / "corpus"), str(folder / "run")
    text, tok, gguf = (str(folder / name) for name in ("train.txt", "tok", "model.gguf"))
    for line in (
        ["tokenizer", text, "--vocab-size", "600", "--out", tok],
        [
            "prepare",
            text,
            "--validation",
            str(folder / "held_out.txt"),
            "--tokenizer",
            tok,
            "--block",
            "256",
            "--out",
            corpus,
        ],
        [
            "pretrain",
            corpus,
            *SHAPE,
            "--tokens-per-step",
            "1024",
            "--steps",
            "4",
            "--device",
            "cpu",
            "--out",
            run,
        ],
        ["export", run, "--format", "gguf", "--out", gguf],
    ):
        main(["teenytinyllama", *line])
    return gguf


@pytest.mark.slow
def test_of_32_requests_in_flight_when_the_server_dies_each_is_answered_once(tmp_path):
    pytest.importorskip("xllamacpp")
    gguf = pretrained(tmp_path)
    server = LlamaServer(gguf)
    conversations = [[{"role": "user", "content": f"Say {number}."}] for number in range(ASKED)]
    with Relay(server) as relay:
        threading.Thread(target=relay.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{relay.server_port}/v1"

        def chat():
            made = chat_model(
                "openai/smollm2", base_url=url, store=tmp_path / "r.sqlite", max_connections=TOGETHER
            )
            made.engine.retries = 0
            return made

        try:
            with pytest.raises(EtudeError, match="does not answer") as caught:
                chat().generate(conversations, max_tokens=4)
            kept = relay.answered.total()
            assert "only the missing" in caught.value.hint and f"{kept} of {ASKED} answers" in str(
                caught.value
            )
            assert relay.most == TOGETHER and KILLED_AFTER <= kept < ASKED
            assert len(ResponseStore(tmp_path / "r.sqlite")) == kept

            relay.server = LlamaServer(gguf, server.port)
            replies = chat().generate(conversations, max_tokens=4)
            assert all(reply.error is None for reply in replies)
            assert len(relay.answered) == ASKED and set(relay.answered.values()) == {1}
            lost = {text for text, times in relay.asked.items() if times > 1}  # in flight when it died
            assert set(relay.asked.values()) == {1, 2} and len(lost) <= TOGETHER
            before = relay.asked.total()
            assert chat().generate(conversations, max_tokens=4) == replies
            assert relay.asked.total() == before  # all of it is in the store
        finally:
            if relay.server.process.poll() is None:
                relay.server.kill()
            relay.shutdown()
