"""Demo: one prompt completed by SmolLM2, by SmolLM2 rounded to 2 bits, and by SignRound's 2 bits."""

import copy
from pathlib import Path
from typing import Any

import torch

from etude.methods.signround.blockwise import Method, quantize_model
from etude.methods.signround.calibration import make_samples, read_calibration
from etude.methods.signround.evaluation import Reference, evaluation_texts, summarize
from etude.methods.signround.schemes import parse_scheme
from etude.methods.signround.tuner import RoundingConfig
from etude.models import load_causal_lm
from etude.render import Demo, Figure, TableBlock, Text
from etude.render.plots import new_figure

PROMPT = "A tuple is an ordered collection of values. Unlike a list, a tuple"
SCHEME = "w2g64a"
BLOCKS = 2
CONFIG = RoundingConfig(steps=20, batch_size=4, seqlen=96, nsamples=16)
NAMES: dict[Method, str] = {"rtn": "rounded to nearest", "signround": "SignRound"}


def demo(out: Path) -> Demo:
    """Quantize the first blocks of SmolLM2 to 2 bits in two ways and show what is left of it."""
    lm = load_causal_lm("smollm2", dtype="float32", device="cpu")
    samples = make_samples(
        read_calibration(None, lm.tokenizer),
        seqlen=CONFIG.seqlen,
        nsamples=CONFIG.nsamples,
        vocabulary=lm.model.config.vocab_size,
        end=lm.tokenizer.eos_token_id,
        seed=0,
    ).samples
    reference = Reference(lm.model, lm.tokenizer, evaluation_texts(None, 3), 64)
    rows = [("SmolLM2, dequantized Q4_1", complete(lm.model, lm.tokenizer), None, None)]
    errors: dict[str, list[float]] = {}
    for method, name in NAMES.items():
        quantized = quantize_model(
            copy.deepcopy(lm.model), lm.tokenizer, samples, parse_scheme(SCHEME), method=method,
            config=CONFIG, first_blocks=BLOCKS,
        )  # fmt: skip
        errors[name] = [record["loss_best"] for record in quantized.report["blocks"]]
        loss = [figures["kl_ref_q"] for figures in summarize(reference.score(quantized.model)).values()]
        rows.append((f"2 bits, {name}", complete(quantized.model, lm.tokenizer), *loss))
    return Demo(
        headline=f"The first {BLOCKS} blocks of SmolLM2 at 2 bits per weight: "
        f"KL {rows[1][2]:.2f} rounded to nearest, {rows[2][2]:.2f} with SignRound",
        went_in=[
            Text(f"Prompt: {PROMPT}"),
            Text(
                f"{SCHEME}, {len(samples)} samples of Python's documentation, {CONFIG.steps} steps per block"
            ),
        ],
        came_out=[
            TableBlock(
                ("model", "goes on with", "KL, Python prose", "KL, other text"),
                rows,
                "The prompt completed greedily, and the KL divergence from the full model per token, in nats",
            ),
            Figure(
                error_plot(errors),
                f"Output error of blocks 1 to {BLOCKS}: round-to-nearest against SignRound",
                "Mean squared error of each block's output: SignRound tunes each weight's rounding.",
            ),
        ],
        meaning=(
            "Both models take the same space and run at the same speed. Rounding every weight to its nearest "
            "level is not the best rounding: choosing each direction by a few signed gradient steps keeps "
            "far more of what the model knew."
        ),
    )


def complete(model: Any, tokenizer: Any) -> str:
    """The prompt's greedy continuation, 16 tokens."""
    ids = torch.tensor([tokenizer(PROMPT)["input_ids"]])
    with torch.no_grad():
        text = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=16, do_sample=False, pad_token_id=0
        )
    return str(tokenizer.decode(text[0, ids.shape[1] :], skip_special_tokens=True)).strip()


def error_plot(errors: dict[str, list[float]]) -> Any:
    """Bars of the block errors, one group per block."""
    figure, axes = new_figure(6.0, 3.0)
    width = 0.8 / len(errors)
    for index, (name, values) in enumerate(errors.items()):
        axes.bar([x + index * width for x in range(len(values))], values, width, label=name)
    axes.set_xticks([x + 0.4 - width / 2 for x in range(BLOCKS)], [f"block {x + 1}" for x in range(BLOCKS)])
    axes.set_ylabel("mean squared error")
    axes.legend()
    return figure
