"""The feature cache: what a frozen encoder says about a picture or a text, computed once.

Arrays lie in shards of 256 rows (`.npy`, read by memory map, never pickled), each with its SHA-256 in the
manifest. A shard that is missing or damaged is computed again, alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.data.store import cache_root, locked
from etude.render import console
from etude.runs import atomic_path, content_hash, file_hash, read_json, write_json

SHARD = 256
Compute = Callable[[Sequence[int]], NDArray[Any]]


@dataclass(frozen=True)
class StoredRows:
    """Rows in shards.

    Attributes:
        shards: Memory maps of at most `SHARD` rows each.
    """

    shards: tuple[NDArray[Any], ...]

    def __len__(self) -> int:
        """Number of rows."""
        return sum(len(shard) for shard in self.shards)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return tuple(self.shards[0].shape[1:])

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Rows by number, (rows, ...)."""
        wanted = np.asarray(rows)
        found = np.empty((len(wanted), *self.shape), dtype=self.shards[0].dtype)
        for number in np.unique(wanted // SHARD):
            here = wanted // SHARD == number
            found[here] = self.shards[number][wanted[here] % SHARD]
        return found


class FeatureCache:
    """Features by content.

    Args:
        folder: Where they are kept; default: etude's cache folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_root() / "tmpt"

    def rows(
        self, what: Any, keys: Sequence[str], compute: Compute, *, label: str = "features"
    ) -> StoredRows:
        """The rows of some keys: read where they are, computed where not.

        Args:
            what: JSON that determines a row besides its key: encoder, revision, size.
            keys: What each row is about, e.g. the hash of a picture; in a fixed order, without repetition.
            compute: From row numbers to their rows.
            label: Shown when shards are computed.
        """
        address = content_hash({"what": what, "keys": list(keys)})[:32]
        folder = self.folder / address
        with locked(f"tmpt-{address}"):
            return self._rows(folder, len(keys), compute, label)

    def _rows(self, folder: Path, count: int, compute: Compute, label: str) -> StoredRows:
        manifest = folder / "manifest.json"
        hashes: dict[str, str] = read_json(manifest)["sha256"] if manifest.exists() else {}
        shards = []
        for start in range(0, count, SHARD):
            path = folder / f"{start // SHARD:05d}.npy"
            known = hashes.get(path.name)
            if known is None or not path.exists() or file_hash(path) != known:
                if known is not None:
                    console().print(f"{label}: shard {path.name} is damaged and is computed again")
                stop = min(start + SHARD, count)
                if count > SHARD:
                    console().print(f"{label}: {start:,} to {stop:,} of {count:,}")
                with atomic_path(path) as temporary:
                    np.save(temporary, compute(range(start, stop)), allow_pickle=False)
                hashes[path.name] = file_hash(path)
                write_json(manifest, {"rows": count, "sha256": hashes})
            shards.append(np.load(path, mmap_mode="r", allow_pickle=False))
        return StoredRows(tuple(shards))
