"""The terms of an OBO file (Flat File Format 1.4): id, name, synonyms, namespace; other tags are skipped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from etude.data import read_lines
from etude.errors import EtudeError
from etude.methods.bioelqa.vocabulary import Entity, Vocabulary

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_SPECIAL = {"n": "\n", "t": "\t", "W": " "}


def read_obo(path: Path) -> Vocabulary:
    """Read a vocabulary; the type of a term is its `namespace`.

    Obsolete terms (`is_obsolete: true`) and synonyms of the type `obsolete_synonym` are skipped; the terms
    are counted in `Vocabulary.skipped`.

    Raises:
        EtudeError: The file has no usable term, or a term has no id or no name; the line is named.
    """
    skipped = {"obsolete": 0}
    entities = []
    for line, tags in _terms(path):
        if tags.get("is_obsolete") == ["true"]:
            skipped["obsolete"] += 1
            continue
        for needed in ("id", "name"):
            if not tags.get(needed):
                raise EtudeError(f"{path}:{line}: a term without {needed}", "Mend or delete this [Term].")
        synonyms = dict.fromkeys(
            _unescape(found[1])
            for text in tags.get("synonym", [])
            if (found := _QUOTED.match(text)) and "obsolete_synonym" not in text[found.end() :]
        )
        name = _unescape(tags["name"][0])
        entities.append(
            Entity(
                id=tags["id"][0],
                name=name,
                synonyms=tuple(s for s in synonyms if s and s != name),
                type=tags.get("namespace", [""])[0],
            )
        )
    if not entities:
        raise EtudeError(f"{path}: no [Term] that is not obsolete", "Give an OBO file (not OWL).")
    return Vocabulary(entities, skipped)


def _terms(path: Path) -> Iterator[tuple[int, dict[str, list[str]]]]:
    """Line and tags of each [Term]; comments behind ` ! ` are cut off ids."""
    tags: dict[str, list[str]] | None = None
    start = 0
    for number, raw in enumerate(read_lines(path), start=1):
        line = raw.strip()
        if line.startswith("["):
            if tags is not None:
                yield start, tags
            tags, start = ({} if line == "[Term]" else None), number
            continue
        key, colon, value = line.partition(":")
        if tags is None or not colon or line.startswith("!"):
            continue
        value = value.strip()
        if key in ("id", "namespace", "is_obsolete"):
            value = value.partition(" !")[0].strip()
        tags.setdefault(key, []).append(value)
    if tags is not None:
        yield start, tags


def _unescape(text: str) -> str:
    return _ESCAPED.sub(lambda found: _SPECIAL.get(found[1], found[1]), text)
