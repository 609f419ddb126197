"""UniDiffuser's weights in and out: the folder `unet/` as diffusers writes it, and our network's names.

A network without a CLIP vector, which diffusers' class cannot hold, is stored with the same names less those.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.easygen.uvit import UViT, UViTConfig
from etude.runs import read_json, write_json

WEIGHTS = "diffusion_pytorch_model.safetensors"
_PLAIN = {
    "positions": "pos_embed",
    "data_type.weight": "data_type_token_embedding.weight",
    "text_in.": "text_in.",
    "clip_in.": "clip_img_in.",
    "text_out.": "text_out.",
    "clip_out.": "clip_img_out.",
    "image_out.": "vae_img_out.",
    "norm.": "transformer.norm_out.",
}
_BLOCK = {
    "out.": "attn1.to_out.0.",
    "norm_attention.": "norm1.",
    "widen.": "ff.net.0.proj.",
    "narrow.": "ff.net.2.",
    "norm_mlp.": "norm3.",
}
_IGNORED = ("transformer.pos_embed.",)  # a patch embedding that UniDiffuser's transformer has but never uses


def load_unet(folder: Path) -> UViT:
    """Read `unet/` of a UniDiffuser folder, or of one of ours.

    Raises:
        EtudeError: No safetensors weights, a variant of the architecture that UniDiffuser does not have, or
            tensors missing or of another shape.
    """
    config = config_from_diffusers(read_json(folder / "config.json"), folder)
    path = folder / WEIGHTS
    if not path.exists():
        raise EtudeError(
            f"{folder}: no {WEIGHTS}",
            "Pickle files are not read; save with diffusers' save_pretrained(safe_serialization=True).",
        )
    network = UViT(config)
    try:
        network.load_state_dict(from_diffusers(load_file(path), config))
    except (RuntimeError, KeyError) as error:
        first = str(error).splitlines()[0]
        raise EtudeError(
            f"{path}: not the weights of this network ({first})"[:400], "Check the folder."
        ) from error
    return network.eval()


def save_unet(network: UViT, folder: Path) -> None:
    """Write `unet/`: with a CLIP vector, diffusers' `UniDiffuserModel.from_pretrained` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config_to_diffusers(network.config))
    save_file(to_diffusers(network.state_dict(), network.config), folder / WEIGHTS)


def config_from_diffusers(config: dict[str, Any], where: Path | str = "config.json") -> UViTConfig:
    """The shape from diffusers' names.

    Raises:
        EtudeError: A variant that UniDiffuser's published networks do not have.
    """
    expected = {
        "activation_fn": "gelu",
        "block_type": "unidiffuser",
        "pre_layer_norm": False,
        "norm_type": "layer_norm",
        "use_timestep_embedding": False,
        "use_patch_pos_embed": False,
        "cross_attention_dim": None,
    }
    for name, value in expected.items():
        if name in config and config[name] != value:
            raise EtudeError(
                f"{where}: {name} is {config[name]!r}, UniDiffuser has {value!r}",
                "Give a UniDiffuser network.",
            )
    return UViTConfig(
        image_size=config["sample_size"],
        image_channels=config["in_channels"],
        patch=config["patch_size"],
        text_tokens=config["num_text_tokens"],
        text_dim=config["text_dim"],
        clip_dim=config["clip_img_dim"],
        width=config["num_attention_heads"] * config["attention_head_dim"],
        depth=config["num_layers"],
        heads=config["num_attention_heads"],
        qkv_bias=config["attention_bias"],
        data_type=config["use_data_type_embedding"],
    )


def config_to_diffusers(config: UViTConfig) -> dict[str, Any]:
    """The shape in diffusers' names."""
    return {
        "_class_name": "UniDiffuserModel" if config.clip_dim else "EtudeUViT",
        "sample_size": config.image_size,
        "in_channels": config.image_channels,
        "out_channels": config.image_channels,
        "patch_size": config.patch,
        "num_text_tokens": config.text_tokens,
        "text_dim": config.text_dim,
        "clip_img_dim": config.clip_dim,
        "num_attention_heads": config.heads,
        "attention_head_dim": config.width // config.heads,
        "num_layers": config.depth,
        "attention_bias": config.qkv_bias,
        "use_data_type_embedding": config.data_type,
        "activation_fn": "gelu",
        "block_type": "unidiffuser",
        "pre_layer_norm": False,
        "norm_type": "layer_norm",
        "ff_final_dropout": True,
    }


def to_diffusers(state: dict[str, Tensor], config: UViTConfig) -> dict[str, Tensor]:
    """Our tensors under diffusers' names and shapes."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        block = re.match(r"(down|up)\.(\d+)\.(.*)|middle\.(.*)", name)
        skip = re.match(r"skips\.(\d+)\.(linear|norm)\.(.*)", name)
        if name.startswith("image_in."):
            shape = (config.width, config.image_channels, config.patch, config.patch)
            key = name.replace("image_in.", "vae_img_in.proj.")
            found[key] = value.view(shape) if name.endswith("weight") else value
        elif name == "positions" and config.data_type:
            found["pos_embed"] = torch.cat([value[:, :2], value[:, 3:]], dim=1)
            found["data_type_pos_embed_token"] = value[:, 2:3].clone()
        elif block:
            prefix = _block_prefix(block.group(1), block.group(2))
            inner = block.group(3) or block.group(4)
            if inner.startswith("qkv."):
                kind = inner.removeprefix("qkv.")
                for part, piece in zip("qkv", value.chunk(3), strict=True):
                    found[f"{prefix}attn1.to_{part}.{kind}"] = piece
            else:
                found[prefix + _renamed(inner, _BLOCK)] = value
        elif skip:
            part = "skip_linear" if skip.group(2) == "linear" else "norm"
            found[f"transformer.transformer_out_blocks.{skip.group(1)}.skip.{part}.{skip.group(3)}"] = value
        else:
            found[_renamed(name, _PLAIN)] = value
    return {name: value.contiguous().clone() for name, value in found.items()}


def from_diffusers(state: dict[str, Tensor], config: UViTConfig) -> dict[str, Tensor]:
    """Diffusers' tensors under our names and shapes, (the inverse of `to_diffusers`).

    Raises:
        KeyError: A tensor is missing.
    """
    left = {name: value for name, value in state.items() if not name.startswith(_IGNORED)}
    ours: dict[str, Tensor] = {}
    shapes = UViT(config).state_dict()
    for name in shapes:
        probe = to_diffusers({name: shapes[name]}, config)
        values = [left.pop(key) for key in probe]
        if name == "positions" and config.data_type:
            rest, token = values
            ours[name] = torch.cat([rest[:, :2], token, rest[:, 2:]], dim=1)
        elif ".qkv." in name:
            ours[name] = torch.cat(values)
        else:
            ours[name] = values[0].reshape(shapes[name].shape)
    if left:
        raise KeyError(f"unexpected tensors: {', '.join(sorted(left)[:5])}")
    return ours


def _block_prefix(group: str | None, number: str | None) -> str:
    if group is None:
        return "transformer.transformer_mid_block."
    if group == "down":
        return f"transformer.transformer_in_blocks.{number}."
    return f"transformer.transformer_out_blocks.{number}.block."


def _renamed(name: str, names: dict[str, str]) -> str:
    for ours, theirs in names.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise KeyError(name)
