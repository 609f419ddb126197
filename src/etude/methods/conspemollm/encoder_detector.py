"""The encoder family: a sentence encoder, tuned or not, and a logistic head over its vectors.

Route R1 trains the encoder on EmoBank's ratings first (stage A), route R2 puts affect values beside the text
vector. However the encoder was tuned, it is frozen in the end and a logistic head is fitted on its vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from etude.methods.conspemollm.adapters import load_trained, make_trainable, save_trained
from etude.methods.conspemollm.causal_detector import StageReport
from etude.methods.conspemollm.emobank import EmoBank
from etude.methods.conspemollm.examples import Example
from etude.methods.conspemollm.linear_head import LinearHead, fit_head
from etude.methods.conspemollm.settings import Settings, StageSettings, Tuning
from etude.methods.conspemollm.tasks import task_named
from etude.methods.conspemollm.vectors import give_pad_token, text_vectors
from etude.models import Encoder, load_encoder
from etude.models.encoder import pool
from etude.runs import Run, atomic_path, content_hash, file_hash

ENCODER, HEADS = "encoder", "heads.safetensors"


class TextRegression(nn.Module):
    """An encoder with linear heads, trained end to end.

    Args:
        encoder: Its model is trained in place.
        outputs: Head name to (number of outputs, kind): `ratings` (squared error), `classes` or `labels`.
        seed: Of the heads' first weights.
    """

    def __init__(self, encoder: Encoder, outputs: Mapping[str, tuple[int, str]], seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder, self.kinds = encoder.model, {name: kind for name, (_, kind) in outputs.items()}
        self.pooling = encoder.pooling
        self.heads = nn.ModuleDict(
            {n: nn.Linear(encoder.dimension, size) for n, (size, _) in outputs.items()}
        )
        self.heads.to(next(self.encoder.parameters()).device)

    def forward(
        self, tokens: dict[str, Tensor], targets: dict[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        """Mean loss of a batch.

        Args:
            tokens: The tokenizer's tensors, (texts, tokens).
            targets: Head name to (rows of the batch it has targets for, their targets).
        """
        states = self.encoder(**tokens).last_hidden_state
        vectors = nn.functional.normalize(pool(states, tokens["attention_mask"], self.pooling), dim=-1)
        total = vectors.new_zeros(())
        for name, (rows, values) in targets.items():
            said = self.heads[name](vectors[rows] * vectors.shape[-1] ** 0.5)
            if self.kinds[name] == "classes":
                loss = nn.functional.cross_entropy(said, values, reduction="sum")
            elif self.kinds[name] == "labels":
                loss = (
                    nn.functional.binary_cross_entropy_with_logits(said, values, reduction="none")
                    .mean(1)
                    .sum()
                )
            else:
                loss = nn.functional.mse_loss(said, values, reduction="none").mean(1).sum()
            total = total + loss
        return {"loss": total / len(vectors)}


class _Texts(Dataset[tuple[str, str, Any]]):
    def __init__(self, rows: Sequence[tuple[str, str, Any]]) -> None:
        self.rows = list(rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[str, str, Any]:
        return self.rows[index]


class _Collate:
    def __init__(self, tokenizer: Any, most: int, kinds: Mapping[str, str]) -> None:
        self.tokenizer, self.most, self.kinds = tokenizer, most, kinds

    def __call__(self, items: Sequence[tuple[str, str, Any]]) -> dict[str, Any]:
        tokens = self.tokenizer(
            [text for text, _, _ in items],
            truncation=True,
            max_length=self.most,
            padding=True,
            return_tensors="pt",
        )
        targets = {}
        for name in sorted({head for _, head, _ in items}):
            rows = [row for row, item in enumerate(items) if item[1] == name]
            number = torch.long if self.kinds[name] == "classes" else torch.float32
            values = torch.tensor(np.array([items[row][2] for row in rows]), dtype=number)
            targets[name] = (torch.tensor(rows), values)
        return {"tokens": dict(tokens), "targets": targets}


class EncoderDetector:
    """An encoder and one logistic head for each task.

    Args:
        settings: The detector's settings.
        encoder: The encoder; loaded by its name when not given.
    """

    def __init__(self, settings: Settings, encoder: Encoder | None = None) -> None:
        self.settings = settings
        self.encoder = encoder or load_encoder(settings.model)
        give_pad_token(self.encoder.tokenizer)
        self.heads: dict[str, LinearHead] = {}
        self.tuned = False

    @property
    def most(self) -> int:
        """Tokens of a text."""
        return min(self.settings.max_length or self.encoder.max_length, self.encoder.max_length)

    def tune_on_affect(self, sentences: EmoBank, how: StageSettings, run: Run) -> StageReport:
        """Stage A: regress valence, arousal and dominance (standardized), the last two layers trained."""
        ratings = (sentences.ratings - sentences.ratings.mean(0)) / sentences.ratings.std(0).clip(1e-6)
        rows = [(text, "ratings", row) for text, row in zip(sentences.texts, ratings, strict=True)]
        tuning: Tuning = "last2" if self.settings.tuning == "head" else self.settings.tuning
        return self._tune("stage A", rows, {"ratings": (3, "ratings")}, how, run, tuning)

    def tune_on_examples(self, examples: Sequence[Example], how: StageSettings, run: Run) -> StageReport:
        """Stage B, where more than the head is tuned: classify with a linear head for each task."""
        rows: list[tuple[str, str, Any]] = []
        outputs: dict[str, tuple[int, str]] = {}
        for example in examples:
            task = example.conspiracy_task
            outputs[task.name] = (len(task.classes), "labels" if task.multi_label else "classes")
            many = [float(at in example.labels) for at in range(len(task.classes))]
            rows.append((example.input, task.name, many if task.multi_label else example.labels[0]))
        return self._tune("stage B", rows, outputs, how, run, self.settings.tuning)

    def _tune(
        self,
        name: str,
        rows: Sequence[tuple[str, str, Any]],
        outputs: Mapping[str, tuple[int, str]],
        how: StageSettings,
        run: Run,
        tuning: Tuning,
    ) -> StageReport:
        from etude.training import fit

        make_trainable(self.encoder.model, tuning, self.settings.seed)
        network = TextRegression(self.encoder, outputs, self.settings.seed)
        folder = run.path / name.replace(" ", "-")
        weights = folder / "trained.safetensors"
        if run.finished(name):
            load_trained(network, weights)
            report = StageReport(**run.record(name))
        else:
            fitted = fit(
                network,
                _Texts(rows),
                out=folder / "fit",
                steps=how.steps,
                epochs=None if how.steps else how.epochs,
                batch_size=how.batch_size,
                accumulate=how.accumulate,
                learning_rate=how.learning_rate,
                weight_decay=how.weight_decay,
                warmup=how.warmup,
                seed=self.settings.seed,
                collate=_Collate(self.encoder.tokenizer, self.most, network.kinds),
                label=name,
            )
            save_trained(network, weights)
            report = StageReport.of(fitted, len(rows), 0)
            run.finish(name, vars(report))
        network_: Any = self.encoder.model
        network_.eval()
        self.tuned = True
        if tuning == "lora":  # adapters go into the weights: from here on it is an ordinary encoder
            self.encoder = replace(self.encoder, model=_merged(self.encoder.model))
        digest = content_hash([self.encoder.revision, name, file_hash(weights)])
        self.encoder = replace(self.encoder, revision=digest[:16])
        return report

    def features(self, texts: Sequence[str], affect: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Text vectors and, with route R2, affect values beside them, (texts, features)."""
        vectors = text_vectors(
            self.encoder, texts, self.settings.long, keep=not self.tuned, tokens=self.settings.max_length
        ).astype(np.float64)
        return vectors if affect is None else np.hstack([vectors, affect])

    def fit_heads(self, examples: Sequence[Example], affect: NDArray[np.float64] | None) -> None:
        """Fit the head of every task that the examples hold; `affect` has a row for each example."""
        features = self.features([example.input for example in examples], affect)
        for name in dict.fromkeys(example.task for example in examples):
            rows = [row for row, example in enumerate(examples) if example.task == name]
            task = task_named(name)
            self.heads[name] = fit_head(
                features[rows],
                [examples[row].labels for row in rows],
                len(task.classes),
                multi_label=task.multi_label,
            )

    def save(self, folder: Path) -> str:
        """Write the heads and, if it was tuned, the encoder; a digest of both."""
        tensors = {
            key: value for name, head in self.heads.items() for key, value in head.tensors(name).items()
        }
        with atomic_path(folder / HEADS) as temporary:
            save_file(tensors, temporary)
        if self.tuned:
            self.encoder.model.save_pretrained(folder / ENCODER)
            self.encoder.tokenizer.save_pretrained(folder / ENCODER)
        return content_hash([self.encoder.revision, {k: v.tolist() for k, v in tensors.items()}])[:16]

    @classmethod
    def load(cls, settings: Settings, folder: Path, tasks: Sequence[str]) -> EncoderDetector:
        """Read what `save` wrote."""
        tuned = (folder / ENCODER).is_dir()
        plain = load_encoder(str(folder / ENCODER)) if tuned else load_encoder(settings.model)
        if tuned:  # pooling and length are the original encoder's
            base = load_encoder(settings.model)
            plain = replace(plain, pooling=base.pooling, max_length=base.max_length)
        made = cls(settings, plain)
        made.tuned = tuned
        tensors = load_file(folder / HEADS)
        for name in tasks:
            made.heads[name] = LinearHead.of_tensors(name, tensors, task_named(name).multi_label)
        return made


def _merged(model: Any) -> Any:
    """A model whose injected adapters were added to its weights."""
    from peft.tuners.lora import LoraLayer

    for name, part in list(model.named_modules()):
        if isinstance(part, LoraLayer):
            part.merge()
            parent = model.get_submodule(name.rpartition(".")[0])
            setattr(parent, name.rpartition(".")[2], part.get_base_layer())
    return model
