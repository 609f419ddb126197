"""Quantize a model block after block: the loop that RTN, GPTQ, AWQ and SignRound share.

Two streams of hidden states walk through the model: the reference, which passes every block in full precision
and gives the targets, and the inputs, which pass the blocks already quantized (or, with `quantized_input`
off, follow the reference). Each finished block is written to the run's folder at once; a resumed run replays
the two streams through the finished blocks instead of storing them.
"""

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from etude.errors import EtudeError
from etude.methods.signround.awq import awq_block
from etude.methods.signround.blocks import (
    Block,
    Slot,
    capture_inputs,
    find_blocks,
    head_inputs,
    output_layer,
    run_block,
)
from etude.methods.signround.gptq import gptq_block
from etude.methods.signround.grid import QuantizedLinear, check_weight, round_to_nearest
from etude.methods.signround.quantized_model import QuantizedModel
from etude.methods.signround.schemes import QuantScheme
from etude.methods.signround.storage import whole
from etude.methods.signround.tuner import (
    BlockResult,
    NonFiniteLoss,
    RoundingConfig,
    block_loss,
    peak_mb,
    tune_block,
)
from etude.runs import Run

Method = Literal["signround", "rtn", "gptq", "awq"]
Overrides = Mapping[str, QuantScheme | None]
CACHE_BUDGET = 4 * 2**30  # bytes of hidden states kept in memory; beyond it they lie in a memory-mapped file


@dataclass
class Plan:
    """Which layer becomes what.

    Attributes:
        schemes: {layer name: scheme}.
        skipped: {layer name: why it keeps full precision}.
        notes: What was done differently than asked, in words.
    """

    schemes: dict[str, QuantScheme] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def make_plan(
    blocks: list[Block], scheme: QuantScheme, overrides: Overrides, first_blocks: int | None
) -> Plan:
    """Decide every layer's scheme; a later override wins over an earlier one.

    Raises:
        EtudeError: An override that matches no layer.
    """
    plan = Plan()
    unused = set(overrides)
    for index, block in enumerate(blocks):
        for slot in block.slots:
            chosen: QuantScheme | None = scheme
            for pattern, value in overrides.items():
                if re.search(pattern, slot.layer):
                    chosen = value
                    unused.discard(pattern)
            if first_blocks is not None and index >= first_blocks:
                plan.skipped[slot.layer] = f"only the first {first_blocks} blocks were asked for"
            elif chosen is None:
                plan.skipped[slot.layer] = "left out by an override"
            else:
                plan.schemes[slot.layer] = chosen
    if unused:
        raise EtudeError(
            f"override {sorted(unused)[0]!r} matches no layer",
            f"it is a regular expression searched in names such as {blocks[0].slots[0].layer}",
        )
    return plan


