"""`train`: a panel becomes a forecaster (paper section 4: 6:2:2 in time, Huber loss, at most 200 epochs,
early stop).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.stg_llm.backbones import Attention, Backbone
from etude.methods.stg_llm.forecaster import Precision, Settings, STGForecaster, audit
from etude.methods.stg_llm.graph import cuthill_mckee
from etude.methods.stg_llm.model_folder import Forecaster, read_folder, save_folder, start_from, uses_lm
from etude.methods.stg_llm.panel import SensorPanel
from etude.methods.stg_llm.panel_reader import read_panel
from etude.methods.stg_llm.prompts import Event, parse_parts, read_events
from etude.methods.stg_llm.windows import Fill, Scaler, Windows, WindowStarts, evenly_spaced, split_rows
from etude.render import console, table
from etude.runs import Run

Order = Literal["file", "rcm", "random"]
Schedule = Literal["cosine", "linear", "constant", "onecycle"]


@dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        epochs: Passes over the training windows at most (paper: 200); ignored when `steps` is given.
        steps: Optimizer steps.
        batch_size: Windows a step (ours: 32).
        learning_rate: Peak of AdamW's rate (paper: Adam, 1e-3).
        weight_decay: Paper: 0.05.
        schedule: Course of the rate after the warm-up.
        warmup: Share of the steps in which the rate rises.
        patience: Stop after so many evaluations without improvement (paper: 50).
        save_every: Steps between checkpoints and evaluations; an epoch when left out.
        validation_windows: Evenly spaced windows on which the best weights are chosen.
        samples: Use only the most recent windows of the training rows.
    """

    epochs: float = 20
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    patience: int = 5
    save_every: int | None = None
    validation_windows: int = 256
    samples: int | None = None


@dataclass(frozen=True)
class TrainResult:
    """What a training gave.

    Attributes:
        out: The model folder.
        nodes, train_windows: Size of the task.
        steps, best_step: Steps made, and the one whose weights were kept.
        best_validation_loss: Huber loss on z-scores there.
        fresh: Trained parts that `init_from` had but that could not be taken over.
        parameters: The parameter audit.
        notices: What a reader should know about the data.
    """

    out: str
    nodes: int
    train_windows: int
    steps: int
    best_step: int
    best_validation_loss: float
    parameters: dict[str, Any]
    fresh: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    def __rich__(self) -> Any:
        """A table and the notices."""
        from rich.console import Group

        p = self.parameters
        share = 100 * p["trained"] / p["total"]
        rows: list[list[Any]] = [
            ["nodes", self.nodes],
            ["training windows", self.train_windows],
            ["steps, best at", f"{self.steps}, {self.best_step}"],
            ["validation loss (Huber, z-scores)", self.best_validation_loss],
            ["parameters trained", f"{p['trained']:,} of {p['total']:,} ({share:.2f} %)"],
            *[[f"  {name}", count] for name, count in p["trained_parts"].items()],
            ["model folder", self.out],
        ]
        return Group(table(["stg-llm train", ""], rows), *self.notices)


