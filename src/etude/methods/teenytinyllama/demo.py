"""Demo: a language model from nothing in seconds, on the prose of the Python installation."""

import math
import tempfile
from dataclasses import replace
from pathlib import Path

from etude.data import prose
from etude.methods.teenytinyllama.bits_per_byte import document_bits, summarize
from etude.methods.teenytinyllama.configs import PRESETS, RECIPES
from etude.methods.teenytinyllama.llama_folder import write_llama_folder
from etude.methods.teenytinyllama.network import Decoder, llama_state
from etude.methods.teenytinyllama.reading import Document
from etude.methods.teenytinyllama.run_logs import METRICS, read_log
from etude.methods.teenytinyllama.settings import TrainSettings
from etude.methods.teenytinyllama.shard_writing import write_shards
from etude.methods.teenytinyllama.shards import TOKENIZER, TokenShards
from etude.methods.teenytinyllama.tokenizer_training import train_tokenizer
from etude.methods.teenytinyllama.training_loop import train
from etude.models import CausalLM, load_causal_lm
from etude.models.generation import generate_batch
from etude.render import Demo, Figure, TableBlock, Text
from etude.render.plots import new_figure

VOCABULARY, STEPS, HELD_OUT = 1024, 90, 12
PROMPT = "The statement"


def demo(out: Path) -> Demo:
    """Train a tokenizer and a nano model on Python's documentation; show its held-out bits per byte and a
    sample.
    """
    documents = pieces(prose())
    held_out = documents[:: len(documents) // HELD_OUT][:HELD_OUT]
    known = {document.id for document in held_out}
    training = [document for document in documents if document.id not in known]
    tokenizer = train_tokenizer((d.text for d in training), vocab_size=VOCABULARY)
    shape = replace(PRESETS["nano"], vocab_size=VOCABULARY)
    recipe = RECIPES["nano"]
    settings = TrainSettings(
        steps=STEPS,
        tokens_per_step=recipe.tokens_per_step,
        learning_rate=recipe.learning_rate,
        eval_every=0,
        log_every=2,
        seed=0,
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_shards(training, tokenizer, folder / "corpus", block=shape.context)
        shards = TokenShards.open(folder / "corpus")
        untrained = folder / "untrained"
        write_llama_folder(
            untrained, shape, llama_state(Decoder(shape, settings.seed)), tokenizer=shards.folder / TOKENIZER
        )
        run = folder / "run"
        made = train(shape, shards, settings, run, device="cpu", quiet=True)
        losses = [(row["step"], row["loss"] / math.log(2)) for row in read_log(run / METRICS)]
        rows, bits = [], []
        for name, model in (
            ("before training", untrained),
            (f"after {made.seconds:.0f} seconds", run / "model"),
        ):
            lm = load_causal_lm(str(model), device="cpu")
            figures = summarize(document_bits(lm, held_out, stride=shape.context), VOCABULARY)
            bits.append(figures["bits_per_byte"])
            rows.append((name, bits[-1], figures["perplexity"], sample(lm)))
    figure, axes = new_figure(5.6, 2.8)
    axes.plot(*zip(*losses, strict=True))
    axes.set_xlabel("step")
    axes.set_ylabel("training loss (bits a token)")
    return Demo(
        headline=(
            f"A language model from nothing: {bits[0]:.1f} bits per byte before training, {bits[1]:.1f} "
            f"after {made.seconds:.0f} seconds"
        ),
        went_in=[
            Text(
                f"{len(training)} pieces of Python's documentation for training, {len(held_out)} held out; "
                f"the prompt: {PROMPT}"
            ),
            Text(
                f"A BPE tokenizer of {VOCABULARY:,} entries and a Llama of {made.parameters:,} weights, "
                f"{made.tokens:,} tokens in {STEPS} steps"
            ),
        ],
        came_out=[
            TableBlock(
                ("model", "bits/byte, held out", "perplexity", "writes"),
                rows,
                "Before and after, on the held-out pieces",
            ),
            Figure(figure, "Training loss over the steps", "Each step reads 1,024 tokens."),
        ],
        meaning=(
            "Bits per byte say how many bits the model needs to spell the next byte of text it has not "
            "seen: 8 would be no knowledge at all. In seconds it has learned words and bits of grammar, no "
            "more; the same commands on more text and more hours give a model that can be fine-tuned, "
            "quantized and published."
        ),
    )


def pieces(text: str, size: int = 3000) -> list[Document]:
    """The text in documents of about so many characters, cut at blank lines."""
    found: list[str] = [""]
    for paragraph in text.split("\n\n"):
        if len(found[-1]) >= size:
            found.append("")
        found[-1] += paragraph + "\n\n"
    return [Document(f"prose-{i}", piece.strip()) for i, piece in enumerate(found) if piece.strip()]


def sample(lm: CausalLM, tokens: int = 24) -> str:
    """The prompt's continuation at temperature 0.7, the same each time."""
    ids = [lm.tokenizer.eos_token_id, *lm.tokenizer(PROMPT, add_special_tokens=False)["input_ids"]]
    (made,) = generate_batch(lm, [ids], max_tokens=tokens, temperature=0.7, seeds=[0])
    return " ".join(f"{PROMPT}{made.text}".split())
