"""Part 3 of the claim: a frozen language model learns captions from three kinds of picture features.

BiDiffuser's text-side output; a contrastive picture encoder of the same blocks, trained as long on the same
pairs; raw patches. Projection, steps and language model are the same.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import TrainerCallback

from etude.evidence import Measurement
from etude.methods.easygen.alignment import DialogExamples
from etude.methods.easygen.bridge import collate
from etude.methods.easygen.bridge_folder import BridgeNote, JoinedModel, new_bridge
from etude.methods.easygen.caption_metrics import cider_d, exact
from etude.methods.easygen.claim_world import World
from etude.methods.easygen.conversations import caption_dialogs
from etude.methods.easygen.dialog import CLOSE, OPEN
from etude.methods.easygen.features import DIFFUSED, FeatureStore, Origin, write_index, write_shard
from etude.methods.easygen.language_models import LanguageModel, load_language_model
from etude.methods.easygen.pairs import Pair
from etude.methods.easygen.uvit import Block, UViTConfig, patches
from etude.methods.easygen.word_codec import words_of
from etude.methods.easygen.wording import DESCRIBE, Prompt, Turn, tokenize, with_picture
from etude.training import fit

Reader = Literal["bidiffuser", "contrastive", "patches"]
_LM_STEPS = 800
_LONGEST = 16  # tokens of a caption


def measure_reader(reader: Reader, world: World, seed: int) -> Measurement:
    """Captions of the test pictures by the language model, scored at every mark of the alignment.

    The score of an item is the mean over the marks: who learns faster has more of it.
    """
    features, seconds = _features(reader, world, seed)
    pairs = [*world.train, *world.test]
    if seed not in world.language_models:
        world.language_models[seed] = _language_model(world, seed)
    lm = world.language_models[seed]
    plain = [replace(pair, captions=(" ".join(words_of(pair.captions[0])),)) for pair in pairs]
    with tempfile.TemporaryDirectory(dir=world.folder) as folder:
        origin = Origin("", reader, 0, 0.0, seed, features.shape[1], features.shape[2])
        write_shard(Path(folder), 0, {DIFFUSED: features})
        rows = [
            {"id": p.id, "shard": 0, "row": n, "n_tokens": 0, "captions": []} for n, p in enumerate(pairs)
        ]
        write_index(Path(folder), rows, origin)
        store = FeatureStore(Path(folder))
        note = BridgeNote("pre", "mlp", lm.name, lm.revision, lm.dim, origin, DESCRIBE, {}, ())
        torch.manual_seed(seed)
        joined = JoinedModel(new_bridge(lm, note), lm, note)
        joined.bridge.llm.requires_grad_(False)
        data = DialogExamples(joined, caption_dialogs(plain[: len(world.train)], DESCRIBE), store, None)
        marks = _Marks(joined, plain[len(world.train) :], features[len(world.train) :], world.budget.marks)
        fit(
            joined.bridge,
            data,
            out=Path(folder) / "fit",
            steps=world.budget.marks[-1],
            batch_size=world.budget.align_batch,
            learning_rate=world.budget.align_rate,
            warmup=0.03,
            seed=seed,
            save_every=world.budget.marks[-1],
            collate=data.collate,
            callbacks=[marks],
            label=f"captions from {reader}, seed {seed}",
        )
    ids = [pair.id for pair in world.test]
    ciders, exacts = torch.tensor(marks.ciders), torch.tensor(marks.exacts)
    facts: dict[str, Any] = {"features": f"{features.shape[1]} x {features.shape[2]}"}
    for step, cider, right, spent in zip(world.budget.marks, ciders, exacts, marks.seconds, strict=True):
        facts |= {f"CIDEr at {step}": float(cider.mean()), f"exact at {step}": float(right.mean())}
        facts[f"seconds to {step}"] = round(spent, 2)
    return Measurement(
        {
            "LLM CIDEr-D": dict(zip(ids, ciders.mean(0).tolist(), strict=True)),
            "LLM exact": dict(zip(ids, exacts.mean(0).tolist(), strict=True)),
        },
        {**facts, "seconds of features": round(seconds, 1)},
    )


class _Marks(TrainerCallback):
    """Scores captions of test pictures at some steps, its own time not counted."""

    def __init__(
        self, joined: JoinedModel, pairs: Sequence[Pair], features: Tensor, marks: Sequence[int]
    ) -> None:
        self.joined, self.pairs, self.features, self.marks = joined, pairs, features, set(marks)
        self.ciders: list[list[float]] = []
        self.exacts: list[list[float]] = []
        self.seconds: list[float] = []
        self.spent, self.since = 0.0, time.process_time()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write and score."""
        if state.global_step not in self.marks:
            return
        self.spent += time.process_time() - self.since
        self.seconds.append(self.spent)
        self.joined.bridge.eval()
        written: list[str] = []
        for start in range(0, len(self.pairs), 32):
            part = self.features[start : start + 32]
            asked = [[Turn("user", with_picture(DESCRIBE))]] * len(part)
            written += self.joined.write(asked, {DIFFUSED: part}, max_tokens=_LONGEST)
        references = [pair.captions for pair in self.pairs]
        self.ciders.append(cider_d(written, references))
        self.exacts.append([exact(text, texts) for text, texts in zip(written, references, strict=True)])
        self.joined.bridge.train()
        self.since = time.process_time()


