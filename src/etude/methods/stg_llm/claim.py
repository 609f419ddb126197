"""The paper's claim, in its two halves, against baselines and controls of the same trained size.

(A) STG-LLM beats persistence, historical average, ridge and VAR. (B) It is the *pretrained* language model
that helps: the same network with a random one, with one attention layer, or with nothing in its place is
worse. The paper shows (A) against deep baselines and supports (B) by removing the model; neither arm of equal
size nor a random model is in it, so both halves are judged here, one by one.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.evidence import Arm, Claim, Comparison, Evidence, Measurement, Part, Scale
from etude.methods.stg_llm.backbones import Backbone
from etude.methods.stg_llm.baselines import BASELINES
from etude.methods.stg_llm.evaluation import baseline_forecasts
from etude.methods.stg_llm.forecaster import Settings, audit, build_forecaster
from etude.methods.stg_llm.forecasting import predict
from etude.methods.stg_llm.metrics import scores, window_mae
from etude.methods.stg_llm.panel import SensorPanel
from etude.methods.stg_llm.panel_reader import read_panel
from etude.methods.stg_llm.training import Training, fit_windows, prepare
from etude.methods.stg_llm.windows import evenly_spaced
from etude.models import model_origin
from etude.render import Block, TableBlock
from etude.runs import file_hash

CONTROLS: tuple[Backbone, ...] = ("none", "attention", "random")


@dataclass(frozen=True)
class Task:
    """One data set as it is forecast here.

    Attributes:
        name: Of the metric, for people.
        file: In the data folder.
        history, horizon: L and P.
        units: Of the error.
        every: Keep every so-manieth node.
        root: Forecast the square root of the values (wind speeds are then near normal).
        per_node: Scale each node by itself.
        null: Value that stands for missing.
        start, freq, feature: For arrays, see `read_panel`.
        block: numpy date unit or number of steps of the blocks that are resampled (windows overlap).
        samples: Train on only so many of the most recent windows.
    """

    name: str
    file: str
    history: int = 12
    horizon: int = 12
    units: str = ""
    every: int = 1
    root: bool = False
    per_node: bool = False
    null: float | None = None
    start: str | None = None
    freq: str | None = None
    feature: str | None = None
    block: str | int = "D"
    samples: int | None = None


METR_LA = Task("METR-LA", "metr_la_week_speed.csv", units="mph", every=5, block="2h")
WIND = Task("Irish wind", "irish_wind_knots.csv", horizon=3, units="√knots", root=True, block="M")
EXCHANGE = Task("ExchangeRate", "exchange_rate.csv", units="USD", per_node=True, block=30)
LAPTOP = (METR_LA, WIND, EXCHANGE)
LOW_DATA = tuple(replace(METR_LA, name=f"METR-LA, {n} windows", samples=n) for n in (50, 200))
PEMS = tuple(
    Task(
        f"PEMS{n}",
        f"PEMS{n}.npz",
        units="vehicles / 5 min",
        null=0.0,
        start=day,
        freq="5min",
        feature="flow",
        block="D",
    )
    for n, day in (("03", "2018-09-01"), ("04", "2018-01-01"), ("07", "2017-05-01"), ("08", "2016-07-01"))
)

ELECTRICITY = Task("Electricity", "electricity.csv", units="kWh")
PAPER = (*PEMS, ELECTRICITY, EXCHANGE)

SOURCES = {
    METR_LA.file: "a week of METR-LA, GitHub lehaifeng/T-GCN (los_speed.csv), first column time",
    WIND.file: "data set wind of the R package gstat, first column time",
    EXCHANGE.file: "GitHub laiguokun/multivariate-time-series-data, first column t",
    ELECTRICITY.file: "UCI ElectricityLoadDiagrams, hourly, 321 clients, first column time",
}
PEMS_SOURCE = "the PEMS archives as published with ASTGCN and STSGCN"


@dataclass(frozen=True)
class Budget:
    """What every trained arm gets: the same.

    Attributes:
        layers: Blocks of the language model.
        training: Steps, batch, rate, selection on validation windows.
        windows: Evenly spaced test windows, shared by all arms; None = all.
    """

    layers: int
    training: Training
    windows: int | None


LAPTOP_BUDGET = Budget(
    layers=3,
    training=Training(
        steps=100,
        batch_size=16,
        learning_rate=2e-3,
        weight_decay=0.05,
        schedule="onecycle",
        warmup=0.0,
        save_every=50,
        validation_windows=64,
    ),
    windows=160,
)
PAPER_BUDGET = Budget(
    layers=3, training=Training(epochs=200, batch_size=32, learning_rate=1e-3, patience=50), windows=None
)


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """Claims A and B.

    Args:
        scale: laptop: one week of METR-LA (42 sensors), Irish wind, exchange rates, 100 steps an arm,
            SmolLM2. slow: METR-LA from its 50 and from its 200 latest training windows, otherwise as laptop.
            paper: whichever of PEMS03/04/07/08.npz, electricity.csv and exchange_rate.csv are in the
            folder, GPT-2, up to 200 epochs; and METR-LA from 50 and 200 windows if it is there.
        data: Folder with the data.
        seeds: Three by default.
        model: Another language model.

    Raises:
        EtudeError: Without the data.
    """
    if scale != "paper":
        tasks = LAPTOP if scale == "laptop" else LOW_DATA
        return claim_on(
            tasks, LAPTOP_BUDGET, data=data, seeds=seeds or (0, 1, 2), model=model or "smollm2", scale=scale
        )
    published = [t for t in (*PAPER, *LOW_DATA) if data is not None and (data / t.file).is_file()]
    return claim_on(
        published or PEMS,
        PAPER_BUDGET,
        data=data,
        seeds=seeds or (0, 1, 2),
        model=model or "openai-community/gpt2",
        scale=scale,
    )


def claim_on(
    tasks: Sequence[Task],
    budget: Budget,
    *,
    data: Path | None,
    seeds: tuple[int, ...],
    model: str,
    scale: str,
) -> Claim:
    """Both halves on any tasks and budget.

    Args:
        tasks: Data sets.
        budget: Of every trained arm.
        data: Folder with their files.
        seeds: Of the trained arms.
        model: Language model.
        scale: Its name in the record.
    """
    folder = _require(data, tasks)
    origin = model_origin(model)
    arms = [_baseline_arm(name, tasks, budget, folder) for name in BASELINES]
    arms += [_trained_arm(backbone, tasks, budget, folder, model) for backbone in (*CONTROLS, "pretrained")]
    parts = []
    for task in tasks:
        metric = _metric(task)
        parts.append(
            Part(
                f"A, {task.name}",
                f"STG-LLM beats the classical baselines on {task.name}",
                tuple(Comparison(metric, "pretrained", name) for name in BASELINES),
            )
        )
        parts.append(
            Part(
                f"B, {task.name}",
                f"the pretrained language model beats controls of the same trained size on {task.name}",
                tuple(Comparison(metric, "pretrained", name) for name in CONTROLS),
            )
        )
    return Claim(
        name="stg-llm",
        statement="Node tokens and a small adapter unlock a frozen language model for forecasting (A), "
        "and its pretraining is what helps (B).",
        arms=tuple(arms),
        parts=tuple(parts),
        metrics={_metric(task): "lower" for task in tasks},
        seeds=seeds,
        config={
            "scale": scale,
            "model": origin,
            "budget": asdict(budget),
            "tasks": [asdict(task) | {"sha256": file_hash(folder / task.file)} for task in tasks],
        },
        clusters=lambda unit: unit.rpartition(" | ")[0],
        columns=("trained",),
        notes=(
            f"{model} is {origin['precision']} ({origin['source']}).",
            "Arms share test windows, steps, batch and rate; weights are selected on validation windows.",
            "Windows overlap, so whole blocks of time are resampled (2 hours, a month, 30 steps).",
            "`attention` is as wide as fits the trained size of the language-model arms.",
            "ExchangeRate is a negative control: near a random walk, the last value is hard to beat.",
        ),
        blocks=lambda evidence: [_rmse_table(evidence, tasks)],
    )


def _rmse_table(evidence: Evidence, tasks: Sequence[Task]) -> Block:
    """RMSE and processor time beside the MAE that is compared."""
    columns = ["arm"] + [f"{task.name} {what}" for task in tasks for what in ("RMSE", "CPU s")]
    rows = [
        [arm.name] + [arm.fact(f"{task.name} {what}") for task in tasks for what in ("RMSE", "CPU seconds")]
        for arm in evidence.arms
    ]
    return TableBlock(columns, rows, caption="Mean over seeds; CPU seconds include training")


def _metric(task: Task) -> str:
    return f"{task.name} MAE" + (f" ({task.units})" if task.units else "")


def _require(data: Path | None, tasks: Sequence[Task]) -> Path:
    files = sorted({task.file for task in tasks})
    absent = files if data is None else [f for f in files if not (data / f).is_file()]
    if data is None or absent:
        where = "no --data folder" if data is None else f"{data} lacks {', '.join(absent)}"
        source = "; ".join(f"{f}: {SOURCES[f]}" for f in absent if f in SOURCES) or PEMS_SOURCE
        raise EtudeError(f"{where}: this claim needs {', '.join(files)}", source)
    return data


@cache
def load_task(folder: Path, task: Task) -> SensorPanel:
    """A task's panel."""
    panel = read_panel(
        folder / task.file,
        null=task.null,
        start=task.start,
        freq=task.freq,
        feature=task.feature,
        units=task.units,
    )
    panel = panel.select(panel.nodes[:: task.every])
    return replace(panel, values=np.sqrt(panel.values)) if task.root else panel


