"""The verbs `align` and `tune`: teach a language model to read a BiDiffuser's features.

Align trains the projection alone on captions. Tune goes on with dialogs: the language model by LoRA (or
whole), the projection frozen as in the paper. Features are made beforehand; no diffusion runs here.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.easygen.bidiffuser import load_bidiffuser
from etude.methods.easygen.bridge import Bridge, Mode, collate
from etude.methods.easygen.bridge_folder import (
    BridgeNote,
    JoinedModel,
    expected_origin,
    load_bridge,
    new_bridge,
    save_bridge,
)
from etude.methods.easygen.conversations import Dialog, caption_dialogs, pictures_in, read_dialogs
from etude.methods.easygen.encoding import absolute_name, encode_pictures, origin_of, pictures_of
from etude.methods.easygen.features import DIFFUSED, NOTE, PATCHES, FeatureStore
from etude.methods.easygen.language_models import LoraSettings, load_language_model, with_lora
from etude.methods.easygen.pairs import Pair
from etude.methods.easygen.pictures import Picture
from etude.methods.easygen.projections import ProjectionKind
from etude.methods.easygen.wording import DESCRIBE, Prompt, has_template, tokenize
from etude.render import console, table
from etude.runs import Run, content_hash, file_hash
from etude.training import fit


@dataclass(frozen=True)
class AlignResult:
    """What a stage of training gave.

    Attributes:
        out: Folder of the joined model.
        examples: Captions or dialogs trained on.
        cut: Examples longer than the language model's context, which were cut.
        trained: Parameters trained.
        frozen: Parameters of the language model left as they were.
        steps: Optimizer steps.
        train_loss: Mean of the last logged losses.
        pretraining: Block to what it had seen before; the comparison is unfair without it.
    """

    out: str
    examples: int
    cut: int
    trained: int
    frozen: int
    steps: int
    train_loss: float
    pretraining: dict[str, str]

    def __rich__(self) -> Any:
        """A table."""
        rows: list[list[Any]] = [[k, v] for k, v in vars(self).items() if k != "pretraining"]
        rows += [[f"pretraining: {block}", seen] for block, seen in self.pretraining.items()]
        return table(["easygen", ""], rows)


@verb
def align(
    source: str,
    *,
    out: Path,
    bidiffuser: str | None = None,
    llm: str = "smollm2",
    mode: Mode = "pre",
    projection: ProjectionKind = "mlp",
    instruction: str = DESCRIBE,
    images: Path | None = None,
    split: str | None = None,
    steps_of_diffusion: int = 20,
    steps: int | None = None,
    epochs: float = 1.0,
    batch_size: int = 8,
    learning_rate: float = 2e-5,
    warmup: float = 0.03,
    lora: int = 0,
    seed: int = 0,
) -> AlignResult:
    """Train a projection from a BiDiffuser's features to a language model, on captions.

    The language model stays frozen (unless `--lora` is given); only the projection learns. The paper's rate,
    2e-5, is for hundreds of thousands of pairs: with few, take 1e-3.

    Args:
        source: Features of `encode` (with captions), or pictures with captions as for `train-bidiffuser`.
        out: Folder for the joined model.
        bidiffuser: Needed when the source is not features; they are then made in `OUT/features`.
        llm: A causal model (`pre`) or an encoder-decoder (`mid`).
        mode: `pre`: soft tokens in the prompt. `mid`: between encoder and decoder, with a distance loss.
        projection: `mlp` as in the paper, or `linear`.
        instruction: What captions are asked for with.
        images: Folder that picture paths are relative to.
        split: Train on rows with this `split` only.
        steps_of_diffusion: Solver steps of features that are made now.
        steps: Optimizer steps; instead of `epochs`.
        epochs: Passes over the captions.
        batch_size: Captions of a step.
        learning_rate: Peak; cosine.
        warmup: Share of the steps with a rising rate.
        lora: Rank of low-rank updates of the language model that are trained too; 0: none.
        seed: Of the projection and the order.
    """
    store = _features(source, bidiffuser, out, images, split, steps_of_diffusion, seed)
    lm = load_language_model(llm, mode)
    if not has_template(lm.tokenizer):
        console().print(f"{llm} has no chat template; prompts are written 'USER: ... ASSISTANT: ...'")
    captioned = [
        Pair(one, Picture(Path(one)), store.captions[one]) for one in store.ids if store.captions[one]
    ]
    if not captioned:
        raise EtudeError(f"{source}: features without captions", "Encode pictures that have captions.")
    dialogs = caption_dialogs(captioned, instruction)
    model = load_bidiffuser(store.origin.name)
    store.check(expected_origin(model, store.origin.name, store.origin))
    note = BridgeNote(
        mode=mode,
        projection=projection,
        llm=llm,
        llm_revision=lm.revision,
        llm_dim=lm.dim,
        origin=store.origin,
        instruction=instruction,
        pretraining={"BiDiffuser": model.pretraining, "language model": lm.pretraining},
        stages=(f"captions: {len(dialogs)}", *(("lora",) if lora else ())),
    )
    plan = Plan(steps, epochs, batch_size, learning_rate, warmup, seed)
    config = {
        "source": content_hash([asdict(store.origin), [[i, store.captions[i]] for i in store.ids]])[:16],
        "llm": lm.revision, "mode": mode, "projection": projection, "instruction": instruction,
        "plan": asdict(plan), "lora": lora,
    }  # fmt: skip
    with Run(out / "run", config, command="easygen align") as run:
        if run.result is None:
            torch.manual_seed(seed)
            bridge = new_bridge(lm, note)
            bridge.llm.requires_grad_(False)
            if lora:
                bridge.llm = with_lora(bridge.llm, LoraSettings(rank=lora))
            joined = JoinedModel(bridge, lm, note)
            run.complete(asdict(_fit(joined, dialogs, store, plan, out)))
        assert run.result is not None
        return AlignResult(**run.result)


@verb
def tune(
    conversations: str,
    *,
    model: Path,
    out: Path,
    images: Path | None = None,
    features: Path | None = None,
    lora: int = 8,
    lora_alpha: int = 32,
    lora_dropout: float = 0.05,
    projection: bool = False,
    steps: int | None = None,
    epochs: float = 1.0,
    batch_size: int = 8,
    learning_rate: float = 2e-5,
    warmup: float = 0.03,
    seed: int = 0,
) -> AlignResult:
    """Instruction-tune an aligned language model on dialogs in LLaVA's format.

    Dialogs may be about a picture (`image`), and answers may hold descriptions `<Img>...</Img>` of pictures
    to show. Loss is on the assistant's words alone.

    Args:
        conversations: JSONL, Parquet or LLaVA's JSON list of `id, image, conversations[{from, value}]`.
        model: What `align` wrote.
        out: Folder for the tuned model.
        images: Folder that picture paths are relative to; default: the file's.
        features: Features of the pictures, from `encode`; default: they are made in `OUT/features`.
        lora: Rank of low-rank updates on the query and value projections; 0 tunes the whole language model.
        lora_alpha: Their scale.
        lora_dropout: Dropout on their input.
        projection: Train the projection too; the paper freezes it here.
        steps: Optimizer steps; instead of `epochs`.
        epochs: Passes over the dialogs.
        batch_size: Dialogs of a step.
        learning_rate: Peak; cosine.
        warmup: Share of the steps with a rising rate.
        seed: Of LoRA's weights, dropout and the order.
    """
    dialogs = read_dialogs(conversations, images=images)
    start = load_bridge(model)
    if hasattr(start.bridge.llm, "peft_config"):
        raise EtudeError(f"{model} already has LoRA updates", "Tune a model that was aligned without --lora.")
    store = features_for(pictures_in(dialogs), start, features, out)
    plan = Plan(steps, epochs, batch_size, learning_rate, warmup, seed)
    settings = LoraSettings(lora, lora_alpha, lora_dropout)
    config = {
        "conversations": file_hash(conversations), "model": file_hash(model / "projection.safetensors"),
        "start": content_hash(asdict(start.note)), "plan": asdict(plan), "lora": asdict(settings),
        "projection": projection,
    }  # fmt: skip
    with Run(out / "run", config, command="easygen tune") as run:
        if run.result is None:
            torch.manual_seed(seed)
            bridge = start.bridge
            bridge.requires_grad_(False)
            bridge.projection.requires_grad_(projection)
            if lora:
                bridge.llm = with_lora(bridge.llm, settings)
            else:
                bridge.llm.requires_grad_(True)
            stages = (*start.note.stages, f"dialogs: {len(dialogs)}", "lora" if lora else "llm")
            joined = replace(start, note=replace(start.note, stages=stages), folder=None)
            run.complete(asdict(_fit(joined, dialogs, store, plan, out)))
        assert run.result is not None
        return AlignResult(**run.result)


@dataclass(frozen=True)
class Plan:
    """How long and how fast is trained.

    Attributes:
        steps: Optimizer steps, or None for `epochs`.
        epochs: Passes over the data.
        batch_size: Examples of a step.
        learning_rate: Peak; cosine.
        warmup: Share of the steps.
        seed: Of order and dropout.
    """

    steps: int | None
    epochs: float
    batch_size: int
    learning_rate: float
    warmup: float
    seed: int


def _fit(
    joined: JoinedModel, dialogs: Sequence[Dialog], store: FeatureStore | None, plan: Plan, out: Path
) -> AlignResult:
    longest = getattr(joined.bridge.llm.config, "max_position_embeddings", None)
    data = DialogExamples(joined, dialogs, store, longest if joined.note.mode == "pre" else None)
    result = fit_bridge(joined, data, plan, out / "training")
    save_bridge(joined, out)
    shutil.rmtree(out / "training", ignore_errors=True)
    parameters = [(p.numel(), p.requires_grad) for p in joined.bridge.parameters()]
    return AlignResult(
        out=str(out),
        examples=len(data),
        cut=data.cut,
        trained=sum(n for n, learns in parameters if learns),
        frozen=sum(n for n, learns in parameters if not learns),
        steps=result[0],
        train_loss=result[1],
        pretraining=joined.note.pretraining,
    )


def fit_bridge(joined: JoinedModel, data: DialogExamples, plan: Plan, out: Path) -> tuple[int, float]:
    """Train what requires gradients, in place. Returns the steps and the mean of the last losses."""
    bridge: Bridge = joined.bridge
    result = fit(
        bridge,
        data,
        out=out,
        steps=plan.steps,
        epochs=None if plan.steps is not None else plan.epochs,
        batch_size=plan.batch_size,
        learning_rate=plan.learning_rate,
        warmup=plan.warmup,
        seed=plan.seed,
        collate=data.collate,
        label="alignment",
    )
    bridge.eval()
    return result.steps, result.train_loss


class DialogExamples(Dataset[int]):
    """Dialogs as prompts with features; an item is its number, which `collate` makes a batch of.

    Args:
        joined: Whose tokenizer and soft tokens.
        dialogs: What is learned.
        store: Features of their pictures; None when there is no picture.
        longest: The language model's context; longer examples are cut at the end.
    """

    def __init__(
        self, joined: JoinedModel, dialogs: Sequence[Dialog], store: FeatureStore | None, longest: int | None
    ) -> None:
        self.mode, self.pad, self.store = joined.note.mode, joined.lm.pad, store
        self.images = [dialog.image for dialog in dialogs]
        self.prompts: list[Prompt] = []
        self.cut = 0
        for dialog in dialogs:
            prompt = tokenize(dialog.turns, joined.lm.tokenizer, joined.soft_tokens)
            if longest is not None and len(prompt.ids) > longest:
                if any(prompt.soft[longest:]):
                    raise EtudeError(
                        f"dialog {dialog.id}: its picture lies beyond the language model's {longest} tokens",
                        "Shorten the text before the picture.",
                    )
                prompt = Prompt(
                    prompt.ids[:longest], prompt.labels[:longest], prompt.soft[:longest], prompt.pictures
                )
                self.cut += 1
            self.prompts.append(prompt)

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, item: int) -> int:
        return item

    def collate(self, items: list[int]) -> dict[str, Tensor]:
        """A batch for `Bridge`."""
        shown = [image for n in items if (image := self.images[n]) is not None]
        features = clip = None
        if shown and self.store is not None:
            features = self.store.read(shown, DIFFUSED)
            clip = self.store.read(shown, PATCHES) if self.store.origin.clip else None
        return collate([self.prompts[n] for n in items], features, clip, pad=self.pad, mode=self.mode)


def _features(
    source: str,
    bidiffuser: str | None,
    out: Path,
    images: Path | None,
    split: str | None,
    steps: int,
    seed: int,
) -> FeatureStore:
    if (Path(source) / NOTE).exists():
        if bidiffuser is not None:
            store = FeatureStore(Path(source))
            store.check(expected_origin(load_bidiffuser(bidiffuser), bidiffuser, store.origin))
        return FeatureStore(Path(source))
    if bidiffuser is None:
        raise EtudeError(
            f"{source} holds no features, and there is no BiDiffuser to make them", "Give --bidiffuser."
        )
    name = absolute_name(bidiffuser)
    model = load_bidiffuser(name)
    pairs = pictures_of(source, images, split)
    encode_pictures(pairs, model, origin_of(model, name, steps, 0.0, seed), out / "features")
    return FeatureStore(out / "features")


def features_for(
    pictures: Sequence[Pair], joined: JoinedModel, folder: Path | None, out: Path
) -> FeatureStore | None:
    """Features of pictures as the model was aligned with: those of `folder`, checked, or made now."""
    if not pictures:
        return None
    if folder is not None:
        store = FeatureStore(folder)
        store.check(joined.note.origin)
        return store
    encode_pictures(pictures, joined.bidiffuser, joined.note.origin, out / "features")
    return FeatureStore(out / "features")
