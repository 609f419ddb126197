"""How a model is trained, and how a user's wishes become exact numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch

from etude.errors import EtudeError
from etude.methods.teenytinyllama.configs import ModelConfig, parameters

Dtype = Literal["float32", "bfloat16"]
OnNan = Literal["stop", "skip"]

_FEW_TOKENS, _MANY_TOKENS = 5, 200  # per parameter
_FRESH_EPOCHS = 4  # up to here repeated data is nearly as good as new
_MICRO_TOKENS = 8192  # tokens that one process holds at once unless told otherwise
_LEAST_COMPILED = 20_000_000  # parameters from which compiling pays on a GPU run of any length


@dataclass(frozen=True)
class TrainSettings:
    """Everything that, with model and data, determines the weights.

    Attributes:
        steps, epochs, tokens: Length of the training; exactly one of the three.
        tokens_per_step: Tokens of an optimizer step, over all processes and accumulated batches.
        micro_batch: Sequences that a process holds at a time; the rest is accumulated. None: 8,192
            tokens' worth.
        learning_rate: Peak.
        warmup: Steps of rising rate; None: a twentieth of the run, at most 5,000.
        weight_decay: Of matrices; vectors do not decay.
        betas, eps: AdamW's.
        clip: Largest gradient norm; None clips nothing (the official code).
        seed: Of fresh weights and the order of the data.
        dtype: Of the matrix products; weights and optimizer stay in float32.
        compile: Whether torch.compile fuses the network; needs a C++ compiler (a GPU: Triton).
        document_mask: Whether a token may only look within its own document.
        on_nan: What to do when a loss is not finite.
        eval_every: Steps between evaluations; None: a tenth of the run; 0: never.
        eval_tokens: Most held-out tokens of an evaluation.
        checkpoint_every: Steps between checkpoints; None: a tenth of the run.
        keep: Checkpoints kept; 0: all.
        log_every: Steps between rows of metrics.jsonl; None: a two-hundredth of the run.
        sample_tokens: Tokens of each text sample at an evaluation; 0: no samples.
    """

    steps: int | None = None
    epochs: float | None = None
    tokens: int | None = None
    tokens_per_step: int = 8192
    micro_batch: int | None = None
    learning_rate: float = 6e-4
    warmup: int | None = None
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip: float | None = None
    seed: int = 42
    dtype: Dtype = "float32"
    compile: bool = False
    document_mask: bool = False
    on_nan: OnNan = "stop"
    eval_every: int | None = None
    eval_tokens: int = 65_536
    checkpoint_every: int | None = None
    keep: int = 2
    log_every: int | None = None
    sample_tokens: int = 32


@dataclass(frozen=True)
class Schedule:
    """The exact numbers of a training.

    Attributes:
        steps: Optimizer steps.
        sequences: Sequences of a step, over all processes.
        micro_batch: Sequences that a process holds at a time.
        warmup, eval_every, checkpoint_every, log_every: In steps; `eval_every` 0 is never.
    """

    steps: int
    sequences: int
    micro_batch: int
    warmup: int
    eval_every: int
    checkpoint_every: int
    log_every: int


def plan_schedule(
    settings: TrainSettings, config: ModelConfig, corpus_tokens: int, world: int = 1
) -> Schedule:
    """Exact numbers from wishes.

    Args:
        settings: The wishes.
        config: The model; a sequence fills its context.
        corpus_tokens: Tokens of the training split.
        world: Processes.

    Raises:
        EtudeError: Lengths that contradict each other or do not divide.
    """
    given = [name for name in ("steps", "epochs", "tokens") if getattr(settings, name) is not None]
    if len(given) != 1:
        raise EtudeError(
            f"the length of the training is given {'by ' + ' and '.join(given) if given else 'nowhere'}",
            "Give exactly one of --steps, --epochs, --tokens.",
        )
    per_step, block = settings.tokens_per_step, config.context
    if per_step < block * world or per_step % (block * world):
        raise EtudeError(
            f"{per_step:,} tokens a step are no multiple of {world} x {block} (processes x context)",
            f"Give --tokens-per-step as a multiple of {block * world:,}.",
        )
    for name in ("learning_rate", "eps"):
        if not getattr(settings, name) > 0:
            raise EtudeError(f"{name} is {getattr(settings, name)}", "It must be above 0.")
    if settings.tokens is not None:
        steps = -(-settings.tokens // per_step)
    elif settings.epochs is not None:
        steps = max(1, round(settings.epochs * corpus_tokens / per_step))
    else:
        steps = settings.steps or 0
    if steps < 1:
        raise EtudeError(f"{steps} steps", "Train for at least one.")
    sequences = per_step // block
    share = sequences // world
    micro = settings.micro_batch or max(1, min(share, _MICRO_TOKENS // block))
    if settings.micro_batch is None:
        micro = max(size for size in range(1, micro + 1) if share % size == 0)
    if share % micro:
        raise EtudeError(
            f"micro batches of {micro} do not divide the {share} sequences that a process has a step",
            f"Give a divisor of {share} as --micro-batch.",
        )
    tenth = max(1, steps // 10)
    warmup = settings.warmup if settings.warmup is not None else min(5000, steps // 20)
    return Schedule(
        steps=steps,
        sequences=sequences,
        micro_batch=micro,
        warmup=min(warmup, steps),
        eval_every=tenth if settings.eval_every is None else settings.eval_every,
        checkpoint_every=settings.checkpoint_every or tenth,
        log_every=settings.log_every or max(1, steps // 200),
    )


def resolve_dtype(dtype: Dtype | None, device: torch.device) -> Dtype:
    """The dtype asked for, or bfloat16 on a GPU that has it and float32 elsewhere."""
    if dtype is not None:
        return dtype
    has = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return "bfloat16" if has else "float32"


def length_warnings(
    schedule: Schedule, settings: TrainSettings, config: ModelConfig, corpus: int
) -> list[str]:
    """What a user should know about the budget: repeated data, too few or very many tokens a parameter."""
    tokens = schedule.steps * settings.tokens_per_step
    notes: list[str] = []
    if (epochs := round(tokens / corpus, 1)) > _FRESH_EPOCHS:
        notes.append(
            f"{epochs:.1f} epochs: beyond about {_FRESH_EPOCHS}, repeated text teaches less than fresh"
        )
    ratio = tokens / parameters(config)
    if ratio < _FEW_TOKENS:
        notes.append(
            f"{ratio:.1f} tokens a parameter: a smaller model or more text would use the compute better"
        )
    elif ratio > _MANY_TOKENS:
        notes.append(f"{ratio:.0f} tokens a parameter: a larger model would learn more from the same compute")
    return notes


def with_compiler(settings: TrainSettings, config: ModelConfig, device: torch.device) -> TrainSettings:
    """The settings, compiled on a GPU where that is possible and the model is large enough to repay it."""
    large = parameters(config) >= _LEAST_COMPILED
    return replace(settings, compile=large and device.type == "cuda" and can_compile(device))


def can_compile(device: torch.device) -> bool:
    """Whether torch.compile has what it needs here: a C++ compiler, or Triton on a GPU."""
    import importlib.util
    import os
    import shutil

    if device.type == "cuda":
        return importlib.util.find_spec("triton") is not None
    return shutil.which(os.environ.get("CXX", "g++")) is not None or shutil.which("clang++") is not None
