"""A trained forecaster on disk: `model.safetensors` holds the trained parts, `config.json` names the rest.

The frozen language model is not copied. It is loaded by name again (or drawn again from its seed) and checked
against the fingerprint of the frozen weights that the training saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from etude.errors import EtudeError
from etude.methods.stg_llm.backbones import WITH_LM, FrozenLM, frozen_fingerprint, lm_parameters
from etude.methods.stg_llm.forecaster import Settings, STGForecaster, build_forecaster
from etude.methods.stg_llm.panel import SensorPanel, frequency_name
from etude.methods.stg_llm.prompts import Event, prompt_ids
from etude.methods.stg_llm.windows import Scaler, Split, Windows
from etude.runs import atomic_path, read_json, write_json

FORMAT = 1


@dataclass(frozen=True)
class Forecaster:
    """A forecaster with everything it needs to meet a panel.

    Attributes:
        settings: Shape and arm.
        nodes: Node names in the order the network sees them.
        step: Seconds between rows, None for integer time.
        scaler: Fitted on the training rows.
        split: Rows it was trained, selected and tested on.
        parts: Parts of the prompt; empty without one.
        domain: What the prompt calls the network.
        null, units: As in `SensorPanel`.
        revision: Of the language model, "" without one.
    """

    settings: Settings
    nodes: tuple[str, ...]
    step: int | None
    scaler: Scaler
    split: Split
    parts: tuple[str, ...] = ()
    domain: str = ""
    null: float | None = None
    units: str = ""
    revision: str = ""

    def fit_panel(self, panel: SensorPanel) -> SensorPanel:
        """The panel with this forecaster's nodes in its order.

        Raises:
            EtudeError: If the nodes or the frequency differ.
        """
        unknown = [n for n in panel.nodes if n not in self.nodes]
        absent = [n for n in self.nodes if n not in panel.nodes]
        if unknown or absent:
            lists = [
                f"{name}: {', '.join(n[:10])}"
                for name, n in (("not in training", unknown), ("missing", absent))
                if n
            ]
            raise EtudeError(
                f"the panel has other nodes than the model was trained on ({'; '.join(lists)})",
                "use `etude stg-llm transfer`, which starts a new node table and tunes it",
            )
        if panel.step != self.step:
            raise EtudeError(
                f"the model was trained on steps of {frequency_name(self.step)}, "
                f"the panel has {frequency_name(panel.step)}",
                "resample the panel",
            )
        return replace(panel if panel.nodes == self.nodes else panel.select(self.nodes), null=self.null)

    def prompts(self, panel: SensorPanel, events: Sequence[Event] = ()) -> NDArray[np.int64] | None:
        """Prompt ids of every row of a panel, None without a prompt."""
        if not self.parts:
            return None
        from etude.models import load_tokenizer

        return prompt_ids(
            panel,
            load_tokenizer(self.settings.model),
            events,
            parts=self.parts,
            domain=self.domain,
            history=self.settings.history,
            horizon=self.settings.horizon,
            length=self.settings.prompt_length or None,
        )

    def windows(self, panel: SensorPanel, prompts: NDArray[np.int64] | None = None) -> Windows:
        """Windows over a panel that `fit_panel` has passed."""
        return Windows(
            panel,
            self.scaler,
            history=self.settings.history,
            horizon=self.settings.horizon,
            slots_per_day=self.settings.slots_per_day,
            fill=self.settings.fill,
            mask_feature=self.settings.mask_feature,
            prompts=prompts,
        )

    def network(self, prompts: NDArray[np.int64] | None = None) -> STGForecaster:
        """A fresh network; prompts bring the word embeddings it must hold."""
        tokens = None if prompts is None else torch.from_numpy(np.unique(prompts[prompts >= 0]))
        return build_forecaster(self.settings, tokens)


def save_folder(
    path: Path,
    forecaster: Forecaster,
    network: STGForecaster,
    *,
    training: dict[str, Any],
    audit: dict[str, Any],
) -> None:
    """Write `model.safetensors` and `config.json` into an existing folder, each atomically."""
    trained = {n: p.detach().cpu().contiguous() for n, p in network.named_parameters() if p.requires_grad}
    with atomic_path(path / "model.safetensors") as part:
        save_file(trained, part)
    write_json(
        path / "config.json",
        {
            "format": FORMAT,
            "settings": asdict(forecaster.settings),
            "nodes": list(forecaster.nodes),
            "step_seconds": forecaster.step,
            "scaler": {"mean": forecaster.scaler.mean.tolist(), "std": forecaster.scaler.std.tolist()},
            "split": asdict(forecaster.split),
            "prompt": {"parts": list(forecaster.parts), "domain": forecaster.domain},
            "null": forecaster.null,
            "units": forecaster.units,
            "language_model": {
                "name": forecaster.settings.model,
                "revision": forecaster.revision,
                "frozen_sha256": frozen_fingerprint(network.backbone),
            },
            "parameters": audit,
            "training": training,
        },
    )


def read_folder(path: Path) -> Forecaster:
    """Read `config.json`.

    Raises:
        EtudeError: If the folder holds no finished forecaster.
    """
    if not (path / "config.json").is_file() or not (path / "model.safetensors").is_file():
        raise EtudeError(
            f"{path}: not a finished forecaster", "give the folder that `etude stg-llm train --out` wrote"
        )
    config = read_json(path / "config.json")
    if config.get("format") != FORMAT:
        raise EtudeError(
            f"{path}/config.json: format {config.get('format')!r}, expected {FORMAT}", "train again"
        )
    return Forecaster(
        settings=Settings(**config["settings"]),
        nodes=tuple(config["nodes"]),
        step=config["step_seconds"],
        scaler=Scaler(np.array(config["scaler"]["mean"]), np.array(config["scaler"]["std"])),
        split=Split(**config["split"]),
        parts=tuple(config["prompt"]["parts"]),
        domain=config["prompt"]["domain"],
        null=config["null"],
        units=config["units"],
        revision=config["language_model"]["revision"],
    )


def load_network(
    path: Path, forecaster: Forecaster, prompts: NDArray[np.int64] | None = None
) -> STGForecaster:
    """The trained network of a folder, in evaluation mode.

    Raises:
        EtudeError: If the frozen language model is not the one of the training.
    """
    network = forecaster.network(prompts)
    expected = read_json(path / "config.json")["language_model"]["frozen_sha256"]
    if frozen_fingerprint(network.backbone) != expected:
        raise EtudeError(
            f"{path}: the frozen weights of {forecaster.settings.model} are not those of the training",
            "use the same model files and versions, or train again",
        )
    _copy(network, load_file(path / "model.safetensors"))
    return network.eval()


def start_from(network: STGForecaster, path: Path, *, same_nodes: bool) -> list[str]:
    """Copy the trained parts of a folder into a fresh network; on other nodes without the parts that name
    nodes.

    Returns:
        Names of the parts that were left fresh.
    """
    tensors = load_file(path / "model.safetensors")
    fresh: set[str] = set()
    if not same_nodes:
        own = {"node_table"}
        if isinstance(network.backbone, FrozenLM):
            own |= {
                f"backbone.lm.{n}" for kind, n, _ in lm_parameters(network.backbone.lm) if kind == "positions"
            }
        fresh = own & set(tensors)
    shapes = {n: p.shape for n, p in network.named_parameters() if p.requires_grad}
    fresh |= {n for n, t in tensors.items() if n.startswith("tokenizer.") and shapes.get(n) != t.shape}
    _copy(network, {n: t for n, t in tensors.items() if n not in fresh}, partial=fresh)
    return sorted(fresh)


def _copy(
    network: STGForecaster, tensors: dict[str, torch.Tensor], partial: Sequence[str] | set[str] = ()
) -> None:
    trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
    wrong = set(trained) - set(partial) ^ set(tensors)
    if wrong or any(trained[n].shape != t.shape for n, t in tensors.items()):
        raise EtudeError(
            f"the trained parts do not fit the network ({', '.join(sorted(wrong)[:5]) or 'shapes differ'})",
            "history, horizon, model and layers must be those of the training",
        )
    with torch.no_grad():
        for name, tensor in tensors.items():
            trained[name].copy_(tensor)


def uses_lm(settings: Settings) -> bool:
    """Whether the arm has a language model at all."""
    return settings.backbone in WITH_LM
