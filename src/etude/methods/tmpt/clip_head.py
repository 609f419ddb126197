"""The CLIP baseline: a linear head on a frozen CLIP's text and picture vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from etude.errors import EtudeError
from etude.methods.tmpt.cleaning import clean_text
from etude.methods.tmpt.feature_cache import FeatureCache
from etude.methods.tmpt.pictures import pixel_square
from etude.methods.tmpt.posts import StanceExample, image_key
from etude.methods.tmpt.rows import Rows, distinct, picture_of
from etude.models import VisionEncoder, load_tokenizer


class ClipHead(nn.Module):
    """One linear layer on both vectors: (B, 2d) to (B, C)."""

    def __init__(self, width: int, classes: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.classifier = nn.Linear(2 * width, classes)

    def forward(self, text: Tensor, image: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Vectors (B, d) to `logits` (B, C), and `loss` where there are labels."""
        logits = self.classifier(torch.cat([text, image], dim=-1))
        return {"logits": logits} | ({} if labels is None else {"loss": F.cross_entropy(logits, labels)})


def clip_rows(
    examples: Sequence[StanceExample], clip: VisionEncoder, labels: Sequence[str], cache: FeatureCache
) -> Rows:
    """Posts as unit vectors of a frozen CLIP's text and vision towers.

    Raises:
        EtudeError: The model is not a CLIP, or a picture cannot be read.
    """
    if clip.kind != "clip":
        raise EtudeError(f"{clip.name} is not a CLIP model", "Give one, e.g. openai/clip-vit-base-patch32.")
    model: Any = clip.model
    tokenizer: Any = load_tokenizer(str(clip.directory))
    device = next(model.parameters()).device
    texts = [clean_text(e.full_text) for e in examples]
    text_keys, text_first, text_at = distinct(texts)
    image_keys, image_first, image_at = distinct(image_key(picture_of(e)) for e in examples)
    limit = int(model.config.text_config.max_position_embeddings)

    def text_rows(rows: Sequence[int]) -> NDArray[np.float32]:
        written = [texts[text_first[i]] for i in rows]
        batch = tokenizer(written, padding=True, truncation=True, max_length=limit, return_tensors="pt").to(
            device
        )
        with torch.inference_mode():
            return _unit(model.get_text_features(**batch))

    def image_rows(rows: Sequence[int]) -> NDArray[np.float32]:
        chosen = [examples[image_first[i]] for i in rows]
        parts = []
        for start in range(0, len(chosen), 32):
            opened = [
                pixel_square(picture_of(e), e.where, clip.image_size) for e in chosen[start : start + 32]
            ]
            with torch.inference_mode():
                scaled = clip.scale(torch.from_numpy(np.stack(opened)))
                parts.append(_unit(model.get_image_features(pixel_values=scaled)))
        return np.concatenate(parts)

    base = {"clip": clip.revision}
    return Rows(
        ids=tuple(e.id for e in examples),
        labels=np.array(
            [labels.index(e.label) if e.label in labels else -1 for e in examples], dtype=np.int64
        ),
        prompted=(),
        pad=0,
        text=cache.rows(base | {"of": "text"}, text_keys, text_rows, label="CLIP texts"),
        text_at=text_at,
        image=cache.rows(base | {"of": "image"}, image_keys, image_rows, label="CLIP pictures"),
        image_at=image_at,
        target=None,
    )


def _unit(found: Any) -> NDArray[np.float32]:
    vectors = found if isinstance(found, Tensor) else found.pooler_output
    return np.asarray(F.normalize(vectors.float(), dim=-1).cpu().numpy())
