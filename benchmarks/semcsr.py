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
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from etude.methods.semcsr.contrast import ContrastiveLogits
from etude.methods.semcsr.prompts import KINDS, STOP, prompt_set
from etude.methods.semcsr.writers import CausalWriter, Writing

SUBJECTS = ("An old fisherman", "The bus driver", "A young nurse", "Two gardeners", "The red-haired girl")
ACTIONS = ("is waiting at the station", "carries a heavy box", "is singing in the rain", "paints the fence",
           "looks at the map", "is eating an apple")  # fmt: skip
PLACES = ("before sunrise", "near the old bridge", "with a smile")


def main(*, quick: bool) -> dict[str, Any]:
    """Run all three; ratios above 1 say that ours is faster."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "generation": generation(16 if quick else 48),
            "training": training(3 if quick else 12),
            "evaluation": evaluation(150 if quick else 600),
        }
    finally:
        torch.set_num_threads(threads)


def sentences(count: int) -> list[str]:
    """Distinct sentences of our own."""
    parts = itertools.product(SUBJECTS, ACTIONS, PLACES)
    return [" ".join(words) + "." for words in itertools.islice(parts, count)]


def generation(count: int, batch: int = 16) -> list[dict[str, Any]]:
    """Seconds and sentences per second, for ω = 0 and ω = 0.3."""
    rows = []
    for omega in (0.0, 0.3):
        writing = Writing("smollm2", prompt_set("nli-4shot"), omega, max_tokens=32)
        writer = CausalWriter(writing)
        writer.write(sentences(2))  # loads the model and reads the heads
        texts = sentences(count)
        started = time.process_time()
        ours = [one for i in range(0, count, batch) for one in writer.write(texts[i : i + batch])]
        seconds = time.process_time() - started
        started = time.process_time()
        theirs = [one for i in range(0, count, batch) for one in plain(writer, texts[i : i + batch])]
        peer = time.process_time() - started
        same = sum(a == (b.sent1, b.hard_neg) for a, b in zip(theirs, ours, strict=True))
        tokens = sum(
            len(writer.lm.tokenizer.encode(t)) for one in ours for t in (one.sent1, one.hard_neg) if t
        )
        rows.append(
            {
                "omega": omega,
                "ours tokens/s": tokens / seconds,
                "transformers.generate tokens/s": tokens / peer,
                "ratio": peer / seconds,
                "equal triples": f"{same} of {count}",
            }
        )
    return rows


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


def training(steps: int, batch: int = 16) -> dict[str, Any]:
    """Median seconds of a step, alternating, and what the mask costs."""
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
    seconds: dict[str, list[float]] = {name: [] for name in losses}

    def step(loss: torch.nn.Module) -> float:
        given = [model.preprocess(texts[i * batch : (i + 1) * batch]) for i in range(3)]
        started = time.process_time()
        optimizer.zero_grad()
        loss(given, torch.arange(batch)).backward()
        optimizer.step()
        return time.process_time() - started

    for loss in losses.values():
        step(loss)
    for _ in range(steps):
        for name, loss in losses.items():
            seconds[name].append(step(loss))
    typical = {name: median(values) for name, values in seconds.items()}
    return {
        "peer": "MultipleNegativesRankingLoss",
        "batch": batch,
        "peer steps/s": 1 / typical["peer"],
        "ours steps/s": 1 / typical["ours"],
        "ours masked steps/s": 1 / typical["ours, masked"],
        "ratio": typical["peer"] / typical["ours"],
        "ratio masked": typical["peer"] / typical["ours, masked"],
    }


def evaluation(pairs: int) -> dict[str, Any]:
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
    theirs, their_seconds = timed(lambda: peer(model, str(Path("."))))
    ours, our_seconds = timed(lambda: evaluate_sts(model, rows, resamples=0))
    return {
        "pairs": pairs,
        "distinct sentences": len(sts_texts(rows)),
        "peer seconds": their_seconds,
        "ours seconds": our_seconds,
        "ratio": their_seconds / our_seconds,
        "difference of correlations": theirs["spearman_cosine"] - ours.spearman,  # near-ties, rounding
    }


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """A result and its seconds."""
    started = time.process_time()
    result = work()
    return result, time.process_time() - started
