"""The laptop's selector: a set transformer over hand features, no pretrained weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import Dataset

from etude.methods.bioelqa.option_features import FEATURES, batch_features
from etude.methods.bioelqa.questions import Question
from etude.methods.bioelqa.set_transformer import SetTransformer
from etude.runs import read_json, write_json
from etude.training import fit

_FILE = "features.json"
_WEIGHTS = "set_transformer.safetensors"
_BATCH = 512  # questions answered at once


class _Rows(Dataset[Any]):
    def __init__(self, questions: Sequence[Question]) -> None:
        values, there = batch_features(questions)
        self.values, self.there = torch.from_numpy(values), torch.from_numpy(there)
        self.gold = torch.tensor([question.gold for question in questions])

    def __len__(self) -> int:
        return len(self.gold)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"values": self.values[index], "there": self.there[index], "gold": self.gold[index]}


class FeatureSelector:
    """Options as rows of features, compared by attention.

    Args:
        attention: Whether options see each other; without, it is the pointwise reranker.
        epochs: Passes over the training questions.
        batch_size: Questions of a step.
        learning_rate: Peak rate of AdamW.
    """

    name = "features"
    reads_context = False

    def __init__(
        self,
        *,
        attention: bool = True,
        epochs: int = 4,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
    ) -> None:
        self.attention, self.epochs, self.batch_size = attention, epochs, batch_size
        self.learning_rate = learning_rate
        self._network: SetTransformer | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """Architecture and training settings."""
        return {
            "selector": self.name,
            "attention": self.attention,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
        }

    def fit(self, questions: Sequence[Question], *, out: Path, seed: int = 0) -> dict[str, Any]:
        """See `Selector.fit`."""
        rows = _Rows(questions)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = SetTransformer(len(FEATURES), attention=self.attention)
        network.standardize(rows.values, rows.there)
        result = fit(
            network,
            rows,
            out=out,
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=0.01,
            warmup=0.05,
            seed=seed,
            save_every=max(1, math.ceil(len(rows) / self.batch_size)),
            label="selector",
        )
        self._network = network.eval()
        return {"steps": result.steps, "loss": result.train_loss, "resumed_from": result.resumed_from}

    @torch.inference_mode()
    def probabilities(self, questions: Sequence[Question]) -> list[np.ndarray]:
        """See `Selector.probabilities`."""
        assert self._network is not None, "fit or load first"
        device = self._network.mean.device
        found: list[np.ndarray] = []
        for begin in range(0, len(questions), _BATCH):
            part = questions[begin : begin + _BATCH]
            values, there = batch_features(part)
            if not values.shape[1]:
                found += [np.zeros(0, dtype=np.float32) for _ in part]
                continue
            there[:, 0] |= ~there.any(1)  # a question without options has nothing to attend to
            logits = self._network.logits(
                torch.from_numpy(values).to(device), torch.from_numpy(there).to(device)
            )
            shares = logits.softmax(-1).cpu().numpy()
            found += [shares[row, : len(question.options)] for row, question in enumerate(part)]
        return found

    def save(self, folder: Path) -> None:
        """See `Selector.save`."""
        assert self._network is not None, "fit first"
        write_json(folder / _FILE, {**self.identity, "features": list(FEATURES)})
        save_file(
            {name: value.detach().cpu().contiguous() for name, value in self._network.state_dict().items()},
            folder / _WEIGHTS,
        )

    @classmethod
    def load(cls, folder: Path) -> FeatureSelector:
        """Read what `save` wrote."""
        stored = read_json(folder / _FILE)
        made = cls(attention=stored["attention"], epochs=stored["epochs"], batch_size=stored["batch_size"],
                   learning_rate=stored["learning_rate"])  # fmt: skip
        network = SetTransformer(len(stored["features"]), attention=made.attention)
        network.load_state_dict(load_file(folder / _WEIGHTS))
        made._network = network.eval()
        return made
