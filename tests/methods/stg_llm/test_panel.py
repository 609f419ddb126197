"""Reading panels: every layout gives the same values, every bad one its place."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.stg_llm.conversion import convert, panel_table
from etude.methods.stg_llm.panel import SensorPanel, frequency_name, parse_frequency
from etude.methods.stg_llm.panel_reader import read_panel

Wide = Callable[..., Path]


def edit(path: Path, change: Callable[[list[str]], list[str]]) -> Path:
    lines = path.read_text().splitlines()
    path.write_text("\n".join(change(lines)) + "\n")
    return path


def test_a_wide_table_is_read_with_its_calendar(wide: Wide) -> None:
    panel = read_panel(wide())
    assert panel.values.shape == (30, 3, 1)
    assert panel.nodes == ("n0", "n1", "n2") and panel.step == 3600
    assert panel.natural_slots() == 24
    assert panel.slots(24)[:25].tolist() == [*range(24), 0]
    assert panel.weekdays()[[0, 23, 24]].tolist() == [0, 0, 1]  # 2024-01-01 was a Monday


def test_wide_long_tsv_parquet_npz_and_hdf5_hold_the_same_panel(wide: Wide, tmp_path: Path) -> None:
    source = wide()
    frame = pl.read_csv(source)
    expected = read_panel(source)
    frame.write_csv(tmp_path / "a.tsv", separator="\t")
    frame.write_parquet(tmp_path / "a.parquet")
    frame.with_columns(pl.col("time").str.to_datetime()).write_parquet(tmp_path / "b.parquet")
    long = frame.unpivot(index="time", variable_name="node", value_name="value")
    long.sample(fraction=1, shuffle=True, seed=1).sort("node").write_csv(tmp_path / "long.csv")
    for name in ("a.tsv", "a.parquet", "b.parquet", "long.csv"):
        found = read_panel(tmp_path / name).select(expected.nodes)
        np.testing.assert_array_equal(found.values, expected.values)
        np.testing.assert_array_equal(found.times, expected.times)
    np.savez(tmp_path / "a.npz", data=expected.values)
    found = read_panel(tmp_path / "a.npz", start="2024-01-01", freq="1h")
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.times, expected.times)


def test_a_long_table_with_features_keeps_or_picks_them(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    rows = [
        f"2024-01-01T0{h}:00,{n},{h + f},{'ab'[f]}" for h in range(4) for n in ("x", "y") for f in range(2)
    ]
    path.write_text("\n".join(["time,node,value,feature", *rows]))
    assert read_panel(path).values.shape == (4, 2, 2)
    assert read_panel(path, feature="b").values[:, 0, 0].tolist() == [1, 2, 3, 4]
    with pytest.raises(EtudeError, match="no feature 'c'"):
        read_panel(path, feature="c")


def test_an_hdf5_frame_in_the_fixed_layout_is_read_without_pickle(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="the hdf5 extra is not installed")
    path = tmp_path / "metr.h5"
    times = (np.datetime64("2012-03-01", "ns") + np.arange(5) * np.timedelta64(300, "s")).astype(
        "datetime64[ns]"
    )
    with h5py.File(path, "w") as file:
        group = file.create_group("df")
        group["axis0"] = np.array([b"717", b"716"])
        group["axis1"] = times.astype(np.int64)
        group["axis1"].attrs["kind"] = b"datetime64"
        group["block0_items"] = np.array([b"716", b"717"])
        group["block0_values"] = np.arange(10.0).reshape(5, 2)
    panel = read_panel(path)
    assert panel.nodes == ("717", "716") and panel.step == 300
    assert panel.values[1, :, 0].tolist() == [3.0, 2.0]
    with h5py.File(path, "w") as file:
        file["loose"] = np.arange(3)
    with pytest.raises(EtudeError, match="0 data frames"):
        read_panel(path)
    path.write_bytes(b"no hdf5")
    with pytest.raises(EtudeError, match="not an HDF5 file"):
        read_panel(path)


def test_hdf5_without_h5py_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    (tmp_path / "a.h5").touch()
    with pytest.raises(EtudeError, match=r"etude\[hdf5\]"):
        read_panel(tmp_path / "a.h5")


def test_an_npz_with_objects_is_refused_unread(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", data=np.array([[object()]], dtype=object))
    with pytest.raises(EtudeError, match="plain array archive"):
        read_panel(tmp_path / "a.npz")


def test_npz_features_go_by_name_or_index_and_the_calendar_needs_both_parts(tmp_path: Path) -> None:
    data = np.arange(60.0).reshape(10, 2, 3)
    np.savez(tmp_path / "a.npz", data=data)
    np.testing.assert_array_equal(
        read_panel(tmp_path / "a.npz", feature="speed").values[..., 0], data[..., 2]
    )
    np.testing.assert_array_equal(read_panel(tmp_path / "a.npz", feature="1").values[..., 0], data[..., 1])
    with pytest.raises(EtudeError, match="no feature"):
        read_panel(tmp_path / "a.npz", feature="7")
    with pytest.raises(EtudeError, match="both --start and --freq"):
        read_panel(tmp_path / "a.npz", freq="5min")
    np.savez(tmp_path / "b.npz", other=data)
    with pytest.raises(EtudeError, match="no array 'data'"):
        read_panel(tmp_path / "b.npz")


def test_a_missing_row_becomes_a_counted_gap(wide: Wide) -> None:
    path = edit(wide(), lambda lines: lines[:6] + lines[8:])
    panel = read_panel(path)
    assert len(panel.times) == 30 and np.isnan(panel.values[5:7]).all()
    assert panel.notices[0].startswith(
        "2 missing time steps are kept as gaps, the first after 2024-01-01T04:00"
    )


def test_a_duplicate_time_names_its_row_and_the_frequency(wide: Wide) -> None:
    path = edit(wide(), lambda lines: [*lines[:4], lines[3], *lines[4:]])
    with pytest.raises(
        EtudeError, match=r"wide.csv:5: time 2024-01-01T02:00 is there twice \(frequency taken as 1h"
    ):
        read_panel(path)


def test_unsorted_times_name_their_row(wide: Wide) -> None:
    path = edit(wide(), lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]])
    with pytest.raises(EtudeError, match=r"wide.csv:6: time 2024-01-01T03:00 comes after 2024-01-01T04:00"):
        read_panel(path)


def test_an_irregular_time_names_its_row_and_the_frequency(wide: Wide) -> None:
    path = edit(wide(), lambda lines: [line.replace("T05:00", "T05:07") for line in lines])
    with pytest.raises(EtudeError, match=r"wide.csv:7: time 2024-01-01T05:07 is off the grid of 1h"):
        read_panel(path)


def test_a_cell_that_is_no_number_is_quoted_with_its_line(wide: Wide) -> None:
    path = edit(wide(), lambda lines: [*lines[:3], lines[3].rpartition(",")[0] + ",fast", *lines[4:]])
    with pytest.raises(EtudeError, match=r"wide.csv:4: n2 is 'fast', not a number"):
        read_panel(path)


def test_a_time_that_is_none_is_quoted_with_its_line(wide: Wide) -> None:
    path = edit(wide(), lambda lines: [line.replace("2024-01-01T03:00", "noon") for line in lines])
    with pytest.raises(EtudeError, match=r"wide.csv:5: time is 'noon'"):
        read_panel(path)


def test_empty_cells_are_missing_and_an_empty_node_is_refused(wide: Wide) -> None:
    path = edit(wide(), lambda lines: [*lines[:3], lines[3].rpartition(",")[0] + ",", *lines[4:]])
    assert np.isnan(read_panel(path).values[2, 2, 0])
    edit(path, lambda lines: [lines[0]] + [line.rpartition(",")[0] + ",nan" for line in lines[1:]])
    with pytest.raises(EtudeError, match="no measurement at all for node n2"):
        read_panel(path)


def test_a_constant_node_is_mentioned_and_an_all_constant_panel_refused(wide: Wide) -> None:
    path = edit(wide(), lambda lines: [lines[0]] + [line.rpartition(",")[0] + ",5" for line in lines[1:]])
    assert "constant nodes: n2" in read_panel(path).notices
    edit(path, lambda lines: [lines[0]] + [line.split(",")[0] + ",5,5,5" for line in lines[1:]])
    with pytest.raises(EtudeError, match="every node is constant"):
        read_panel(path)


def test_a_node_that_is_only_nulls_counts_as_empty(wide: Wide) -> None:
    path = edit(wide(), lambda lines: [lines[0]] + [line.rpartition(",")[0] + ",0" for line in lines[1:]])
    assert read_panel(path).nodes == ("n0", "n1", "n2")
    with pytest.raises(EtudeError, match="no measurement at all for node n2"):
        read_panel(path, null=0)


def test_zero_is_a_value_unless_it_is_said_to_be_null(wide: Wide) -> None:
    path = wide()
    assert read_panel(path).observed.all()
    panel = read_panel(path, null=0)
    np.testing.assert_array_equal(panel.observed, panel.values != 0)


def test_integer_time_has_one_slot_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("t,a,b\n" + "\n".join(f"{i},{i},{i * i}" for i in range(20)))
    panel = read_panel(path)
    assert not panel.has_calendar and panel.natural_slots() == 1
    assert panel.slots(1).tolist() == [0] * 20 == panel.weekdays().tolist()
    assert any("no calendar" in notice for notice in panel.notices)
    assert panel.row_of("7") == 7 and panel.future_times(2).tolist() == [20, 21]


def test_a_step_that_does_not_divide_a_day_needs_shared_slots(wide: Wide) -> None:
    panel = read_panel(wide(rows=400, minutes=7))
    with pytest.raises(EtudeError, match="7min does not divide a day"):
        panel.natural_slots()
    assert panel.natural_slots(24) == 24
    assert panel.slots(24).max() == 23


def test_columns_and_files_that_are_wrong_say_so(wide: Wide, tmp_path: Path) -> None:
    with pytest.raises(EtudeError, match="no such file"):
        read_panel(tmp_path / "absent.csv")
    with pytest.raises(EtudeError, match="no column 'when'"):
        read_panel(wide(), time="when")
    with pytest.raises(EtudeError, match="column n1 appears twice"):
        read_panel(edit(wide(), lambda lines: ["time,n0,n1,n1", *lines[1:]]))
    with pytest.raises(EtudeError, match="frequency 'often'"):
        read_panel(wide(), freq="often")
    with pytest.raises(EtudeError, match="off the grid of 2h"):
        read_panel(wide(), freq="2h")
    (tmp_path / "a.txt").touch()
    with pytest.raises(EtudeError, match=r"cannot read a \.txt panel"):
        read_panel(tmp_path / "a.txt")
    (tmp_path / "b.parquet").write_bytes(b"no")
    with pytest.raises(EtudeError, match="not a readable table"):
        read_panel(tmp_path / "b.parquet")
    (tmp_path / "long.csv").write_text("time,node,value\n2024-01-01,a,1\n2024-01-02,a,2\n2024-01-02,a,3\n")
    with pytest.raises(EtudeError, match=r"long.csv:4: a second value for node a"):
        read_panel(tmp_path / "long.csv")


def test_times_with_a_zone_are_read_as_utc(tmp_path: Path) -> None:
    path = tmp_path / "zone.csv"
    path.write_text("time,a\n" + "\n".join(f"2024-01-01T0{h}:00+02:00,{h}" for h in range(5)))
    assert str(read_panel(path).times[0]) == "2023-12-31T22:00:00"


def test_conversion_round_trips_and_says_what_is_missing(wide: Wide, tmp_path: Path) -> None:
    data = np.random.default_rng(0).normal(size=(40, 3, 3))
    data[5, 1, 0] = 0
    np.savez(tmp_path / "PEMS.npz", data=data)
    done = convert(
        tmp_path / "PEMS.npz",
        out=tmp_path / "p.parquet",
        feature="flow",
        start="2016-07-01",
        freq="5min",
        null=0,
    )
    assert (done.steps, done.nodes, done.features, done.frequency) == (40, 3, 1, "5min")
    assert done.missing == pytest.approx(1 / 120)
    back = read_panel(tmp_path / "p.parquet")
    assert back.step == 300 and np.isnan(back.values[5, 1, 0])
    np.testing.assert_allclose(back.values[:5, :, 0], data[:5, :, 0], rtol=1e-6)
    convert(tmp_path / "PEMS.npz", out=tmp_path / "all.csv")
    assert read_panel(tmp_path / "all.csv", time="t").values.shape == (40, 3, 3)
    with pytest.raises(EtudeError, match=r"written as \.csv or \.parquet"):
        convert(wide(), out=tmp_path / "x.json")


def test_selecting_nodes_keeps_values_and_edges_together(ring: SensorPanel) -> None:
    some = ring.select(["km 04", "km 02"])
    np.testing.assert_array_equal(some.values[:, 0], ring.values[:, 2])
    assert some.graph is not None and list(zip(some.graph.source, some.graph.target, strict=True)) == [(1, 0)]
    with pytest.raises(EtudeError, match="no node km 99"):
        ring.select(["km 99"])


def test_a_row_is_found_by_its_time(ring: SensorPanel) -> None:
    assert ring.row_of("2024-01-01T01:00") == 4
    with pytest.raises(EtudeError, match="no row at 2025"):
        ring.row_of("2025-01-01")
    with pytest.raises(EtudeError, match="not a time"):
        ring.row_of("later")


@given(st.integers(1, 400), st.sampled_from(["s", "min", "h", "d"]))
def test_a_frequency_survives_its_own_name(count: int, unit: str) -> None:
    step = parse_frequency(f"{count}{unit}")
    assert parse_frequency(frequency_name(step)) == step


def test_the_real_panels_are_read_whole(shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("stg-llm")
    metr = read_panel(folder / "metr_la_week_speed.csv", edges=folder / "metr_la_edges.csv")
    assert metr.values.shape == (2016, 207, 1) and metr.step == 300 and not metr.notices
    assert metr.graph is not None and len(metr.graph.weight) == 2833
    wind = read_panel(folder / "irish_wind_knots.csv")
    assert wind.values.shape == (6574, 12, 1) and wind.natural_slots() == 1
    exchange = read_panel(folder / "exchange_rate.csv")
    assert exchange.values.shape == (7588, 8, 1) and not exchange.has_calendar
    assert panel_table(exchange).columns[0] == "t"
