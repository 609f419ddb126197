"""Items of a catalogue: their records, and the one line of text by which a model knows each.

Reads JSONL, CSV, TSV and Parquet with `item_id, title, brand?, categories?, description?, price?, salesrank?`
(or a ready `text`), and `item_plain_text.txt` of the IDGenRec layout ("item text").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, Field, ValidationError, field_validator

from etude.data import read_lines, read_records
from etude.errors import EtudeError

Missing: TypeAlias = Literal["error", "drop", "title-from-id"]
_FIELDS = ("title", "brand", "categories", "description", "price", "salesrank")
_NAMED = 5


class Item(BaseModel):
    """One item: an id without blanks, and what is known of it."""

    item_id: str
    title: str = ""
    brand: str = ""
    categories: str = Field(default="", description="a text, or a list of texts or of paths")
    description: str = ""
    price: str = ""
    salesrank: str = ""
    text: str = Field(default="", description="a ready line of text; the other fields are then not used")

    @field_validator("*", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return _flat(value)

    @field_validator("item_id")
    @classmethod
    def _has_no_blank(cls, value: str) -> str:
        return checked_id(value)

    @property
    def line(self) -> str:
        """What a model reads: `title: …; brand: …; …`, lower-cased, without empty fields (section 3.2)."""
        if self.text.strip():
            return " ".join(self.text.lower().split())
        known = ((name, " ".join(getattr(self, name).lower().split())) for name in _FIELDS)
        return "; ".join(f"{name}: {value}" for name, value in known if value)

    @property
    def words(self) -> str:
        """The bare text, in its own case, without the names of the fields."""
        return self.text or " ".join(filter(None, (getattr(self, name) for name in _FIELDS[:4])))


def read_items(source: Path | str) -> list[Item]:
    """Read a catalogue, sorted by item id, so that textual ids do not depend on the file's order.

    Args:
        source: A `.jsonl`, `.csv`, `.tsv` or `.parquet` file, or IDGenRec's `item_plain_text.txt`.

    Raises:
        EtudeError: Rows are bad (an id with blanks among them), an id comes twice, or there is no item.
    """
    path = Path(source)
    items = _read_plain_text(path) if path.suffix == ".txt" else list(read_records(source, Item))
    if not items:
        raise EtudeError(f"{source}: holds no item", "Give at least one row with item_id and title.")
    seen: set[str] = set()
    twice = [item.item_id for item in items if item.item_id in seen or seen.add(item.item_id)]  # type: ignore[func-returns-value]
    if twice:
        raise EtudeError(
            f"{source}: {len(twice)} item ids come twice: {', '.join(twice[:_NAMED])}",
            "Keep one row of each item.",
        )
    return sorted(items, key=lambda item: item.item_id)


def items_of(used: Iterable[str], items: Iterable[Item], missing: Missing = "error") -> dict[str, Item]:
    """The catalogue by id, completed for what histories use.

    Args:
        used: Item ids of the histories.
        items: The catalogue.
        missing: For ids without a row: `error`, `drop` (they are not in the result; the caller drops their
            events) or `title-from-id` (the id is all the text they have).

    Returns:
        Item id to item, sorted by id.

    Raises:
        EtudeError: Ids without a row, five of which are named, and `missing` is `error`.
    """
    known = {item.item_id: item for item in items}
    lacking = sorted(set(used) - known.keys())
    if lacking and missing == "error":
        raise EtudeError(
            f"{len(lacking)} items of the sequences are not among the items: {', '.join(lacking[:_NAMED])}",
            "Add their rows, or say --missing drop or --missing title-from-id.",
        )
    if missing == "title-from-id":
        known |= {item_id: Item(item_id=item_id, title=item_id) for item_id in lacking}
    return dict(sorted(known.items()))


def alike(items: Mapping[str, Item]) -> dict[str, int]:
    """How many items have no text, and how many share their text with another one."""
    lines = [item.line for item in items.values()]
    counts: dict[str, int] = {}
    for line in lines:
        counts[line] = counts.get(line, 0) + 1
    return {
        "empty": counts.get("", 0),
        "identical": sum(count for line, count in counts.items() if line and count > 1),
    }


def checked_id(value: str) -> str:
    """The id of an item or a user.

    Raises:
        ValueError: It is empty or holds white space, which separates ids in the layouts that we read.
    """
    if not value or value.split() != [value]:
        raise ValueError(f"{value!r} is empty or holds blanks or tabs, which separate ids in files")
    return value


def _read_plain_text(path: Path) -> list[Item]:
    items = []
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            item_id, _, text = line.strip().partition(" ")
            if "\t" in item_id:
                raise EtudeError(f"{path}:{number}: a tab in the item id", "Separate id and text by a blank.")
            try:
                items.append(Item(item_id=item_id, text=text))
            except ValidationError as error:
                raise EtudeError(
                    f"{path}:{number}: {error.errors()[0]['msg']}", "A line is: item id, blank, text."
                ) from error
    return items


def _flat(value: Any) -> Any:
    """Numbers as text, nothing as empty, lists (of lists) joined by commas."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(str(_flat(one)) for one in value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
