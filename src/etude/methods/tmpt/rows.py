"""Posts as a network reads them: tokens or text vectors, stored picture states, target vectors, labels.

Equal pictures and equal (text, target) pairs are encoded once. What a frozen encoder says comes from the
cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.tmpt.cleaning import clean_text
from etude.methods.tmpt.feature_cache import FeatureCache, StoredRows
from etude.methods.tmpt.pictures import PictureFacts, picture_facts, picture_notices, pixel_square
from etude.methods.tmpt.posts import StanceExample, image_key
from etude.methods.tmpt.settings import TMPTConfig
from etude.methods.tmpt.targets import Target
from etude.methods.tmpt.text_branch import read_states
from etude.methods.tmpt.text_prompt import Prompted, Readout, TargetedPrompt
from etude.methods.tmpt.visual_prompts import vit_prefix, vit_vector
from etude.models import Encoder, VisionEncoder, load_vision
from etude.runs import content_hash

BATCH = 64
load_vision_once = lru_cache(maxsize=2)(load_vision)


@dataclass(frozen=True)
class Rows:
    """Posts, ready to be batched by row number.

    Attributes:
        ids: Of the posts.
        labels: Number of each label; -1 where unknown.
        prompted: Tokens of each post in its prompt.
        pad: Id of the padding token.
        text: Text vectors, where the text encoder is frozen; `text_at` is each post's row in them.
        image: Picture states; `image_at` is each post's row in them.
        target: Embeddings of the targets' phrases, (posts, d_T), where the prompts see them.
        notices: What was noticed.
    """

    ids: tuple[str, ...]
    labels: NDArray[np.int64]
    prompted: tuple[Prompted, ...]
    pad: int
    text: StoredRows | None
    text_at: NDArray[np.int64]
    image: StoredRows | None
    image_at: NDArray[np.int64]
    target: NDArray[np.float32] | None
    notices: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of posts."""
        return len(self.ids)

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """Tokens of each post, where they are read anew each step; None where text vectors are stored."""
        return (
            None
            if self.text is not None or not self.prompted
            else np.array([len(p.ids) for p in self.prompted])
        )

    def with_images_of(self, order: Sequence[int] | NDArray[np.int64]) -> Rows:
        """The same posts with each other's pictures: a control."""
        return replace(self, image_at=self.image_at[np.asarray(order)])

    def batch(self, chosen: Sequence[int], *, pad_to: int | None = None) -> dict[str, Tensor]:
        """What a network reads of some posts.

        Args:
            chosen: Row numbers.
            pad_to: Pad texts to this length; by default to the longest of them.
        """
        index = np.asarray(chosen)
        found: dict[str, Tensor] = {}
        if self.text is not None:
            found["text"] = torch.from_numpy(self.text.take(self.text_at[index])).float()
        elif self.prompted:
            found |= pad_tokens([self.prompted[i] for i in chosen], self.pad, pad_to)
        if self.image is not None:
            found["image"] = torch.from_numpy(self.image.take(self.image_at[index])).float()
        if self.target is not None:
            found["target"] = torch.from_numpy(self.target[index])
        if (self.labels[index] >= 0).all():
            found["labels"] = torch.from_numpy(self.labels[index])
        return found


def pad_tokens(prompted: Sequence[Prompted], pad: int, pad_to: int | None = None) -> dict[str, Tensor]:
    """Token rows as tensors: `input_ids` and `attention_mask` (B, T), `mask_at` (B,)."""
    longest = max(len(p.ids) for p in prompted)
    width = max(longest, pad_to or 0)
    ids = torch.full((len(prompted), width), pad, dtype=torch.long)
    mask = torch.zeros((len(prompted), width), dtype=torch.long)
    for row, one in enumerate(prompted):
        ids[row, : len(one.ids)] = torch.tensor(one.ids)
        mask[row, : len(one.ids)] = 1
    at = torch.tensor([0 if p.mask_at is None else p.mask_at for p in prompted])
    return {"input_ids": ids, "attention_mask": mask, "mask_at": at}


