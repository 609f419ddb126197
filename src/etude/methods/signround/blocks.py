"""The decoder blocks of a causal LM: where they are, which of their weights to quantize, and how to run one
alone.

A block is run with `functional_call`, other weights put in place of its own, so tuning never touches the
model. Every weight is handled as a matrix (out_features, in_features): the transposed ones of GPT-2
(`Conv1D`) and the stacked experts of mixture models are turned into that shape here and nowhere else.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from etude.errors import EtudeError

_CACHE_ARGUMENTS = ("past_key_values", "past_key_value", "layer_past")


@dataclass(frozen=True)
class Slot:
    """One weight to quantize.

    Attributes:
        parameter: Its name within the block, e.g. ``mlp.up_proj.weight``.
        layer: Its name within the model without ``.weight``, e.g. ``model.layers.3.mlp.up_proj``.
        shape: The parameter's own shape.
        transposed: Stored as (in, out) instead of (out, in).
    """

    parameter: str
    layer: str
    shape: tuple[int, ...]
    transposed: bool = False

    @property
    def stacked(self) -> bool:
        """Experts stacked in one parameter, (experts, out, in)."""
        return len(self.shape) == 3

    @property
    def in_features(self) -> int:
        """Inputs of the layer."""
        return self.shape[-2] if self.transposed else self.shape[-1]

    @property
    def module(self) -> str:
        """The module that holds the parameter, within the block."""
        return self.parameter.rpartition(".")[0]

    def to_matrix(self, parameter: Tensor) -> Tensor:
        """The parameter as (out, in); the experts of a stack lie one below the other."""
        weight = parameter.transpose(-1, -2) if self.transposed else parameter
        return weight.reshape(-1, weight.shape[-1])

    def to_parameter(self, matrix: Tensor) -> Tensor:
        """The inverse of `to_matrix`."""
        if self.transposed:
            return matrix.reshape(*self.shape[:-2], self.shape[-1], self.shape[-2]).transpose(-1, -2)
        return matrix.reshape(self.shape)


@dataclass
class Block:
    """One decoder block with the arguments the model passes it besides the hidden states."""

    name: str
    module: nn.Module
    slots: list[Slot]
    arguments: tuple[Any, ...] = ()
    keywords: dict[str, Any] = field(default_factory=dict)

    def __call__(self, hidden: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """Output, (batch, seqlen, features), with `weights` {parameter: matrix} in place of its own."""
        replaced = {}
        if weights:
            shapes = {slot.parameter: slot for slot in self.slots}
            replaced = {name: shapes[name].to_parameter(matrix) for name, matrix in weights.items()}
        output = functional_call(self.module, replaced, (hidden, *self.arguments), self.keywords)
        hidden_states: Tensor = output[0] if isinstance(output, tuple) else output
        return hidden_states

    def matrix(self, slot: Slot) -> Tensor:
        """The model's present weight of a slot, (out, in)."""
        return slot.to_matrix(self.module.get_parameter(slot.parameter).detach())

    def put(self, slot: Slot, matrix: Tensor) -> None:
        """Write a weight into the model."""
        with torch.no_grad():
            self.module.get_parameter(slot.parameter).copy_(slot.to_parameter(matrix))


def find_blocks(model: PreTrainedModel, block_list: str | None = None) -> list[Block]:
    """The decoder blocks in order, with their quantizable weights.

    Args:
        model: A causal LM.
        block_list: Name of the `nn.ModuleList` that holds the blocks, e.g. ``model.layers``; found when None.

    Raises:
        EtudeError: No such list.
    """
    lists = {name: module for name, module in model.named_modules() if isinstance(module, nn.ModuleList)}
    if block_list is None:
        candidates = {name: module for name, module in lists.items() if _looks_like_decoder(module)}
        if not candidates:
            raise EtudeError(
                f"no list of decoder blocks found in {type(model).__name__}",
                f"name it with --block-list; the module lists of this model: {', '.join(lists) or 'none'}",
            )
        block_list = max(candidates, key=lambda name: sum(p.numel() for p in candidates[name].parameters()))
    elif block_list not in lists:
        raise EtudeError(
            f"{block_list!r} is not a module list of {type(model).__name__}",
            f"its module lists: {', '.join(lists) or 'none'}",
        )
    return [
        Block(f"{block_list}.{index}", module, find_slots(module, f"{block_list}.{index}"))
        for index, module in enumerate(lists[block_list])
    ]


