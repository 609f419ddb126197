"""Keys and values of what a model has read, kept so that many continuations share it.

The cache of transformers copies everything at each token; `RoomyLayer` writes into spare room instead.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from etude.errors import EtudeError


class RoomyLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's keys and values, (batch, heads, tokens, dimension), with room for more tokens.

    `keys` and `values` are views of the filled part, so cropping is only a shorter view.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._rooms: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append new keys and values, (batch, heads, new tokens, dimension), and return all of them."""
        if not self.is_initialized:
            self.reserve(key_states[:, :, :0], value_states[:, :, :0], room=key_states.shape[-2])
        length = self.get_seq_length()
        total = length + key_states.shape[-2]
        if total > self._rooms[0].shape[-2]:
            held = [room[:, :, :length] for room in self._rooms]
            self.reserve(held[0], held[1], room=max(total, length * 3 // 2) - length)
        self._rooms[0][:, :, length:total] = key_states
        self._rooms[1][:, :, length:total] = value_states
        self.keys, self.values = (room[:, :, :total] for room in self._rooms)
        return self.keys, self.values

    def reserve(self, keys: torch.Tensor, values: torch.Tensor, *, room: int) -> None:
        """Hold copies of `keys` and `values` (an expanded batch is filled in) and `room` more tokens."""
        batch, heads, length, _ = keys.shape
        self._rooms = [t.new_empty(batch, heads, length + room, t.shape[-1]) for t in (keys, values)]
        for held, given in zip(self._rooms, (keys, values), strict=True):
            held[:, :, :length] = given
        self.keys, self.values = (held[:, :, :length] for held in self._rooms)
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True

    def get_seq_length(self) -> int:
        """Tokens held."""
        return 0 if self.keys is None else int(self.keys.shape[-2])


def new_cache(config: Any) -> Cache:
    """An empty cache for a model.

    Raises:
        EtudeError: The model keeps something else than keys and values (state-space models and the like), so
            what was read cannot be shared or taken back.
    """
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    if not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
        raise EtudeError(
            f"{config.model_type} models keep more than keys and values, so they cannot share what they read",
            "Serve the model (vLLM, SGLang, llama.cpp) and give it as openai/MODEL with a base URL.",
        )
    return _cache([RoomyLayer() for _ in range(config.get_text_config(decoder=True).num_hidden_layers)])


def has_sliding_window(config: Any) -> bool:
    """Whether some layers see only the last so many columns."""
    return any(isinstance(layer, DynamicSlidingWindowLayer) for layer in DynamicCache(config=config).layers)


def fork(cache: Cache, rows: torch.Tensor, *, room: int) -> Cache:
    """A new cache whose batch consists of the chosen rows of `cache`; the old one stays as it is.

    Args:
        cache: Any cache made by `new_cache`.
        rows: Row numbers, repeated ones allowed, (new batch,).
        room: Tokens to have room for.
    """
    layers = []
    for old in _layers(cache):
        new = RoomyLayer()
        if old.keys is not None and old.values is not None:
            single = old.keys.shape[0] == 1
            keys, values = (
                t.expand(len(rows), -1, -1, -1) if single else t.index_select(0, rows)
                for t in (old.keys, old.values)
            )
            new.reserve(keys, values, room=room)
        layers.append(new)
    return _cache(layers)


def crop(cache: Cache, length: int) -> None:
    """Take back all tokens after the first `length`."""
    for layer in _layers(cache):
        surplus = layer.get_seq_length() - length
        if surplus > 0:
            layer.crop(-surplus)


def bytes_per_token(model: Any) -> int:
    """Memory of one token's keys and values in all layers, for one row."""
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * int(config.num_hidden_layers) * int(heads) * int(width) * int(model.dtype.itemsize)


def _cache(layers: list[RoomyLayer]) -> Cache:
    return Cache(layers=cast(Any, layers))


def _layers(cache: Cache) -> list[RoomyLayer]:
    return cast(list[RoomyLayer], cache.layers)
