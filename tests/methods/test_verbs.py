"""What every verb shares: from Python, a path may be given as text."""

from pathlib import Path

from etude.methods import verb
from etude.methods.counting_stars import build


@verb
def gather(source: str, *, out: Path, extra: Path | None = None, logs: tuple[Path, ...] = ()) -> tuple:
    return source, out, extra, logs


def test_texts_become_paths_only_where_paths_are_meant() -> None:
    assert gather("a", out="b") == ("a", Path("b"), None, ())
    assert gather("a", out=Path("b"), extra="c", logs=["d", Path("e")]) == (
        "a", Path("b"), Path("c"), (Path("d"), Path("e")),
    )  # fmt: skip
    assert gather("a", out="b", logs="d")[-1] == (Path("d"),)


def test_a_documented_call_with_texts_works(tmp_path: Path) -> None:
    build("en-inaugural", stars=4, lengths="500", unit="official", out=str(tmp_path / "cells.jsonl"))
    assert (tmp_path / "cells.jsonl").exists()
