"""`fit`: train any module that returns `{"loss": ...}`, resumable after a kill with the same result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments

from etude.errors import EtudeError
from etude.render import console
from etude.runs import processes
from etude.training.checkpoints import EarlyStopping, MarkComplete, train_or_resume

Schedule = Literal["cosine", "linear", "constant", "onecycle"]

_WEIGHTS = "trained.safetensors"


@dataclass(frozen=True)
class FitResult:
    """How the training went.

    Args:
        steps: Optimizer steps made in all.
        train_loss: Mean of the logged training losses of the last tenth of the run.
        best_eval_loss: Lowest evaluation loss, whose weights the model now has; None without evaluation.
        best_step: The step of that loss.
        history: What was logged: `{"step", "loss", "learning_rate", ...}` and `{"step", "eval_loss"}`.
        resumed_from: The step from which a killed run went on, or None.
        best_score: Highest `score`, whose weights the model now has; None without one.
    """

    steps: int
    train_loss: float
    best_eval_loss: float | None
    best_step: int | None
    history: Sequence[dict[str, float]] = field(default_factory=list)
    resumed_from: int | None = None
    best_score: float | None = None


def fit(
    model: nn.Module,
    train: Dataset[Any],
    evaluation: Dataset[Any] | None = None,
    *,
    out: Path,
    steps: int | None = None,
    epochs: float | None = None,
    batch_size: int = 8,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.0,
    warmup: float = 0.0,
    schedule: Schedule = "cosine",
    clip: float = 1.0,
    accumulate: int = 1,
    seed: int = 0,
    save_every: int | None = None,
    patience: int | None = None,
    collate: Callable[[list[Any]], dict[str, Any]] | None = None,
    optimizer: str | Callable[[nn.Module], torch.optim.Optimizer] = "adamw_torch",
    callbacks: Sequence[TrainerCallback] = (),
    shuffle: bool = True,
    score: Callable[[nn.Module], float] | None = None,
    report_to: str = "none",
    label: str = "training",
) -> FitResult:
    """Train `model` in place; afterwards it has the best weights (with evaluation) or the last ones.

    Only parameters with `requires_grad` are optimized and stored. The same call on the same `out` after a
    kill goes on from the last whole checkpoint and ends with the same weights as an uninterrupted run.
    Under torchrun or `accelerate launch` every process takes its share of each batch, so that the same call
    trains the same model, as far as a batch's loss is the mean of its items' and nothing is drawn at random.
    A batch of one item has no shares: each process takes an item of its own, as `accumulate` does in turn.

    Args:
        model: `model(**batch)` returns a mapping with a scalar `loss`.
        train: Items that `collate` turns into a batch; read by index.
        evaluation: As `train`; evaluated at every save.
        out: Folder for checkpoints.
        steps: Optimizer steps; give this or `epochs`.
        epochs: Passes over `train`.
        batch_size: Items of a batch, over all processes; 1 where an item is a whole batch.
        learning_rate: Peak learning rate.
        weight_decay: AdamW's, on weights that are not norms or biases.
        warmup: Share of the steps over which the rate rises linearly from 0.
        schedule: How the rate falls after the warm-up; `onecycle` rises and falls by itself.
        clip: Largest gradient norm.
        accumulate: Batches per optimizer step.
        seed: Of data order and dropout.
        save_every: Steps between checkpoints (and evaluations); a tenth of the run by default.
        patience: Stop when the evaluation loss has not improved for this many evaluations.
        collate: From items to a batch; the default stacks tensors by key.
        optimizer: Any `optim` name of `TrainingArguments`, or from the model to an optimizer, e.g. with a
            rate of its own for some parameters; `learning_rate` and `weight_decay` are then its business.
        callbacks: More of the Trainer's callbacks, e.g. one that thaws parts after some steps.
        shuffle: Visit `train` in a new random order each epoch; False keeps its own order.
        score: Selects the weights instead of the evaluation loss: from the model, in evaluation mode, to a
            number of which the highest is best; asked at every save.
        report_to: A tracker that transformers knows, e.g. `tensorboard`.
        label: Shown beside the progress.

    Returns:
        Losses, steps and history.

    Raises:
        EtudeError: Neither or both of `steps` and `epochs`, nothing to train, or a loss that is not finite
            (the last good checkpoint is kept).
    """
    if (steps is None) == (epochs is None):
        raise EtudeError("fit needs either steps or epochs", "Give exactly one of them.")
    size = len(train)  # type: ignore[arg-type]
    if size == 0:
        raise EtudeError("there is no training example", "Give more data.")
    if not any(p.requires_grad for p in model.parameters()):
        raise EtudeError("no parameter of the model is trainable", "Unfreeze some.")
    together = processes()
    if batch_size > 1 and batch_size % together:
        raise EtudeError(
            f"a batch of {batch_size} cannot be dealt to {together} processes",
            "Give a batch size that the number of processes divides.",
        )
    share = max(1, batch_size // together)
    per_epoch = max(1, math.ceil(math.ceil(size / (share * together)) / accumulate))
    total = steps if steps is not None else max(1, math.ceil(per_epoch * (epochs or 0)))
    interval = min(total, save_every or max(1, total // 10))
    selects = evaluation is not None or score is not None
    metric = "eval_score" if score is not None else "eval_loss"
    arguments = TrainingArguments(
        output_dir=str(out),
        max_steps=total,
        per_device_train_batch_size=share,
        per_device_eval_batch_size=share,
        gradient_accumulation_steps=accumulate,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup_steps=round(warmup * total),
        lr_scheduler_type="constant_with_warmup" if schedule in ("constant", "onecycle") else schedule,
        max_grad_norm=clip,
        optim=optimizer if isinstance(optimizer, str) else "adamw_torch",
        seed=seed,
        data_seed=seed,
        use_cpu=together > 1 and not torch.cuda.is_available(),  # or each would train alone
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        save_strategy="steps",
        save_steps=interval,
        save_total_limit=2,
        eval_strategy="steps" if selects else "no",
        eval_steps=interval,
        load_best_model_at_end=selects,
        metric_for_best_model=metric if selects else None,
        greater_is_better=score is not None,
        prediction_loss_only=True,
        logging_steps=max(1, total // 50),
        remove_unused_columns=False,
        label_names=[],
        dataloader_drop_last=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        report_to=report_to,
        disable_tqdm=True,
        logging_nan_inf_filter=False,
    )
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=evaluation if score is None else train,
        data_collator=collate,
        optimizers=(None if isinstance(optimizer, str) else optimizer(model), None),
        callbacks=[
            _Progress(label),
            _OwnDraws(seed),
            *callbacks,
            MarkComplete(),
        ],  # whole only with what callbacks store
    )
    trainer.one_cycle = schedule == "onecycle"
    trainer.shuffle, trainer.score = shuffle, score
    trainer.remove_callback(_printer())
    if patience is not None and selects:
        trainer.add_callback(EarlyStopping(early_stopping_patience=patience))
    checkpoint = train_or_resume(trainer, out)
    history = [dict(entry) for entry in trainer.state.log_history]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    best = trainer.state.best_metric
    return FitResult(
        steps=trainer.state.global_step,
        train_loss=float(sum(losses[-5:]) / max(1, len(losses[-5:]))),
        best_eval_loss=None if best is None or score is not None else float(best),
        best_step=trainer.state.best_global_step if best is not None else None,
        history=history,
        resumed_from=int(checkpoint.name.rpartition("-")[2]) if checkpoint else None,
        best_score=None if best is None or score is None else float(best),
    )


class _Trainer(Trainer):
    """The Trainer, with checkpoints of trained tensors alone and a stop at the first non-finite loss."""

    one_cycle = False
    shuffle = True
    score: Callable[[nn.Module], float] | None = None

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        data: Any = self.train_dataset if train_dataset is None else train_dataset
        return super()._get_train_sampler(data) if self.shuffle else SequentialSampler(data)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        if self.score is None:
            found: dict[str, float] = super().evaluate(*args, **kwargs)
            return found
        model = self.accelerator.unwrap_model(self.model).eval()
        with torch.no_grad(), self.compute_loss_context_manager():
            metrics = {"eval_score": float(self.score(model))}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss: Tensor = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise EtudeError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}",
                f"Lower the learning rate; the last good checkpoint is kept in {self.args.output_dir}.",
            )
        return loss

    def prediction_step(
        self, model: nn.Module, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: Any = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        with torch.no_grad(), self.compute_loss_context_manager():
            loss = self.compute_loss(model, self._prepare_inputs(inputs))
        assert isinstance(loss, Tensor)
        return loss.detach().mean(), None, None

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.one_cycle and self.lr_scheduler is None:
            cycle: Any = torch.optim.lr_scheduler.OneCycleLR(
                optimizer or self.optimizer,  # type: ignore[arg-type]
                max_lr=self.args.learning_rate,
                total_steps=num_training_steps,
                cycle_momentum=False,
            )
            self.lr_scheduler = cycle
            self._created_lr_scheduler = True
        return super().create_scheduler(num_training_steps, optimizer)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        folder = Path(output_dir or self.args.output_dir or ".")
        folder.mkdir(parents=True, exist_ok=True)
        model = self.accelerator.unwrap_model(self.model)
        save_file(
            {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
            | {f"buffer:{name}": b.detach().cpu().contiguous() for name, b in _saved_buffers(model).items()},
            folder / _WEIGHTS,
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        _restore(self.accelerator.unwrap_model(model or self.model), Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        assert self.state.best_model_checkpoint is not None
        _restore(self.accelerator.unwrap_model(self.model), Path(self.state.best_model_checkpoint))


def _restore(model: nn.Module, checkpoint: Path) -> None:
    tensors = load_file(checkpoint / _WEIGHTS)
    parameters, buffers = dict(model.named_parameters()), _saved_buffers(model)
    with torch.no_grad():
        for name, value in tensors.items():
            target = buffers[name[len("buffer:") :]] if name.startswith("buffer:") else parameters[name]
            target.copy_(value)


def _saved_buffers(model: nn.Module) -> dict[str, Tensor]:
    """Stored buffers of modules that have a trained parameter, e.g. BatchNorm's statistics."""
    kept = model.state_dict(keep_vars=True)
    trained = {n.rpartition(".")[0] for n, p in model.named_parameters() if p.requires_grad}
    return {n: b for n, b in model.named_buffers() if n in kept and n.rpartition(".")[0] in trained}


class _OwnDraws(TrainerCallback):
    """Random numbers of its own for each process: the same dropout on all shares would be one draw."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if args.process_index:  # the first one draws as if it were alone; a resumed one restores its own
            torch.manual_seed(self.seed + args.process_index)


class _Progress(TrainerCallback):
    """A progress bar on stderr when a person is watching."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.bar: Any = None

    def on_train_begin(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if not (console().is_terminal and state.is_world_process_zero):
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, TextColumn("{task.fields[loss]}"), console=console(), transient=True)
        self.task = self.bar.add_task(self.label, total=state.max_steps, completed=state.global_step, loss="")
        self.bar.start()

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar:
            self.bar.update(self.task, completed=state.global_step)

    def on_log(
        self, args: TrainingArguments, state: Any, control: Any, logs: Any = None, **kwargs: Any
    ) -> None:
        if self.bar and logs and "loss" in logs:
            self.bar.update(self.task, loss=f"loss {float(logs['loss']):.4g}")

    def on_train_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar:
            self.bar.stop()


def _printer() -> type[TrainerCallback]:
    from transformers import PrinterCallback

    return PrinterCallback
