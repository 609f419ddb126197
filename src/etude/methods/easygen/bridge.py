"""A language model that reads pictures through a projection: pre-align and mid-align.

Pre-align (decoders): the projected tokens stand in the prompt; the loss is that of image-grounded text
generation, -mean log p(word | earlier words, picture, instruction). Mid-align (encoder-decoders): they are
joined to the encoder's states on their way to the decoder, and a distance pulls their mean to that of the
encoded caption: L = L_ITG + w mean_i |d_diff,i - d_llm,i|^2 (pooled means, w = 1: ours; the paper is silent).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.easygen.projections import Projection
from etude.methods.easygen.wording import IGNORED, Prompt

Mode = Literal["pre", "mid"]


class Bridge(nn.Module):
    """A language model with a projection of a BiDiffuser's features.

    Args:
        llm: A causal model, or with `mid` an encoder-decoder.
        projection: Of the features.
        clip_projection: Of CLIP's patch states, put before the features; None without.
        mode: `pre` or `mid`.
        distance_weight: Of the distance, with `mid`.
    """

    def __init__(
        self,
        llm: Any,
        projection: Projection,
        clip_projection: Projection | None = None,
        mode: Mode = "pre",
        distance_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.llm = llm
        self.projection = projection
        self.clip_projection = clip_projection
        self.mode = mode
        self.distance_weight = distance_weight

    @property
    def device(self) -> torch.device:
        """Where the language model is."""
        found: torch.device = next(self.llm.parameters()).device
        return found

    def soft_tokens(self, features: Tensor, clip_patches: Tensor | None = None) -> Tensor:
        """Pictures as the language model's vectors, (pictures, tokens, llm_dim); CLIP's first."""
        found: Tensor = self.projection(features)
        if self.clip_projection is not None:
            assert clip_patches is not None
            found = torch.cat([self.clip_projection(clip_patches), found], dim=1)
        return found

    def forward(self, **batch: Any) -> dict[str, Tensor]:
        """The loss of a batch of `collate`."""
        if self.mode == "pre":
            output = self.llm(
                inputs_embeds=self.embed(batch),
                attention_mask=batch["attention_mask"],
                labels=batch["labels"],
            )
            return {"loss": output.loss}
        soft = self.soft_tokens(batch["features"], batch.get("clip_patches"))
        states, mask = self.encoded(batch, soft)
        output = self.llm(encoder_outputs=(states,), attention_mask=mask, labels=batch["answers"])
        return {"loss": output.loss + self.distance_weight * self.distance(soft, batch)}

    def embed(self, batch: dict[str, Any]) -> Tensor:
        """Token embeddings, the pictures' soft tokens in their places, (batch, tokens, llm_dim)."""
        embeds: Tensor = self.llm.get_input_embeddings()(batch["input_ids"])
        soft = batch["soft"]
        if soft.any():
            tokens = self.soft_tokens(batch["features"], batch.get("clip_patches")).to(embeds.dtype)
            embeds = embeds.masked_scatter(soft[..., None], tokens.reshape(-1, embeds.shape[-1]))
        return embeds

    def encoded(self, batch: dict[str, Any], soft: Tensor) -> tuple[Tensor, Tensor]:
        """Mid-align: soft tokens, then the encoder's states of the instruction, and their mask."""
        states = self.llm.get_encoder()(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).last_hidden_state
        here = torch.ones(soft.shape[:2], dtype=batch["attention_mask"].dtype, device=soft.device)
        return torch.cat([soft, states], dim=1), torch.cat([here, batch["attention_mask"]], dim=1)

    def distance(self, soft: Tensor, batch: dict[str, Any]) -> Tensor:
        """ITDM: squared distance of pooled soft tokens and pooled encoded caption, mean over the batch."""
        answers = batch["answers"]
        mask = answers != IGNORED
        states = self.llm.get_encoder()(
            input_ids=answers.masked_fill(~mask, 0), attention_mask=mask.long()
        ).last_hidden_state
        pooled = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        apart: Tensor = ((soft.mean(1) - pooled) ** 2).sum(-1)
        return apart.mean()

    @torch.inference_mode()
    def write(
        self, batch: dict[str, Any], *, max_tokens: int, end: int | Sequence[int], pad: int
    ) -> list[list[int]]:
        """Token ids of the answers, greedily, for a batch of `collate` with `left=True`."""
        asked: dict[str, Any] = {
            "max_new_tokens": max_tokens,
            "do_sample": False,
            "num_beams": 1,
            "eos_token_id": end,
            "pad_token_id": pad,
        }
        if self.mode == "pre":
            written: Tensor = self.llm.generate(
                inputs_embeds=self.embed(batch), attention_mask=batch["attention_mask"], **asked
            )
        else:
            from transformers.modeling_outputs import BaseModelOutput

            states, mask = self.encoded(batch, self.soft_tokens(batch["features"], batch.get("clip_patches")))
            written = self.llm.generate(
                encoder_outputs=BaseModelOutput(last_hidden_state=states), attention_mask=mask, **asked
            )[:, 1:]
        ends = {end} if isinstance(end, int) else set(end)
        rows = []
        for row in written.tolist():
            stop = next((n for n, token in enumerate(row) if token in ends), len(row))
            rows.append(row[:stop])
        return rows


