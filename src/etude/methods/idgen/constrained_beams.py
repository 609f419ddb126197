"""Beam search over the ids of a catalogue: the same top-k as transformers' `prefix_allowed_tokens_fn`.

No Python runs per beam: the node of every beam is a number in a tensor, and its children are a slice of the
tree's arrays. The score of an item is the sum of its tokens' log-probabilities (length penalty 0, so that ids
of unequal length compare), with one of two normalizations:

- `vocabulary`: over all tokens, the paper's and transformers' default. It needs every logit.
- `allowed`: over the tokens that the tree allows (transformers with `renormalize_logits=True`). Only the rows
  of allowed tokens are multiplied, so the cost does not depend on the vocabulary, and where a beam has one
  child its step costs nothing: the child has probability 1, and its token is read together with later ones
  when the beam next has a choice.

Items that a user has seen are taken out of that user's tree: a node with nothing left under it is no child.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F

from etude.errors import EtudeError
from etude.methods.idgen.beam_tree import BeamTree
from etude.methods.idgen.decoders import TreeDecoder
from etude.methods.idgen.trie import TokenTrie

Normalization: TypeAlias = Literal["allowed", "vocabulary"]
_NEVER = float("-inf")
_PAIRS = 1 << 15  # output rows gathered at once
_DENSE = 16  # a product of matrices is worth it up to this many products for each one that is needed


@dataclass(frozen=True)
class Ranked:
    """The best items of each row, best first.

    Args:
        items: Item indices, int64 (rows, k); -1 where there are fewer than k.
        logprobs: Sums of natural log-probabilities, (rows, k); -inf there.
    """

    items: Tensor
    logprobs: Tensor

    @property
    def short(self) -> Tensor:
        """Rows that have fewer than k items, bool (rows,)."""
        return (self.items < 0).any(1)


@torch.inference_mode()
def constrained_beam_search(
    decoder: TreeDecoder,
    input_ids: Tensor,
    attention_mask: Tensor,
    trie: TokenTrie,
    *,
    beams: int = 20,
    k: int = 10,
    seen: Sequence[Sequence[int]] | None = None,
    normalize: Normalization = "allowed",
) -> Ranked:
    """The k most likely items of each row (section 3.3).

    Args:
        decoder: The model, as `tree_decoder` gives it.
        input_ids: What it reads, int64 (rows, length); for a causal model padded on the left.
        attention_mask: 1 for what counts, int64 (rows, length).
        trie: The items' ids.
        beams: Ids under way at once, at least k.
        k: Items wanted.
        seen: Item indices that each row must not get.
        normalize: Over `allowed` tokens or the whole `vocabulary`; see above.

    Raises:
        EtudeError: `k` is above `beams` or below 1, `seen` does not fit, or the model gives NaN.
    """
    if not 1 <= k <= beams:
        raise EtudeError(
            f"k {k} with {beams} beams",
            "Give 1 <= k <= beams (20 beams or more for k = 10).",
        )
    rows, device = len(input_ids), input_ids.device
    trie = trie.to(device)
    left = _items_left(trie, seen, rows)
    tree = BeamTree(decoder, input_ids, attention_mask)
    node = torch.zeros(rows, 1, dtype=torch.long, device=device)
    score = torch.zeros(rows, 1, device=device)  # (rows, beams); -inf: no beam
    if left is not None:
        score = score.masked_fill(left[:, -1:] == 0, _NEVER)
    waiting = tree.start[:, None, None]  # (rows, beams, most): tokens of the beam that the model has not read
    count = torch.ones_like(node)
    done_item = torch.full((rows, beams), -1, dtype=torch.long, device=device)
    done_score = torch.full((rows, beams), _NEVER, device=device)
    while bool((score > _NEVER).any()):
        edges = _edges(trie, node, score, left)
        choice = edges.count > (1 if normalize == "allowed" else 0)  # (rows, beams)
        if bool(choice.any()):
            states = tree.feed(waiting, count * choice)
            count = torch.where(choice, 0, count)
            gain = _log_probabilities(decoder, states[choice], edges, choice.flatten(), normalize)
        else:
            gain = torch.zeros(len(edges.child), device=device)
        best, edge = edges.best(
            score.flatten()[edges.owner] + gain, 2 * beams
        )  # as many as may end, and again
        parent, child = edges.owner[edge] % node.shape[1], edges.child[edge]
        token = trie.token[child]
        ends = (token == trie.eos) & (best > _NEVER)
        timely = ends & (torch.arange(best.shape[1], device=device) < beams)
        pool_score = torch.cat([done_score, best.masked_fill(~timely, _NEVER)], 1)
        pool_item = torch.cat([done_item, torch.where(timely, trie.item[trie.first[child]], -1)], 1)
        done_score, kept = pool_score.topk(beams, 1)
        done_item = pool_item.gather(1, kept)
        going, kept = best.masked_fill(ends, _NEVER).topk(min(beams, best.shape[1]), 1)
        # scores only fall: once `beams` ids are complete and better than all others, nothing can change
        score = going.masked_fill(done_score[:, -1:] >= going[:, :1], _NEVER)
        parent, node, token = (one.gather(1, kept) for one in (parent, child, token))
        tree.follow(parent)
        waiting, count = _append(waiting, count, parent, token)
    return Ranked(done_item[:, :k], done_score[:, :k])


def _items_left(trie: TokenTrie, seen: Sequence[Sequence[int]] | None, rows: int) -> Tensor | None:
    """How many unseen items stand before each rank, int64 (rows, items + 1); None where all are unseen."""
    items, device = len(trie), trie.item.device
    if seen is None:
        return None
    if len(seen) != rows or any(not 0 <= one < items for user in seen for one in user):
        raise EtudeError(
            f"seen items of {len(seen)} rows for {rows}, or an index outside of the {items} items",
            "Give one list of item indices for each row.",
        )
    rank = torch.empty_like(trie.item)
    rank[trie.item] = torch.arange(items, device=device)
    left = torch.ones(rows, items + 1, dtype=torch.long, device=device)
    left[:, 0] = 0
    for row, user in enumerate(seen):
        left[row, 1 + rank[list(user)]] = 0
    return left.cumsum(1)


@dataclass(frozen=True)
class _Edges:
    """All children of all beams, row by row and beam by beam; a list, since some nodes have many children.

    Args:
        owner: The beam that each child follows: row times beams plus beam, ascending, int64 (edges,).
        child: Its node, int64 (edges,).
        token: Its token, int64 (edges,).
        count: Children of each beam, int64 (rows, beams).
    """

    owner: Tensor
    child: Tensor
    token: Tensor
    count: Tensor

    def best(self, total: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """The highest totals of each row and their edges, (rows, most or fewer) both; -inf where none is."""
        rows, beams = self.count.shape
        size = self.count.sum(1)
        start = size.cumsum(0) - size
        row = self.owner // beams
        padded = torch.full((rows, int(size.max())), _NEVER, device=total.device)
        padded[row, torch.arange(len(total), device=total.device) - start[row]] = total
        value, place = padded.topk(min(most, padded.shape[1]), 1)
        return value, (start[:, None] + place).clamp(max=len(total) - 1)


def _edges(trie: TokenTrie, node: Tensor, score: Tensor, left: Tensor | None) -> _Edges:
    """The children of the living beams under which an item is left."""
    beams, device = node.shape[1], node.device
    start = trie.child_start[node].flatten()
    count = torch.where(score.flatten() > _NEVER, trie.child_start[node + 1].flatten() - start, 0)
    owner = torch.repeat_interleave(torch.arange(len(count), device=device), count)
    nth = torch.arange(len(owner), device=device) - (count.cumsum(0) - count)[owner]
    child = start[owner] + nth
    if left is not None:
        row = owner // beams
        alive = left[row, trie.last[child]] > left[row, trie.first[child]]
        owner, child = owner[alive], child[alive]
        count = torch.bincount(owner, minlength=len(count))
    return _Edges(owner, child, trie.token[child], count.view(node.shape))


def _log_probabilities(
    decoder: TreeDecoder,
    states: Tensor,
    edges: _Edges,
    choice: Tensor,
    normalize: Normalization,
) -> Tensor:
    """What each child adds to its beam's score, (edges,); 0 where the beam has no choice.

    Args:
        decoder: The model.
        states: Of the beams that have one, (choices, width).
        edges: All children.
        choice: Whether a beam has one, bool (rows * beams,).
        normalize: Over what.
    """
    asked = choice[edges.owner]
    state = (choice.cumsum(0) - 1)[edges.owner[asked]]  # of each asked child, its beam's place in `states`
    token = edges.token[asked]
    if normalize == "vocabulary":
        logits = F.linear(states, decoder.weight, decoder.bias).float()  # (choices, vocabulary)
        found = logits[state, token] - logits.logsumexp(1)[state]
    else:
        logit = _logits_of(decoder, states, state, token)
        highest = torch.full((len(states),), _NEVER, device=logit.device)
        highest = highest.scatter_reduce(0, state, logit, "amax")
        shifted = logit - highest[state]
        sums = torch.zeros_like(highest).index_add(0, state, shifted.exp())
        found = shifted - sums.log()[state]
    if bool(found.isnan().any()):
        raise EtudeError(
            "the model gives NaN as log-probability",
            "Its weights are broken; train it again.",
        )
    gain = torch.zeros(len(asked), device=found.device)
    gain[asked] = found
    return gain


def _logits_of(decoder: TreeDecoder, states: Tensor, state: Tensor, token: Tensor) -> Tensor:
    """Logits of pairs of state and token, (pairs,), from the rows of these tokens alone.

    Where most states meet most of the tokens (at the root, all of them), one product of matrices is faster
    than one of vectors for each pair.
    """
    used = torch.zeros(len(decoder.weight), dtype=torch.bool, device=token.device)
    used[token] = True
    tokens = used.nonzero()[:, 0]
    if len(states) * len(tokens) <= _DENSE * len(token):
        bias = None if decoder.bias is None else decoder.bias[tokens]
        return F.linear(states, decoder.weight[tokens], bias).float()[state, (used.cumsum(0) - 1)[token]]
    parts = range(0, len(token), _PAIRS)
    pairs = ((states[state[p : p + _PAIRS]], decoder.weight[token[p : p + _PAIRS]]) for p in parts)
    logit = torch.cat([torch.linalg.vecdot(one, row) for one, row in pairs]).float()
    return logit if decoder.bias is None else logit + decoder.bias[token]


def _append(waiting: Tensor, count: Tensor, parent: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """The new beams' unread tokens: those of their parents, and their own."""
    waiting = waiting.gather(1, parent[:, :, None].expand(-1, -1, waiting.shape[2]))
    count = count.gather(1, parent)
    most = int(count.max()) + 1
    waiting = F.pad(waiting, (0, max(most - waiting.shape[2], 0)))[:, :, :most]
    return waiting.scatter(2, count[:, :, None], token[:, :, None]), count + 1
