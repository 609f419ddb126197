"""Text-to-text scorers: T5 and its kin, or causal models such as GPT-2, for recognition and generation.

Recognition: "A is to B as:" and lettered choices in, the letter out; a choice's score is its letter's
log-probability. Generation: "A is to B as C is to" in, D out.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.analogykb.analogy_questions import AnalogyQuestion, GenerationItem, Pair, as_text
from etude.methods.analogykb.fine_tuning import fine_tune
from etude.methods.analogykb.scorers import Recipe
from etude.models import load_tokenizer, model_directory
from etude.models.local_lm import default_device
from etude.models.quiet import quiet_transformers
from etude.runs import read_json

LETTERS = string.ascii_uppercase
_WRITES = re.compile("CausalLM|LMHead|ConditionalGeneration|Seq2SeqLM")
_IGNORED = -100
_AT_ONCE = 32
_NEW_TOKENS = 12  # of a generated term

Example = tuple[str, str]


def recognition_text(stem: Pair, choices: Sequence[Pair]) -> str:
    """The question with lettered choices."""
    listed = " ".join(f"({LETTERS[i]}) {as_text(pair)}" for i, pair in enumerate(choices))
    return f"{as_text(stem)} as: {listed} Answer:"


def generation_text(stem: Pair, query: str) -> str:
    """The question without its last word."""
    return f"{as_text(stem)} as {query} is to"


class TextToText:
    """A sequence-to-sequence or causal model.

    Args:
        name: An embedded name, a directory (also of a trained one), or a hub id.

    Raises:
        EtudeError: The model is neither.
    """

    def __init__(self, name: str) -> None:
        from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

        directory = model_directory(name)
        config = read_json(directory / "config.json")
        kinds = " ".join(config.get("architectures") or [])
        if kinds and not _WRITES.search(kinds):
            raise _no_text_to_text(name, f"it is a {kinds}")
        self.seq2seq = bool(config.get("is_encoder_decoder"))
        self.tokenizer = load_tokenizer(name)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        kind = AutoModelForSeq2SeqLM if self.seq2seq else AutoModelForCausalLM
        with quiet_transformers():
            try:
                self.model: Any = kind.from_pretrained(directory, dtype=torch.float32, use_safetensors=True)
            except (ValueError, OSError, KeyError) as error:
                raise _no_text_to_text(name, str(error).splitlines()[0][:200]) from error

    def fit(
        self, questions: Sequence[AnalogyQuestion] | Sequence[GenerationItem], recipe: Recipe, out: Path
    ) -> dict[str, Any]:
        """Fine-tune on recognition questions or on generation items; see `Scorer`."""
        examples = [example_of(one) for one in questions]
        ready = partial(collate_examples, self.tokenizer, self.seq2seq)
        facts = fine_tune(self.model, examples, recipe, out, collate=ready, label="analogykb seq2seq")
        self.model.eval()
        return facts

    def choice_scores(
        self, stems: Sequence[Pair], choices: Sequence[Sequence[Pair]]
    ) -> list[NDArray[np.float64]]:
        """Log-probability of each choice's letter, summed over its tokens."""
        examples = [
            (recognition_text(stem, given), LETTERS[i])
            for stem, given in zip(stems, choices, strict=True)
            for i in range(len(given))
        ]
        flat = self._log_probabilities(examples)
        ends = np.cumsum([len(given) for given in choices])
        return np.split(flat, ends[:-1])

    def generate(self, items: Sequence[GenerationItem], k: int = 1) -> list[list[str]]:
        """The k likeliest continuations of each item by beam search, the likeliest first."""
        device = default_device()
        self.model.to(device).eval()
        side, self.tokenizer.padding_side = self.tokenizer.padding_side, "left"
        found: list[list[str]] = []
        try:
            for start in range(0, len(items), _AT_ONCE):
                part = items[start : start + _AT_ONCE]
                batch = self.tokenizer(
                    [generation_text(i.stem, i.query) for i in part], return_tensors="pt", padding=True
                ).to(device)
                batch.pop("token_type_ids", None)
                with torch.inference_mode():
                    out = self.model.generate(
                        **batch, max_new_tokens=_NEW_TOKENS, num_beams=max(k, 1), num_return_sequences=k,
                        do_sample=False, pad_token_id=self.tokenizer.pad_token_id,
                    )  # fmt: skip
                new = out if self.seq2seq else out[:, batch["input_ids"].shape[1] :]
                texts = self.tokenizer.batch_decode(new, skip_special_tokens=True)
                found += [[_first_term(t) for t in texts[i * k : (i + 1) * k]] for i in range(len(part))]
        finally:
            self.tokenizer.padding_side = side
        return found

    def save(self, folder: Path) -> None:
        """`save_pretrained`, with the tokenizer."""
        self.model.cpu().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def _log_probabilities(self, examples: Sequence[Example]) -> NDArray[np.float64]:
        device = default_device()
        self.model.to(device).eval()
        found: list[float] = []
        for start in range(0, len(examples), _AT_ONCE):
            batch = collate_examples(self.tokenizer, self.seq2seq, examples[start : start + _AT_ONCE])
            labels = batch["labels"].to(device)
            with torch.inference_mode():
                logits = self.model(**{k: v.to(device) for k, v in batch.items()}).logits.float()
            if not self.seq2seq:  # position t predicts token t + 1
                logits, labels = logits[:, :-1], labels[:, 1:]
            logs = logits.log_softmax(-1)
            kept = labels != _IGNORED
            at = logs.gather(-1, labels.clamp(min=0).unsqueeze(-1)).squeeze(-1)
            found += (at * kept).sum(1).double().tolist()
        return np.array(found)


def example_of(one: AnalogyQuestion | GenerationItem) -> Example:
    """What goes in, and what should come out."""
    if isinstance(one, GenerationItem):
        return generation_text(one.stem, one.query), one.accepted[0]
    return recognition_text(one.stem, one.choice), LETTERS[one.answer]


def collate_examples(tokenizer: Any, seq2seq: bool, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """A batch: input ids, attention mask, labels; a causal model's prompt is not learned."""
    if seq2seq:
        batch = tokenizer([text for text, _ in examples], return_tensors="pt", padding=True, truncation=True)
        targets = tokenizer([target for _, target in examples], return_tensors="pt", padding=True)
        labels = targets["input_ids"].masked_fill(targets["attention_mask"] == 0, _IGNORED)
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}
    rows, prompts = [], []
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    for text, target in examples:
        prompt = tokenizer(text)["input_ids"]
        rows.append(prompt + tokenizer(f" {target}", add_special_tokens=False)["input_ids"] + end)
        prompts.append(len(prompt))
    longest = max(map(len, rows))
    pad = tokenizer.pad_token_id or 0
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    labels = ids.masked_fill(mask == 0, _IGNORED)
    for row, length in enumerate(prompts):
        labels[row, :length] = _IGNORED
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _no_text_to_text(name: str, reason: str) -> EtudeError:
    return EtudeError(
        f"{name}: cannot be a text-to-text model ({reason})",
        "Give T5, BART, or a causal model such as smollm2 or gpt2.",
    )


def _first_term(text: str) -> str:
    """The first line up to a period or comma: one term."""
    for mark in ("\n", ".", ","):
        text = text.split(mark)[0]
    return text.strip()
