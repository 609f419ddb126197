import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from etude.errors import EtudeError
from etude.models import ResponseStore, chat_model, register_scripted
from etude.models.chat import Reply


@pytest.fixture
def counted(user):
    """A scripted model and the list of the questions that reached it."""
    asked: list[str] = []

    def answer(conversation):
        text = conversation[-1]["content"]
        asked.append(text)
        return Reply("", "error", error="broken") if text == "break" else f"you said {text}"

    register_scripted("counted", answer, score=lambda conversation, option: -float(len(option)))
    return asked


def test_a_question_is_asked_once_and_answered_from_the_store_after(tmp_path, counted, user):
    chat = chat_model("scripted/counted", store=tmp_path / "r.sqlite")
    first = chat.generate([user("a"), user("b"), user("a")], max_tokens=9)
    assert counted == ["a", "b"]
    assert [reply.text for reply in first] == ["you said a", "you said b", "you said a"]
    again = chat_model("scripted/counted", store=tmp_path / "r.sqlite")
    assert again.generate([user("b"), user("c")], max_tokens=9)[0] == first[1]
    assert counted == ["a", "b", "c"]


def test_other_parameters_are_another_question_but_a_seed_without_sampling_is_not(tmp_path, counted, user):
    chat = chat_model("counted", store=tmp_path / "r.sqlite")
    chat.generate([user("a")], max_tokens=9)
    chat.generate([user("a")], max_tokens=9, seed=5)
    assert len(counted) == 1
    chat.generate([user("a")], max_tokens=8)
    chat.generate([user("a")], max_tokens=9, stop=["x"])
    chat.generate([user("a")], max_tokens=9, temperature=0.5)
    chat.generate([user("a")], max_tokens=9, temperature=0.5, seed=5)
    assert len(counted) == 5


def test_another_revision_of_the_model_is_asked_anew(tmp_path, user):
    for revision in ("1", "2"):
        register_scripted("revised", lambda conversation, revision=revision: revision, revision=revision)
        chat = chat_model("scripted/revised", store=tmp_path / "r.sqlite")
        assert chat.generate([user("a")], max_tokens=9)[0].text == revision


def test_errors_are_not_stored_and_are_asked_again(tmp_path, counted, user):
    chat = chat_model("counted", store=tmp_path / "r.sqlite")
    for _ in range(2):
        assert chat.generate([user("break")], max_tokens=9)[0].stop_reason == "error"
    assert counted == ["break", "break"]


def test_without_a_store_nothing_is_kept(counted, user):
    chat = chat_model("counted", store=None)
    chat.generate([user("a")], max_tokens=9)
    chat.generate([user("a")], max_tokens=9)
    assert counted == ["a", "a"]


def test_scores_are_stored_with_their_options(tmp_path, counted, user):
    chat = chat_model("counted", store=tmp_path / "r.sqlite")
    assert chat.score([user("a"), user("b")], [["xx", "y"], ["zzz"]]) == [[-2.0, -1.0], [-3.0]]
    assert len(ResponseStore(tmp_path / "r.sqlite")) == 2


def test_a_recording_replays_the_run_and_nothing_else(tmp_path, counted, user):
    file = tmp_path / "r.sqlite"
    chat = chat_model("counted", store=file)
    replies = chat.generate([user("a"), user("b")], max_tokens=9)
    scores = chat.score([user("a")], [["x", "yy"]])
    recorded = chat_model(f"replay/{file}")
    assert recorded.generate([user("b"), user("a")], max_tokens=9) == replies[::-1]
    assert recorded.score([user("a")], [["x", "yy"]]) == scores
    with pytest.raises(EtudeError, match="not recorded"):
        recorded.generate([user("c")], max_tokens=9)
    with pytest.raises(EtudeError, match="no such response store"):
        chat_model("replay/nowhere.sqlite")


def test_a_recording_of_several_models_needs_a_choice(tmp_path, counted, user):
    file = tmp_path / "r.sqlite"
    register_scripted("other", lambda conversation: "other")
    for name in ("counted", "other"):
        chat_model(name, store=file).generate([user("a")], max_tokens=9)
    with pytest.raises(EtudeError, match="several models"):
        chat_model(f"replay/{file}").generate([user("a")], max_tokens=9)
    chosen = chat_model(f"replay/{file}#scripted/other")
    assert chosen.generate([user("a")], max_tokens=9)[0].text == "other"


def test_the_transcript_holds_questions_parameters_and_answers(tmp_path, counted, user):
    chat_model("counted", store=tmp_path / "r.sqlite").generate([user("a")], max_tokens=9)
    (record,) = ResponseStore(tmp_path / "r.sqlite").records()
    assert record["model"] == "scripted/counted"
    assert record["messages"] == user("a")
    assert record["parameters"]["max_tokens"] == 9
    assert record["response"]["text"] == "you said a"


def test_a_file_that_is_no_store_is_refused(tmp_path):
    (tmp_path / "r.sqlite").write_text("this is a text, not a database at all, and long enough to tell")
    with pytest.raises(EtudeError, match="not a usable response store"):
        ResponseStore(tmp_path / "r.sqlite")


SLOW_RUN = """
import sys, time
from etude.models import chat_model, register_scripted

def answer(conversation):
    time.sleep(0.05)
    print(conversation[-1]["content"], flush=True)
    return "answer " + conversation[-1]["content"]

register_scripted("slow", answer)
chat = chat_model("scripted/slow", store=sys.argv[1])
asked = [[{"role": "user", "content": str(i)}] for i in range(40)]
replies = chat.generate(asked, max_tokens=9)
print("done", *(reply.text for reply in replies), sep="|")
"""


def test_a_killed_run_loses_at_most_the_call_in_flight(tmp_path):
    command = [sys.executable, "-c", SLOW_RUN, str(tmp_path / "r.sqlite")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        seen = [process.stdout.readline() for _ in range(10)]
        os.kill(process.pid, signal.SIGKILL)
        seen += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    assert len(seen) - 1 <= len(ResponseStore(tmp_path / "r.sqlite")) <= len(seen)
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert output[-1] == "|".join(["done", *(f"answer {i}" for i in range(40))])
    assert 40 - len(seen) <= len(output) - 1 <= 41 - len(seen)


def test_processes_share_a_store(tmp_path):
    command = [sys.executable, "-c", SLOW_RUN, str(tmp_path / "r.sqlite")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0].splitlines()[-1] for process in processes]
    assert outputs[0] == outputs[1]
    assert len(ResponseStore(tmp_path / "r.sqlite")) == 40


def test_a_new_store_may_be_opened_by_many_at_once(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        for round_ in range(40):
            file = tmp_path / f"{round_}.sqlite"
            list(pool.map(ResponseStore, [file] * 8))  # used to raise "database is locked"
            assert len(ResponseStore(file)) == 0


def test_a_locked_store_is_waited_for(tmp_path, counted, user):
    file = tmp_path / "r.sqlite"
    chat = chat_model("counted", store=file)
    code = (
        "import sqlite3, sys, time; d = sqlite3.connect(sys.argv[1]); d.execute('BEGIN IMMEDIATE');"
        "print('locked', flush=True); time.sleep(0.7); d.execute('COMMIT')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE, text=True
    ) as other:
        other.stdout.readline()
        started = time.monotonic()
        chat.generate([user("a")], max_tokens=9)
        assert time.monotonic() - started > 0.2
    rows = sqlite3.connect(file).execute("SELECT response FROM responses").fetchall()
    assert [json.loads(row[0])["text"] for row in rows] == ["you said a"]
