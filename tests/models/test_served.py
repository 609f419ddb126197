"""Served models: against llama.cpp's real server, and a stand-in for what that one never answers."""

import json
import os
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from etude.errors import EtudeError
from etude.models import Decoding, ResponseStore, chat_model, image_part, text_part

SERVER = """
import sys, time, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.port = sys.argv[1], int(sys.argv[2])
parameters.n_ctx, parameters.n_parallel, parameters.verbosity, parameters.warmup = 2048, 2, 0, False
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
time.sleep(600)
"""


class LlamaServer:
    """llama.cpp's OpenAI-compatible server on 127.0.0.1, in a process of its own."""

    def __init__(self, gguf: str, port: int = 0) -> None:
        command = [sys.executable, "-c", SERVER, gguf, str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        address = next(line for line in self.process.stdout if line.startswith("http"))
        self.base_url = address.strip() + "/v1"
        self.port = int(address.strip().rsplit(":", 1)[1])

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def gguf(embedded) -> str:
    pytest.importorskip("xllamacpp")
    embedded("smollm2")
    from etude.models.embedded import gguf_file

    return str(gguf_file("smollm2"))


@pytest.mark.slow
def test_a_real_server_answers_and_when_it_dies_only_the_missing_is_asked_again(gguf, tmp_path, user):
    server = LlamaServer(gguf)
    chat = chat_model(
        "openai/smollm2", base_url=server.base_url, store=tmp_path / "r.sqlite", max_connections=2
    )
    chat.engine.retries = 1
    first = [user("What is the capital of France?"), user("Name a color.")]
    replies = chat.generate(first, max_tokens=8)
    assert all(reply.text and reply.prompt_tokens > 20 for reply in replies)
    assert all(0 < reply.output_tokens <= 8 for reply in replies)
    assert {reply.stop_reason for reply in replies} <= {"stop", "length"}
    with pytest.raises(EtudeError, match="no log-probabilities"):
        chat.score(first[:1], [["Paris", "Rome"]])

    many = [user(f"Count to {i} and explain each number at length.") for i in range(30)]
    killer = threading.Timer(1.5, server.kill)
    killer.start()
    with pytest.raises(EtudeError, match="does not answer") as caught:
        chat.generate(first + many, max_tokens=16)
    killer.join()
    assert "only the missing" in caught.value.hint
    kept = len(ResponseStore(tmp_path / "r.sqlite"))
    assert kept < 2 + len(many) + 2
    assert chat.generate(first, max_tokens=8) == replies  # the server is dead: these come from the store

    again = LlamaServer(gguf, server.port)
    try:
        chat = chat_model("openai/smollm2", base_url=again.base_url, store=tmp_path / "r.sqlite")
        finished = chat.generate(first + many[:2], max_tokens=16)
        assert all(reply.error is None for reply in finished)
    finally:
        again.kill()


class StandIn(BaseHTTPRequestHandler):
    """A server that answers as the last user message says."""

    failures = 2
    seen: ClassVar[list[dict]] = []

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).seen.append(asked)
        content = asked["messages"][0]["content"]
        text = content if isinstance(content, str) else content[0]["text"]
        if text == "busy" and type(self).failures:
            type(self).failures -= 1
            return self.answer(429, {"error": {"message": "slow down"}})
        if text == "long":
            return self.answer(
                400, {"error": {"message": "the prompt is too long", "code": "context_length"}}
            )
        if text == "key":
            return self.answer(401, {"error": {"message": "bad key"}})
        if text == "model":
            return self.answer(404, {"error": {"message": "no such model"}})
        if text == "broken":
            return self.answer(500, {"error": {"message": "out of memory"}})
        reason = {"forbidden": "content_filter", "cut": "length"}.get(text, "stop")
        message = {"role": "assistant", "content": None if reason == "content_filter" else f"heard {text}"}
        body = {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": {
                "prompt_tokens": 9,
                "completion_tokens": 2,
                "total_tokens": 11,
                "prompt_tokens_details": {"cached_tokens": 5},
            },
        }
        if "prompt_logprobs" in asked:  # as vLLM: a mapping for each token of the prompt, none for the first
            words = [word for one in asked["messages"] for word in one["content"].split()]
            body["prompt_logprobs"] = [None, *({"7": {"logprob": -float(len(word))}} for word in words)]
        return self.answer(200, body)

    def do_GET(self):
        self.answer(200, {"object": "list", "data": [{"id": "m", "object": "model", "max_model_len": 4096}]})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def stand_in():
    StandIn.failures, StandIn.seen = 2, []
    with ThreadingHTTPServer(("127.0.0.1", 0), StandIn) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.fixture
