"""STG-Adapter: two linear maps into the language model's space and back (paper section 3.3)."""

from __future__ import annotations

from torch import Tensor, nn


class STGAdapter(nn.Module):
    """Encoder T_q = T_e W1 + b1; decoder Y = ((H W2 + b2) + T_e) W3 + b3.

    Args:
        token_width: Columns of a token, L·F + 128.
        width: D, the language model's hidden size.
        horizon: P, steps forecast.
    """

    def __init__(self, token_width: int, width: int, horizon: int):
        super().__init__()
        self.encoder = nn.Linear(token_width, width)
        self.decoder = nn.Linear(width, token_width)
        self.output = nn.Linear(token_width, horizon)

    def encode(self, tokens: Tensor) -> Tensor:
        """(B, N, token_width) to (B, N, D)."""
        return self.encoder(tokens)  # type: ignore[no-any-return]

    def decode(self, states: Tensor, tokens: Tensor) -> Tensor:
        """States (B, N, D) and the tokens they came from to z-scores (B, N, P)."""
        return self.output(self.decoder(states) + tokens)  # type: ignore[no-any-return]
