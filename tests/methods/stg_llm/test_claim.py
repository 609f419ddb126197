"""The claim runs whole on small data, keeps its two halves apart, and needs its data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from etude.errors import EtudeError
from etude.evidence import run_claim
from etude.methods.stg_llm.claim import LAPTOP, LOW_DATA, Budget, Task, claim, claim_on
from etude.methods.stg_llm.conversion import panel_table
from etude.methods.stg_llm.demo import ring_road
from etude.methods.stg_llm.training import Training

TINY = Budget(
    layers=2, training=Training(steps=6, batch_size=4, save_every=3, validation_windows=8), windows=24
)


def test_both_halves_are_judged_for_every_data_set(llama_model: str, tmp_path: Path) -> None:
    panel_table(ring_road(sensors=4, days=6)).write_csv(tmp_path / "ring.csv")
    steps = np.random.default_rng(0).normal(size=(300, 3)).cumsum(axis=0)
    pl.DataFrame({"t": np.arange(300)} | {f"n{i}": steps[:, i] for i in range(3)}).write_csv(
        tmp_path / "walk.csv"
    )
    tasks = (
        Task("ring", "ring.csv", history=6, horizon=3, units="km/h", block="2h"),
        Task("walk", "walk.csv", history=6, horizon=3, per_node=True, block=10),
        Task("ring, 10 windows", "ring.csv", history=6, horizon=3, samples=10, block="2h"),
    )
    test = claim_on(tasks, TINY, data=tmp_path, seeds=(0, 1), model=llama_model, scale="test")
    evidence = run_claim(test, tmp_path / "out")
    assert [p.name for p in evidence.parts] == [f"{half}, {t.name}" for t in tasks for half in "AB"]
    assert not any(arm.errors for arm in evidence.arms)
    names = {arm.name for arm in evidence.arms}
    assert {"persistence", "historical-average", "ridge-shared", "ridge-per-node", "var-ridge"} < names
    assert {"none", "attention", "random", "pretrained"} < names
    arms = {arm.name: arm for arm in evidence.arms}
    assert (
        arms["attention"].fact("trained")
        <= arms["random"].fact("trained")
        == arms["pretrained"].fact("trained")
    )
    assert arms["persistence"].units("walk MAE") == arms["pretrained"].units("walk MAE")
    assert evidence.tables and (tmp_path / "out" / "report.html").exists()


def test_without_its_data_the_claim_says_which_and_where_from(tmp_path: Path) -> None:
    with pytest.raises(
        EtudeError, match=r"no --data folder: this claim needs exchange_rate\.csv(.|\n)*METR-LA"
    ):
        claim()
    with pytest.raises(EtudeError, match=r"lacks exchange_rate\.csv, irish_wind"):
        claim(data=tmp_path)
    with pytest.raises(EtudeError, match=r"PEMS03\.npz(.|\n)*PEMS archives"):
        claim(scale="paper", data=tmp_path)


def test_the_claim_on_the_real_data_has_six_parts(shared_data: Callable[[str], Path]) -> None:
    real = claim(data=shared_data("stg-llm"), seeds=(5,))
    assert [part.name for part in real.parts] == [f"{half}, {task.name}" for task in LAPTOP for half in "AB"]
    assert real.seeds == (5,) and real.clusters is not None
    assert real.clusters("2012-03-07T16 | 1904") == "2012-03-07T16"


@pytest.mark.slow
def test_the_low_data_arms_run_on_metr_la(shared_data: Callable[[str], Path], tmp_path: Path) -> None:
    budget = Budget(
        layers=2, training=Training(steps=20, batch_size=8, save_every=10, validation_windows=16), windows=40
    )
    tasks = [replace(task, every=14) for task in LOW_DATA]
    test = claim_on(tasks, budget, data=shared_data("stg-llm"), seeds=(0,), model="smollm2", scale="test")
    evidence = run_claim(test, tmp_path)
    assert next(p.name for p in evidence.parts) == "A, METR-LA, 50 windows"
    assert not any(arm.errors for arm in evidence.arms)


@pytest.mark.slow
def test_the_demo_beats_persistence_on_the_ring_road(tmp_path: Path) -> None:
    from etude.methods.stg_llm.demo import demo
    from etude.render import TableBlock

    shown = demo(tmp_path)
    table = shown.came_out[-1]
    assert isinstance(table, TableBlock)
    errors = {row[0]: row[1] for row in table.rows}
    assert errors["SmolLM2, first 3 blocks"] < errors["persistence"]


def test_the_paper_scale_takes_the_archives_that_are_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "PEMS08.npz", data=np.ones((10, 2, 3)))
    (tmp_path / "metr_la_week_speed.csv").touch()
    found = claim(scale="paper", data=tmp_path, model="smollm2")
    names = [part.name for part in found.parts]
    assert names == [
        f"{half}, {task}"
        for task in ("PEMS08", "METR-LA, 50 windows", "METR-LA, 200 windows")
        for half in "AB"
    ]
    assert found.config["model"]["name"] == "smollm2"
    assert found.config["budget"]["training"]["epochs"] == 200
