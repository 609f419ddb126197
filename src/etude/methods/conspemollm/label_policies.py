"""What to do with labels that annotators were unsure of: a policy the user names, and counts of what it did.

LOCO's annotation table has `Y`, `N`, `?`, `Y?`, `N?` as judgment and `C`, `B`, `N`, `C/B`, `?` as
relatedness, and 14 Sandy Hook rows with `Y` there. Nothing is guessed silently.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal, TypeAlias

Uncertain: TypeAlias = Literal["drop", "lean"]
Overlap: TypeAlias = Literal["drop", "close", "broad"]
YesRelatedness: TypeAlias = Literal["drop", "close", "broad"]

JUDGMENTS = {"N": 0, "Y": 1}
RELATEDNESS = {"N": 0, "C": 1, "B": 2}
_CHOICE = {"close": 1, "broad": 2}


@dataclass(frozen=True)
class LabelPolicy:
    """How doubtful labels are treated.

    Args:
        uncertain: `Y?` and `N?`: leave out (`drop`), or take the side they lean to (`lean`). A bare `?` is
            always left out.
        overlap: `C/B` as relatedness: leave out, or take as closely (`close`) or broadly (`broad`) related.
        yes_relatedness: `Y` in the relatedness column: the same choices.
    """

    uncertain: Uncertain = "drop"
    overlap: Overlap = "drop"
    yes_relatedness: YesRelatedness = "drop"

    def judgment(self, cell: str, counts: Counter[str]) -> int | None:
        """Class number of a judgment, or None when it is left out; doubtful ones are counted."""
        label = _normal(cell)
        if label in JUDGMENTS:
            return JUDGMENTS[label]
        leaning = JUDGMENTS.get(label.rstrip("?")) if label.endswith("?") else None
        kept = leaning if self.uncertain == "lean" else None
        counts[f"judgment {label or 'empty'}: {_fate(kept, ('non-conspiracy', 'conspiracy'))}"] += 1
        return kept

    def relatedness(self, cell: str, counts: Counter[str]) -> int | None:
        """Class number of a relatedness, or None when it is left out; doubtful ones are counted."""
        label = _normal(cell)
        if label in RELATEDNESS:
            return RELATEDNESS[label]
        kept: int | None = None
        if label in ("C/B", "B/C"):
            kept = _CHOICE.get(self.overlap)
        elif label == "Y":
            kept = _CHOICE.get(self.yes_relatedness)
        elif label.endswith("?") and self.uncertain == "lean":
            kept = RELATEDNESS.get(label.rstrip("?"))
        names = ("not related", "closely related", "broadly related")
        counts[f"relatedness {label or 'empty'}: {_fate(kept, names)}"] += 1
        return kept


def _normal(cell: str) -> str:
    return "".join(str(cell).split()).upper()


def _fate(kept: int | None, names: tuple[str, ...]) -> str:
    return "left out" if kept is None else f"taken as {names[kept]}"
