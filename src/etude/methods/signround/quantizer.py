"""The verb `quantize`: a model's name, a scheme and a calibration text become checkpoints and a report."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.signround.blocks import find_blocks
from etude.methods.signround.blockwise import Method, embedding, make_plan, quantize_model
from etude.methods.signround.calibration import Calibration, make_samples, read_calibration
from etude.methods.signround.evaluation import Reference, evaluation_texts, source_table, summarize
from etude.methods.signround.exports import check_formats, parse_formats, save
from etude.methods.signround.exports.checkpoint import slots_by_layer
from etude.methods.signround.schemes import QuantScheme, ScaleDtype, parse_scheme
from etude.methods.signround.tuner import RECIPES, RoundingConfig, Select
from etude.models import CausalLM, load_causal_lm, model_directory, model_revision
from etude.render import console, table
from etude.runs import Run, file_hash, read_json, write_json

Recipe = Literal["laptop", "light", "default", "best"]


@dataclass(frozen=True)
class QuantizeResult:
    """Where the checkpoints are and what was lost.

    Attributes:
        checkpoints: {format: directory}.
        sizes_mb: {format: size}.
        bits_per_weight: Of the quantized weights, scales and zero points included.
        layers, skipped: Quantized and left-out layers.
        loss_initial, loss_best: Mean over blocks of the output error with RTN and as kept; None if not
            finite.
        notes: What was done differently than asked.
        eval: Figures by source of text; empty when not evaluated.
    """

    model: str
    method: str
    scheme: str
    checkpoints: dict[str, str]
    sizes_mb: dict[str, float]
    bits_per_weight: float
    layers: int
    skipped: int
    loss_initial: float | None
    loss_best: float | None
    seconds: float
    notes: list[str]
    eval: dict[str, dict[str, Any]]

    def __rich__(self) -> Any:
        from rich.console import Group

        rows = [
            ("method, scheme", f"{self.method} {self.scheme}, {self.bits_per_weight:.2f} bits per weight"),
            ("layers", f"{self.layers} quantized, {self.skipped} left out"),
            (
                "block error",
                f"{show_loss(self.loss_initial)} rounded to nearest, {show_loss(self.loss_best)} kept",
            ),
            *((f"{name}, {self.sizes_mb[name]:.1f} MB", path) for name, path in self.checkpoints.items()),
            *(("note", note) for note in self.notes),
        ]
        parts = [table(("", self.model), rows)]
        if self.eval:
            parts.append(source_table(self.eval, "what was lost"))
        return Group(*parts)


@verb
def quantize(
    model: str,
    *,
    out: Path,
    bits: int = 4,
    group_size: int | None = None,
    sym: bool = False,
    scheme: str | None = None,
    method: Method = "signround",
    calib: Path | None = None,
    recipe: Recipe = "laptop",
    steps: int | None = None,
    lr: float | None = None,
    minmax_lr: float | None = None,
    batch_size: int | None = None,
    seqlen: int | None = None,
    nsamples: int | None = None,
    tune_minmax: bool = True,
    quantized_input: bool = True,
    select: Select = "val",
    clamp_v: bool = True,
    compute_dtype: Literal["float32", "bfloat16"] = "float32",
    override: tuple[str, ...] = (),
    first_blocks: int | None = None,
    lm_head: bool = False,
    nonfinite: Literal["error", "rtn"] = "error",
    block_list: str | None = None,
    act_order: bool = True,
    scale_dtype: ScaleDtype = "float16",
    full_range: bool = True,
    format: str = "compressed-tensors",
    rest_dtype: Literal["float32", "float16", "bfloat16"] = "float16",
    eval: Path | None = None,
    eval_documents: int = 8,
    eval_tokens: int = 256,
    device: str = "cpu",
    seed: int = 0,
) -> QuantizeResult:
    """Quantize a causal LM to 2-8 bits and write checkpoints other runtimes load, with a report of what was
    lost.

    A run that was interrupted goes on where it stopped when the same command is given again.

    Args:
        model: An embedded name (smollm2), a directory, or a hub id; in full precision.
        out: Folder of the run: one subfolder per format, report.json, finished blocks.
        bits: Bits per weight, 2 to 8.
        group_size: Inputs that share a scale, 64 if not given; -1 per output channel.
        sym: Symmetric grid instead of an integer zero point per group.
        scheme: Short name such as w3g64a; replaces bits, group size and sym.
        method: signround, or a baseline at the same format.
        calib: Calibration text: .jsonl/.parquet with text, messages or input_ids, or .txt; built-in prose if
            not given.
        recipe: laptop: 50 steps, 64 samples of 256 tokens; light, default (the paper's 200 steps, 128 samples
            of 2048) and best are the released tool's.
        steps: SignSGD steps per block; 0 is round-to-nearest.
        lr: Step of the rounding offsets, 1/steps if not given.
        minmax_lr: Step of the clipping, the same as lr if not given.
        batch_size: Samples per step.
        seqlen: Tokens per sample.
        nsamples: Calibration samples.
        tune_minmax: Tune the clipping of each group as well.
        quantized_input: Tune each block on the outputs of the already quantized ones.
        select: Keep the parameters best on a fixed validation slice, on the mini-batches, or the last.
        clamp_v: Keep each weight within one level of its nearest.
        compute_dtype: Dtype of the matrix products while tuning.
        override: REGEX=SCHEME or REGEX=none for the layers whose name it is found in; later ones win.
        first_blocks: Quantize only so many blocks.
        lm_head: Quantize the output layer too; refused when it is tied to the embedding.
        nonfinite: On NaN or infinity stop, or leave the layer out / round the block to nearest and say so.
        block_list: Name of the model's list of decoder blocks, when it is not found.
        act_order: GPTQ: columns in order of falling input energy.
        scale_dtype: Dtype of the stored scales.
        full_range: Symmetric: let scales be negative so that the larger side is not clipped.
        format: Comma-separated: compressed-tensors, gptq, gptq_v2, awq, auto_round, gguf, dequantized.
        rest_dtype: Packed formats: dtype of the embeddings, norms and layers left out.
        eval: Evaluation documents with `text` and `source`; built-in texts if not given.
        eval_documents: Documents per source, 0 to skip the evaluation.
        eval_tokens: Tokens per document.
        device: Where to compute.
        seed: Seed of the choice of samples and mini-batches.

    Raises:
        EtudeError: Anything in the input that cannot be quantized as asked.
    """
    formats = parse_formats(format)
    base = RECIPES[recipe]
    changes = {
        "steps": steps, "lr": lr, "minmax_lr": minmax_lr, "batch_size": batch_size, "seqlen": seqlen,
        "nsamples": nsamples,
    }  # fmt: skip
    config = replace(
        base,
        **given(changes),
        tune_minmax=tune_minmax,
        quantized_input=quantized_input,
        select=select,
        v_limit=0.5 if clamp_v else None,
        compute_dtype=compute_dtype,
        seed=seed,
    )
    directory = model_directory(model)
    refuse_quantized_directory(directory)
    width = 64 if group_size is None else group_size
    wanted = (
        parse_scheme(scheme, scale_dtype=scale_dtype, full_range=full_range)
        if scheme
        else QuantScheme(bits, width, sym, scale_dtype, full_range)
    )
    overrides = parse_overrides(override, scale_dtype, full_range)
    settings = {
        "model": model_revision(directory),
        "scheme": wanted.as_dict(),
        "overrides": {pattern: value.as_dict() if value else None for pattern, value in overrides.items()},
        "method": method,
        "rounding": asdict(config),
        "calib": file_hash(calib) if calib else "built-in prose",
        "first_blocks": first_blocks,
        "lm_head": lm_head,
        "nonfinite": nonfinite,
        "act_order": act_order,
        "formats": [*formats, rest_dtype],
        "eval": [file_hash(eval) if eval else "built-in texts", eval_documents, eval_tokens],
        "device": device,
    }
    with Run(out, settings, command="signround quantize") as run:
        if run.result is not None:
            return QuantizeResult(**run.result)
        started = time.perf_counter()
        lm = load_causal_lm(model, dtype="float32", device=device)
        blocks = find_blocks(lm.model, block_list)
        plan = make_plan(blocks, wanted, overrides, first_blocks)
        check_formats(formats, plan.schemes, slots_by_layer(lm.model, blocks))
        calibration = load_calibration(lm, calib, config)
        quantized = quantize_model(
            lm.model,
            lm.tokenizer,
            calibration.samples,
            wanted,
            method=method,
            config=config,
            layer_overrides=overrides,
            first_blocks=first_blocks,
            lm_head=lm_head,
            nonfinite=nonfinite,
            block_list=block_list,
            act_order=act_order,
            run=run,
            progress=console().print,
        )
        figures: dict[str, dict[str, Any]] = {}
        if eval_documents:
            figures = run.step(
                "evaluation",
                lambda: compare_with(model, quantized.model, eval, eval_documents, eval_tokens, device),
            )
        quantized.report |= {
            "model": model,
            "revision": lm.revision,
            "scheme": wanted.as_dict(),
            "overrides": settings["overrides"],
            "rounding": asdict(config),
            "calibration": calibration.as_dict(),
            "bits_per_weight": quantized.bits_per_weight,
            "eval": figures,
            "versions": read_json(run.path / "run.json").get("versions", {}),
        }
        sizes = {}
        for name in formats:
            save(quantized, run.path / name, name, rest_dtype)
            sizes[name] = sum(file.stat().st_size for file in (run.path / name).iterdir()) / 1e6
        write_json(
            run.path / "report.json", {**quantized.report, "sizes_mb": sizes, "skipped": quantized.skipped}
        )
        records = quantized.report["blocks"]
        result = QuantizeResult(
            model=model,
            method=method,
            scheme=wanted.name,
            checkpoints={name: str(run.path / name) for name in formats},
            sizes_mb=sizes,
            bits_per_weight=quantized.bits_per_weight,
            layers=len(quantized.layers),
            skipped=len(quantized.skipped),
            loss_initial=mean_loss(records, "loss_initial"),
            loss_best=mean_loss(records, "loss_best"),
            seconds=time.perf_counter() - started,
            notes=quantized.report["notes"] + untouched_notes(records),
            eval=figures,
        )
        run.complete(asdict(result))
    return result


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def refuse_quantized_directory(directory: Path) -> None:
    """Raise when a model directory says that its weights are quantized already."""
    found = read_json(directory / "config.json").get("quantization_config")
    if found:
        raise EtudeError(
            f"{directory} is quantized already ({found.get('quant_method')})",
            "dequantize it first: load_quantized(DIR).save(OUT, 'dequantized'), then quantize OUT",
        )


def parse_overrides(
    texts: tuple[str, ...], scale_dtype: ScaleDtype, full_range: bool
) -> dict[str, QuantScheme | None]:
    """Read REGEX=SCHEME and REGEX=none.

    Raises:
        EtudeError: No '=', a scheme that cannot be read, or a bad regular expression.
    """
    import re

    overrides: dict[str, QuantScheme | None] = {}
    for text in texts:
        pattern, equals, value = text.rpartition("=")
        try:
            re.compile(pattern)
        except re.error as error:
            raise EtudeError(
                f"override {text!r}: bad regular expression ({error})", "for example 'down_proj=w4g32s'"
            ) from error
        if not equals or not pattern:
            raise EtudeError(f"override {text!r} has no '='", "write REGEX=SCHEME or REGEX=none")
        overrides[pattern] = (
            None if value == "none" else parse_scheme(value, scale_dtype=scale_dtype, full_range=full_range)
        )
    return overrides


def load_calibration(lm: CausalLM, source: Path | None, config: RoundingConfig) -> Calibration:
    """Calibration samples for a model.

    Raises:
        EtudeError: Not enough text, samples longer than the model's context, or token ids it does not know.
    """
    if lm.context_length is not None and config.seqlen > lm.context_length:
        raise EtudeError(
            f"seqlen {config.seqlen} is over the model's context of {lm.context_length} tokens",
            "give a smaller --seqlen",
        )
    return make_samples(
        read_calibration(source, lm.tokenizer),
        seqlen=config.seqlen,
        nsamples=config.nsamples,
        vocabulary=embedding(lm.model).shape[0],
        end=lm.tokenizer.eos_token_id,
        seed=config.seed,
    )


def compare_with(
    reference: str, quantized: Any, eval: Path | None, documents: int, tokens: int, device: str
) -> dict[str, dict[str, Any]]:
    """Figures of a quantized model against the reference, which is loaded anew."""
    console().print("comparing with the full-precision model")
    full = load_causal_lm(reference, dtype="float32", device=device)
    known = Reference(full.model, full.tokenizer, evaluation_texts(eval, documents), tokens)
    return summarize(known.score(quantized))


def mean_loss(records: list[dict[str, Any]], key: str) -> float | None:
    """Mean over blocks of a loss; None when one is not finite."""
    losses = [record[key] for record in records]
    return None if not losses or None in losses else sum(losses) / len(losses)


def untouched_notes(records: list[dict[str, Any]]) -> list[str]:
    """Say how many layers were rounded to nearest because no calibration token reached them."""
    count = sum(len(record["untouched"]) for record in records)
    return [f"{count} layers saw no calibration token and were rounded to nearest"] if count else []


def show_loss(loss: float | None) -> str:
    """A loss in three digits."""
    return "not finite" if loss is None else f"{loss:.3g}"
