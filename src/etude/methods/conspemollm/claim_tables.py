"""The claim's own tables: correlations with ratings, other topics, small training sets, the stages of R1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from etude.methods.conspemollm.claim_stages import STAGES
from etude.methods.conspemollm.emobank import DIMENSIONS
from etude.methods.conspemollm.splits import SplitRows
from etude.render import Block, TableBlock

if TYPE_CHECKING:
    from etude.evidence import Evidence


def claim_tables(
    evidence: Evidence, heads: Sequence[str], arms: Sequence[str], splits: Sequence[SplitRows], real: bool
) -> list[Block]:
    """Correlations with the ratings, other topics, small training sets, the stages."""

    def facts(name: str, key: str) -> list[Any]:
        return [m.facts[key] for m in evidence.arm(name).measurements.values() if key in m.facts]

    told = [
        (
            name,
            *(
                float(np.mean([found[d] for found in facts(f"affect by {name}", "Pearson r")]))
                for d in DIMENSIONS
            ),
        )
        for name in heads
        if facts(f"affect by {name}", "Pearson r")
    ]
    blocks: list[Block] = [
        TableBlock(("affect by", *DIMENSIONS), told, "Pearson's r on held-out EmoBank sentences")
    ]
    crossings = [split.name for split in splits if " fold " not in split.name]
    rows = []
    for name in arms:
        across = facts(name, "across topics")
        if across:
            area = [a for a in facts(name, "AUC") if a is not None]
            rows.append(
                (
                    name,
                    float(np.mean(area)) if area else None,
                    *(float(np.mean([a[c] for a in across])) for c in crossings),
                )
            )
    said = "" if real else " (synthetic articles)"
    blocks.append(
        TableBlock(
            ("arm", "AUC within", *crossings), rows, f"AUC within topics, macro-F1 across topics{said}"
        )
    )
    sizes = [(name, facts(name, "by training size")[0]) for name in arms if facts(name, "by training size")]
    shown = sorted({size for _, by in sizes for size in by}, key=int)
    if shown:
        blocks.append(
            TableBlock(
                ("training texts", *shown),
                [(n, *(by.get(s) for s in shown)) for n, by in sizes],
                "Macro-F1 by training size",
            )
        )
    columns = ("stage A steps", "stage B steps", "stage B first loss", "stage B last loss", "answer loss")
    stages = [
        (name, *(float(np.mean(facts(f"LM: {name}", c))) for c in columns))
        for name in STAGES
        if facts(f"LM: {name}", columns[0])
    ]
    blocks.append(TableBlock(("stages", *columns), stages, f"Route R1 with a language model{said}"))
    return blocks
