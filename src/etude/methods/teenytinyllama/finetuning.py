"""`finetune`: a base model becomes a chat model or a classifier, with the paper's settings unless told
otherwise.

Paper: chat 3 epochs, batch 4, rate 1e-5, warm-up 1,000 steps; classification 3 epochs, batch 16, rate 4e-5;
    weight
decay 0.01. The weights kept are those with the lowest loss on validation rows; test rows are scored once, at
the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.teenytinyllama.chat_tuning import (
    Chat,
    ChatTokens,
    answer_loss,
    collate_chats,
    prepare_for_chat,
    read_chats,
)
from etude.methods.teenytinyllama.classification import (
    Labeled,
    LabeledTokens,
    Score,
    baselines,
    collate_labeled,
    label_ids,
    label_names,
    macro_f1,
    predict_labels,
    read_labeled,
)
from etude.methods.teenytinyllama.model_folders import load_model, model_in, save_model
from etude.methods.teenytinyllama.row_splits import split_rows
from etude.models import load_tokenizer, model_directory, model_revision
from etude.render import console, table
from etude.runs import Run, file_hash

Task = Literal["chat", "classification"]


@dataclass(frozen=True)
class Tuning:
    """How to fine-tune.

    Attributes:
        epochs, steps: Passes over the training rows, or optimizer steps instead.
        batch_size, learning_rate, weight_decay: Of AdamW.
        warmup: Steps over which the rate rises, at most a tenth of the run.
        schedule: How it falls.
        context: Tokens of a row at most.
        seed: Of the head, the order of rows and dropout.
    """

    epochs: float
    steps: int | None
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup: int
    schedule: Literal["cosine", "linear"]
    context: int
    seed: int


PAPER: dict[Task, dict[str, Any]] = {
    "chat": {"batch_size": 4, "learning_rate": 1e-5, "warmup": 1000, "schedule": "cosine"},
    "classification": {"batch_size": 16, "learning_rate": 4e-5, "warmup": 0, "schedule": "linear"},
}


@dataclass(frozen=True)
class FinetuneResult:
    """What fine-tuning gave.

    Attributes:
        out: The run's folder; the model lies in its `model`.
        task: chat or classification.
        rows: Rows of each split.
        steps, best_step: Steps made, and the one whose weights were kept.
        validation_loss: Of the kept weights, nats (per answer token, or per row).
        validation_loss_before: The same before the first step (chat).
        scores: Accuracy and macro-F1 of model and baselines (classification).
        labels: Their names in order (classification).
        notices: What a reader should know.
    """

    out: str
    task: Task
    rows: dict[str, int]
    steps: int
    best_step: int | None
    validation_loss: float | None
    validation_loss_before: float | None = None
    scores: tuple[Score, ...] = ()
    labels: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()

    def __rich__(self) -> Any:
        """What was done, and the scores beside the baselines."""
        from rich.console import Group

        facts: list[list[Any]] = [
            ["rows", ", ".join(f"{count:,} {split}" for split, count in self.rows.items())],
            ["steps, best at", f"{self.steps}, {self.best_step}"],
            ["validation loss", self.validation_loss],
        ]
        if self.validation_loss_before is not None:
            facts.append(["validation loss before", self.validation_loss_before])
        facts.append(["model", f"{self.out}/model"])
        parts: list[Any] = [table([f"teenytinyllama finetune, {self.task}", ""], facts)]
        if self.scores:
            lines = [(s.scored, s.by, s.accuracy, s.macro_f1, s.rows) for s in self.scores]
            parts.append(table(("split", "by", "accuracy", "macro-F1", "rows"), lines))
        return Group(*parts, *(f"note: {notice}" for notice in self.notices))


@verb
def finetune(
    model: str,
    *,
    data: Path,
    task: Task = "chat",
    out: Path,
    validation: Path | None = None,
    test: Path | None = None,
    val_fraction: float = 0.1,
    epochs: float = 3,
    steps: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float = 0.01,
    warmup: int | None = None,
    context: int | None = None,
    seed: int = 42,
    force: bool = False,
) -> FinetuneResult:
    """Fine-tune for chat or for classification; the same command after a kill goes on where it was.

    Args:
        model: A run's folder, an exported or other transformers directory, an embedded name, or a hub id.
        data: Training rows, .jsonl/.csv/.parquet or a hub id. Chat: messages, or instruction and output.
            Classification: text (and pair) and label.
        task: chat or classification.
        out: Run folder to write; the model lies in OUT/model.
        validation: Rows on which the weights are selected; a share of the data when not given.
        test: Rows scored once at the end (classification).
        val_fraction: That share.
        epochs: Passes over the training rows (paper: 3).
        steps: Optimizer steps instead of epochs.
        batch_size: Rows a step (paper: 4 for chat, 16 for classification).
        learning_rate: Peak rate (paper: 1e-5 for chat, 4e-5 for classification).
        weight_decay: AdamW's.
        warmup: Steps over which the rate rises (paper: 1,000 for chat), a tenth of the run at most.
        context: Tokens of a row; the model's own by default, at most 2,048.
        seed: Of the split, the head and the order of rows.
        force: Train although validation or test rows are among the training rows.

    Raises:
        EtudeError: Bad rows, roles that do not alternate, one label only, validation or test rows that are
            among the training rows.
    """
    name = model_in(model)
    directory = model_directory(name)
    limit = min(_context(directory), context or 2048)
    paper = PAPER[task]
    how = Tuning(
        epochs=epochs,
        steps=steps,
        batch_size=batch_size or paper["batch_size"],
        learning_rate=paper["learning_rate"] if learning_rate is None else learning_rate,
        weight_decay=weight_decay,
        warmup=paper["warmup"] if warmup is None else warmup,
        schedule=paper["schedule"],
        context=limit,
        seed=seed,
    )
    files = {"data": data, "validation": validation, "test": test}
    config = {
        "model": model_revision(directory),
        "task": task,
        "files": {split: _content(path) for split, path in files.items() if path is not None},
        "val_fraction": val_fraction,
        "tuning": asdict(how),
    }
    with Run(out, config, command="teenytinyllama finetune") as run:
        if run.result is not None:
            return _stored(run.result)
        splits: dict[str, Any]
        if task == "chat":
            splits = split_rows(data, validation, None, read_chats, val_fraction, seed, force=force)
            result = _tune_chat(name, splits, how, run)
        else:
            splits = split_rows(data, validation, test, read_labeled, val_fraction, seed, force=force)
            result = tune_classifier(name, splits, how, run.path, str(data))
        run.complete(asdict(result))
        return result


def _stored(result: dict[str, Any]) -> FinetuneResult:
    scores = tuple(Score(**score) for score in result["scores"])
    return FinetuneResult(
        **{**result, "scores": scores, "labels": tuple(result["labels"]), "notices": tuple(result["notices"])}
    )


def _context(directory: Path) -> int:
    from etude.models.local_lm import context_length_of

    return context_length_of(directory) or 2048


def _content(path: Path) -> str:
    return file_hash(path) if path.is_file() else str(path)


def _fit(model: Any, train: Any, held_out: Any, collate: Any, how: Tuning, out: Path, label: str) -> Any:
    from etude.training import fit

    per_epoch = -(-len(train) // how.batch_size)
    total = how.steps or max(1, round(how.epochs * per_epoch))
    return fit(
        model,
        train,
        held_out,
        out=out,
        steps=total,
        batch_size=how.batch_size,
        learning_rate=how.learning_rate,
        weight_decay=how.weight_decay,
        warmup=min(how.warmup / total, 0.1),
        schedule=how.schedule,
        seed=how.seed,
        collate=collate,
        label=label,
    )


def _tune_chat(name: str, splits: dict[str, list[Chat]], how: Tuning, run: Run) -> FinetuneResult:
    lm = load_model(name)
    prepare_for_chat(lm.model, lm.tokenizer)
    sets = {split: ChatTokens(lm.tokenizer, rows, how.context) for split, rows in splits.items()}
    notices = [
        f"{split}: {count} of {len(splits[split])} conversations {what}"
        for split, tokens in sets.items()
        for count, what in (
            (tokens.shortened, f"were cut to {how.context} tokens"),
            (tokens.dropped, "were left out: their answer begins beyond the context"),
        )
        if count
    ]
    for split, tokens in sets.items():
        if not len(tokens):
            raise EtudeError(
                f"no {split} conversation has an answer within {how.context} tokens",
                "Use a model with a longer context.",
            )
    for notice in notices:
        console().print(f"note: {notice}")
    pad = _pad(lm.tokenizer)
    before = run.step("loss before", lambda: answer_loss(lm.model, sets["validation"], pad))
    fitted = _fit(
        lm.model,
        sets["train"],
        sets["validation"],
        partial(collate_chats, pad),
        how,
        run.path / "fit",
        "chat",
    )
    save_model(run.path / "model", lm.model, lm.tokenizer)
    return FinetuneResult(
        out=str(run.path),
        task="chat",
        rows={split: len(tokens) for split, tokens in sets.items()},
        steps=fitted.steps,
        best_step=fitted.best_step,
        validation_loss=answer_loss(lm.model, sets["validation"], pad),
        validation_loss_before=float(before),
        notices=tuple(notices),
    )


def tune_classifier(
    name: str, splits: dict[str, list[Labeled]], how: Tuning, out: Path, source: str
) -> FinetuneResult:
    """A classification head on the last token of a causal model, everything trained.

    Args:
        name: Model directory or hub id.
        splits: `train`, `validation`, perhaps `test`.
        how: Settings.
        out: Folder for checkpoints and `model`.
        source: Where the rows came from, for messages.
    """
    names = label_names(splits["train"], source)
    ids = {split: label_ids(rows, names, source) for split, rows in splits.items()}
    tokenizer = load_tokenizer(name)
    model = _with_head(name, names, tokenizer, how.seed)
    sets = {split: LabeledTokens(tokenizer, rows, ids[split], how.context) for split, rows in splits.items()}
    notices = tuple(
        f"{split}: {tokens.shortened} of {len(tokens)} rows were cut to {how.context} tokens"
        for split, tokens in sets.items()
        if tokens.shortened
    )
    pad = _pad(tokenizer)
    fitted = _fit(
        model,
        sets["train"],
        sets["validation"],
        partial(collate_labeled, pad),
        how,
        out / "fit",
        "classification",
    )
    scored = {split: (splits[split], ids[split]) for split in splits if split != "train"}
    scores = []
    for split, (_, truth) in scored.items():
        chosen = predict_labels(model, sets[split], pad)
        scores.append(
            Score(split, "model", float(np.mean(chosen == truth)), macro_f1(truth, chosen), len(truth))
        )
    model.eval()
    save_model(out / "model", model, tokenizer)
    return FinetuneResult(
        out=str(out),
        task="classification",
        rows={split: len(rows) for split, rows in splits.items()},
        steps=fitted.steps,
        best_step=fitted.best_step,
        validation_loss=fitted.best_eval_loss,
        scores=_by_split([*scores, *baselines(splits["train"], ids["train"], scored)]),
        labels=tuple(names),
        notices=notices,
    )


def _with_head(name: str, labels: Sequence[str], tokenizer: Any, seed: int) -> Any:
    from transformers import AutoModelForSequenceClassification

    from etude.models.local_lm import default_device
    from etude.models.quiet import quiet_transformers

    torch.manual_seed(seed)  # of the head's first weights
    with quiet_transformers():
        try:
            model = AutoModelForSequenceClassification.from_pretrained(
                model_directory(name),
                dtype=torch.float32,
                use_safetensors=True,
                id2label=dict(enumerate(labels)),
                label2id={label: number for number, label in enumerate(labels)},
                pad_token_id=_pad(tokenizer),
            )
        except (ValueError, OSError, KeyError) as error:
            raise EtudeError(
                f"{name}: cannot carry a classification head ({str(error).splitlines()[0]})"[:400],
                "Give a causal language model, e.g. a Llama.",
            ) from error
    return model.to(default_device())


def _by_split(scores: Sequence[Score]) -> tuple[Score, ...]:
    order = list(dict.fromkeys(score.scored for score in scores))
    return tuple(sorted(scores, key=lambda score: order.index(score.scored)))


def _pad(tokenizer: Any) -> int:
    return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)
