"""Which tokens a step sees: blocks of the corpus in an order that depends on seed and epoch alone.

The corpus is cut into blocks of `block` tokens. Epoch e visits them in the permutation drawn from (seed, e),
so any step's blocks are known without having made the steps before it: a resumed run needs only its step
number, and several processes need not talk to share a step. Tokens are read from the memory map as they are
needed; that takes microseconds, so no loader process takes a core from the training.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.teenytinyllama.shards import TokenShards


@dataclass(frozen=True)
class Batches:
    """The steps of a training, by number.

    Args:
        shards: Where the tokens are.
        block: Tokens of a sequence.
        sequences: Sequences of a step, over all processes.
        seed: Of the order.
        rank, world: This process takes each `world`-th sequence of a step, from its `rank`-th.
        vocab_size: Ids must be below it.

    Raises:
        EtudeError: The corpus has less than one block, or the processes do not divide the sequences.
    """

    shards: TokenShards
    block: int
    sequences: int
    seed: int
    vocab_size: int
    rank: int = 0
    world: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot give a single batch."""
        if len(self.shards) <= self.block:
            raise EtudeError(
                f"{self.shards.folder}: the {self.shards.split} split has {len(self.shards):,} tokens, "
                f"fewer than one block of {self.block:,} and the token after it",
                "Prepare more text, or choose a smaller --context.",
            )
        if self.sequences % self.world:
            raise EtudeError(
                f"{self.sequences} sequences a step do not divide among {self.world} processes",
                f"Choose --tokens-per-step as a multiple of {self.block * self.world:,}.",
            )

    @property
    def blocks(self) -> int:
        """Blocks of the corpus; each has a next token for its last, so every target is seen once an epoch."""
        return (len(self.shards) - 1) // self.block

    def cursor(self, step: int) -> tuple[int, int]:
        """Where a step begins: epoch, and blocks of that epoch that are used up."""
        return divmod(step * self.sequences, self.blocks)

    def block_ids(self, step: int) -> list[int]:
        """The blocks of a step, of all processes, in order."""
        first = step * self.sequences
        places = (divmod(place, self.blocks) for place in range(first, first + self.sequences))
        return [int(block_order(self.seed, epoch, self.blocks)[place]) for epoch, place in places]

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Ids and next ids of this process's part of a step, (sequences / world, block) int64 each.

        Raises:
            EtudeError: A token id is not below the vocabulary's size.
        """
        return self.read(self.block_ids(step)[self.rank :: self.world])

    def read(self, block_ids: list[int]) -> tuple[Tensor, Tensor]:
        """Ids and next ids of some blocks, (blocks, block) int64 each.

        Raises:
            EtudeError: A token id is not below the vocabulary's size.
        """
        rows = np.empty((len(block_ids), self.block + 1), dtype=np.int64)
        for row, number in zip(rows, block_ids, strict=True):
            row[:] = self.shards.read(number * self.block, (number + 1) * self.block + 1)
        if rows.max(initial=0) >= self.vocab_size:
            culprit = block_ids[int(rows.max(1).argmax())]
            raise EtudeError(
                f"{self.shards.folder}: block {culprit} of the {self.shards.split} split holds "
                f"token id {int(rows.max())}, and the model has {self.vocab_size:,} tokens",
                "Corpus and model do not belong together: prepare the corpus with the model's tokenizer.",
            )
        tokens = torch.from_numpy(rows)
        return tokens[:, :-1], tokens[:, 1:]


@lru_cache(maxsize=2)
def block_order(seed: int, epoch: int, blocks: int) -> np.ndarray:
    """The permutation of the blocks in an epoch, (blocks,)."""
    return np.random.default_rng([seed, epoch]).permutation(blocks)
