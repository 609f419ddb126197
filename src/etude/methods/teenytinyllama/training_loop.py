"""The training itself: from shards and a shape to weights, resumable at any moment with the same result."""

from __future__ import annotations

import contextlib
import errno
import math
import signal
import time
from contextlib import ExitStack, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.teenytinyllama import run_logs
from etude.methods.teenytinyllama.batches import Batches
from etude.methods.teenytinyllama.checkpoints import Progress, load_last_checkpoint, save_checkpoint
from etude.methods.teenytinyllama.configs import ModelConfig, parameters
from etude.methods.teenytinyllama.distributed import Team, join_team
from etude.methods.teenytinyllama.energy import (
    Consumption,
    EnergyMeter,
    EnergySettings,
    as_record,
    emissions_row,
)
from etude.methods.teenytinyllama.heap import kept_pages
from etude.methods.teenytinyllama.llama_folder import write_llama_folder
from etude.methods.teenytinyllama.network import Decoder, document_mask, llama_state, load_llama_state
from etude.methods.teenytinyllama.optimizer import build_adamw, learning_rate_at, set_learning_rate
from etude.methods.teenytinyllama.progress_display import TrainingProgress
from etude.methods.teenytinyllama.rates import gemm_peak, utilization
from etude.methods.teenytinyllama.settings import (
    Schedule,
    TrainSettings,
    can_compile,
    length_warnings,
    plan_schedule,
)
from etude.methods.teenytinyllama.shards import TOKENIZER, TokenShards
from etude.methods.teenytinyllama.stop_signals import stop_signals
from etude.methods.teenytinyllama.trained_model import CHECKPOINTS, MODEL, TrainedModel, result_of, run_config
from etude.methods.teenytinyllama.validation_loss import HeldOut
from etude.render import console
from etude.runs import Run, content_hash, write_json, write_text

_MOST_SKIPPED = 20  # steps in a row


def train(
    config: ModelConfig,
    data: TokenShards,
    settings: TrainSettings,
    out: Path,
    *,
    init: dict[str, Tensor] | None = None,
    energy: EnergySettings | None = None,
    device: str | None = None,
    quiet: bool = False,
) -> TrainedModel:
    """Train a model; the same call on the same folder after a kill goes on and ends with the same weights.

    On SIGTERM or Ctrl-C the step is finished, a checkpoint saved, and the process exits (0 on SIGTERM).

    Args:
        config: The model's shape.
        data: The training split; the held-out split of the same corpus is used for evaluation if it has one.
        settings: How to train.
        out: The run's folder.
        init: Weights to start from, under transformers' names.
        energy: How energy is measured.
        device: `cpu`, `cuda` ...; the GPU if there is one.
        quiet: Show no progress.

    Raises:
        EtudeError: Data, model and settings do not fit, the loss is not finite, or no space is left.
    """
    if config.vocab_size < data.manifest.vocab_size:
        raise EtudeError(
            f"the corpus has {data.manifest.vocab_size:,} kinds of tokens, the model {config.vocab_size:,}",
            "Leave --vocab-size out, or prepare the corpus with the model's tokenizer.",
        )
    with ExitStack() as stack:
        team = stack.enter_context(join_team(device))
        stack.enter_context(kept_pages())
        if settings.compile and not can_compile(team.device):
            raise EtudeError(
                f"torch.compile has no compiler here for {team.device.type}", "Leave --compile out."
            )
        schedule = plan_schedule(settings, config, len(data), team.world)
        run: Run | None = None
        if team.leads:
            run = stack.enter_context(
                Run(out, run_config(config, data, settings, init), command="teenytinyllama pretrain")
            )
        if team.any(run is not None and run.result is not None):
            return result_of(out)
        training = _Training(config, data, settings, schedule, team, out, init, energy or EnergySettings())
        try:
            with TrainingProgress(
                schedule.steps, training.progress.step, shown=team.leads and not quiet
            ) as display:
                training.run(display)
            result = training.finish()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise EtudeError(
                    f"{out}: no space left", "Free some; the same command goes on from the last checkpoint."
                ) from error
            raise
        finally:
            training.meter.stop()
        if run is not None:
            run.complete(asdict(result))
        team.wait()
        return result


