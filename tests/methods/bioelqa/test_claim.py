"""The claim on the packaged sample: its units and slices by hand, its arms on equal units, its verdicts."""

from pathlib import Path

import pytest

from etude.errors import EtudeError
from etude.evidence import run_claim
from etude.methods.bioelqa.claim import TEST, TRAIN, VOCABULARY, World, claim
from etude.methods.bioelqa.claim_parts import BASELINE, MAIN, METRIC, SLICE_UNITS
from etude.methods.bioelqa.demo import sample

ARTICLE = """{number}|t|{text}
{number}|a|-
{rows}
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, file in ((TRAIN, "train.pubtator"), (TEST, "test.pubtator"), (VOCABULARY, "vocabulary.tsv")):
        (folder / name).write_text(sample(file).read_text())
    return folder


def article(number: int, *mentions: tuple[str, str]) -> str:
    text, rows = "", []
    for mention, id in mentions:
        rows.append(f"{number}\t{len(text)}\t{len(text) + len(mention)}\t{mention}\tDisease\t{id}")
        text += f"{mention} and "
    return ARTICLE.format(number=number, text=text.strip(), rows="\n".join(rows))


def test_units_are_different_pairs_and_say_which_slices_they_are_in(tmp_path: Path) -> None:
    (tmp_path / VOCABULARY).write_text("A\tapple\nB\tbean\nC\tcorn\n")
    (tmp_path / TRAIN).write_text(
        article(1, ("red apple", "A"), ("green apple", "A"), ("old apple", "A"), ("bean", "B"))
    )
    (tmp_path / TEST).write_text(
        article(2, ("Red apple", "A"), ("red apple", "A"), ("blue apple", "A"), ("bean", "B"))
        + "\n"
        + article(3, ("popcorn", "C"), ("apple bean", "A|B"), ("melon", "D"), ("nothing", "-1"))
    )
    assert sorted(World(tmp_path).units) == [
        "---|A|red apple",  # three training mentions, this one among them
        "--r|B|bean",  # one training mention
        "m--|A|blue apple",
        "mir|C|popcorn",
    ]
    unseen = [name for name in World(tmp_path).units if SLICE_UNITS["unseen id"](name)]
    assert unseen == ["mir|C|popcorn"]


def test_every_arm_answers_for_the_same_units_and_the_oracle_bounds_them(data: Path, tmp_path: Path) -> None:
    evidence = run_claim(claim(scale="laptop", data=data, seeds=(0,)), tmp_path / "out")
    assert not any(arm.errors for arm in evidence.arms)
    units = evidence.arm(BASELINE).units(METRIC)
    assert len(units) > 5 and all(arm.units(METRIC) == units for arm in evidence.arms)
    oracle = evidence.arm("oracle@10").values(METRIC, units, 0)
    for arm in evidence.arms:
        if arm.name != "kNN label copy":  # which is not bound to the options
            assert (arm.values(METRIC, units, 0) <= oracle).all(), arm.name
    assert evidence.arm(MAIN).fact("questions") > 0
    assert set(evidence.verdicts) >= {"overall", "long tail", "clues", "masking", "joint", "copying"}


def test_missing_files_are_named(data: Path) -> None:
    (data / TEST).unlink()
    with pytest.raises(EtudeError, match=TEST):
        claim(data=data)
