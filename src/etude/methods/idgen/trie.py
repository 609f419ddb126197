"""The prefix tree of all item ids, in flat arrays.

Nodes are numbered level by level, so that the children of node n are the nodes `child_start[n]` to
`child_start[n + 1]` and an edge needs no array of its own: `token[c]` is the token that leads to node c. The
end of an id is an ordinary child, so an id and a longer one that begins with it meet at one node. Items are
ranked by their token rows; node n stands above the ranks `first[n]` to `last[n]`, so that how many items are
left under a node is a difference of two prefix sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from etude.errors import EtudeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LONGEST = 64
"""Tokens of an id at most."""


@dataclass(frozen=True)
class TokenTrie:
    """All item ids as a prefix tree.

    Args:
        child_start: First child of each node; one more entry closes the last, int64 (nodes + 1,).
        token: Token on the edge into each node; -1 for the root, int64 (nodes,).
        first: First rank of the items under each node, int64 (nodes,).
        last: One more than the last rank, int64 (nodes,).
        item: Item index at each rank, int64 (items,); the index is the place in what the tree was made from.
        eos: The token that ends an id.
    """

    child_start: Tensor
    token: Tensor
    first: Tensor
    last: Tensor
    item: Tensor
    eos: int

    @classmethod
    def from_tokens(cls, rows: Sequence[Sequence[int]], eos: int) -> TokenTrie:
        """The tree of token rows; row i is the id of item i, without its end.

        Raises:
            EtudeError: There is no row, a row is empty or holds the end, or two rows are the same.
        """
        if not rows:
            raise EtudeError("a tree of no ids", "Give at least one item.")
        for number, row in enumerate(rows):
            if not len(row) or eos in row:
                raise EtudeError(
                    f"the id of item number {number} {'holds the end token' if len(row) else 'has no token'}",
                    "Give every item an id of at least one word that the tokenizer knows.",
                )
        depth = max(map(len, rows)) + 1
        table = np.full((len(rows), depth), -1, dtype=np.int64)
        for number, row in enumerate(rows):
            table[number, : len(row)] = row
            table[number, len(row)] = eos
        order = np.lexsort(table.T[::-1])
        table = table[order]
        same = np.cumprod(table[1:] == table[:-1], axis=1).astype(bool)  # (items - 1, depth): shared so far
        if same.size and (twice := same[:, -1]).any():
            at = int(np.flatnonzero(twice)[0])
            raise EtudeError(
                f"items number {order[at]} and {order[at + 1]} have the same id",
                "Ids must be unique after tokenization; write them with: etude idgen ids",
            )
        new = np.vstack([np.ones((1, depth), dtype=bool), ~same]) & (table >= 0)
        return cls._levels(table, new, order, eos)

    @classmethod
    def _levels(cls, table: Any, new: Any, order: Any, eos: int) -> TokenTrie:
        """Number the nodes level by level from the sorted rows; `new` marks the rows where a node begins."""
        items, depth = table.shape
        tokens, firsts, lasts, parents = [np.array([-1])], [np.array([0])], [np.array([items])], []
        above, count = np.zeros(items, dtype=np.int64), 1  # node of each row one level up; nodes so far
        for level in range(depth):
            starts = np.flatnonzero(new[:, level])
            alive = table[:, level] >= 0
            mine = np.where(alive, np.cumsum(new[:, level]) - 1, -1)
            sizes = np.bincount(mine[alive], minlength=len(starts))
            tokens.append(table[starts, level])
            firsts.append(starts)
            lasts.append(starts + sizes)
            parents.append(above[starts])
            above = np.where(alive, count + mine, -1)
            count += len(starts)
        children = np.bincount(np.concatenate(parents), minlength=count)
        child_start = np.concatenate([[1], 1 + np.cumsum(children)])
        arrays = (child_start, np.concatenate(tokens), np.concatenate(firsts), np.concatenate(lasts), order)
        start, token, first, last, item = (torch.from_numpy(a.astype(np.int64)) for a in arrays)
        return cls(start, token, first, last, item, eos)

    @classmethod
    def from_ids(cls, ids: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> TokenTrie:
        """The tree of textual ids; id i belongs to item i.

        Raises:
            EtudeError: An id does not survive the tokenizer, or two are the same after it.
        """
        eos = tokenizer.eos_token_id
        if eos is None:
            raise EtudeError("the tokenizer has no end token", "Give one with eos_token.")
        return cls.from_tokens([id_tokens(one, tokenizer) for one in ids], int(eos))

    def __len__(self) -> int:
        """How many items."""
        return len(self.item)

    def to(self, device: torch.device | str) -> TokenTrie:
        """The same tree with its arrays on a device."""
        arrays = (self.child_start, self.token, self.first, self.last, self.item)
        start, token, first, last, item = (array.to(device) for array in arrays)
        return TokenTrie(start, token, first, last, item, self.eos)

    def node(self, prefix: Sequence[int]) -> int | None:
        """The node that a prefix leads to, or None where no id begins so."""
        node = 0
        for token in prefix:
            low, high = int(self.child_start[node]), int(self.child_start[node + 1])
            place = low + int(torch.searchsorted(self.token[low:high], token))
            if place == high or self.token[place] != token:
                return None
            node = place
        return node

    def allowed(self, prefix: Sequence[int]) -> list[int]:
        """Tokens that may follow a prefix, ascending; none where no id begins so or after the end."""
        node = self.node(prefix)
        if node is None:
            return []
        return [int(t) for t in self.token[self.child_start[node] : self.child_start[node + 1]]]

    def mask(self, prefixes: Sequence[Sequence[int]], vocabulary: int) -> Tensor:
        """Which tokens may follow each prefix, bool (prefixes, vocabulary)."""
        mask = torch.zeros(len(prefixes), vocabulary, dtype=torch.bool)
        for row, prefix in zip(mask, prefixes, strict=True):
            row[self.allowed(prefix)] = True
        return mask


def survives(textual_id: str, tokenizer: PreTrainedTokenizerBase, longest: int = LONGEST) -> bool:
    """Whether an id comes back from the tokenizer word for word, within a number of tokens."""
    tokens = tokenizer.encode(textual_id, add_special_tokens=False)
    if not 0 < len(tokens) <= longest or tokenizer.unk_token_id in tokens or tokenizer.eos_token_id in tokens:
        return False
    back = tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return str(back).split() == textual_id.split()


def id_tokens(textual_id: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens of an id.

    Raises:
        EtudeError: It does not survive the tokenizer.
    """
    if not survives(textual_id, tokenizer):
        raise EtudeError(
            f"the id {textual_id!r} does not come back from the tokenizer, or has more than {LONGEST} tokens",
            "Write ids for this tokenizer: etude idgen ids --tokenizer DIR",
        )
    return list(tokenizer.encode(textual_id, add_special_tokens=False))


def token_rows(ids: Mapping[str, str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """The tokens of every id, in the mapping's order."""
    return [id_tokens(one, tokenizer) for one in ids.values()]
