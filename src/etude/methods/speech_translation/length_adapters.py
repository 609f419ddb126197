"""Block 2, the length adapter: (B, T, d) to (B, N, d'), N at most T, with lengths; kinds register by name.

    @register_length_adapter("every-other")
    class EveryOther(LengthAdapter):
        def forward(self, x, lengths):
            return x[:, ::2], (lengths + 1) // 2

Then `train(..., la="every-other")`. An adapter that learns from transcripts overrides `supervised`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from etude.errors import EtudeError
from etude.methods.speech_translation.lengths import length_mask


class LengthAdapter(nn.Module, ABC):
    """Shortens features; what lies behind a length is zero in and need not be zero out.

    Args:
        width: d of the features.

    Attributes:
        out_width: d' of what comes out.
        needs_transcripts: Whether it cannot be trained without transcripts.
    """

    needs_transcripts = False

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_width = width

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Adapt.

        Args:
            x: (B, T, d).
            lengths: (B,), at least 1.

        Returns:
            (B, N, d') and lengths (B,), at least 1.
        """

    def supervised(
        self, x: Tensor, lengths: Tensor, transcripts: Sequence[str | None]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """`forward` during training, with a loss of its own if it has one."""
        return (*self(x, lengths), None)


Kind = TypeVar("Kind", bound=type[LengthAdapter])
LENGTH_ADAPTERS: dict[str, type[LengthAdapter]] = {}


def register_length_adapter(name: str) -> Callable[[Kind], Kind]:
    """Make a class known under a name."""

    def add(kind: Kind) -> Kind:
        LENGTH_ADAPTERS[name] = kind
        return kind

    return add


def build_length_adapter(kind: str, width: int, options: dict[str, Any]) -> LengthAdapter:
    """A length adapter by its kind.

    Raises:
        EtudeError: No such kind, or an option it does not have.
    """
    from etude.methods.speech_translation import ctc_compression, integrate_and_fire, window_qformer

    assert ctc_compression and integrate_and_fire and window_qformer  # they register themselves
    return build_registered("length adapter", LENGTH_ADAPTERS, kind, width, options=options)


Block = TypeVar("Block")


def build_registered(
    what: str, registry: dict[str, type[Block]], kind: str, *sizes: Any, options: dict[str, Any] | None = None
) -> Block:
    """A registered block by its name and options.

    Raises:
        EtudeError: No such name, or the class has no such option.
    """
    if kind not in registry:
        raise EtudeError(f"no {what} {kind!r}", f"There are: {', '.join(registry)}.")
    import inspect

    known = list(inspect.signature(registry[kind]).parameters)[len(sizes) :]
    unknown = [name for name in options or {} if name not in known]
    if unknown:
        raise EtudeError(
            f"the {what} {kind!r} has no option {', '.join(map(repr, unknown))}",
            f"It has: {', '.join(known) or 'none'}.",
        )
    return registry[kind](*sizes, **(options or {}))


@register_length_adapter("none")
class NoLengthAdapter(LengthAdapter):
    """Base of 2409.17044: features as they are."""

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The same."""
        return x, lengths


@register_length_adapter("conv")
class ConvLengthAdapter(LengthAdapter):
    """n layers of Conv1d(kernel 5, stride 2, padding 2) and GELU: 2 layers shorten 4x, 3 layers 8x.

    Args:
        width: d.
        layers: n.
        hidden: d'; d by default.
    """

    def __init__(self, width: int, layers: int = 2, hidden: int | None = None) -> None:
        super().__init__(width)
        self.out_width = hidden or width
        sizes = [width, *[self.out_width] * layers]
        self.convs = nn.ModuleList(
            nn.Conv1d(a, b, kernel_size=5, stride=2, padding=2) for a, b in pairwise(sizes)
        )

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Each layer leaves ceil(length / 2); what lies behind the length never flows in."""
        for conv in self.convs:
            x = x * length_mask(lengths, x.shape[1]).unsqueeze(-1)
            x = gelu(conv(x.transpose(1, 2))).transpose(1, 2)
            lengths = (lengths + 1) // 2
        return x, lengths


def windows(x: Tensor, lengths: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cut time into windows.

    Args:
        x: (B, T, d).
        lengths: (B,).
        size: Frames of a window.

    Returns:
        (B, W, size, d) with zeros behind each length, and which frames are real, (B, W, size).
    """
    missing = -x.shape[1] % size
    real = pad(length_mask(lengths, x.shape[1]), (0, missing))
    x = pad(x, (0, 0, 0, missing)) * real.unsqueeze(-1)
    batch = x.shape[0]
    return x.reshape(batch, -1, size, x.shape[-1]), real.reshape(batch, -1, size)


@register_length_adapter("stack")
class StackLengthAdapter(LengthAdapter):
    """k neighbours side by side, then a linear layer (SLAM-ASR, 2402.08846: k = 5).

    Args:
        width: d.
        k: Neighbours.
        hidden: d'; d by default.
    """

    def __init__(self, width: int, k: int = 5, hidden: int | None = None) -> None:
        super().__init__(width)
        self.k, self.out_width = k, hidden or width
        self.linear = nn.Linear(width * k, self.out_width)

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """ceil(length / k) vectors; the last window is filled with zeros."""
        cut, _ = windows(x, lengths, self.k)
        return self.linear(cut.flatten(2)), -(-lengths // self.k)


@register_length_adapter("pool")
class PoolLengthAdapter(LengthAdapter):
    """Mean over windows of k frames (Qwen-Audio, 2311.07919: k = 2).

    Args:
        width: d.
        k: Frames of a window.
    """

    def __init__(self, width: int, k: int = 2) -> None:
        super().__init__(width)
        self.k = k

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """ceil(length / k) means; the last one over the frames that are there."""
        cut, real = windows(x, lengths, self.k)
        return cut.sum(2) / real.sum(2).clamp(min=1).unsqueeze(-1), -(-lengths // self.k)


def scatter_mean(x: Tensor, groups: Tensor, keep: Tensor, count: int) -> Tensor:
    """Mean of the frames of each group.

    Args:
        x: (B, T, d).
        groups: Which group a frame belongs to, (B, T).
        keep: Frames that count, (B, T).
        count: Groups at most.

    Returns:
        (B, count, d); zero for a group without frames.
    """
    weights = torch.nn.functional.one_hot(groups.clamp(0, count - 1), count).to(x.dtype) * keep.unsqueeze(-1)
    sums = weights.transpose(1, 2) @ x
    return sums / weights.sum(1).clamp(min=1).unsqueeze(-1)
