"""The data sets of the claim: folders with histories, and textual ids or item texts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from etude.errors import EtudeError
from etude.methods.idgen.preparation import Corpus, read_corpus
from etude.runs import file_hash

_SEQUENCES = ("sequences.jsonl", "user_sequence.txt")
_ITEMS = ("items.jsonl", "item_plain_text.txt")
_IDS = ("textual_ids.tsv", "ids.tsv")


@dataclass(frozen=True)
class DataSet:
    """One folder.

    Args:
        name: For people.
        sequences: Histories.
        items: Item texts, if any.
        ids: Ready textual ids, if any.
    """

    name: str
    sequences: Path
    items: Path | None
    ids: Path | None

    @property
    def hashes(self) -> dict[str, str]:
        """What determines the measurements."""
        return {path.name: file_hash(path) for path in (self.sequences, self.items, self.ids) if path}


LAPTOP = {"beauty_core": "Beauty", "industrial": "Industrial"}
"""Folder to name."""


def laptop_data(data: Path | None) -> list[DataSet]:
    """Beauty (with the paper's phase-0 ids) and Industrial (with item texts).

    Raises:
        EtudeError: They are not there.
    """
    found = [] if data is None else [_data_set(data / folder, name) for folder, name in LAPTOP.items()]
    lacking = [folder for folder, one in zip(LAPTOP, found, strict=False) if one is None]
    if data is None or lacking:
        raise EtudeError(
            f"idgen: the claim needs data ({'no --data' if data is None else f'{data} lacks {lacking[0]}/'})",
            "Give --data DIR with beauty_core/ (sequences.jsonl, textual_ids.tsv) and industrial/ "
            "(sequences.jsonl, items.jsonl); see: etude show idgen",
        )
    return [one for one in found if one is not None]


def paper_data(data: Path | None) -> list[DataSet]:
    """Every folder in `data` with histories and item texts or ids, e.g. Sports, Beauty, Toys, Yelp.

    Raises:
        EtudeError: There is none.
    """
    folders = sorted(data.iterdir()) if data is not None and data.is_dir() else []
    found = [one for one in (_data_set(folder, folder.name) for folder in folders) if one is not None]
    if not found:
        raise EtudeError(
            f"idgen: no data set in {data}",
            "Give --data DIR with a folder for each data set, in the IDGenRec layout (user_sequence.txt, "
            "item_plain_text.txt) or with sequences.jsonl and items.jsonl.",
        )
    return found


@cache
def corpus(data: DataSet) -> Corpus:
    """The data set, read and split."""
    return read_corpus(data.sequences, data.items, data.ids, i_know=True)


def _data_set(folder: Path, name: str) -> DataSet | None:
    def first(names: tuple[str, ...]) -> Path | None:
        return next((folder / one for one in names if (folder / one).is_file()), None)

    sequences, items, ids = first(_SEQUENCES), first(_ITEMS), first(_IDS)
    if sequences is None or (items is None and ids is None):
        return None
    return DataSet(name, sequences, items, ids)
