"""Checkpoints: `checkpoints/step_N/` with weights, optimizer, random state, data cursor and energy so far.

Only safetensors and JSON. A checkpoint is written under a temporary name and renamed, so a kill leaves whole
ones alone; each file's SHA-256 is kept, so one that a disk spoiled is noticed and the one before it is taken.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from etude.errors import EtudeError
from etude.methods.teenytinyllama.energy import Consumption
from etude.methods.teenytinyllama.optimizer import load_moments, moments
from etude.render import console
from etude.runs import atomic_path, file_hash, read_json, write_json

FORMAT = 1
_WEIGHTS, _MOMENTS, _RANDOM, _STATE = (
    "weights.safetensors",
    "optimizer.safetensors",
    "random.safetensors",
    "state.json",
)


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        step: Steps made.
        tokens: Tokens seen.
        epoch, blocks: The data cursor: epoch, and blocks of it that are used up.
        skipped: Steps left out because their loss was not finite.
        learning_rate: Of the last step.
        seconds: Training time so far, over all resumes.
        consumption: Energy so far, over all resumes.
    """

    step: int
    tokens: int
    epoch: int
    blocks: int
    skipped: int
    learning_rate: float
    seconds: float
    consumption: Consumption


def save_checkpoint(
    folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, progress: Progress, *, keep: int
) -> Path:
    """Write `folder/step_N` and delete the oldest beyond `keep` (0 keeps all).

    Raises:
        EtudeError: No space is left; the checkpoints before are untouched.
    """
    path = folder / f"step_{progress.step}"
    with atomic_path(path) as temporary:
        temporary.mkdir()
        _save(network.state_dict(), temporary / _WEIGHTS)
        _save(moments(network, optimizer), temporary / _MOMENTS)
        _save(_random_state(), temporary / _RANDOM)
        files = {name: file_hash(temporary / name) for name in (_WEIGHTS, _MOMENTS, _RANDOM)}
        write_json(temporary / _STATE, {"format": FORMAT, "progress": asdict(progress), "sha256": files})
    if keep:
        for old in checkpoints(folder)[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
    return path


def load_last_checkpoint(
    folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer
) -> Progress | None:
    """Restore the last whole checkpoint; a spoiled one is named on stderr and the one before it taken.

    Returns:
        Where the training was, None when there is no checkpoint at all.

    Raises:
        EtudeError: There are checkpoints and every one of them is spoiled.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            return _load(path, network, optimizer)
        except (EtudeError, SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = error.problem if isinstance(error, EtudeError) else str(error).splitlines()[0]
            console().print(f"{path} is damaged ({reason}); falling back to the checkpoint before it")
    if found:
        raise EtudeError(
            f"all {len(found)} checkpoints in {folder} are damaged", "Delete that folder to start again."
        )
    return None


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    numbered = [p for p in folder.glob("step_*") if p.name.removeprefix("step_").isdigit() and p.is_dir()]
    return sorted(numbered, key=lambda p: int(p.name.removeprefix("step_")))


def load_weights(path: Path) -> dict[str, torch.Tensor]:
    """The weights of one checkpoint, under the network's own names.

    Raises:
        EtudeError: The checkpoint is damaged.
    """
    _verify(path)
    return load_file(path / _WEIGHTS)


def _load(path: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> Progress:
    state = _verify(path)
    saved = state["progress"]
    progress = Progress(**{**saved, "consumption": Consumption(**saved["consumption"])})
    weights, averages, random = (load_file(path / name) for name in (_WEIGHTS, _MOMENTS, _RANDOM))
    network.load_state_dict(weights)
    load_moments(network, optimizer, averages)
    torch.set_rng_state(random["cpu"])
    if "cuda" in random and torch.cuda.is_available():
        torch.cuda.set_rng_state(random["cuda"])
    return progress


def _verify(path: Path) -> dict[str, Any]:
    state = read_json(path / _STATE)
    if state["format"] != FORMAT:
        raise EtudeError(f"{path}: format {state['format']}, expected {FORMAT}", "Start the run again.")
    for name, digest in state["sha256"].items():
        if file_hash(path / Path(name).name) != digest:
            raise EtudeError(f"{path / name}: its SHA-256 is not the recorded one", "The file is damaged.")
    return dict(state)


def _random_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | ({"cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {})


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    try:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, path)
    except SafetensorError as error:  # it wraps the system's error in its text
        if "No space left" in str(error) or "os error 28" in str(error):
            raise OSError(28, "No space left on device") from error
        raise
