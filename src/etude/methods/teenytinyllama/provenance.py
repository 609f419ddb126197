"""Where a corpus's text came from: one row per file, licence and language, for manifest and model card."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from etude.methods.teenytinyllama.reading import Document
from etude.methods.teenytinyllama.shards import Source

_COUNTED = ("documents", "bytes", "tokens", "texts")
_DIGEST = 2**128


class SourceTally:
    """Counts of documents by file, licence and language."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], dict[str, int]] = {}

    def add(self, document: Document, tokens: int) -> None:
        """Count a document with so many tokens.

        `texts` is the sum of the texts' digests: it does not depend on order, so parts can be joined.
        """
        text = document.text.encode()
        digest = int.from_bytes(hashlib.sha256(text).digest()[:16], "little")
        self._add(
            (document.file or document.source, document.license, document.language),
            {"documents": 1, "bytes": len(text), "tokens": tokens, "texts": digest},
        )

    def rows(self) -> list[dict[str, Any]]:
        """The counts as JSON records."""
        return [
            {"file": file, "license": license, "language": language, **counts}
            for (file, license, language), counts in sorted(self._rows.items())
        ]

    def _add(self, key: tuple[str, str, str], counts: Mapping[str, int]) -> None:
        found = self._rows.setdefault(key, dict.fromkeys(_COUNTED, 0))
        for name in _COUNTED:
            found[name] += counts[name]
        found["texts"] %= _DIGEST

    @classmethod
    def join(cls, parts: Iterable[Iterable[Mapping[str, Any]]]) -> SourceTally:
        """One tally of several tallies' `rows`."""
        joined = cls()
        for row in itertools.chain.from_iterable(parts):
            joined._add((row["file"], row["license"], row["language"]), row)
        return joined

    def sources(self, hashes: Mapping[str, str]) -> list[Source]:
        """The manifest's rows; a file without a hash gets one over the texts it gave."""
        return [
            Source(
                file=row["file"],
                sha256=hashes.get(row["file"]) or _texts_hash(row["texts"]),
                **{name: row[name] for name in ("license", "language", "documents", "bytes", "tokens")},
            )
            for row in self.rows()
        ]


def is_non_commercial(license: str) -> bool:
    """Whether a licence's name says that it forbids commercial use, as CC-BY-NC-4.0 does."""
    parts = license.lower().replace("_", "-").replace(" ", "-").split("-")
    return "nc" in parts or "noncommercial" in "".join(parts)


def _texts_hash(texts: int) -> str:
    return hashlib.sha256(texts.to_bytes(16, "little")).hexdigest()
