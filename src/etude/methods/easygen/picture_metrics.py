"""Generated pictures against real ones: Frechet distance, pixel error, and which picture is the nearest."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from etude.errors import EtudeError

Look = Literal["pixels", "inception"]
_SIDE = 8


class CoarsePixels(nn.Module):
    """Pictures as 8 x 8 mean colors: features that need no download, for tests and small pictures.

    A distance in them is a Frechet distance, but not *the* FID, and is comparable with itself alone.
    """

    num_features = 3 * _SIDE * _SIDE

    def forward(self, pictures: Tensor) -> Tensor:
        """(batch, 3, size, size) as bytes to (batch, 192)."""
        return F.adaptive_avg_pool2d(pictures.float() / 255, _SIDE).flatten(1)


def frechet_distance(real: Tensor, drawn: Tensor, *, look: Look = "inception") -> float:
    """FID by torchmetrics, or with `pixels` the same distance of coarse pixels.

    Args:
        real: (pictures, 3, size, size) in [-1, 1].
        drawn: The same.
        look: `inception` (its weights are downloaded by torch-fidelity) or `pixels`.

    Raises:
        EtudeError: torchmetrics or torch-fidelity is missing, or fewer than two pictures.
    """
    needed = ["torchmetrics", *(["torch_fidelity"] if look == "inception" else [])]
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        extra = "inception" if look == "inception" else "vision"
        raise EtudeError(f"the Frechet distance needs {', '.join(missing)}", f'pip install "etude[{extra}]"')
    if len(real) < 2 or len(drawn) < 2:
        raise EtudeError(f"{len(drawn)} pictures", "A Frechet distance needs two or more.")
    from torchmetrics.image.fid import FrechetInceptionDistance

    metric: Any = FrechetInceptionDistance(feature=2048 if look == "inception" else CoarsePixels())
    metric.set_dtype(torch.float64)
    for pictures, kind in ((real, True), (drawn, False)):
        for start in range(0, len(pictures), 64):
            part = ((pictures[start : start + 64].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
            metric.update(part, real=kind)
    return float(metric.compute())


@dataclass(frozen=True)
class Nearest:
    """Where drawn pictures lie among all real ones.

    Attributes:
        index: The nearest real picture of each, (drawn,).
        error: Mean squared pixel error to the right one, (drawn,).
    """

    index: Tensor
    error: Tensor


def nearest_pictures(drawn: Tensor, real: Tensor, right: Sequence[int]) -> Nearest:
    """The nearest real picture, by squared pixel distance, and the error to the right one.

    Args:
        drawn: (pictures, 3, size, size) in [-1, 1].
        real: All pictures, of training and test.
        right: Which of them each drawing should be.
    """
    drawn = drawn.clamp(-1, 1)
    distances = torch.cdist(drawn.flatten(1).double(), real.flatten(1).double())
    error = ((drawn - real[list(right)]) ** 2).flatten(1).mean(1)
    return Nearest(distances.argmin(1), error)
