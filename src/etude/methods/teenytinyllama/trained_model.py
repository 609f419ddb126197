"""What a training gave, and what determined it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from etude.methods.teenytinyllama.configs import ModelConfig
from etude.methods.teenytinyllama.settings import TrainSettings
from etude.methods.teenytinyllama.shards import TokenShards
from etude.runs import content_hash, read_json

CHECKPOINTS, MODEL = "checkpoints", "model"


@dataclass(frozen=True)
class TrainedModel:
    """What a training gave.

    Attributes:
        out: The run's folder.
        model: A stock transformers directory with the weights and the tokenizer.
        parameters: How many.
        steps, tokens, epochs: What it saw.
        train_loss: Mean of the last logged losses, nats a token.
        evaluation: Last row of eval.jsonl; empty without held-out text.
        tokens_per_second: Median of the logged rates; evaluations and checkpoints are not in it.
        mfu: The share of the machine's matrix rate at that.
        seconds: Of training, over all resumes.
        consumption: kWh by part, kg CO2eq, and how they were found.
        skipped: Steps left out because their loss was not finite.
        notices: What a reader should know.
    """

    out: str
    model: str
    parameters: int
    steps: int
    tokens: int
    epochs: float
    train_loss: float
    evaluation: dict[str, Any]
    tokens_per_second: float
    mfu: float
    seconds: float
    consumption: dict[str, Any]
    skipped: int = 0
    notices: tuple[str, ...] = field(default_factory=tuple)


def run_config(
    config: ModelConfig, data: TokenShards, settings: TrainSettings, init: dict[str, Tensor] | None
) -> dict[str, Any]:
    """What determines the weights, as JSON: shape, settings, hashes of corpus and initial weights."""
    start = None
    if init is not None:
        start = content_hash({name: str(torch.hash_tensor(t).item()) for name, t in sorted(init.items())})
    return {
        "model": asdict(config),
        "training": {**asdict(settings), "betas": list(settings.betas)},
        "corpus": content_hash(data.manifest.model_dump(mode="json")),
        "init": start,
    }


def result_of(out: Path) -> TrainedModel:
    """The stored result of a finished run.

    Raises:
        EtudeError: It is not finished.
    """
    stored = read_json(out / "result.json")
    return TrainedModel(
        **{**stored, "out": str(out), "model": str(out / MODEL), "notices": tuple(stored["notices"])}
    )
