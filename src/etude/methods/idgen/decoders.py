"""Language models that read a tree of continuations: one row per user, however many beams.

Beams share their history: it is read once per user, and the tokens of all beams lie side by side behind it
in the same row. Which earlier tokens a token sees is said by a mask (its own branch), so beams may be dropped
and doubled without moving a single key or value.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from etude.errors import EtudeError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Reading(Protocol):
    """Rows that were read, and the tokens that were added to them."""

    start: Tensor
    """The first token of the tree in each row, int64 (rows,); it is still to be given to `extend`."""


class TreeDecoder(Protocol):
    """A model that reads rows once and then grows a tree of tokens behind each."""

    weight: Tensor
    """The output projection, (vocabulary, width)."""
    bias: Tensor | None
    """Its bias, (vocabulary,)."""

    def read(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        """Read the rows, int64 (rows, length) each, and return their `Reading`."""

    def extend(self, reading: Any, tokens: Tensor, depth: Tensor, visible: Tensor) -> Tensor:
        """Add tokens to the tree behind each row.

        Args:
            reading: What `read` returned; it keeps the tokens' keys and values.
            tokens: Int64 (rows, new).
            depth: How many tokens of its branch stand before each, int64 (rows, new).
            visible: Which tokens of the tree each one sees, itself included: bool (rows, new, old + new).

        Returns:
            Output states, (rows, new, width); times `weight` they are the logits of what follows.
        """


def tree_decoder(model: PreTrainedModel) -> TreeDecoder:
    """The tree decoder of a T5 or of a causal language model.

    Raises:
        EtudeError: The model's logits are not its states times its output embedding.
    """
    return T5Decoder(model) if model.config.is_encoder_decoder else CausalDecoder(model)


@dataclass
class T5Reading:
    """Keys and values of the input and of the tree, for each layer."""

    start: Tensor
    cross: list[tuple[Tensor, Tensor]]
    padding: Tensor
    depth: Tensor
    own: list[tuple[Tensor, Tensor]] = field(default_factory=list)


class T5Decoder:
    """The decoder of a `T5ForConditionalGeneration`, one row per input.

    Args:
        model: The model; its weights are used where they are.

    Raises:
        EtudeError: Its logits cannot be had from single rows of its output embedding.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        inner: Any = model
        if not (hasattr(inner, "decoder") and hasattr(inner.decoder, "block") and hasattr(inner, "lm_head")):
            raise EtudeError(
                f"{type(model).__name__} is not a T5 with a language-model head",
                "Give a T5 (T5ForConditionalGeneration) or a causal language model.",
            )
        self.model = inner
        self.weight: Tensor = inner.lm_head.weight
        self.bias: Tensor | None = inner.lm_head.bias
        self.scale = inner.config.d_model**-0.5 if inner.config.scale_decoder_outputs else 1.0
        _check_logits(self, model)

    def read(self, input_ids: Tensor, attention_mask: Tensor) -> T5Reading:
        """Encode the rows, once, and project them for every layer."""
        states = self.model.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        cross = []
        for block in self.model.decoder.block:
            attention = block.layer[1].EncDecAttention
            cross.append((self._heads(attention.k(states)), self._heads(attention.v(states))))
        rows = len(input_ids)
        start = torch.full((rows,), self.model.config.decoder_start_token_id, device=input_ids.device)
        padding = torch.zeros_like(attention_mask, dtype=states.dtype)
        padding = padding.masked_fill(attention_mask == 0, float("-inf"))[:, None, None]  # (rows, 1, 1, len)
        return T5Reading(start, cross, padding, input_ids.new_zeros(rows, 0))

    def extend(self, reading: T5Reading, tokens: Tensor, depth: Tensor, visible: Tensor) -> Tensor:
        """Add tokens to the trees; the distance of two tokens is that of their depths."""
        blocks = self.model.decoder.block
        x = self.model.decoder.embed_tokens(tokens)  # (rows, new, width)
        reading.depth = torch.cat([reading.depth, depth], 1)
        bias = self._distances(depth, reading.depth).masked_fill(~visible[:, None], float("-inf"))
        for layer, block in enumerate(blocks):
            attention, cross, feed_forward = block.layer[0], block.layer[1], block.layer[-1]
            normed = attention.layer_norm(x)
            project = attention.SelfAttention
            keys, values = self._heads(project.k(normed)), self._heads(project.v(normed))
            if len(reading.own) <= layer:
                reading.own.append((keys, values))
            else:
                old_keys, old_values = reading.own[layer]
                reading.own[layer] = (torch.cat([old_keys, keys], 2), torch.cat([old_values, values], 2))
            x = x + project.o(self._attend(project.q(normed), *reading.own[layer], bias))
            project = cross.EncDecAttention
            x = x + project.o(
                self._attend(project.q(cross.layer_norm(x)), *reading.cross[layer], reading.padding)
            )
            x = feed_forward(x)
        out: Tensor = self.model.decoder.final_layer_norm(x) * self.scale
        return out

    def _heads(self, states: Tensor) -> Tensor:
        rows, length, _ = states.shape  # -> (rows, heads, length, width of a head)
        return states.view(rows, length, self.model.config.num_heads, -1).transpose(1, 2)

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
        found = F.scaled_dot_product_attention(self._heads(queries), keys, values, attn_mask=bias, scale=1.0)
        return found.transpose(1, 2).flatten(2)  # (rows, new, heads * width of a head)

    def _distances(self, queries: Tensor, keys: Tensor) -> Tensor:
        """T5's bias for each pair of depths, (rows, heads, queries, keys)."""
        first = self.model.decoder.block[0].layer[0].SelfAttention
        buckets = first._relative_position_bucket(
            keys[:, None, :] - queries[:, :, None],
            bidirectional=False,
            num_buckets=first.relative_attention_num_buckets,
            max_distance=first.relative_attention_max_distance,
        )
        bias: Tensor = first.relative_attention_bias(buckets).permute(0, 3, 1, 2)
        return bias