@verb
def train(
    panel: Path,
    *,
    out: Path,
    edges: Path | None = None,
    model: str = "smollm2",
    layers: int = 3,
    history: int = 12,
    horizon: int = 12,
    backbone: Backbone = "pretrained",
    attention: Attention = "causal",
    order: Order = "file",
    prompt: str | None = None,
    domain: str = "",
    events: Path | None = None,
    init_from: Path | None = None,
    samples: int | None = None,
    epochs: float = 20,
    steps: int | None = None,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    schedule: Schedule = "cosine",
    warmup: float = 0.05,
    patience: int = 5,
    save_every: int | None = None,
    fill: Fill = "none",
    mask_feature: bool = False,
    per_node: bool = False,
    slots_per_day: int | None = None,
    freeze_norms: bool = False,
    nodes_per_block: int | None = None,
    precision: Precision = "float32",
    time: str = "time",
    freq: str | None = None,
    null: float | None = None,
    units: str = "",
    seed: int = 0,
) -> TrainResult:
    """Train a forecaster on a panel; the same command after a kill goes on where it was.

    Args:
        panel: Wide or long CSV/TSV/Parquet, NPZ or HDF5.
        out: Model folder to write.
        edges: Table from,to,weight or from,to,cost; needed for --order rcm.
        model: Language model: embedded name, directory or hub id.
        layers: Blocks of it to keep.
        history: Steps read.
        horizon: Steps forecast.
        backbone: pretrained, or a control: random, scratch, lora, attention, none.
        attention: Whether a node sees only those before it, or all.
        order: Node order: as in the file, reverse Cuthill-McKee on the graph, or shuffled by the seed.
        prompt: Parts of a prompt, comma-separated: domain, instruction, time, events.
        domain: What the network is, for the prompt.
        events: JSONL of start, end, node, kind, text.
        init_from: Model folder to start from; its network settings are taken over.
        samples: Train on only so many of the most recent training windows.
        epochs: Passes over the training windows at most.
        steps: Optimizer steps, instead of epochs.
        batch_size: Windows a step.
        learning_rate: Peak learning rate.
        weight_decay: AdamW's.
        schedule: cosine, linear, constant or onecycle.
        warmup: Share of the steps in which the rate rises.
        patience: Evaluations without improvement before stopping.
        save_every: Steps between checkpoints and evaluations; an epoch by default.
        fill: How missing inputs are filled: none (zero after scaling), forward, linear.
        mask_feature: Tell the network which inputs were observed.
        per_node: Scale every node by itself.
        slots_per_day: Share the time-of-day table, e.g. 24.
        freeze_norms: Keep the language model's norms as they are.
        nodes_per_block: Split large networks into sequences of so many nodes.
        precision: bfloat16 runs the backbone in it: faster on processors with AMX, slower on others.
        time: Name of the time column.
        freq: Expected frequency, e.g. 5min.
        null: The number that stands for missing, e.g. 0 in traffic.
        units: Units of the values.
        seed: Of fresh weights and the order of windows.

    Raises:
        EtudeError: For anything wrong with the data or the settings.
    """
    data = read_panel(panel, time=time, edges=edges, freq=freq, null=null, units=units)
    settings = Settings(
        nodes=len(data.nodes),
        model=model,
        layers=layers,
        backbone=backbone,
        attention=attention,
        history=history,
        horizon=horizon,
        slots_per_day=slots_per_day or 0,
        fill=fill,
        mask_feature=mask_feature,
        per_node=per_node,
        freeze_norms=freeze_norms,
        nodes_per_block=nodes_per_block,
        precision=precision,
        seed=seed,
    )
    how = Training(
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        schedule=schedule,
        warmup=warmup,
        patience=patience,
        save_every=save_every,
        samples=samples,
    )
    return train_panel(
        order_nodes(data, order, seed),
        settings,
        how,
        out=out,
        parts=parse_parts(prompt),
        domain=domain,
        events=read_events(events, data) if events else (),
        init_from=init_from,
    )


def order_nodes(panel: SensorPanel, order: Order, seed: int = 0) -> SensorPanel:
    """The panel with its nodes in the order the language model will read them."""
    if order == "file":
        return panel
    if order == "random":
        index = np.random.default_rng(seed).permutation(len(panel.nodes))
    elif panel.graph is None:
        raise EtudeError("--order rcm needs a graph", "give it with --edges")
    else:
        index = cuthill_mckee(panel.graph, len(panel.nodes))
    return panel.select([panel.nodes[i] for i in index])


def train_panel(
    panel: SensorPanel,
    settings: Settings,
    how: Training,
    *,
    out: Path,
    parts: Sequence[str] = (),
    domain: str = "",
    events: Sequence[Event] = (),
    init_from: Path | None = None,
) -> TrainResult:
    """`train` for a panel in memory.

    Args:
        panel: Values, nodes in the order the network sees them.
        settings: Shape and arm; `nodes`, `features`, the table sizes and the prompt length are filled in here
            (`slots_per_day` 0 means one slot a step).
        how: Training.
        out: Model folder.
        parts: Parts of the prompt, none for no prompt.
        domain: What the prompt calls the network.
        events: What happened, for the prompt.
        init_from: Model folder to start from.
    """
    source = read_folder(init_from) if init_from else None
    forecaster = prepare(panel, settings, how, parts=parts, domain=domain, source=source)
    config = {
        "panel": panel_digest(panel),
        "settings": asdict(forecaster.settings),
        "training": asdict(how),
        "prompt": [list(forecaster.parts), forecaster.domain],
        "events": [event.model_dump(mode="json") for event in events],
        "init_from": None
        if init_from is None
        else hashlib.sha256((init_from / "model.safetensors").read_bytes()).hexdigest(),
        "language_model": forecaster.revision,
    }
    with Run(out, config, command="stg-llm train") as run:
        if run.result is not None:
            stored = run.result
            return TrainResult(
                **{**stored, "fresh": tuple(stored["fresh"]), "notices": tuple(stored["notices"])}
            )
        prompts = forecaster.prompts(panel, events)
        if prompts is not None:
            forecaster = replace(
                forecaster, settings=replace(forecaster.settings, prompt_length=prompts.shape[-1])
            )
        windows = forecaster.windows(panel, prompts)
        network = forecaster.network(prompts)
        notices = list(panel.notices) + slot_notices(windows, forecaster)
        fresh: list[str] = []
        if source is not None and init_from is not None:
            same = source.nodes == panel.nodes
            fresh = start_from(network, init_from, same_nodes=same)
            notices += [f"started afresh, not from {init_from}: {', '.join(fresh)}"] if fresh else []
        for notice in notices:
            console().print(f"note: {notice}")
        fitted = fit_windows(network, windows, forecaster, how, out=run.path / "fit")
        counts = asdict(audit(network, forecaster.settings))
        save_folder(run.path, forecaster, network, training={**asdict(how), **fitted}, audit=counts)
        result = TrainResult(
            out=str(out),
            nodes=len(panel.nodes),
            train_windows=len(forecaster.split.train()),
            parameters=counts,
            fresh=tuple(fresh),
            notices=tuple(notices),
            **fitted,
        )
        run.complete(asdict(result))
        return result


