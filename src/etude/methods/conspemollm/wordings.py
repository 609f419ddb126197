"""The wording of every prompt, read from `wordings.toml`, and its hash."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import Any

from etude.runs import content_hash


@cache
def wordings() -> dict[str, Any]:
    """The file, as a dictionary: `frame`, `tasks`, `affect`, `rewrite`."""
    text = resources.files(__package__).joinpath("wordings.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def wording_hash() -> str:
    """12 hex digits that change with any letter of any prompt."""
    return content_hash(wordings())[:12]