def _features(reader: Reader, world: World, seed: int) -> tuple[Tensor, float]:
    """Features of all pictures, (pictures, tokens, dim), and the seconds that reading them took."""
    model = world.network("bi", seed) if reader == "bidiffuser" else world.untrained(seed)
    started = time.process_time()
    if reader == "bidiffuser":
        keys = [pair.id for pair in (*world.train, *world.test)]
        return model.text.features(model.read(world.pictures, keys, seed=seed)), time.process_time() - started
    config = model.network.config
    if reader == "patches":
        grids = torch.cat([model.pictures.encode(part)[0] for part in torch.split(world.pictures, 64)])
        return patches(grids, config.patch), time.process_time() - started
    encoder = _trained_encoder(world, config, seed)
    started = time.process_time()
    with torch.inference_mode():
        grids = torch.cat([model.pictures.encode(part)[0] for part in torch.split(world.pictures, 64)])
        states = torch.cat([encoder.tokens(part) for part in torch.split(grids, 64)])
    return states, time.process_time() - started


class ContrastiveEncoder(nn.Module):
    """Patches through the same blocks as the U-ViT's; pictures and captions meet in one space (as CLIP)."""

    def __init__(self, config: UViTConfig) -> None:
        super().__init__()
        self.patch = config.patch
        self.read = nn.Linear(config.image_channels * config.patch**2, config.width)
        self.positions = nn.Parameter(torch.randn(1, config.patches, config.width) * 0.5)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.depth + 1)])
        self.image_head = nn.Linear(config.width, config.width)
        self.text_head = nn.Sequential(
            nn.Linear(config.text_dim * config.text_tokens, config.width),
            nn.GELU(),
            nn.Linear(config.width, config.width),
        )
        self.scale = nn.Parameter(torch.tensor(2.66))  # log of 1 / 0.07, as in CLIP

    def tokens(self, image: Tensor) -> Tensor:
        """States of all patches, (batch, patches, width)."""
        x: Tensor = self.read(patches(image, self.patch)) + self.positions
        for block in self.blocks:
            x = block(x)
        return x

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        """The symmetric contrastive loss."""
        seen = F.normalize(self.image_head(self.tokens(batch["image"]).mean(1)), dim=-1)
        said = F.normalize(self.text_head(batch["text"].flatten(1)), dim=-1)
        logits = self.scale.exp() * seen @ said.T
        right = torch.arange(len(logits), device=logits.device)
        return {"loss": (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2}


def _trained_encoder(world: World, config: UViTConfig, seed: int) -> ContrastiveEncoder:
    model = world.untrained(seed)
    latents = world.latents(model, seed)
    torch.manual_seed(seed)
    encoder = ContrastiveEncoder(config)
    recipe = world.budget.recipe
    with tempfile.TemporaryDirectory(dir=world.folder) as out:
        fit(
            encoder,
            latents,
            out=Path(out),
            steps=world.budget.joint_steps + world.budget.steps,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            weight_decay=0.01,
            warmup=recipe.warmup,
            seed=seed,
            label=f"contrastive, seed {seed}",
        )
    return encoder.eval()


def _language_model(world: World, seed: int) -> LanguageModel:
    """The budget's language model.

    `small` has two layers and learned from text alone, as language models do, to use what stands before: it
    writes a training caption whose words it was given in a random order where a picture would stand.
    """
    if world.budget.llm != "small":
        return load_language_model(world.budget.llm, "pre")
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    captions = [" ".join(words_of(caption)) for caption in world.text_only]
    prompt = ["USER:", "<Img>", "</Img>", "Describe", "the", "picture.", "ASSISTANT:"]
    vocabulary = dict.fromkeys(["<pad>", "</s>", "<unk>", *prompt, *(w for c in captions for w in c.split())])
    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(vocabulary)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split("</s>", "isolated")]
    )
    fast: Any = PreTrainedTokenizerFast
    tokenizer = fast(tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    torch.manual_seed(seed)
    model: Any = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=256,
            pad_token_id=0,
            bos_token_id=None,
            eos_token_id=1,
        )
    )
    lm = LanguageModel(model, tokenizer, "small", str(seed), "the training captions")
    order = random.Random(seed)
    prompts = []
    for caption in captions * 2:
        seen = caption.split()
        order.shuffle(seen)
        asked = Turn("user", f"{OPEN} {' '.join(seen)} {CLOSE} {DESCRIBE}")
        prompts.append(tokenize([asked, Turn("assistant", caption)], tokenizer, 0))
    with tempfile.TemporaryDirectory(dir=world.folder) as out:
        fit(
            model,
            _Prompts(prompts),
            out=Path(out),
            steps=_LM_STEPS,
            batch_size=32,
            learning_rate=3e-3,
            warmup=0.05,
            seed=seed,
            collate=_read,
            label=f"small language model, seed {seed}",
        )
    model.eval()
    return lm


class _Prompts(Dataset[Prompt]):
    def __init__(self, rows: list[Prompt]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> Prompt:
        return self.rows[item]


def _read(prompts: list[Prompt]) -> dict[str, Tensor]:
    batch = collate(prompts, None)
    return {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}
