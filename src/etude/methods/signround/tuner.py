"""SignRound's tuner: SignSGD on the rounding of all weights of one block (paper algorithm 1).

Target Y is the block's full-precision output; the prediction is the block with W~ on the calibration inputs;
the loss is their mean squared error. Every step moves V, alpha and beta by the learning rate against the sign
of the gradient; the rate falls linearly from 1/T to 0, so that V can cross its whole range of one half but
not more.

Which parameters are kept: the released tool keeps those with the lowest loss seen on random mini-batches,
which is noisy; `select="val"` (ours, default) compares on a fixed held-out slice of the calibration samples
instead.
"""

import math
import resource
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from etude.errors import EtudeError
from etude.methods.signround.blocks import Block
from etude.methods.signround.grid import QuantizedLinear
from etude.methods.signround.linear_gradient import LowPrecisionWeightGradient, multiplies_bfloat16_fast
from etude.methods.signround.rounding import TunedWeight
from etude.methods.signround.schemes import QuantScheme

Select = Literal["val", "minibatch", "last"]
VAL_CHECKS = 10  # how often the validation slice is looked at in a run of T steps


@dataclass(frozen=True)
class RoundingConfig:
    """How to tune. The defaults are the released tool's; `RECIPES` holds the others.

    Args:
        steps: T, SignSGD steps per block; 0 is round-to-nearest.
        lr: Step of V; 1/T when None.
        minmax_lr: Step of alpha and beta; `lr` when None.
        batch_size: Samples per step.
        seqlen: Tokens per sample.
        nsamples: Calibration samples.
        tune_rounding: Tune V.
        tune_minmax: Tune alpha and beta.
        quantized_input: A block's inputs come from the already quantized blocks, not from the full-precision
            ones.
        select: Keep the parameters with the lowest loss on the validation slice, on the mini-batches, or the
            last.
        v_limit: |V| at most this; None lets a weight move more than one level.
        compute_dtype: Dtype of the block's matrix products while tuning; parameters stay float32.
        gradient_dtype: Dtype of the product that gives the weight gradient, of which only the sign is used;
            "auto" is bfloat16 where the machine multiplies it fast.
        seed: Seed of the mini-batches and of the choice of samples.
    """

    steps: int = 200
    lr: float | None = None
    minmax_lr: float | None = None
    batch_size: int = 8
    seqlen: int = 2048
    nsamples: int = 128
    tune_rounding: bool = True
    tune_minmax: bool = True
    quantized_input: bool = True
    select: Select = "val"
    v_limit: float | None = 0.5
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    gradient_dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("batch_size", 1), ("seqlen", 2), ("nsamples", 1)):
            if getattr(self, name) < least:
                raise EtudeError(f"{name} = {getattr(self, name)} is too small", f"use at least {least}")
        if self.select not in ("val", "minibatch", "last"):
            raise EtudeError(f"select = {self.select!r} is not known", "use val, minibatch or last")


RECIPES: dict[str, RoundingConfig] = {
    "default": RoundingConfig(),
    "best": RoundingConfig(steps=1000, nsamples=512),
    "light": RoundingConfig(steps=50, lr=5e-3),
    "laptop": RoundingConfig(steps=50, nsamples=64, seqlen=256, batch_size=4),
}


@dataclass(frozen=True)
class BlockResult:
    """What quantizing one block gave.

    Attributes:
        weights: {parameter name in the block: its quantized weight}.
        loss_initial: Mean squared error of the block with RTN, on the validation slice.
        loss_best: The same with the weights that were kept.
        step_best: After how many steps they were reached.
        seconds: Wall time.
        peak_mb: Peak resident memory of the process so far.
        untouched: Layers whose experts saw no calibration token: they are RTN.
        note: Why the block was not tuned as asked, else empty.
    """

    weights: dict[str, QuantizedLinear]
    loss_initial: float
    loss_best: float
    step_best: int
    seconds: float
    peak_mb: float
    untouched: tuple[str, ...] = ()
    note: str = ""


class NonFiniteLoss(EtudeError):
    """The loss of a block is NaN or infinite."""


