"""Tiny real encoders, drawn posters, and tables that a user could have written."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests import tiny_models

from etude.methods.tmpt.posters import made_up_posts


@pytest.fixture(autouse=True)
def own_feature_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Features in a folder of the test's own; models stay in the user's cache."""
    from etude.methods.tmpt import feature_cache

    folder = tmp_path / "features"
    monkeypatch.setattr(feature_cache, "cache_root", lambda: folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random two-layer BERT for masked language modelling, with a word tokenizer that has [MASK]."""

    folder = tmp_path_factory.mktemp("tiny-bert")
    words = [
        "the",
        "stance",
        "on",
        "is",
        ":",
        ".",
        "yes",
        "no",
        "build",
        "stop",
        "keep",
        "tear",
        "tram",
        "market",
        "hall",
        "new",
        "old",
        "line",
        "see",
        "you",
        "it",
        "we",
    ]
    tokenizer = tiny_models.bert_word_tokenizer(words, mask_token="[MASK]")
    tokenizer.save_pretrained(folder)
    shape = {"num_attention_heads": 2, "intermediate_size": 48, "pad_token_id": 0}
    tiny_models.tiny_bert(len(tokenizer), head="BertForMaskedLM", **shape).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random three-block ViT on 32 pixels."""
    from transformers import ViTConfig, ViTModel

    folder = tmp_path_factory.mktemp("tiny-vit")
    torch.manual_seed(1)
    config = ViTConfig(
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
    )
    ViTModel(config).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def tiny_cnn(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random small ResNet on 32 pixels: a map of 2 x 2 cells."""
    from transformers import ResNetConfig, ResNetModel

    folder = tmp_path_factory.mktemp("tiny-cnn")
    torch.manual_seed(2)
    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic", num_channels=3
    )
    ResNetModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    )
    return str(folder)


@pytest.fixture
def user_table(tmp_path: Path) -> Callable[..., Path]:
    """Writes `posts.csv` and the pictures of made-up posts, as a user would have them."""

    def write(posts: int = 40, name: str = "posts.csv", **columns: object) -> Path:
        folder = tmp_path / "pictures"
        folder.mkdir(exist_ok=True)
        with open(tmp_path / name, "w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(["id", " text", "image", "target", "label", "post", *columns])
            for example in made_up_posts(posts).examples:
                picture = folder / f"{example.group}.png"
                assert isinstance(example.image, bytes)
                picture.write_bytes(example.image)
                post = [example.id, example.text, picture.name, example.target, example.label, example.group]
                writer.writerow([*post, *columns.values()])
        return tmp_path / name

    return write


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded."""
    return np.random.default_rng(0)
