"""Contrastive training with the trainer of sentence-transformers: best checkpoint, exact resume, early stops.

model = train_encoder("smollm2", triples, TrainConfig(kind="static", steps=400), dev=pairs, out="model")
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
from torch import Tensor
from transformers import PrinterCallback

from etude.errors import EtudeError
from etude.methods.semcsr.checkpoints import restore, save_trained
from etude.methods.semcsr.early_stopping import ReportProgress, STSDevelopment, refuse_collapsed
from etude.methods.semcsr.encoders import Kind, PoolingName, TrainableEncoder, open_encoder
from etude.methods.semcsr.frozen_lm import LAYER
from etude.methods.semcsr.masked_info_nce import (
    PHI,
    TAU,
    CachedMaskedInfoNCE,
    MaskedInfoNCE,
    ReferenceTable,
    Variant,
    check_settings,
)
from etude.methods.semcsr.static_encoder import DIMENSION
from etude.methods.semcsr.sts import STSPair, unit_vectors
from etude.methods.semcsr.triples import Triple, has_negatives
from etude.runs import processes
from etude.training.checkpoints import EarlyStopping, MarkComplete, train_or_resume

Objective: TypeAlias = Literal["triples", "positives", "simcse"]
RATES = {"full": 5e-5, "frozen-lm": 3e-4, "static": 2e-3}
"""Peak learning rate of each kind of encoder."""
_PROBED = 256  # training sentences that are looked at for collapse


@dataclass(frozen=True)
class TrainConfig:
    """How an encoder is trained; the defaults are the paper's, but for the rates of CPU-sized encoders.

    Args:
        kind: `static`, `frozen-lm`, `full`, or `auto`; see `open_encoder`.
        objective: `triples`; `positives` leaves hard negatives out; `simcse` pairs each sentence with itself.
        tau: Temperature.
        phi: Reference cosine above which a candidate is no negative; above 1 for no mask.
        loss: `masked`, or the released code's `official` to compare.
        epochs: Passes over the triples, where `steps` is not given.
        steps: Optimizer steps.
        batch_size: Triples per step, over all processes; each sees the others' as negatives.
        learning_rate: Peak rate; by default 5e-5 (`full`), 3e-4 (`frozen-lm`), 2e-3 (`static`).
        eval_every: Steps between evaluations on the development pairs (and checkpoints).
        patience: Stop after this many evaluations without a better one.
        seed: Of data order and dropout.
        layer: Of `frozen-lm`.
        dimension: Of `static` and `frozen-lm`.
        dropout: See `open_encoder`.
        pooling: Of `full`.
        max_length: Tokens after which a text is cut.
        mini_batch_size: GradCache: rows embedded at once, for batches that do not fit; None for the whole
            batch.
    """

    kind: Kind = "auto"
    objective: Objective = "triples"
    tau: float = TAU
    phi: float = PHI
    loss: Variant = "masked"
    epochs: float = 3.0
    steps: int | None = None
    batch_size: int = 128
    learning_rate: float | None = None
    eval_every: int = 25
    patience: int | None = None
    seed: int = 42
    layer: int = LAYER
    dimension: int = DIMENSION
    dropout: float | None = None
    pooling: PoolingName = "cls"
    max_length: int = 32
    mini_batch_size: int | None = None

    def __post_init__(self) -> None:
        check_settings(self.tau, self.phi)
        counts = (
            self.batch_size,
            self.eval_every,
            self.max_length,
            self.steps or 1,
            self.mini_batch_size or 1,
        )
        if min(counts) < 1 or self.batch_size < 2 or self.epochs <= 0 or (self.learning_rate or 1) <= 0:
            raise EtudeError(
                f"batch size {self.batch_size}, eval every {self.eval_every}, epochs {self.epochs}, "
                f"steps {self.steps}, learning rate {self.learning_rate} cannot be",
                "All are positive, and a batch holds two triples or more.",
            )


@dataclass
class Training:
    """How a training went.

    Args:
        model: The trained encoder, of plain sentence-transformers modules.
        rows: Triples or pairs it was trained on.
        steps: Optimizer steps made.
        best_step: The step whose weights it has; None without development pairs.
        best_spearman: Its correlation on the development pairs.
        masked: Share of negatives that the reference masked; None without a mask.
        history: What was logged.
    """

    model: SentenceTransformer
    rows: int
    steps: int
    best_step: int | None
    best_spearman: float | None
    masked: float | None
    history: list[dict[str, Any]] = field(default_factory=list)


def train_encoder(
    encoder: str | TrainableEncoder,
    triples: Sequence[Triple],
    config: TrainConfig,
    *,
    dev: Sequence[STSPair] = (),
    reference: Any = None,
    out: Path | None = None,
) -> SentenceTransformer:
    """Train an encoder; `fit_encoder` also says how it went."""
    return fit_encoder(encoder, triples, config, dev=dev, reference=reference, out=out).model


def fit_encoder(
    encoder: str | TrainableEncoder,
    triples: Sequence[Triple],
    config: TrainConfig,
    *,
    dev: Sequence[STSPair] = (),
    reference: Any = None,
    out: Path | None = None,
) -> Training:
    """Train an encoder. The same call on the same `out` after a kill goes on from its last checkpoint.

    Args:
        encoder: A model's name, or an encoder that is open.
        triples: The training set.
        config: How.
        dev: Pairs by whose correlation the best checkpoint is chosen.
        reference: The frozen reference encoder (anything with `encode`), for the mask.
        out: Folder for checkpoints; a temporary one by default.

    Raises:
        EtudeError: Fewer triples than a batch, a loss that is not finite, or a collapsed encoder.
    """
    columns = training_columns(triples, config.objective)
    rows = len(columns[0])
    if rows < config.batch_size:
        raise EtudeError(
            f"{rows} triples are fewer than one batch of {config.batch_size}",
            "Give more sentences, or a smaller --batch-size.",
        )
    if out is None:
        with tempfile.TemporaryDirectory(prefix="etude-semcsr-") as folder:
            return _fit(encoder, columns, config, dev, reference, Path(folder))
    return _fit(encoder, columns, config, dev, reference, out)


def training_columns(triples: Sequence[Triple], objective: Objective) -> list[list[str]]:
    """Anchors, positives and perhaps hard negatives, as columns of texts.

    Raises:
        EtudeError: Some rows have a hard negative and some have none.
    """
    anchors = [row.sent0 for row in triples]
    if objective == "simcse":
        return [anchors, list(anchors)]
    columns = [anchors, [row.sent1 for row in triples]]
    if objective == "triples" and has_negatives(triples, "the training set"):
        columns.append([row.hard_neg for row in triples])
    return columns


def _fit(
    encoder: str | TrainableEncoder,
    columns: list[list[str]],
    config: TrainConfig,
    dev: Sequence[STSPair],
    reference: Any,
    out: Path,
) -> Training:
    texts = list(dict.fromkeys(text for column in columns for text in column))
    if isinstance(encoder, str):
        encoder = open_configured(encoder, columns[0], config, out)
    torch.manual_seed(config.seed)
    model = encoder.training_model(texts, out)
    table = None
    if reference is not None and config.phi < 1:
        table = reference_table(reference, columns)
    settings: dict[str, Any] = {
        "tau": config.tau,
        "phi": config.phi,
        "reference": table,
        "variant": config.loss,
        "gather_across_devices": processes() > 1,
    }
    loss = (
        MaskedInfoNCE(model, **settings)
        if config.mini_batch_size is None
        else CachedMaskedInfoNCE(model, mini_batch_size=config.mini_batch_size, **settings)
    )
    trainer = _trainer(model, loss, columns, config, dev, out, encoder.kind)
    train_or_resume(trainer, out)
    finished = encoder.finished(trainer.model)
    finished.eval()
    refuse_collapsed(finished.encode(texts[:_PROBED], show_progress_bar=False), trainer.state.global_step)
    best = trainer.state.best_metric if dev else None
    return Training(
        model=finished,
        rows=len(columns[0]),
        steps=trainer.state.global_step,
        best_step=trainer.state.best_global_step if best is not None else None,
        best_spearman=None if best is None else float(best),
        masked=None if table is None else masked_share(table, len(columns[0]), config.phi),
        history=[dict(entry) for entry in trainer.state.log_history],
    )


def open_configured(name: str, anchors: Sequence[str], config: TrainConfig, work: Path) -> TrainableEncoder:
    """The encoder that a configuration trains; see `open_encoder`."""
    names = ("kind", "layer", "dimension", "dropout", "pooling", "max_length")
    return open_encoder(name, anchors, work, **{one: getattr(config, one) for one in names})


def reference_table(reference: Any, columns: Sequence[Sequence[str]]) -> ReferenceTable:
    """The reference's vectors of every row; each distinct text is encoded once."""
    texts = list(dict.fromkeys(text for column in columns for text in column))
    place = {text: i for i, text in enumerate(texts)}
    vectors: NDArray[np.float32] = unit_vectors(reference.encode(texts, batch_size=64)).astype(np.float32)
    return ReferenceTable([vectors[[place[text] for text in column]] for column in columns])


