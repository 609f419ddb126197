"""`link`: mentions to ids, appended row by row; a killed linking goes on with what is missing."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from etude.data.records import read_lines
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.bioelqa.linker import BioELQA, Link
from etude.methods.bioelqa.linker_folders import linker_hash, load_linker
from etude.methods.bioelqa.mentions import MentionRow, read_mentions
from etude.render import console, table
from etude.runs import content_hash, read_json, write_json

_BATCH = 256  # mentions linked between two durable writes


@dataclass(frozen=True)
class LinkResult:
    """What was linked.

    Args:
        out: The links, one JSON row for each mention.
        mentions: How many.
        linked_now: Those that were not there yet.
        abstained: Mentions without an id.
        unreadable: Answers of a prompted selector that were no symbol; the first option was taken.
        first: Some links.
    """

    out: str
    mentions: int
    linked_now: int
    abstained: int
    unreadable: int
    first: tuple[Link, ...]

    def __rich__(self) -> Any:
        """The first links, and counts."""
        from rich.console import Group

        rows = [(l.mention, l.id, l.name, l.score, _runner_up(l)) for l in self.first]
        counts = f"{self.mentions:,} mentions ({self.linked_now:,} linked now), {self.abstained:,} abstained"
        lines = [f"{counts}; written to {self.out}"]
        if self.unreadable:
            lines.append(f"{self.unreadable} answers were no symbol: the first option was taken, score 1/N")
        return Group(table(("mention", "id", "name", "score", "runner-up"), rows), *lines)


@verb
def link(
    model: Path,
    mentions: Path,
    *,
    top: int = 5,
    orders: int | None = None,
    min_score: float | None = None,
    fix_offsets: bool = False,
    out: Path = Path("links.jsonl"),
) -> LinkResult:
    """Link mentions to ids; the same command after a kill goes on with those that are missing.

    Args:
        model: What `train` or `index` wrote.
        mentions: Rows (.jsonl, .csv, .parquet) with mention and, if you like, context, doc, start, end, type;
            or a PubTator file.
        top: Options written for each mention, best first.
        orders: Average over so many orders of the options; as trained by default.
        min_score: Abstain below this probability; as trained by default.
        fix_offsets: For PubTator files.
        out: The links (.jsonl).

    Raises:
        EtudeError: Malformed rows, or a file that holds links of other mentions or another linker.
    """
    if top < 1:
        raise EtudeError(f"top {top}", "At least 1 option is written.")
    rows, texts = read_mentions(mentions, fix_offsets=fix_offsets)
    linker = load_linker(model)
    linker.orders = linker.orders if orders is None else orders
    linker.min_score = linker.min_score if min_score is None else min_score
    now = write_links(linker, rows, texts, out, top=top, identity=linker_hash(model))
    found = read_links(out)
    return LinkResult(
        out=str(out),
        mentions=len(rows),
        linked_now=now,
        abstained=sum(row["abstained"] for row in found),
        unreadable=int(getattr(linker.selector, "unreadable", 0)),
        first=tuple(_link_of(row) for row in found[:10]),
    )


def write_links(
    linker: BioELQA,
    rows: Sequence[MentionRow],
    texts: dict[str, str],
    out: Path,
    *,
    top: int,
    identity: str,
) -> int:
    """Append the links that are missing; row i of the file belongs to mention i.

    Returns:
        How many were linked now.

    Raises:
        EtudeError: The file holds links of other mentions, or of another linker.
    """
    address = content_hash([identity, top, linker.orders, linker.min_score])[:16]
    note = out.with_name(f".{out.name}.linker.json")
    done = 0
    if out.exists():
        if not note.exists() or read_json(note)["address"] != address:
            raise EtudeError(
                f"{out} holds links of another linker or other settings", "Give another --out, or delete it."
            )
        done = _whole_rows(out, rows)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(note, {"address": address})
    with open(out, "a", encoding="utf-8") as handle:
        for begin in range(done, len(rows), _BATCH):
            part = rows[begin : begin + _BATCH]
            lines = [
                json.dumps(link_row(row, made, top), ensure_ascii=False) + "\n"
                for row, made in zip(part, linker.link_rows(part, texts), strict=True)
            ]
            handle.write("".join(lines))
            handle.flush()
            os.fsync(handle.fileno())
            if (begin + len(part)) % (20 * _BATCH) == 0:
                console().print(f"bioelqa: {begin + len(part):,} of {len(rows):,} mentions linked")
    return len(rows) - done


def link_row(row: MentionRow, made: Link, top: int) -> dict[str, Any]:
    """One row of links.jsonl; options best first."""
    best = sorted(made.options, key=lambda option: -option.probability)[:top]
    return {
        "doc": row.doc,
        "start": row.start,
        "end": row.end,
        "mention": row.mention,
        **{k: v for k, v in replace(made, options=tuple(best)).to_json().items() if k != "mention"},
    }


def read_links(path: Path) -> list[dict[str, Any]]:
    """The rows of a links file.

    Raises:
        EtudeError: A line is none; it is named.
    """
    found = []
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise EtudeError(
                    f"{path}:{number}: not a link ({error})", "Delete the file and link again."
                ) from error
    return found


def _whole_rows(out: Path, rows: Sequence[MentionRow]) -> int:
    """How many links are there; a row that a kill cut off is removed."""
    kept, done = 0, 0
    with open(out, "rb") as handle:
        for line in handle:
            if not line.endswith(b"\n"):
                break
            there = json.loads(line)
            wanted = rows[done] if done < len(rows) else None
            if wanted is None or [there[k] for k in ("doc", "start", "end", "mention")] != [
                wanted.doc, wanted.start, wanted.end, wanted.mention,
            ]:  # fmt: skip
                raise EtudeError(
                    f"{out}:{done + 1}: a link of {there['mention']!r} in {there['doc']!r}, which is not "
                    "this file's mention in that place",
                    "Give another --out for other mentions.",
                )
            kept, done = kept + len(line), done + 1
    os.truncate(out, kept)
    return done


def _link_of(row: dict[str, Any]) -> Link:
    from etude.methods.bioelqa.linker import ShownClue, ShownOption

    return Link(
        row["mention"], row["id"], row["name"], row["score"], row["abstained"],
        tuple(ShownOption(**option) for option in row["options"]),
        tuple(ShownClue(**clue) for clue in row["clues"]),
    )  # fmt: skip


def _runner_up(link: Link) -> str | None:
    others = [option for option in link.options if option.id != link.id]
    return f"{others[0].name} ({others[0].probability:.2f})" if others else None
