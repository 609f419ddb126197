"""Ours and the peers on the same work: writing with shared heads, a training step, an STS evaluation.

- Generation: both sentences of each of our own sentences, with 4-shot prompts, against
  `transformers.generate` on the same prompts (left-padded batches, the same stop strings); equal texts are
  counted. With ω the peer reads both instruction streams whole.
- Training: a step of MiniLM (forward, backward, AdamW) on triples, with the mask from a cached reference,
  against sentence-transformers' MultipleNegativesRankingLoss at equal batch and length.
- Evaluation: an STS file whose sentences repeat, against sentence-transformers' evaluator.

Seconds are processor seconds of one thread, which other work on the machine disturbs least.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks._comparison import Comparison, Figure, in_turn, ratios
from benchmarks._peers import SENTENCE_TRANSFORMERS, TRANSFORMERS
from etude.methods.semcsr.contrast import ContrastiveLogits
from etude.methods.semcsr.prompts import KINDS, STOP, prompt_set
from etude.methods.semcsr.writers import CausalWriter, Writing

PEERS = (TRANSFORMERS, SENTENCE_TRANSFORMERS)
BEGINNING = (
    "What is saved in writing is the prompts' common beginning, read once; the rest of a prompt and the "
    "sentences themselves take both sides the same time."
)
STEP = "Both losses stand on the same forward and backward pass of MiniLM; the rest is within the spread."
SUBJECTS = ("An old fisherman", "The bus driver", "A young nurse", "Two gardeners", "The red-haired girl")
ACTIONS = ("is waiting at the station", "carries a heavy box", "is singing in the rain", "paints the fence",
           "looks at the map", "is eating an apple")  # fmt: skip
PLACES = ("before sunrise", "near the old bridge", "with a smile")


def main(*, full: bool, repetitions: int) -> Comparison:
    """All three; `full` writes for 48 sentences instead of 8."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        written, generating = generation(48 if full else 24, repetitions)
        trained, training_rates = training(repetitions)
        scored, evaluating = evaluation(repetitions)
        details = {"generation": generating, "training": training_rates, "evaluation": evaluating}
        return Comparison([*written, *trained, scored], (), details)
    finally:
        torch.set_num_threads(threads)


def sentences(count: int) -> list[str]:
    """Distinct sentences of our own."""
    parts = itertools.product(SUBJECTS, ACTIONS, PLACES)
    return [" ".join(words) + "." for words in itertools.islice(parts, count)]


def generation(count: int, repetitions: int, batch: int = 16) -> tuple[list[Figure], list[dict[str, Any]]]:
    """Seconds of both, for ω = 0 and ω = 0.3."""
    figures, rows = list[Figure](), list[dict[str, Any]]()
    for omega in (0.0, 0.3):
        writer = CausalWriter(Writing("smollm2", prompt_set("nli-4shot"), omega, max_tokens=32))
        writer.write(sentences(2))  # loads the model and reads the heads
        texts = [sentences(count)[i : i + batch] for i in range(0, count, batch)]
        made: dict[str, list[Any]] = {}

        def ours(writer: CausalWriter = writer, texts: Any = texts, made: Any = made) -> None:
            made["ours"] = [one for part in texts for one in writer.write(part)]

        def peer(writer: CausalWriter = writer, texts: Any = texts, made: Any = made) -> None:
            made["peer"] = [one for part in texts for one in plain(writer, part)]

        seconds = in_turn({"ours": ours, "peer": peer}, repetitions)
        same = sum(a == (b.sent1, b.hard_neg) for a, b in zip(made["peer"], made["ours"], strict=True))
        tokens = sum(
            len(writer.lm.tokenizer.encode(t)) for one in made["ours"] for t in (one.sent1, one.hard_neg) if t
        )
        figures.append(
            Figure(
                f"writing both sentences for {count} of ours, ω = {omega}",
                "transformers' generate on the same prompts",
                "processor seconds",
                ratios(seconds["peer"], seconds["ours"]),
                3,
                if_missed=BEGINNING,
            )
        )
        rates = {f"{name}, tokens/s": tokens / median(taken) for name, taken in seconds.items()}
        rows.append({"ω": omega, **rates, "equal triples": f"{same} of {count}"})
    return figures, rows


