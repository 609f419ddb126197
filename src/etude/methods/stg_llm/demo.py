"""A visible use in seconds: traffic on a made-up ring road, forecast by three blocks of SmolLM2."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from etude.methods.stg_llm.evaluation import baseline_forecasts
from etude.methods.stg_llm.forecaster import Settings
from etude.methods.stg_llm.forecasting import predict
from etude.methods.stg_llm.graph import Graph
from etude.methods.stg_llm.metrics import scores
from etude.methods.stg_llm.model_folder import load_network, read_folder
from etude.methods.stg_llm.panel import SensorPanel
from etude.methods.stg_llm.plots import lines_figure, map_figure
from etude.methods.stg_llm.training import Training, train_panel
from etude.methods.stg_llm.windows import evenly_spaced
from etude.render import Demo, Figure, TableBlock, Text

SENSORS = 16
SLOTS = 96  # a day of quarter hours
DAYS = 21


def ring_road(*, sensors: int = SENSORS, days: int = DAYS, seed: int = 7) -> SensorPanel:
    """A synthetic ring road: rush hours on weekdays, and jams that start anywhere and travel upstream.

    Args:
        sensors: Around the ring, 2 km apart.
        days: Length, in quarter hours from Monday 2024-01-01.
        seed: Of jams and noise.

    Returns:
        Speeds in km/h, marked synthetic, with the ring as graph.
    """
    rng = np.random.default_rng(seed)
    total = days * SLOTS
    hour = np.arange(total) % SLOTS / 4
    weekday = (np.arange(total) // SLOTS) % 7 < 5
    rush = np.exp(-(((hour - 8) / 1.2) ** 2)) + 0.9 * np.exp(-(((hour - 17.5) / 1.5) ** 2))
    busy = rng.uniform(0.3, 1.0, sensors)
    slow = 45 * (rush * np.where(weekday, 1.0, 0.15))[:, None] * busy  # (T, N)
    for _ in range(days * 3):  # a jam moves one sensor upstream every second step and fades
        begin, place = int(rng.integers(total)), int(rng.integers(sensors))
        depth, life = rng.uniform(25, 60), int(rng.integers(8, 28))
        for age in range(min(life, total - begin)):
            at = (place - age // 2) % sensors
            fade = depth * np.sin(np.pi * (age + 1) / (life + 1))
            slow[begin + age, at] += fade
            slow[begin + age, (at - 1) % sensors] += 0.5 * fade
    values = np.clip(100 - slow + rng.normal(0, 2.0, (total, sensors)), 8, 110)
    index = np.arange(sensors)
    return SensorPanel(
        values=values[:, :, None].astype(np.float32),
        times=np.datetime64("2024-01-01T00:00:00", "s") + np.arange(total) * np.timedelta64(900, "s"),
        nodes=tuple(f"km {2 * i:02d}" for i in range(sensors)),
        step=900,
        graph=Graph(index, (index + 1) % sensors, np.ones(sensors)),
        units="km/h",
        notices=("synthetic data",),
    )


def demo(out: Path) -> Demo:
    """Train on two weeks of the ring road, forecast the rest, compare with the baselines.

    Args:
        out: Folder for the model.
    """
    panel = ring_road()
    settings = Settings(nodes=SENSORS, layers=3, history=12, horizon=8, slots_per_day=0)
    how = Training(
        steps=60,
        batch_size=16,
        learning_rate=2e-3,
        schedule="onecycle",
        warmup=0.0,
        save_every=30,
        validation_windows=32,
    )
    trained = train_panel(panel, settings, how, out=out / "ring-road")
    forecaster = read_folder(out / "ring-road")
    windows = forecaster.windows(panel)
    network = load_network(out / "ring-road", forecaster)
    starts = evenly_spaced(forecaster.split.test(), 120)
    truth = windows.truth(starts)
    prediction = predict(network, windows, starts)
    arms = {f"SmolLM2, first {settings.layers} blocks": prediction} | {
        name: baseline_forecasts(name, windows, forecaster.split, starts)
        for name in ("persistence", "historical-average", "ridge-shared")
    }
    rows = []
    for name, forecasts in arms.items():
        found = scores(forecasts, truth)
        rows.append([name, found.MAE, found.RMSE])
    spread = np.abs(truth - truth[:, :1]).max(axis=(1, 2))
    lively = int(np.argmax(spread))  # the test window in which most is going on
    start, last = int(starts[lively]), prediction[lively]
    moving = [int(n) for n in np.argsort(-np.abs(truth[lively] - truth[lively][:1]).max(axis=0))[:6]]
    angle = 2 * np.pi * np.arange(SENSORS) / SENSORS
    places = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    parameters = trained.parameters
    return Demo(
        headline=f"{parameters['trained']:,} trained parameters around a frozen language model "
        "forecast two hours of traffic",
        went_in=[
            Text(
                f"A synthetic ring road, generated here: {SENSORS} sensors, {DAYS} days of quarter hours, "
                "with rush hours and jams that travel upstream. The first 60 % train, the next 20 % select, "
                "the last 20 % are shown below."
            )
        ],
        came_out=[
            Figure(
                lines_figure(panel, windows, start, last, moving),
                alt="Past, truth and prediction at six sensors",
                caption="Gray: the past. Black: what came. Orange: what was forecast.",
            ),
            Figure(
                map_figure(panel, windows, start, last, places),
                alt="The ring, colored by the change in two hours",
            ),
            TableBlock(
                ["forecaster", "MAE, km/h", "RMSE, km/h"],
                rows,
                caption=f"{len(starts)} test windows, 8 steps ahead",
            ),
        ],
        meaning="Each sensor's last three hours are one token; the language model lets the tokens look at "
        "each other. Whether its pretraining matters is another question: see `etude claim stg-llm`.",
    )