def quantize_model(
    model: PreTrainedModel,
    tokenizer: Any,
    samples: Tensor,
    scheme: QuantScheme,
    *,
    method: Method = "signround",
    config: RoundingConfig | None = None,
    layer_overrides: Overrides | None = None,
    first_blocks: int | None = None,
    lm_head: bool = False,
    nonfinite: Literal["error", "rtn"] = "error",
    block_list: str | None = None,
    act_order: bool = True,
    run: Run | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> QuantizedModel:
    """Quantize the linear layers of a model's decoder blocks, in place.

    Args:
        model: A causal LM in full precision; its weights are replaced by the quantized ones.
        tokenizer: Kept with the result.
        samples: Calibration token ids, (samples, seqlen); see `calibration.make_samples`.
        scheme: Format of every layer that no override names.
        method: signround, or a baseline.
        config: Tuning parameters; baselines use its batch size, seed and `quantized_input`.
        layer_overrides: {regular expression searched in the layer's name: another scheme, or None to leave it
            out}.
        first_blocks: Quantize only so many blocks.
        lm_head: Quantize the output layer as well, tuned as a block of its own.
        nonfinite: On NaN or Inf stop ("error"), or leave the layer out or round the block to nearest, and say
            so.
        block_list: Name of the list of decoder blocks, when it is not found.
        act_order: GPTQ only: columns in order of falling input energy.
        run: Folder of the run: finished blocks are kept there and not done again.
        progress: Told each finished block in words.

    Raises:
        EtudeError: The model is quantized already, has no block list, has tied embeddings with `lm_head`, or
        holds
            NaN; a layer cannot take its scheme.
    """
    config = config or RoundingConfig()
    refuse_quantized(model)
    blocks = find_blocks(model, block_list)
    plan = make_plan(blocks, scheme, layer_overrides or {}, first_blocks)
    head = head_block(model) if lm_head else None
    if head is not None:
        plan.schemes[head.slots[0].layer] = scheme
    drop_bad_layers(blocks + ([head] if head else []), plan, nonfinite)
    chosen = blocks[:first_blocks]
    worker = Worker(method, config, nonfinite, act_order, plan)
    samples = samples.to(next(model.parameters()).device)
    hidden = embedding(model).shape[1]
    layers: dict[str, QuantizedLinear] = {}
    records: list[dict[str, Any]] = []
    with hidden_states((2, *samples.shape, hidden), run, samples.device) as (reference, inputs):
        capture_inputs(model, blocks, samples, reference, config.batch_size)
        inputs.copy_(reference)
        for index, block in enumerate(chosen):
            run_block(block, reference, reference, config.batch_size)  # reference now holds the targets Y
            worker.quantize(block, index, inputs, reference.__getitem__, run)
            layers |= worker.layers
            records.append(worker.record)
            progress(f"block {index + 1}/{len(chosen)}: {describe(worker.record)}")
            if index + 1 < len(blocks):
                if config.quantized_input:
                    run_block(block, inputs, inputs, config.batch_size)
                else:
                    inputs.copy_(reference)
        if head is not None:
            for stream in (reference, inputs):
                head_inputs(model, blocks, head.module, samples, stream, config.batch_size)
            assert isinstance(head.module, nn.Linear)
            original, bias = head.module.weight.detach().clone(), head.module.bias
            worker.quantize(
                head,
                len(blocks),
                inputs,
                lambda idx: nn.functional.linear(reference[idx], original, bias),
                run,
            )
            layers |= worker.layers
            records.append(worker.record)
            progress(f"lm_head: {describe(worker.record)}")
    slots = {slot.layer: slot for block in (*blocks, *([head] if head else [])) for slot in block.slots}
    return QuantizedModel(
        model=model,
        tokenizer=tokenizer,
        layers=layers,
        slots=slots,
        skipped=plan.skipped,
        report={"method": method, "blocks": records, "notes": plan.notes},
    )


@dataclass
class Worker:
    """Quantizes one block at a time by one method; keeps the last block's layers and record."""

    method: Method
    config: RoundingConfig
    nonfinite: Literal["error", "rtn"]
    act_order: bool
    plan: Plan
    layers: dict[str, QuantizedLinear] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    def quantize(
        self, block: Block, index: int, inputs: Tensor, target: Callable[[Tensor], Tensor], run: Run | None
    ) -> None:
        """Quantize a block, or take it from the run's folder, and write its new weights into the model."""
        step = f"block-{index}"
        path = run.path / "blocks" / f"{step}.safetensors" if run else None
        schemes = {
            s.parameter: self.plan.schemes[s.layer] for s in block.slots if s.layer in self.plan.schemes
        }
        if run and path and run.finished(step):
            weights, updates = load_block(path, schemes)
            self.record = run.record(step)
        else:
            result, updates = self._compute(block, index, inputs, target, schemes)
            weights = result.weights
            self.record = {
                "block": block.name,
                "loss_initial": finite(result.loss_initial),
                "loss_best": finite(result.loss_best),
                "step_best": result.step_best,
                "seconds": result.seconds,
                "peak_mb": result.peak_mb,
                "untouched": list(result.untouched),
                "note": result.note,
            }
            if run and path:
                save_block(path, weights, updates)
                run.finish(step, self.record)
        for slot in block.slots:
            if slot.parameter in weights:
                block.put(slot, weights[slot.parameter].dequantize())
        with torch.no_grad():
            for name, value in updates.items():
                block.module.get_parameter(name).copy_(value)
        self.layers = {s.layer: weights[s.parameter] for s in block.slots if s.parameter in weights}

    def _compute(
        self,
        block: Block,
        index: int,
        inputs: Tensor,
        target: Callable[[Tensor], Tensor],
        schemes: dict[str, QuantScheme],
    ) -> tuple[BlockResult, dict[str, Tensor]]:
        started = time.perf_counter()
        slots = {slot.parameter: slot for slot in block.slots}
        rounded = {
            name: round_to_nearest(block.matrix(slots[name]), scheme) for name, scheme in schemes.items()
        }
        weights, note = rounded, ""
        updates: dict[str, Tensor] = {}
        untouched: list[str] = []
        initial = final = float("nan")
        try:
            if self.method == "signround":
                generator = torch.Generator().manual_seed(self.config.seed * 100_003 + index)
                return tune_block(block, inputs, target, schemes, self.config, generator), {}
            initial = final = block_loss(block, inputs, target, rounded, self.config)
            if self.method == "gptq":
                weights, untouched = gptq_block(
                    block, inputs, schemes, self.config.batch_size, act_order=self.act_order
                )
            elif self.method == "awq":
                weights, updates, untouched = awq_block(block, inputs, schemes, self.config.batch_size)
            final = block_loss(block, inputs, target, weights, self.config)
        except NonFiniteLoss as error:
            if self.nonfinite == "error":
                raise
            note = f"rounded to nearest: {error.problem}"
            self.plan.notes.append(note)
            weights = rounded
        return (
            BlockResult(
                weights, initial, final, 0, time.perf_counter() - started, peak_mb(), tuple(untouched), note
            ),
            updates,
        )


def embedding(model: PreTrainedModel) -> Tensor:
    """The input embedding, (vocabulary, hidden)."""
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, Tensor)
    return weight


