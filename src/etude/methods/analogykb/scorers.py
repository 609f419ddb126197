"""The kinds of scorers behind one face: choices of a question to numbers, the larger the more analogous."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch.utils.data import Dataset

from etude.methods.analogykb.analogy_questions import AnalogyQuestion, Pair, words_of
from etude.methods.analogykb.listwise import FeatureNetwork, RelationEncoder, stacked
from etude.methods.analogykb.similarity_features import Floats, centered, cosine
from etude.methods.analogykb.word_vectors import word_vectors
from etude.runs import read_json, write_json

ScorerKind: TypeAlias = Literal["features", "contrastive", "residual", "encoder", "seq2seq"]
KINDS: tuple[ScorerKind, ...] = ("features", "contrastive", "residual", "encoder", "seq2seq")


@dataclass(frozen=True)
class Recipe:
    """How a scorer is trained.

    Args:
        epochs: Passes over the questions.
        batch_size: Questions a step.
        learning_rate: Peak rate.
        patience: Evaluations without improvement after which training stops.
        validation: Share of the questions held out for that.
        seed: Of weights, order and the held-out share.
    """

    epochs: float
    batch_size: int
    learning_rate: float
    patience: int = 3
    validation: float = 0.1
    seed: int = 0


RECIPES: dict[ScorerKind, tuple[float, int, float]] = {
    "features": (5, 64, 1e-2),
    "contrastive": (5, 64, 1e-3),
    "residual": (5, 64, 1e-3),
    "encoder": (5, 64, 1e-5),
    "seq2seq": (5, 64, 1e-4),
}
"""Epochs, batch size and learning rate of each kind; the paper's are not known."""


class Scorer(Protocol):
    """Scores the choices of questions."""

    def choice_scores(
        self, stems: Sequence[Pair], choices: Sequence[Sequence[Pair]]
    ) -> list[NDArray[np.float64]]:
        """One array of scores for each question, in the order of its choices."""

    def fit(self, questions: Sequence[AnalogyQuestion], recipe: Recipe, out: Path) -> dict[str, Any]:
        """Train; checkpoints lie in `out`. Returns steps and losses."""

    def save(self, folder: Path) -> None:
        """Write the weights into an existing folder."""


class Questions(Dataset[dict[str, Any]]):
    """Rows of tensors as a data set."""

    def __init__(self, **columns: torch.Tensor) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: column[index] for name, column in self.columns.items()}


