"""What a BiDiffuser read out of pictures, stored once: shards of safetensors and an index in Parquet.

The index has `id, shard, row, n_tokens, captions`; the note beside it says by which model, steps, guidance
and seed the features were made, and training checks it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from etude.data import read_rows, write_records
from etude.errors import EtudeError
from etude.runs import atomic_path, read_json, write_json

INDEX, NOTE = "index.parquet", "features.json"
DIFFUSED, PATCHES = "features", "clip_patches"


@dataclass(frozen=True)
class Origin:
    """How features were made; two with the same origin can be mixed.

    Attributes:
        bidiffuser: Identity of the model (`BiDiffuser.identity`).
        name: Where it was, for a person.
        steps: Solver steps.
        guidance: Guidance strength.
        seed: Of the noise.
        tokens, dim: Shape of one picture's features.
        clip: Name of the CLIP model whose patch features lie beside; empty without.
        clip_tokens, clip_dim: Their shape.
    """

    bidiffuser: str
    name: str
    steps: int
    guidance: float
    seed: int
    tokens: int
    dim: int
    clip: str = ""
    clip_tokens: int = 0
    clip_dim: int = 0

    def differs(self, other: Origin) -> str:
        """What another origin has that this has not, in words; empty when they can be mixed."""
        ours, theirs = asdict(self), asdict(other)
        return "; ".join(
            f"{key}: {theirs[key]!r} there, {ours[key]!r} here"
            for key in ours
            if key != "name" and ours[key] != theirs[key]
        )


def write_shard(folder: Path, number: int, tensors: Mapping[str, Tensor]) -> None:
    """Write one shard in one step."""
    with atomic_path(folder / shard_name(number)) as temporary:
        save_file({name: value.contiguous().cpu() for name, value in tensors.items()}, temporary)


def shard_name(number: int) -> str:
    """File name of a shard."""
    return f"features-{number:05}.safetensors"


def write_index(folder: Path, rows: Iterable[Mapping[str, Any]], origin: Origin) -> None:
    """Write index and note; the features are complete with it."""
    write_records(folder / INDEX, ({**row, "captions": json.dumps(row["captions"])} for row in rows))
    write_json(folder / NOTE, asdict(origin))


class FeatureStore:
    """Features on disk, by picture id.

    Args:
        folder: What `encode` wrote.

    Raises:
        EtudeError: The folder is not complete, or not one of features.
    """

    def __init__(self, folder: Path) -> None:
        if not (folder / NOTE).exists():
            raise EtudeError(
                f"{folder}: no complete features ({NOTE} is missing)",
                "Make them, or finish them, with easygen encode.",
            )
        self.folder = folder
        self.origin = Origin(**read_json(folder / NOTE))
        self.places: dict[str, tuple[int, int]] = {}
        self.captions: dict[str, tuple[str, ...]] = {}
        for _, row in read_rows(folder / INDEX):
            self.places[row["id"]] = (int(row["shard"]), int(row["row"]))
            self.captions[row["id"]] = tuple(json.loads(row["captions"]))
        self._open: dict[int, Any] = {}

    @property
    def ids(self) -> list[str]:
        """Ids of all pictures, in order."""
        return list(self.places)

    def check(self, expected: Origin) -> None:
        """Refuse features that another model, or other settings, made.

        Raises:
            EtudeError: What differs.
        """
        if differing := expected.differs(self.origin):
            raise EtudeError(
                f"{self.folder}: features were made otherwise ({differing})",
                "Encode the pictures again with the same model, steps, guidance and seed.",
            )

    def read(self, ids: Sequence[str], name: str = DIFFUSED) -> Tensor:
        """Features of pictures, (len(ids), tokens, dim).

        Raises:
            EtudeError: An id has none.
        """
        missing = [one for one in ids if one not in self.places]
        if missing:
            raise EtudeError(
                f"{self.folder}: no features of {', '.join(missing[:10])}", "Encode these pictures too."
            )
        rows = []
        for one in ids:
            shard, row = self.places[one]
            if shard not in self._open:
                path = self.folder / shard_name(shard)
                self._open[shard] = safe_open(path, framework="pt")
            rows.append(self._open[shard].get_slice(name)[row : row + 1])
        return torch.cat(rows).float() if rows else torch.zeros(0, self.origin.tokens, self.origin.dim)
