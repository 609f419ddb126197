"""The tree of tokens that all beams of a row have been given, and which of them each beam sees."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from etude.methods.idgen.decoders import TreeDecoder


class BeamTree:
    """Beams over rows that were read once.

    Args:
        decoder: The model.
        input_ids: What it reads first, int64 (rows, length).
        attention_mask: 1 for what counts, int64 (rows, length).
    """

    def __init__(self, decoder: TreeDecoder, input_ids: Tensor, attention_mask: Tensor) -> None:
        self.decoder = decoder
        self.reading: Any = decoder.read(input_ids, attention_mask)
        rows, device = len(input_ids), input_ids.device
        self.start: Tensor = self.reading.start
        self.sees = torch.zeros(rows, 1, 0, dtype=torch.bool, device=device)  # (rows, beams, tokens so far)
        self.depth = torch.zeros(rows, 1, dtype=torch.long, device=device)  # (rows, beams)

    def follow(self, parents: Tensor) -> None:
        """Let each new beam go on from an old one, int64 (rows, new beams)."""
        self.sees = self.sees.gather(1, parents[:, :, None].expand(-1, -1, self.sees.shape[2]))
        self.depth = self.depth.gather(1, parents)

    def feed(self, tokens: Tensor, count: Tensor) -> Tensor:
        """Give each beam its next tokens, in one pass of the model.

        Args:
            tokens: Int64 (rows, beams, most); beam (r, b) reads the first `count[r, b]` of its own.
            count: Int64 (rows, beams).

        Returns:
            The state after each beam's last token, (rows, beams, width); without meaning where count is 0.
        """
        rows, beams, most = tokens.shape
        device = tokens.device
        given = torch.arange(most, device=device) < count[:, :, None]  # (rows, beams, most)
        place = given.flatten(1).cumsum(1).view(given.shape) - 1  # of each token among its row's new ones
        new = int(count.sum(1).max())
        row, beam, nth = given.nonzero(as_tuple=True)
        at = place[row, beam, nth]
        flat = torch.zeros(rows, new, dtype=torch.long, device=device)
        flat[row, at] = tokens[row, beam, nth]
        depth = torch.zeros_like(flat)
        depth[row, at] = self.depth[row, beam] + nth
        owner = torch.full_like(flat, -1)
        owner[row, at] = beam
        before = torch.ones(new, new, dtype=torch.bool, device=device).tril()
        same = (owner[:, :, None] == owner[:, None, :]) & before  # padding sees padding, and nothing sees it
        old = self.sees.gather(1, owner.clamp(min=0)[:, :, None].expand(-1, -1, self.sees.shape[2]))
        states = self.decoder.extend(self.reading, flat, depth, torch.cat([old, same], 2))
        mine = owner[:, None, :] == torch.arange(beams, device=device)[None, :, None]
        self.sees = torch.cat([self.sees, mine], 2)
        self.depth = self.depth + count
        last = place.gather(2, (count - 1).clamp(min=0)[:, :, None])  # (rows, beams, 1)
        return states.gather(1, last.clamp(min=0).expand(-1, -1, states.shape[2]))