def encode_posts(
    examples: Sequence[StanceExample],
    config: TMPTConfig,
    text: Encoder,
    readout: Readout,
    *,
    labels: Sequence[str],
    targets: Mapping[str, Target],
    cache: FeatureCache | None = None,
    vision: VisionEncoder | None = None,
    extra_text: Mapping[str, str] | None = None,
) -> Rows:
    """Posts as rows of a configuration.

    Args:
        examples: The posts.
        config: What the network reads.
        text: The text encoder.
        readout: Where it is read.
        labels: Labels by number; an example with another one, or none, has -1.
        targets: Target to phrase.
        cache: Where features are kept.
        vision: The vision encoder, unless the network reads texts alone.
        extra_text: Text read in pictures, by the picture's hash.

    Raises:
        EtudeError: A prompt leaves no room for text, or a picture cannot be read.
    """
    cache = cache or FeatureCache()
    notices: list[str] = []
    image, image_at = None, np.zeros(len(examples), dtype=np.int64)
    hashes = [image_key(picture_of(e)) for e in examples] if needs_pictures(config) else []
    if config.branches != "text" and vision is not None:
        image, image_at = picture_states(examples, hashes, config, vision, cache)
        notices += noticed_pictures(examples, hashes, cache)
    prompted: tuple[Prompted, ...] = ()
    stored, text_at = None, np.zeros(len(examples), dtype=np.int64)
    if config.branches != "image":
        limit = min(config.max_length, text.max_length)
        limit -= config.text_tokens if config.text_tuning == "prompt" else 0
        prompt = TargetedPrompt(text.tokenizer, limit, readout, targeted=config.targeted)
        extra = extra_text or {}
        written = [
            " ".join(
                filter(None, (clean_text(e.full_text, split_tags=config.split_tags), extra.get(key, "")))
            )
            for e, key in zip(examples, hashes or [""] * len(examples), strict=True)
        ]
        prompted = tuple(prompt(w, targets[e.target].phrase) for w, e in zip(written, examples, strict=True))
        cut = sum(p.cut > 0 for p in prompted)
        if cut:
            notices.append(f"{cut} of {len(prompted)} texts were cut to {limit} tokens")
        if config.text_tuning == "frozen":
            stored, text_at = text_vectors(prompted, text, readout, cache)
    return Rows(
        ids=tuple(e.id for e in examples),
        labels=np.array(
            [labels.index(e.label) if e.label in labels else -1 for e in examples], dtype=np.int64
        ),
        prompted=prompted,
        pad=int(text.tokenizer.pad_token_id or 0),
        text=stored,
        text_at=text_at,
        image=image,
        image_at=image_at,
        target=target_vectors(examples, text, targets) if config.visual_prompt_target else None,
        notices=tuple(notices),
    )


def needs_pictures(config: TMPTConfig) -> bool:
    """Whether the pictures of posts are opened at all."""
    return config.branches != "text" or config.ocr


def distinct(keys: Iterable[str]) -> tuple[list[str], list[int], NDArray[np.int64]]:
    """Distinct keys, sorted; where each first stands; and each key's place among them."""
    every = list(keys)
    first: dict[str, int] = {}
    for place, key in enumerate(every):
        first.setdefault(key, place)
    ordered = sorted(first)
    number = {key: i for i, key in enumerate(ordered)}
    return ordered, [first[key] for key in ordered], np.array([number[key] for key in every], dtype=np.int64)


def text_vectors(
    prompted: Sequence[Prompted], text: Encoder, readout: Readout, cache: FeatureCache
) -> tuple[StoredRows, NDArray[np.int64]]:
    """Vectors of a frozen text encoder, (distinct texts, d_T), and each post's row in them."""
    keys, first, at = distinct(content_hash([list(p.ids), p.mask_at]) for p in prompted)
    unique = [prompted[i] for i in first]

    def compute(rows: Sequence[int]) -> NDArray[np.float32]:
        order = sorted(rows, key=lambda i: -len(unique[i].ids))
        at_row = {row: place for place, row in enumerate(rows)}
        found = np.empty((len(rows), text.dimension), dtype=np.float32)
        model: Any = text.model
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            batch = pad_tokens([unique[i] for i in chosen], int(text.tokenizer.pad_token_id or 0))
            batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
            with torch.inference_mode():
                states = model(
                    input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
                ).last_hidden_state
                read = read_states(states, batch["attention_mask"], batch["mask_at"], readout)
            found[[at_row[i] for i in chosen]] = read.float().cpu().numpy()
        return found

    what = {"text": text.revision, "readout": readout}
    return cache.rows(what, keys, compute, label="text vectors"), at


