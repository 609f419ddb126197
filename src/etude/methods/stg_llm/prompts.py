"""The text in front of the node tokens: domain, instruction, date, and what is going on (paper section 3.3).

Nothing after the issue time is told: an event appears once it has begun, and as long as it lasts its end is
not said, only how long it has lasted so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from etude.errors import EtudeError
from etude.methods.stg_llm.panel import DAY, SensorPanel, frequency_name, time_name

PARTS = ("domain", "instruction", "time", "events")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
RUSH_HOURS = ((7, 10), (16, 19))
PADDING = -1


class Event(BaseModel):
    """Something that happened: an incident, weather, a holiday.

    Attributes:
        start: When it began, in the panel's kind of time.
        end: When it ended; None while it lasts.
        node: Where; None = everywhere.
        kind: One word: incident, weather, holiday ...
        text: What a reader should know.
    """

    model_config = ConfigDict(extra="forbid")

    start: datetime | int
    end: datetime | int | None = None
    node: str | None = None
    kind: str
    text: str


def read_events(path: Path, panel: SensorPanel) -> list[Event]:
    """Read `events.jsonl`.

    Raises:
        EtudeError: For bad rows, an end before its start, a node the panel lacks, or the wrong kind of time.
    """
    from etude.data import read_records

    events = list(read_records(path, Event))
    for number, event in enumerate(events, 1):
        try:
            start, end = (
                _instant(event.start, panel),
                None if event.end is None else _instant(event.end, panel),
            )
        except TypeError:
            kind = "ISO times" if panel.has_calendar else "integer steps"
            raise EtudeError(
                f"{path}: event {number} starts at {event.start!r}", f"this panel's times are {kind}"
            ) from None
        if end is not None and end < start:
            raise EtudeError(f"{path}: event {number} ends before it starts", "swap start and end")
        if event.node is not None and event.node not in panel.nodes:
            raise EtudeError(
                f"{path}: event {number} is at node {event.node!r}, which the panel does not have",
                "use the panel's column names",
            )
    return events


def parse_parts(prompt: str | None) -> tuple[str, ...]:
    """`domain,instruction,time,events` in the order of the paper; empty for None."""
    wanted = [p.strip() for p in (prompt or "").split(",") if p.strip()]
    unknown = [p for p in wanted if p not in PARTS]
    if unknown:
        raise EtudeError(f"--prompt has no part {', '.join(unknown)}", f"choose among {', '.join(PARTS)}")
    return tuple(p for p in PARTS if p in wanted)


def build_prompt(
    panel: SensorPanel,
    step: int,
    events: Sequence[Event] = (),
    *,
    parts: Sequence[str] = PARTS,
    domain: str = "",
    history: int = 12,
    horizon: int = 12,
) -> str:
    """The prompt of a forecast issued at row `step`.

    Args:
        panel: For its times, nodes and units.
        step: The last row that is known.
        events: All events; those that have not begun are left out.
        parts: Which parts to write.
        domain: What the network is, in a few words.
        history: L.
        horizon: P.
    """
    sentences: list[str] = []
    if "domain" in parts:
        what = domain or f"a network of {len(panel.nodes)} sensors"
        units = f", in {panel.units}" if panel.units else ""
        sentences.append(f"Data: {what}, one value every {frequency_name(panel.step)}{units}.")
    if "instruction" in parts:
        sentences.append(f"Task: from the last {history} values of every node, forecast its next {horizon}.")
    if "time" in parts and panel.has_calendar:
        sentences.append(f"Now: {_describe_time(panel, step)}.")
    if "events" in parts:
        sentences += _describe_events(panel, step, events, history)
    return " ".join(sentences)


def _describe_time(panel: SensorPanel, step: int) -> str:
    stamp: datetime = panel.times[step].astype("datetime64[s]").item()
    day = f"{WEEKDAYS[stamp.weekday()]}, {stamp.date().isoformat()}"
    if panel.step is None or panel.step >= DAY:
        return day
    rush = stamp.weekday() < 5 and any(first <= stamp.hour < last for first, last in RUSH_HOURS)
    return f"{day}, {stamp:%H:%M}, {'rush hour' if rush else 'not rush hour'}"


def _instant(time: datetime | int, panel: SensorPanel) -> Any:
    if panel.has_calendar != isinstance(time, datetime):
        raise TypeError(time)
    if isinstance(time, datetime):
        return np.datetime64(time.replace(tzinfo=None), "us")  # a fraction of a second later is later
    return np.int64(time)


def _describe_events(panel: SensorPanel, step: int, events: Sequence[Event], history: int) -> list[str]:
    """Events that have begun and reach into the input window, the latest first."""
    now, earliest = panel.times[step], panel.times[max(0, step - history + 1)]
    begun = [e for e in events if _instant(e.start, panel) <= now]
    recent = [e for e in begun if e.end is None or _instant(e.end, panel) >= earliest]
    lines = []
    for event in sorted(recent, key=lambda e: _instant(e.start, panel), reverse=True):
        start = _instant(event.start, panel)
        over = event.end is not None and _instant(event.end, panel) <= now
        until = _instant(event.end, panel) if over and event.end is not None else now
        where = f" at node {event.node}" if event.node is not None else ""
        length = _duration(until - start, panel)
        state = f"lasted {length}" if over else f"for {length} so far"
        lines.append(f"{event.kind.capitalize()}{where} since {time_name(start)}, {state}: {event.text}.")
    return lines


def _duration(span: Any, panel: SensorPanel) -> str:
    if not panel.has_calendar:
        return f"{int(span)} steps"
    seconds = int(span.astype("timedelta64[s]").astype(int))
    return frequency_name(seconds) if seconds else "0min"


def prompt_ids(
    panel: SensorPanel,
    tokenizer: Any,
    events: Sequence[Event],
    *,
    parts: Sequence[str],
    domain: str,
    history: int,
    horizon: int,
    length: int | None = None,
) -> NDArray[np.int64]:
    """Token ids of the prompt at every row: (M,) if all rows share one text, else (T, M) padded on the left.

    Args:
        panel: Its times and nodes.
        tokenizer: The language model's.
        events: All events.
        parts: Parts written.
        domain: See `build_prompt`.
        history: L.
        horizon: P.
        length: M; the longest prompt when left out. A longer one is cut at the end, where the oldest events
            stand.
    """
    texts = [
        build_prompt(panel, row, events, parts=parts, domain=domain, history=history, horizon=horizon)
        for row in range(len(panel.times))
    ]
    distinct = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    tokens = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in distinct]
    size = length or max(map(len, tokens))
    if len(tokens) == 1:
        return np.array(tokens[0][:size], dtype=np.int64)
    table = np.full((len(tokens), size), PADDING, dtype=np.int64)
    for row, ids in zip(table, tokens, strict=True):
        kept = ids[:size]
        row[size - len(kept) :] = kept
    return table[[distinct[text] for text in texts]]