def plain(writer: CausalWriter, texts: Sequence[str]) -> list[tuple[str, str]]:
    """The same with `transformers.generate`, each prompt read whole."""
    from transformers import LogitsProcessorList

    from etude.methods.semcsr.writers import gather

    writing, tokenizer, count = writer.writing, writer.lm.tokenizer, len(texts)
    prompts = [writing.prompts.prompt(kind, 0, text) for kind in KINDS for text in texts]
    streams = list(range(2 * count))
    processors = LogitsProcessorList()
    if writing.omega > 0:
        streams += [(i + count) % (2 * count) for i in range(2 * count)]
        processors.append(ContrastiveLogits(writing.omega, writing.plausibility))
    tokenizer.padding_side = "left"
    given = tokenizer([prompts[i] for i in streams], padding=True, return_tensors="pt")
    with torch.inference_mode():
        made = writer.lm.model.generate(
            **given, max_new_tokens=writing.max_tokens, do_sample=False, logits_processor=processors,
            stop_strings=list(STOP), tokenizer=tokenizer, pad_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
    found: list[str | None] = []
    for row in made[: 2 * count, given["input_ids"].shape[1] :].tolist():
        text = tokenizer.decode(row, skip_special_tokens=True)
        at = min((place for place in (text.find(mark) for mark in STOP) if place >= 0), default=None)
        found.append(None if at is None and tokenizer.eos_token_id not in row else text[:at])
    return [(one.sent1, one.hard_neg) for one in gather([0] * count, found)]


def training(repetitions: int, batch: int = 16) -> tuple[list[Figure], dict[str, Any]]:
    """Seconds of a step, in turn, and what the mask costs; three steps are a repetition."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from etude.methods.semcsr.encoders import load_sentence_transformer
    from etude.methods.semcsr.masked_info_nce import MaskedInfoNCE, ReferenceTable

    model = load_sentence_transformer("minilm", max_length=32).train()
    vectors = np.random.default_rng(0).normal(size=(3, batch, 64)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    table = ReferenceTable(list(vectors))
    texts = sentences(3 * batch)
    losses = {
        "peer": MultipleNegativesRankingLoss(model, scale=20.0),
        "ours": MaskedInfoNCE(model),
        "ours, masked": MaskedInfoNCE(model, phi=0.2, reference=table),
    }
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def steps(loss: torch.nn.Module) -> None:
        for _ in range(3):
            given = [model.preprocess(texts[i * batch : (i + 1) * batch]) for i in range(3)]
            optimizer.zero_grad()
            loss(given, torch.arange(batch)).backward()
            optimizer.step()

    arms = {name: lambda loss=loss: steps(loss) for name, loss in losses.items()}
    seconds = in_turn(arms, repetitions, warm=True)
    peer, own = seconds["peer"], f"a training step of MiniLM, batch {batch}"
    name = "MultipleNegativesRankingLoss"
    mask = tuple(cost - 1 for cost in ratios(seconds["ours, masked"], seconds["ours"]))
    figures = [
        Figure(own, name, "processor seconds", ratios(peer, seconds["ours"]), 1, if_missed=STEP),
        Figure(f"{own}, masked", name, "processor seconds", ratios(peer, seconds["ours, masked"])),
        Figure(f"{own}, masked", "ours, without the mask", "share of seconds that it adds", mask,
               0.05, "share", True, STEP),
    ]  # fmt: skip
    return figures, {f"{name}, steps/s": 3 / median(taken) for name, taken in seconds.items()}


def evaluation(repetitions: int, pairs: int = 600) -> tuple[Figure, dict[str, Any]]:
    """Seconds of an evaluation whose sentences repeat, as those of the STS benchmark do."""
    from sentence_transformers.sentence_transformer.evaluation import EmbeddingSimilarityEvaluator

    from etude.methods.semcsr.encoders import load_sentence_transformer
    from etude.methods.semcsr.sts import STSPair, evaluate_sts, sts_texts

    generator = np.random.default_rng(0)
    texts = sentences(90)
    rows = [
        STSPair(score=float(generator.integers(0, 6)), sentence1=texts[i], sentence2=texts[j])
        for i, j in generator.integers(0, len(texts), (pairs, 2))
    ]
    model = load_sentence_transformer("minilm")
    model.encode(texts[:4])
    peer = EmbeddingSimilarityEvaluator(
        [r.sentence1 for r in rows], [r.sentence2 for r in rows], [r.score for r in rows], batch_size=64,
        write_csv=False,
    )  # fmt: skip
    found: dict[str, Any] = {}
    seconds = in_turn(
        {
            "peer": lambda: found.__setitem__("peer", peer(model, str(Path(".")))),
            "ours": lambda: found.__setitem__("ours", evaluate_sts(model, rows, resamples=0)),
        },
        repetitions,
    )
    distinct = len(sts_texts(rows))
    figure = Figure(
        f"an STS evaluation, {pairs} pairs of {distinct} sentences",
        "sentence-transformers' evaluator",
        "processor seconds",
        ratios(seconds["peer"], seconds["ours"]),
    )
    away = found["peer"]["spearman_cosine"] - found["ours"].spearman  # near-ties, rounding
    return figure, {"difference of correlations": away}
