"""One self-contained HTML page from blocks: no network, everything escaped, fit for phones and dark mode."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.errors import EtudeError
from etude.render import plots
from etude.render.blocks import Audio, Block, Code, Figure, Picture, Shaded, TableBlock, Text
from etude.render.terminal import cell, is_numeric, plain, shade
from etude.runs import write_text

if TYPE_CHECKING:
    from jinja2 import Environment

_SOUND = {".wav": "audio/wav", ".flac": "audio/flac", ".mp3": "audio/mpeg", ".ogg": "audio/ogg"}


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Args:
        heading: Its heading; also its place in the contents.
        blocks: What it shows, in order.
        tag: A short word drawn beside the heading, e.g. a verdict.
        level: 2 for a part, 3 for a part of a part.
        summary: A sentence under its link in the contents.
    """

    heading: str
    blocks: Sequence[Block]
    tag: str = ""
    level: int = 2
    summary: str = ""


def save_page(
    path: Path | str, title: str, sections: Sequence[Section | tuple[str, Sequence[Block]]], *, lead: str = ""
) -> Path:
    """Write the page in one step.

    Args:
        path: The `.html` file.
        title: Its title and first heading.
        sections: `Section`s, or `(heading, blocks)` pairs.
        lead: One paragraph under the title.

    Returns:
        The path.
    """
    parts = [part if isinstance(part, Section) else Section(*part) for part in sections]
    template = _environment().get_template("page.html.j2")
    drawn = [
        {
            "id": f"s{i}",
            "heading": p.heading,
            "tag": p.tag,
            "level": p.level,
            "summary": plain(p.summary),
            "blocks": [_draw(b) for b in p.blocks],
        }
        for i, p in enumerate(parts)
    ]
    write_text(path, template.render(title=title, lead=lead, sections=drawn))
    return Path(path)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader

    return Environment(
        loader=PackageLoader("etude.render", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _draw(block: Block) -> dict[str, Any]:
    if isinstance(block, Text):
        paragraphs = [p for p in plain(block.text).split("\n\n") if p.strip()]
        return {"kind": "text", "paragraphs": [_spans(paragraph) for paragraph in paragraphs]}
    if isinstance(block, Code):
        return {"kind": "code", "text": plain(block.text)}
    if isinstance(block, TableBlock):
        numeric = [is_numeric([row[i] for row in block.rows]) for i in range(len(block.columns))]
        return {
            "kind": "table",
            "columns": list(zip(map(str, block.columns), numeric, strict=True)),
            "rows": [list(zip([plain(cell(v)) for v in row], numeric, strict=True)) for row in block.rows],
            "caption": block.caption,
        }
    if isinstance(block, Figure):
        uri = _data_uri("image/svg+xml", plots.svg(block.figure).encode())
        return {"kind": "image", "uri": uri, "alt": block.alt, "caption": block.caption}
    if isinstance(block, Picture):
        content = block.image if isinstance(block.image, bytes) else _read(block.image)
        uri = _data_uri("image/png" if content.startswith(b"\x89PNG") else "image/jpeg", content)
        return {"kind": "image", "uri": uri, "alt": block.alt, "caption": block.caption}
    if isinstance(block, Audio):
        uri = _data_uri(_SOUND.get(block.path.suffix.lower(), "audio/wav"), _read(block.path))
        return {"kind": "audio", "uri": uri, "caption": block.caption}
    if isinstance(block, Shaded):
        notes = [*block.notes, *[""] * (len(block.pieces) - len(block.notes))]
        pieces = [
            {"text": plain(text), "percent": round(100 * shade(strength)), "note": plain(note)}
            for (text, strength), note in zip(block.pieces, notes, strict=False)
        ]
        return {"kind": "shaded", "pieces": pieces, "caption": block.caption}
    raise TypeError(f"not a block: {block!r}")


def _spans(paragraph: str) -> list[tuple[str, bool]]:
    """A paragraph in pieces: what stands between backticks is code."""
    pieces = paragraph.split("`")
    if len(pieces) % 2 == 0:  # one has no partner
        return [(paragraph, False)]
    return [(piece, at % 2 == 1) for at, piece in enumerate(pieces)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EtudeError(f"{path}: cannot be read ({error.strerror})", "Check the path.") from error


def _data_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
