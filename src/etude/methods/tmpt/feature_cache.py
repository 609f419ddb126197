"""The feature cache: what a frozen encoder says about a picture or a text, computed once a machine.

Rows are kept by content: each encoder setting has a folder, each row a key. Rows lie in shards of at most 256
(`.npy`, read by memory map, never pickled), whose keys and SHA-256 are in the manifest. A shard that is
missing or damaged is dropped, and its rows are computed again when they are asked for.
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
    """Rows that lie in shards.

    Attributes:
        shards: Memory maps, (rows of the shard, ...) each.
        shard: The shard of each row.
        place: Its place there.
    """

    shards: tuple[NDArray[Any], ...]
    shard: NDArray[np.int64]
    place: NDArray[np.int64]

    @classmethod
    def of(cls, rows: NDArray[Any]) -> StoredRows:
        """Rows in memory."""
        return cls((rows,), np.zeros(len(rows), dtype=np.int64), np.arange(len(rows)))

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.shard)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return tuple(self.shards[0].shape[1:])

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Rows by number, (rows, ...)."""
        wanted = np.asarray(rows)
        shard, place = self.shard[wanted], self.place[wanted]
        found = np.empty((len(wanted), *self.shape), dtype=self.shards[0].dtype)
        for number in np.unique(shard):
            here = shard == number
            found[here] = self.shards[number][place[here]]
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
            keys: What each row is about, e.g. the hash of a picture; without repetition.
            compute: From places in `keys` to their rows.
            label: Shown when rows are computed.
        """
        address = content_hash(what)[:32]
        folder = self.folder / address
        with locked(f"tmpt-{address}"):
            manifest = _whole_shards(folder, set(keys), label)
            held = {key for shard in manifest for key in shard["keys"]}
            missing = [i for i, key in enumerate(keys) if key not in held]
            for start in range(0, len(missing), SHARD):
                chosen = missing[start : start + SHARD]
                if len(missing) > SHARD:
                    console().print(f"{label}: {start:,} to {start + len(chosen):,} of {len(missing):,}")
                own = [keys[i] for i in chosen]
                path = folder / f"{content_hash(own)[:32]}.npy"
                with atomic_path(path) as temporary:
                    np.save(temporary, compute(chosen), allow_pickle=False)
                manifest.append({"file": path.name, "sha256": file_hash(path), "keys": own})
                write_json(folder / "manifest.json", manifest)
        return _opened(folder, manifest, keys)


def _whole_shards(folder: Path, wanted: set[str], label: str) -> list[dict[str, Any]]:
    """The manifest's shards, without those that hold wanted rows and are not what was written."""
    path = folder / "manifest.json"
    whole = []
    for shard in read_json(path) if path.exists() else []:
        file = folder / shard["file"]
        if wanted.isdisjoint(shard["keys"]) or (file.exists() and file_hash(file) == shard["sha256"]):
            whole.append(shard)
        else:
            console().print(
                f"{label}: a stored shard is damaged; its {len(shard['keys'])} rows are computed again"
            )
    return whole


def _opened(folder: Path, manifest: Sequence[dict[str, Any]], keys: Sequence[str]) -> StoredRows:
    wanted = set(keys)
    used = [shard for shard in manifest if not wanted.isdisjoint(shard["keys"])]
    lies = {key: (n, i) for n, shard in enumerate(used) for i, key in enumerate(shard["keys"])}
    where = np.array([lies[key] for key in keys], dtype=np.int64).reshape(len(keys), 2)
    shards = tuple(np.load(folder / shard["file"], mmap_mode="r", allow_pickle=False) for shard in used)
    return StoredRows(shards, where[:, 0], where[:, 1])
