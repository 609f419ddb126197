"""Problems from where people have them: our own files, the official GeoEval JSON, Geometry3K and FormalGeo7k
folders, and plain tables of questions and answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

from etude.data import read_records
from etude.data.records import read_rows
from etude.errors import EtudeError
from etude.methods.geoeval.cdl import mend_cdl, parse_cdl
from etude.methods.geoeval.items import Item, checked_items, is_option_letter, refuse_changed_parents
from etude.methods.geoeval.problems import Problem, read_problems
from etude.methods.geoeval.verbalizer import verbalize
from etude.runs import read_json

Format: TypeAlias = Literal["auto", "etude", "geoeval", "geometry3k", "formalgeo7k", "table"]

_PICTURE_FOLDERS = ("", "images", "diagrams", "image", "img")


def read_items(path: Path, *, format: Format = "auto", subsets: Sequence[str] = ()) -> list[Item]:
    """Read problems as items of an evaluation.

    Args:
        path: A file or folder.
        format: What it is; `auto` looks.
        subsets: Only these; by default all. A GeoEval file holds `main`, `backward` and `aug` versions of its
            problems; with `hard` its problems are read as they are and called hard.

    Raises:
        EtudeError: It cannot be read, or problems in it cannot be put or scored; up to 20 are named.
    """
    found = format if format != "auto" else _look(path)
    if found in ("geometry3k", "formalgeo7k") and not path.is_dir():
        raise EtudeError(f"{path}: not a folder", f"A {found} data set is a folder; check --format.")
    if found == "geoeval":
        items = _geoeval(path, subsets)
    else:
        readers: Mapping[str, Callable[[Path], Iterator[Item]]] = {
            "etude": _etude, "geometry3k": _geometry3k, "formalgeo7k": _formalgeo7k, "table": _table
        }  # fmt: skip
        items = (item for item in readers[found](path) if not subsets or item.subset in subsets)
    return checked_items(items, path)


def item_of(problem: Problem) -> Item:
    """A problem of ours as an item, its facts in words; a fact that cannot be read is shown as it is
    written.
    """
    facts = map(_in_words, (*problem.construction_cdl, *problem.text_cdl, *problem.image_cdl))
    image = None
    if problem.image:
        image = (problem.folder or Path()) / problem.image
    return Item(
        id=problem.problem_id,
        subset=problem.subset,
        source=problem.source.partition("-")[0],
        question=problem.problem_text_en or "Find the value asked for.",
        facts=tuple(dict.fromkeys(fact for fact in facts if fact)),
        image=image,
        options=problem.choices,
        gold=chr(65 + problem.choice)
        if problem.choice is not None and problem.choices
        else problem.problem_answer,
        kind="choice" if problem.choice is not None and problem.choices else "auto",
        steps=problem.steps or None,
        solution_length=problem.steps or None,
        parent_id=problem.parent_id,
        problem=problem,
    )


def _in_words(fact: str) -> str:
    try:
        return verbalize(parse_cdl(mend_cdl(fact)))
    except EtudeError:
        return fact


def _look(path: Path) -> Format:
    if str(path) == "samples" and not path.exists():  # the package's own, see `read_problems`
        return "etude"
    if path.is_dir():
        if (path / "problems").is_dir():
            return "formalgeo7k"
        if next(path.glob("*/data.json"), None) is not None:
            return "geometry3k"
        raise EtudeError(f"{path}: neither a Geometry3K nor a FormalGeo7k folder", "Name the --format.")
    if path.suffix == ".json":
        return "geoeval"
    for _, row in read_rows(path):
        return "etude" if "problem_id" in row else "table"
    raise EtudeError(f"{path}: no problems", "Give a file with at least one.")


def _etude(path: Path) -> Iterator[Item]:
    problems = read_problems(path)
    refuse_changed_parents(problems)
    yield from map(item_of, problems)


class _Description(BaseModel):
    structure: list[str] = []
    semantic: list[str] = []
    backward_semantic: list[str] = []

    @field_validator("*", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [] if value is None else [value] if isinstance(value, str) else value


class _GeoEvalRecord(BaseModel):
    """One record of the official JSON; answers in it (`solution`) are not read."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    text: dict[str, str | None]
    diagram_name: str | None = None
    diagram_description: _Description | None = None
    choice_list: list[str | None] | None = None
    choice_id: str | None = None
    answer_value: str | None = None
    backward_text: str | None = None
    backward_answer_value: str | None = None
    dataset_id: str | None = None


def _geoeval(path: Path, subsets: Sequence[str]) -> Iterator[Item]:
    data = read_json(path)
    if not isinstance(data, dict):
        raise EtudeError(f"{path}: not a GeoEval file", "It must be one JSON object with the problems by id.")
    wanted = subsets or ("main", "backward", "aug")
    for id_, row in data.items():
        try:
            record = _GeoEvalRecord.model_validate(row)
        except ValueError as error:
            first = str(error).splitlines()
            raise EtudeError(
                f"{path}: {id_}: {' '.join(first[1:3])}"[:400], "Check the record against the official files."
            ) from error
        yield from _geoeval_items(path, id_, record, wanted)


