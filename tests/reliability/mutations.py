"""Seeded damage to a valid file: what readers meet in the wild and what someone may put there on purpose."""

from __future__ import annotations

import json
import random

HOSTILE = (
    "\ud800", "\0", "\x1b]0;owned\x07", "\x1b[2J", "<script>alert(1)</script>", "{{ 7*7 }}",
    "../../etc/passwd",
    "/etc/passwd", "\u202e", "\ufeff", "\r\n", "\u2028", "=1+1", "''", '"', "\\", "$(id)", "%s%n",
    "\U0001f600" * 9,
)  # fmt: skip
VALUES = (
    None, True, False, 0, -1, 1e308, -1e308, 10**400, 2**63, -(2**63) - 1, 0.1, "", " ", "nan", "inf",
    [], {}, [[]],
    [None], {"": None}, [[[[[[]]]]]], *HOSTILE,
)  # fmt: skip
_NUMBERS = ("NaN", "Infinity", "-Infinity", "1e999", "1" * 5000, "-0", "0x10", "1_000", "٣")


def damaged(content: bytes, draw: random.Random) -> bytes:
    """The content with one to three kinds of damage."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = draw.choice(_KINDS)(content, draw)
    return content


def _delete(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content) + 1)
    return content[:at] + content[at + draw.randrange(1, 20) :]


def _repeat(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content) + 1)
    return content[: at + draw.randrange(1, 40)] + content[at:]


def _flip(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.randrange(1, 4)):
        if changed:
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _insert(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content) + 1)
    what = draw.choice((*HOSTILE, *_NUMBERS)).encode("utf-8", "surrogatepass")
    return content[:at] + what + content[at:]


def _line_ends(content: bytes, draw: random.Random) -> bytes:
    return content.replace(b"\n", draw.choice((b"\r\n", b"\r", b"\n\n", b"\n \n", b"\x0b", b"\x85")))


def _marked(content: bytes, draw: random.Random) -> bytes:
    mark = draw.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"PK\x03\x04", b"\x1f\x8b"))
    return mark + content


def _long(content: bytes, draw: random.Random) -> bytes:
    at = draw.randrange(len(content) + 1)
    return (
        content[:at]
        + draw.choice((b"a", b" ", b"[", b"{", b'"', b",", b"\t", b"9")) * draw.choice((20000, 200000))
        + content[at:]
    )


def _deep(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    lines[draw.randrange(len(lines))] = b'{"a":' * 3000 + b"1" + b"}" * 3000
    return b"\n".join(lines)


def _shuffle(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    draw.shuffle(lines)
    return b"\n".join(lines)


def _cell(content: bytes, draw: random.Random) -> bytes:
    """Another value in a cell of a table, or in a field of JSON."""
    lines = content.split(b"\n")
    at = draw.randrange(len(lines))
    for separator in (b"\t", b",", b" ", b";"):
        if separator in lines[at] and not lines[at].lstrip().startswith((b"{", b"[")):
            cells = lines[at].split(separator)
            cells[draw.randrange(len(cells))] = str(draw.choice((*VALUES, *_NUMBERS))).encode(
                "utf-8", "replace"
            )
            lines[at] = separator.join(cells)
            return b"\n".join(lines)
    try:
        lines[at] = json.dumps(_changed(json.loads(lines[at]), draw)).encode()
        return b"\n".join(lines)
    except (ValueError, RecursionError):
        pass
    try:
        return json.dumps(_changed(json.loads(content), draw)).encode()
    except (ValueError, RecursionError):
        return _flip(content, draw)


def _changed(value: object, draw: random.Random) -> object:
    if isinstance(value, dict) and value and draw.random() < 0.8:
        key = draw.choice(list(value))
        if draw.random() < 0.15:
            return {k: v for k, v in value.items() if k != key}
        return value | {key: _changed(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.7:
        at = draw.randrange(len(value))
        return [*value[:at], _changed(value[at], draw), *value[at + 1 :]]
    return draw.choice(VALUES)


_KINDS = (
    _delete, _repeat, _flip, _cut, _insert, _line_ends, _marked, _long, _deep, _shuffle,
    _cell, _cell, _cell, _cell,
)  # fmt: skip
