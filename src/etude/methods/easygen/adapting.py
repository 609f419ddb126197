"""The verb `adapt`: let the language model's knowledge shape what is drawn (see `knowledge_adapter`).

L = L_t2i + L_t2t: the BiDiffuser's own loss with the adapted condition, its network frozen, and the language
model's loss on the description. The language model learns only where LoRA is asked for.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.easygen.bidiffuser import BiDiffuser
from etude.methods.easygen.bridge_folder import JoinedModel, load_bridge, save_bridge
from etude.methods.easygen.encoded_pairs import EncodedPairs, encode_pairs
from etude.methods.easygen.knowledge_adapter import KnowledgeAdapter
from etude.methods.easygen.language_models import LoraSettings, with_lora
from etude.methods.easygen.objectives import Latents, diffusion_loss
from etude.methods.easygen.pairs import pairs_hash, read_pairs
from etude.methods.easygen.wording import IGNORED
from etude.render import table
from etude.runs import Run, content_hash, file_hash
from etude.training import fit


@dataclass(frozen=True)
class AdaptResult:
    """What the training of an adapter gave.

    Attributes:
        out: Folder of the joined model with its adapter.
        captions: Trained on.
        share: Lambda.
        trained: Parameters trained.
        steps: Optimizer steps.
        train_loss: Mean of the last logged losses (picture and text).
    """

    out: str
    captions: int
    share: float
    trained: int
    steps: int
    train_loss: float

    def __rich__(self) -> Any:
        """A table."""
        return table(["easygen adapt", ""], [[k, v] for k, v in vars(self).items()])


@verb
def adapt(
    pairs: str,
    *,
    model: Path,
    out: Path,
    images: Path | None = None,
    split: str | None = None,
    share: float = 0.2,
    lora: int = 0,
    steps: int = 1000,
    batch_size: int = 16,
    learning_rate: float = 1e-4,
    seed: int = 0,
) -> AdaptResult:
    """Train an adapter by which the language model's knowledge shapes the text condition of pictures.

    Args:
        pairs: Pictures with captions, as for `train-bidiffuser`.
        model: What `align` or `tune` wrote.
        out: Folder for the model with its adapter.
        images: Folder that picture paths are relative to.
        split: Train on rows with this `split` only.
        share: Lambda: how much of the condition is the language model's; 0 leaves the text as it is.
        lora: Rank of low-rank updates that train the language model on the captions; 0: it stays as it is.
        steps: Optimizer steps.
        batch_size: Captions of a step.
        learning_rate: Peak; cosine.
        seed: Of the adapter, order and noise.
    """
    if not 0 <= share <= 1:
        raise EtudeError(f"share {share}", "It lies between 0 and 1.")
    read = read_pairs(pairs, images=images, split=split)
    joined = load_bridge(model)
    if joined.note.mode != "pre":
        raise EtudeError(
            f"{model} is mid-aligned", "The adapter reads a causal model; align with --mode pre."
        )
    if lora and hasattr(joined.bridge.llm, "peft_config"):
        raise EtudeError(f"{model} already has LoRA updates", "Leave out --lora.")
    config = {
        "pairs": pairs_hash(read), "model": file_hash(model / "projection.safetensors"),
        "start": content_hash(asdict(joined.note)), "share": share, "lora": lora, "steps": steps,
        "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed,
    }  # fmt: skip
    with Run(out / "run", config, command="easygen adapt") as run:
        if run.result is None:
            torch.manual_seed(seed)
            bidiffuser = joined.bidiffuser
            encoding = encode_pairs(read, bidiffuser.pictures, bidiffuser.text, out / "latents")
            joined.bridge.requires_grad_(False)
            if lora:
                joined.bridge.llm = with_lora(joined.bridge.llm, LoraSettings(rank=lora))
            states = bidiffuser.text.states(["a"])
            adapter = KnowledgeAdapter(states.shape[-1], joined.lm.dim, share).to(joined.bridge.device)
            training = AdapterTraining(adapter, joined, bidiffuser)
            captions = [caption for pair in read for caption in pair.captions]
            result = fit(
                training,
                _Captioned(EncodedPairs(out / "latents"), captions),
                out=out / "training",
                steps=steps,
                batch_size=batch_size,
                learning_rate=learning_rate,
                warmup=0.03,
                seed=seed,
                collate=_collate,
                label="adapter",
            )
            stages = (*joined.note.stages, f"adapter: {encoding.captions}", *(("lora",) if lora else ()))
            joined = replace(joined, note=replace(joined.note, share=share, stages=stages), adapter=adapter)
            save_bridge(joined, out)
            for scratch in ("training", "latents"):
                shutil.rmtree(out / scratch, ignore_errors=True)
            trained = sum(p.numel() for p in training.parameters() if p.requires_grad)
            run.complete(
                asdict(
                    AdaptResult(str(out), encoding.captions, share, trained, result.steps, result.train_loss)
                )
            )
        assert run.result is not None
        return AdaptResult(**run.result)


class AdapterTraining(nn.Module):
    """The joint loss, as `fit` wants it; only the adapter (and LoRA) require gradients."""

    def __init__(self, adapter: KnowledgeAdapter, joined: JoinedModel, bidiffuser: BiDiffuser) -> None:
        super().__init__()
        self.adapter = adapter
        self.llm = joined.bridge.llm
        self.network = bidiffuser.network.requires_grad_(False)
        self.joined, self.bidiffuser = joined, bidiffuser

    def forward(self, **batch: Any) -> dict[str, Tensor]:
        """L_t2i + L_t2t of a batch."""
        ids, mask = words(self.joined, batch["captions"])
        read = self.llm(
            input_ids=ids,
            attention_mask=mask,
            labels=ids.masked_fill(mask == 0, IGNORED),
            output_hidden_states=True,
        )
        states = self.bidiffuser.text.states(batch["captions"]).to(ids.device)
        text = self.bidiffuser.text.from_states(self.adapter(states, read.hidden_states[-1], mask))
        clean = Latents(batch["image"], batch.get("clip"), text)
        drawn = diffusion_loss(self.network, self.bidiffuser.schedule, clean, "t2i")
        return {"loss": drawn + read.loss}


def adapted_latents(
    adapter: KnowledgeAdapter, joined: JoinedModel, bidiffuser: BiDiffuser, prompts: Sequence[str]
) -> Tensor:
    """Text latents of prompts with the language model's knowledge."""
    ids, mask = words(joined, prompts)
    states = joined.bridge.llm(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[
        -1
    ]
    mixed = adapter(bidiffuser.text.states(prompts).to(ids.device), states, mask)
    return bidiffuser.text.from_states(mixed)


def words(joined: JoinedModel, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Token ids of texts and their mask, (texts, tokens) twice, filled on the right."""
    rows = [
        joined.lm.tokenizer(text, add_special_tokens=False)["input_ids"] or [joined.lm.pad] for text in texts
    ]
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[joined.lm.pad] * (width - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids.to(joined.bridge.device), mask.to(joined.bridge.device)


class _Captioned(Dataset[dict[str, Any]]):
    """Latents with their captions."""

    def __init__(self, encoded: EncodedPairs, captions: Sequence[str]) -> None:
        self.encoded, self.captions = encoded, captions

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, item: int) -> dict[str, Any]:
        return {**self.encoded[item], "captions": self.captions[item]}


def _collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        name: [item[name] for item in items]
        if name == "captions"
        else torch.stack([item[name] for item in items])
        for name in items[0]
    }
