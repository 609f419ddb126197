"""The claim on a small sheet of colored shapes: every arm measures, and every part gets a verdict."""

from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from etude.errors import EtudeError
from etude.evidence import run_claim
from etude.methods.easygen import claim as module
from etude.methods.easygen import claim_readers, claim_world
from etude.methods.easygen.bidiffuser_training import Recipe
from etude.methods.easygen.uvit import UViTConfig

from .conftest import COLORS


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    """Four shapes as bases, six colors as skin tones, one color of each kept for the test."""
    folder = tmp_path / "data"
    folder.mkdir()
    image = Image.new("RGB", (6 * 16, 4 * 16), "white")
    drawn = ImageDraw.Draw(image)
    rows = ["row,col,caption,base_codepoints,skin_tone,split"]
    for row, kind in enumerate(("square", "circle", "line", "bar")):
        for col, color in enumerate(COLORS):
            x, y = 16 * col, 16 * row
            box = (x + 3, y + (3 if row < 2 else 7), x + 12, y + (12 if row != 2 else 8))
            (drawn.ellipse if kind == "circle" else drawn.rectangle)(box, fill=color)
            tone = "none" if col == 0 else color
            rows.append(f"{row},{col},{color} {kind},{row},{tone},{'test' if col == row + 1 else 'train'}")
    image.save(folder / "noto_emoji_32.png")
    (folder / "noto_emoji_32.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> claim_world.Budget:
    budget = claim_world.Budget(
        (0, 4), 3, 3, Recipe(batch_size=8), UViTConfig(16, patch=8, width=32, depth=2, heads=2), draws=1,
        marks=(1, 2),
    )  # fmt: skip
    monkeypatch.setattr(module, "LAPTOP", budget)
    monkeypatch.setattr(claim_readers, "_LM_STEPS", 3)
    return budget


@pytest.mark.slow
def test_every_arm_measures_and_every_part_gets_a_verdict(sheet: Path, small: object, tmp_path: Path) -> None:
    evidence = run_claim(module.claim(data=sheet, seeds=(0,)), tmp_path / "out")
    assert not any(arm.errors for arm in evidence.arms) and len(evidence.arms) == 7
    assert set(evidence.verdicts) == {"1", "2", "3"}
    assert len(evidence.arm("bi").units("word accuracy")) == 4
    assert evidence.arm("only text to image").units("word accuracy") == []
    assert evidence.parts[1].findings[2].verdict == "holds"  # half the parameters


def test_no_test_picture_is_trained_on_and_all_arms_share_stage_a(
    sheet: Path, small: claim_world.Budget
) -> None:
    world = claim_world.emoji_world(sheet, small)
    assert not {p.id for p in world.train} & {p.id for p in world.test} and len(world.test) == 4
    first = world.network(None, 0).network.state_dict()
    world.network("bi", 0)
    again = world.network(None, 0).network.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert set(world.trained) == {("None", 0), ("bi", 0)}


def test_the_memorization_control_counts_a_copied_training_picture(
    sheet: Path, small: claim_world.Budget
) -> None:
    world = claim_world.emoji_world(sheet, small)
    bases = [pair.fact("base_codepoints") for pair in world.train]
    copied = torch.stack([world.pictures[bases.index(p.fact("base_codepoints"))] for p in world.test])
    found = module._drawn(copied, world)
    assert found["wrong tone"].tolist() == [1.0] * 4 and found["right picture"].sum() == 0
    perfect = module._drawn(world.test_pictures, world)
    assert perfect["right picture"].tolist() == [1.0] * 4 and perfect["picture error"].sum() == 0
    assert perfect["wrong tone"].sum() == 0 and perfect["right base"].tolist() == [1.0] * 4


def test_without_its_data_the_claim_says_what_it_needs(tmp_path: Path, small: object) -> None:
    with pytest.raises(EtudeError, match=r"noto_emoji_32\.csv"):
        module.claim(data=tmp_path)
    with pytest.raises(EtudeError, match=r"dataset_coco\.json"):
        module.claim(data=tmp_path, scale="paper")


def test_each_seed_learns_with_its_own_word_vectors(sheet: Path, small: claim_world.Budget) -> None:
    world = claim_world.emoji_world(sheet, small)
    for seed in (0, 1):
        model = world.untrained(seed)
        captions = [pair.captions[0] for pair in world.train]
        expected = model.text.encode(captions).latents
        learned = torch.stack([item["text"] for item in world.latents(model, seed)])
        assert torch.equal(learned, expected)
