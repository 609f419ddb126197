"""The language models of a recommender: two tiny ones drawn from a seed, or any T5 or causal one by name.

`causal-tiny` is a GPT-2 of 2 layers, width 64, 4 heads; `tiny` a T5 of 2 + 2 layers of that width. Both are
ordinary transformers models. Any other name is a T5 or causal model of the hub or a folder (paper: T5-small).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.errors import EtudeError
from etude.methods.idgen.vocabulary import word_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TINY = ("causal-tiny", "tiny")
HUB_NAMES = {"t5-small": "google-t5/t5-small"}
"""Short names of the paper."""


@dataclass(frozen=True)
class Backbone:
    """A language model and its tokenizer.

    Args:
        model: A T5 or a causal language model.
        tokenizer: Its tokenizer, with an end and a padding token.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def is_seq2seq(self) -> bool:
        """Whether the model has an encoder that reads and a decoder that writes."""
        return bool(self.model.config.is_encoder_decoder)

    @property
    def longest(self) -> int | None:
        """The most tokens that the model can read; None where its positions are relative."""
        config = self.model.config
        found = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
        return None if self.is_seq2seq or found is None else int(found)


def build_backbone(
    name: str, words: Iterable[str], *, longest: int = 256, dropout: float = 0.2, seed: int = 0
) -> Backbone:
    """A backbone by name.

    Args:
        name: `causal-tiny`, `tiny`, `t5-small`, a folder, or a hub id.
        words: Vocabulary of a tiny one; others bring their own.
        longest: Tokens that a tiny causal model can read.
        dropout: Of a tiny one.
        seed: Of a tiny one's weights.

    Raises:
        EtudeError: The model cannot be found.
    """
    if name not in TINY:
        return load_backbone(name)
    import torch

    tokenizer = word_tokenizer(words)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = (_tiny_causal if name == "causal-tiny" else _tiny_t5)(tokenizer, longest, dropout)
    return Backbone(model, tokenizer)


def load_backbone(name: str | Path) -> Backbone:
    """A T5 or causal language model with its tokenizer, from a folder or by its name.

    Raises:
        EtudeError: It cannot be found, or is neither.
    """
    from transformers import (
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSeq2SeqLM,
        AutoTokenizer,
    )

    from etude.models import model_directory
    from etude.models.quiet import quiet_transformers

    folder = model_directory(HUB_NAMES.get(str(name), str(name)))
    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(folder)
            kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
            model = kind.from_pretrained(folder)
            tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise EtudeError(
                f"{name}: not a T5 or causal language model ({reason})",
                f"Give {', '.join((*TINY, *HUB_NAMES))}, a folder written by save_pretrained, or a hub id.",
            ) from error
    if tokenizer.eos_token_id is None:
        raise EtudeError(f"{name}: its tokenizer has no end token", "Give a model with eos_token.")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return Backbone(model, tokenizer)


def _tiny_causal(tokenizer: PreTrainedTokenizerBase, longest: int, dropout: float) -> PreTrainedModel:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(
        GPT2Config(
            vocab_size=len(tokenizer),
            n_positions=longest,
            n_embd=64,
            n_layer=2,
            n_head=4,
            activation_function="relu",
            resid_pdrop=dropout,
            embd_pdrop=dropout,
            attn_pdrop=0.0,  # with it the fast attention kernels of processors cannot be used
            bos_token_id=tokenizer.eos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def _tiny_t5(tokenizer: PreTrainedTokenizerBase, longest: int, dropout: float) -> PreTrainedModel:
    from transformers import T5Config, T5ForConditionalGeneration

    config: Any = T5Config  # fields of generation are not among its annotations
    return T5ForConditionalGeneration(
        config(
            vocab_size=len(tokenizer),
            d_model=64,
            d_kv=16,
            d_ff=256,
            num_layers=2,
            num_decoder_layers=2,
            num_heads=4,
            dropout_rate=dropout,
            decoder_start_token_id=tokenizer.pad_token_id,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
