"""Energy: CodeCarbon's format both ways, sums over resumes, and an estimate that says so."""

import csv
from pathlib import Path

import pytest

from etude.errors import EtudeError
from etude.methods.teenytinyllama.energy import (
    COLUMNS,
    Consumption,
    EnergyMeter,
    EnergySettings,
    emissions_row,
    read_emissions,
    write_emissions,
)


def test_the_authors_own_records_are_read(shared_data) -> None:
    folder = shared_data("teenytinyllama")
    (row,) = read_emissions(folder / "reference_emissions_160m.csv")
    assert row["energy_consumed"] == pytest.approx(15.521334974149243)
    assert row["cpu_energy"] + row["gpu_energy"] + row["ram_energy"] == pytest.approx(row["energy_consumed"])
    with open(folder / "reference_emissions_160m.csv", newline="") as file:
        assert tuple(csv.DictReader(file).fieldnames or ()) == COLUMNS


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    used = Consumption(3600.0, 0.01, 0.3, 0.002, 0.15, "estimate: a test")
    row = emissions_row(used, project="p", run_id="r-5", settings=EnergySettings())
    write_emissions(tmp_path / "emissions.csv", [row])
    (back,) = read_emissions(tmp_path / "emissions.csv")
    assert back["energy_consumed"] == pytest.approx(0.312) and back["gpu_power"] == pytest.approx(300.0)
    assert back["tracking_mode"] == "estimate" and back["run_id"] == "r-5"


def test_a_resumed_run_adds_to_what_was_used_before() -> None:
    before = Consumption(100.0, 1.0, 2.0, 3.0, 4.0, "estimate: before")
    total = EnergyMeter(EnergySettings("estimate"), before).read()
    assert total.kwh >= 6.0 and total.kg >= 4.0 and total.seconds >= 100.0
    assert "estimate: before" in total.method


def test_an_estimate_is_processor_time_times_watts() -> None:
    settings = EnergySettings("estimate", watts_per_core=3600.0, watts_per_gb=0.0, kg_per_kwh=0.5)
    meter = EnergyMeter(settings, Consumption())
    sum(i * i for i in range(3_000_000))
    used = meter.read()
    assert used.cpu_kwh > 0 and used.ram_kwh == 0
    assert used.kg == pytest.approx(0.5 * used.kwh)


def test_a_record_that_is_not_codecarbons_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "emissions.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(EtudeError, match="no column"):
        read_emissions(path)
    path.write_text("duration,emissions,energy_consumed\n1,x,3\n")
    with pytest.raises(EtudeError, match="line 2, emissions"):
        read_emissions(path)