def collate(
    prompts: Sequence[Prompt],
    features: Tensor | None,
    clip_patches: Tensor | None = None,
    *,
    pad: int = 0,
    left: bool = False,
    mode: Mode = "pre",
) -> dict[str, Tensor]:
    """Prompts and their pictures' features, in order, as one batch.

    With `mid`, pictures are no positions of the prompt, and the answers (`labels`) go to the decoder.

    Args:
        prompts: Conversations as tokens.
        features: (pictures of all prompts, tokens, dim).
        clip_patches: The same for CLIP.
        pad: Token that fills.
        left: Fill on the left, for generation.
        mode: `pre` or `mid`.
    """
    rows = [_split(prompt, mode) for prompt in prompts]
    width = max(len(ids) for ids, _, _, _ in rows)

    def filled(values: Sequence[Any], value: Any) -> list[Any]:
        rest = [value] * (width - len(values))
        return [*rest, *values] if left else [*values, *rest]

    batch = {
        "input_ids": torch.tensor([filled(ids, pad) for ids, _, _, _ in rows]),
        "attention_mask": torch.tensor([filled([1] * len(ids), 0) for ids, _, _, _ in rows]),
    }
    if mode == "pre":
        batch["labels"] = torch.tensor([filled(labels, IGNORED) for _, labels, _, _ in rows])
        batch["soft"] = torch.tensor([filled(soft, False) for _, _, soft, _ in rows])
    else:
        longest = max(1, *(len(answer) for _, _, _, answer in rows))
        batch["answers"] = torch.tensor([[*a, *[IGNORED] * (longest - len(a))] for _, _, _, a in rows])
    if features is not None:
        batch["features"] = features
    if clip_patches is not None:
        batch["clip_patches"] = clip_patches
    return batch


def _split(prompt: Prompt, mode: Mode) -> tuple[list[int], list[int], list[bool], list[int]]:
    """Ids, labels, places of soft tokens, and the answer apart (with `mid`)."""
    if mode == "pre":
        return prompt.ids, prompt.labels, prompt.soft, []
    if prompt.pictures != 1:
        raise EtudeError(
            f"a dialog with {prompt.pictures} pictures",
            "Mid-align reads exactly one picture; use --mode pre.",
        )
    answer = [label for label in prompt.labels if label != IGNORED]
    asked = [
        token
        for token, label, soft in zip(prompt.ids, prompt.labels, prompt.soft, strict=True)
        if label == IGNORED and not soft
    ]
    return asked, [], [], answer