class _Training:
    """One process's view of a run: network, optimizer, data, logs, and how far it is."""

    def __init__(
        self,
        config: ModelConfig,
        data: TokenShards,
        settings: TrainSettings,
        schedule: Schedule,
        team: Team,
        out: Path,
        init: dict[str, Tensor] | None,
        energy: EnergySettings,
    ) -> None:
        self.config, self.data, self.settings, self.schedule = config, data, settings, schedule
        self.team, self.out, self.energy = team, out, energy
        self.batches = Batches(
            data, config.context, schedule.sequences, settings.seed, config.vocab_size, team.rank, team.world
        )
        self.held_out = HeldOut.of(data, config, settings, schedule.micro_batch, team)
        self.peak = self._measure_peak() if team.leads else 1.0  # draws numbers: before the seed is set
        torch.manual_seed(settings.seed)
        self.network = Decoder(config, settings.seed)
        if init is not None:
            load_llama_state(self.network, init)
        self.network.to(team.device)
        self.optimizer = build_adamw(
            self.network, weight_decay=settings.weight_decay, betas=settings.betas, eps=settings.eps
        )
        found = load_last_checkpoint(out / CHECKPOINTS, self.network, self.optimizer)
        self.progress = found or Progress(0, 0, 0, 0, 0, 0.0, 0.0, Consumption())
        self.began, self.before = time.monotonic(), self.progress.seconds
        self.meter = EnergyMeter(
            energy, self.progress.consumption, cuda=team.device.type == "cuda", processes=team.world
        )
        self.notices = length_warnings(schedule, settings, config, len(data)) + self.held_out.notices
        # compiled after the weights are in place; evaluations use the plain network, whose shapes may vary
        self.network.compiled = settings.compile
        fused: Any = torch.compile(self.network) if settings.compile else self.network
        self.parallel = team.parallel(fused)
        self.logs = run_logs.RunLogs(out, self.progress.step) if team.leads else None
        if team.leads:
            self._describe(found is not None)

    def run(self, display: TrainingProgress) -> None:
        """Make the steps that are left."""
        schedule, logged_at, logged_step = self.schedule, time.monotonic(), self.progress.step
        in_a_row = 0
        with stop_signals() as stopped:
            for step in range(self.progress.step, schedule.steps):
                rate = learning_rate_at(
                    step, peak=self.settings.learning_rate, warmup=schedule.warmup, steps=schedule.steps
                )
                logs_now = (step + 1) % schedule.log_every == 0 or step + 1 == schedule.steps
                loss, norm = self._step(step, rate, measure=logs_now)
                in_a_row = 0 if loss is not None else in_a_row + 1
                if in_a_row >= _MOST_SKIPPED:
                    raise EtudeError(
                        f"the loss of {in_a_row} steps in a row is not finite", "Lower --learning-rate."
                    )
                self._advance(step + 1, rate, skipped=loss is None)
                if logs_now and loss is not None:
                    now = time.monotonic()
                    speed = (
                        (step + 1 - logged_step) * self.settings.tokens_per_step / max(now - logged_at, 1e-9)
                    )
                    logged_at, logged_step = now, step + 1
                    self._log(step + 1, loss, rate, norm, speed)
                    display.show(step + 1, loss, speed)
                last = step + 1 == schedule.steps
                if schedule.eval_every and ((step + 1) % schedule.eval_every == 0 or last):
                    self._evaluate(step + 1)
                    logged_at, logged_step = time.monotonic(), step + 1
                stop = self.team.any(bool(stopped))
                if (step + 1) % schedule.checkpoint_every == 0 or last or stop:
                    self._save()
                    logged_at, logged_step = time.monotonic(), step + 1
                if stop and not last:
                    self._leave(stopped)

    def finish(self) -> TrainedModel:
        """Write the model's folder and sum up."""
        progress, folder = self.progress, self.out / MODEL
        rows = run_logs.read_log(self.out / run_logs.METRICS)
        tail = [row["loss"] for row in rows[-max(1, len(rows) // 10) :]]
        speed = median(row["tokens_per_s"] for row in rows) if rows else 0.0
        evaluations = run_logs.read_log(self.out / run_logs.EVALUATIONS)
        result = TrainedModel(
            out=str(self.out),
            model=str(folder),
            parameters=parameters(self.config),
            steps=progress.step,
            tokens=progress.tokens,
            epochs=progress.tokens / len(self.data),
            train_loss=sum(tail) / len(tail) if tail else math.nan,
            evaluation=evaluations[-1] if evaluations else {},
            tokens_per_second=speed,
            mfu=utilization(speed, self.config, self.peak),
            seconds=progress.seconds,
            consumption=as_record(progress.consumption),
            skipped=progress.skipped,
            notices=tuple(self.notices),
        )
        if self.team.leads:
            write_llama_folder(
                folder, self.config, llama_state(self.network), tokenizer=self.data.folder / TOKENIZER
            )
        return result

    def _step(self, step: int, rate: float, *, measure: bool) -> tuple[float | None, float]:
        """One optimizer step; the loss is None when it was not finite and the step left out.

        Returns:
            Loss in nats a token over the whole step, and the gradient's norm (0 unless measured or clipped).
        """
        settings, team = self.settings, self.team
        ids, targets = self.batches(step)
        size = self.schedule.micro_batch
        parts = list(zip(torch.split(ids, size), torch.split(targets, size), strict=True))
        total = torch.zeros((), device=team.device)
        for number, (some_ids, some_targets) in enumerate(parts):
            some_ids, some_targets = self._place(some_ids), self._place(some_targets)
            last = number + 1 == len(parts)
            waits = nullcontext() if last or team.world == 1 else self.parallel.no_sync()  # type: ignore[operator]
            with waits:
                with autocast(settings, team.device):
                    loss = self.parallel(some_ids, some_targets, self._mask(some_ids)) / len(parts)
                loss.backward()
            total += loss.detach()
        mean = float(team.mean(total))
        if not math.isfinite(mean):
            self.optimizer.zero_grad()
            self._not_finite(step, mean)
            return None, 0.0
        norm = 0.0
        if measure or settings.clip is not None:
            grads = [p for p in self.network.parameters() if p.grad is not None]
            limit = math.inf if settings.clip is None else settings.clip
            norm = float(torch.nn.utils.clip_grad_norm_(grads, limit))
        set_learning_rate(self.optimizer, rate)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return mean, norm

    def _mask(self, ids: Tensor) -> Tensor | None:
        return document_mask(ids, self.data.manifest.end_token) if self.settings.document_mask else None

    def _place(self, tensor: Tensor) -> Tensor:
        if self.team.device.type != "cuda":
            return tensor
        return tensor.contiguous().pin_memory().to(self.team.device, non_blocking=True)

    def _advance(self, steps: int, rate: float, *, skipped: bool) -> None:
        epoch, blocks = self.batches.cursor(steps)
        self.progress = replace(
            self.progress,
            step=steps,
            tokens=steps * self.settings.tokens_per_step,
            epoch=epoch,
            blocks=blocks,
            skipped=self.progress.skipped + skipped,
            learning_rate=rate,
            seconds=self.before + time.monotonic() - self.began,
        )

    def _log(self, step: int, loss: float, rate: float, norm: float, speed: float) -> None:
        if self.logs is None:
            return
        used = self.meter.read()
        self.logs.write(
            run_logs.METRICS,
            {
                "step": step,
                "tokens_seen": self.progress.tokens,
                "loss": loss,
                "lr": rate,
                "grad_norm": norm if math.isfinite(norm) else None,
                "tokens_per_s": round(speed, 1),
                "mfu": round(utilization(speed, self.config, self.peak), 4),
                "seconds": round(self.progress.seconds, 3),
                "kwh": used.kwh,
                "kgco2": used.kg,
            },
        )

    def _evaluate(self, step: int) -> None:
        with autocast(self.settings, self.team.device):
            row = self.held_out.evaluate(self.network)
            samples = self.held_out.samples(self.network) if self.team.leads else []
        if self.logs is None or row is None:
            return
        self.logs.write(run_logs.EVALUATIONS, {"step": step, **row})
        for sample in samples:
            self.logs.write(run_logs.SAMPLES, {"step": step, **sample})

    def _save(self) -> None:
        if self.logs is not None:
            used = self.meter.read()
            self.progress = replace(self.progress, consumption=used)
            save_checkpoint(
                self.out / CHECKPOINTS, self.network, self.optimizer, self.progress, keep=self.settings.keep
            )
            name = f"{content_hash(str(self.out.name))[:8]}-{self.progress.step}"
            self.logs.write_emissions(
                emissions_row(used, project="etude teenytinyllama", run_id=name, settings=self.energy)
            )
        self.team.wait()

    def _not_finite(self, step: int, loss: float) -> None:
        """Write down which blocks gave the loss; stop, or leave the step out."""
        path = self.out / f"not_finite_step_{step + 1}.json"
        if self.team.leads:
            blocks = self.batches.block_ids(step)
            record = {"step": step + 1, "loss": str(loss), "block": self.config.context, "block_ids": blocks}
            write_json(path, record)
            console().print(f"step {step + 1}: the loss is {loss}; its blocks are listed in {path}")
        if self.settings.on_nan == "stop":
            raise EtudeError(
                f"the loss is {loss} at step {step + 1}; its blocks are listed in {path}",
                "Lower --learning-rate, or give --on-nan skip; the last checkpoint is kept.",
            )

    def _leave(self, stopped: list[int]) -> None:
        if self.team.leads:
            console().print(f"saved at step {self.progress.step}; the same command goes on from there")
        if signal.SIGINT in stopped:
            raise KeyboardInterrupt
        raise SystemExit(0)

    def _measure_peak(self) -> float:
        dtype = torch.bfloat16 if self.settings.dtype == "bfloat16" else torch.float32
        tokens = self.schedule.micro_batch * self.config.context
        return self.team.world * gemm_peak(self.config, tokens, dtype=dtype, device=self.team.device)

    def _describe(self, resumes: bool) -> None:
        write_text(
            self.out / "config.yaml",
            run_logs.to_yaml(
                {
                    "data": str(self.data.folder.resolve()),
                    "model": {**asdict(self.config), "parameters": parameters(self.config)},
                    "training": run_config(self.config, self.data, self.settings, None)["training"],
                    "schedule": asdict(self.schedule),
                    "device": str(self.team.device),
                    "processes": self.team.world,
                }
            ),
        )
        write_json(self.out / "manifest.json", self.data.manifest.model_dump(mode="json"))
        if resumes:
            console().print(
                f"{self.out}: going on from step {self.progress.step:,} of {self.schedule.steps:,}"
            )
        for notice in self.notices:
            console().print(f"note: {notice}")


def autocast(settings: TrainSettings, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Matrix products in bfloat16 where the settings say so."""
    if settings.dtype == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
