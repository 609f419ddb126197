"""A scripted model for trying `relate` without a language model. It judges nothing."""

from __future__ import annotations

import json
import re

from etude.models import Conversation, register_scripted

MOCK = "mock"
_NAMED = 3


def register_mock() -> str:
    """Register the mock, which names the nearest candidates, and return its model name."""
    register_scripted("analogykb-mock", _answer)
    return "scripted/analogykb-mock"


def _answer(conversation: Conversation) -> str:
    text = str(conversation[-1]["content"])
    if "Relation 2:" in text:
        names = re.findall(r"^Relation [12]: (.*?) \(", text, re.MULTILINE)
        return json.dumps({"meta": " or ".join(names)})
    return json.dumps({"analogous": re.findall(r"^- (.*?) \(", text, re.MULTILINE)[:_NAMED]})
