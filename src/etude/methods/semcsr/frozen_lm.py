"""`frozen-lm`: the first layers of a language model, never trained, under attention pooling and a linear map.

- The states of layer k (RMS-normalized) of each distinct training text are computed once (`TokenStates`, a
  file that is read in place): a step trains only the pooling, α = softmax(w·h_t), W Σ_t α_t h_t + b.
- Finished, the pooling is written with stock modules: a token-wise `Dense` with a gated linear unit, then a
  mean. For large C, σ(w·h - C) = e^{w·h - C} up to a relative error of e^{w·h - C}, and a cosine does not see
  the softmax's denominator. So the folder loads with sentence-transformers alone.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    InputModule,
    Module,
    Pooling,
    Transformer,
)
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.semcsr.static_encoder import DIMENSION
from etude.models import CausalLM
from etude.models.quiet import quiet_transformers
from etude.runs import leads

LAYER = 6
MAX_LENGTH = 64
_SHIFT = 16.0  # C: the relative error of the gate is e^-16 where w·h is at its largest
_BATCH = 32


def states_file(work: Path) -> Path:
    """Where the states lie while training; each process of a training has its own."""
    return work / f"states{'' if leads() else os.environ['RANK']}.f32"


def truncated_lm(lm: CausalLM, layer: int = LAYER, max_length: int = MAX_LENGTH) -> Transformer:
    """The first `layer` layers as a sentence-transformers module whose token states are RMS-normalized.

    Raises:
        EtudeError: The model has fewer layers, or is not built as a stack of `layers` under a `norm`.
    """
    base: Any = lm.model.base_model
    if not isinstance(getattr(base, "layers", None), nn.ModuleList) or not hasattr(base, "norm"):
        raise EtudeError(
            f"{lm.name}: a {type(base).__name__} is not a stack of layers under a norm",
            "Use --kind full for this model, or a model built like Llama.",
        )
    if not 1 <= layer <= len(base.layers):
        raise EtudeError(f"layer {layer}: {lm.name} has {len(base.layers)}", "Give a smaller --layer.")
    config = type(base.config).from_dict({**base.config.to_dict(), "num_hidden_layers": layer})
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layer]
    cut = type(base)(config)
    kept = {name: value for name, value in base.state_dict().items() if name in cut.state_dict()}
    kept["norm.weight"] = torch.ones_like(kept["norm.weight"])
    cut.load_state_dict(kept)
    tokenizer: Any = lm.tokenizer
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    with tempfile.TemporaryDirectory(prefix="etude-semcsr-") as folder, quiet_transformers():
        cut.float().save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        module = text_transformer(folder, max_length)
    module.requires_grad_(False)
    return module


def text_transformer(folder: str, max_length: int | None) -> Transformer:
    """A transformer that reads a text as it is, also where its tokenizer has a chat template.

    Left to itself sentence-transformers would put every text into a chat message: a system prompt before it,
    and of the text only what is left of `max_length` tokens.
    """
    read = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
    return Transformer(
        folder, max_seq_length=max_length, modality_config=read, module_output_name="token_embeddings"
    )


class TokenStates(InputModule):  # type: ignore[misc]
    """The frozen layers' states of known texts, looked up instead of computed.

    Args:
        layers: The frozen layers.
        texts: The texts of the training set.
        file: Where the states are kept while training, (all tokens, width) as float32.
        dropout: Of single values of the states, in training.
    """

    def __init__(self, layers: Transformer, texts: Sequence[str], file: Path, dropout: float) -> None:
        super().__init__()
        self.layers, self.file, self.dropout = layers, file, dropout
        self.width = int(layers.get_embedding_dimension() or 0)
        self.spans: dict[str, tuple[int, int]] = {}  # text -> its rows in the file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        self.remember(texts)

    def remember(self, texts: Iterable[str]) -> None:
        """Compute the states of texts that are not in the file yet, longest first, and append them."""
        order = sorted(
            {text for text in texts if text not in self.spans}, key=lambda text: (-len(text), text)
        )
        if not order:
            return
        end = max((stop for _, stop in self.spans.values()), default=0)
        with open(self.file, "ab") as handle:
            for start in range(0, len(order), _BATCH):
                batch = order[start : start + _BATCH]
                for text, states in zip(batch, self._computed(batch), strict=True):
                    handle.write(states.tobytes())
                    self.spans[text] = (end, end + len(states))
                    end += len(states)
        self.states = np.memmap(self.file, dtype=np.float32, mode="r", shape=(end, self.width))

    @torch.inference_mode()
    def _computed(self, texts: list[str]) -> list[np.ndarray]:
        """States of each text, (tokens, width)."""
        was_training = self.layers.training
        self.layers.eval()
        device = next(self.layers.parameters()).device
        with quiet_transformers():
            found = self.layers.preprocess(texts)
        features = {k: value.to(device) if isinstance(value, Tensor) else value for k, value in found.items()}
        states = self.layers(features)["token_embeddings"].cpu().numpy()
        mask = features["attention_mask"].cpu().numpy().astype(bool)
        self.layers.train(was_training)
        return [np.ascontiguousarray(row[kept]) for row, kept in zip(states, mask, strict=True)]

    def preprocess(self, inputs: list[str], prompt: str | None = None, **kwargs: Any) -> dict[str, Tensor]:
        """The states themselves, padded: `input_values`, (texts, tokens, width), and `attention_mask`."""
        self.remember(inputs)
        rows = [self.states[slice(*self.spans[text])] for text in inputs]
        width = max(map(len, rows))
        values = torch.zeros(len(rows), width, self.width)
        mask = torch.zeros(len(rows), width, dtype=torch.long)
        for i, row in enumerate(rows):
            values[i, : len(row)] = torch.from_numpy(np.array(row))
            mask[i, : len(row)] = 1
        return {"input_values": values, "attention_mask": mask}

    def forward(self, features: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """Adds `token_embeddings`."""
        states = features["input_values"]
        features["token_embeddings"] = nn.functional.dropout(states, self.dropout, self.training)
        return features

    def mean_and_axes(self, dimension: int) -> tuple[Tensor, Tensor]:
        """Mean of the token states, (width,), and their first principal axes, (dimension, width)."""
        states = torch.from_numpy(np.array(self.states))
        center = states.mean(0)
        _, vectors = torch.linalg.eigh((states - center).T @ (states - center))
        return center, vectors[:, -dimension:].T.contiguous()

    def largest(self, weight: Tensor) -> float:
        """The largest w·h_t over all training tokens."""
        return float((torch.from_numpy(np.array(self.states)) @ weight.cpu()).max())

    def get_embedding_dimension(self) -> int:
        """Length of a state."""
        return self.width

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Nothing: the states belong to the training."""


