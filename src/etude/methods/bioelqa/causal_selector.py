"""A causal language model as a selector, adapted by LoRA: the symbol's logit at the last position.

The options come last, so that several orders of one question share the text before them; it is read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from etude.methods.bioelqa.generator_training import (
    Collate,
    GeneratorSettings,
    TokenRows,
    clipped,
    train_generator,
)
from etude.methods.bioelqa.questions import Question, symbols_for
from etude.methods.bioelqa.symbol_tokens import symbol_tokens
from etude.methods.bioelqa.wording import options_text, shared_text
from etude.models import CausalLM, load_causal_lm
from etude.models.generation import prefill, score_rows
from etude.models.quiet import quiet_transformers
from etude.models.sharing import plan
from etude.runs import read_json, write_json

_FILE = "causal.json"
_WEIGHTS = "adapter"
_SHARE = 16  # shared tokens from which reading them once pays


class _LastSymbol(nn.Module):
    """The model with its loss at the last position; matrix products in bfloat16 where that is faster."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, target: Tensor) -> dict[str, Tensor]:
        positions = (attention_mask.cumsum(-1) - 1).clamp(min=0)
        with torch.autocast(input_ids.device.type, torch.bfloat16):
            logits = self.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=positions,
                logits_to_keep=1,
                use_cache=False,
            ).logits[:, -1]
        return {"loss": nn.functional.cross_entropy(logits.float(), target)}


class CausalSelector:
    """A causal language model with LoRA adapters on all its projections.

    Args:
        model: An embedded name (`smollm2`), a directory, or a hub id.
        settings: Of training.
        rank: Of the adapters; their scale is twice the rank.
        device: `cpu`, `cuda` ...; default: the GPU if there is one.
    """

    name = "causal"
    reads_context = False

    def __init__(
        self,
        model: str = "smollm2",
        settings: GeneratorSettings | None = None,
        *,
        rank: int = 8,
        device: str | None = None,
    ) -> None:
        self.model_name, self.rank = model, rank
        self.settings = settings or GeneratorSettings(learning_rate=3e-4)
        self.base: CausalLM = load_causal_lm(model, device=device)
        self._adapted: Any = None

    @property
    def identity(self) -> dict[str, Any]:
        """Model and settings."""
        return {
            "selector": self.name,
            "revision": self.base.revision,
            "rank": self.rank,
            **self.settings.to_json(),
        }

    def fit(self, questions: Sequence[Question], *, out: Path, seed: int = 0) -> dict[str, Any]:
        """See `Selector.fit`; the base model's weights stay as they are."""
        from peft import LoraConfig, get_peft_model

        symbols = self._symbols(max(len(question.options) for question in questions))
        targets = [symbols[q.gold] for q in questions if q.gold is not None]
        rows = TokenRows([self._encode(question) for question in questions], targets)
        if self._adapted is not None:  # peft puts adapters into the base model itself
            self.base = replace(self.base, model=self._adapted.unload())
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            lora = LoraConfig(
                r=self.rank,
                lora_alpha=2 * self.rank,
                lora_dropout=0.0,
                target_modules="all-linear",
                task_type="CAUSAL_LM",
            )
            self._adapted = get_peft_model(self.base.model, lora)
        self._adapted.train()
        collate = Collate(self._pad, left=True)
        return train_generator(
            _LastSymbol(self._adapted), rows, self.settings, collate=collate, out=out, seed=seed
        )

    def probabilities(self, questions: Sequence[Question]) -> list[np.ndarray]:
        """See `Selector.probabilities`."""
        symbols = self._symbols(max((len(q.options) for q in questions), default=0))
        lm = self.base if self._adapted is None else replace(self.base, model=self._adapted)
        lm.model.train(False)
        rows = [self._encode(question) for question in questions]
        found: list[np.ndarray] = [np.zeros(0)] * len(rows)
        for group in plan(rows):
            shared = group.shared if group.shared >= _SHARE else 0
            prefix = prefill(lm, rows[group.rows[0]][:shared]) if shared else None
            tails = [rows[i][shared:] for i in group.rows]
            shown = [[[s] for s in symbols[: len(questions[i].options)]] for i in group.rows]
            for place, scored in score_rows(lm, tails, shown, prefix=prefix):
                logits = np.array([one.total for one in scored])
                shares = np.exp(logits - logits.max(initial=-np.inf))
                found[group.rows[place]] = shares / shares.sum() if len(shares) else shares
        return found

    def save(self, folder: Path) -> None:
        """Write the adapter in peft's format; the base model is only named."""
        assert self._adapted is not None, "fit first"
        with quiet_transformers():
            self._adapted.save_pretrained(folder / _WEIGHTS)
        write_json(
            folder / _FILE,
            {"model": self.model_name, "rank": self.rank, "settings": self.settings.to_json()},
        )

    @classmethod
    def load(cls, folder: Path) -> CausalSelector:
        """Read what `save` wrote."""
        from peft import PeftModel

        stored = read_json(folder / _FILE)
        made = cls(stored["model"], GeneratorSettings(**stored["settings"]), rank=stored["rank"])
        with quiet_transformers():
            made._adapted = PeftModel.from_pretrained(made.base.model, folder / _WEIGHTS)
        return made

    @property
    def _pad(self) -> int:
        tokenizer: Any = self.base.tokenizer
        return int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id)

    def _symbols(self, count: int) -> list[int]:
        return symbol_tokens(self.base.tokenizer, count, self.settings.symbols)

    def _encode(self, question: Question) -> list[int]:
        shown = symbols_for(len(question.options), self.settings.symbols)
        encode: Any = self.base.tokenizer.encode
        ids = [
            *encode(shared_text(question), add_special_tokens=False),
            *encode(options_text(question, shown), add_special_tokens=False),
        ]
        return clipped(ids, self.settings.max_length)
