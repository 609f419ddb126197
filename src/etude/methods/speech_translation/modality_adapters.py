"""Block 3, the modality adapter: (B, N, d') to (B, N, d_llm); kinds register by name, whatever block 2 is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.functional import glu, silu

from etude.errors import EtudeError
from etude.methods.speech_translation.length_adapters import build_registered
from etude.methods.speech_translation.lengths import length_mask


class ModalityAdapter(nn.Module, ABC):
    """From the length adapter's space to the language model's.

    Args:
        width: d'.
        out_width: d_llm.
    """

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N, d') to (B, N, d_llm); lengths stay."""


Kind = TypeVar("Kind", bound=type[ModalityAdapter])
MODALITY_ADAPTERS: dict[str, type[ModalityAdapter]] = {}


def register_modality_adapter(name: str) -> Callable[[Kind], Kind]:
    """Make a class known under a name."""

    def add(kind: Kind) -> Kind:
        MODALITY_ADAPTERS[name] = kind
        return kind

    return add


def build_modality_adapter(kind: str, width: int, out_width: int, options: dict[str, Any]) -> ModalityAdapter:
    """A modality adapter by its kind.

    Raises:
        EtudeError: No such kind, or an option it does not have.
    """
    return build_registered("modality adapter", MODALITY_ADAPTERS, kind, width, out_width, options=options)


@register_modality_adapter("none")
class NoModalityAdapter(ModalityAdapter):
    """For a length adapter that already gives d_llm."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__(width, out_width)
        if width != out_width:
            raise EtudeError(
                f"without a modality adapter the width {width} must be the language model's {out_width}",
                "Take --ma linear.",
            )

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same."""
        return x, lengths


@register_modality_adapter("linear")
class LinearModalityAdapter(ModalityAdapter):
    """One linear layer."""

    def __init__(self, width: int, out_width: int) -> None:
        super().__init__(width, out_width)
        self.linear = nn.Linear(width, out_width)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """W x + b."""
        return self.linear(x), lengths


@register_modality_adapter("mlp")
class MLPModalityAdapter(ModalityAdapter):
    """d' to hidden to d_llm with GELU (BLSP: a bottleneck of 512).

    Args:
        width: d'.
        out_width: d_llm.
        hidden: Width between; d_llm by default.
    """

    def __init__(self, width: int, out_width: int, hidden: int | None = None) -> None:
        super().__init__(width, out_width)
        between = hidden or out_width
        self.layers = nn.Sequential(nn.Linear(width, between), nn.GELU(), nn.Linear(between, out_width))

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Two linear layers."""
        return self.layers(x), lengths


@register_modality_adapter("transformer")
class TransformerModalityAdapter(ModalityAdapter):
    """n pre-norm Transformer layers, then a linear layer (Speech-LLaMA: 4; SLM: 2).

    Args:
        width: d'.
        out_width: d_llm.
        layers: n.
        heads: Attention heads.
        dropout: Of the layers.
    """

    def __init__(
        self, width: int, out_width: int, layers: int = 2, heads: int = 8, dropout: float = 0.0
    ) -> None:
        super().__init__(width, out_width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.linear = nn.Linear(width, out_width)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Attention sees what lies before each length only."""
        behind = ~length_mask(lengths, x.shape[1])
        return self.linear(self.layers(x, src_key_padding_mask=behind)), lengths


@register_modality_adapter("conformer")
class ConformerModalityAdapter(ModalityAdapter):
    """n Conformer layers (Gulati et al. 2020), then a linear layer (SALM: 2).

    Args:
        width: d'.
        out_width: d_llm.
        layers: n.
        heads: Attention heads.
        kernel: Frames of the depthwise convolution.
    """

    def __init__(self, width: int, out_width: int, layers: int = 2, heads: int = 8, kernel: int = 9) -> None:
        super().__init__(width, out_width)
        self.layers = nn.ModuleList(_ConformerLayer(width, heads, kernel) for _ in range(layers))
        self.linear = nn.Linear(width, out_width)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Attention and convolutions see what lies before each length only."""
        real = length_mask(lengths, x.shape[1])
        for layer in self.layers:
            x = layer(x, real)
        return self.linear(x), lengths


class _ConformerLayer(nn.Module):
    """Half a feed-forward, attention, convolution, half a feed-forward; LayerNorm in place of BatchNorm."""

    def __init__(self, width: int, heads: int, kernel: int) -> None:
        super().__init__()
        self.feeds = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width)
            )
            for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.point = nn.Linear(width, width)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        x = x + self.feeds[0](x) / 2
        normed = self.norms[0](x)
        x = x + self.attention(normed, normed, normed, key_padding_mask=~real, need_weights=False)[0]
        inner = glu(self.gate(self.norms[1](x))) * real.unsqueeze(-1)
        inner = self.depthwise(inner.transpose(1, 2)).transpose(1, 2)
        x = x + self.point(silu(self.norms[2](inner)))
        out: Tensor = self.norms[3](x + self.feeds[1](x) / 2)
        return out