def _geoeval_items(path: Path, id_: str, record: _GeoEvalRecord, wanted: Sequence[str]) -> Iterator[Item]:
    described = record.diagram_description or _Description()
    options = tuple(choice for choice in record.choice_list or () if choice is not None)
    gold = record.answer_value or record.choice_id or ""
    letter = is_option_letter(gold)
    common: dict[str, Any] = {
        "source": record.dataset_id or "",
        "image": None if not record.diagram_name else _picture(path.parent, record.diagram_name),
    }
    facts = (*described.structure, *described.semantic)
    for subset in ("main", "hard", "aug"):
        question = record.text.get("aug_problem" if subset == "aug" else "Num_Exp")
        if subset in wanted and question:
            yield Item(
                id=id_ if subset != "aug" else f"{id_}-aug", subset=subset, question=question, facts=facts,
                options=options, gold=gold, kind="choice" if letter and options else "auto",
                parent_id=id_ if subset == "aug" else None, **common,
            )  # fmt: skip
    if "backward" in wanted and record.backward_text:
        yield Item(
            id=f"{id_}-backward", subset="backward", question=record.backward_text, parent_id=id_,
            facts=(*described.structure, *described.backward_semantic),
            gold=record.backward_answer_value or "", **common,
        )  # fmt: skip


def _geometry3k(path: Path) -> Iterator[Item]:
    folders = sorted(path.glob("*/data.json"), key=lambda file: (len(file.parent.name), file.parent.name))
    if not folders:
        raise EtudeError(f"{path}: no NUMBER/data.json in it", "Give one split of Geometry3K, e.g. test.")
    for file in folders:
        row = read_json(file)
        options = tuple(f"({chr(65 + i)}) {choice}" for i, choice in enumerate(row.get("choices") or ()))
        logic = file.with_name("logic_form.json")
        forms = read_json(logic) if logic.is_file() else {}
        sequence = row.get("solution") or ""
        yield Item(
            id=f"geometry3k-{row.get('id', file.parent.name)}",
            source="Geometry3K",
            question=str(row.get("problem_text") or row.get("compact_text") or ""),
            facts=tuple(map(str, forms.get("diagram_logic_form") or ())),
            image=_existing(file.with_name("img_diagram.png")),
            options=options,
            gold=str(row.get("answer") or ""),
            kind="choice",
            solution_length=len(str(sequence).split()) or None,
        )


def _formalgeo7k(path: Path) -> Iterator[Item]:
    files = sorted((path / "problems").glob("*.json"), key=lambda file: (len(file.stem), file.stem))
    if not files:
        raise EtudeError(f"{path}/problems: no NUMBER.json in it", "Give the folder of FormalGeo7k.")
    for file in files:
        row = read_json(file)
        picture = row.get("problem_img")
        try:
            problem = Problem.model_validate({**row, "image": None, "theorem_seqs": _sequence(row)})
        except ValueError as error:
            raise EtudeError(
                f"{file}: {' '.join(str(error).splitlines()[1:3])}"[:400],
                "Check the file against FormalGeo7k.",
            ) from error
        item = item_of(problem.model_copy(update={"folder": path}))
        yield item.model_copy(
            update={
                "source": str(row.get("source") or "FormalGeo7k").partition("-")[0],
                "image": None if not picture else _picture(path, str(picture)),
            }
        )


def _sequence(row: Mapping[str, Any]) -> list[str]:
    """FormalGeo7k writes its solutions as a list, or as a graph whose keys are the theorems."""
    given = row.get("theorem_seqs") or row.get("theorem_seqs_dag") or []
    if isinstance(given, dict):
        names = {key for key in given if key != "START"} | {
            name for values in given.values() for name in values
        }
        return sorted(names - {"START"})
    return list(given)


class _TableRow(BaseModel):
    """One row of a plain table."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True, populate_by_name=True)

    question: str
    answer: str = Field(validation_alias="answer")
    id: str | None = None
    options: tuple[str, ...] = ()
    image: str | None = None
    facts: tuple[str, ...] = ()
    subset: str = "main"
    source: str = ""
    steps: int | None = None
    parent_id: str | None = None
    rationale: str | None = None

    @field_validator("options", "facts", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """A list, a JSON list, or texts between `|`."""
        if value is None:
            return ()
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            try:
                return json.loads(value)
            except ValueError as error:
                raise ValueError("a JSON list that does not end") from error
        return tuple(part.strip() for part in value.split("|") if part.strip())


class _LabelledRow(_TableRow):
    """The same where the right option is in a column `label`."""

    answer: str = Field(validation_alias="label")


def _table(path: Path) -> Iterator[Item]:
    first = next((row for _, row in read_rows(path)), {})
    record = _LabelledRow if "label" in first and "answer" not in first else _TableRow
    for number, row in enumerate(read_records(path, record), start=1):
        letter = bool(row.options) and is_option_letter(row.answer)
        yield Item(
            id=row.id or str(number),
            subset=row.subset,
            source=row.source,
            question=row.question,
            facts=row.facts,
            image=None if not row.image else _picture(path.parent, row.image),
            options=row.options,
            gold=row.answer,
            kind="choice" if letter else "auto",
            steps=row.steps,
            solution_length=len(row.rationale.split()) if row.rationale else row.steps,
            parent_id=row.parent_id,
        )


def _picture(folder: Path, name: str) -> Path:
    """Where a named picture lies: beside the file or in a folder of pictures there.

    Raises:
        EtudeError: The name leads out of the folder.
    """
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise EtudeError(
            f"{name!r}: this picture lies outside of {folder}", "Name pictures relative to the file."
        )
    for subfolder in _PICTURE_FOLDERS:
        path = folder / subfolder / name
        if path.is_file():
            return path
    return folder / name


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None
