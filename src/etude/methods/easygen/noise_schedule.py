"""How noise is added, and what the times mean: 0 is clean, 1..T carry noise (T almost nothing but noise).

The steps back are diffusers' schedulers. Their own indices run from 0 to T-1, where 0 already has noise: a
network that is told "0" for a clean condition must be told `index + 1` for noise. UniDiffuser was trained so;
diffusers' pipeline passes the bare index, which `first_index=0` reproduces.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from etude.errors import EtudeError
from etude.runs import read_json, write_json

Solver = Literal["ddim", "dpm++"]
Predicts = Literal["epsilon", "sample"]


@dataclass(frozen=True)
class NoiseSchedule:
    """The noise of each time, and what the network is asked for.

    Args:
        predicts: `epsilon`, the noise (UniDiffuser), or `sample`, the clean input, which is steadier on
            latents of few dimensions.
        betas: `cosine`, or `scaled_linear`: from 0.00085 to 0.0120, linear in the square root.
        solver: `ddim` or `dpm++` (DPM-Solver++, second order, multistep).
        steps: T, the number of noise levels.
        first_index: What the network is told for the smallest noise; 1, since 0 says "clean".
        order: Of DPM-Solver++.
    """

    predicts: Predicts = "epsilon"
    betas: Literal["cosine", "scaled_linear"] = "scaled_linear"
    solver: Solver = "dpm++"
    steps: int = 1000
    first_index: int = 1
    order: int = 2

    def __post_init__(self) -> None:
        """Compute the noise levels once."""
        object.__setattr__(self, "_levels", self.sampler().alphas_cumprod.double())

    def sampler(self) -> Any:
        """A fresh diffusers scheduler."""
        from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

        common: dict[str, Any] = {
            "num_train_timesteps": self.steps,
            "beta_schedule": "squaredcos_cap_v2" if self.betas == "cosine" else "scaled_linear",
            "beta_start": 0.00085,
            "beta_end": 0.0120,
            "prediction_type": self.predicts,
        }
        if self.solver == "ddim":
            return DDIMScheduler(
                **common, clip_sample=False, set_alpha_to_one=True, timestep_spacing="trailing"
            )
        return DPMSolverMultistepScheduler(**common, solver_order=self.order)

    def signal(self, t: Tensor) -> Tensor:
        """Share of variance that is signal at times 0..T, same shape as `t`; 1 at time 0."""
        levels = torch.cat([torch.ones(1, dtype=torch.float64), self._levels]).to(t.device)  # type: ignore[attr-defined]
        return levels[t]

    def noised(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """`sqrt(a) clean + sqrt(1 - a) noise`; exactly `clean` at time 0.

        Args:
            clean: (batch, ...).
            noise: The same shape, standard normal.
            t: Times 0..T, (batch,).
        """
        share = self.signal(t).float().view(-1, *[1] * (clean.dim() - 1))
        return share.sqrt() * clean + (1 - share).sqrt() * noise

    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should say, (batch, ...): the clean input, or the noise (zero at time 0)."""
        if self.predicts == "sample":
            return clean
        return noise * (t > 0).view(-1, *[1] * (clean.dim() - 1))

    def save(self, folder: Path) -> None:
        """Write the folder that diffusers reads as a scheduler, with our fields beside."""
        self.sampler().save_pretrained(folder)
        write_json(folder / "noise_schedule.json", asdict(self))

    @classmethod
    def load(cls, folder: Path) -> NoiseSchedule:
        """Read what `save` wrote, or a scheduler folder of diffusers' UniDiffuser.

        Raises:
            EtudeError: The folder holds no schedule that is known.
        """
        ours = folder / "noise_schedule.json"
        if ours.exists():
            return cls(**read_json(ours))
        config = read_json(folder / "scheduler_config.json")
        if (
            config.get("beta_schedule") != "scaled_linear"
            or config.get("prediction_type", "epsilon") != "epsilon"
        ):
            raise EtudeError(
                f"{folder}: a schedule other than UniDiffuser's ({config.get('beta_schedule')})",
                "Give a UniDiffuser folder, or one that train-bidiffuser wrote.",
            )
        return cls(steps=int(config["num_train_timesteps"]), order=int(config.get("solver_order", 2)))
