"""`index`: a vocabulary made searchable, addressed by its content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from etude.data.batches import BatchEngine, BatchFunction, Row, map_batches
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.bioelqa.case_base import CaseBase
from etude.methods.bioelqa.linker import BioELQA
from etude.methods.bioelqa.linker_folders import LINKER, linker_folder, load_vectors, save_linker
from etude.methods.bioelqa.retrievers import Retriever, load_retriever, retriever_by_name
from etude.methods.bioelqa.vocabulary import Vocabulary, read_vocabulary
from etude.methods.bioelqa.vocabulary_files import read_stored
from etude.render import console, table
from etude.runs import Run, atomic_path, content_hash, read_json, write_json

_ADDRESS = "address.json"
_SHARD = 8192  # names embedded between two durable writes


@dataclass(frozen=True)
class IndexResult:
    """What was indexed.

    Args:
        out: The folder.
        entities, names: How many.
        conflicts: Names that several ids share.
        skipped: What the vocabulary's reader left out.
        encoder: The retriever.
        address: Hash of vocabulary and encoder.
        made: False when the folder held this index already.
    """

    out: str
    entities: int
    names: int
    conflicts: int
    skipped: dict[str, int]
    encoder: str
    address: str
    made: bool

    def __rich__(self) -> Any:
        """What lies where."""
        rows = [
            ("entities", self.entities),
            ("names", self.names),
            ("names of several ids", self.conflicts),
            *((f"skipped: {why}", count) for why, count in self.skipped.items() if count),
            ("encoder", self.encoder),
            ("index", f"{self.out} ({self.address}{'' if self.made else ', already there'})"),
        ]
        return table(
            ("bioelqa index", ""), [[name, f"{v:,}" if isinstance(v, int) else v] for name, v in rows]
        )


@verb
def index(
    vocab: str,
    *,
    encoder: str = "tfidf",
    type: str | None = None,
    engine: BatchEngine = "local",
    workers: int = 2,
    out: Path,
) -> IndexResult:
    """Make a vocabulary searchable; the same command again finds it done, after a kill it goes on.

    The folder can be linked against as it is (the retriever's first choice), and given as --vocab to train,
    which then need not embed the vocabulary's names again.

    Args:
        vocab: .tsv (id, name, synonyms a|b, type), .jsonl, .obo (each also .gz), or hpo: the Human Phenotype
            Ontology.
        encoder: tfidf, or an encoder: minilm, hf:DIR, hf:org/name (the paper's is
            hf:cambridgeltl/SapBERT-from-PubMedBERT-fulltext).
        type: Keep only entities of this type.
        engine: Where names are embedded: local, or ray (on one or many machines).
        workers: With ray.
        out: The index's folder.

    Raises:
        EtudeError: A malformed vocabulary, an unknown encoder, or a folder that holds something else.
    """
    vocabulary = read_vocabulary(vocab)
    vocabulary = vocabulary if type is None else vocabulary.restrict(type=type)
    retriever = retriever_by_name(encoder)
    address = content_hash([vocabulary.hash, retriever.identity])[:16]
    made = not _holds(out, address)
    if made:
        texts = vocabulary.names.texts
        if encoder == "tfidf":
            retriever.fit(texts)
            base = CaseBase(retriever, vocabulary, ())
        else:
            work = out.parent / f".{out.name}.work"
            vectors = _embed(texts, encoder, work, address, engine, workers)
            base = CaseBase(retriever, vocabulary, (), vectors)
        linker = BioELQA(retriever, False, n_clues=0)
        linker.base = base
        with atomic_path(out) as temporary:
            save_linker(linker, temporary)
            write_json(temporary / _ADDRESS, {"address": address, "encoder": encoder})
    return IndexResult(
        str(out),
        len(vocabulary),
        len(vocabulary.names.texts),
        len(vocabulary.conflicts()),
        vocabulary.skipped,
        encoder,
        address,
        made,
    )


def read_index(folder: Path) -> tuple[Vocabulary, Retriever, np.ndarray | None]:
    """Vocabulary, retriever and name vectors (of dense encoders) of an index."""
    place = linker_folder(folder)
    if not (place / _ADDRESS).is_file():
        raise EtudeError(f"{folder}: not an index", "Give a vocabulary's file, or what `index` wrote.")
    vocabulary = read_stored(place / "vocabulary.jsonl")
    return vocabulary, load_retriever(place / "retriever"), load_vectors(place, vocabulary)


def _holds(out: Path, address: str) -> bool:
    """Whether the folder holds this very index.

    Raises:
        EtudeError: It holds something that is not an index.
    """
    if not out.exists():
        return False
    if (out / _ADDRESS).is_file() and (out / LINKER).is_file():
        return bool(read_json(out / _ADDRESS)["address"] == address)
    raise EtudeError(f"{out} is there and is not an index", "Give a new folder as --out.")


def _embed(
    texts: tuple[str, ...], encoder: str, work: Path, address: str, engine: BatchEngine, workers: int
) -> np.ndarray:
    """Embed names shard by shard; finished shards are kept in `work` until all are there."""
    import shutil

    with Run(work, {"address": address}, command="bioelqa index") as run:
        for begin in range(0, len(texts), _SHARD):
            step, part = f"names {begin}", texts[begin : begin + _SHARD]
            if run.finished(step):
                continue
            rows: Iterator[Row] = ({"place": i, "text": text} for i, text in enumerate(part))
            build = partial(_embedder, encoder)
            found = list(map_batches(rows, build, engine=engine, batch_size=512, workers=workers))
            found.sort(key=lambda row: int(row["place"]))
            with atomic_path(work / f"names-{begin:09}.npy") as temporary:
                np.save(temporary, np.array([row["vector"] for row in found], dtype=np.float32))
            run.finish(step)
            console().print(f"bioelqa: {min(begin + _SHARD, len(texts)):,} of {len(texts):,} names embedded")
        files = sorted(work.glob("names-*.npy"))
        vectors = np.concatenate([np.load(file, allow_pickle=False) for file in files])
        run.complete({"names": len(texts)})
    shutil.rmtree(work)
    return vectors


def _embedder(encoder: str) -> BatchFunction:
    retriever = retriever_by_name(encoder)

    def embed(rows: list[Row]) -> list[Row]:
        vectors = retriever.encode([str(row["text"]) for row in rows])
        return [{"place": row["place"], "vector": v.tolist()} for row, v in zip(rows, vectors, strict=True)]

    return embed