class AttentionPooling(Module):  # type: ignore[misc]
    """W Σ_t α_t h_t + b with α = softmax(w·h_t); begins as the centered mean on the states' principal axes.

    Args:
        center: Mean of the states, (width,).
        axes: Principal axes, (dimension, width).
    """

    def __init__(self, center: Tensor, axes: Tensor) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros_like(center))
        self.linear = nn.Linear(axes.shape[1], axes.shape[0])
        with torch.no_grad():
            self.linear.weight.copy_(axes)
            self.linear.bias.copy_(-axes @ center)

    def forward(self, features: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """Adds `sentence_embedding`, (texts, dimension)."""
        states, mask = features["token_embeddings"], features["attention_mask"]
        scores = (states @ self.query).masked_fill(mask == 0, -torch.inf)  # (texts, tokens)
        pooled = (scores.softmax(-1)[..., None] * states).sum(1)
        features["sentence_embedding"] = self.linear(pooled)
        return features

    def get_embedding_dimension(self) -> int:
        """Length of a vector."""
        return self.linear.out_features

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Nothing: see `gated_modules`."""

    def gated_modules(self, largest: float) -> list[Module]:
        """The same pooling as stock modules: a gated token-wise map, then the mean.

        Args:
            largest: The largest w·h_t to be expected.
        """
        dimension, width = self.linear.weight.shape
        shift = largest + _SHIFT
        scale = float(np.exp(_SHIFT))  # keeps the vectors' size near one
        weight = torch.cat([self.linear.weight * scale, self.query.expand(dimension, width)])
        bias = torch.cat([self.linear.bias * scale, torch.full((dimension,), -shift)])
        gate = Dense(
            width,
            2 * dimension,
            activation_function=nn.GLU(),
            init_weight=weight.detach().clone(),
            init_bias=bias.detach().clone(),
            module_input_name="token_embeddings",
        )
        return [gate, Pooling(dimension, "mean")]


class FrozenLMEncoder:
    """The encoder's two forms: in training and finished.

    Args:
        layers: The frozen layers.
        corpus: Sentences that say where the states' center and principal axes are.
        dropout: Of the states, in training.
        dimension: Length of a vector.
        work: Folder for the states.
    """

    kind = "frozen-lm"

    def __init__(
        self,
        layers: Transformer,
        corpus: Sequence[str],
        dropout: float,
        work: Path,
        dimension: int = DIMENSION,
    ) -> None:
        self.layers, self.dropout = layers, dropout
        self.known = TokenStates(layers, corpus, states_file(work), dropout)
        self.center, self.axes = self.known.mean_and_axes(dimension)

    def plain(self) -> SentenceTransformer:
        """The untrained encoder: centered mean states on their principal axes."""
        return self._finished(AttentionPooling(self.center, self.axes), 0.0)

    def training_model(self, texts: Sequence[str], work: Path) -> SentenceTransformer:
        """The encoder in training on these texts."""
        self.known.remember(texts)
        return SentenceTransformer(
            modules=[self.known, AttentionPooling(self.center, self.axes)], device="cpu"
        )

    def finished(self, trained: SentenceTransformer) -> SentenceTransformer:
        """The trained encoder, of plain sentence-transformers modules."""
        pooling = trained[1]
        return self._finished(pooling, trained[0].largest(pooling.query.detach()))

    def looking_up(self, finished: SentenceTransformer) -> SentenceTransformer:
        """A finished encoder that looks the frozen states up, for texts that are encoded again and again."""
        return SentenceTransformer(modules=[self.known, *list(finished)[1:]], device="cpu").eval()

    def _finished(self, pooling: AttentionPooling, largest: float) -> SentenceTransformer:
        return SentenceTransformer(modules=[self.layers, *pooling.gated_modules(largest)], device="cpu")