def chat(stand_in, tmp_path):
    chat = chat_model("openai/m", base_url=stand_in, store=tmp_path / "r.sqlite")
    chat.engine.retries = 2
    return chat


def test_usage_refusals_and_cut_answers_are_told_apart(chat, user):
    replies = chat.generate([user("fine"), user("forbidden"), user("cut")], max_tokens=5, stop=["x"], seed=3)
    assert [reply.stop_reason for reply in replies] == ["stop", "refused", "length"]
    assert (replies[0].text, replies[1].text) == ("heard fine", "")
    assert (replies[0].prompt_tokens, replies[0].cached_tokens, replies[0].output_tokens) == (9, 5, 2)
    asked = StandIn.seen[0]
    assert (asked["max_tokens"], asked["temperature"], asked["stop"], asked["seed"]) == (5, 0.0, ["x"], 3)
    assert chat.context_length == 4096
    assert not {"top_p", "top_k", "repetition_penalty", "frequency_penalty"} & asked.keys()


def test_a_server_is_told_how_to_decode(chat, user):
    decoding = Decoding(top_p=0.9, top_k=40, repetition_penalty=1.2, frequency_penalty=0.5)
    chat.generate([user("fine")], max_tokens=5, decoding=decoding)
    asked = StandIn.seen[-1]
    assert {name: asked[name] for name in decoding.to_json()} == decoding.to_json()
    chat.generate([user("fine")], max_tokens=5)  # another setting is another question
    assert len(StandIn.seen) == 2


def test_a_busy_server_is_asked_again_after_a_pause(chat, user):
    assert chat.generate([user("busy")], max_tokens=5)[0].text == "heard busy"
    assert len(StandIn.seen) == 3


def test_one_conversation_that_is_too_long_is_an_error_of_its_own_and_not_stored(chat, user):
    replies = chat.generate([user("fine"), user("long")], max_tokens=5)
    assert replies[0].error is None
    assert replies[1].stop_reason == "error"
    assert "too long" in replies[1].error
    assert len(chat.store) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [("key", "refuses the key"), ("model", "has no model 'm'"), ("broken", "out of memory")],
)
def test_what_concerns_all_conversations_ends_the_run_and_keeps_what_is_finished(chat, user, text, problem):
    chat.engine.max_connections = 1
    with pytest.raises(EtudeError, match=problem):
        chat.generate([user("fine"), user(text), *[user(f"later {i}") for i in range(20)]], max_tokens=5)
    assert 1 <= len(chat.store) < 20


def test_pictures_travel_with_the_message(chat):
    seen = [{"role": "user", "content": [text_part("look"), image_part(b"abc")]}]
    assert chat.generate([seen], max_tokens=5)[0].text == "heard look"
    assert StandIn.seen[0]["messages"][0]["content"][1]["image_url"]["url"] == "data:image/png;base64,YWJj"


def test_options_are_scored_by_the_tokens_they_add_to_the_prompt(chat, user):
    assert chat.score([user("which one")], [["yes", "no maybe"]]) == [[-3.0, -7.0]]


def test_a_server_that_is_not_there_is_one_clear_error(user):
    chat = chat_model("openai/m", base_url="http://127.0.0.1:9/v1", store=None)
    chat.engine.retries = 0
    with pytest.raises(EtudeError, match="does not answer"):
        chat.generate([user("x")], max_tokens=5)


def test_without_a_server_and_a_key_the_error_names_both(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(EtudeError, match="neither a server nor a key") as caught:
        chat_model("openai/m")
    assert "--base-url" in caught.value.hint