def _measure(
    tasks: Sequence[Task], budget: Budget, folder: Path, run: Callable[[Task, SensorPanel], tuple[Any, ...]]
) -> Measurement:
    """Score forecasts of every task on the shared test windows, a unit a window."""
    found: dict[str, dict[str, float]] = {}
    facts: dict[str, Any] = {}
    for task in tasks:
        panel = load_task(folder, task)
        began = time.process_time()
        prediction, truth, starts, trained = run(task, panel)
        issued = starts + task.history - 1
        names = [f"{_block(task, panel, int(row))} | {int(row)}" for row in issued]
        errors = window_mae(prediction, truth, null=task.null)
        found[_metric(task)] = {
            name: float(e) for name, e in zip(names, errors, strict=True) if np.isfinite(e)
        }
        whole = scores(prediction, truth, null=task.null)
        facts[f"{task.name} RMSE"] = whole.RMSE
        facts[f"{task.name} CPU seconds"] = round(time.process_time() - began, 2)
        facts.setdefault("trained", trained)
    return Measurement(scores=found, facts=facts)


def _block(task: Task, panel: SensorPanel, row: int) -> str:
    """The block of time a forecast was issued in."""
    if isinstance(task.block, int) or not panel.has_calendar:
        size = task.block if isinstance(task.block, int) else 30
        return str(row // size)
    return str(panel.times[row].astype(f"datetime64[{task.block}]"))


def _baseline_arm(name: str, tasks: Sequence[Task], budget: Budget, folder: Path) -> Arm:
    def run(seed: int) -> Measurement:
        def forecasts(task: Task, panel: SensorPanel) -> tuple[Any, ...]:
            forecaster = prepare(
                panel, _settings(task, "none", "smollm2", budget, seed), Training(samples=task.samples)
            )
            windows = forecaster.windows(panel)
            starts = evenly_spaced(forecaster.split.test(), budget.windows)
            return (
                baseline_forecasts(name, windows, forecaster.split, starts),
                windows.truth(starts),
                starts,
                0,
            )

        return _measure(tasks, budget, folder, forecasts)

    return Arm(name, run, config={"baseline": name}, seeded=False)


def _trained_arm(backbone: Backbone, tasks: Sequence[Task], budget: Budget, folder: Path, model: str) -> Arm:
    def run(seed: int) -> Measurement:
        def forecasts(task: Task, panel: SensorPanel) -> tuple[Any, ...]:
            settings = _settings(task, backbone, model, budget, seed)
            how = replace(budget.training, samples=task.samples)
            forecaster = prepare(panel, settings, how)
            if backbone == "attention":
                forecaster = replace(forecaster, settings=matched_attention(forecaster.settings))
            windows = forecaster.windows(panel)
            network = forecaster.network()
            with tempfile.TemporaryDirectory() as scratch:
                fit_windows(network, windows, forecaster, how, out=Path(scratch))
            starts = evenly_spaced(forecaster.split.test(), budget.windows)
            trained = audit(network, forecaster.settings).trained
            return predict(network, windows, starts), windows.truth(starts), starts, trained

        return _measure(tasks, budget, folder, forecasts)

    return Arm(backbone, run, config={"backbone": backbone})


def _settings(task: Task, backbone: Backbone, model: str, budget: Budget, seed: int) -> Settings:
    return Settings(
        nodes=0,
        model=model,
        layers=budget.layers,
        backbone=backbone,
        history=task.history,
        horizon=task.horizon,
        slots_per_day=0,
        per_node=task.per_node,
        seed=seed,
    )


def matched_attention(settings: Settings, step: int = 8) -> Settings:
    """The widest `attention` arm that trains no more parameters than the `random` arm does."""
    reference = replace(settings, backbone="random", width=None)
    limit = audit(build_forecaster(reference), reference).trained
    width = step
    while True:
        wider = replace(settings, backbone="attention", width=width + step)
        if audit(build_forecaster(wider), wider).trained > limit:
            return replace(wider, width=width)
        width += step
