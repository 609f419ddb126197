"""Tiny real encoders, drawn posters, and tables that a user could have written."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

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
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

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
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: i for i, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]", model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=64, pad_token_id=0,
    )  # fmt: skip
    BertForMaskedLM(config).save_pretrained(folder)
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
