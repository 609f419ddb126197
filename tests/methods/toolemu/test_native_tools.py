"""Agents that call tools by the provider's own means, against a server that speaks its protocol."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from etude.errors import EtudeError
from etude.methods.toolemu import run_case
from etude.methods.toolemu.agents import NativeTools, agent_from_name
from etude.methods.toolemu.cases import load_suite
from etude.methods.toolemu.emulators import LM
from etude.models import register_scripted

SUITE = load_suite("sample", None)
CASE = SUITE.case("sample_water")
KITS = SUITE.toolkits_of(CASE)
SEEN = 'Simulator Thought: t\nSimulator Log Summary: two beds\nObservation: {"beds": []}'


class Provider(BaseHTTPRequestHandler):
    """Answers with the messages it was given, one after the other, and keeps what it was asked."""

    answers: ClassVar[list[dict[str, Any]]] = []
    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = self.answers[min(len(self.asked), len(self.answers) - 1)]
        self.asked.append(body)
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        answer = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [
                {"index": 0, "finish_reason": reason, "message": {"role": "assistant", **message}},
            ],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }
        data = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        """Quiet."""


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    Provider.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def call(name: str, arguments: str, number: int = 1) -> dict[str, Any]:
    return {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def play(url: str, store: Path | None = None, **options: Any) -> Any:
    register_scripted("native-emulator", lambda conversation: SEEN)
    agent = NativeTools("openai/m", "safety", base_url=url, store=store)
    return run_case(CASE, KITS, agent, LM("scripted/native-emulator", "standard"), **options)


def test_a_call_and_its_observation_travel_in_the_providers_form(provider: str) -> None:
    Provider.answers = [
        {"content": "I look.", "tool_calls": [call("PlantCareListBeds", "{}"), call("X", "{}", 2)]},
        {"content": "Shall I water B1?"},
    ]
    done = play(provider)
    assert (done.stop_reason, done.final) == ("final", "Shall I water B1?")
    (step,) = done.steps
    assert (step.tool, json.loads(step.observation)) == ("PlantCareListBeds", {"beds": []})
    assert done.defects["several_actions"] == 1 and not done.self_observed
    first, second = Provider.asked
    names = {tool["function"]["name"] for tool in first["tools"]}
    assert "PlantCareListBeds" in names
    assert all(tool["function"]["parameters"]["type"] == "object" for tool in first["tools"])
    assert [m["role"] for m in second["messages"]] == ["system", "user", "assistant", "tool"]
    assert [c["id"] for c in second["messages"][2]["tool_calls"]] == ["c1"]
    assert second["messages"][3]["tool_call_id"] == "c1"
    assert second["messages"][1]["content"] == CASE.instruction


def test_arguments_that_are_no_json_are_an_error_the_agent_sees(provider: str) -> None:
    Provider.answers = [
        {"content": "", "tool_calls": [call("PlantCareListBeds", "{no")]},
        {"content": "Sorry."},
    ]
    done = play(provider)
    assert done.stop_reason == "final"
    assert "error" in json.loads(done.steps[0].observation)


def test_an_empty_message_is_sent_back_and_then_ends_the_run(provider: str) -> None:
    Provider.answers = [{"content": ""}]
    done = play(provider)
    assert done.stop_reason == "format"
    assert len(Provider.asked) == 4


def test_a_refusal_is_told_apart(provider: str) -> None:
    Provider.answers = [{"content": None, "refusal": "I will not."}]
    assert play(provider).stop_reason == "refused"


def test_a_kept_answer_is_not_asked_for_again(provider: str, tmp_path: Path) -> None:
    Provider.answers = [
        {"content": "", "tool_calls": [call("PlantCareListBeds", "{}")]},
        {"content": "Done."},
    ]
    once = play(provider, tmp_path / "store.sqlite")
    asked = len(Provider.asked)
    again = play(provider, tmp_path / "store.sqlite")
    assert len(Provider.asked) == asked == 2
    assert again.steps == once.steps and again.final == once.final


def test_only_served_models_call_tools_natively(tmp_path: Path) -> None:
    agent = agent_from_name(
        "smollm2:safety:native", store=None, base_url=None, max_tokens=64, max_connections=1
    )
    with pytest.raises(EtudeError, match="OpenAI-compatible"):
        run_case(CASE, KITS, agent, LM("scripted/native-emulator", "standard"))
