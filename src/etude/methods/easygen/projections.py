"""From a BiDiffuser's features to a language model's width.

`mlp` is the paper's: width, four times the width (768 to 3072), then the language model's, GELU, no dropout.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

ProjectionKind = Literal["mlp", "linear"]


class Projection(nn.Module):
    """Features to soft tokens.

    Args:
        dim: Width of the features.
        llm_dim: Width of the language model's embeddings.
        kind: `mlp` or a single linear layer.
    """

    def __init__(self, dim: int, llm_dim: int, kind: ProjectionKind = "mlp") -> None:
        super().__init__()
        self.dim, self.llm_dim, self.kind = dim, llm_dim, kind
        self.narrow = nn.Linear(4 * dim if kind == "mlp" else dim, llm_dim)
        self.widen = nn.Linear(dim, 4 * dim) if kind == "mlp" else None

    def forward(self, features: Tensor) -> Tensor:
        """(..., tokens, dim) to (..., tokens, llm_dim)."""
        hidden = features if self.widen is None else F.gelu(self.widen(features))
        projected: Tensor = self.narrow(hidden)
        return projected
