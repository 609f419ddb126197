"""diffusers' UniDiffuserPipeline with random weights, large enough for its network to be what costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def word_tokenizer(folder: Path) -> Any:
    """A tokenizer of whole words, without a download."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {
        word: n for n, word in enumerate(["<pad>", "<end>", "<unk>", *(f"w{n}" for n in range(997))])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<end>",
        model_max_length=77,
    )
    made.save_pretrained(folder)
    return made


def random_pipeline(folder: Path, *, width: int, depth: int) -> Any:
    """The pipeline, saved to `folder`: 77 text tokens, 64 picture tokens, CLIP and GPT-2 tiny.

    Args:
        folder: Where its parts are written, for our reader.
        width: Of the noise network.
        depth: Its blocks besides the middle one.
    """
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
    clip_words, gpt_words = (
        word_tokenizer(folder / "clip_tokenizer"),
        word_tokenizer(folder / "text_tokenizer"),
    )
    small = {"num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 64}
    text = CLIPTextModel(CLIPTextConfig(vocab_size=1000, hidden_size=64, max_position_embeddings=77, **small))
    vision = CLIPVisionModelWithProjection(
        CLIPVisionConfig(hidden_size=64, image_size=32, patch_size=16, projection_dim=64, **small)
    )
    blocks = 3
    vae = AutoencoderKL(
        latent_channels=4, sample_size=64, norm_num_groups=4, block_out_channels=[8] * blocks,
        down_block_types=["DownEncoderBlock2D"] * blocks, up_block_types=["UpDecoderBlock2D"] * blocks,
    )  # fmt: skip
    decoder = UniDiffuserTextDecoder(
        prefix_length=77, prefix_inner_dim=64, prefix_hidden_dim=64, vocab_size=1000, n_positions=160,
        n_embd=64, n_layer=2, n_head=2,
    )  # fmt: skip
    head = decoder.transformer.lm_head
    head.weight = torch.nn.Parameter(
        head.weight.detach().clone()
    )  # published files hold the tied weights twice
    network = UniDiffuserModel(
        text_dim=64, clip_img_dim=64, num_text_tokens=77, num_attention_heads=width // 64,
        attention_head_dim=64, in_channels=4, out_channels=4, num_layers=depth, sample_size=16,
        patch_size=2, activation_fn="gelu",
        block_type="unidiffuser", pre_layer_norm=False, ff_final_dropout=True, use_data_type_embedding=True,
    )  # fmt: skip
    pipeline = UniDiffuserPipeline(
        vae=vae.eval(),
        text_encoder=text.eval(),
        image_encoder=vision.eval(),
        clip_image_processor=CLIPImageProcessor(crop_size=32, size={"shortest_edge": 32}),
        clip_tokenizer=clip_words,
        text_decoder=decoder.eval(),
        text_tokenizer=gpt_words,
        unet=network.eval(),
        scheduler=DPMSolverMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", solver_order=3
        ),
    )
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(folder)
    return pipeline