def target_vectors(
    examples: Sequence[StanceExample], text: Encoder, targets: Mapping[str, Target]
) -> NDArray[np.float32]:
    """The frozen encoder's embedding of each post's target phrase, (posts, d_T)."""
    names = list(dict.fromkeys(e.target for e in examples))
    vectors = dict(zip(names, text.encode([targets[name].phrase for name in names]), strict=True))
    return np.stack([vectors[e.target] for e in examples]).astype(np.float32)


def picture_states(
    examples: Sequence[StanceExample],
    hashes: Sequence[str],
    config: TMPTConfig,
    vision: VisionEncoder,
    cache: FeatureCache,
) -> tuple[StoredRows, NDArray[np.int64]]:
    """What the frozen part of the vision encoder says, up to where prompts enter; half precision but for
    vectors.

    Returns:
        Cells (pictures, N, C), or states before block k (pictures, 1 + N, d), or without prompts one vector
        each; and every post's row in them.
    """
    side = config.image_size or vision.image_size
    keys, first, at = distinct(hashes)

    def decode(rows: Sequence[int]) -> NDArray[np.uint8]:
        chosen = [examples[first[i]] for i in rows]
        return np.stack([pixel_square(picture_of(e), e.where, side) for e in chosen])

    pixels = cache.rows({"pixels": side}, keys, decode, label="pictures")
    base = {"vision": vision.revision, "side": side}

    def states(rows: Sequence[int]) -> NDArray[Any]:
        return _in_batches(rows, pixels, lambda x: _states(vision, x, config.visual_prompt_start), np.float16)

    if config.visual_prompts > 0:
        stage = {"start": config.visual_prompt_start} if vision.kind == "vit" else {"cells": True}
        return cache.rows(base | stage, keys, states, label="picture states"), at
    if vision.kind == "grid":  # the mean of the same stored cells, so that both see the same numbers
        cells = cache.rows(base | {"cells": True}, keys, states, label="picture states")

        def mean(rows: Sequence[int]) -> NDArray[Any]:
            return np.asarray(cells.take(list(rows)).astype(np.float32).mean(axis=1))

        return cache.rows(base | {"mean": True}, keys, mean, label="picture vectors"), at

    def vectors(rows: Sequence[int]) -> NDArray[Any]:
        return _in_batches(rows, pixels, lambda x: vit_vector(vision, x), np.float32)

    return cache.rows(base | {"vector": True}, keys, vectors, label="picture vectors"), at


def _states(vision: VisionEncoder, pixels: Tensor, start: int) -> Tensor:
    return vit_prefix(vision, pixels, start) if vision.kind == "vit" else vision.cells(pixels)


def _in_batches(rows: Sequence[int], pixels: StoredRows, run: Any, dtype: Any) -> NDArray[Any]:
    parts = []
    for start in range(0, len(rows), 32):
        block = torch.from_numpy(pixels.take(list(rows[start : start + 32])))
        parts.append(run(block).float().cpu().numpy().astype(dtype))
    return np.concatenate(parts)


def noticed_pictures(
    examples: Sequence[StanceExample], hashes: Sequence[str], cache: FeatureCache
) -> list[str]:
    """Odd pictures, by their headers; each picture is counted once."""
    keys, first, _ = distinct(hashes)

    def headers(rows: Sequence[int]) -> NDArray[np.bool_]:
        chosen = [examples[first[i]] for i in rows]
        return np.array([astuple(picture_facts(picture_of(e), e.where)) for e in chosen], dtype=bool)

    found = cache.rows("headers", keys, headers, label="picture headers")
    facts = zip(first, found.take(range(len(found))), strict=True)
    return picture_notices(
        {examples[i].id: PictureFacts(*map(bool, row)) for i, row in sorted(facts, key=lambda x: x[0])}
    )


def picture_of(example: StanceExample) -> Path | bytes:
    """A post's picture.

    Raises:
        EtudeError: It has none.
    """
    if example.image is None:
        raise EtudeError(
            f"{example.where or example.id}: image: there is no picture", "Give one, or leave the row out."
        )
    return example.image