def tune_block(
    block: Block,
    inputs: Tensor,
    target: Callable[[Tensor], Tensor],
    schemes: Mapping[str, QuantScheme],
    config: RoundingConfig,
    generator: torch.Generator,
) -> BlockResult:
    """Tune the rounding of a block's weights.

    Args:
        block: The block, its weights still in full precision.
        inputs: Calibration inputs, (samples, seqlen, hidden).
        target: Full-precision outputs of the samples with the given indices, (batch, seqlen, features).
        schemes: {parameter name: its scheme}; other weights keep full precision.
        config: Steps, rates, selection.
        generator: Draws the mini-batches.

    Raises:
        NonFiniteLoss: The loss is NaN or infinite.
    """
    started = time.perf_counter()
    block.module.requires_grad_(False)  # only W~ is differentiated: norms and biases must not cost a backward
    slots = {slot.parameter: slot for slot in block.slots}
    tuned = {
        name: TunedWeight(block.matrix(slots[name]), scheme, config.v_limit)
        for name, scheme in schemes.items()
    }
    leaves = {name: weight.weight_q for name, weight in tuned.items()}
    train, val = split(len(inputs), config)
    low_precision = config.compute_dtype == "float32" and (
        config.gradient_dtype == "bfloat16"
        or (config.gradient_dtype == "auto" and multiplies_bfloat16_fast(inputs.device))
    )

    def loss_of(samples: Tensor) -> Tensor:
        with (
            torch.autocast(inputs.device.type, torch.bfloat16, enabled=config.compute_dtype == "bfloat16"),
            LowPrecisionWeightGradient() if low_precision else nullcontext(),
        ):
            output = block(inputs[samples], leaves)
        return functional.mse_loss(output.float(), target(samples).float())

    def val_loss() -> float:
        with torch.no_grad():
            losses = [float(loss_of(part)) * len(part) for part in torch.split(val, config.batch_size)]
        return require_finite(sum(losses) / len(val), block, inputs[val[:1]], leaves)

    def snapshot() -> dict[str, QuantizedLinear]:
        return {name: weight.quantized() for name, weight in tuned.items()}

    initial = val_loss()
    best, best_step = snapshot(), 0
    best_loss = initial if config.select == "val" else math.inf

    def consider(loss: float, step: int) -> None:
        nonlocal best, best_loss, best_step
        if loss < best_loss:
            best, best_loss, best_step = snapshot(), loss, step

    check_every = max(1, config.steps // VAL_CHECKS)
    rate = config.lr if config.lr is not None else 1 / max(1, config.steps)
    minmax_rate = config.minmax_lr if config.minmax_lr is not None else rate
    for step in range(config.steps):
        chosen = train[torch.randperm(len(train), generator=generator)[: config.batch_size]]
        loss = loss_of(chosen)
        if config.select == "minibatch":
            consider(require_finite(float(loss.detach()), block, inputs[chosen[:1]], leaves), step)
        gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        decay = 1 - step / config.steps
        for weight, gradient in zip(tuned.values(), gradients, strict=True):
            if gradient is not None:
                weight.step(
                    gradient,
                    rate * decay if config.tune_rounding else 0.0,
                    minmax_rate * decay if config.tune_minmax else 0.0,
                )
        done = step + 1
        if config.select == "val" and (done % check_every == 0 or done == config.steps):
            consider(val_loss(), done)
    if config.select == "last":
        best, best_step = snapshot(), config.steps
    return BlockResult(
        weights=best,
        loss_initial=initial,
        loss_best=best_loss if config.select == "val" else block_loss(block, inputs, target, best, config),
        step_best=best_step,
        seconds=time.perf_counter() - started,
        peak_mb=peak_mb(),
        untouched=tuple(
            slots[name].layer for name, weight in tuned.items() if config.steps and not weight.touched
        ),
    )


def split(samples: int, config: RoundingConfig) -> tuple[Tensor, Tensor]:
    """Indices of the samples to tune on and of the fixed validation slice: an eighth, at most 8, held out.

    With fewer than eight samples nothing is held out, and with `select` other than "val" nothing needs to be.
    """
    everything = torch.arange(samples)
    held_out = min(8, samples // 8)
    if not held_out:
        return everything, everything
    return everything[:-held_out] if config.select == "val" else everything, everything[-held_out:]


@torch.no_grad()
def block_loss(
    block: Block,
    inputs: Tensor,
    target: Callable[[Tensor], Tensor],
    weights: Mapping[str, QuantizedLinear],
    config: RoundingConfig,
) -> float:
    """Mean squared error of a block with quantized weights, on the validation slice."""
    matrices = {name: weight.dequantize() for name, weight in weights.items()}
    _, val = split(len(inputs), config)
    total = 0.0
    for part in torch.split(val, config.batch_size):
        total += float(
            functional.mse_loss(block(inputs[part], matrices).float(), target(part).float())
        ) * len(part)
    return require_finite(total / len(val), block, inputs[val[:1]], matrices)


def require_finite(loss: float, block: Block, inputs: Tensor, weights: Mapping[str, Tensor]) -> float:
    """The loss itself.

    Raises:
        NonFiniteLoss: It is NaN or infinite; the message names the first layer whose output is.
    """
    if math.isfinite(loss):
        return loss
    raise NonFiniteLoss(
        f"block {block.name}: the loss is {loss}, first seen in {first_non_finite(block, inputs, weights)}",
        "check the checkpoint in this dtype; --nonfinite rtn rounds this block to nearest and goes on",
    )


@torch.no_grad()
def first_non_finite(block: Block, inputs: Tensor, weights: Mapping[str, Tensor]) -> str:
    """The first layer of a block whose output is NaN or infinite."""
    if not torch.isfinite(inputs).all():
        return "the block's inputs"
    found: list[str] = []

    def look(name: str) -> Callable[..., None]:
        def hook(_module: object, _inputs: object, output: object) -> None:
            if isinstance(output, Tensor) and not torch.isfinite(output).all():
                found.append(name)

        return hook

    handles = [
        module.register_forward_hook(look(f"{block.name}.{name}"))
        for name, module in block.module.named_modules()
        if name and not list(module.children())
    ]
    try:
        block(inputs, weights)
    finally:
        for handle in handles:
            handle.remove()
    return f"layer {found[0]}" if found else "the block's output or target"


def peak_mb() -> float:
    """Peak resident memory of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
