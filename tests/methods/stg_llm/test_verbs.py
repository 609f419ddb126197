"""Train, forecast, evaluate and transfer on a small network with a small model."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file

from etude.errors import EtudeError
from etude.methods.stg_llm import evaluate, forecast, read_panel, train, transfer
from etude.methods.stg_llm.conversion import panel_table
from etude.methods.stg_llm.demo import ring_road
from etude.methods.stg_llm.panel import SensorPanel
from etude.methods.stg_llm.training import order_nodes

SMALL = {"layers": 2, "history": 6, "horizon": 3, "steps": 8, "save_every": 4, "batch_size": 4, "warmup": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "ring.csv"
    panel_table(ring_road(sensors=6, days=4, seed=1)).write_csv(path)
    return path


@pytest.fixture(scope="module")
def trained(data: Path, llama_model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "ring"
    train(data, out=out, model=llama_model, units="km/h", **SMALL)  # type: ignore[arg-type]
    return out


def test_a_model_folder_holds_the_trained_parts_and_names_the_rest(trained: Path, llama_model: str) -> None:
    tensors = load_file(trained / "model.safetensors")
    assert {n.split(".")[0] for n in tensors} == {"adapter", "backbone", "node_table", "tokenizer"}
    assert all("norm" in n for n in tensors if n.startswith("backbone"))
    config = json.loads((trained / "config.json").read_text())
    assert (
        config["language_model"]["name"] == llama_model
        and len(config["language_model"]["frozen_sha256"]) == 64
    )
    assert config["nodes"] == [f"km {2 * i:02d}" for i in range(6)] and config["units"] == "km/h"
    assert config["parameters"]["trained"] == sum(t.numel() for t in tensors.values())


def test_the_same_command_returns_the_stored_result_and_another_is_refused(
    trained: Path, data: Path, llama_model: str
) -> None:
    before = (trained / "model.safetensors").stat().st_mtime_ns
    again = train(data, out=trained, model=llama_model, units="km/h", **SMALL)  # type: ignore[arg-type]
    assert again.steps == 8 and (trained / "model.safetensors").stat().st_mtime_ns == before
    assert again.__rich__() is not None
    with pytest.raises(EtudeError, match="another configuration"):
        train(data, out=trained, model=llama_model, units="km/h", **{**SMALL, "steps": 9})  # type: ignore[arg-type]


def test_training_lowers_the_loss_below_persistence_level(
    data: Path, llama_model: str, tmp_path: Path
) -> None:
    long = {**SMALL, "steps": 120, "save_every": 40, "batch_size": 16, "learning_rate": 5e-3}
    train(data, out=tmp_path / "m", model=llama_model, **long)  # type: ignore[arg-type]
    arms = evaluate(str(tmp_path / "m"), data, baselines="persistence").arms
    ours, last = (arm["masked"]["average"]["MAE"] for arm in arms.values())
    assert ours < last


def test_a_forecast_after_the_last_row_is_a_long_table_without_targets(
    trained: Path, data: Path, tmp_path: Path
) -> None:
    done = forecast(trained, data, out=tmp_path / "next.csv", last=True)
    rows = pl.read_csv(tmp_path / "next.csv")
    assert rows.columns == ["issued_at", "step", "time", "node", "prediction", "target"]
    assert len(rows) == done.rows == 3 * 6 and rows["target"].null_count() == 18
    assert rows["issued_at"].unique().to_list() == ["2024-01-04T23:45"]
    assert rows["time"].unique().sort().to_list() == [
        "2024-01-05T00:00",
        "2024-01-05T00:15",
        "2024-01-05T00:30",
    ]
    assert done.__rich__() is not None


def test_a_forecast_from_a_past_time_tiles_the_rest_and_carries_the_truth(
    trained: Path, data: Path, tmp_path: Path
) -> None:
    done = forecast(trained, data, out=tmp_path / "past.parquet", start="2024-01-04T22:45")
    rows = pl.read_parquet(tmp_path / "past.parquet")
    assert done.issued == 2 and rows["time"].n_unique() == 6
    panel = read_panel(data)
    first = rows.filter(pl.col("step") == 1).sort("issued_at")["target"].to_numpy()[:6]
    np.testing.assert_allclose(first, panel.values[panel.row_of("2024-01-04T23:00"), :, 0], rtol=1e-5)


def test_a_forecast_needs_no_value_after_its_issue_time(trained: Path, data: Path, tmp_path: Path) -> None:
    start = "2024-01-04T12:00"
    forecast(trained, data, out=tmp_path / "a.csv", start=start)
    lines = data.read_text().splitlines()
    cut = tmp_path / "cut.csv"
    cut.write_text("\n".join(line for line in lines if line[:16] <= start or line.startswith("time")) + "\n")
    forecast(trained, cut, out=tmp_path / "b.csv", start=start)
    a, b = pl.read_csv(tmp_path / "a.csv").head(18), pl.read_csv(tmp_path / "b.csv")
    np.testing.assert_allclose(a["prediction"], b["prediction"], rtol=1e-5)
    assert b["target"].null_count() == 18


def test_nodes_in_another_order_are_put_back_and_other_nodes_point_to_transfer(
    trained: Path, data: Path, tmp_path: Path
) -> None:
    forecast(trained, data, out=tmp_path / "a.csv")
    frame = pl.read_csv(data)
    frame.select(["time", *reversed(frame.columns[1:])]).write_csv(tmp_path / "turned.csv")
    forecast(trained, tmp_path / "turned.csv", out=tmp_path / "b.csv")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    frame.rename({"km 00": "km 98"}).write_csv(tmp_path / "other.csv")
    with pytest.raises(EtudeError, match=r"not in training: km 98; missing: km 00(.|\n)*transfer"):
        forecast(trained, tmp_path / "other.csv", out=tmp_path / "c.csv")


def test_a_page_shows_lines_and_a_map(trained: Path, data: Path, tmp_path: Path) -> None:
    stations = tmp_path / "stations.csv"
    stations.write_text("node,lat,lon\n" + "\n".join(f"km {2 * i:02d},{i},{i % 2}" for i in range(6)))
    done = forecast(trained, data, out=tmp_path / "n.csv", stations=stations, page=tmp_path / "n.html")
    page = (tmp_path / "n.html").read_text()
    assert done.page and page.count("data:image/svg") == 2 and "prediction" in page
    stations.write_text("node,lat,lon\nkm 00,1,2\n")
    with pytest.raises(EtudeError, match="no place for node km 02"):
        forecast(trained, data, out=tmp_path / "n.csv", stations=stations, page=tmp_path / "n.html")
    stations.write_text("name,lat,lon\nkm 00,1,2\n")
    with pytest.raises(EtudeError, match=r"has node,lat,lon"):
        forecast(trained, data, out=tmp_path / "n.csv", stations=stations, page=tmp_path / "n.html")


def test_forecasts_that_cannot_be_made_say_why(trained: Path, data: Path, tmp_path: Path) -> None:
    for options, message in (
        ({"out": tmp_path / "x.txt"}, "a .csv or .parquet table"),
        ({"out": tmp_path / "x.csv", "start": "2024-01-02", "last": True}, "contradict"),
        ({"out": tmp_path / "x.csv", "start": "2024-01-01T00:30"}, "only 3 rows up to 2024-01-01T00:30"),
        ({"out": tmp_path / "x.csv", "start": "2031-01-01"}, "no row at"),
    ):
        with pytest.raises(EtudeError, match=message):
            forecast(trained, data, **options)  # type: ignore[arg-type]
    with pytest.raises(EtudeError, match="not a finished forecaster"):
        forecast(tmp_path, data, out=tmp_path / "x.csv")
    pl.read_csv(data).gather_every(2).write_csv(tmp_path / "half.csv")
    with pytest.raises(EtudeError, match="steps of 15min, the panel has 30min"):
        forecast(trained, tmp_path / "half.csv", out=tmp_path / "x.csv")


def test_evaluation_puts_model_and_all_baselines_on_the_same_windows(trained: Path, data: Path) -> None:
    found = evaluate(str(trained), data, baselines="all", windows=20)
    assert next(iter(found.arms)) == "STG-LLM (pretrained)" and len(found.arms) >= 6
    assert len({arm["masked"]["average"]["cells"] for arm in found.arms.values()}) == 1
    stored = json.loads((trained / "metrics.json").read_text())
    assert stored["arms"] == found.arms and set(stored["arms"]["persistence"]) == {"masked", "unmasked"}
    assert list(stored["arms"]["persistence"]["masked"]) == ["average", "step 3"]
    assert found.__rich__() is not None


def test_a_baseline_alone_can_be_evaluated(data: Path, tmp_path: Path) -> None:
    found = evaluate(
        "persistence", data, history=6, horizon=3, out=tmp_path / "p.json", metrics="mae", mask=False
    )
    assert list(found.arms) == ["persistence"] and found.shown == ("MAE",)
    with pytest.raises(EtudeError, match="choose among MAE"):
        evaluate("persistence", data, metrics="accuracy")


def test_evaluation_on_another_length_is_refused(trained: Path, data: Path, tmp_path: Path) -> None:
    pl.read_csv(data).head(200).write_csv(tmp_path / "short.csv")
    with pytest.raises(EtudeError, match="split on 384"):
        evaluate(str(trained), tmp_path / "short.csv")


def test_a_changed_language_model_is_noticed(trained: Path, data: Path, tmp_path: Path) -> None:
    config = json.loads((trained / "config.json").read_text())
    config["language_model"]["frozen_sha256"] = "0" * 64
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((trained / "model.safetensors").read_bytes())
    with pytest.raises(EtudeError, match="not those of the training"):
        forecast(tmp_path, data, out=tmp_path / "x.csv")


def test_transfer_starts_a_new_node_table_and_compares_with_starting_anew(
    trained: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    panel_table(ring_road(sensors=9, days=3, seed=5)).write_csv(other)
    found = transfer(trained, other, out=tmp_path / "t", samples="5,20", steps=6, batch_size=4, windows=10)
    assert found.fresh == ("node_table",)
    assert [(n, arm) for n, arm, *_ in found.rows] == [
        (n, arm) for n in (5, 20) for arm in ("transferred", "from the start", "persistence", "ridge-shared")
    ]
    moved = load_file(tmp_path / "t" / "20-transferred" / "model.safetensors")
    assert moved["node_table"].shape[0] == 9
    assert (
        transfer(trained, other, out=tmp_path / "t", samples="5,20", steps=6, batch_size=4, windows=10)
        == found
    )
    assert found.__rich__() is not None
    with pytest.raises(EtudeError, match="training windows are there"):
        transfer(trained, other, out=tmp_path / "u", samples="5000", steps=2)
    with pytest.raises(EtudeError, match="give numbers of windows"):
        transfer(trained, other, out=tmp_path / "u", samples="few")


def test_transfer_to_other_features_is_refused(trained: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", data=np.random.default_rng(0).normal(size=(100, 3, 2)))
    with pytest.raises(EtudeError, match="reads 1 feature"):
        transfer(trained, tmp_path / "two.npz", out=tmp_path / "t")


def test_position_tables_do_not_travel_to_other_nodes(data: Path, gpt2_model: str, tmp_path: Path) -> None:
    train(data, out=tmp_path / "m", model=gpt2_model, **SMALL)  # type: ignore[arg-type]
    other = tmp_path / "other.csv"
    panel_table(ring_road(sensors=4, days=3, seed=5)).write_csv(other)
    found = train(other, out=tmp_path / "n", init_from=tmp_path / "m", **{**SMALL, "steps": 2})  # type: ignore[arg-type]
    assert found.fresh == ("backbone.lm.wpe.weight",)
    assert any("started afresh" in notice for notice in found.notices)


def test_a_prompt_with_events_trains_forecasts_and_is_cut_to_its_length(
    data: Path, llama_model: str, tmp_path: Path
) -> None:
    events = tmp_path / "events.jsonl"
    event = {
        "start": "2024-01-02T07:00",
        "end": "2024-01-02T09:00",
        "node": "km 02",
        "kind": "incident",
        "text": "rain",
    }
    events.write_text(json.dumps(event) + "\n")
    out = tmp_path / "m"
    train(data, out=out, model=llama_model, prompt="domain,time,events", events=events, **SMALL)  # type: ignore[arg-type]
    length = json.loads((out / "config.json").read_text())["settings"]["prompt_length"]
    assert length > 20
    a = forecast(out, data, out=tmp_path / "a.csv", start="2024-01-02T08:00", events=events)
    b = forecast(out, data, out=tmp_path / "b.csv", start="2024-01-02T08:00")
    assert a.rows == b.rows and a.preview is not None
    first = [pl.read_csv(tmp_path / f"{n}.csv")["prediction"][0] for n in "ab"]
    assert first[0] != first[1]


def test_a_shared_prompt_trains_too(data: Path, gpt2_model: str, tmp_path: Path) -> None:
    train(data, out=tmp_path / "m", model=gpt2_model, prompt="domain,instruction", **SMALL)  # type: ignore[arg-type]
    assert forecast(tmp_path / "m", data, out=tmp_path / "a.csv").rows == 18


def test_arms_without_a_language_model_refuse_a_prompt(data: Path, llama_model: str, tmp_path: Path) -> None:
    with pytest.raises(EtudeError, match="no language model to read a prompt"):
        train(data, out=tmp_path / "m", model=llama_model, backbone="none", prompt="time", **SMALL)  # type: ignore[arg-type]


@pytest.mark.parametrize("backbone", ["random", "scratch", "lora", "attention", "none"])
def test_every_arm_trains_and_comes_back_from_its_folder(
    backbone: str, data: Path, llama_model: str, tmp_path: Path
) -> None:
    train(data, out=tmp_path / "m", model=llama_model, backbone=backbone, **SMALL)  # type: ignore[arg-type]
    assert forecast(tmp_path / "m", data, out=tmp_path / "a.csv").rows == 18


def test_gaps_nulls_and_masks_pass_through_training_and_forecast(
    data: Path, llama_model: str, tmp_path: Path
) -> None:
    frame = pl.read_csv(data)
    holes = frame.with_columns(
        pl.when(pl.int_range(pl.len()) % 7 == 3).then(0.0).otherwise(pl.col("km 02")).alias("km 02"),
        pl.when(pl.int_range(pl.len()) % 11 == 4).then(None).otherwise(pl.col("km 04")).alias("km 04"),
    )
    path = tmp_path / "holes.csv"
    holes.filter(pl.int_range(pl.len()) % 50 != 49).write_csv(path)
    for fill in ("none", "forward", "linear"):
        out = tmp_path / fill
        done = train(path, out=out, model=llama_model, null=0, fill=fill, mask_feature=True, **SMALL)  # type: ignore[arg-type]
        assert any("missing time steps" in n for n in done.notices) and np.isfinite(done.best_validation_loss)
        found = evaluate(str(out), path, baselines="all")
        masked, unmasked = (found.arms["persistence"][view]["average"] for view in ("masked", "unmasked"))
        assert masked["cells"] < unmasked["cells"] and unmasked["MAPE"] is None and masked["MAPE"] is not None
        assert forecast(out, path, out=tmp_path / "f.csv").rows == 18


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
    data: Path, llama_model: str, tmp_path: Path
) -> None:
    bad = {**SMALL, "learning_rate": 1e30, "save_every": 1, "steps": 20}
    with pytest.raises(EtudeError, match=r"the loss is (nan|inf)"):
        train(data, out=tmp_path / "m", model=llama_model, schedule="constant", **bad)  # type: ignore[arg-type]
    assert list((tmp_path / "m" / "fit").glob("checkpoint-*"))
    assert not (tmp_path / "m" / "model.safetensors").exists()


def test_training_mentions_slots_it_never_sees(data: Path, llama_model: str, tmp_path: Path) -> None:
    found = train(data, out=tmp_path / "m", model=llama_model, **SMALL)  # type: ignore[arg-type]
    assert any("weekdays never occur in training" in n for n in found.notices)
    assert any("--slots-per-day 24" in n for n in found.notices)
    shared = train(data, out=tmp_path / "n", model=llama_model, slots_per_day=24, **SMALL)  # type: ignore[arg-type]
    assert not any("--slots-per-day" in n for n in shared.notices)


def test_node_orders(ring: SensorPanel) -> None:
    assert order_nodes(ring, "file") is ring
    shuffled = order_nodes(ring, "random", seed=1)
    assert sorted(shuffled.nodes) == sorted(ring.nodes) and shuffled.nodes != ring.nodes
    assert sorted(order_nodes(ring, "rcm").nodes) == sorted(ring.nodes)
    with pytest.raises(EtudeError, match="rcm needs a graph"):
        order_nodes(SensorPanel(ring.values, ring.times, ring.nodes, ring.step), "rcm")


def test_too_few_rows_are_refused_before_anything_is_loaded(
    wide: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(EtudeError, match="30 time steps are too few"):
        train(wide(), out=tmp_path / "m")


def test_the_package_is_imported_without_torch() -> None:
    import subprocess
    import sys

    code = "import sys, etude.methods.stg_llm; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
