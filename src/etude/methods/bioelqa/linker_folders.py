"""Trained linkers and indexes on disk, in formats that need no unpickling.

vocabulary.jsonl  cases.jsonl  linker.json  retriever/  selector/  vectors.npy (dense retrievers)
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.bioelqa.case_base import Case, CaseBase
from etude.methods.bioelqa.linker import BioELQA
from etude.methods.bioelqa.mentions import Preprocessing
from etude.methods.bioelqa.retrievers import load_retriever, save_retriever
from etude.methods.bioelqa.selectors import load_selector, save_selector
from etude.methods.bioelqa.training_questions import QuestionSettings
from etude.methods.bioelqa.vocabulary import Vocabulary
from etude.methods.bioelqa.vocabulary_files import read_stored, write_vocabulary
from etude.runs import atomic_path, content_hash, file_hash, read_json, write_json, write_text

LINKER = "linker.json"
VECTORS = "vectors.npy"
_VOCABULARY = "vocabulary.jsonl"
_CASES = "cases.jsonl"


class _CaseRow(BaseModel):
    mention: str
    id: str
    count: int


def save_linker(linker: BioELQA, folder: Path) -> Path:
    """Write a fitted linker, in one step.

    Args:
        linker: Fitted.
        folder: Replaced if it is there.

    Returns:
        The folder.
    """
    assert linker.base is not None, "fit first"
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        write_vocabulary(temporary / _VOCABULARY, linker.base.vocabulary)
        lines = (json.dumps(asdict(case), ensure_ascii=False) + "\n" for case in linker.base.cases)
        write_text(temporary / _CASES, "".join(lines))
        save_retriever(linker.retriever, temporary / "retriever")
        if linker.selector is not None:
            save_selector(linker.selector, temporary / "selector")
        save_vectors(linker.base, temporary)
        write_json(
            temporary / LINKER,
            {
                "questions": asdict(linker.settings),
                "preprocessing": asdict(linker.preprocessing),
                "learn_names": linker.learn_names,
                "orders": linker.orders,
                "min_score": linker.min_score,
                "trained_documents": sorted(linker.trained_documents),
                "training": linker.training,
                "left_out": linker.left_out,
            },
        )
    return folder


def load_linker(folder: Path | str) -> BioELQA:
    """Read what `save_linker` wrote: the folder itself, or the run that holds it as `model`.

    Raises:
        EtudeError: There is no linker.
    """
    place = linker_folder(folder)
    stored = read_json(place / LINKER)
    retriever = load_retriever(place / "retriever")
    selector = load_selector(place / "selector") if (place / "selector").is_dir() else False
    how = QuestionSettings(**stored["questions"])
    linker = BioELQA(
        retriever,
        selector,
        **asdict(how),
        learn_names=stored["learn_names"],
        preprocessing=Preprocessing(**stored["preprocessing"]),
        orders=stored["orders"],
        min_score=stored["min_score"],
    )
    vocabulary = read_stored(place / _VOCABULARY)
    cases = [Case(row.mention, row.id, row.count) for row in read_records(place / _CASES, _CaseRow)]
    linker.base = CaseBase(retriever, vocabulary, cases, load_vectors(place, vocabulary))
    linker.trained_documents = frozenset(stored["trained_documents"])
    linker.training, linker.left_out = stored["training"], stored["left_out"]
    return linker


def linker_folder(folder: Path | str) -> Path:
    """Where the linker's files lie."""
    path = Path(folder)
    for place in (path, path / "model"):
        if (place / LINKER).is_file():
            return place
    raise EtudeError(
        f"{path}: no trained linker or index",
        "Give the folder that `etude bioelqa train` or `etude bioelqa index` wrote.",
    )


def linker_hash(folder: Path | str) -> str:
    """What identifies a linker: the content of its files."""
    place = linker_folder(folder)
    files = sorted(file for file in place.rglob("*") if file.is_file())
    return content_hash([[str(file.relative_to(place)), file_hash(file)] for file in files])[:16]


def save_vectors(base: CaseBase, folder: Path) -> None:
    """Write a dense retriever's name vectors, so that loading need not encode them again."""
    vectors: Any = getattr(base.index, "vectors", None)
    if isinstance(vectors, np.ndarray):
        np.save(folder / VECTORS, vectors, allow_pickle=False)


def load_vectors(folder: Path, vocabulary: Vocabulary) -> np.ndarray | None:
    """Memory-mapped name vectors, if there are some, or None."""
    path = folder / VECTORS
    if not path.is_file():
        return None
    vectors: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    if len(vectors) != len(vocabulary.names.texts):
        raise EtudeError(
            f"{path}: {len(vectors)} vectors for {len(vocabulary.names.texts)} names",
            "The folder is damaged; make it again.",
        )
    return vectors
