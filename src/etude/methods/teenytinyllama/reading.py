"""Text corpora in: files, folders, saved datasets and hub ids as one stream of documents.

Nothing is held in memory but the document at hand. A stream can be read again from the start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from etude.data import read_lines, read_rows
from etude.errors import EtudeError
from etude.runs import file_hash

_SUFFIXES = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
_LONGEST = (
    1 << 20
)  # characters of text without a blank line; longer ones are cut, so that memory stays bounded


@dataclass(frozen=True)
class Document:
    """One document of a corpus.

    Args:
        id: The record's id, else file name and line.
        text: Its text.
        source: Where it comes from: the record's `source`, else the file.
        license: The record's `license`, else what the user stated.
        language: The record's `lang` or `language`, e.g. `pt-BR`; empty when not stated.
        file: The file or hub id it was read from.
    """

    id: str
    text: str
    source: str = ""
    license: str = ""
    language: str = ""
    file: str = ""


@dataclass(frozen=True)
class Corpus:
    """A re-readable stream of documents.

    Args:
        sources: Files (.txt, .jsonl, .csv, .tsv, .parquet; also .gz), folders of such files, folders written
            by `datasets.save_to_disk`, or hub ids (`org/name`, `org/name@config:split`; streamed).
        field: Field of a record that holds the text.
        lines: A document of a .txt file is so many lines; None: documents are separated by blank lines.
        license: Licence of the documents that do not state their own.
    """

    sources: tuple[str, ...]
    field: str = "text"
    lines: int | None = None
    license: str = ""

    def __post_init__(self) -> None:
        if not self.sources:
            raise EtudeError("no file was given", "Give text files, folders or hub ids.")
        if self.lines is not None and self.lines < 1:
            raise EtudeError(f"lines {self.lines}", "Give at least 1, or leave it out.")

    def files(self) -> list[str]:
        """The single files, saved datasets and hub ids behind `sources`, in reading order."""
        return [file for source in self.sources for file in _files(source)]

    def hashes(self) -> dict[str, str]:
        """SHA-256 of each file; of a saved dataset, over its files; a hub id has none."""
        return {file: digest for file in self.files() if (digest := _hash(file))}

    def __iter__(self) -> Iterator[Document]:
        """Stream the documents.

        Raises:
            EtudeError: A file is missing, malformed, not UTF-8, or a record has no text; the message names
                line and field.
        """
        for file in self.files():
            yield from self._documents(file)

    def texts(self) -> Iterator[str]:
        """The documents' texts alone."""
        return (document.text for document in self)

    def _documents(self, file: str) -> Iterator[Document]:
        path = Path(file)
        stem = path.name.split(".")[0] or path.name
        if path.is_file() and _suffix(path) == ".txt":
            for line, text in _blocks(path, self.lines):
                yield Document(f"{stem}:{line}", text, file, self.license, "", file)
            return
        for line, row in read_rows(file):
            text = _text(row, self.field, f"{file}:{line}")
            yield Document(
                id=str(row.get("id") or f"{stem}:{line}"),
                text=text,
                source=_source(row) or file,
                license=str(row.get("license") or row.get("licence") or self.license),
                language=str(row.get("lang") or row.get("language") or ""),
                file=file,
            )


def corpus(
    files: Sequence[Path | str], *, field: str = "text", lines: int | None = None, license: str = ""
) -> Corpus:
    """A corpus of what a user named (see `Corpus`)."""
    return Corpus(tuple(map(str, files)), field, lines, license)


def same_language(stated: str, target: str) -> bool:
    """Whether a stated language is the target's: `pt-BR` and `pt_PT` are `pt`; `pt-PT` is not `pt-BR`."""
    ours, theirs = (tag.lower().replace("_", "-").split("-") for tag in (target, stated))
    return theirs[: len(ours)] == ours or (len(theirs) < len(ours) and ours[: len(theirs)] == theirs)


def identify_language(text: str) -> str:
    """The language a text is written in, as ISO 639 code, by py3langid over its first 2,000 characters.

    Raises:
        EtudeError: py3langid is not installed.
    """
    return str(_identifier().classify(text[:2000])[0])


def language_of(document: Document) -> str:
    """The language a document states, else the one it is written in."""
    return document.language or identify_language(document.text)


@cache
def _identifier() -> Any:
    try:
        import py3langid
    except ImportError as error:
        raise EtudeError(
            "documents do not state their language (field lang or language), and py3langid is not installed",
            'pip install "etude[language]", or leave --language out.',
        ) from error
    return py3langid


def _files(source: str) -> list[str]:
    path = Path(source)
    if not path.is_dir() or (path / "state.json").exists() or (path / "dataset_dict.json").exists():
        return [source]
    found = sorted(str(p) for p in path.rglob("*") if p.is_file() and _suffix(p) in _SUFFIXES)
    if not found:
        raise EtudeError(
            f"{path}: holds no text file and is no saved dataset",
            f"It should hold {', '.join(_SUFFIXES)} files.",
        )
    return found


def _suffix(path: Path) -> str:
    return path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix


def _hash(file: str) -> str:
    path = Path(file)
    if path.is_file():
        return file_hash(path)
    if path.is_dir():
        digest = hashlib.sha256()
        for part in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{part.relative_to(path)}\0{file_hash(part)}\n".encode())
        return digest.hexdigest()
    return ""


def _text(row: dict[str, Any], field: str, where: str) -> str:
    if field not in row:
        raise EtudeError(
            f"{where}: no field {field!r}; it has {', '.join(map(str, row)) or 'none'}",
            "Name the field that holds the text with --field.",
        )
    text = row[field]
    if text is None:
        return ""
    if not isinstance(text, str):
        raise EtudeError(
            f"{where}: {field}: a {type(text).__name__}, not text", "Each record needs text there."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise EtudeError(
            f"{where}: {field}: half of a surrogate pair at character {error.start}, which UTF-8 cannot hold",
            "Write the file again as UTF-8.",
        ) from error
    return text


def _source(row: dict[str, Any]) -> str:
    """`source`, or the published corpus's `metadata: "source: ..."`."""
    metadata = row.get("metadata")
    named = metadata.removeprefix("source:").strip() if isinstance(metadata, str) else ""
    return str(row.get("source") or named)


def _blocks(path: Path, lines: int | None) -> Iterator[tuple[int, str]]:
    """First line number and text of each document of a text file."""
    block: list[str] = []
    start, size = 1, 0
    for number, raw in enumerate(read_lines(path), start=1):
        line = raw.rstrip("\r\n")
        if not block:
            start, size = number, 0
        if lines is None and not line.strip():
            if block:
                yield start, "\n".join(block)
            block = []
            continue
        block.append(line)
        size += len(line) + 1
        if size >= _LONGEST or (lines is not None and len(block) >= lines):
            yield start, "\n".join(block)
            block = []
    if block:
        yield start, "\n".join(block)
