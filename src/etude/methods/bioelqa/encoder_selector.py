"""A bidirectional encoder as a selector: the question's text, and an N-way head on its first token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.bioelqa.generator_training import (
    Collate,
    GeneratorSettings,
    TokenRows,
    by_length,
    pad,
    train_generator,
)
from etude.methods.bioelqa.questions import LETTERS, Question
from etude.methods.bioelqa.wording import question_text
from etude.models import load_encoder
from etude.models.quiet import quiet_transformers
from etude.runs import read_json, write_json

_FILE = "encoder.json"
_HEAD = "head.safetensors"
_WEIGHTS = "model"


class _Head(nn.Module):
    """An encoder with one logit for each place of an option."""

    def __init__(self, encoder: Any, places: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.config.hidden_size, places)

    def logits(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(rows, places)."""
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        found: Tensor = self.head(states[:, 0])
        return found

    def forward(self, input_ids: Tensor, attention_mask: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {"loss": nn.functional.cross_entropy(self.logits(input_ids, attention_mask), target)}


class EncoderSelector:
    """BERT or MiniLM with an N-way head on [CLS].

    Args:
        model: An embedded name (`minilm`), a directory, or a hub id.
        settings: Of training.
        device: `cpu`, `cuda` ...; default: the GPU if there is one.
    """

    name = "encoder"
    reads_context = False

    def __init__(
        self, model: str = "minilm", settings: GeneratorSettings | None = None, *, device: str | None = None
    ) -> None:
        self.model_name, self.settings = model, settings or GeneratorSettings(learning_rate=5e-5)
        self._encoder = load_encoder(model, device=device)
        self._network: _Head | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """Model and settings."""
        return {"selector": self.name, "revision": self._encoder.revision, **self.settings.to_json()}

    def fit(self, questions: Sequence[Question], *, out: Path, seed: int = 0) -> dict[str, Any]:
        """See `Selector.fit`."""
        places = max(len(question.options) for question in questions)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = _Head(self._encoder.model, places)
        self._network = network.to(self._encoder.model.device)
        rows = TokenRows(
            [self._encode(question) for question in questions],
            [question.gold for question in questions if question.gold is not None],
        )
        collate = Collate(self._pad, left=False)
        return train_generator(network.train(), rows, self.settings, collate=collate, out=out, seed=seed)

    @torch.inference_mode()
    def probabilities(self, questions: Sequence[Question]) -> list[np.ndarray]:
        """See `Selector.probabilities`.

        Raises:
            EtudeError: A question has more options than the head has places.
        """
        assert self._network is not None, "fit or load first"
        self._network.eval()
        places = self._network.head.out_features
        most = max((len(q.options) for q in questions), default=0)
        if most > places:
            raise EtudeError(
                f"{most} options, and this selector was trained with {places}",
                f"Link with --options {places} or fewer, or train again.",
            )
        rows = [self._encode(question) for question in questions]
        found: list[np.ndarray] = [np.zeros(0)] * len(rows)
        device = self._network.head.weight.device
        for batch in by_length(rows, 4 * self.settings.batch_size):
            ids, mask = pad([rows[i] for i in batch], self._pad, left=False)
            logits = self._network.logits(ids.to(device), mask.to(device))
            for row, place in enumerate(batch):
                count = len(questions[place].options)
                found[place] = logits[row, :count].softmax(-1).cpu().numpy()
        return found

    def save(self, folder: Path) -> None:
        """See `Selector.save`."""
        assert self._network is not None, "fit first"
        with quiet_transformers():
            self._network.encoder.save_pretrained(folder / _WEIGHTS)
            self._encoder.tokenizer.save_pretrained(folder / _WEIGHTS)
        head = {name: value.detach().cpu() for name, value in self._network.head.state_dict().items()}
        save_file(head, folder / _HEAD)
        write_json(folder / _FILE, {"model": self.model_name, "settings": self.settings.to_json()})

    @classmethod
    def load(cls, folder: Path) -> EncoderSelector:
        """Read what `save` wrote."""
        stored = read_json(folder / _FILE)
        made = cls(str(folder / _WEIGHTS), GeneratorSettings(**stored["settings"]))
        made.model_name = stored["model"]
        head = load_file(folder / _HEAD)
        network = _Head(made._encoder.model, len(head["bias"]))
        network.head.load_state_dict(head)
        made._network = network.to(made._encoder.model.device)
        return made

    @property
    def _pad(self) -> int:
        tokenizer: Any = self._encoder.tokenizer
        return int(tokenizer.pad_token_id or 0)

    def _encode(self, question: Question) -> list[int]:
        """Token ids with the special tokens; too long a question loses its clues first."""
        tokenizer: Any = self._encoder.tokenizer
        kind = self.settings.symbols if len(question.options) <= len(LETTERS) else "numbers"
        limit = min(self.settings.max_length, int(self._encoder.model.config.max_position_embeddings))
        ids: list[int] = tokenizer(question_text(question, kind), truncation=False)["input_ids"]
        return ids if len(ids) <= limit else [ids[0], *ids[1 - limit :]]
