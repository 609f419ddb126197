"""Candidates by diverse beams of a T5 that writes tags or titles, or of a causal language model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.idgen.decoders import tree_decoder
from etude.methods.idgen.diverse_beams import Diversity, diverse_beam_search
from etude.methods.idgen.rounds import BEAM_ROUNDS, Round
from etude.methods.idgen.textual_ids import clean_id

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXT_TOKENS = 256
"""Tokens of an item's text that a model reads."""


class BeamSource:
    """Candidates by diverse beams.

    Args:
        model: A sequence-to-sequence model that was trained to write tags, or a causal one.
        tokenizer: Its tokenizer.
        beams: Candidates of each text.
    """

    rounds = BEAM_ROUNDS

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, beams: int = 10) -> None:
        if tokenizer.eos_token_id is None:
            raise EtudeError("the tokenizer has no end token", "Give one with eos_token.")
        self.model, self.tokenizer, self.beams = model, tokenizer, beams
        self.decoder = tree_decoder(model)

    def candidates(self, texts: Sequence[str], asked: Round) -> list[list[str]]:
        """The paper's settings: as many groups as beams, `min_length` n and `max_length` n + 10."""
        how = Diversity(
            self.beams, self.beams, asked.penalty, fewest=asked.shortest - 1, most=asked.shortest + 9
        )
        causal = not self.model.config.is_encoder_decoder
        lines = [f"{text}\nshort name:" if causal else text or "item" for text in texts]
        model: Any = self.model
        was_training = model.training
        model.eval()
        eos = int(self.tokenizer.eos_token_id)
        found = diverse_beam_search(self.decoder, *self._padded(lines, left=causal), eos, how)
        model.train(was_training)
        decode = self.tokenizer.decode
        return [[clean_id(str(decode(one, skip_special_tokens=True))) for one in row] for row in found]

    def _padded(self, lines: list[str], *, left: bool) -> tuple[Tensor, Tensor]:
        """Token ids and mask, int64 (lines, longest) both."""
        rows = [self.tokenizer.encode(line, truncation=True, max_length=TEXT_TOKENS) for line in lines]
        most, device = max(map(len, rows)), self.decoder.weight.device
        ids = torch.full((len(rows), most), self.tokenizer.pad_token_id or 0)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            place = slice(most - len(row), most) if left else slice(0, len(row))
            ids[number, place], mask[number, place] = torch.tensor(row), 1
        return ids.to(device), mask.to(device)


def load_seq2seq(name: str, device: str | None = None) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A sequence-to-sequence model in evaluation mode, and its tokenizer.

    Args:
        name: A directory or a hub id.
        device: Default: the GPU if there is one.

    Raises:
        EtudeError: No such model, not sequence to sequence, or no safetensors weights.
    """
    from transformers import AutoModelForSeq2SeqLM

    from etude.models import load_tokenizer, model_directory
    from etude.models.local_lm import default_device
    from etude.models.quiet import quiet_transformers

    directory = model_directory(name)
    tokenizer = load_tokenizer(name)
    with quiet_transformers():
        try:
            model: Any = AutoModelForSeq2SeqLM.from_pretrained(directory, use_safetensors=True)
        except (ValueError, OSError, KeyError, ImportError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise EtudeError(
                f"{name}: cannot be loaded as a sequence-to-sequence model ({reason})"[:400],
                "Give a T5 directory with config.json, tokenizer files and .safetensors weights.",
            ) from error
    model.to(device or default_device())
    model.eval()
    return model, tokenizer
