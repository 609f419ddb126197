"""`export`: a run becomes a stock transformers Llama directory with a model card, or a GGUF file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.teenytinyllama.configs import parameters
from etude.methods.teenytinyllama.gguf_export import write_gguf
from etude.methods.teenytinyllama.held_out import corpus_of
from etude.methods.teenytinyllama.llama_folder import write_llama_folder
from etude.methods.teenytinyllama.model_card import write_card
from etude.methods.teenytinyllama.pretraining import initial_weights
from etude.methods.teenytinyllama.shards import TOKENIZER
from etude.methods.teenytinyllama.trained_model import MODEL
from etude.render import table
from etude.runs import atomic_path

Format = Literal["transformers", "gguf"]
Precision = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        out: The folder or file.
        format: transformers or gguf.
        dtype: Of the stored weights.
        parameters: How many.
        megabytes: Size on disk.
    """

    out: str
    format: Format
    dtype: Precision
    parameters: int
    megabytes: float

    def __rich__(self) -> Any:
        """A table."""
        rows = [
            [self.format, self.out],
            ["weights", f"{self.parameters:,} in {self.dtype}"],
            ["size", f"{self.megabytes:.1f} MB"],
        ]
        return table(["teenytinyllama export", ""], rows)


@verb
def export(
    run: Path, *, out: Path, format: Format = "transformers", dtype: Precision = "float32"
) -> ExportResult:
    """Write a run's model for others to use.

    Args:
        run: A run's folder (finished, or its last checkpoint), one of its checkpoints, or a Llama directory.
        out: Folder (transformers) or file (gguf) to write.
        format: transformers: config, safetensors, tokenizer, card. gguf: one file for llama.cpp.
        dtype: Number format of the stored weights.

    Raises:
        EtudeError: There is no model, or no tokenizer beside it, or the place holds something else.
    """
    config, state = initial_weights(str(run))
    tokenizer = _tokenizer_of(run)
    _check_place(out, format)
    number = getattr(torch, dtype)
    if format == "gguf":
        with atomic_path(out) as temporary:
            write_gguf(temporary, config, state, tokenizer=tokenizer, dtype=number, name=run.resolve().name)
    else:
        card = write_card(_run_of(run), config, name=out.resolve().name)
        write_llama_folder(out, config, state, tokenizer=tokenizer, dtype=number, card=card)
    files = [out] if out.is_file() else [p for p in out.iterdir() if p.is_file()]
    size = sum(p.stat().st_size for p in files) / 1e6
    return ExportResult(str(out), format, dtype, parameters(config), round(size, 3))


def _run_of(path: Path) -> Path | None:
    """The run's folder that a path belongs to: itself, or that of its model or checkpoint."""
    for folder in (path, path.parent, path.parent.parent):
        if (folder / "run.json").is_file() and (folder / "manifest.json").is_file():
            return folder
    return None


def _tokenizer_of(path: Path) -> Path:
    """Folder of the model's tokenizer: beside the model, or where the run's corpus has it."""
    run = _run_of(path)
    places = [path, path / MODEL, *([run / MODEL] if run else [])]
    if run is not None and (corpus := corpus_of(run)) is not None:
        places.append(corpus / TOKENIZER)
    for place in places:
        if (place / "tokenizer.json").is_file():
            return place
    raise EtudeError(f"{path}: no tokenizer.json beside the model", "Copy the tokenizer's files there.")


def _check_place(out: Path, format: Format) -> None:
    if format == "gguf":
        if out.is_dir():
            raise EtudeError(f"{out} is a folder", "Give a file name for --format gguf, such as model.gguf.")
    elif out.is_file():
        raise EtudeError(f"{out} is a file", "Give a folder.")
    elif out.is_dir() and any(out.iterdir()) and not (out / "config.json").is_file():
        raise EtudeError(f"{out} holds other files", "Give a new folder.")
