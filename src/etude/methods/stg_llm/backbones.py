"""What stands between the adapter's two halves: a frozen language model, or one of the controls that question
it.

`pretrained` is the paper's arm. `random` is the same network with fresh weights, frozen the same way;
`scratch` is fresh and trained whole; `lora` adds trained low-rank updates to the pretrained attention;
`attention` is one trained attention layer; `none` is nothing at all. These are the questions of Tan et al.
2024, "Are Language Models Actually Useful for Time Series Forecasting?".
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

import torch
from torch import Tensor, nn

from etude.errors import EtudeError

Backbone = Literal["pretrained", "random", "scratch", "lora", "attention", "none"]
Attention = Literal["causal", "full"]
WITH_LM = ("pretrained", "random", "scratch", "lora")
TRAINED_KINDS = ("positions", "norms", "lora")


class NoBackbone(nn.Module):
    """The adapter talks to itself."""

    def forward(self, nodes: Tensor, prompt_ids: Tensor | None = None) -> Tensor:
        """(B, N, D) unchanged."""
        return nodes


class AttentionLayer(nn.Module):
    """One trained pre-norm self-attention layer over the nodes."""

    def __init__(self, width: int, heads: int, attention: Attention):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.mix = nn.MultiheadAttention(width, heads, batch_first=True)
        self.causal = attention == "causal"

    def forward(self, nodes: Tensor, prompt_ids: Tensor | None = None) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        x = self.norm(nodes)
        hidden = None
        if self.causal:
            size = nodes.shape[1]
            hidden = torch.ones(size, size, dtype=torch.bool, device=nodes.device).triu(1)
        return nodes + self.mix(x, x, x, attn_mask=hidden, need_weights=False)[0]  # type: ignore[no-any-return]


class WordRows(nn.Module):
    """The rows of the word embedding that the prompts use; the rest of the vocabulary is not kept in memory.

    Args:
        ids: (R,) sorted token ids.
        rows: (R, D) their embeddings, frozen.
    """

    ids: Tensor
    rows: Tensor

    def __init__(self, ids: Tensor, rows: Tensor):
        super().__init__()
        self.register_buffer("ids", ids, persistent=False)
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, prompt_ids: Tensor) -> Tensor:
        """(..., M) token ids to (..., M, D); padding (-1) gives zeros."""
        place = torch.searchsorted(self.ids, prompt_ids.clamp(min=0)).clamp(max=len(self.ids) - 1)
        known = (self.ids[place] == prompt_ids) | (prompt_ids < 0)
        if not bool(known.all()):
            raise ValueError("a prompt holds a token whose embedding was not kept")
        return self.rows[place] * (prompt_ids >= 0).unsqueeze(-1)


class FrozenLM(nn.Module):
    """The first blocks of a language model, reading node states instead of words.

    Positions and norms are trained, attention and MLP weights are not, so the backward pass needs input
    gradients only. Dropout is off throughout, and attention runs in SDPA so that no N × N matrix is kept.

    Args:
        lm: A headless transformers model (`AutoModel`) cut to its first blocks, without word embeddings.
        words: Embeddings of the prompts' tokens.
        attention: `causal`, as the model was made, or `full` between all tokens.
        nodes_per_block: Split the nodes into sequences of this length (nodes of different blocks do not
            meet); None = one sequence.
    """

    def __init__(
        self,
        lm: nn.Module,
        words: WordRows | None,
        *,
        attention: Attention,
        nodes_per_block: int | None = None,
    ):
        super().__init__()
        self.lm, self.words, self.attention, self.nodes_per_block = (
            lm.eval(),
            words,
            attention,
            nodes_per_block,
        )

    def train(self, mode: bool = True) -> FrozenLM:
        """Training mode, except that the language model never drops anything."""
        super().train(mode)
        self.lm.eval()
        return self

    def forward(self, nodes: Tensor, prompt_ids: Tensor | None = None) -> Tensor:
        """Run the node tokens behind the prompt.

        Args:
            nodes: (B, N, D).
            prompt_ids: (M,) one prompt for the whole batch, or (B, M) padded on the left with -1.

        Returns:
            States at the node positions, (B, N, D).
        """
        if self.nodes_per_block is None or self.nodes_per_block >= nodes.shape[1]:
            return self._sequences(nodes, prompt_ids, nodes.shape[1])
        batch, count, width = nodes.shape
        size = self.nodes_per_block
        blocks = -(-count // size)
        padded = nn.functional.pad(nodes, (0, 0, 0, blocks * size - count)).reshape(
            batch * blocks, size, width
        )
        if prompt_ids is not None and prompt_ids.ndim == 2:
            prompt_ids = prompt_ids.repeat_interleave(blocks, dim=0)
        states = self._sequences(
            padded, prompt_ids, size, last_block=count - (blocks - 1) * size, blocks=blocks
        )
        return states.reshape(batch, blocks * size, width)[:, :count]

    def _sequences(
        self, nodes: Tensor, prompt_ids: Tensor | None, size: int, *, last_block: int = 0, blocks: int = 1
    ) -> Tensor:
        batch = nodes.shape[0]
        valid = torch.ones(batch, size, dtype=torch.bool, device=nodes.device)
        if blocks > 1:
            valid[blocks - 1 :: blocks, last_block:] = False
        if prompt_ids is None:
            if self.attention == "causal":  # padding stands last and is not looked at
                return self._run(nodes, None)
            return self._run(nodes, self._mask(valid, 0))
        if self.words is None:
            raise ValueError("this forecaster was built without a prompt")
        prompt = self.words(prompt_ids)
        if prompt_ids.ndim == 1 and self.attention == "causal":
            return self._after_shared_prompt(nodes, prompt)
        length = prompt.shape[-2]
        prompt = prompt.expand(batch, -1, -1)
        there = (prompt_ids >= 0).expand(batch, -1)
        states = self._run(
            torch.cat([prompt, nodes], dim=1), self._mask(torch.cat([there, valid], dim=1), length)
        )
        return states[:, length:]

    def _after_shared_prompt(self, nodes: Tensor, prompt: Tensor) -> Tensor:
        """Nothing in a causal prompt depends on the nodes: run it once and let every window attend to its
        keys and values.
        """
        batch, size, _ = nodes.shape
        length = prompt.shape[0]
        positions = torch.arange(length + size, device=nodes.device)[None]
        cache = self.lm(
            inputs_embeds=prompt[None], position_ids=positions[:, :length], use_cache=True
        ).past_key_values
        cache.batch_repeat_interleave(batch)
        mask = torch.ones(size, length + size, dtype=torch.bool, device=nodes.device).tril(length)[None, None]
        out = self.lm(
            inputs_embeds=nodes,
            position_ids=positions[:, length:],
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        return out.last_hidden_state  # type: ignore[no-any-return]

    def _mask(self, valid: Tensor, prompt_length: int) -> Tensor:
        """(B, 1, S, S) who may look at whom; a padding token may look at itself, so that no row is empty."""
        size = valid.shape[1]
        allowed = torch.ones(size, size, dtype=torch.bool, device=valid.device)
        if self.attention == "causal":
            allowed = allowed.tril()
        itself = torch.eye(size, dtype=torch.bool, device=valid.device)
        return ((allowed & valid[:, None, :]) | itself)[:, None]

    def _run(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        out = self.lm(inputs_embeds=tokens, position_ids=positions, attention_mask=mask, use_cache=False)
        return out.last_hidden_state  # type: ignore[no-any-return]


def lm_config(model: str) -> Any:
    """The transformers config of a model name."""
    from transformers import AutoConfig

    from etude.models import model_directory

    try:
        return AutoConfig.from_pretrained(model_directory(model)).get_text_config()
    except (ValueError, OSError, KeyError) as error:
        raise EtudeError(
            f"{model}: no readable config.json ({str(error).splitlines()[0]})",
            "give a model that transformers knows",
        ) from None


def position_limit(config: Any) -> int:
    """The most tokens the model can place."""
    return int(
        getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None) or 1 << 30
    )


def load_lm(
    model: str,
    *,
    backbone: Backbone,
    layers: int,
    attention: Attention,
    seed: int,
    freeze_norms: bool = False,
    prompt_tokens: Tensor | None = None,
    nodes_per_block: int | None = None,
    lora_rank: int = 8,
) -> FrozenLM:
    """Cut a language model to its first blocks, freeze it as the arm says, and keep only the words the
    prompts use.

    Args:
        model: Embedded name, directory or hub id. `random` and `scratch` need only its config.json.
        backbone: One of the arms that have a language model.
        layers: Blocks kept.
        attention: See `FrozenLM`.
        seed: Of the fresh weights.
        freeze_norms: Keep the norms as they are, too.
        prompt_tokens: (R,) token ids whose embeddings are needed.
        nodes_per_block: See `FrozenLM`.
        lora_rank: Rank of the updates of the `lora` arm.

    Raises:
        EtudeError: If the model has fewer blocks than asked for, or cannot be loaded.
    """
    config = lm_config(model)
    if not 1 <= layers <= config.num_hidden_layers:
        raise EtudeError(
            f"{model} has {config.num_hidden_layers} blocks, {layers} asked for",
            f"give --layers 1 to {config.num_hidden_layers}",
        )
    vocabulary = config.vocab_size
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:layers]
    fresh = backbone in ("random", "scratch")
    lm = _fresh(config, seed) if fresh else _pretrained(model, config)
    words = None
    if prompt_tokens is not None:
        table = _fresh_words(config, vocabulary, seed) if fresh else lm.get_input_embeddings().weight.detach()
        words = WordRows(prompt_tokens, table[prompt_tokens].clone())
    lm.set_input_embeddings(nn.Embedding(0, 1))
    lm.requires_grad_(backbone == "scratch")
    if backbone == "lora":
        _add_lora(lm, lora_rank)
    _use_fused_gelu(lm)
    for kind, _, parameter in lm_parameters(lm):
        if kind in TRAINED_KINDS and not (kind == "norms" and freeze_norms):
            parameter.requires_grad_(True)
    lm.get_input_embeddings().requires_grad_(False)
    return FrozenLM(lm, words, attention=attention, nodes_per_block=nodes_per_block)


def _pretrained(model: str, config: Any) -> Any:
    from transformers import AutoModel

    from etude.models import model_directory
    from etude.models.quiet import quiet_transformers

    with quiet_transformers():  # the blocks and the head left out are not news
        try:
            return AutoModel.from_pretrained(
                model_directory(model),
                config=config,
                dtype=torch.float32,
                attn_implementation="sdpa",
                use_safetensors=True,
            )
        except (ValueError, OSError, KeyError) as error:
            raise EtudeError(
                f"{model}: no loadable weights ({str(error).splitlines()[0]})"[:300],
                "only the random and scratch arms do without weights",
            ) from None


def _fresh(config: Any, seed: int) -> Any:
    from copy import deepcopy

    from transformers import AutoModel

    small = deepcopy(config)
    small.vocab_size, small.pad_token_id = 1, None  # the words are not part of the network between the nodes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        auto: Any = AutoModel
        return auto.from_config(small, dtype=torch.float32, attn_implementation="sdpa")


def _fresh_words(config: Any, vocabulary: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(vocabulary, config.hidden_size, generator=generator) * float(
        getattr(config, "initializer_range", 0.02)
    )


def _add_lora(lm: Any, rank: int) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    attention = [
        n
        for n, m in lm.named_modules()
        if ("attn" in n or "attention" in n) and getattr(m, "weight", None) is not None
    ]
    linear = [n for n in attention if lm.get_submodule(n).weight.ndim == 2]
    conv = type(lm.get_submodule(linear[0])).__name__ == "Conv1D"
    inject_adapter_in_model(
        LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=linear, fan_in_fan_out=conv), lm
    )


def _use_fused_gelu(lm: Any) -> None:
    """GPT-2's `gelu_new` is written as six elementwise steps; torch has the same function as one."""
    for module in lm.modules():
        for name, child in module.named_children():
            if type(child).__name__ == "NewGELUActivation":
                setattr(module, name, nn.GELU(approximate="tanh"))


def lm_parameters(lm: Any) -> list[tuple[str, str, nn.Parameter]]:
    """(kind, name, parameter) of a headless LM: `words`, `positions`, `norms`, `lora` or `blocks`."""
    words = lm.get_input_embeddings()
    found: list[tuple[str, str, nn.Parameter]] = []
    for path, module in lm.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if module is words:
                kind = "words"
            elif isinstance(module, nn.Embedding):
                kind = "positions"
            elif "norm" in type(module).__name__.lower():
                kind = "norms"
            elif "lora_" in path:
                kind = "lora"
            else:
                kind = "blocks"
            found.append((kind, f"{path}.{name}", parameter))
    return found


def frozen_fingerprint(module: nn.Module) -> str:
    """sha256 of the frozen weights: a model folder names its language model by it instead of copying it."""
    digest = hashlib.sha256()
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            digest.update(name.encode())
            digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
