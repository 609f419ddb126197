"""The causal family: a chat language model tuned on answers, which classifies by scoring labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.conspemollm.adapters import load_trained, make_trainable, save_trained
from etude.methods.conspemollm.affect_tasks import Instruction
from etude.methods.conspemollm.label_scoring import (
    encoded_answers,
    label_probabilities,
    listed_probabilities,
)
from etude.methods.conspemollm.long_texts import chunks
from etude.methods.conspemollm.packing import AnswerLoss, PackedRows, collate_packs, row_losses
from etude.methods.conspemollm.prompts import Encoded, encode_prompt, encode_row, frame
from etude.methods.conspemollm.settings import Settings, StageSettings
from etude.methods.conspemollm.tasks import ConspTask
from etude.methods.conspemollm.wordings import wordings
from etude.models import CausalLM, load_causal_lm, model_revision
from etude.render import console
from etude.runs import Run

if TYPE_CHECKING:
    from etude.training import FitResult

ADAPTER, WHOLE = "adapter", "model"


@dataclass(frozen=True)
class StageReport:
    """How a stage of tuning went.

    Args:
        rows: Training rows.
        cut: Rows whose text was shortened.
        steps: Optimizer steps.
        first_loss: Mean answer loss of the first logged steps, nats per token.
        last_loss: Of the last ones.
        best_eval_loss: On validation rows, if there were some.
    """

    rows: int
    cut: int
    steps: int
    first_loss: float
    last_loss: float
    best_eval_loss: float | None = None

    @classmethod
    def of(cls, fitted: FitResult, rows: int, cut: int) -> StageReport:
        """A finished fit in words; the first and the last losses never overlap."""
        losses = [entry["loss"] for entry in fitted.history if "loss" in entry]
        some = max(1, min(3, len(losses) // 2))
        first, last = float(np.mean(losses[:some])), float(np.mean(losses[-some:]))
        return cls(rows, cut, fitted.steps, first, last, fitted.best_eval_loss)


class CausalDetector:
    """A language model and how it is asked.

    Args:
        settings: The detector's settings.
        lm: The model; loaded by its name when not given.
    """

    def __init__(self, settings: Settings, lm: CausalLM | None = None) -> None:
        self.settings = settings
        self.lm = lm or load_causal_lm(settings.model, dtype=settings.dtype)
        self.wrapped: Any = None  # the PEFT model around lm.model, when there are adapters

    @property
    def network(self) -> Any:
        """The transformers model itself, with its adapters inside."""
        return self.lm.model

    @property
    def most(self) -> int | None:
        """Tokens of prompt and answer together: never more than the model's positions."""
        given, own = self.settings.max_length, self.lm.context_length
        return min(given or own or 0, own or given or 0) or None

    def encode(self, rows: Sequence[Instruction]) -> list[Encoded]:
        """Training rows; see `encode_row`."""
        return [encode_row(self.lm.tokenizer, row, self.most) for row in rows]

    def tune(
        self,
        name: str,
        rows: Sequence[Instruction],
        held_out: Sequence[Instruction],
        how: StageSettings,
        run: Run,
    ) -> StageReport:
        """One stage of tuning, resumable; afterwards the model has the best (or last) weights.

        Args:
            name: `stage A` or `stage B`: a step of the run.
            rows: What is trained on.
            held_out: Validation rows; without any the last weights are kept.
            how: Steps and rates.
            run: Holds checkpoints and the finished stage's weights.

        Raises:
            EtudeError: No row, or the loss is not finite.
        """
        from etude.training import fit

        if self.wrapped is None:
            self.wrapped = make_trainable(self.lm.model, self.settings.tuning, self.settings.seed)
        folder = run.path / name.replace(" ", "-")
        weights = folder / "trained.safetensors"
        if run.finished(name):
            load_trained(self.lm.model, weights)
            return StageReport(**run.record(name))
        encoded = self.encode(rows)
        if self.settings.checkpointing:
            self.network.gradient_checkpointing_enable()
            self.network.enable_input_require_grads()
        fitted = fit(
            AnswerLoss(self.lm.model),
            PackedRows(encoded, how.pack_tokens, self.settings.seed),
            PackedRows(self.encode(held_out), how.pack_tokens, 0) if held_out else None,
            out=folder / "fit",
            steps=how.steps,
            epochs=None if how.steps else how.epochs,
            batch_size=how.batch_size,
            accumulate=how.accumulate,
            learning_rate=how.learning_rate,
            weight_decay=how.weight_decay,
            warmup=how.warmup,
            seed=self.settings.seed,
            collate=collate_packs,
            label=name,
        )
        self.network.eval()
        save_trained(self.lm.model, weights)
        report = StageReport.of(fitted, len(encoded), sum(row.cut for row in encoded))
        run.finish(name, vars(report))
        if report.cut:
            console().print(
                f"note: {name}: {report.cut} of {report.rows} texts were cut to fit {self.most} tokens"
            )
        return report

    def losses(self, rows: Sequence[Instruction]) -> list[float]:
        """Mean loss over each row's answer, nats per token."""
        return row_losses(self.lm.model, self.encode(rows))

    def probabilities(
        self,
        task: ConspTask,
        statement: str,
        texts: Sequence[str],
        affect: Sequence[str] = (),
        shots: Sequence[tuple[str, str]] = (),
    ) -> tuple[list[tuple[int, ...]], NDArray[np.float64]]:
        """The classes of texts and the probability of each, by scoring labels.

        Args:
            task: The task.
            statement: Its statement.
            texts: The texts.
            affect: The prompt's line of affect values for each text, or nothing.
            shots: Solved examples shown before the text.

        Returns:
            Class numbers of each text, and (texts, classes).
        """
        pieces = self._pieces(task, statement, texts, affect, shots)
        flat = [one for parts in pieces for one in parts]
        frame_words = wordings()["frame"]
        answers = encoded_answers(self.lm, task.classes)
        room = sum(map(len, answers)) if task.multi_label else max(map(len, answers))
        room += 2 * len(answers) if task.multi_label else 0
        prompts = [encode_prompt(self.lm.tokenizer, one, self.most, room, shots)[0] for one in flat]
        self.network.eval()
        if task.multi_label:
            _, each = listed_probabilities(
                self.lm, prompts, task.classes, str(frame_words["separator"]), str(frame_words["none"])
            )
        else:
            each = label_probabilities(self.lm, prompts, answers)
        pooled, start = np.zeros((len(texts), len(task.classes))), 0
        for row, parts in enumerate(pieces):
            mine = each[start : start + len(parts)]
            start += len(parts)
            pooled[row] = mine.max(0) if self.settings.long == "max" else mine.mean(0)
        if not task.multi_label:
            pooled /= pooled.sum(1, keepdims=True)
            return [(int(row.argmax()),) for row in pooled], pooled
        return [tuple(int(at) for at in np.flatnonzero(row > 0.5)) for row in pooled], pooled

    def save(self, folder: Path) -> str:
        """Write the adapters (PEFT's format) or the whole model, with the tokenizer; its revision."""
        if self.settings.tuning == "lora" and self.wrapped is not None:
            self.wrapped.save_pretrained(folder / ADAPTER)
            self.lm.tokenizer.save_pretrained(folder / ADAPTER)
            return model_revision(folder / ADAPTER)
        self.lm.model.save_pretrained(folder / WHOLE)
        self.lm.tokenizer.save_pretrained(folder / WHOLE)
        return model_revision(folder / WHOLE)

    @classmethod
    def load(cls, settings: Settings, folder: Path) -> CausalDetector:
        """Read what `save` wrote.

        Raises:
            EtudeError: Neither adapters nor a model are there.
        """
        if (folder / WHOLE).is_dir():
            whole = load_causal_lm(str(folder / WHOLE), dtype=settings.dtype)
            return cls(settings, replace(whole, name=settings.model))
        if not (folder / ADAPTER).is_dir():
            raise EtudeError(f"{folder}: holds neither {ADAPTER} nor {WHOLE}", "Train again.")
        from peft import PeftModel

        lm = load_causal_lm(settings.model, dtype=settings.dtype)
        adapted = PeftModel.from_pretrained(lm.model, str(folder / ADAPTER))
        adapted.eval()
        inner: Any = adapted.get_base_model()
        return cls(settings, replace(lm, model=inner))

    def _pieces(
        self,
        task: ConspTask,
        statement: str,
        texts: Sequence[str],
        affect: Sequence[str],
        shots: Sequence[tuple[str, str]],
    ) -> list[list[Instruction]]:
        lines = list(affect) or [""] * len(texts)
        if self.settings.long == "cut" or self.most is None:
            return [[Instruction(statement, text, "", line)] for text, line in zip(texts, lines, strict=True)]
        around = max(len(self.lm.tokenizer.encode(frame(statement, "", line, shots))) for line in lines)
        room = self.most - around - 4 * len(task.classes) - 16
        return [
            [Instruction(statement, part, "", line) for part in chunks(self.lm.tokenizer, text, max(1, room))]
            for text, line in zip(texts, lines, strict=True)
        ]
