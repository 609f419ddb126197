"""PubTator files: title, abstract, and mentions with offsets that are checked against the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from etude.data import read_lines
from etude.errors import EtudeError
from etude.methods.bioelqa.normalization import normalize

NIL = "-1"
"""The id of a mention that no vocabulary entry stands for."""

_REACH = 20  # characters to either side where a misplaced mention is looked for
_SHOWN = 20


@dataclass(frozen=True)
class Mention:
    """A name in a text.

    Args:
        start, end: Offsets in the document's text, in characters.
        text: What stands there.
        type: Its kind.
        ids: Its ids; several for a composite mention, none for one without an entry (-1).
        parts: The names a composite mention is made of, one for each id, where the file gives them.
    """

    start: int
    end: int
    text: str
    type: str = ""
    ids: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()

    @property
    def composite(self) -> bool:
        """Whether it names several entities."""
        return len(self.ids) > 1


@dataclass(frozen=True)
class Document:
    """A text with its mentions in order."""

    id: str
    text: str
    mentions: tuple[Mention, ...] = ()


class Corpus(Sequence[Document]):
    """Documents, and what was mended in reading them.

    Args:
        documents: In file order.
        notices: What a reader must know: dropped duplicates, moved offsets.
    """

    def __init__(self, documents: Sequence[Document], notices: Sequence[str] = ()) -> None:
        self.documents = tuple(documents)
        self.notices = tuple(notices)

    def __len__(self) -> int:
        """Number of documents."""
        return len(self.documents)

    def __getitem__(self, index: Any) -> Any:
        """A document, or several."""
        return self.documents[index]

    def __add__(self, other: Corpus) -> Corpus:
        """Both, one after the other."""
        return Corpus([*self.documents, *other.documents], [*self.notices, *other.notices])


@dataclass
class _Block:
    id: str
    line: int
    title: str = ""
    abstract: str = ""
    rows: list[tuple[int, list[str]]] = field(default_factory=list)


def read_pubtator(*paths: Path | str, fix_offsets: bool = False) -> Corpus:
    """Read PubTator files (also `.gz`).

    Relations (four columns with a type such as CID) are skipped. A document that comes twice with the same
    text and mentions is dropped once, with a notice.

    Args:
        *paths: The files; their documents are joined.
        fix_offsets: Look for a mention up to 20 characters to either side of where the file puts it; where
            only punctuation differs, the text's spelling is taken.

    Raises:
        EtudeError: A malformed line; offsets that do not match the text (document, offsets, both strings are
            named, up to 20); a document id with two different contents.
    """
    documents: dict[str, Document] = {}
    notices: list[str] = []
    wrong: list[str] = []
    for path in map(Path, paths):
        moved = 0
        for block in _blocks(path):
            document, shifts, problems = _document(path, block, fix_offsets)
            moved += shifts
            wrong += problems
            earlier = documents.setdefault(document.id, document)
            if earlier is not document:
                if earlier != document:
                    raise EtudeError(
                        f"{path}:{block.line}: document {document.id} came before with another content",
                        "Give each document an id of its own.",
                    )
                notices.append(f"{path.name}: document {document.id} comes twice; one copy is used")
        if moved:
            notices.append(
                f"{path.name}: {moved} mentions were moved to where their text stands, or respelled as there"
            )
    if wrong:
        more = f"\n... and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise EtudeError(
            "\n".join(wrong[:_SHOWN]) + more,
            "Mend the offsets (title + newline + abstract), or let --fix-offsets look up to 20 characters "
            "around.",
        )
    if not documents:
        raise EtudeError(f"{', '.join(map(str, paths))}: no document", "PubTator blocks begin id|t|title.")
    return Corpus(list(documents.values()), notices)


def _blocks(path: Path) -> Iterator[_Block]:
    block: _Block | None = None
    for number, raw in enumerate(read_lines(path), start=1):
        line = raw.rstrip("\r\n")
        if not line.strip():
            if block is not None:
                yield block
            block = None
            continue
        head = line.split("|", 2)
        if len(head) == 3 and head[1] in ("t", "a") and "\t" not in head[0]:
            if head[1] == "t":
                if block is not None:
                    yield block
                block = _Block(head[0], number, title=head[2])
                continue
            if block is None or block.id != head[0]:
                raise EtudeError(f"{path}:{number}: an abstract without its title", "Put id|t|title first.")
            block.abstract = head[2]
            continue
        cells = line.split("\t")
        if block is None or len(cells) < 4 or cells[0] != block.id:
            raise EtudeError(
                f"{path}:{number}: {line[:60]!r} is neither id|t|, id|a| nor a row of the document above",
                "Rows are: id, start, end, mention, type, ids, separated by tabs.",
            )
        if not _is_offset(cells[1]) and len(cells) == 4:
            continue  # a relation
        block.rows.append((number, cells))
    if block is not None:
        yield block


def _is_offset(cell: str) -> bool:
    return cell.isdecimal() and len(cell) < 10  # isdigit takes superscripts, which are no numbers


def _document(path: Path, block: _Block, fix: bool) -> tuple[Document, int, list[str]]:
    text = f"{block.title}\n{block.abstract}"
    mentions, problems, moved = [], [], 0
    for number, cells in block.rows:
        if len(cells) < 5 or not (_is_offset(cells[1]) and _is_offset(cells[2])):
            raise EtudeError(
                f"{path}:{number}: not a mention row: {' | '.join(cells)[:80]!r}",
                "Rows are: id, start, end, mention, type, ids, separated by tabs.",
            )
        start, end, name = int(cells[1]), int(cells[2]), cells[3]
        if text[start:end] != name:
            found = _nearest(text, name, start) if fix else None
            same = normalize(text[start:end]) == normalize(name) != ""
            if found is not None:
                start, end, moved = found, found + len(name), moved + 1
            elif fix and same:  # right place, other punctuation
                name, moved = text[start:end], moved + 1
            else:
                problems.append(
                    f"{path}:{number}: document {block.id}, {start} to {end}: the text has "
                    f"{text[start:end]!r}, the row says {name!r}"
                )
                continue
        ids = _ids(cells[5] if len(cells) > 5 else NIL)
        parts = tuple(cells[6].split("|")) if len(cells) > 6 and cells[6].strip() else ()
        mentions.append(Mention(start, end, name, cells[4], ids, parts if len(parts) == len(ids) > 1 else ()))
    return Document(block.id, text, tuple(mentions)), moved, problems


def _ids(cell: str) -> tuple[str, ...]:
    found = (one.strip() for one in cell.split("|"))
    return tuple(dict.fromkeys(one for one in found if one and one != NIL))


def _nearest(text: str, name: str, start: int) -> int | None:
    """Where the name stands, nearest to `start` (before, on a tie), or None."""
    low = max(0, start - _REACH)
    window = text[low : start + _REACH + len(name)]
    places = [low + i for i in range(len(window)) if name and window.startswith(name, i)]
    return min(places, key=lambda place: (abs(place - start), place), default=None)