def held_out(count: int, recipe: Recipe) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of training and of validation questions; no validation with fewer than 20 questions."""
    order = np.random.default_rng(recipe.seed).permutation(count)
    size = round(count * recipe.validation) if count >= 20 else 0
    return order[size:], order[:size]


class CosineScorer:
    """No training: the cosine of difference vectors, centered on the words that are asked about.

    Args:
        encoder: An encoder's name.
    """

    def __init__(self, encoder: str = "minilm") -> None:
        self.encoder = encoder

    def choice_scores(
        self, stems: Sequence[Pair], choices: Sequence[Sequence[Pair]]
    ) -> list[NDArray[np.float64]]:
        """Cosines of B - A and D - C."""
        words = list(dict.fromkeys(w for pair in [*stems, *(p for g in choices for p in g)] for w in pair))
        raw = word_vectors(words, self.encoder)
        vectors = dict(zip(words, centered(raw, raw.mean(0)), strict=True))
        found = []
        for (a, b), given in zip(stems, choices, strict=True):
            differences = np.stack([vectors[d] - vectors[c] for c, d in given])
            found.append(cosine(np.asarray(vectors[b] - vectors[a])[None], differences).astype(np.float64))
        return found


class FrozenScorer:
    """A small network over frozen word vectors, centered on the mean of the training words.

    Args:
        encoder: An encoder's name.
        kind: features, contrastive or residual.
    """

    def __init__(self, encoder: str, kind: ScorerKind) -> None:
        self.encoder, self.kind = encoder, kind
        self.mean: Floats | None = None
        self.network: FeatureNetwork | RelationEncoder | None = None

    def fit(self, questions: Sequence[AnalogyQuestion], recipe: Recipe, out: Path) -> dict[str, Any]:
        """Train on questions; see `Scorer`."""
        from etude.training import fit

        words = words_of(list(questions))
        raw = word_vectors(words, self.encoder)
        self.mean = raw.mean(0)
        torch.manual_seed(recipe.seed)
        self.network = self._new(raw.shape[1])
        inputs, mask = self._inputs(
            [q.stem for q in questions], [q.choice for q in questions], dict(zip(words, raw, strict=True))
        )
        answer = torch.tensor([q.answer for q in questions])
        train, validation = held_out(len(questions), recipe)
        if isinstance(self.network, FeatureNetwork):
            self.network.standardize(inputs[train], mask[train])

        def rows(places: NDArray[np.int64]) -> Questions:
            return Questions(inputs=inputs[places], mask=mask[places], answer=answer[places])

        result = fit(
            self.network, rows(train), rows(validation) if len(validation) else None, out=out,
            epochs=recipe.epochs, batch_size=recipe.batch_size, learning_rate=recipe.learning_rate,
            seed=recipe.seed, patience=recipe.patience, label=f"analogykb {self.kind}",
        )  # fmt: skip
        self.network.eval()
        return {
            "steps": result.steps,
            "train_loss": result.train_loss,
            "validation_loss": result.best_eval_loss,
        }

    def choice_scores(
        self, stems: Sequence[Pair], choices: Sequence[Sequence[Pair]]
    ) -> list[NDArray[np.float64]]:
        """Scores of the network."""
        assert self.network is not None
        words = list(dict.fromkeys(w for pair in [*stems, *(p for g in choices for p in g)] for w in pair))
        raw = dict(zip(words, word_vectors(words, self.encoder), strict=True))
        inputs, _ = self._inputs(stems, choices, raw)
        with torch.inference_mode():
            scores = self.network.cpu().scores(inputs).double().numpy()
        return [row[: len(given)] for row, given in zip(scores, choices, strict=True)]

    def save(self, folder: Path) -> None:
        """Weights and the mean vector as safetensors."""
        assert self.network is not None and self.mean is not None
        state = {name: value.contiguous() for name, value in self.network.cpu().state_dict().items()}
        save_file(state | {"mean": torch.from_numpy(self.mean.copy())}, folder / "network.safetensors")

    def load(self, folder: Path) -> FrozenScorer:
        """Read what `save` wrote."""
        state = load_file(folder / "network.safetensors")
        self.mean = state.pop("mean").numpy()
        self.network = self._new(len(self.mean))
        self.network.load_state_dict(state)
        self.network.eval()
        return self

    def _new(self, dimension: int) -> FeatureNetwork | RelationEncoder:
        if self.kind == "features":
            return FeatureNetwork()
        return RelationEncoder(dimension, residual=self.kind == "residual")

    def _inputs(
        self, stems: Sequence[Pair], choices: Sequence[Sequence[Pair]], raw: dict[str, Floats]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.mean is not None
        vectors = dict(zip(raw, centered(np.stack(list(raw.values())), self.mean), strict=True))
        return stacked(vectors, stems, choices, features=self.kind == "features")


SETTINGS = "analogykb.json"


def new_scorer(kind: ScorerKind, encoder: str) -> Scorer:
    """An untrained scorer of a kind."""
    if kind == "encoder":
        from etude.methods.analogykb.choice_encoder import ChoiceEncoder

        return ChoiceEncoder(encoder)
    if kind == "seq2seq":
        from etude.methods.analogykb.text_to_text import TextToText

        return TextToText(encoder)
    return FrozenScorer(encoder, kind)


def save_scorer(scorer: Scorer, kind: ScorerKind, encoder: str, folder: Path) -> None:
    """Write a trained scorer as a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    scorer.save(folder)
    write_json(folder / SETTINGS, {"scorer": kind, "encoder": encoder})


def load_scorer(folder: Path) -> tuple[Scorer, ScorerKind, str]:
    """Read a trained scorer: itself, its kind and its encoder's name."""
    found = read_json(folder / SETTINGS)
    kind, encoder = found["scorer"], str(found["encoder"])
    if kind in ("encoder", "seq2seq"):
        return new_scorer(kind, str(folder)), kind, encoder
    return FrozenScorer(encoder, kind).load(folder), kind, encoder
