"""Where a run's model lies: a run's folder stands for the model in it, everywhere a model is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from etude.errors import EtudeError
from etude.models import CausalLM, load_causal_lm
from etude.models.quiet import quiet_transformers
from etude.runs import atomic_path


def model_in(name: str) -> str:
    """The name under which `etude.models` finds the model: `RUN/model` for a run's folder, else the name
    itself.

    Raises:
        EtudeError: A run's folder whose training has not finished.
    """
    folder = Path(name).expanduser()
    if (folder / "config.json").is_file() or not folder.is_dir():
        return name
    if (folder / "model" / "config.json").is_file():
        return str(folder / "model")
    if (folder / "checkpoints").is_dir() or (folder / "run.json").is_file():
        raise EtudeError(
            f"{name}: the run has no finished model",
            "Repeat its command: it goes on from the last checkpoint. Or export a checkpoint.",
        )
    return name


def run_folder(name: str) -> Path | None:
    """The run's folder, if the name is one's, or its model's."""
    folder = Path(name).expanduser()
    for candidate in (folder, folder.parent if folder.name == "model" else folder):
        if (candidate / "model" / "config.json").is_file():
            return candidate
    return None


def load_model(name: str, *, device: str | None = None) -> CausalLM:
    """The causal language model of a run's folder, a directory, an embedded name or a hub id, in float32."""
    return load_causal_lm(model_in(name), device=device)


def save_model(folder: Path, model: Any, tokenizer: Any) -> None:
    """Write model and tokenizer as one transformers folder, in one step."""
    with quiet_transformers(), atomic_path(folder) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