@dataclass
class CausalReading:
    """The cache of the prompts and the tree behind them."""

    start: Tensor
    cache: Any
    prompt: Tensor


class CausalDecoder:
    """A causal language model of transformers, one row per prompt; prompts are padded on the left.

    Args:
        model: The model; its attention must take a mask of its own (eager or sdpa, no sliding window).

    Raises:
        EtudeError: Its logits cannot be had from single rows of its output embedding.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        inner: Any = model
        head = inner.get_output_embeddings()
        self.model = inner
        self.weight: Tensor = head.weight
        self.bias: Tensor | None = head.bias
        _check_logits(self, model)

    def read(self, input_ids: Tensor, attention_mask: Tensor) -> CausalReading:
        """Read the prompts but for their last token, with which the tree begins."""
        from transformers import DynamicCache

        if not bool((attention_mask[:, -1] == 1).all()):
            raise EtudeError("prompts are padded on the right", "Set tokenizer.padding_side = 'left'.")
        cache = DynamicCache()
        if input_ids.shape[1] > 1:
            mask = attention_mask[:, :-1]
            self.model.base_model(
                input_ids=input_ids[:, :-1],
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0),
                past_key_values=cache,
                use_cache=True,
            )
        return CausalReading(input_ids[:, -1], cache, attention_mask[:, :-1].bool())

    def extend(self, reading: CausalReading, tokens: Tensor, depth: Tensor, visible: Tensor) -> Tensor:
        """Add tokens to the trees; a token's position is the prompt's length and its depth."""
        rows, new = tokens.shape
        prompt = reading.prompt[:, None].expand(rows, new, -1)
        seen = torch.cat([prompt, visible], 2)[:, None]  # (rows, 1, new, prompt + old + new)
        mask = torch.zeros_like(seen, dtype=self.weight.dtype)
        output = self.model.base_model(
            input_ids=tokens,
            attention_mask=mask.masked_fill(~seen, torch.finfo(mask.dtype).min),
            position_ids=reading.prompt.sum(1, keepdim=True) + depth,
            past_key_values=reading.cache,
            use_cache=True,
        )
        states: Tensor = output.last_hidden_state
        return states


@torch.no_grad()
def _check_logits(decoder: Any, model: PreTrainedModel) -> None:
    """Compare with the model's own logits on two made-up rows; scaled or capped logits are found so."""
    training, inner = model.training, decoder.model
    inner.eval()
    device = decoder.weight.device
    tokens = torch.arange(3, 9, device=device).remainder(decoder.weight.shape[0]).view(2, 3)
    ones = torch.ones_like(tokens)
    reading = decoder.read(tokens, ones)
    first = torch.zeros(2, 1, dtype=torch.long, device=device)
    visible = torch.ones(2, 1, 1, dtype=torch.bool, device=device)
    states = decoder.extend(reading, reading.start[:, None], first, visible)
    ours = F.linear(states, decoder.weight, decoder.bias)[:, -1]
    given = {"decoder_input_ids": reading.start[:, None]} if inner.config.is_encoder_decoder else {}
    theirs = inner(input_ids=tokens, attention_mask=ones, **given).logits[:, -1]
    inner.train(training)
    if bool(theirs.isnan().any()):
        raise EtudeError(f"{type(model).__name__} gives NaN", "Its weights are broken; train it again.")
    if not torch.allclose(ours, theirs.to(ours.dtype), rtol=1e-2, atol=1e-2 * float(theirs.abs().max())):
        raise EtudeError(
            f"{type(model).__name__}: its logits are not its states times its output embedding",
            "Give a plain T5, GPT-2, Llama or like model (no scaled or capped logits, no sliding window).",
        )
