"""A small character language model that translates number words: the frozen language model of the claim.

It is trained on text alone, lines like `three seven two=dreihundertzweiundsiebzig` and `three seven two>three
seven two`. So it knows the translation, and an adapter alone must bring speech into its text space.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from etude.data.store import cache_root, locked
from etude.methods.speech_translation.lengths import pad_rows
from etude.methods.speech_translation.spoken_numbers import english, german
from etude.models.quiet import quiet_transformers
from etude.runs import atomic_path, content_hash
from etude.training import fit

CHARACTERS = " abcdefghijklmnopqrstuvwxyzäöüß=>"
TRANSLATE, REPEAT = "{speech}=", "{speech}>"
_VERSION = 1


def character_lm(
    numbers: Sequence[int], seed: int, *, steps: int = 300, width: int = 128, layers: int = 3
) -> Path:
    """The directory of a trained character LM; trained once per seed and kept in the cache.

    Args:
        numbers: Whose words it learns.
        seed: Of weights and order.
        steps: Optimizer steps of 32 lines.
        width: d_llm.
        layers: Transformer layers.
    """
    key = content_hash([_VERSION, list(numbers), seed, steps, width, layers, torch.__version__])[:16]
    folder = cache_root() / "speech-translation" / "character-lm" / key
    with locked(f"character-lm-{key}"):
        if not folder.is_dir():
            with atomic_path(folder) as temporary, quiet_transformers():
                _train(temporary, numbers, seed, steps, width, layers)
    return folder


def character_tokenizer() -> Any:
    """One token per character, and begin, end, padding."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *CHARACTERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.decoder = decoders.Fuse()
    make: Any = PreTrainedTokenizerFast
    return make(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


class _Lines(Dataset[list[tuple[list[int], int]]]):
    """Batches of 32 lines: token ids, and where the part to be learned begins."""

    def __init__(self, tokenizer: Any, numbers: Sequence[int], steps: int, seed: int) -> None:
        draw = random.Random(seed)
        lines = 2 * [(english(n), "=", german(n)) for n in numbers]
        lines += [(english(n), ">", english(n)) for n in numbers]
        encoded = [
            ([tokenizer.bos_token_id, *tokenizer.encode(a + sign + b), tokenizer.eos_token_id], len(a) + 2)
            for a, sign, b in lines
        ]
        self.batches = [draw.sample(encoded, 32) for _ in range(steps)]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> list[tuple[list[int], int]]:
        return self.batches[index]


def _collate(items: list[list[tuple[list[int], int]]]) -> dict[str, Tensor]:
    rows = items[0]
    ids, lengths = pad_rows([torch.tensor(row) for row, _ in rows])
    mask = torch.arange(ids.shape[1])[None] < lengths[:, None]
    starts = torch.tensor([start for _, start in rows])
    labels = ids.masked_fill(~mask | (torch.arange(ids.shape[1])[None] < starts[:, None]), -100)
    return {"input_ids": ids, "attention_mask": mask.long(), "labels": labels}


def _train(folder: Path, numbers: Sequence[int], seed: int, steps: int, width: int, layers: int) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = character_tokenizer()
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=1024,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = LlamaForCausalLM(config)
    with tempfile.TemporaryDirectory() as scratch:
        fit(
            model,
            _Lines(tokenizer, numbers, steps, seed),
            out=Path(scratch),
            steps=steps,
            batch_size=1,
            learning_rate=3e-3,
            warmup=0.05,
            save_every=steps,
            collate=_collate,
            seed=seed,
            label="character LM",
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
