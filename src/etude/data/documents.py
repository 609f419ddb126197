"""Running text: a user's documents, and the English prose that comes with Python itself."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, model_validator

from etude.data.records import read_records
from etude.errors import EtudeError


class Document(BaseModel):
    """One document: plain `text`, or chat `messages` to which a model's template is applied."""

    id: str = ""
    text: str = ""
    source: str = ""
    messages: list[dict[str, Any]] | None = Field(default=None, description="[{role, content}, ...]")

    @model_validator(mode="before")
    @classmethod
    def _accept_numbers_as_ids(cls, row: Any) -> Any:
        return {**row, "id": str(row["id"])} if isinstance(row, dict) and "id" in row else row

    @model_validator(mode="after")
    def _has_content(self) -> Document:
        if not self.text.strip() and not self.messages:
            raise ValueError("needs a non-empty `text` or `messages`")
        return self


def read_documents(source: Path | str) -> list[Document]:
    """Read documents from `.txt` (separated by blank lines) or from rows with `text` or `messages`.

    Args:
        source: A text file, or anything `read_records` reads. Optional columns: `id`, `source`.

    Returns:
        The documents in file order; those without an id are numbered.

    Raises:
        EtudeError: Nothing is there, or a row has neither text nor messages.
    """
    path = Path(source)
    if path.suffix == ".txt":
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError as error:
            raise EtudeError(f"{path}: no such file", "Check the path.") from error
        except UnicodeDecodeError as error:
            raise EtudeError(
                f"{path}: not UTF-8 ({error.reason} at byte {error.start})", "Convert it to UTF-8."
            ) from error
        blocks = text.replace("\r\n", "\n").split("\n\n")
        documents = [Document(text=block.strip()) for block in blocks if block.strip()]
    else:
        documents = list(read_records(source, Document))
    if not documents:
        raise EtudeError(f"{source}: holds no document", "Give a file with at least one non-empty document.")
    return [d if d.id else d.model_copy(update={"id": f"{path.stem}-{i}"}) for i, d in enumerate(documents)]


@cache
def prose() -> str:
    """English prose of the Python installation itself: `pydoc_data.topics`, PSF licence, 465k characters."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name].strip() for name in sorted(topics))