def refuse_quantized(model: PreTrainedModel) -> None:
    """Raise when the model's weights are quantized already."""
    found = getattr(model.config, "quantization_config", None)
    if found is None:
        return
    kind = found.get("quant_method") if isinstance(found, dict) else getattr(found, "quant_method", None)
    raise EtudeError(
        f"the model is quantized already ({getattr(kind, 'value', kind)})",
        "dequantize it first: load_quantized(DIR).save(OUT, 'dequantized'), then quantize OUT",
    )


def head_block(model: PreTrainedModel) -> Block:
    """The output layer as a block of one layer.

    Raises:
        EtudeError: There is none, or it shares its weight with the input embedding.
    """
    head = output_layer(model)
    if not isinstance(head, nn.Linear):
        raise EtudeError(f"{type(model).__name__} has no linear output layer", "leave out --lm-head")
    if head.weight is embedding(model):
        raise EtudeError(
            "lm_head shares its weight with the input embedding (tied), so it cannot be quantized alone",
            "leave out --lm-head, or give lm_head a weight of its own first (tie_word_embeddings false)",
        )
    name = next(name for name, module in model.named_modules() if module is head)
    return Block(name, head, [Slot("weight", name, tuple(head.weight.shape))])


def drop_bad_layers(blocks: list[Block], plan: Plan, nonfinite: Literal["error", "rtn"]) -> None:
    """Check every weight against its scheme before anything is tuned.

    Raises:
        EtudeError: NaN or Inf in a weight (unless `nonfinite` is "rtn": then the layer keeps full precision,
        and the
            plan says so), or a scale that cannot be stored.
    """
    for block in blocks:
        for slot in block.slots:
            if slot.layer not in plan.schemes:
                continue
            weight = block.matrix(slot)
            if nonfinite == "rtn" and not torch.isfinite(weight).all():
                del plan.schemes[slot.layer]
                plan.skipped[slot.layer] = "NaN or Inf in the weights"
                plan.notes.append(f"layer {slot.layer} keeps full precision: NaN or Inf in its weights")
            else:
                check_weight(slot.layer, weight, plan.schemes[slot.layer])


@contextmanager
def hidden_states(shape: tuple[int, ...], run: Run | None, device: torch.device) -> Iterator[Tensor]:
    """A float32 tensor in memory, or in a memory-mapped file when it is over `CACHE_BUDGET` (CPU only)."""
    count = torch.Size(shape).numel()
    if count * 4 <= CACHE_BUDGET or device.type != "cpu":
        yield torch.empty(shape, device=device)
        return
    with TemporaryDirectory(dir=run.path if run else None) as folder:
        file = str(Path(folder) / "hidden-states")
        yield torch.from_file(file, shared=True, size=count).view(shape)


def save_block(path: Path, weights: Mapping[str, QuantizedLinear], updates: Mapping[str, Tensor]) -> None:
    """Write a finished block: codes, scales and zero points of its weights, and rescaled parameters (AWQ)."""
    tensors = {f"update:{name}": value.contiguous() for name, value in updates.items()}
    for name, weight in weights.items():
        tensors |= {f"codes:{name}": weight.codes, f"scale:{name}": weight.scale, f"zero:{name}": weight.zero}
    path.parent.mkdir(exist_ok=True)
    with whole(path) as temporary:
        save_file(tensors, temporary)


def load_block(
    path: Path, schemes: Mapping[str, QuantScheme]
) -> tuple[dict[str, QuantizedLinear], dict[str, Tensor]]:
    """The inverse of `save_block`."""
    tensors = load_file(path)
    weights = {
        name: QuantizedLinear(
            tensors[f"codes:{name}"], tensors[f"scale:{name}"], tensors[f"zero:{name}"], scheme
        )
        for name, scheme in schemes.items()
    }
    updates = {
        key.removeprefix("update:"): value for key, value in tensors.items() if key.startswith("update:")
    }
    return weights, updates


def describe(record: Mapping[str, Any]) -> str:
    """One block's figures in words."""
    losses = [record["loss_initial"], record["loss_best"]]
    before, after = ("not finite" if loss is None else f"{loss:.3g}" for loss in losses)
    return f"loss {before} -> {after}, {record['seconds']:.1f} s"


def finite(value: float) -> float | None:
    """A JSON number, or None for NaN and infinity."""
    return value if math.isfinite(value) else None
