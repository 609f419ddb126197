"""Pictures with captions, from what people have: tables, a folder, COCO's files, web archives, sprite sheets.

| source | what it holds |
|---|---|
| `.jsonl`, `.parquet`, `.csv`, `.tsv` | `id`, `image` (a path beside the table), `caption`; `split` if any |
| `.csv` with `row`, `col`, `caption` | cells of the sheet of sprites of the same name (`.png`) |
| a folder | pictures, each with a `.txt` of the same name, or `metadata.jsonl` (`file_name`, `text`) |
| `.json` | COCO's captions, or Karpathy's split of them; pictures in `--images` |
| `.tar` | a web archive: `name.png` and `name.txt` (or `name.json` with `caption`) |
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.easygen.pictures import SUFFIXES, Picture
from etude.runs import content_hash, file_hash, read_json


@dataclass(frozen=True)
class Pair:
    """A picture and what is said of it.

    Attributes:
        id: Its name, unique in its source.
        picture: Where it is.
        captions: One or more.
        facts: Other columns of its row, as text.
    """

    id: str
    picture: Picture
    captions: tuple[str, ...]
    facts: tuple[tuple[str, str], ...] = ()

    def fact(self, name: str) -> str:
        """Another column of its row; empty when there is none."""
        return dict(self.facts).get(name, "")


class _Row(BaseModel):
    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    id: str | None = None
    image: str = Field(min_length=1)
    caption: str | list[str]


class _Cell(BaseModel):
    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    row: int = Field(ge=0)
    col: int = Field(ge=0)
    caption: str
    id: str | None = None


class _Named(BaseModel):
    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    file_name: str = Field(min_length=1)
    text: str | list[str]


def read_pairs(source: str | Path, *, images: Path | None = None, split: str | None = None) -> list[Pair]:
    """All pairs of a source.

    Args:
        source: See the module.
        images: Folder that picture paths are relative to; default: the source's own.
        split: Keep pairs whose `split` is this (`train` of Karpathy's split includes `restval`).

    Raises:
        EtudeError: The source cannot be read, a caption is empty, an id occurs twice, or nothing is left.
    """
    path = Path(source)
    if path.is_dir() and not (path / "dataset_info.json").exists():
        pairs = _folder(path)
    elif path.suffix == ".json":
        pairs = _coco(path, images or path.parent)
    elif path.suffix == ".tar":
        pairs = _archive(path)
    elif _is_sheet(path):
        pairs = _sheet(path)
    else:
        pairs = _table(path, images or path.parent)
    if split is not None:
        wanted = {split, "restval"} if split == "train" else {split}
        pairs = [pair for pair in pairs if pair.fact("split") in wanted]
    if not pairs:
        raise EtudeError(
            f"{source}: no pair of picture and caption" + (f" in the split {split!r}" if split else ""),
            "See etude easygen train-bidiffuser --help for what a source may be.",
        )
    _check(pairs, path)
    return pairs


def pairs_hash(pairs: Sequence[Pair]) -> str:
    """What identifies the pairs: ids, captions, and the content of their files."""
    files = {p.picture.path for p in pairs if p.picture.content is None}
    content = {str(f): file_hash(f) for f in sorted(files)}
    rows = [
        [
            p.id,
            list(p.captions),
            list(p.picture.box or ()),
            content_hash(p.picture.content.hex())
            if p.picture.content is not None
            else content[str(p.picture.path)],
        ]
        for p in pairs
    ]
    return content_hash(rows)[:16]


def _check(pairs: Sequence[Pair], path: Path) -> None:
    empty = [pair.id for pair in pairs if not pair.captions or not all(c.strip() for c in pair.captions)]
    if empty:
        raise EtudeError(
            f"{path}: {len(empty)} captions are empty: {', '.join(empty[:10])}", "Fill or remove these rows."
        )
    seen: set[str] = set()
    twice = [pair.id for pair in pairs if pair.id in seen or seen.add(pair.id)]  # type: ignore[func-returns-value]
    if twice:
        raise EtudeError(
            f"{path}: ids occur twice: {', '.join(twice[:10])}", "Give each pair an id of its own."
        )


def _texts(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(str(one) for one in value)


def _facts(row: BaseModel) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in (row.model_extra or {}).items())


def _table(path: Path, images: Path) -> list[Pair]:
    return [
        Pair(row.id or row.image, Picture(images / row.image), _texts(row.caption), _facts(row))
        for row in read_records(path, _Row)
    ]


def _is_sheet(path: Path) -> bool:
    if path.suffix not in (".csv", ".tsv") or not path.is_file():
        return False
    header = path.open(encoding="utf-8-sig", errors="replace").readline().strip()
    names = {name.strip() for name in header.split("\t" if path.suffix == ".tsv" else ",")}
    return {"row", "col", "caption"} <= names and "image" not in names


def _sheet(path: Path) -> list[Pair]:
    from PIL import Image

    sheet = path.with_suffix(".png")
    cells = list(read_records(path, _Cell))
    try:
        with Image.open(sheet) as opened:
            width = opened.width
    except OSError as error:
        raise EtudeError(
            f"{sheet}: the sheet of sprites cannot be read ({error})"[:300],
            "A table with row and col needs a PNG of the same name beside it.",
        ) from error
    columns = 1 + max((cell.col for cell in cells), default=0)
    side = width // columns

    def pair(cell: _Cell) -> Pair:
        left, top = cell.col * side, cell.row * side
        picture = Picture(sheet, (left, top, left + side, top + side))
        return Pair(cell.id or f"{cell.row}-{cell.col}", picture, (cell.caption,), _facts(cell))

    return [pair(cell) for cell in cells]


def _folder(path: Path) -> list[Pair]:
    table = path / "metadata.jsonl"
    if table.exists():
        return [
            Pair(row.file_name, Picture(path / row.file_name), _texts(row.text), _facts(row))
            for row in read_records(table, _Named)
        ]
    found = []
    for file in sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES):
        text = file.with_suffix(".txt")
        if not text.exists():
            raise EtudeError(
                f"{file}: no caption {text.name} beside it",
                "Give each picture a .txt, or the folder a metadata.jsonl (file_name, text).",
            )
        captions = [line.strip() for line in text.read_text(encoding="utf-8").splitlines() if line.strip()]
        found.append(Pair(str(file.relative_to(path)), Picture(file), tuple(captions)))
    return found


def _coco(path: Path, images: Path) -> list[Pair]:
    content: Any = read_json(path)
    try:
        rows = content["images"]
        if "annotations" in content:
            captions: dict[Any, list[str]] = {}
            for note in content["annotations"]:
                captions.setdefault(note["image_id"], []).append(note["caption"])
            return [
                Pair(str(row["id"]), Picture(images / row["file_name"]), tuple(captions[row["id"]]))
                for row in rows
                if row["id"] in captions
            ]
        return [
            Pair(
                str(row.get("cocoid", row.get("imgid", row["filename"]))),
                Picture(images / row.get("filepath", "") / row["filename"]),
                tuple(sentence["raw"].strip() for sentence in row["sentences"]),
                (("split", row["split"]),),
            )
            for row in rows
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise EtudeError(
            f"{path}: neither COCO captions nor Karpathy's split (missing {error})",
            'Expected {"images": [...], "annotations": [...]} or {"images": [{..., "sentences": [...]}]}.',
        ) from error


def _archive(path: Path) -> list[Pair]:
    if not path.is_file():
        raise EtudeError(f"{path}: no such file", "Check the path.")
    found = []
    for name, parts in _archive_samples(path):
        picture = next((parts[s[1:]] for s in SUFFIXES if s[1:] in parts), None)
        if picture is None:
            continue
        caption = parts.get("txt", b"").decode("utf-8", errors="replace").strip()
        if not caption and "json" in parts:
            try:
                stored = json.loads(parts["json"])
            except (ValueError, RecursionError) as error:
                raise EtudeError(f"{path}: {name}.json is not JSON ({error})", "Mend the archive.") from error
            caption = str(stored.get("caption", "")).strip() if isinstance(stored, dict) else ""
        found.append(Pair(name, Picture(path / name, content=picture), (caption,)))
    return found


def _archive_samples(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Files of a web archive grouped by name up to the first dot, in order; nothing is written to disk."""
    import tarfile

    name, parts = "", dict[str, bytes]()
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if not member.isfile():
                    continue
                folder, _, file = member.name.rpartition("/")
                stem, _, kind = file.partition(".")
                key = f"{folder}/{stem}" if folder else stem
                if key != name and parts:
                    yield name, parts
                    parts = {}
                name = key
                content = archive.extractfile(member)
                parts[kind.lower()] = content.read() if content else b""
    except tarfile.TarError as error:
        raise EtudeError(f"{path}: not a whole tar archive ({error})", "Write the archive again.") from error
    if parts:
        yield name, parts
