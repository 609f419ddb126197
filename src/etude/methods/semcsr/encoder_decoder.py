"""Writing with an encoder-decoder such as the paper's Flan-T5-XL, through `transformers.generate`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from transformers import AutoModelForSeq2SeqLM, LogitsProcessorList

from etude.errors import EtudeError
from etude.methods.semcsr.contrast import ContrastiveLogits
from etude.methods.semcsr.prompts import KINDS, STOP
from etude.methods.semcsr.writers import Writing, Written, gather
from etude.models import load_tokenizer, model_directory
from etude.models.local_lm import default_device
from etude.models.quiet import quiet_transformers


class EncoderDecoderWriter:
    """An encoder-decoder in this process; prompts go to the encoder, so there is no head to share.

    Args:
        writing: How it writes.
    """

    def __init__(self, writing: Writing) -> None:
        self.writing = writing

    @cached_property
    def model(self) -> Any:
        """The model, in evaluation mode."""
        directory = model_directory(self.writing.lm)
        with quiet_transformers():
            try:
                model: Any = AutoModelForSeq2SeqLM.from_pretrained(
                    directory, dtype=torch.float32, use_safetensors=True
                )
            except (ValueError, OSError, KeyError, ImportError) as error:
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise EtudeError(
                    f"{self.writing.lm}: cannot be loaded as an encoder-decoder ({reason})"[:400],
                    "The folder must hold config.json, tokenizer files and .safetensors weights.",
                ) from error
        model.to(default_device()).eval()
        return model

    @cached_property
    def tokenizer(self) -> Any:
        """Its tokenizer."""
        return load_tokenizer(self.writing.lm)

    @torch.inference_mode()
    def write(self, sentences: Sequence[str]) -> list[Written]:
        """Write for a batch: B entailments and B contradictions, with ω > 0 each against its opposite."""
        writing, count = self.writing, len(sentences)
        places = [writing.prompts.place(sentence, writing.seed) for sentence in sentences]
        prompts = [
            writing.prompts.prompt(kind, place, sentence)
            for kind in KINDS
            for place, sentence in zip(places, sentences, strict=True)
        ]
        processors = LogitsProcessorList()
        streams = list(range(2 * count))
        if writing.omega > 0:
            streams += [(i + count) % (2 * count) for i in range(2 * count)]
            processors.append(ContrastiveLogits(writing.omega, writing.plausibility))
        batch = self.tokenizer([prompts[i] for i in streams], padding=True, return_tensors="pt")
        made = self.model.generate(
            **batch.to(self.model.device),
            max_new_tokens=writing.max_tokens,
            do_sample=False,
            num_beams=1,
            logits_processor=processors,
        )[: 2 * count]
        texts = [self._text(row) for row in made.tolist()]
        return gather(places, texts)

    def _text(self, row: list[int]) -> str | None:
        """The written text up to a stop string; None where it did not end."""
        text = str(self.tokenizer.decode(row, skip_special_tokens=True))
        marks = STOP if self.writing.prompts.style == "completion" else ()
        at = min((place for place in (text.find(mark) for mark in marks) if place >= 0), default=None)
        if at is not None:
            return text[:at]
        return text if self.tokenizer.eos_token_id in row[1:] else None
