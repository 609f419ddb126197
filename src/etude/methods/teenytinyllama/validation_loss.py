"""Loss on held-out text while training, and what the model writes so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from etude.methods.teenytinyllama.batches import Batches
from etude.methods.teenytinyllama.configs import ModelConfig
from etude.methods.teenytinyllama.distributed import Team
from etude.methods.teenytinyllama.network import Decoder, document_mask
from etude.methods.teenytinyllama.settings import TrainSettings
from etude.methods.teenytinyllama.shards import TOKENIZER, TokenShards

_PROMPT_TOKENS = 12
_SAMPLES = 2


@dataclass(frozen=True)
class HeldOut:
    """The held-out split of a corpus, as a training uses it.

    Args:
        batches: Blocks of the held-out split, None without one (or with one shorter than a block).
        blocks: How many of them an evaluation reads, evenly spread.
        micro_batch: Blocks at a time.
        settings: The training's.
        team: The processes; they share the blocks.
        notices: Why there is no evaluation.
    """

    batches: Batches | None
    blocks: int
    micro_batch: int
    settings: TrainSettings
    team: Team
    notices: list[str] = field(default_factory=list)

    @classmethod
    def of(
        cls, data: TokenShards, config: ModelConfig, settings: TrainSettings, micro_batch: int, team: Team
    ) -> HeldOut:
        """The held-out split of the corpus that a training reads."""
        totals = data.manifest.splits.get("val")
        if totals is None or totals.tokens <= config.context:
            note = f"fewer held-out tokens than a block of {config.context}: no evaluation while training"
            return cls(None, 0, micro_batch, settings, team, [note] if settings.eval_every != 0 else [])
        shards = TokenShards.open(data.folder, "val")
        batches = Batches(shards, config.context, 1, settings.seed, config.vocab_size)
        blocks = min(batches.blocks, max(1, settings.eval_tokens // config.context))
        return cls(batches, blocks, micro_batch, settings, team)

    @torch.no_grad()
    def evaluate(self, network: Decoder) -> dict[str, Any] | None:
        """Loss (nats a token), perplexity e^loss, and bits per UTF-8 byte of the held-out text.

        Bits per byte take the split's own ratio of tokens to bytes; end tokens count as tokens.
        """
        if self.batches is None:
            return None
        spread = [i * self.batches.blocks // self.blocks for i in range(self.blocks)]
        mine = spread[self.team.rank :: self.team.world]
        total = torch.zeros((), device=self.team.device, dtype=torch.float64)
        for start in range(0, len(mine), self.micro_batch):
            ids, targets = (
                t.to(self.team.device) for t in self.batches.read(mine[start : start + self.micro_batch])
            )
            end = self.batches.shards.manifest.end_token
            mask = document_mask(ids, end) if self.settings.document_mask else None
            total += network(ids, targets, mask).double() * len(ids)
        loss = float(self.team.mean(total)) * self.team.world / self.blocks
        totals = self.batches.shards.manifest.splits["val"]
        return {
            "split": "val",
            "tokens": self.blocks * self.batches.block,
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "bits_per_byte": loss / math.log(2) * totals.tokens / max(1, totals.bytes),
        }

    def samples(self, network: Decoder) -> list[dict[str, str]]:
        """Greedy continuations of a few beginnings of held-out text."""
        if self.batches is None or not self.settings.sample_tokens:
            return []
        from tokenizers import Tokenizer

        shards = self.batches.shards
        path = shards.folder / TOKENIZER / "tokenizer.json"
        tokenizer = Tokenizer.from_file(str(path))
        made: list[dict[str, str]] = []
        for number in range(_SAMPLES):
            start = number * (len(shards) // _SAMPLES)
            prompt = [int(t) for t in shards.read(start, min(start + _PROMPT_TOKENS, len(shards)))]
            text = network.greedy(prompt, self.settings.sample_tokens, shards.manifest.end_token)
            made.append({"prompt": tokenizer.decode(prompt), "text": tokenizer.decode(text)})
        return made
