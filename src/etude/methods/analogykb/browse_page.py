"""The HTML page of a knowledge base: relations, pairs, example analogies."""

from __future__ import annotations

from pathlib import Path

from etude.methods.analogykb.knowledge_base import AnalogyKB
from etude.render import Block, Section, TableBlock, Text, save_page

REPORT = "report.html"


def write_browse_page(folder: Path, page: Path, *, most: int = 100, pairs: int = 12, seed: int = 0) -> Path:
    """Write the page.

    Args:
        folder: A knowledge base.
        page: The `.html` file.
        most: Relations shown in full, the largest first; the table has all of them.
        pairs: Pairs and analogies of each.
        seed: Of the analogies.

    Returns:
        The page.
    """
    kb = AnalogyKB(folder)
    kept = sorted((row for row in kb.relations if row.kept), key=lambda row: (-row.kept, row.rel))
    dropped = [row for row in kb.relations if not row.kept]
    overview: list[Block] = [
        TableBlock(
            ("relation", "pairs in the graph", "pairs kept", "symmetric"),
            [(row.rel, row.pairs, row.kept, "yes" if row.symmetric else "") for row in kept],
            "Any two pairs of one relation are an analogy; the order of a symmetric relation's pairs "
            "is arbitrary",
        )
    ]
    if dropped:
        overview.append(
            TableBlock(
                ("left out", "pairs", "why"), [(r.rel, r.pairs, r.status) for r in dropped], "Left out"
            )
        )
    sections = [Section("Relations", overview)]
    if related := kb.relation_pairs:
        rows = [
            (r["rel_a"], r["rel_b"], r["meta"], r["llm_votes"], _said(r["accepted"]), r["note"])
            for r in related
        ]
        columns = ("relation", "analogous to", "what both are", "votes", "accepted", "note")
        sections.append(Section("Analogous relations", [TableBlock(columns, rows)]))
    for row in kept[:most]:
        best = ", ".join(f"{a} : {b}" for a, b in kb.pairs(row.rel, pairs))
        drawn = [f"{a} is to {b} as {c} is to {d}" for (a, b), (c, d) in kb.analogies(row.rel, pairs, seed)]
        blocks: list[Block] = [Text(f"Best known: {best}")]
        if drawn:
            blocks.append(TableBlock(("analogies, drawn at random",), [(text,) for text in drawn]))
        sections.append(Section(row.rel, blocks, tag=f"{row.kept:,} pairs", level=3))
    lead = f"{len(kb.table):,} pairs of {len(kept)} relations, {len(kb.table.words):,} words." + (
        "" if len(kept) <= most else f" The {most} largest relations are shown in full."
    )
    return save_page(page, f"Analogies in {folder.name}", sections, lead=lead)


def _said(accepted: bool | None) -> str:
    return "not reviewed" if accepted is None else "yes" if accepted else "no"
