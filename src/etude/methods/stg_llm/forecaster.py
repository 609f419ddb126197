"""The whole forecaster: tokenizer, adapter, backbone and node table, and the audit of what is trained."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.stg_llm.adapter import STGAdapter
from etude.methods.stg_llm.backbones import (
    WITH_LM,
    Attention,
    AttentionLayer,
    Backbone,
    FrozenLM,
    NoBackbone,
    lm_config,
    lm_parameters,
    load_lm,
    position_limit,
)
from etude.methods.stg_llm.tokenizer import STGTokenizer
from etude.methods.stg_llm.windows import Fill

HUBER_DELTA = 1.0
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Settings:
    """Everything that fixes the network's shape; stored in a model folder's config.json.

    Attributes:
        nodes: N.
        model: Language model: embedded name, directory or hub id (its config gives the width even where it is
            not used).
        layers: Blocks kept (paper: 3).
        backbone: Arm, see `backbones`.
        attention: `causal` or `full`.
        history, horizon, features: L, P and F (the mask feature counts).
        slots_per_day, weekdays: K1 and K2.
        table_width: Columns of each time table.
        fill, mask_feature, per_node: How inputs are made, see `windows`.
        freeze_norms: Do not train the norms.
        nodes_per_block: Nodes a sequence, for networks larger than the model's positions.
        width: D of the arms without a language model; the model's own otherwise.
        prompt_length: Tokens of the prompt, 0 without one.
        precision: Of the products inside the backbone; weights, norms and everything else stay float32.
        seed: Of every fresh weight.
    """

    nodes: int
    model: str = "smollm2"
    layers: int = 3
    backbone: Backbone = "pretrained"
    attention: Attention = "causal"
    history: int = 12
    horizon: int = 12
    features: int = 1
    slots_per_day: int = 1
    weekdays: int = 7
    table_width: int = 64
    fill: Fill = "none"
    mask_feature: bool = False
    per_node: bool = False
    freeze_norms: bool = False
    nodes_per_block: int | None = None
    width: int | None = None
    prompt_length: int = 0
    precision: Precision = "float32"
    seed: int = 0


class STGForecaster(nn.Module):
    """P steps ahead at every node from the last L steps (paper sections 3.2-3.4).

    Args:
        tokenizer: Windows to tokens.
        adapter: Tokens to the backbone's width and back.
        backbone: (B, N, D) to (B, N, D).
        node_table: (N, D) learned identities added to the encoded tokens; None where trained positions do
            that (GPT-2).
        precision: `bfloat16` runs the backbone under autocast.
    """

    def __init__(
        self,
        tokenizer: STGTokenizer,
        adapter: STGAdapter,
        backbone: nn.Module,
        node_table: nn.Parameter | None,
        precision: Precision = "float32",
    ):
        super().__init__()
        self.tokenizer, self.adapter, self.backbone = tokenizer, adapter, backbone
        self.node_table = node_table
        self.precision = precision

    def forward(
        self,
        window: Tensor,
        slot: Tensor,
        weekday: Tensor,
        prompt_ids: Tensor | None = None,
        target: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Forecast, and the Huber loss if the truth is given.

        Args:
            window: z-scores, (B, L, N, F).
            slot: Time of day at the last input step, (B,).
            weekday: Day of the week there, (B,).
            prompt_ids: (M,) or (B, M), see `FrozenLM`.
            target: z-scores, (B, P, N); NaN is left out of the loss.

        Returns:
            `prediction` (B, P, N) in z-scores and, with a target, `loss`.
        """
        tokens = self.tokenizer(window, slot, weekday)
        encoded = self.adapter.encode(tokens)
        if self.node_table is not None:
            encoded = encoded + self.node_table
        with torch.autocast(encoded.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            states = self.backbone(encoded, prompt_ids)
        prediction = self.adapter.decode(states.to(encoded.dtype), tokens).transpose(1, 2)
        if target is None:
            return {"prediction": prediction}
        known = torch.isfinite(target)
        error = nn.functional.huber_loss(
            prediction, torch.where(known, target, prediction.detach()), reduction="none", delta=HUBER_DELTA
        )
        return {"loss": error.sum() / known.sum().clamp(min=1), "prediction": prediction}


@dataclass(frozen=True)
class ParameterAudit:
    """Numbers of parameters by part; `total` counts the language model as published, with the words that are
    not kept in memory.

    Attributes:
        trained_parts: Trained parameters of tokenizer, adapter, node table, positions, norms ...
        trained: Their sum.
        frozen: Frozen parameters, word embeddings included.
        total: `trained` + `frozen`.
        in_memory: Parameters actually held.
    """

    trained_parts: dict[str, int] = field(default_factory=dict)
    trained: int = 0
    frozen: int = 0
    total: int = 0
    in_memory: int = 0


def build_forecaster(settings: Settings, prompt_tokens: Tensor | None = None) -> STGForecaster:
    """Build the network that `settings` describe.

    Args:
        settings: Shape and arm.
        prompt_tokens: (R,) sorted ids of all tokens that prompts will use.

    Raises:
        EtudeError: If nodes and prompt do not fit the model's positions, or the arm cannot read a prompt.
    """
    config = lm_config(settings.model)
    with_lm = settings.backbone in WITH_LM
    width = config.hidden_size if with_lm else settings.width or config.hidden_size
    _check_positions(settings, position_limit(config), with_lm)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)  # the trained parts start alike in every arm of one seed
        tokenizer = STGTokenizer(
            settings.history,
            settings.features,
            settings.slots_per_day,
            settings.weekdays,
            settings.table_width,
        )
        adapter = STGAdapter(tokenizer.width, width, settings.horizon)
        identities = torch.randn(settings.nodes, width) * 0.02
        backbone: nn.Module
        if with_lm:
            backbone = load_lm(
                settings.model,
                backbone=settings.backbone,
                layers=settings.layers,
                attention=settings.attention,
                seed=settings.seed + 1,
                freeze_norms=settings.freeze_norms,
                prompt_tokens=prompt_tokens,
                nodes_per_block=settings.nodes_per_block,
            )
        elif settings.backbone == "attention":
            heads = max(h for h in range(1, 17) if width % h == 0)
            backbone = AttentionLayer(width, heads, settings.attention)
        else:
            backbone = NoBackbone()
    placed = isinstance(backbone, FrozenLM) and any(
        kind == "positions" for kind, _, _ in lm_parameters(backbone.lm)
    )
    needs_table = not placed or settings.nodes_per_block is not None
    table = nn.Parameter(identities) if needs_table else None
    return STGForecaster(tokenizer, adapter, backbone, table, settings.precision)


