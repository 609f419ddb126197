"""Block 5, the language model: decoder-only or encoder-decoder, frozen, with LoRA, or trained in full."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.speech_translation.design import Lora
from etude.methods.speech_translation.mixing import IGNORED
from etude.models import load_causal_lm, model_directory, model_revision
from etude.models.local_lm import context_length_of, default_device, load_tokenizer
from etude.models.quiet import quiet_transformers
from etude.runs import read_json


class LanguageModel(nn.Module):
    """A language model that reads embeddings.

    Attributes:
        model: The transformers model (or peft's around it).
        tokenizer: Its tokenizer.
        name: The name it was asked for by.
        revision: Digest of its files.
        width: d_llm.
        context_length: Tokens it reads at most, None if unknown.
        encoder_decoder: Whether speech goes into an encoder.
    """

    def __init__(self, model: Any, tokenizer: Any, name: str, revision: str, context: int | None) -> None:
        super().__init__()
        self.model, self.tokenizer, self.name, self.revision = model, tokenizer, name, revision
        self.context_length = context
        self.encoder_decoder = bool(model.config.is_encoder_decoder)
        self.width = int(model.get_input_embeddings().embedding_dim)
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        if tokenizer.eos_token_id is None:
            raise EtudeError(f"{name}: its tokenizer has no end token", "Set eos_token in its files.")

    @property
    def end(self) -> int:
        """The end token."""
        return int(self.tokenizer.eos_token_id)

    @property
    def embeddings(self) -> nn.Module:
        """Token ids to vectors."""
        found: nn.Module = self.model.get_input_embeddings()
        return found

    def forward(self, embeddings: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of the target's tokens, in nats.

        Args:
            embeddings: (B, S, d_llm).
            mask: 1 where there is content, (B, S).
            labels: Token ids; -100 where nothing is to be learned. (B, S), or (B, L) for an encoder-decoder.
        """
        if self.encoder_decoder:
            loss: Tensor = self.model(inputs_embeds=embeddings, attention_mask=mask, labels=labels).loss
            return loss
        first = int((labels != IGNORED).any(0).float().argmax())  # before it no word is to be learned
        kept = {"logits_to_keep": labels.shape[1] - first + 1} if self._keeps_logits and first else {}
        logits: Tensor = self.model(
            inputs_embeds=embeddings, attention_mask=mask, use_cache=False, **kept
        ).logits
        labels = labels[:, -logits.shape[1] :]
        return torch.nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=IGNORED
        )

    @torch.no_grad()
    def generate(
        self, embeddings: Tensor, mask: Tensor, *, max_tokens: int, beams: int = 1
    ) -> list[list[int]]:
        """Write after embeddings, greedily or with beams.

        Args:
            embeddings: (B, S, d_llm), padded on the left (decoder-only).
            mask: (B, S).
            max_tokens: Of an answer.
            beams: 1 is greedy.

        Returns:
            Token ids of each answer, without the end token.
        """
        pad = self.tokenizer.pad_token_id
        made = self.model.generate(
            inputs_embeds=embeddings,
            attention_mask=mask,
            max_new_tokens=max_tokens,
            num_beams=beams,
            do_sample=False,
            eos_token_id=self.end,
            pad_token_id=self.end if pad is None else pad,
        )
        rows = made[:, 1:] if self.encoder_decoder else made
        return [_until(row, self.end) for row in rows.tolist()]

    def text(self, ids: Sequence[int]) -> str:
        """Token ids as text."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def read(self, ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Embeddings and mask of token ids, padded on the left."""
        device = next(self.model.parameters()).device
        rows = [self.embeddings(torch.tensor(row, device=device)).flip(0) for row in ids]
        x = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).flip(1)
        sizes = torch.tensor([len(row) for row in ids], device=device)
        mask = torch.arange(x.shape[1], device=device)[None].flip(1) < sizes[:, None]
        return x, mask.long()

    def add_lora(self, lora: Lora) -> None:
        """Add trainable low-rank updates; until they are trained they change nothing.

        Raises:
            EtudeError: The model has no such layers.
        """
        self.model = with_lora(self.model, lora, self.name)


def with_lora(model: Any, lora: Lora, name: str) -> Any:
    """A model inside peft's wrapper.

    Raises:
        EtudeError: The model has no layer of the given names.
    """
    from peft import LoraConfig, get_peft_model

    make: Any = LoraConfig
    config = make(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets)
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise EtudeError(
            f"{name}: LoRA cannot be added ({error})"[:300], "Name its linear layers in lora.targets."
        ) from error


def load_language_model(name: str, *, device: str | None = None) -> LanguageModel:
    """Load a causal or encoder-decoder language model.

    Args:
        name: An embedded name, a directory or a hub id.
        device: Default: the GPU if there is one.

    Raises:
        EtudeError: No such model, or it is neither.
    """
    directory = model_directory(name)
    if not read_json(directory / "config.json").get("is_encoder_decoder", False):
        lm = load_causal_lm(name, device=device)
        return LanguageModel(lm.model, lm.tokenizer, name, lm.revision, lm.context_length)
    from transformers import AutoModelForSeq2SeqLM

    with quiet_transformers():
        try:
            model: Any = AutoModelForSeq2SeqLM.from_pretrained(
                directory, dtype=torch.float32, use_safetensors=True
            )
        except (ValueError, OSError, KeyError) as error:
            raise EtudeError(
                f"{name}: cannot be loaded as an encoder-decoder ({error})"[:400], "Check the folder."
            ) from error
    model.to(device or default_device()).eval()
    context = context_length_of(directory)
    return LanguageModel(model, load_tokenizer(name), name, model_revision(directory), context)


def _until(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids
