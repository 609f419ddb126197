"""Diverse beam search: groups of beams, each told to avoid the tokens that earlier groups chose at this step.

Vijayakumar et al. 2016 (arXiv 1610.02424) with Hamming diversity, in the form of transformers' group beam
search, which left that library's core: in each step the groups choose one after the other; a token loses
`penalty` for every beam of an earlier group that chose it at this step; scores are sums of these penalized
log-probabilities, divided by length when an id is complete. Here all rows go through the model together, and
the penalty looks at the few best tokens only, which is exact: it can only lower the tokens that were chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from etude.errors import EtudeError
from etude.methods.idgen.beam_tree import BeamTree
from etude.methods.idgen.decoders import TreeDecoder

_NEVER = float("-inf")


@dataclass(frozen=True)
class Diversity:
    """How candidates are made.

    Args:
        beams: Candidates of a row.
        groups: They are made in this many groups; one beam to a group is the paper's setting.
        penalty: What a token loses for every earlier choice of it.
        fewest: Tokens before an id may end.
        most: Tokens at most, the end included.
    """

    beams: int = 10
    groups: int = 10
    penalty: float = 1.0
    fewest: int = 0
    most: int = 10

    def __post_init__(self) -> None:
        if self.groups < 1 or self.beams % self.groups or not 0 <= self.fewest < self.most:
            raise EtudeError(
                f"{self.beams} beams in {self.groups} groups, {self.fewest} to {self.most} tokens",
                "Beams must be a multiple of groups, and the most tokens above the fewest.",
            )


@torch.inference_mode()
def diverse_beam_search(
    decoder: TreeDecoder, input_ids: Tensor, attention_mask: Tensor, eos: int, how: Diversity
) -> list[list[list[int]]]:
    """Candidates for each row, best first, without their end token (section 3.2).

    Args:
        decoder: The model, as `tree_decoder` gives it.
        input_ids: What it reads, int64 (rows, length).
        attention_mask: 1 for what counts, int64 (rows, length).
        eos: The token that ends a candidate.
        how: Beams, groups, penalty, lengths.

    Raises:
        EtudeError: The model gives NaN.
    """
    rows, groups, size, device = len(input_ids), how.groups, how.beams // how.groups, input_ids.device
    tree = BeamTree(decoder, input_ids, attention_mask)
    chosen = tree.start[:, None].expand(rows, 1)  # (rows, beams): each beam's last token; one beam at first
    score = torch.full((rows, groups, size), _NEVER, device=device)
    score[:, :, 0] = 0.0
    written = torch.full((rows, how.beams, how.most), eos, device=device)  # (rows, beams, tokens)
    pool = _Pool.empty(rows, groups, size, how.most, eos, device)
    looked_at = min(2 * size + how.beams, decoder.weight.shape[0])
    for step in range(how.most):
        states = tree.feed(chosen[:, :, None], torch.ones_like(chosen))
        logits = F.linear(states, decoder.weight, decoder.bias).float()  # (rows, beams, vocabulary)
        total = logits.logsumexp(2, keepdim=True)
        if bool(total.isnan().any()):
            raise EtudeError("the model gives NaN", "Its weights are broken; train it again.")
        if step < how.fewest:
            logits[:, :, eos] = _NEVER
        best, token = logits.topk(looked_at, 2)
        best = (best - total).expand(rows, how.beams, -1).reshape(rows, groups, size, -1)
        token = token.expand(rows, how.beams, -1).reshape(rows, groups, size, -1)
        parents, tokens = [], []
        earlier = torch.empty(rows, 0, dtype=torch.long, device=device)
        for group in range(groups):
            again = (token[:, group, :, :, None] == earlier[:, None, None, :]).sum(3)
            gain = score[:, group, :, None] + best[:, group] - how.penalty * again  # (rows, size, looked at)
            value, place = gain.flatten(1).topk(min(2 * size, gain[0].numel()), 1)
            parent, picked = place // looked_at, token[:, group].flatten(1).gather(1, place)
            ends = picked == eos
            text = written[:, group * size : (group + 1) * size].gather(
                1, parent[:, :, None].expand(-1, -1, how.most)
            )
            timely = ends & (torch.arange(place.shape[1], device=device) < size)
            pool.add(group, value.masked_fill(~timely, _NEVER) / (step + 1), text)
            pool.close(group, value[:, 0] / (step + 1))
            value, kept = value.masked_fill(ends, _NEVER).topk(size, 1)
            score[:, group] = value
            parents.append(group * size + parent.gather(1, kept))
            tokens.append(picked.gather(1, kept))
            choice = tokens[-1].masked_fill(
                pool.closed[:, group, None], -1
            )  # a finished group chooses nothing
            earlier = torch.cat([earlier, choice], 1)
        parent, chosen = torch.cat(parents, 1), torch.cat(tokens, 1)
        written = written.gather(1, parent[:, :, None].expand(-1, -1, how.most))
        written[:, :, step] = chosen
        tree.follow(parent if step else torch.zeros_like(parent))
        if bool(pool.closed.all()):
            break
    for group in range(groups):
        pool.add(group, score[:, group] / how.most, written[:, group * size : (group + 1) * size])
    return pool.ranked(eos)


@dataclass
class _Pool:
    """The complete candidates of every group: as many as it has beams, the best of all so far."""

    score: Tensor  # (rows, groups, size)
    written: Tensor  # (rows, groups, size, tokens)
    closed: Tensor  # (rows, groups): nothing better can come

    @classmethod
    def empty(cls, rows: int, groups: int, size: int, most: int, eos: int, device: torch.device) -> _Pool:
        return cls(
            torch.full((rows, groups, size), _NEVER, device=device),
            torch.full((rows, groups, size, most), eos, device=device),
            torch.zeros(rows, groups, dtype=torch.bool, device=device),
        )

    def add(self, group: int, score: Tensor, written: Tensor) -> None:
        """Take in candidates of one group, score (rows, new) and tokens (rows, new, most)."""
        score = score.masked_fill(self.closed[:, group, None], _NEVER)
        scores = torch.cat([self.score[:, group], score], 1)
        texts = torch.cat([self.written[:, group], written], 1)
        self.score[:, group], kept = scores.topk(self.score.shape[2], 1)
        self.written[:, group] = texts.gather(1, kept[:, :, None].expand(-1, -1, texts.shape[2]))

    def close(self, group: int, best: Tensor) -> None:
        """Close the rows whose worst complete candidate is no worse than the best that could still come."""
        worst = self.score[:, group, -1]
        self.closed[:, group] |= (worst > _NEVER) & (worst >= best)

    def ranked(self, eos: int) -> list[list[list[int]]]:
        scores, texts = self.score.flatten(1), self.written.flatten(1, 2)
        order = scores.argsort(dim=1, descending=True, stable=True)
        return [
            [_until(row[place], eos) for place in places if score[place] > _NEVER]
            for row, score, places in zip(texts.tolist(), scores.tolist(), order.tolist(), strict=True)
        ]


def _until(tokens: list[int], eos: int) -> list[int]:
    return tokens[: tokens.index(eos)] if eos in tokens else tokens