def find_slots(module: nn.Module, prefix: str) -> list[Slot]:
    """Weights of linear layers, GPT-2's Conv1D and stacked experts within a block."""
    slots = []
    for name, child in module.named_modules():
        layer = f"{prefix}.{name}"
        if isinstance(child, nn.Linear | Conv1D):
            slots.append(Slot(f"{name}.weight", layer, tuple(child.weight.shape), isinstance(child, Conv1D)))
        elif "expert" in type(child).__name__.lower():
            slots += [
                Slot(
                    f"{name}.{key}",
                    f"{layer}.{key}",
                    tuple(parameter.shape),
                    getattr(child, "is_transposed", False),
                )
                for key, parameter in child.named_parameters(recurse=False)
                if parameter.ndim == 3
            ]
    return slots


def _looks_like_decoder(modules: nn.ModuleList) -> bool:
    return len({type(module) for module in modules}) == 1 and bool(find_slots(modules[0], ""))


class _Reached(Exception):
    """Block 0 was reached: its inputs are known and the forward can stop."""


@torch.no_grad()
def capture_inputs(
    model: PreTrainedModel, blocks: list[Block], samples: Tensor, out: Tensor, batch_size: int
) -> None:
    """Hidden states that enter block 0, written into `out`, and the shared arguments of every block.

    Args:
        model: The model that holds the blocks.
        blocks: Its blocks; their `arguments` and `keywords` are set (from one sample: they broadcast over a
            batch).
        samples: Token ids, (samples, seqlen).
        out: Hidden states to fill, (samples, seqlen, hidden).
        batch_size: Samples per forward.
    """

    def note_arguments(block: Block) -> Any:
        def hook(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
            block.arguments = arguments[1:] if arguments else ()
            block.keywords = {
                name: None if name in _CACHE_ARGUMENTS else value
                for name, value in keywords.items()
                if name not in ("hidden_states", "use_cache")
            }

        return hook

    def stop(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        reached.append(arguments[0] if arguments else keywords["hidden_states"])
        raise _Reached

    handles = [
        block.module.register_forward_pre_hook(note_arguments(block), with_kwargs=True) for block in blocks
    ]
    try:
        model(input_ids=samples[:1], use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    for start in range(0, len(samples), batch_size):
        reached: list[Tensor] = []
        handle = blocks[0].module.register_forward_pre_hook(stop, with_kwargs=True)
        try:
            model(input_ids=samples[start : start + batch_size], use_cache=False)
        except _Reached:
            out[start : start + batch_size] = reached[0]
        finally:
            handle.remove()


@torch.no_grad()
def run_block(block: Block, hidden: Tensor, out: Tensor, batch_size: int) -> None:
    """Run a block over all samples in batches; `out` may be `hidden` itself."""
    for start in range(0, len(hidden), batch_size):
        out[start : start + batch_size] = block(hidden[start : start + batch_size])


def output_layer(model: PreTrainedModel) -> nn.Module | None:
    """The layer that gives the logits."""
    layer: nn.Module | None = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    return layer


class _Give(nn.Module):
    """Stands in for a block: gives fixed hidden states, or passes on what comes."""

    def __init__(self, hidden: Tensor | None) -> None:
        super().__init__()
        self.hidden = hidden

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden_states if self.hidden is None else self.hidden


@contextmanager
def blocks_replaced(model: PreTrainedModel, blocks: list[Block], hidden: Tensor) -> Iterator[None]:
    """Within this context the decoder blocks of the model together give `hidden`, whatever comes in."""
    block_list = model.get_submodule(blocks[0].name.rpartition(".")[0])
    assert isinstance(block_list, nn.ModuleList)
    originals = list(block_list)
    try:
        for index in range(len(originals)):
            block_list[index] = _Give(hidden if index == 0 else None)
        yield
    finally:
        for index, module in enumerate(originals):
            block_list[index] = module


@torch.no_grad()
def head_inputs(
    model: PreTrainedModel,
    blocks: list[Block],
    head: nn.Module,
    samples: Tensor,
    hidden: Tensor,
    batch_size: int,
) -> None:
    """Replace the last block's output in `hidden` by what enters `head`, in place."""

    def stop(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        reached.append(arguments[0])
        raise _Reached

    for start in range(0, len(samples), batch_size):
        batch = slice(start, start + batch_size)
        reached: list[Tensor] = []
        handle = head.register_forward_pre_hook(stop)
        try:
            with blocks_replaced(model, blocks, hidden[batch]):
                model(input_ids=samples[batch], use_cache=False)
        except _Reached:
            hidden[batch] = reached[0]
        finally:
            handle.remove()
