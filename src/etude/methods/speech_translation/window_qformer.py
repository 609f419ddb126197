"""The window-level Q-Former of SALMONN (2310.13289, section 3.1): each window of frames becomes Q vectors."""

from __future__ import annotations

from torch import Tensor, nn, randn

from etude.methods.speech_translation.length_adapters import LengthAdapter, register_length_adapter, windows


@register_length_adapter("wlq")
class WindowQFormer(LengthAdapter):
    """In every window of L frames, Q learned queries attend to that window only.

    L = 17 is 0.33 s of Whisper's 50 features/s. 30 s give 89 windows, the last of 4 frames; SALMONN drops it,
    which gives 88.

    Args:
        width: d of the features.
        window: L.
        queries: Q.
        layers: Blocks of self-attention among queries, cross-attention, feed-forward (BERT's, post-norm).
        hidden: Width of the queries.
        heads: Attention heads.
    """

    def __init__(
        self,
        width: int,
        window: int = 17,
        queries: int = 1,
        layers: int = 2,
        hidden: int = 768,
        heads: int = 12,
    ) -> None:
        super().__init__(width)
        self.window, self.out_width = window, hidden
        self.queries = nn.Parameter(randn(queries, hidden) * 0.02)
        self.blocks = nn.ModuleList(_QueryBlock(width, hidden, heads) for _ in range(layers))

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """ceil(length / L) * Q vectors; audio shorter than a window gives one window, padded."""
        cut, real = windows(x, lengths, self.window)  # (B, W, L, d), (B, W, L)
        batch, count = real.shape[:2]
        frames, hidden = cut.flatten(0, 1), ~real.flatten(0, 1)
        hidden[:, 0] = False  # a window behind the end would attend to nothing: not a number
        states = self.queries.expand(batch * count, -1, -1)
        for block in self.blocks:
            states = block(states, frames, hidden)
        made = states.reshape(batch, -1, self.out_width)
        return made, -(-lengths // self.window) * self.queries.shape[0]


class _QueryBlock(nn.Module):
    def __init__(self, width: int, hidden: int, heads: int) -> None:
        super().__init__()
        self.own = nn.MultiheadAttention(hidden, heads, batch_first=True)
        self.cross = nn.MultiheadAttention(hidden, heads, kdim=width, vdim=width, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(hidden, 4 * hidden), nn.GELU(), nn.Linear(4 * hidden, hidden))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(3))

    def forward(self, queries: Tensor, frames: Tensor, hidden: Tensor) -> Tensor:
        x = self.norms[0](queries + self.own(queries, queries, queries, need_weights=False)[0])
        seen = self.cross(x, frames, frames, key_padding_mask=hidden, need_weights=False)[0]
        x = self.norms[1](x + seen)
        out: Tensor = self.norms[2](x + self.feed(x))
        return out
