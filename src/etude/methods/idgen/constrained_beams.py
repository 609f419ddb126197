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
_EDGES = 1 << 15  # output rows gathered at once


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
        raise EtudeError(f"k {k} with {beams} beams", "Give 1 <= k <= beams (20 beams or more for k = 10).")
    rows, device = len(input_ids), input_ids.device
    trie = trie.to(device)
    left = _items_left(trie, seen, rows)
    tree = BeamTree(decoder, input_ids, attention_mask)
    node = torch.zeros(rows, 1, dtype=torch.long, device=device)
    score = torch.where(left[:, -1:] > 0, 0.0, _NEVER)  # (rows, beams); -inf: no beam
    waiting = tree.start[:, None, None]  # (rows, beams, most): tokens of the beam that the model has not read
    count = torch.ones_like(node)
    done_item = torch.full((rows, beams), -1, dtype=torch.long, device=device)
    done_score = torch.full((rows, beams), _NEVER, device=device)
    while bool((score > _NEVER).any()):
        child, alive = _children(trie, node, left)
        alive &= (score > _NEVER)[:, :, None]
        gain = torch.zeros(child.shape, device=device).masked_fill_(~alive, _NEVER)  # (rows, beams, children)
        choice = score > _NEVER if normalize == "vocabulary" else alive.sum(2) > 1
        if bool(choice.any()):
            states = tree.feed(waiting, count * choice)
            count = torch.where(choice, 0, count)
            gain = _log_probabilities(decoder, states, trie.token[child], alive, choice, gain, normalize)
        total = (score[:, :, None] + gain).flatten(1)
        best, flat = total.topk(min(2 * beams, total.shape[1]), 1)  # as many as may end, and as many again
        width = child.shape[2]
        parent, child = flat // width, child.flatten(1).gather(1, flat)
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


def _items_left(trie: TokenTrie, seen: Sequence[Sequence[int]] | None, rows: int) -> Tensor:
    """How many items are left before each rank, int64 (rows or 1, items + 1)."""
    items, device = len(trie), trie.item.device
    if seen is None:
        return torch.arange(items + 1, device=device).expand(rows, -1)
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


def _children(trie: TokenTrie, node: Tensor, left: Tensor) -> tuple[Tensor, Tensor]:
    """Children of each beam's node and whether an item is left under them, (rows, beams, children) both."""
    start, stop = trie.child_start[node], trie.child_start[node + 1]
    most = max(int((stop - start).max()), 1)
    child = start[:, :, None] + torch.arange(most, device=node.device)
    real = child < stop[:, :, None]
    child = torch.where(real, child, 0)
    row = torch.arange(len(node), device=node.device)[:, None, None]
    return child, real & (left[row, trie.last[child]] > left[row, trie.first[child]])


def _log_probabilities(
    decoder: TreeDecoder,
    states: Tensor,
    tokens: Tensor,
    alive: Tensor,
    choice: Tensor,
    gain: Tensor,
    normalize: Normalization,
) -> Tensor:
    """What each child adds to its beam's score, (rows, beams, children); as it was where no choice is."""
    if normalize == "vocabulary":
        logits = F.linear(states[choice], decoder.weight, decoder.bias).float()  # (choices, vocabulary)
        found = logits.log_softmax(1).gather(1, tokens[choice].clamp(min=0))  # padding has token -1
    elif states.shape[1] == 1 and bool((tokens == tokens[0]).all()):  # the first step: all are at the root
        root = tokens[0, 0]
        bias = None if decoder.bias is None else decoder.bias[root]
        logits = F.linear(states[:, 0], decoder.weight[root], bias).float()[choice[:, 0]]
        found = logits.masked_fill(~alive[choice], _NEVER).log_softmax(1)
    else:
        beam, edge = (chosen := alive[choice]).nonzero(as_tuple=True)
        token, state = tokens[choice][beam, edge], states[choice]
        parts = range(0, len(beam), _EDGES)
        rows_of = ((state[beam[p : p + _EDGES]], decoder.weight[token[p : p + _EDGES]]) for p in parts)
        logit = torch.cat([(one * row).sum(1) for one, row in rows_of])
        logit = logit if decoder.bias is None else logit + decoder.bias[token]
        logits = torch.full(chosen.shape, _NEVER, device=states.device)
        logits[beam, edge] = logit.float()
        found = logits.log_softmax(1)
    if bool(found.isnan().any()):
        raise EtudeError("the model gives NaN as log-probability", "Its weights are broken; train it again.")
    gain[choice] = found.masked_fill(~alive[choice], _NEVER)
    return gain


def _append(waiting: Tensor, count: Tensor, parent: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """The new beams' unread tokens: those of their parents, and their own."""
    waiting = waiting.gather(1, parent[:, :, None].expand(-1, -1, waiting.shape[2]))
    count = count.gather(1, parent)
    most = int(count.max()) + 1
    waiting = F.pad(waiting, (0, max(most - waiting.shape[2], 0)))[:, :, :most]
    return waiting.scatter(2, count[:, :, None], token[:, :, None]), count + 1
