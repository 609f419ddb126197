"""Sentence encoders: texts to unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.models.names import model_directory, model_revision
from etude.models.quiet import quiet_transformers
from etude.runs import read_json

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Pooling = Literal["mean", "cls"]


@dataclass(frozen=True)
class Encoder:
    """A sentence encoder in memory.

    Args:
        model: The transformers model, in evaluation mode; or the modules of a sentence-transformers folder
            before its pooling, which have the same face.
        tokenizer: Its tokenizer.
        name: The name it was asked for by.
        revision: Digest of the files it was loaded from.
        pooling: `mean` over the tokens, or the first token (`cls`).
        max_length: Tokens after which a text is cut.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    revision: str
    pooling: Pooling
    max_length: int

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self.model.config.hidden_size)

    def encode(self, texts: Sequence[str], *, batch_size: int = 64) -> NDArray[np.float32]:
        """Encode texts; long ones are cut at `max_length` tokens.

        Args:
            texts: Any strings. Texts of similar length share a batch, so little is padded.
            batch_size: Texts per forward pass.

        Returns:
            Unit vectors, (texts, dimension), in the order of `texts`; zeros for a text without a token.
        """
        import torch

        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        if not texts:
            return vectors
        rows: list[list[int]] = self.tokenizer(list(texts), truncation=True, max_length=self.max_length)[
            "input_ids"
        ]
        order = sorted((i for i in range(len(rows)) if rows[i]), key=lambda i: -len(rows[i]))
        device = next(self.model.parameters()).device
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = self.tokenizer.pad({"input_ids": [rows[i] for i in chosen]}, return_tensors="pt").to(
                device
            )
            with torch.inference_mode():
                states = self.model(**batch).last_hidden_state  # (batch, tokens, dimension)
                pooled = pool(states, batch["attention_mask"], self.pooling)
            vectors[chosen] = torch.nn.functional.normalize(pooled.float(), dim=-1).cpu().numpy()
        return vectors


def pool(states: torch.Tensor, mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """One vector per text from its token states.

    Args:
        states: (batch, tokens, dimension).
        mask: 1 for tokens, 0 for padding, (batch, tokens).
        pooling: `mean` or `cls`.

    Returns:
        (batch, dimension).
    """
    if pooling == "cls":
        return states[:, 0]
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def load_encoder(
    name: str = "minilm", *, pooling: Pooling | None = None, device: str | None = None
) -> Encoder:
    """Load a sentence encoder.

    Args:
        name: An embedded name (`minilm`), a directory, or a hub id.
        pooling: How tokens become one vector; default: what the model's own files say, else `mean`.
        device: `cpu`, `cuda` ...; default: the GPU if there is one.

    Raises:
        EtudeError: No such model, or it cannot be loaded as an encoder.
    """
    import torch
    from transformers import AutoModel

    from etude.models.local_lm import context_length_of, default_device, load_tokenizer
    from etude.models.sentence_modules import load_token_states, read_sentence_folder

    directory = model_directory(name)
    found = read_sentence_folder(directory)
    model: Any  # of transformers, or with its face
    with quiet_transformers():
        try:
            if found is None or found.plain:
                tokenizer = load_tokenizer(str(directory))
                model = AutoModel.from_pretrained(directory, dtype=torch.float32, use_safetensors=True)
                length = min(int(tokenizer.model_max_length), context_length_of(directory) or 512)
            else:
                model, tokenizer, length = load_token_states(directory, found)
        except (ValueError, OSError, KeyError, ImportError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise EtudeError(
                f"{name}: cannot be loaded as an encoder ({reason})"[:400],
                "The folder must hold config.json, tokenizer files and weights as .safetensors.",
            ) from error
    model.to(device or default_device())
    model.eval()
    told = directory / "sentence_bert_config.json"
    length = min(int((read_json(told) if told.exists() else {}).get("max_seq_length") or length), length)
    pooled = pooling or (found.pooling if found else "mean")
    return Encoder(model, tokenizer, name, model_revision(directory), pooled, length)
