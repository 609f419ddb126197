"""Shapes of Llama-2 decoders: the paper's two, three for a laptop, and any other.

Every parameter is counted: embeddings, attention, SwiGLU, norms. The paper's models have 162,417,408 and
468,239,360 of them (untied embeddings, 32,000 tokens); ours tie the embeddings, most of a tiny model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etude.errors import EtudeError

if TYPE_CHECKING:
    from transformers import LlamaConfig


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a Llama-2 decoder: RMSNorm, SwiGLU, rotary positions, no biases.

    Attributes:
        hidden: Width of the residual stream.
        mlp: Width of the gated feed-forward layer.
        layers: Number of blocks.
        heads: Attention heads; they divide `hidden` into even parts.
        context: Most tokens that a sequence may have.
        vocab_size: Tokens of the vocabulary.
        kv_heads: Heads of keys and values; as many as `heads` when left out (the paper's).
        tied: Whether the output projection is the embedding table.
        rope_theta: Base of the rotary frequencies.
        norm_eps: Added to the mean square in RMSNorm.

    Raises:
        EtudeError: A size is not positive, or the heads do not divide what they must.
    """

    hidden: int
    mlp: int
    layers: int
    heads: int
    context: int
    vocab_size: int
    kv_heads: int | None = None
    tied: bool = False
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        """Refuse shapes that no network can have."""
        for name in ("hidden", "mlp", "layers", "heads", "context", "vocab_size", "kv_heads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise EtudeError(f"{name} is {value}", "It must be at least 1.")
        if self.hidden % self.heads:
            fitting = [
                h for h in range(1, self.hidden + 1) if self.hidden % h == 0 and self.hidden // h % 2 == 0
            ]
            near = sorted(fitting, key=lambda h: abs(h - self.heads))[:3]
            raise EtudeError(
                f"{self.heads} heads do not divide hidden = {self.hidden}",
                f"Numbers of heads that do: {', '.join(map(str, sorted(near)))}.",
            )
        if self.head_size % 2:
            raise EtudeError(
                f"hidden / heads = {self.head_size} is odd",
                "Rotary positions turn pairs of features: choose heads so that hidden / heads is even.",
            )
        if self.heads % self.key_heads:
            raise EtudeError(
                f"{self.key_heads} heads of keys and values do not divide {self.heads} heads",
                "Choose a divisor of the number of heads.",
            )

    @property
    def key_heads(self) -> int:
        """Heads of keys and values."""
        return self.kv_heads or self.heads

    @property
    def head_size(self) -> int:
        """Features of one head."""
        return self.hidden // self.heads


@dataclass(frozen=True)
class Recipe:
    """How a preset is trained unless the user says otherwise.

    Attributes:
        learning_rate: Peak of AdamW's rate.
        tokens_per_step: Tokens of one optimizer step, over all processes.
        steps: The paper's number of steps, None where the data set the number.
        warmup: Steps of rising rate, None for a twentieth of the run.
        accumulate: Batches per step in the paper.
        checkpoint_every, eval_every, keep: The paper's intervals in steps, and checkpoints kept.
    """

    learning_rate: float
    tokens_per_step: int
    steps: int | None = None
    warmup: int | None = None
    accumulate: int = 1
    checkpoint_every: int | None = None
    eval_every: int | None = None
    keep: int = 2


PRESETS: dict[str, ModelConfig] = {
    "nano": ModelConfig(96, 384, 3, 4, context=128, vocab_size=4096, tied=True),
    "micro": ModelConfig(160, 640, 4, 4, context=256, vocab_size=4096, tied=True),
    "mini": ModelConfig(288, 1152, 6, 6, context=256, vocab_size=4096, tied=True),
    "160m": ModelConfig(768, 3072, 12, 12, context=2048, vocab_size=32_000),
    "460m": ModelConfig(1024, 4096, 24, 16, context=2048, vocab_size=32_000),
}

RECIPES: dict[str, Recipe] = {
    "nano": Recipe(2e-3, 1024),
    "micro": Recipe(1.5e-3, 2048),
    "mini": Recipe(1e-3, 4096),
    "160m": Recipe(6e-4, 8192, 458_000, 5_000, 1, checkpoint_every=22_000, eval_every=100_000, keep=20),
    "460m": Recipe(3e-4, 8192, 1_200_000, 10_000, 2, checkpoint_every=25_000, eval_every=100_000, keep=48),
}


def parameters(config: ModelConfig) -> int:
    """Exact number of parameters; tied embeddings count once."""
    attention = 2 * config.hidden**2 + 2 * config.hidden * config.key_heads * config.head_size
    block = attention + 3 * config.hidden * config.mlp + 2 * config.hidden
    tables = config.vocab_size * config.hidden * (1 if config.tied else 2)
    return tables + config.layers * block + config.hidden


def preset_named(name: str) -> ModelConfig:
    """A preset by its name.

    Raises:
        EtudeError: There is none of that name.
    """
    if name not in PRESETS:
        raise EtudeError(f"there is no preset {name!r}", f"Choose one of: {', '.join(PRESETS)}.")
    return PRESETS[name]


def to_transformers(config: ModelConfig) -> LlamaConfig:
    """The same shape as transformers' `LlamaConfig`, with this method's special tokens."""
    from transformers import LlamaConfig

    from etude.methods.teenytinyllama.llama_tokenizer import BEGIN, END, PAD

    return LlamaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden,
        intermediate_size=config.mlp,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.key_heads,
        max_position_embeddings=config.context,
        rms_norm_eps=config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        tie_word_embeddings=config.tied,
        bos_token_id=BEGIN,
        eos_token_id=END,
        pad_token_id=PAD,
    )


def from_transformers(llama: LlamaConfig) -> ModelConfig:
    """The shape of a stock Llama config.

    Raises:
        EtudeError: It is no plain Llama (scaled positions, biases, another activation or head size).
    """
    rope = dict(llama.rope_parameters or {})
    plain = {
        "model_type": llama.model_type == "llama",
        "rope_parameters": rope.get("rope_type", "default") == "default",
        "attention_bias": not llama.attention_bias,
        "mlp_bias": not llama.mlp_bias,
        "hidden_act": llama.hidden_act == "silu",
        "head_dim": llama.head_dim in (None, llama.hidden_size // llama.num_attention_heads),
    }
    odd = [name for name, is_plain in plain.items() if not is_plain]
    if odd:
        raise EtudeError(
            f"the model is not a plain Llama: {', '.join(odd)} differ",
            "Start from a Llama-2-style model without biases and without scaled positions.",
        )
    return ModelConfig(
        hidden=llama.hidden_size,
        mlp=llama.intermediate_size,
        layers=llama.num_hidden_layers,
        heads=llama.num_attention_heads,
        kv_heads=llama.num_key_value_heads,
        context=llama.max_position_embeddings,
        vocab_size=llama.vocab_size,
        tied=bool(llama.tie_word_embeddings),
        rope_theta=float(rope.get("rope_theta", 10_000.0)),
        norm_eps=llama.rms_norm_eps,
    )
