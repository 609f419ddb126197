"""Instruction data: dialogs in LLaVA's format, and questions about pictures (VQA), as turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from etude.data import read_records
from etude.errors import EtudeError
from etude.methods.easygen.pairs import Pair
from etude.methods.easygen.pictures import Picture
from etude.methods.easygen.wording import Turn, plain_words, with_picture
from etude.runs import read_json

_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
SHORTLY = "Answer with a word or a short phrase."


class _Said(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    speaker: str = Field(alias="from")
    value: str


class _Dialog(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    id: str
    image: str | None = None
    conversations: list[_Said] = Field(min_length=1)


class _Question(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    question_id: str
    image: str
    question: str = Field(min_length=1)
    answers: list[str] = Field(min_length=1)


@dataclass(frozen=True)
class Dialog:
    """A conversation about at most one picture.

    Attributes:
        id: Its name.
        image: The picture's id; None for text alone.
        picture: Where the picture is.
        turns: What was said.
    """

    id: str
    image: str | None
    picture: Picture | None
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Question:
    """A question about a picture, with what people answered."""

    id: str
    image: str
    picture: Picture
    question: str
    answers: tuple[str, ...]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """How the question is put."""
        return (Turn("user", with_picture(f"{plain_words(self.question)} {SHORTLY}")),)


def read_dialogs(source: str | Path, *, images: Path | None = None) -> list[Dialog]:
    """Dialogs `id, image, conversations[{from, value}]` of a `.jsonl`, `.parquet` or LLaVA's `.json` list.

    Raises:
        EtudeError: The file cannot be read, a speaker is unknown, or a dialog has no answer.
    """
    path = Path(source)
    folder = images or path.parent
    found = []
    for row in _rows(path):
        turns = [Turn(_role(said.speaker, row.id, path), said.value) for said in row.conversations]
        found.append(_dialog(row, turns, folder, path))
    if not found:
        raise EtudeError(f"{path}: no dialog", "Give rows with id, image and conversations.")
    return found


def read_questions(source: str | Path, *, images: Path | None = None) -> list[Question]:
    """Questions `question_id, image, question, answers[]` of a `.jsonl` or `.parquet` file."""
    folder = images or Path(source).parent
    found = [
        Question(row.question_id, row.image, Picture(folder / row.image), row.question, tuple(row.answers))
        for row in read_records(source, _Question)
    ]
    if not found:
        raise EtudeError(f"{source}: no question", "Give rows with question_id, image, question, answers.")
    return found


def caption_dialogs(pairs: Sequence[Pair], instruction: str) -> list[Dialog]:
    """Each caption as the answer to one instruction (the first stage of alignment)."""
    asked = Turn("user", with_picture(instruction))
    return [
        Dialog(pair.id, pair.id, pair.picture, (asked, Turn("assistant", plain_words(caption))))
        for pair in pairs
        for caption in pair.captions
    ]


def pictures_in(dialogs: Sequence[Dialog]) -> list[Pair]:
    """The pictures of dialogs, once each, without captions."""
    found = {d.image: d.picture for d in dialogs if d.image is not None and d.picture is not None}
    return [Pair(name, picture, ()) for name, picture in found.items()]


def _rows(path: Path) -> Iterator[_Dialog]:
    """The dialogs of a file; LLaVA's own are one JSON list."""
    if path.suffix != ".json":
        yield from read_records(path, _Dialog)
        return
    content = read_json(path)
    if not isinstance(content, list):
        raise EtudeError(f"{path}: not a list of dialogs", "Give LLaVA's list, or JSONL.")
    for number, row in enumerate(content):
        try:
            yield _Dialog.model_validate(row)
        except ValidationError as error:
            first = error.errors()[0]
            raise EtudeError(
                f"{path}: dialog {number}: {'.'.join(map(str, first['loc']))}: {first['msg']}",
                "Each needs id, image (or none) and conversations[{from, value}].",
            ) from error


def _dialog(row: _Dialog, turns: list[Turn], folder: Path, path: Path) -> Dialog:
    if not any(turn.role == "assistant" and turn.text.strip() for turn in turns):
        raise EtudeError(
            f"{path}: dialog {row.id}: no answer", "Each dialog needs a turn of gpt or assistant."
        )
    turns = [Turn(turn.role, plain_words(turn.text)) for turn in turns]
    if row.image is None:
        return Dialog(row.id, None, None, tuple(turns))
    first = next((n for n, turn in enumerate(turns) if turn.role == "user"), None)
    if first is None:
        raise EtudeError(f"{path}: dialog {row.id}: a picture but no question", "Add a turn of human.")
    placed = turns[first].text.replace("<image>", "").strip()
    turns = [Turn(turn.role, turn.text.replace("<image>", "").strip()) for turn in turns]
    turns[first] = Turn("user", with_picture(placed))
    return Dialog(row.id, row.image, Picture(folder / row.image), tuple(turns))


def _role(speaker: str, name: str, path: Path) -> str:
    if speaker not in _ROLES:
        raise EtudeError(
            f"{path}: dialog {name}: unknown speaker {speaker!r}", f"Use one of {', '.join(_ROLES)}."
        )
    return _ROLES[speaker]