def masked_share(table: ReferenceTable, rows: int, phi: float, most: int = 1024) -> float:
    """Share of all anchor-candidate cells that the mask leaves out, over the first rows."""
    index = torch.arange(min(rows, most))
    masked = table.similarities(index, index) > phi
    masked[index, index] = False
    return float(masked.sum() / (masked.numel() - len(index)))


def _trainer(
    model: SentenceTransformer,
    loss: torch.nn.Module,
    columns: Sequence[Sequence[str]],
    config: TrainConfig,
    dev: Sequence[STSPair],
    out: Path,
    kind: str,
) -> _Trainer:
    from datasets import Dataset

    names = ("anchor", "positive", "negative")
    rows: dict[str, Any] = dict(zip(names, map(list, columns), strict=False))
    rows["label"] = list(range(len(columns[0])))
    together = processes()
    if config.batch_size % together:
        raise EtudeError(
            f"a batch of {config.batch_size} cannot be dealt to {together} processes",
            "Give a --batch-size that the number of processes divides.",
        )
    per_epoch = len(columns[0]) // config.batch_size
    total = config.steps or max(1, math.ceil(per_epoch * config.epochs))
    interval = min(config.eval_every, total)
    on_gpu = torch.cuda.is_available() and kind == "full"
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(out),
        max_steps=total,
        per_device_train_batch_size=config.batch_size // together,
        learning_rate=config.learning_rate or RATES[kind],
        lr_scheduler_type="linear",
        seed=config.seed,
        data_seed=config.seed,
        bf16=on_gpu and torch.cuda.is_bf16_supported(),
        fp16=on_gpu and not torch.cuda.is_bf16_supported(),
        use_cpu=not next(model.parameters()).is_cuda and (kind != "full" or together > 1),
        dataloader_drop_last=True,  # the number of negatives stays the same
        dataloader_pin_memory=on_gpu,
        save_strategy="steps",
        save_steps=interval,
        save_total_limit=2,
        eval_strategy="steps" if dev else "no",
        eval_steps=interval,
        load_best_model_at_end=bool(dev),
        metric_for_best_model="eval_spearman" if dev else None,
        greater_is_better=True,
        logging_steps=interval,
        logging_nan_inf_filter=False,
        report_to="none",
        disable_tqdm=True,
    )
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(rows),
        loss=loss,
        evaluator=STSDevelopment(dev) if dev else None,
        callbacks=[MarkComplete(), ReportProgress()],
    )
    trainer.remove_callback(PrinterCallback)
    if dev and config.patience:
        trainer.add_callback(EarlyStopping(early_stopping_patience=config.patience))
    return trainer


class _Trainer(SentenceTransformerTrainer):  # type: ignore[misc]
    """Checkpoints hold trained tensors alone; the first loss that is not finite ends the training."""

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        loss: Tensor = super().training_step(*args, **kwargs)
        if not torch.isfinite(loss):
            raise EtudeError(
                f"the loss is {loss.item()} at step {self.state.global_step + 1}",
                f"Lower --learning-rate; the last good checkpoint is kept in {self.args.output_dir}.",
            )
        return loss

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Nothing: the card is written once, by `train`."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        save_trained(
            self.accelerator.unwrap_model(self.model), Path(output_dir or self.args.output_dir or ".")
        )

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:
        restore(self.accelerator.unwrap_model(self.model), Path(checkpoint_path))

    def _load_best_model(self) -> None:
        if self.state.best_model_checkpoint:
            restore(self.accelerator.unwrap_model(self.model), Path(self.state.best_model_checkpoint))


def config_json(config: TrainConfig) -> dict[str, Any]:
    """The settings as JSON."""
    return asdict(config)


def clear_checkpoints(out: Path) -> None:
    """Remove what only a resumed training needs."""
    for folder in out.glob("checkpoint-*"):
        shutil.rmtree(folder, ignore_errors=True)
