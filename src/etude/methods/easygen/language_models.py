"""The language models that read pictures: decoders, and encoder-decoders for mid-align; LoRA on either."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.errors import EtudeError
from etude.methods.easygen.bridge import Mode
from etude.models import load_causal_lm
from etude.models.local_lm import default_device
from etude.models.names import model_directory, model_revision
from etude.models.quiet import quiet_transformers

_KNOWN = {
    "smollm2": "SmolLM2: 2 trillion tokens of text and code, then instruction tuning",
}
_TARGETS = (("q_proj", "v_proj"), ("q", "v"), ("c_attn",), ("query_key_value",))


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adaptation (the paper's values).

    Attributes:
        rank: r.
        alpha: Scale; the update counts alpha / r.
        dropout: On its input.
    """

    rank: int = 8
    alpha: int = 32
    dropout: float = 0.05


@dataclass(frozen=True)
class LanguageModel:
    """A language model with its tokenizer.

    Attributes:
        model: A transformers model.
        tokenizer: Its tokenizer.
        name: By which it was asked for.
        revision: Of its files.
        pretraining: What it has seen, as far as it is known here.
    """

    model: Any
    tokenizer: Any
    name: str
    revision: str
    pretraining: str

    @property
    def dim(self) -> int:
        """Width of its embeddings."""
        return int(self.model.get_input_embeddings().weight.shape[1])

    @property
    def ends(self) -> list[int]:
        """Tokens that end an answer."""
        configured = self.model.generation_config.eos_token_id
        found = {*(configured if isinstance(configured, list) else [configured]), self.tokenizer.eos_token_id}
        return sorted(int(token) for token in found if token is not None)

    @property
    def pad(self) -> int:
        """The token that fills."""
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else (self.ends or [0])[0])

    def text(self, ids: list[int]) -> str:
        """Token ids as text."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()


def load_language_model(name: str, mode: Mode) -> LanguageModel:
    """Load a causal model for `pre`, an encoder-decoder for `mid`.

    Raises:
        EtudeError: No such model, or one of the other kind.
    """
    seen = _KNOWN.get(name, "not stated here: see the model's card")
    if mode == "pre":
        lm = load_causal_lm(name)
        if lm.model.config.is_encoder_decoder:
            raise EtudeError(f"{name} is an encoder-decoder", "Use --mode mid.")
        return LanguageModel(lm.model, lm.tokenizer, name, lm.revision, seen)
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    directory = model_directory(name)
    with quiet_transformers():
        try:
            model: Any = AutoModelForSeq2SeqLM.from_pretrained(directory, use_safetensors=True)
            tokenizer = AutoTokenizer.from_pretrained(directory)
        except (ValueError, OSError, KeyError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise EtudeError(
                f"{name}: cannot be loaded as an encoder-decoder ({first})"[:300],
                "--mode mid needs a T5-like model; a causal model takes --mode pre.",
            ) from error
    return LanguageModel(
        model.to(default_device()).eval(), tokenizer, name, model_revision(Path(directory)), seen
    )


def with_lora(model: Any, settings: LoraSettings) -> Any:
    """The model with trainable low-rank updates of its query and value projections.

    Raises:
        EtudeError: No such projections are known in this architecture.
    """
    from peft import LoraConfig, get_peft_model

    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    targets = next((list(t) for t in _TARGETS if set(t) <= names), None)
    if targets is None:
        raise EtudeError(
            f"{type(model).__name__}: no query and value projections to adapt", "Tune it fully: --lora 0."
        )
    config = LoraConfig(
        r=settings.rank, lora_alpha=settings.alpha, lora_dropout=settings.dropout, target_modules=targets
    )
    with _peft_unwarned():
        return get_peft_model(model, config)


def with_stored_lora(model: Any, folder: Path) -> Any:
    """The model with low-rank updates that were saved."""
    from peft import PeftModel

    with _peft_unwarned():
        return PeftModel.from_pretrained(model, str(folder)).eval()


@contextmanager
def _peft_unwarned() -> Iterator[None]:
    """Peft asks transformers by a name that was replaced there; users can do nothing about it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing", FutureWarning)
        yield
