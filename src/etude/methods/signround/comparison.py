"""The verb `compare`: several methods and schemes on one model, calibration text and evaluation text."""

import copy
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.signround.blockwise import Method, quantize_model
from etude.methods.signround.evaluation import Reference, evaluation_texts, summarize
from etude.methods.signround.quantizer import (
    Recipe,
    given,
    load_calibration,
    mean_loss,
    refuse_quantized_directory,
)
from etude.methods.signround.schemes import parse_scheme
from etude.methods.signround.tuner import RECIPES
from etude.models import load_causal_lm, model_directory, model_revision
from etude.render import console, table
from etude.runs import Run, file_hash


@dataclass(frozen=True)
class ComparisonResult:
    """One row per scheme, method and source of text."""

    model: str
    rows: list[dict[str, Any]]

    def __rich__(self) -> Any:
        columns = (
            "scheme",
            "method",
            "source",
            "KL",
            "95 % CI",
            "perplexity",
            "reference",
            "block error",
            "seconds",
        )
        rows = [
            (
                row["scheme"], row["method"], row["source"], row["kl_ref_q"],
                f"{row['kl_ref_q_ci'][0]:.3g} – {row['kl_ref_q_ci'][1]:.3g}",
                row["ppl_q"], row["ppl_ref"], row["loss"], round(row["seconds"], 1),
            )
            for row in self.rows
        ]  # fmt: skip
        return table(columns, rows, title=self.model)


@verb
def compare(
    model: str,
    *,
    out: Path,
    schemes: str = "w4g64a,w3g64a,w2g64a",
    methods: str = "rtn,gptq,awq,signround",
    calib: Path | None = None,
    eval: Path | None = None,
    recipe: Recipe = "laptop",
    steps: int | None = None,
    seqlen: int | None = None,
    nsamples: int | None = None,
    batch_size: int | None = None,
    first_blocks: int | None = None,
    documents: int = 12,
    tokens: int = 256,
    device: str = "cpu",
    seed: int = 0,
) -> ComparisonResult:
    """Quantize a model by several methods at several schemes and compare what each lost.

    Args:
        model: An embedded name (smollm2), a directory, or a hub id; in full precision.
        out: Folder of the run; finished rows are kept and not measured again.
        schemes: Comma-separated scheme names.
        methods: Comma-separated: rtn, gptq, awq, signround.
        calib: Calibration text; built-in prose if not given.
        eval: Evaluation documents with `text` and `source`; built-in texts if not given.
        recipe: Tuning recipe, see quantize.
        steps: SignSGD steps per block.
        seqlen: Tokens per sample.
        nsamples: Calibration samples.
        batch_size: Samples per step.
        first_blocks: Quantize only so many blocks.
        documents: Evaluation documents per source.
        tokens: Tokens per evaluation document.
        device: Where to compute.
        seed: Seed of the choice of samples and mini-batches.

    Raises:
        EtudeError: An unknown method or scheme, or a model or text that cannot be used.
    """
    changes = {"steps": steps, "seqlen": seqlen, "nsamples": nsamples, "batch_size": batch_size}
    config = replace(RECIPES[recipe], seed=seed, **given(changes))
    wanted = [parse_scheme(name) for name in schemes.split(",")]
    named = [name.strip() for name in methods.split(",")]
    unknown = [name for name in named if name not in get_args(Method)]
    if unknown:
        raise EtudeError(
            f"method {unknown[0]!r} is not known", f"use one or more of {', '.join(get_args(Method))}"
        )
    directory = model_directory(model)
    refuse_quantized_directory(directory)
    settings = {
        "model": model_revision(directory),
        "schemes": [scheme.as_dict() for scheme in wanted],
        "methods": named,
        "rounding": asdict(config),
        "first_blocks": first_blocks,
        "texts": [file_hash(path) if path else "built-in" for path in (calib, eval)],
        "evaluation": [documents, tokens],
        "device": device,
    }
    with Run(out, settings, command="signround compare") as run:
        if run.result is not None:
            return ComparisonResult(**run.result)
        lm = load_causal_lm(model, dtype="float32", device=device)
        samples = load_calibration(lm, calib, config).samples
        known = Reference(lm.model, lm.tokenizer, evaluation_texts(eval, documents), tokens)

        def measure(scheme_name: str, method: Method) -> list[dict[str, Any]]:
            started = time.perf_counter()
            quantized = quantize_model(
                copy.deepcopy(lm.model),
                lm.tokenizer,
                samples,
                parse_scheme(scheme_name),
                method=method,
                config=config,
                first_blocks=first_blocks,
            )
            seconds = time.perf_counter() - started
            shared = {
                "scheme": scheme_name,
                "method": method,
                "loss": mean_loss(quantized.report["blocks"], "loss_best"),
                "bits_per_weight": quantized.bits_per_weight,
                "seconds": seconds,
            }
            figures = summarize(known.score(quantized.model))
            return [{**shared, "source": source, **values} for source, values in figures.items()]

        rows: list[dict[str, Any]] = []
        for scheme in wanted:
            for method in get_args(Method):
                if method in named:
                    name = scheme.name
                    rows += run.step(f"{name} {method}", partial(measure, name, method))
                    console().print(f"{name} {method}: KL {rows[-1]['kl_ref_q']:.4g} on {rows[-1]['source']}")
        result = ComparisonResult(model, rows)
        run.complete(asdict(result))
    return result
