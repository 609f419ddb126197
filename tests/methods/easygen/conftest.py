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
