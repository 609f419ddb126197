"""Rationales from a vision model: what it is shown, nothing asked twice, a table ready for training."""

import base64
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

from etude.errors import EtudeError
from etude.methods.tmpt import rationale
from etude.methods.tmpt.posts import read_posts
from etude.methods.tmpt.rationales import conversation
from etude.models import Conversation, Reply, register_scripted

Table = Callable[..., Path]
LOOKED: list[Conversation] = []


def sees(asked: Conversation) -> Reply:
    """A vision model of known quality: it knows the picture's size and whether the words name the tram."""
    LOOKED.append(asked)
    text, image = asked[0]["content"]
    assert isinstance(text, dict) and isinstance(image, dict)
    content = base64.b64decode(image["image_url"]["url"].partition(",")[2])
    size = Image.open(io.BytesIO(content)).size
    return Reply(
        text=f"{size[0]} by {size[1]}; tram: {'the tram' in text['text'].split('attitude')[0]}",
        stop_reason="stop",
    )


def test_the_model_sees_words_picture_and_target_and_never_the_label(
    user_table: Table, tmp_path: Path
) -> None:
    register_scripted("sees", sees)
    LOOKED.clear()
    table = user_table(4)
    result = rationale(
        table, model="sees", out=tmp_path / "with.csv", images=tmp_path / "pictures", image_side=64
    )
    assert (result.posts, result.answered, result.refused) == (8, 8, 0)
    frame = pl.read_csv(tmp_path / "with.csv")
    assert frame["rationale"].str.starts_with("64 by 64; tram: ").all(), "large pictures are scaled down"
    posts = read_posts(tmp_path / "with.csv", images=tmp_path / "pictures")
    assert posts.examples[0].full_text.startswith(f"Text: {posts.examples[0].text}. Rationale: 64 by 64")
    for asked, example in zip(LOOKED, posts.examples, strict=True):
        words = asked[0]["content"][0]["text"]  # type: ignore[index]
        assert example.text in words
        assert example.target in words
        assert example.label not in words.replace(example.text, "")


def test_asking_again_asks_nothing_twice(user_table: Table, tmp_path: Path) -> None:
    register_scripted("sees", sees)
    LOOKED.clear()
    table = user_table(3)
    options = {"model": "sees", "out": tmp_path / "r.jsonl", "images": tmp_path / "pictures"}
    rationale(table, **options)
    asked = len(LOOKED)
    rationale(table, **options)
    assert len(LOOKED) == asked == 6


def test_a_post_that_cannot_be_asked_is_tried_again_then_named(user_table: Table, tmp_path: Path) -> None:
    tries: list[int] = []

    def flaky(asked: Conversation) -> Reply:
        tries.append(1)
        return (
            Reply("", "error", error="busy") if len(tries) in (1, 3) else Reply("It is meant well.", "stop")
        )

    register_scripted("flaky", flaky)
    found = rationale(user_table(2), model="flaky", out=tmp_path / "r.csv", images=tmp_path / "pictures")
    assert found.answered == 4
    assert len(tries) == 6
    register_scripted("down", lambda asked: Reply("", "error", error="no connection"))
    with pytest.raises(EtudeError, match="no connection"):
        rationale(user_table(2), model="down", out=tmp_path / "d.csv", images=tmp_path / "pictures")
    register_scripted("declines", lambda asked: Reply("", "refused"))
    assert (
        rationale(
            user_table(2), model="declines", out=tmp_path / "e.csv", images=tmp_path / "pictures"
        ).refused
        == 4
    )


def test_pictures_inside_a_table_stay_usable(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    frame = pl.read_parquet(shared_data("tmpt") / "multiclimate_dev.parquet").head(3).drop("split")
    frame.write_parquet(tmp_path / "few.parquet")
    register_scripted("sees", sees)
    for name in ("out.parquet", "out.csv"):
        rationale(tmp_path / "few.parquet", model="sees", out=tmp_path / name)
        again = read_posts(tmp_path / name)
        assert [e.id for e in again.examples] == frame["id"].to_list()
        assert all(e.rationale for e in again.examples)


SCRIPT = """
import sys, time
from pathlib import Path
from etude.models import Reply, register_scripted
from etude.methods.tmpt import rationale
def slow(asked):
    with open({log!r}, "a") as log:
        log.write("x")
    time.sleep({pause})
    return Reply("It is meant well.", "stop")
register_scripted("slow", slow)
rationale({table!r}, model="slow", out={out!r}, images={images!r})
"""


def test_a_killed_run_asks_only_for_the_rest(user_table: Table, tmp_path: Path) -> None:
    table, log, out = user_table(6), tmp_path / "calls", tmp_path / "r.csv"
    scripts = []
    for pause in (0.15, 0.0):
        script = tmp_path / f"script-{pause}.py"
        script.write_text(
            textwrap.dedent(SCRIPT).format(
                log=str(log), pause=pause, table=str(table), out=str(out), images=str(tmp_path / "pictures")
            )
        )
        scripts.append(script)
    killed = subprocess.Popen([sys.executable, str(scripts[0])], stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while not log.exists() or len(log.read_text()) < 4:
        assert killed.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    before = len(log.read_text())
    assert not out.exists()
    subprocess.run([sys.executable, str(scripts[1])], check=True, capture_output=True)
    assert pl.read_csv(out)["rationale"].null_count() == 0
    assert len(log.read_text()) - 12 <= 1, "only the call that the kill cut off is made again"
    assert before < 12


def test_the_question_survives_hostile_words(user_table: Table, tmp_path: Path) -> None:
    example = read_posts(user_table(1), images=tmp_path / "pictures").examples[0]
    from dataclasses import replace

    asked = conversation(replace(example, text='{target} "} ignore'), "tea")
    assert "{target}" in json.dumps(asked)
