"""Prompts: what is said, and that nothing of the future is."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.stg_llm.demo import ring_road
from etude.methods.stg_llm.panel import SensorPanel
from etude.methods.stg_llm.prompts import Event, build_prompt, parse_parts, prompt_ids, read_events

RING = ring_road(sensors=4, days=2)
START = datetime(2024, 1, 1)


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def test_a_prompt_names_network_task_date_and_rush_hour() -> None:
    text = build_prompt(RING, 4 * 8, domain="a ring road", history=12, horizon=8)
    assert "a ring road, one value every 15min, in km/h" in text
    assert "last 12 values" in text and "next 8" in text
    assert "Monday, 2024-01-01, 08:00, rush hour" in text
    assert "not rush hour" in build_prompt(RING, 4 * 12)


def test_an_ongoing_event_tells_how_long_it_has_lasted_but_not_when_it_ends() -> None:
    event = Event(start=at(7), end=at(11), node="km 02", kind="incident", text="two lanes closed")
    row = 4 * 8
    text = build_prompt(RING, row, [event])
    assert "Incident at node km 02 since 2024-01-01T07:00, for 1h so far: two lanes closed." in text
    open_end = event.model_copy(update={"end": None})
    assert build_prompt(RING, row, [open_end]) == text
    assert "lasted 4h" in build_prompt(RING, 4 * 11 + 4, [event])
    assert "Incident" not in build_prompt(RING, 4 * 20, [event])  # over before the window


@given(st.integers(0, 191), st.floats(0, 47), st.floats(0, 10))
@example(0, 2e-05, 0.0)
def test_an_event_that_has_not_begun_leaves_no_trace(row: int, begins: float, lasts: float) -> None:
    event = Event(start=at(begins), end=at(begins + lasts), kind="incident", text="SECRET")
    said = "SECRET" in build_prompt(RING, row, [event])
    if at(begins) > at(row / 4):
        assert not said
    elif lasts == 0 and at(begins) == at(row / 4):
        assert said


@given(st.integers(20, 191))
def test_the_future_of_an_event_list_never_changes_a_prompt(row: int) -> None:
    now = row / 4
    past = [Event(start=at(max(0, now - 1)), kind="weather", text="rain")]
    future = [Event(start=at(now + 0.01), end=at(now + 1), kind="incident", text="crash")]
    assert build_prompt(RING, row, past + future) == build_prompt(RING, row, past)


def test_one_text_for_all_rows_is_one_row_of_tokens_and_many_are_padded_left(gpt2_model: str) -> None:
    from etude.models import load_tokenizer

    tokenizer = load_tokenizer(gpt2_model)

    def ids(parts: tuple[str, ...], length: int | None = None) -> np.ndarray:
        return prompt_ids(RING, tokenizer, [], parts=parts, domain="", history=12, horizon=8, length=length)

    assert ids(("domain", "instruction")).ndim == 1
    table = ids(("time",))
    assert table.shape[0] == len(RING.times) and (table[:, -1] >= 0).all()
    row = int((table < 0).sum(axis=1).argmax())
    assert (table[row] < 0).any() and table[row, 0] == -1
    assert ids(("time",), length=5).shape[1] == 5


def test_events_are_read_and_checked(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"

    def read(line: str, panel: SensorPanel = RING) -> list[Event]:
        path.write_text(line + "\n")
        return read_events(path, panel)

    assert (
        read('{"start": "2024-01-01T07:00", "node": "km 02", "kind": "incident", "text": "crash"}')[0].end
        is None
    )
    for line, message in (
        (
            '{"start": "2024-01-01T07:00", "end": "2024-01-01T06:00", "kind": "x", "text": "y"}',
            "ends before it starts",
        ),
        ('{"start": "2024-01-01T07:00", "node": "km 99", "kind": "x", "text": "y"}', "km 99"),
        ('{"start": 7, "kind": "x", "text": "y"}', "times are ISO times|ISO times"),
        ('{"start": "2024-01-01T07:00", "text": "y"}', "kind"),
        ('{"start": "soon", "kind": "x", "text": "y"}', "start"),
    ):
        with pytest.raises(EtudeError, match=message):
            read(line)


def test_an_unknown_part_is_refused_and_parts_keep_the_papers_order() -> None:
    assert parse_parts("time,domain") == ("domain", "time") and parse_parts(None) == ()
    with pytest.raises(EtudeError, match="no part weather"):
        parse_parts("weather")


def test_prompts_of_integer_time_have_no_date(wide: Callable[..., Path]) -> None:
    panel = SensorPanel(np.ones((10, 1, 1), dtype=np.float32), np.arange(10), ("a",), None)
    text = build_prompt(panel, 5, [Event(start=3, kind="outage", text="down")])
    assert "Now:" not in text and "for 2 steps so far" in text
