"""A trained network on disk: `model.safetensors`, `config.json`, and `encoder/` when it was tuned.

A frozen encoder is not copied: it is loaded by name again and checked by its revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from etude.errors import EtudeError
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.network import PipeNet
from etude.methods.pipenet.vectors import ConceptVectors
from etude.models import load_encoder
from etude.models.local_lm import default_device
from etude.runs import read_json, write_json

FORMAT = 1


@dataclass(frozen=True)
class TrainedPipeNet:
    """A network with what it must meet again.

    Attributes:
        network: Ready to predict.
        relations: Merged relations of its graphs.
        prune: How the training's subgraphs were pruned, None when they were not.
        features: `encoder`, or the file of concept vectors it was trained with.
        config: Everything that was stored.
    """

    network: PipeNet
    relations: tuple[str, ...]
    prune: Mapping[str, Any] | None
    features: str
    config: Mapping[str, Any]

    def vectors(self, store: GraphStore, features: Path | None) -> ConceptVectors:
        """Features of a store's concepts, of the kind it was trained with.

        Raises:
            EtudeError: The graphs have other relations, or the file of vectors is not given or not the one.
        """
        if store.relations != self.relations:
            raise EtudeError(
                f"{store.folder} has other relations than the network was trained on",
                "Ground the questions with a graph built with the same --merge.",
            )
        return concept_vectors(features, [store], self.network, self.features)


def concept_vectors(
    features: Path | None, stores: list[GraphStore], network: PipeNet, expected: str | None = None
) -> ConceptVectors:
    """The user's vectors, else the encoder's.

    Raises:
        EtudeError: `expected` names another kind.
    """
    given = "encoder" if features is None else features.name
    if expected is not None and given != expected:
        raise EtudeError(
            f"the network was trained with concept vectors from {expected}, not from {given}",
            f"Give --features {expected}." if expected != "encoder" else "Leave --features out.",
        )
    if features is not None:
        return ConceptVectors.from_file(features, stores)
    return ConceptVectors.encoded(stores, network.encoder)


def save_network(
    folder: Path,
    network: PipeNet,
    *,
    relations: tuple[str, ...],
    prune: Mapping[str, Any] | None,
    features: str,
    facts: Mapping[str, Any],
) -> None:
    """Write a trained network; `config.json` comes last."""
    from etude.runs import atomic_path

    state = {k: v.detach().cpu().contiguous() for k, v in network.reasoner.state_dict().items()}
    with atomic_path(folder / "model.safetensors") as temporary:
        save_file(state, temporary)
    if network.tune:
        with atomic_path(folder / "encoder") as temporary:
            network.encoder.model.save_pretrained(temporary)
            network.encoder.tokenizer.save_pretrained(temporary)
    write_json(
        folder / "config.json",
        {
            "format": FORMAT,
            "reasoner": asdict(network.settings),
            "encoder": {
                "name": network.encoder.name,
                "revision": network.encoder.revision,
                "pooling": network.encoder.pooling,
                "tuned": network.tune,
                "max_length": network.max_length,
            },
            "relations": list(relations),
            "prune": None if prune is None else dict(prune),
            "features": features,
            **facts,
        },
    )


def load_network(folder: Path, *, device: str | None = None) -> TrainedPipeNet:
    """Load what `save_network` wrote.

    Raises:
        EtudeError: No such folder, or the frozen encoder is not the one it was trained with.
    """
    if not (folder / "config.json").is_file():
        raise EtudeError(f"{folder}: no trained network", "Train one: etude pipenet train")
    config = read_json(folder / "config.json")
    if config.get("format") != FORMAT:
        raise EtudeError(f"{folder}: format {config.get('format')!r}, not {FORMAT}", "Train it again.")
    told = config["encoder"]
    name = str(folder / "encoder") if told["tuned"] else told["name"]
    encoder = load_encoder(name, pooling=told["pooling"], device=device)
    if not told["tuned"] and encoder.revision != told["revision"]:
        raise EtudeError(
            f"{folder}: trained with {name} {told['revision']}, this one is {encoder.revision}",
            "Use the same encoder, or train again.",
        )
    s = config["reasoner"]
    network = PipeNet(
        encoder,
        dim=s["dim"],
        layers=s["layers"],
        heads=s["heads"],
        pooling_heads=s["pooling_heads"],
        dropout=s["dropout"],
        attention=s["attention"],
        hidden_layers=s["hidden_layers"],
        relations=s["relations"],
        concept_dim=s["concept_dim"],
        tune=told["tuned"],
        max_length=told["max_length"],
    )
    network.reasoner.load_state_dict(load_file(folder / "model.safetensors"))
    network.to(torch.device(device or default_device()))
    network.eval()
    return TrainedPipeNet(network, tuple(config["relations"]), config["prune"], config["features"], config)
