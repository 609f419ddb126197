"""`report`: one self-contained page of a run: curves, energy, speed, samples, and where the text came
from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.teenytinyllama.reference_curves import Curve, Emissions, read_record, read_reference
from etude.methods.teenytinyllama.run_logs import EMISSIONS, EVALUATIONS, METRICS, SAMPLES, read_log
from etude.methods.teenytinyllama.shards import MANIFEST, read_manifest
from etude.render import (
    Block,
    Code,
    Figure,
    Section,
    TableBlock,
    Text,
    new_figure,
    save_page,
    show,
)
from etude.runs import read_json

SHOWN = 2000  # points of a curve at most


@dataclass(frozen=True)
class ReportResult:
    """The page and the figures at its top.

    Attributes:
        page: Path of the HTML file.
        facts: What the run is and where it stands.
    """

    page: str
    facts: dict[str, Any]

    def __rich__(self) -> Any:
        """The facts, and where the page is."""
        from rich.console import Group

        return Group(
            show(TableBlock(("teenytinyllama report", ""), list(self.facts.items()))),
            show(Text(f"The page: {self.page}")),
        )


@dataclass(frozen=True)
class RunLog:
    """Everything that a run has written.

    Attributes:
        folder: Its folder.
        record: run.json.
        metrics, evaluations, samples: Rows of the logs.
        emissions: Sums of emissions.csv, or None.
    """

    folder: Path
    record: dict[str, Any]
    metrics: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    emissions: Emissions | None


@verb
def report(run: Path, *, reference: tuple[Path, ...] = (), out: Path | None = None) -> ReportResult:
    """Write one self-contained HTML page of a run, finished or not.

    Args:
        run: Folder of `pretrain`.
        reference: Tables to compare with: steps and losses as the authors published them, or emissions.csv.
        out: The page; RUN/report.html when left out.

    Raises:
        EtudeError: The folder is no run, or a table cannot be read.
    """
    log = read_run(run)
    references = [read_reference(path) for path in reference]
    facts = headline(log)
    page = save_page(
        out or run / "report.html", f"teenytinyllama: {run.name}", sections(log, facts, references)
    )
    return ReportResult(str(page), facts)


def read_run(folder: Path) -> RunLog:
    """Read a run's logs.

    Raises:
        EtudeError: The folder is not one of `pretrain`, or has logged nothing yet.
    """
    if not (folder / "run.json").is_file() or not (folder / METRICS).is_file():
        raise EtudeError(
            f"{folder}: no run of pretrain", f"Give its --out: a folder with run.json and {METRICS}."
        )
    metrics = read_log(folder / METRICS)
    if not metrics:
        raise EtudeError(f"{folder}: has logged nothing yet", "Wait for its first steps.")
    return RunLog(
        folder=folder,
        record=read_json(folder / "run.json"),
        metrics=metrics,
        evaluations=read_log(folder / EVALUATIONS),
        samples=read_log(folder / SAMPLES),
        emissions=read_record(folder / EMISSIONS) if (folder / EMISSIONS).is_file() else None,
    )


def headline(log: RunLog) -> dict[str, Any]:
    """What the run is and where it stands."""
    last = log.metrics[-1]
    seconds = [row["seconds"] for row in log.metrics]
    facts: dict[str, Any] = {
        "status": log.record["status"],
        "step": last["step"],
        "tokens seen": last["tokens_seen"],
        "training loss (nats a token)": last["loss"],
    }
    if log.evaluations:
        final, best = log.evaluations[-1], min(log.evaluations, key=lambda row: float(row["loss"]))
        facts |= {
            "held-out bits per byte": final["bits_per_byte"],
            "held-out perplexity, e^loss": math.exp(final["loss"]),
            "best held-out loss at step": best["step"],
        }
    facts |= {
        "tokens a second, overall": round(last["tokens_seen"] / max(seconds[-1], 1e-9)),
        "share of the matrix rate (MFU), median": sorted(row["mfu"] for row in log.metrics)[
            len(log.metrics) // 2
        ],
        "hours": seconds[-1] / 3600,
        "energy (kWh)": last["kwh"],
        "emissions (kg CO2eq)": last["kgco2"],
    }
    result = log.folder / "result.json"
    if result.is_file():
        stored = read_json(result)
        facts |= {"parameters": stored["parameters"], "epochs": stored["epochs"]}
        facts["energy found by"] = stored["consumption"]["method"]
    return facts


def sections(log: RunLog, facts: dict[str, Any], references: Sequence[Curve | Emissions]) -> list[Section]:
    """The parts of the page."""
    curves = [item for item in references if isinstance(item, Curve)]
    records = [item for item in references if isinstance(item, Emissions)]
    parts = [
        Section("The run", [TableBlock(("", ""), list(facts.items())), *_notices(log)]),
        Section("Loss", [_loss_figure(log), *_evaluation_table(log)]),
        Section("Energy", _energy_blocks(log, curves, records)),
        Section("Speed", [_speed_figure(log)]),
    ]
    if curves:
        parts.append(Section("Beside the published curves", _reference_blocks(log, curves)))
    if log.samples:
        parts.append(Section("What it writes", _sample_blocks(log)))
    parts.append(Section("Where the text came from", _manifest_blocks(log)))
    parts.append(Section("How it was made", _config_blocks(log)))
    return parts


def thinned(rows: Sequence[dict[str, Any]], most: int = SHOWN) -> list[dict[str, Any]]:
    """At most so many evenly spaced rows, the last one among them."""
    step = max(1, -(-len(rows) // most))
    return list(rows[::-1][::step][::-1])


def _notices(log: RunLog) -> list[Block]:
    found = []
    if log.emissions is not None and log.emissions.gpu_power_missing:
        found.append("The GPU's power reads 0 W, so its energy is missing from the figures.")
    result = log.folder / "result.json"
    if result.is_file():
        found += read_json(result)["notices"]
    return [Text(f"Note: {notice}") for notice in found]


def _loss_figure(log: RunLog) -> Figure:
    figure, axes = new_figure(7.2, 3.4, ncols=2)
    rows = thinned(log.metrics)
    axes[0].plot([r["step"] for r in rows], [r["loss"] for r in rows], label="training", linewidth=1)
    if log.evaluations:
        steps = [r["step"] for r in log.evaluations]
        axes[0].plot(steps, [r["loss"] for r in log.evaluations], marker="o", markersize=3, label="held out")
        axes[1].plot(steps, [r["bits_per_byte"] for r in log.evaluations], marker="o", markersize=3)
    axes[0].set_ylabel("nats a token")
    axes[0].legend()
    axes[1].set_ylabel("held-out bits per byte")
    for one in axes:
        one.set_xlabel("step")
    return Figure(figure, "Loss in nats a token, and held-out bits per byte, over the steps")


def _evaluation_table(log: RunLog) -> list[Block]:
    rows = [
        (r["step"], r["loss"], math.exp(r["loss"]), r["bits_per_byte"]) for r in thinned(log.evaluations, 20)
    ]
    columns = ("step", "loss (nats a token)", "perplexity, e^loss", "bits per byte")
    return [TableBlock(columns, rows, "Evaluations on held-out text")] if rows else []


def _energy_blocks(log: RunLog, curves: Sequence[Curve], records: Sequence[Emissions]) -> list[Block]:
    figure, axes = new_figure()
    kwh = {row["step"]: row["kwh"] for row in log.metrics}
    ours = [(kwh[r["step"]], math.exp(r["loss"])) for r in log.evaluations if r["step"] in kwh]
    if ours:
        axes.plot(*zip(*ours, strict=True), marker="o", markersize=3, label=log.folder.name)
    for curve in curves:
        if {"kwh", "perplexity"} <= set(curve.columns):
            axes.plot(
                curve.columns["kwh"], curve.columns["perplexity"], marker="s", markersize=3, label=curve.name
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.set_xlabel("energy so far (kWh)")
    axes.set_ylabel("held-out perplexity")
    blocks: list[Block] = []
    if axes.lines:
        axes.legend()
        caption = (
            "Perplexities of different tokenizers and texts are not comparable; the shape of a curve is."
        )
        blocks.append(Figure(figure, "Held-out perplexity against the energy used", caption))
    known = [*([log.emissions] if log.emissions is not None else []), *records]
    rows = [
        (e.name, e.hours, e.kwh, e.gpu_kwh, e.kgco2, e.gpu or "no GPU", e.country, e.version or "estimate",
         "GPU reads 0 W" if e.gpu_power_missing else "")
        for e in known
    ]  # fmt: skip
    if rows:
        columns = ("record", "hours", "kWh", "of it GPU", "kg CO2eq", "GPU", "country", "CodeCarbon", "note")
        blocks.append(TableBlock(columns, rows, "Emission records: each the sum of its run"))
    return blocks or [Text("No energy was recorded.")]


def _speed_figure(log: RunLog) -> Figure:
    figure, axes = new_figure()
    rows = thinned(log.metrics)
    axes.plot([row["step"] for row in rows], [row["tokens_per_s"] for row in rows], linewidth=1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("step")
    axes.set_ylabel("tokens a second")
    return Figure(figure, "Tokens a second over the steps")


def _reference_blocks(log: RunLog, curves: Sequence[Curve]) -> list[Block]:
    blocks: list[Block] = []
    with_loss = [curve for curve in curves if "loss" in curve.columns]
    if with_loss:
        figure, axes = new_figure()
        if log.evaluations:
            steps = [row["step"] for row in log.evaluations]
            axes.plot(
                steps,
                [row["loss"] for row in log.evaluations],
                marker="o",
                markersize=3,
                label=log.folder.name,
            )
        for curve in with_loss:
            axes.plot(curve.steps, curve.columns["loss"], marker="s", markersize=3, label=curve.name)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("step")
        axes.set_ylabel("nats a token")
        axes.legend()
        blocks.append(Figure(figure, "Held-out loss of this run and of the published ones, over the steps"))
    for curve in curves:
        names = list(curve.columns)
        rows = [[step, *(curve.columns[name][i] for name in names)] for i, step in enumerate(curve.steps)]
        blocks.append(TableBlock(("step", *names), rows, curve.name))
    return blocks


def _sample_blocks(log: RunLog) -> list[Block]:
    first, last = log.samples[0]["step"], log.samples[-1]["step"]
    blocks: list[Block] = []
    for step in dict.fromkeys((first, last)):
        blocks.append(Text(f"After step {step:,}:"))
        blocks += [Code(f"{row['prompt']} → {row['text']}") for row in log.samples if row["step"] == step]
    return blocks


def _manifest_blocks(log: RunLog) -> list[Block]:
    if not (log.folder / MANIFEST).is_file():
        return [Text("The run has no manifest.")]
    manifest = read_manifest(log.folder)
    sources = [
        (s.file, s.license or "unknown", s.language, s.documents, s.bytes, s.tokens, s.sha256[:12])
        for s in manifest.sources
    ]
    splits = [(name, s.documents, s.words, s.bytes, s.tokens) for name, s in manifest.splits.items()]
    columns = ("file", "licence", "language", "documents", "bytes", "tokens", "SHA-256")
    return [
        TableBlock(columns, sources, "Sources and their licences"),
        TableBlock(("split", "documents", "words", "bytes", "tokens"), splits),
        TableBlock(("removed", "documents"), list(manifest.removed.items()), "What was left out"),
    ]


def _config_blocks(log: RunLog) -> list[Block]:
    config = log.folder / "config.yaml"
    blocks: list[Block] = [Code(config.read_text(encoding="utf-8"))] if config.is_file() else []
    facts = {**log.record.get("host", {}), **log.record.get("versions", {})}
    return [*blocks, TableBlock(("", ""), list(facts.items()), "Where it ran, and with what")]