def prepare(
    panel: SensorPanel,
    settings: Settings,
    how: Training,
    *,
    parts: Sequence[str] = (),
    domain: str = "",
    source: Forecaster | None = None,
) -> Forecaster:
    """Everything about a forecaster that is fixed before its first step: split, scaler, table sizes."""
    if source is not None:
        settings = replace(source.settings, seed=settings.seed)
        parts, domain = parts or source.parts, domain or source.domain
    if parts and not uses_lm(settings):
        raise EtudeError(
            f"the {settings.backbone} arm has no language model to read a prompt", "leave out --prompt"
        )
    split = split_rows(len(panel.times), settings.history, settings.horizon, samples=how.samples)
    slots = panel.natural_slots(settings.slots_per_day or None)
    if source is not None and not settings.slots_per_day:
        slots = source.settings.slots_per_day
    settings = replace(
        settings,
        nodes=len(panel.nodes),
        features=panel.values.shape[2] + settings.mask_feature,
        slots_per_day=slots,
        weekdays=7 if panel.has_calendar else 1,
    )
    revision = ""
    if uses_lm(settings):
        from etude.models import model_directory, model_revision

        revision = model_revision(model_directory(settings.model))
    return Forecaster(
        settings=settings,
        nodes=panel.nodes,
        step=panel.step,
        scaler=Scaler.fit(panel, split, per_node=settings.per_node),
        split=split,
        parts=tuple(parts),
        domain=domain,
        null=panel.null,
        units=panel.units,
        revision=revision,
    )


def fit_windows(
    network: STGForecaster, windows: Windows, forecaster: Forecaster, how: Training, *, out: Path
) -> dict[str, Any]:
    """Train the network in place; afterwards it has the weights that were best on validation windows."""
    from etude.training import fit

    split = forecaster.split
    train_starts = split.train()
    epoch = -(-len(train_starts) // how.batch_size)
    result = fit(
        network,
        WindowStarts(train_starts),
        WindowStarts(evenly_spaced(split.validation(), how.validation_windows)),
        out=out,
        steps=how.steps,
        epochs=None if how.steps else how.epochs,
        batch_size=how.batch_size,
        learning_rate=how.learning_rate,
        weight_decay=how.weight_decay,
        schedule=how.schedule,
        warmup=how.warmup,
        patience=how.patience,
        save_every=how.save_every or (None if how.steps else epoch),
        seed=forecaster.settings.seed,
        collate=windows.batch,
        label="stg-llm",
    )
    assert result.best_eval_loss is not None and result.best_step is not None
    return {
        "steps": result.steps,
        "best_step": result.best_step,
        "best_validation_loss": result.best_eval_loss,
    }


def slot_notices(windows: Windows, forecaster: Forecaster) -> list[str]:
    """Say which rows of the time tables training never touches: they stay random."""
    issued = forecaster.split.train() + forecaster.settings.history - 1
    notices = []
    for name, index, rows, hint in (
        (
            "time-of-day slots",
            windows.slot,
            forecaster.settings.slots_per_day,
            "; share them with --slots-per-day 24",
        ),
        ("weekdays", windows.weekday, forecaster.settings.weekdays, ""),
    ):
        unseen = rows - len(np.unique(index.numpy()[issued]))
        if unseen:
            notices.append(f"{unseen} of {rows} {name} never occur in training and stay random{hint}")
    times = len(issued) / max(forecaster.settings.slots_per_day, 1)
    if forecaster.settings.slots_per_day > 24 and times < 14:
        notices.append(
            f"each time-of-day slot occurs about {times:.0f} times in training; consider --slots-per-day 24"
        )
    return notices


def panel_digest(panel: SensorPanel) -> str:
    """What a panel holds, as sha256."""
    digest = hashlib.sha256()
    for part in (panel.values, panel.times.astype(np.int64)):
        digest.update(np.ascontiguousarray(part).tobytes())
    digest.update(repr((panel.nodes, panel.step, panel.null)).encode())
    return digest.hexdigest()
