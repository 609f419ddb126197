"""A language model that was joined to a BiDiffuser, on disk and in memory.

`bridge.json` says which parts belong together; `projection.safetensors` (`clip_projection`, `adapter`) hold
what was trained; `llm/` or `lora/` hold a tuned language model. BiDiffuser and an untuned language model are
not copied: they are loaded again by name and checked by their revision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.easygen.bidiffuser import BiDiffuser, load_bidiffuser
from etude.methods.easygen.bridge import Bridge, Mode, collate
from etude.methods.easygen.encoding import ClipEyes, origin_of, read_features
from etude.methods.easygen.features import DIFFUSED, PATCHES, Origin
from etude.methods.easygen.knowledge_adapter import KnowledgeAdapter
from etude.methods.easygen.language_models import LanguageModel, load_language_model, with_stored_lora
from etude.methods.easygen.pairs import Pair
from etude.methods.easygen.projections import Projection, ProjectionKind
from etude.methods.easygen.wording import Turn, tokenize
from etude.runs import read_json, write_json

FILE = "bridge.json"


@dataclass(frozen=True)
class BridgeNote:
    """What belongs together.

    Attributes:
        mode: `pre` or `mid`.
        projection: Its kind.
        llm: Name of the language model it began with.
        llm_revision: Of that model's files.
        llm_dim: Width of its embeddings.
        origin: How its features are made; `origin.name` is the BiDiffuser.
        instruction: What captions were asked for with.
        pretraining: Block to what it had seen before.
        stages: What was trained, in order.
        share: Lambda of the knowledge adapter; None without one.
    """

    mode: Mode
    projection: ProjectionKind
    llm: str
    llm_revision: str
    llm_dim: int
    origin: Origin
    instruction: str
    pretraining: dict[str, str]
    stages: tuple[str, ...]
    share: float | None = None


@dataclass(eq=False)
class JoinedModel:
    """A bridge with everything it needs to read pictures and answer with pictures.

    Attributes:
        bridge: Language model and projection.
        lm: The language model with its tokenizer.
        note: What belongs together.
        adapter: Of the text condition, where one was trained.
        folder: Where it was loaded from.
    """

    bridge: Bridge
    lm: LanguageModel
    note: BridgeNote
    adapter: KnowledgeAdapter | None = None
    folder: Path | None = None
    _bidiffuser: BiDiffuser | None = None
    _eyes: ClipEyes | None = None

    @property
    def bidiffuser(self) -> BiDiffuser:
        """The BiDiffuser, loaded and checked when it is first needed.

        Raises:
            EtudeError: It is not the one that the projection was trained with.
        """
        if self._bidiffuser is None:
            found = load_bidiffuser(self.note.origin.name)
            if found.identity != self.note.origin.bidiffuser:
                raise EtudeError(
                    f"{self.note.origin.name}: not the BiDiffuser that {self.folder} was aligned with "
                    f"({found.identity} here, {self.note.origin.bidiffuser} there)",
                    "Put the former one back, or align again.",
                )
            self._bidiffuser = found
        return self._bidiffuser

    def features(self, pictures: Sequence[Pair], seed: int | None = None) -> dict[str, Tensor]:
        """Features of pictures, made as in training (with another seed if one is given)."""
        origin = self.note.origin if seed is None else replace(self.note.origin, seed=seed)
        if origin.clip and self._eyes is None:
            self._eyes = ClipEyes(origin.clip.rpartition("@")[0])
        return read_features(pictures, self.bidiffuser, origin, self._eyes if origin.clip else None)

    @property
    def soft_tokens(self) -> int:
        """Soft tokens of a picture."""
        return self.note.origin.tokens + self.note.origin.clip_tokens

    def write(
        self, asked: Sequence[Sequence[Turn]], features: dict[str, Tensor] | None, *, max_tokens: int = 64
    ) -> list[str]:
        """Answers to conversations; `features` are of all their pictures in order."""
        prompts = [tokenize(turns, self.lm.tokenizer, self.soft_tokens) for turns in asked]
        found = features or {}
        batch = collate(
            prompts, found.get(DIFFUSED), found.get(PATCHES), pad=self.lm.pad, left=True, mode=self.note.mode
        )
        batch = {name: value.to(self.bridge.device) for name, value in batch.items()}
        written = self.bridge.write(batch, max_tokens=max_tokens, end=self.lm.ends, pad=self.lm.pad)
        return [self.lm.text(ids) for ids in written]


def new_bridge(lm: LanguageModel, note: BridgeNote) -> Bridge:
    """A language model with untrained projections."""
    origin = note.origin
    clip = Projection(origin.clip_dim, lm.dim, note.projection) if origin.clip else None
    bridge = Bridge(lm.model, Projection(origin.dim, lm.dim, note.projection), clip, note.mode)
    return bridge.to(next(lm.model.parameters()).device)


def save_bridge(joined: JoinedModel, folder: Path) -> None:
    """Write the folder; the note last."""
    folder.mkdir(parents=True, exist_ok=True)
    bridge = joined.bridge
    for name in ("projection", "clip_projection"):
        if (module := getattr(bridge, name)) is not None:
            save_file(_tensors(module), folder / f"{name}.safetensors")
    if joined.adapter is not None:
        save_file(_tensors(joined.adapter), folder / "adapter.safetensors")
    if hasattr(bridge.llm, "peft_config"):
        bridge.llm.save_pretrained(folder / "lora")
    elif "llm" in joined.note.stages:
        bridge.llm.save_pretrained(folder / "llm")
        joined.lm.tokenizer.save_pretrained(folder / "llm")
    write_json(folder / FILE, asdict(joined.note))


def load_bridge(folder: str | Path) -> JoinedModel:
    """Read what `save_bridge` wrote.

    Raises:
        EtudeError: The folder is not one, the language model is another one or has another width.
    """
    path = Path(folder)
    if not (path / FILE).exists():
        raise EtudeError(
            f"{path}: no {FILE}, so no language model that reads pictures", "Make one with easygen align."
        )
    stored = read_json(path / FILE)
    note = BridgeNote(**{**stored, "origin": Origin(**stored["origin"]), "stages": tuple(stored["stages"])})
    tuned = path / "llm"
    lm = load_language_model(str(tuned) if tuned.is_dir() else note.llm, note.mode)
    if lm.dim != note.llm_dim:
        raise EtudeError(
            f"{note.llm}: embeddings of {lm.dim} where {path} was aligned with {note.llm_dim}",
            "Give back the language model it was aligned with, or align again.",
        )
    if not tuned.is_dir() and lm.revision != note.llm_revision:
        raise EtudeError(
            f"{note.llm}: other files than those {path} was aligned with", "Put them back, or align again."
        )
    if (path / "lora").is_dir():
        lm = replace(lm, model=with_stored_lora(lm.model, path / "lora"))
    bridge = new_bridge(lm, note)
    bridge.projection.load_state_dict(load_file(path / "projection.safetensors"))
    if bridge.clip_projection is not None:
        bridge.clip_projection.load_state_dict(load_file(path / "clip_projection.safetensors"))
    joined = JoinedModel(bridge.eval(), lm, note, folder=path)
    if note.share is not None:
        dim = load_file(path / "adapter.safetensors")["query.weight"].shape[0]
        joined.adapter = KnowledgeAdapter(dim, lm.dim, note.share).to(bridge.device)
        joined.adapter.load_state_dict(load_file(path / "adapter.safetensors"))
        joined.adapter.eval()
    return joined


def expected_origin(model: BiDiffuser, name: str, like: Origin) -> Origin:
    """The origin of features that `model` would make with the settings of others."""
    found = origin_of(model, name, like.steps, like.guidance, like.seed)
    return replace(found, clip=like.clip, clip_tokens=like.clip_tokens, clip_dim=like.clip_dim)


def _tensors(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}