def _check_positions(settings: Settings, limit: int, with_lm: bool) -> None:
    if not with_lm:
        return
    sequence = min(settings.nodes, settings.nodes_per_block or settings.nodes)
    if sequence + settings.prompt_length > limit:
        raise EtudeError(
            f"{sequence} nodes and {settings.prompt_length} prompt tokens exceed the {limit} positions "
            f"of {settings.model} ({max(limit - sequence, 0)} are left for a prompt)",
            "shorten the prompt, take a larger model, or split the network with --nodes-per-block",
        )


def audit(forecaster: STGForecaster, settings: Settings) -> ParameterAudit:
    """Count what is trained and what is frozen (paper: 1,033,704 of 60,885,480 with three GPT-2 blocks)."""
    parts = {
        "tokenizer": _trained(forecaster.tokenizer),
        "adapter": _trained(forecaster.adapter),
        "node table": 0 if forecaster.node_table is None else forecaster.node_table.numel(),
    }
    frozen = 0
    if isinstance(forecaster.backbone, FrozenLM):
        for kind, _, parameter in lm_parameters(forecaster.backbone.lm):
            if kind == "words":
                continue
            if parameter.requires_grad:
                parts[kind] = parts.get(kind, 0) + parameter.numel()
            else:
                frozen += parameter.numel()
        config: Any = lm_config(settings.model)
        frozen += config.vocab_size * config.hidden_size
    else:
        parts[settings.backbone] = _trained(forecaster.backbone)
    parts = {name: count for name, count in parts.items() if count}
    trained = sum(parts.values())
    held = sum(p.numel() for p in forecaster.parameters())
    return ParameterAudit(parts, trained, frozen, trained + frozen, held)


def _trained(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def settings_json(settings: Settings) -> dict[str, Any]:
    """For config.json."""
    return asdict(settings)
