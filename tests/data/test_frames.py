"""Whole tables: what they hold, and every way in which they can be none."""

from pathlib import Path

import polars as pl
import pytest

from etude.data import read_frame
from etude.errors import EtudeError


def test_text_stays_text_and_parquet_keeps_its_types(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,x\n2,\n")
    assert read_frame(tmp_path / "t.csv").to_dict(as_series=False) == {"a": ["1", "2"], "b": ["x", None]}
    (tmp_path / "t.tsv").write_text("a\tb\n1\tx,y\n")
    assert read_frame(tmp_path / "t.tsv").rows() == [("1", "x,y")]
    frame = pl.DataFrame({"n": [1, None], "t": ["é", ""], "x": [0.5, 1.5]})
    frame.write_parquet(tmp_path / "t.parquet")
    assert read_frame(tmp_path / "t.parquet").equals(frame)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.csv", "a,a\n1,2\n", r"t\.csv:1: column a appears twice"),
        ("t.csv", "", r"t\.csv: not a readable table"),
        ("t.tsv", "a\tb\n1\t2\t3\n", r"t\.tsv: not a readable table"),
        ("t.parquet", "PAR1nothingPAR1", r"t\.parquet: not a readable table"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, name: str, content: str, problem: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(EtudeError, match=problem):
        read_frame(tmp_path / name)
    with pytest.raises(EtudeError, match="no such file"):
        read_frame(tmp_path / "none.csv")
