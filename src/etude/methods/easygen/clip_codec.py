"""UniDiffuser's text latents: CLIP's 77 states, a linear layer to 77 x 64, and a GPT-2 that reads them back.

The decoder sees the latents, widened to GPT-2's width again, as a prefix, and writes the caption behind it
(ClipCap-style; UniDiffuser, appendix). It reads folders as diffusers writes them: `text_encoder/`,
`clip_tokenizer/`, `text_decoder/`, `text_tokenizer/`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.easygen.word_codec import EncodedText
from etude.models.quiet import quiet_transformers
from etude.runs import read_json

FOLDERS = ("text_encoder", "clip_tokenizer", "text_decoder", "text_tokenizer")
_LONGEST = 67  # tokens of a caption, as in UniDiffuser's decoder


class CaptionDecoder(nn.Module):
    """GPT-2 behind a prefix of latents; names as in diffusers' `UniDiffuserTextDecoder`.

    Args:
        prefix_inner_dim: Width of the text encoder's states.
        prefix_hidden_dim: Width of the latents; None: no narrowing.
        gpt2: Arguments of `transformers.GPT2Config`.
    """

    def __init__(self, prefix_inner_dim: int, prefix_hidden_dim: int | None, gpt2: dict[str, Any]) -> None:
        from transformers import GPT2Config, GPT2LMHeadModel

        super().__init__()
        self.prefix_inner_dim = prefix_inner_dim
        self.prefix_hidden_dim = prefix_hidden_dim
        narrow = prefix_hidden_dim is not None
        width = gpt2.get("n_embd", 768)
        self.encode_prefix = nn.Linear(prefix_inner_dim, prefix_hidden_dim or 0) if narrow else nn.Identity()
        self.decode_prefix = nn.Linear(prefix_hidden_dim or 0, width) if narrow else nn.Identity()
        self.transformer: Any = GPT2LMHeadModel(GPT2Config(**gpt2))

    @classmethod
    def load(cls, folder: Path) -> CaptionDecoder:
        """Read diffusers' `text_decoder/`.

        Raises:
            EtudeError: No safetensors weights, or not these.
        """
        config = read_json(folder / "config.json")
        path = folder / "diffusion_pytorch_model.safetensors"
        if not path.exists():
            raise EtudeError(f"{folder}: no {path.name}", "Save the decoder with safe_serialization=True.")
        ours = {"prefix_length", "prefix_inner_dim", "prefix_hidden_dim"}
        gpt2 = {key: value for key, value in config.items() if key not in ours and not key.startswith("_")}
        decoder = cls(config["prefix_inner_dim"], config["prefix_hidden_dim"], gpt2)
        state = load_file(path)
        masks = (".attn.bias", ".attn.masked_bias")
        state = {name: value for name, value in state.items() if not name.endswith(masks)}
        missing, unexpected = decoder.load_state_dict(state, strict=False)
        if unexpected or set(missing) - {"transformer.lm_head.weight"}:
            raise EtudeError(f"{path}: not a caption decoder's weights", "Check the folder.")
        decoder.transformer.tie_weights()
        return decoder.eval()

    @torch.inference_mode()
    def write(self, latents: Tensor, *, end: int, beams: int = 5) -> list[list[int]]:
        """Token ids of a caption for each row of latents, (captions, tokens, width of the latents)."""
        prefix = self.decode_prefix(latents)
        written: Tensor = self.transformer.generate(
            inputs_embeds=prefix,
            attention_mask=torch.ones(prefix.shape[:2], dtype=torch.long, device=prefix.device),
            num_beams=beams,
            do_sample=False,
            max_new_tokens=_LONGEST,
            eos_token_id=end,
            pad_token_id=end,
        )
        return [[token for token in row if token != end] for row in written.tolist()]


class ClipCodec:
    """CLIP's text encoder and the caption decoder of a UniDiffuser folder."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        from transformers import AutoTokenizer, CLIPTextModel

        self.folder = folder
        with quiet_transformers():
            encoder: Any = CLIPTextModel.from_pretrained(folder / "text_encoder", use_safetensors=True)
            self.clip_tokenizer: Any = AutoTokenizer.from_pretrained(folder / "clip_tokenizer")
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder / "text_tokenizer")
        self.encoder = encoder.to(device).eval()
        self.decoder = CaptionDecoder.load(folder / "text_decoder").to(device)
        self.tokens: int = self.encoder.config.max_position_embeddings
        self.feature_dim: int = self.decoder.transformer.config.n_embd

    def encode(self, captions: Sequence[str]) -> EncodedText:
        """Captions to latents, (captions, 77, 64); longer ones are cut and counted."""
        lengths = [len(ids) for ids in self.clip_tokenizer(list(captions))["input_ids"]]
        with torch.no_grad():
            latents = self.from_states(self.states(captions))
        return EncodedText(latents, sum(n > self.tokens for n in lengths))

    @torch.no_grad()
    def states(self, captions: Sequence[str]) -> Tensor:
        """CLIP's last states, (captions, 77, 768): what an adapter of the text condition works on."""
        read = self.clip_tokenizer(
            list(captions), padding="max_length", truncation=True, max_length=self.tokens, return_tensors="pt"
        )
        states: Tensor = self.encoder(read["input_ids"].to(self.encoder.device))[0]
        return states

    def from_states(self, states: Tensor) -> Tensor:
        """States to latents, (captions, 77, 64); gradients pass."""
        latents: Tensor = self.decoder.encode_prefix(states)
        return latents

    @torch.inference_mode()
    def decode(self, latents: Tensor) -> list[str]:
        """Latents to captions, by beam search."""
        written = self.decoder.write(latents.to(self.encoder.device), end=self.tokenizer.eos_token_id)
        return [str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip() for ids in written]

    @torch.inference_mode()
    def features(self, latents: Tensor) -> Tensor:
        """What a language model reads of a picture: the latents at CLIP's width, (captions, 77, 768)."""
        widened: Tensor = self.decoder.decode_prefix(latents.to(self.encoder.device))
        return widened

    def save(self, folder: Path) -> None:
        """Copy the folders, unless they are there."""
        for name in FOLDERS:
            if folder.resolve() != self.folder.resolve():
                shutil.copytree(self.folder / name, folder / name, dirs_exist_ok=True)
