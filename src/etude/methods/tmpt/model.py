"""A stance model: encoders, prompt, network; fit, predict, save, load.

`model.safetensors` holds the trained tensors alone; `config.json` names the encoders and their revisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from etude.errors import EtudeError
from etude.methods.tmpt.feature_cache import FeatureCache
from etude.methods.tmpt.fusion import TMPTNetwork, build_network
from etude.methods.tmpt.ocr import read_pictures
from etude.methods.tmpt.posts import StanceExample, label_numbers
from etude.methods.tmpt.rows import Rows, encode_posts, load_vision_once
from etude.methods.tmpt.rows_training import FitOutcome, ask_rows, train_rows
from etude.methods.tmpt.settings import TMPTConfig, Training
from etude.methods.tmpt.targets import Target, target_of
from etude.methods.tmpt.text_branch import default_readout, load_text
from etude.methods.tmpt.text_prompt import Readout
from etude.models import Encoder, VisionEncoder
from etude.runs import atomic_path, read_json, write_json

if TYPE_CHECKING:
    import polars as pl

FORMAT = 1


@dataclass
class TMPTModel:
    """A model of stance.

    Attributes:
        config: Its shape.
        text: The text encoder.
        vision: The vision encoder; None for a model of texts alone.
        labels: By number.
        targets: Target to phrase; one that is not here is called by its own name.
        network: The trained network; None before `fit`.
        cache: Where features are kept.
    """

    config: TMPTConfig
    text: Encoder
    vision: VisionEncoder | None
    labels: tuple[str, ...] = ()
    targets: dict[str, Target] = field(default_factory=dict)
    network: TMPTNetwork | None = None
    cache: FeatureCache = field(default_factory=FeatureCache)

    @classmethod
    def from_encoders(
        cls,
        text: str = "minilm",
        vision: str = "efficientnet-lite0",
        config: TMPTConfig | None = None,
        *,
        targets: Mapping[str, Target] | None = None,
        cache: FeatureCache | None = None,
    ) -> TMPTModel:
        """A model that is not trained yet.

        Args:
            text: Text encoder: embedded name, directory or hub id.
            vision: Vision encoder: the same.
            config: Shape; the paper's with the released tuning by default.
            targets: Phrases of targets.
            cache: Where features are kept.
        """
        config = config or TMPTConfig()
        seen = load_vision_once(vision) if config.branches != "text" else None
        return cls(config, load_text(text), seen, targets=dict(targets or {}), cache=cache or FeatureCache())

    @property
    def readout(self) -> Readout:
        """Where the text encoder is read."""
        return self.config.text_readout or default_readout(self.text)

    def rows(self, examples: Sequence[StanceExample]) -> Rows:
        """Posts as this model reads them."""
        targets = {e.target: self.targets.get(e.target) or target_of(e.target) for e in examples}
        extra = read_pictures(examples, self.cache.folder) if self.config.ocr else None
        return encode_posts(
            examples,
            self.config,
            self.text,
            self.readout,
            labels=self.labels,
            targets=targets,
            cache=self.cache,
            vision=self.vision,
            extra_text=extra,
        )

    def fit(
        self,
        train: Sequence[StanceExample],
        valid: Sequence[StanceExample] = (),
        *,
        out: Path,
        how: Training | None = None,
        seed: int = 42,
    ) -> FitOutcome:
        """Train; the epoch with the best macro-F1 on `valid` is kept.

        Args:
            train: Posts with labels.
            valid: Posts with labels; without any the last epoch is kept.
            out: Folder of checkpoints; the same call on it after a kill goes on.
            how: Epochs, rates, batches.
            seed: Of fresh weights, order and dropout.

        Raises:
            EtudeError: A post without a label, or with one that `labels` lacks.
        """
        if not self.labels:
            self.labels = tuple(sorted({e.label for e in train if e.label}))
        label_numbers([*train, *valid], self.labels)
        for example in (*train, *valid):
            self.targets.setdefault(example.target, target_of(example.target))
        rows = self.rows([*train, *valid])
        network = build_network(self.config, self.text, self.vision, self.readout, len(self.labels), seed)
        outcome = train_rows(
            network, rows, range(len(train)), range(len(train), len(rows)), how or Training(),
            classes=len(self.labels), seed=seed, out=out,
        )  # fmt: skip
        self.network = network
        return outcome

    def predict(self, examples: Sequence[StanceExample]) -> pl.DataFrame:
        """Predict stances.

        Returns:
            `id, target, label, p_<class>..., text_only_label, image_only_label, modalities_differ`: what the
            post says, what its text says with an average picture, what its picture says with an average text,
            and whether the last two differ. A model of one modality says the same thrice.

        Raises:
            EtudeError: The model is not trained.
        """
        import polars as pl

        if self.network is None:
            raise EtudeError("this model is not trained", "Call fit, or load a trained one.")
        answers = ask_rows(self.network, self.rows(examples), range(len(examples)))
        names = np.array(self.labels)
        shares = np.exp(answers.logits - answers.logits.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        text, image = (names[a.argmax(1)] for a in (answers.text_only, answers.image_only))
        return pl.DataFrame(
            {
                "id": [e.id for e in examples],
                "target": [e.target for e in examples],
                "label": names[answers.logits.argmax(1)],
                **{f"p_{name}": shares[:, i].astype(float) for i, name in enumerate(self.labels)},
                "text_only_label": text,
                "image_only_label": image,
                "modalities_differ": text != image,
            }
        )

    def save(self, path: Path, *, training: Mapping[str, Any] | None = None) -> None:
        """Write `model.safetensors` and `config.json` into a folder, in one step."""
        if self.network is None:
            raise EtudeError("this model is not trained", "Call fit first.")
        with atomic_path(path) as folder:
            folder.mkdir()
            save_file(_kept(self.network), folder / "model.safetensors")
            write_json(
                folder / "config.json",
                {
                    "format": FORMAT,
                    "method": "tmpt",
                    "config": asdict(self.config),
                    "labels": list(self.labels),
                    "targets": [asdict(target) for target in self.targets.values()],
                    "text_model": {"name": self.text.name, "revision": self.text.revision},
                    "vision_model": None
                    if self.vision is None
                    else {"name": self.vision.name, "revision": self.vision.revision},
                    "visual_adapter": None if self.vision is None else self.vision.kind,
                    "training": dict(training or {}),
                },
            )

    @classmethod
    def load(cls, path: Path, *, cache: FeatureCache | None = None) -> TMPTModel:
        """Read what `save` wrote.

        Raises:
            EtudeError: It is no such folder, or an encoder is not the one of the training.
        """
        if not (path / "config.json").is_file() or not (path / "model.safetensors").is_file():
            raise EtudeError(
                f"{path}: not a trained tmpt model", "Give a model folder that `etude tmpt train` wrote."
            )
        stored = read_json(path / "config.json")
        if stored.get("format") != FORMAT or stored.get("method") != "tmpt":
            raise EtudeError(f"{path}/config.json: not of this format", "Train again.")
        targets = {t["name"]: Target(**{**t, "labels": tuple(t["labels"])}) for t in stored["targets"]}
        vision = stored["vision_model"]
        model = cls.from_encoders(
            stored["text_model"]["name"],
            vision["name"] if vision else "",
            TMPTConfig(**stored["config"]),
            targets=targets,
            cache=cache,
        )
        model.labels = tuple(stored["labels"])
        for given, found in ((stored["text_model"], model.text), (vision, model.vision)):
            if given and found and given["revision"] != found.revision:
                raise EtudeError(
                    f"{path}: {given['name']} has revision {found.revision}, the training had "
                    f"{given['revision']}",
                    "Use the same model files, or train again.",
                )
        network = build_network(model.config, model.text, model.vision, model.readout, len(model.labels), 0)
        tensors = load_file(path / "model.safetensors")
        wanted = _kept(network)
        if set(wanted) != set(tensors) or any(wanted[n].shape != t.shape for n, t in tensors.items()):
            raise EtudeError(f"{path}: the weights do not fit the network", "Train again with this version.")
        with torch.no_grad():
            held = dict(network.named_parameters()) | dict(network.named_buffers())
            for name, tensor in tensors.items():
                held[name].copy_(tensor)
        model.network = network.eval()
        return model


def _kept(network: TMPTNetwork) -> dict[str, torch.Tensor]:
    """Trained tensors, the statistics of batch norm and the means."""
    parts = ("text_projection.", "image_projection.", "text_mean", "image_mean")
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    measured = [(name, b) for name, b in network.named_buffers() if name.startswith(parts)]
    return {name: tensor.detach().cpu().contiguous() for name, tensor in (*trained, *measured)}
