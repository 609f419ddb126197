"""Tiny parts: diffusers' UniDiffuser with random weights, and small language models with a word tokenizer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SMALL = {
    "text_dim": 16,
    "clip_img_dim": 32,
    "num_text_tokens": 77,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 4,
    "sample_size": 8,
    "patch_size": 2,
    "activation_fn": "gelu",
    "block_type": "unidiffuser",
    "norm_type": "layer_norm",
    "pre_layer_norm": False,
    "ff_final_dropout": True,
}


@pytest.fixture(scope="session")
def peer_network() -> Callable[[bool], Any]:
    """diffusers' UniDiffuser network with random weights, with or without a data-type token."""
    from diffusers.pipelines.deprecated.unidiffuser import UniDiffuserModel

    def make(data_type: bool) -> Any:
        torch.manual_seed(0)
        return UniDiffuserModel(**SMALL, use_data_type_embedding=data_type).eval()

    return make


def word_tokenizer(words: list[str], folder: Path, **special: str) -> Any:
    """A tokenizer of whole words, without a download."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: n for n, word in enumerate(dict.fromkeys([*special.values(), "<unk>", *words]))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **special)
    made.save_pretrained(folder)
    return made


def small_pipeline(folder: Path) -> Any:
    """diffusers' UniDiffuserPipeline with random weights, every part tiny, and its folder."""
    from diffusers import AutoencoderKL, DPMSolverMultistepScheduler
    from diffusers.pipelines.deprecated.unidiffuser import (
        UniDiffuserModel,
        UniDiffuserPipeline,
        UniDiffuserTextDecoder,
    )
    from transformers import (
        CLIPImageProcessor,
        CLIPTextConfig,
        CLIPTextModel,
        CLIPVisionConfig,
        CLIPVisionModelWithProjection,
    )

    torch.manual_seed(0)
    words = ["a", "hand", "waving", "red"]
    clip_tokenizer = word_tokenizer(words, folder / "clip_tokenizer", pad_token="<pad>", eos_token="<end>")
    clip_tokenizer.model_max_length = 77
    text_tokenizer = word_tokenizer(words, folder / "text_tokenizer", pad_token="<pad>", eos_token="<end>")
    heads = {"num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 37}
    text = CLIPTextModel(
        CLIPTextConfig(vocab_size=len(clip_tokenizer), hidden_size=32, max_position_embeddings=77, **heads)
    )
    vision = CLIPVisionModelWithProjection(
        CLIPVisionConfig(hidden_size=32, image_size=16, patch_size=8, projection_dim=32, **heads)
    )
    vae = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, sample_size=32, norm_num_groups=4,
        block_out_channels=[8, 8, 8],
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3,
    )  # fmt: skip
    decoder = UniDiffuserTextDecoder(
        prefix_length=77, prefix_inner_dim=32, prefix_hidden_dim=16, vocab_size=len(text_tokenizer),
        n_positions=160, n_embd=32, n_layer=2, n_head=2,
    )  # fmt: skip
    head = decoder.transformer.lm_head  # the file holds the tied weights twice, as published ones do
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    pipeline = UniDiffuserPipeline(
        vae=vae.eval(),
        text_encoder=text.eval(),
        image_encoder=vision.eval(),
        clip_image_processor=CLIPImageProcessor(crop_size=16, size={"shortest_edge": 16}),
        clip_tokenizer=clip_tokenizer,
        text_decoder=decoder.eval(),
        text_tokenizer=text_tokenizer,
        unet=UniDiffuserModel(**SMALL, use_data_type_embedding=True).eval(),
        scheduler=DPMSolverMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", solver_order=3
        ),
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder)
    return pipeline


@pytest.fixture(scope="session")
def peer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unidiffuser")
    small_pipeline(folder)
    return folder


@pytest.fixture
def peer_pipeline(peer_folder: Path) -> Any:
    from diffusers.pipelines.deprecated.unidiffuser import UniDiffuserPipeline

    pipeline = UniDiffuserPipeline.from_pretrained(peer_folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


COLORS = ("red", "green", "blue", "black", "orange", "purple")
KINDS = ("square", "circle")


def write_pictures(folder: Path) -> Path:
    """Twelve 16 x 16 pictures, each a `.png` with its `.txt`: a color and a shape."""
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True, exist_ok=True)
    for color in COLORS:
        for kind in KINDS:
            image = Image.new("RGB", (16, 16), "white")
            drawn = ImageDraw.Draw(image)
            shape = drawn.rectangle if kind == "square" else drawn.ellipse
            shape((3, 3, 12, 12), fill=color)
            image.save(folder / f"{color}-{kind}.png")
            (folder / f"{color}-{kind}.txt").write_text(f"{color} {kind}\n")
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "pictures")


TINY = {"image_size": 16, "patch": 8, "width": 32, "depth": 2, "heads": 2, "word_dim": 8, "batch_size": 6}


@pytest.fixture(scope="session")
def bidiffuser(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BiDiffuser of a few steps: it knows nothing, but every verb runs on it."""
    from etude.methods.easygen import train_bidiffuser

    out = tmp_path_factory.mktemp("models") / "bi"
    train_bidiffuser(str(pictures), out=out, steps=6, **TINY)
    return out


WORDS = "USER: ASSISTANT: Describe the picture. What color is it? Answer with a word or short phrase."


def small_causal(folder: Path, *, template: bool = False, width: int = 32) -> Path:
    """A two-layer Llama with a word tokenizer, with or without a chat template."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = word_tokenizer(
        [*WORDS.split(), *COLORS, *KINDS, "<", ">", "Img", "/", ":", ".", "?", "You", "can", "show"],
        folder,
        pad_token="<pad>",
        eos_token="<end>",
    )
    if template:
        tokenizer.chat_template = (
            "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + ' <end> ' }}{% endfor %}"
            "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
        )
        tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer), hidden_size=width, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=128, eos_token_id=1, pad_token_id=0,
            bos_token_id=None,
        )
    ).save_pretrained(folder)  # fmt: skip
    return folder


def small_t5(folder: Path) -> Path:
    """A two-layer T5 with a word tokenizer."""
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = word_tokenizer(
        [*WORDS.split(), *COLORS, *KINDS], folder, pad_token="<pad>", eos_token="<end>"
    )
    torch.manual_seed(0)
    T5ForConditionalGeneration(
        T5Config(
            vocab_size=len(tokenizer), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2,
            eos_token_id=1, pad_token_id=0, decoder_start_token_id=0,
        )
    ).save_pretrained(folder)  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_causal(tmp_path_factory.mktemp("models") / "llm")


@pytest.fixture(scope="session")
def features(pictures: Path, bidiffuser: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from etude.methods.easygen import encode

    out = tmp_path_factory.mktemp("features") / "f"
    encode(str(pictures), bidiffuser=str(bidiffuser), out=out, steps=3, shard_size=5)
    return out


@pytest.fixture(scope="session")
def joined(features: Path, llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from etude.methods.easygen import align

    out = tmp_path_factory.mktemp("models") / "joined"
    align(str(features), llm=str(llm), out=out, steps=4, batch_size=4, learning_rate=1e-3)
    return out
