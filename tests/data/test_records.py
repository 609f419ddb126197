"""Records in every format, and errors that name file, line and field."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, field_validator

from etude.data import prose, read_documents, read_records, read_rows, write_records
from etude.errors import EtudeError


class Row(BaseModel):
    id: str
    label: int
    note: str | None = None


ROWS = [Row(id="a", label=1), Row(id='ü,"x"', label=-2, note="line\nbreak")]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_what_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    assert write_records(path, ROWS) == 2
    assert list(read_records(path, Row)) == ROWS


@settings(max_examples=50)
@given(st.lists(st.builds(Row, id=st.text(min_size=1), label=st.integers(-9, 9)), max_size=5))
def test_any_text_survives_jsonl(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    path = tmp_path_factory.mktemp("r") / "rows.jsonl"
    write_records(path, rows)
    assert list(read_records(path, Row)) == rows


def test_a_saved_dataset_and_gzip_are_read(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list([r.model_dump() for r in ROWS]).save_to_disk(tmp_path / "saved")
    assert list(read_records(tmp_path / "saved", Row)) == ROWS
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as handle:
        handle.write(json.dumps({"id": "a", "label": 1}) + "\n")
    assert list(read_records(tmp_path / "rows.jsonl.gz", Row)) == ROWS[:1]


def test_a_bom_and_spaces_in_the_header_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("\ufeff id , label\r\na,1\r\n".encode())
    assert list(read_records(tmp_path / "rows.csv", Row)) == ROWS[:1]


def test_bad_rows_are_named_by_line_and_field_at_most_twenty(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(['{"id": "a", "label": 1}', *['{"id": "b", "label": "x"}'] * 30]))
    with pytest.raises(EtudeError) as caught:
        list(read_records(path, Row))
    lines = caught.value.problem.splitlines()
    assert len(lines) == 20
    assert lines[0].startswith(f"{path}:2: label: ")
    assert "id, label, note?" in caught.value.hint


def test_a_field_of_json_that_is_nested_without_end_is_a_bad_row(tmp_path: Path) -> None:
    class Listed(BaseModel):
        words: list[str]

        @field_validator("words", mode="before")
        @classmethod
        def _parsed(cls, value: str) -> object:
            return json.loads(value)

    (tmp_path / "rows.csv").write_text("words\n" + "[" * 50_000 + "\n")
    with pytest.raises(EtudeError, match=r"rows\.csv:2: nested too deeply"):
        list(read_records(tmp_path / "rows.csv", Listed))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.jsonl", "{nope", r"x\.jsonl:1: not valid JSON"),
        ("x.jsonl", "[1]", r"x\.jsonl:1: a JSON list"),
        ("x.csv", "id,label\na", r"x\.csv:2: 1 cells where the header has 2"),
        ("x.csv", "", "empty file"),
        ("x.csv", "id,id\n", "named twice"),
        ("x.xlsx", "", "unknown kind"),
        ("x.parquet", "nope", "not a readable Parquet"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(EtudeError, match=message):
        list(read_records(tmp_path / name, Row))


def test_other_sources_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": "a"}\n{"id": "\xe9"}')
    for source, message in (
        (tmp_path / "latin.jsonl", r"latin\.jsonl:2: not UTF-8"),
        (tmp_path / "none.jsonl", "no such file"),
        (tmp_path, "not a saved dataset"),
    ):
        with pytest.raises(EtudeError, match=message):
            list(read_records(source, Row))


def test_an_unknown_suffix_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(EtudeError, match="cannot write"):
        write_records(tmp_path / "x.xlsx", ROWS)


def test_documents_come_from_text_and_rows(tmp_path: Path) -> None:
    (tmp_path / "d.txt").write_text("one\nline\n\n\n\ntwo\n")
    assert [d.text for d in read_documents(tmp_path / "d.txt")] == ["one\nline", "two"]
    pl.DataFrame({"id": [7], "text": ["t"], "source": ["s"]}).write_parquet(tmp_path / "d.parquet")
    document = read_documents(tmp_path / "d.parquet")[0]
    assert (document.id, document.text, document.source) == ("7", "t", "s")
    chat = {"messages": [{"role": "user", "content": "hi"}]}
    (tmp_path / "d.jsonl").write_text(json.dumps(chat))
    assert read_documents(tmp_path / "d.jsonl")[0].messages == chat["messages"]


def test_documents_without_content_are_refused(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"id": 1, "text": " "}')
    with pytest.raises(EtudeError, match=r"d\.jsonl:1: row: .*non-empty"):
        read_documents(tmp_path / "d.jsonl")
    (tmp_path / "d.txt").write_text("\n\n")
    with pytest.raises(EtudeError, match="no document"):
        read_documents(tmp_path / "d.txt")


def test_python_brings_its_own_prose() -> None:
    text = prose()
    assert len(text) > 400_000
    assert 'The "with" statement' in text


def test_a_hub_dataset_streams_by_split_and_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    folder = Path("org/name")  # a folder of that name is loaded by the same code as the hub's
    folder.mkdir(parents=True)
    for name in ("pt", "es"):
        (folder / f"{name}.jsonl").write_text(json.dumps({"id": name, "text": name}))
    configs = "".join(
        f"- config_name: {n}\n  data_files:\n  - split: test\n    path: {n}.jsonl\n" for n in ("pt", "es")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    assert [row["text"] for _, row in read_rows("org/name@es:test")] == ["es"]
    assert [row["text"] for _, row in read_rows("org/name@pt:test")] == ["pt"]
    with pytest.raises(EtudeError, match="could not be loaded"):
        list(read_rows("org/name@fr:test"))
