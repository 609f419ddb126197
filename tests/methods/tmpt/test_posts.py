"""Reading what users have: every bad row is named; MMSD is read as it is published."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from etude.errors import EtudeError
from etude.methods.tmpt import hydrate_check
from etude.methods.tmpt.posts import StanceDataset, read_posts
from etude.methods.tmpt.reading import read_data
from etude.methods.tmpt.targets import MERGER, read_targets, target_of

MERGER_TARGET = "Merger and acquisition between Disney and 21st Century Fox."


def rows(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["id,text,image,target,label", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def picture(tmp_path: Path) -> str:
    Image.new("RGB", (300, 200), "gray").save(tmp_path / "a.png")
    return "a.png"


def test_a_table_with_a_bom_newlines_and_stray_spaces_is_read(tmp_path: Path, picture: str) -> None:
    text = '\ufeffid, text,image,target,label\n1,"two\nlines",a.png,tea,Favor\n2,,a.png,tea,against\n'
    (tmp_path / "p.csv").write_text(text, encoding="utf-8")
    data = StanceDataset.from_csv(tmp_path / "p.csv")
    assert [e.text for e in data.examples] == ["two\nlines", ""]
    assert [e.label for e in data.examples] == ["favor", "against"]
    assert data.notices == ("1 of 2 posts have no text",)
    assert data.labels() == ("against", "favor")


def test_every_bad_row_is_named_with_its_column(tmp_path: Path, picture: str) -> None:
    table = rows(
        tmp_path / "p.csv", "1,x,a.png,tea,favor", "2,x,lost.png,tea,favor", "3,x,a.png,,favor",
        "4,x,a.png,tea,", "5,x,../a.png,tea,favor", "6,x,,tea,favor", f"7,x,{'long' * 99},tea,favor",
    )  # fmt: skip
    with pytest.raises(EtudeError) as error:
        read_posts(table)
    problem = error.value.problem
    for line, what in ((3, "image: there is no file"), (4, "target"), (5, "label: missing"),
                       (6, "leads out of the folder"), (7, "there is no picture"),
                       (8, "is no file name")):  # fmt: skip
        assert any(f"p.csv:{line}: " in one and what in one for one in problem.splitlines()), (line, problem)
    assert "p.csv:2" not in problem


def test_rows_without_a_picture_are_left_out_only_when_asked(tmp_path: Path, picture: str) -> None:
    table = rows(tmp_path / "p.csv", "1,x,a.png,tea,favor", "2,x,,tea,favor", "3,x,lost.png,tea,favor")
    data = read_posts(table, allow_missing=True)
    assert len(data.examples) == 1
    assert "2 rows without a picture" in data.notices[0]
    with pytest.raises(EtudeError, match=r"there is no picture\n.*there is no file") as refused:
        read_posts(table)
    assert refused.value.hint.startswith("1 rows name no picture")


def test_an_unknown_label_and_a_target_without_phrase_are_refused(tmp_path: Path, picture: str) -> None:
    (tmp_path / "targets.toml").write_text('["tea"]\nphrase = "green tea"\nlabels = ["favor", "against"]\n')
    targets = read_targets(tmp_path / "targets.toml")
    assert target_of("tea", targets).phrase == "green tea"
    with pytest.raises(EtudeError, match=r"p.csv:2: label: 'maybe' is not one of favor, against"):
        read_posts(rows(tmp_path / "p.csv", "1,x,a.png,tea,maybe"), targets=targets)
    with pytest.raises(EtudeError, match="'coffee' has no prompt phrase"):
        read_posts(rows(tmp_path / "q.csv", "1,x,a.png,coffee,favor"), targets=targets)
    (tmp_path / "deep.toml").write_text("a = " + "[" * 5000)
    with pytest.raises(EtudeError, match=r"deep\.toml: not valid TOML"):
        read_targets(tmp_path / "deep.toml")
    (tmp_path / "bad.toml").write_text('["tea"]\nprase = "x"\n')
    with pytest.raises(EtudeError, match="phrase: Field required"):
        read_targets(tmp_path / "bad.toml")


def test_mergers_have_their_phrase_under_both_spellings_of_the_folder() -> None:
    assert target_of("CSV_AET") == target_of("CVS_AET")
    fox = target_of("FOXA_DIS")
    assert fox.phrase == "merger and acquisition between Disney and 21st Century Fox"
    assert fox.labels == MERGER
    assert not fox.zero_shot


def mmsd(folder: Path, *, hydrated: bool) -> Path:
    place = folder / "in-target" / "DT"
    place.mkdir(parents=True)
    names = ["tweet_id", "image_numero", "stance_target", "stance_label"]
    names += ["tweet_text", "tweet_image", "gpt4v_cot_response"] if hydrated else []
    for number, split in enumerate(("train", "valid", "test")):
        Image.new("RGB", (400 if number else 640, 400)).save(place / f"{split}.png")
        with open(place / f"{split}.csv", "w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(names)
            for image in (0, 1):
                row = [number, image, "Donald Trump", "Favor"]
                writer.writerow(
                    row + ([f"text {number}", f"{split}.png", "It is meant well."] if hydrated else [])
                )
    return folder


def test_a_hydrated_folder_of_mmsd_is_read_as_it_is(tmp_path: Path) -> None:
    data = read_data(mmsd(tmp_path, hydrated=True) / "in-target" / "DT")
    assert [(e.id, e.group, e.split) for e in data.examples[:2]] == [
        ("2-0", "2", "test"),
        ("2-1", "2", "test"),
    ]
    assert data.examples[0].full_text == "Text: text 2. Rationale: It is meant well."
    assert data.labels() == ("favor", "against", "neutral")
    checked = hydrate_check(tmp_path, out=tmp_path / "look.csv")
    assert (checked.rows, checked.complete, checked.avatars, checked.tiny) == (6, 6, 4, 0)
    assert (tmp_path / "look.csv").read_text().count("profile picture?") == 4


def test_a_folder_with_both_settings_of_mmsd_is_refused(tmp_path: Path) -> None:
    folder = mmsd(tmp_path, hydrated=True)
    shutil.copytree(folder / "in-target", folder / "zero-shot")
    with pytest.raises(EtudeError, match="split the same posts differently"):
        read_data(folder)
    assert len(read_data(folder / "zero-shot").examples) == 6


def test_an_unhydrated_folder_says_how_much_is_missing(tmp_path: Path) -> None:
    folder = mmsd(tmp_path, hydrated=False)
    checked = hydrate_check(folder, out=tmp_path / "missing.csv")
    assert (checked.rows, checked.complete) == (6, 0)
    assert checked.files["in-target/DT/train.csv"] == {"no text": 2}
    assert (tmp_path / "missing.csv").read_text().count("no text") == 6
    with pytest.raises(EtudeError, match="there is no picture"):
        read_data(folder / "in-target" / "DT")
    with pytest.raises(EtudeError, match=r"no train\.csv"):
        hydrate_check(tmp_path / "in-target" / "none")


def test_pictures_inside_a_parquet_file_are_used(shared_data: Callable[[str], Path]) -> None:
    path = shared_data("tmpt") / "multiclimate_dev.parquet"
    data = StanceDataset.from_parquet(path, group_by="video")
    assert len(data.examples) == 417
    assert len({e.group for e in data.examples}) == 10
    assert {e.split for e in data.examples} == {"valid"}
    assert isinstance(data.examples[0].image, bytes)
