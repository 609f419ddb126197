"""From noise to a text or a picture, under a clean condition: many at once, no host synchronization per step.

Guidance s moves the estimate away from the one without condition: (1 + s) e(c) - s e(absent); at 0 the second
pass is not made. "Absent" is noise at time T (UniDiffuser, section 3.2), or an empty text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from etude.methods.easygen.noise_schedule import NoiseSchedule
from etude.methods.easygen.objectives import Latents
from etude.methods.easygen.uvit import UViT
from etude.render import console

_LARGEST = 1e4  # an estimate beyond this is as broken as one that is not a number


def noise_of(keys: Sequence[str], seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise that each key has of its own: the same in every batch and every process.

    Args:
        keys: What is sampled: picture ids, prompts.
        seed: Draws differ by it.
        shape: Of one row.

    Returns:
        (len(keys), *shape), on the CPU.
    """
    rows = []
    for key in keys:
        digest = hashlib.sha256(f"{seed}\0{key}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        rows.append(torch.randn(tuple(shape), generator=generator))
    return torch.stack(rows)


@torch.inference_mode()
def sample_text(
    network: UViT,
    schedule: NoiseSchedule,
    image: Tensor,
    clip: Tensor | None,
    noise: Tensor,
    *,
    steps: int,
    guidance: float = 0.0,
    absent: Latents | None = None,
) -> Tensor:
    """Text latents of pictures, (batch, text_tokens, text_dim).

    Args:
        network: The noise network.
        schedule: Its noise.
        image: Picture grids, (batch, channels, size, size).
        clip: CLIP vectors, (batch, 1, clip_dim), or None.
        noise: Where it starts, (batch, text_tokens, text_dim).
        steps: Of the solver.
        guidance: Strength s; 0 for none.
        absent: Noise that stands for the absent picture; needed with guidance.
    """
    batch, device = len(image), image.device
    clean = torch.zeros(batch, dtype=torch.long, device=device)
    top = torch.full_like(clean, schedule.steps - 1 + schedule.first_index)

    def estimate(text: Tensor, told: Tensor) -> Tensor:
        with_picture = network(image, clip, text, clean, told, wanted="text").text
        if not guidance:
            return _there(with_picture)
        assert absent is not None
        without = network(absent.image, absent.clip, text, top, told, wanted="text").text
        return (1 + guidance) * _there(with_picture) - guidance * _there(without)

    return solve(schedule, noise.to(device), estimate, steps)


@torch.inference_mode()
def sample_image(
    network: UViT,
    schedule: NoiseSchedule,
    text: Tensor,
    noise: Latents,
    *,
    steps: int,
    guidance: float = 0.0,
    without: Tensor | None = None,
    empty: bool = False,
) -> Tensor:
    """Picture grids of texts, (batch, channels, size, size).

    Args:
        network: The noise network.
        schedule: Its noise.
        text: Text latents, (batch, text_tokens, text_dim).
        noise: Where grid and CLIP vector start.
        steps: Of the solver.
        guidance: Strength s; 0 for none.
        without: The text that stands for no text, needed with guidance: noise, or an empty caption's latents.
        empty: Whether `without` is an empty caption (told as clean) rather than noise (told as absent).
    """
    batch, device = len(text), text.device
    clean = torch.zeros(batch, dtype=torch.long, device=device)
    t_without = clean if empty else torch.full_like(clean, schedule.steps - 1 + schedule.first_index)
    grid_shape = noise.image.shape[1:]
    flat = noise.image.flatten(1).to(device)
    if noise.clip is not None:
        flat = torch.cat([flat, noise.clip.flatten(1).to(device)], dim=1)
    cells = grid_shape.numel()

    def estimate(both: Tensor, told: Tensor) -> Tensor:
        image = both[:, :cells].view(batch, *grid_shape)
        clip = both[:, None, cells:] if noise.clip is not None else None

        def said(condition: Tensor, t_condition: Tensor) -> Tensor:
            found = network(image, clip, condition, told, t_condition, wanted="image")
            parts = [_there(found.image).flatten(1)]
            return torch.cat([*parts, found.clip.flatten(1)], dim=1) if found.clip is not None else parts[0]

        with_text = said(text, clean)
        if not guidance:
            return with_text
        assert without is not None
        return (1 + guidance) * with_text - guidance * said(without, t_without)

    return solve(schedule, flat, estimate, steps)[:, :cells].view(batch, *grid_shape)


def solve(
    schedule: NoiseSchedule, noise: Tensor, estimate: Callable[[Tensor, Tensor], Tensor], steps: int
) -> Tensor:
    """Follow a solver from noise to a clean sample of the same shape.

    Values of an estimate that are not finite, which near time T a half-trained network gives, are replaced by
    0 or the largest value, and their number is reported once.

    Args:
        schedule: The noise.
        noise: (batch, ...).
        estimate: From the noisy batch and what the network is told of its time, (batch,), to its estimate.
        steps: Of the solver.
    """
    solver = schedule.sampler()
    solver.set_timesteps(steps)
    x = noise * solver.init_noise_sigma
    broken = torch.zeros((), dtype=torch.long, device=noise.device)
    for t in solver.timesteps:
        told = torch.full((len(x),), int(t) + schedule.first_index, device=x.device)
        said = estimate(x, told).float()
        broken += (~torch.isfinite(said)).sum()
        said = torch.nan_to_num(said, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST).clamp(-_LARGEST, _LARGEST)
        x = solver.step(said, t, x).prev_sample
    if count := int(broken):
        console().print(
            f"sampling: {count:,} values of the network's estimates were not finite and were clamped; "
            "more training or `predicts=sample` helps"
        )
    return torch.nan_to_num(x, nan=0.0, posinf=_LARGEST, neginf=-_LARGEST)


def _there(value: Tensor | None) -> Tensor:
    assert value is not None
    return value
