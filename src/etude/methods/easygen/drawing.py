"""The verb `draw`: pictures from words, as PNG files that say how they were made.

A picture is addressed by prompt, seed, steps, guidance and model: asked for again, it is not drawn again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.easygen.adapting import adapted_latents
from etude.methods.easygen.bidiffuser import BiDiffuser
from etude.methods.easygen.bridge_folder import JoinedModel
from etude.methods.easygen.describing import load_either
from etude.methods.easygen.encoded_pairs import unknown_words
from etude.methods.easygen.pictures import png_bytes, to_image
from etude.methods.easygen.word_codec import EncodedText
from etude.render import console, table
from etude.runs import atomic_path, content_hash


@dataclass(frozen=True)
class Painter:
    """What draws: a BiDiffuser, perhaps with the adapter of a joined model, and how.

    Attributes:
        bidiffuser: The model.
        joined: Whose adapter shapes the text condition; None: the text alone.
        steps: Solver steps; None: the model's.
        guidance: Strength; None: the model's.
        empty_text: Guide away from an empty text instead of an absent one.
    """

    bidiffuser: BiDiffuser
    joined: JoinedModel | None = None
    steps: int | None = None
    guidance: float | None = None
    empty_text: bool = False

    def condition(self, prompts: Sequence[str]) -> EncodedText:
        """Text latents of prompts, through the adapter where there is one."""
        encoded = self.bidiffuser.text.encode(prompts)
        if self.joined is None or self.joined.adapter is None:
            return encoded
        with torch.no_grad():
            latents = adapted_latents(self.joined.adapter, self.joined, self.bidiffuser, prompts)
        return EncodedText(latents, encoded.truncated, encoded.unknown)

    def settings(self, prompt: str, seed: int) -> dict[str, str]:
        """What determines a picture, as it stands in the PNG."""
        strength = self.bidiffuser.guidance if self.guidance is None else self.guidance
        found = {
            "prompt": prompt,
            "seed": str(seed),
            "steps": str(self.steps or self.bidiffuser.steps),
            "guidance": f"{strength:g}" + (" from empty text" if self.empty_text else ""),
            "model": self.bidiffuser.identity,
        }
        if self.joined is not None and self.joined.adapter is not None:
            found["adapter"] = content_hash([str(p.sum().item()) for p in self.joined.adapter.parameters()])[
                :16
            ]
        return found

    def paint(self, prompts: Sequence[str], folder: Path, *, seed: int = 0, scale: int = 1) -> list[Path]:
        """Draw prompts into PNG files of a folder; files that are there already are kept."""
        paths = [folder / self._name(prompt, seed, scale) for prompt in prompts]
        missing = {p: prompt for p, prompt in zip(paths, prompts, strict=True) if not p.exists()}
        if missing:
            encoded = self.condition(list(missing.values()))
            if encoded.unknown and not torch.any(encoded.latents != self._nothing()):
                raise unknown_words(encoded.unknown)
            pixels = self.bidiffuser.draw(
                encoded.latents,
                list(missing.values()),
                seed=seed,
                steps=self.steps,
                guidance=self.guidance,
                empty_text=self.empty_text,
            )
            for (path, prompt), one in zip(missing.items(), pixels, strict=True):
                with atomic_path(path) as temporary:
                    temporary.write_bytes(png_bytes(to_image(one), self.settings(prompt, seed), scale=scale))
        return paths

    def _name(self, prompt: str, seed: int, scale: int) -> str:
        words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:40] or "picture"
        return f"{words}-{content_hash([self.settings(prompt, seed), scale])[:8]}.png"

    def _nothing(self) -> torch.Tensor:
        return self.bidiffuser.text.encode([""]).latents


@dataclass(frozen=True)
class DrawResult:
    """Pictures drawn.

    Attributes:
        prompts: What was asked for.
        files: The PNG files, one for each prompt.
        seed: Other seeds give other pictures.
        truncated: Prompts that were longer than the text latents.
        unknown: Words that a small model does not know; they were left out.
        model: Identity of the BiDiffuser.
    """

    prompts: Sequence[str]
    files: Sequence[str]
    seed: int
    truncated: int
    unknown: Sequence[str]
    model: str

    def __rich__(self) -> Any:
        """A table."""
        rows = list(zip(self.prompts, self.files, strict=True))
        return table(["prompt", "file"], rows, title=f"easygen draw: {self.model}, seed {self.seed}")


@verb
def draw(
    text: tuple[str, ...],
    *,
    model: str = "emoji",
    out: Path,
    seed: int = 0,
    steps: int | None = None,
    guidance: float | None = None,
    empty_text: bool = False,
    scale: int = 1,
) -> DrawResult:
    """Draw pictures from words; each PNG holds prompt, seed, steps, guidance and model in its text chunk.

    Args:
        text: One or more prompts.
        model: A BiDiffuser, `emoji`, or what `align`, `tune` or `adapt` wrote (its adapter is used).
        out: Folder for the pictures.
        seed: Of the noise.
        steps: Solver steps; default: the model's.
        guidance: Strength of the guidance towards the text; default: the model's (7 for UniDiffuser).
        empty_text: Guide away from an empty text instead of an absent one.
        scale: Enlarge by so many times, pixel by pixel.
    """
    prompts = [text] if isinstance(text, str) else list(text)
    if not prompts or not all(prompt.strip() for prompt in prompts):
        raise EtudeError("an empty prompt", "Say what shall be drawn.")
    painter = painter_of(model, steps=steps, guidance=guidance, empty_text=empty_text)
    encoded = painter.bidiffuser.text.encode(prompts)
    if encoded.unknown:
        known = [
            prompt
            for prompt in prompts
            if not painter.bidiffuser.text.encode([prompt]).latents.eq(painter._nothing()).all()
        ]
        if len(known) < len(prompts):
            raise unknown_words(encoded.unknown)
        console().print(f"words that the model does not know were left out: {', '.join(encoded.unknown)}")
    files = painter.paint(prompts, out, seed=seed, scale=scale)
    return DrawResult(
        prompts,
        [str(file) for file in files],
        seed,
        encoded.truncated,
        encoded.unknown,
        painter.bidiffuser.identity,
    )


def painter_of(
    model: str, *, steps: int | None = None, guidance: float | None = None, empty_text: bool = False
) -> Painter:
    """The painter of a model's name: a BiDiffuser, or a joined model with its BiDiffuser and adapter."""
    found = load_either(model)
    if isinstance(found, BiDiffuser):
        return Painter(found, None, steps, guidance, empty_text)
    return Painter(found.bidiffuser, found, steps, guidance, empty_text)
