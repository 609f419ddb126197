"""What a relation is worth to an analogy: those without structure, those without a direction, merged ones.

ConceptNet's and Wikidata's relations that carry no analogical structure are dropped by name (spec of the
paper's section 3.1); symmetric ones are kept and marked, since the order of their pairs is arbitrary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from etude.errors import EtudeError

UNSTRUCTURED = frozenset(
    {
        "relatedto",
        "externalurl",
        "formof",
        "etymologicallyrelatedto",
        "dbpedia/genre",
        "sitelinks",
        "sameas",
        "seealso",
        "wikipageexternallink",
    }
)
"""Relations without analogical structure, in lower case and without separators."""

UNSTRUCTURED_LABELS = re.compile(
    r"(\bid\b|\bidentifier\b|\bcategory\b|\bcategories\b|\bcommons\b|\bwikimedia\b|\bsitelink|\burl\b|"
    r"\bwebsite\b|\bimage\b|\bdifferent from\b|\bdescribed by source\b|\bproperties for this "
    r"type\b|\bhashtag\b)",
    re.IGNORECASE,
)
"""Labels of Wikidata's properties that hold identifiers, categories, links and media."""

SYMMETRIC = (
    "antonym",
    "opposite",
    "synonym",
    "similarto",
    "relatedto",
    "sibling",
    "spouse",
    "sharesborderwith",
    "locatednear",
    "distinctfrom",
    "seealso",
)
"""Beginnings of the names of relations that hold both ways, in lower case and without separators."""

MEASURED_SYMMETRIC = 0.5  # share of pairs whose reverse is there as well


def folded(relation: str) -> str:
    """A relation's name in lower case, without spaces, underscores and hyphens."""
    return re.sub(r"[\s_\-]+", "", relation).lower()


def is_unstructured(relation: str) -> bool:
    """Whether a relation is dropped by name."""
    return folded(relation) in UNSTRUCTURED or UNSTRUCTURED_LABELS.search(relation) is not None


def is_symmetric(relation: str, reversed_share: float) -> bool:
    """Whether a relation's pairs have no direction: by its name, or as most stand there both ways."""
    return folded(relation).startswith(SYMMETRIC) or reversed_share >= MEASURED_SYMMETRIC


def parse_merges(merges: Sequence[str]) -> dict[str, tuple[str, int]]:
    """A signed map of relations: `hasa=-partof` makes (h, hasa, t) an edge (t, partof, h).

    Args:
        merges: Each `FROM=TO` or `FROM=-TO`.

    Raises:
        EtudeError: An entry is not of this form, or a relation is mapped twice or to a mapped one.
    """
    found: dict[str, tuple[str, int]] = {}
    for merge in merges:
        source, equals, target = merge.partition("=")
        sign = -1 if target.startswith("-") else 1
        target = target.lstrip("+-")
        if not (source and equals and target) or source in found:
            raise EtudeError(
                f"--merge {merge!r} maps nothing, or a relation a second time",
                "Write FROM=TO, or FROM=-TO to turn the pairs round, e.g. hasa=-partof.",
            )
        found[source] = (target, sign)
    chained = [source for source, (target, _) in found.items() if target in found]
    if chained:
        raise EtudeError(
            f"--merge: {chained[0]!r} is mapped to a relation that is mapped itself", "Map it once."
        )
    return found
