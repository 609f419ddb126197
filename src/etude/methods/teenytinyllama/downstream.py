"""The claim's optional third part: a classification head on arms A and C, for sentence selection from FaQuAD.

Little is to be expected at this size; the majority class, a TF-IDF regression and the same network untrained
stand beside. The metric is balanced accuracy, which is a mean over pairs and so has an interval; macro-F1 is
a fact.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from etude.evidence import Arm, Comparison, Measurement, Part
from etude.methods.teenytinyllama.arms import Contender, Laboratory
from etude.methods.teenytinyllama.classification import (
    LabeledTokens,
    label_ids,
    label_names,
    macro_f1,
    majority,
    predict_labels,
    tfidf_regression,
)
from etude.methods.teenytinyllama.finetuning import PAPER, Tuning, tune_classifier
from etude.methods.teenytinyllama.model_folders import save_model
from etude.methods.teenytinyllama.sentence_selection import Pair, read_pairs
from etude.models import load_causal_lm
from etude.models.quiet import quiet_transformers

TASK = "FaQuAD balanced accuracy"
_PREFIX = "FaQuAD: "
RATES = (4e-5, 1e-3)  # the paper's, and one for models as small as ours; chosen on validation pairs


def downstream_arms(
    laboratory: Laboratory, contenders: Mapping[str, Contender], questions: Path
) -> list[Arm]:
    """A head on each contender's model, on the same network untrained, and the two baselines.

    Args:
        laboratory: Trains the contenders, or finds them trained.
        contenders: Short name to contender.
        questions: FaQuAD's training questions.
    """

    def pretrained(contender: Contender, seed: int) -> Measurement:
        return _tuned(laboratory.trained(contender, seed)[0], questions, seed)

    def untrained(contender: Contender, seed: int) -> Measurement:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "model"
            _save_untrained(laboratory.trained(contender, seed)[0], folder, seed)
            return _tuned(folder, questions, seed)

    first = next(iter(contenders.values()))
    arms = [
        Arm(f"{_PREFIX}{name}", partial(pretrained, contender), {"head": name, "rates": list(RATES)})
        for name, contender in contenders.items()
    ]
    return [
        *arms,
        Arm(f"{_PREFIX}untrained", partial(untrained, first), {"head": "untrained", "rates": list(RATES)}),
        Arm(
            f"{_PREFIX}TF-IDF regression",
            lambda seed: _regression(questions),
            {"head": "tfidf"},
            seeded=False,
        ),
        Arm(
            f"{_PREFIX}majority class", lambda seed: _majority(questions), {"head": "majority"}, seeded=False
        ),
    ]


def downstream_part() -> Part:
    """The native model's head against all others."""
    return Part(
        "downstream",
        "a head on the native model selects FaQuAD's sentences better than one on the multilingual model, "
        "than an untrained network, and than the baselines",
        [
            Comparison(TASK, f"{_PREFIX}A", f"{_PREFIX}{other}", better="higher")
            for other in ("C", "untrained", "TF-IDF regression", "majority class")
        ],
    )


def article_of(unit: str) -> str:
    """The article of a pair, whose questions are not independent; any other unit stands for itself."""
    return unit.partition(" | ")[0]


def _tuned(folder: Path, questions: Path, seed: int) -> Measurement:
    """Fine-tune at each rate, keep the one with the lowest validation loss, and score the test pairs once."""
    from transformers import AutoModelForSequenceClassification

    splits: dict[str, list[Any]] = dict(read_pairs(questions))
    lm = load_causal_lm(str(folder), device="cpu")
    context = lm.context_length or 128
    with tempfile.TemporaryDirectory() as scratch:
        tried = []
        for rate in RATES:
            how = Tuning(
                epochs=3, steps=None, weight_decay=0.01, context=context, seed=seed,
                **{**PAPER["classification"], "learning_rate": rate},
            )  # fmt: skip
            out = Path(scratch) / f"{rate:g}"
            result = tune_classifier(
                str(folder), {k: splits[k] for k in ("train", "validation")}, how, out, str(questions)
            )
            tried.append((result.validation_loss or 0.0, rate, out / "model"))
        _, rate, chosen = min(tried)
        with quiet_transformers():
            model = AutoModelForSequenceClassification.from_pretrained(chosen)
        names = label_names(splits["train"], questions)
        truth = label_ids(splits["test"], names, questions)
        tokens = LabeledTokens(lm.tokenizer, splits["test"], truth, context)
        picked = predict_labels(model, tokens, int(lm.tokenizer.pad_token_id))
    return _scored(splits["test"], truth, picked, {"learning rate": rate})


def _save_untrained(trained: Path, folder: Path, seed: int) -> None:
    """The same shape and tokenizer with fresh weights."""
    import torch
    from transformers import AutoConfig, LlamaForCausalLM

    from etude.models import load_tokenizer

    torch.manual_seed(seed)
    save_model(folder, LlamaForCausalLM(AutoConfig.from_pretrained(trained)), load_tokenizer(str(trained)))


def _regression(questions: Path) -> Measurement:
    splits = read_pairs(questions)
    names = label_names(splits["train"], questions)
    choose = tfidf_regression(splits["train"], label_ids(splits["train"], names, questions))
    truth = label_ids(splits["test"], names, questions)
    return _scored(splits["test"], truth, choose(splits["test"]), {})


def _majority(questions: Path) -> Measurement:
    splits = read_pairs(questions)
    names = label_names(splits["train"], questions)
    truth = label_ids(splits["test"], names, questions)
    common = majority(label_ids(splits["train"], names, questions))
    return _scored(splits["test"], truth, np.full_like(truth, common), {})


def _scored(
    rows: Sequence[Pair], truth: np.ndarray, picked: np.ndarray, facts: dict[str, Any]
) -> Measurement:
    """Per pair: right or not, over its label's share, so that the mean is the balanced accuracy."""
    labels, counts = np.unique(truth, return_counts=True)
    weight = dict(zip(labels.tolist(), (len(truth) / (len(labels) * counts)).tolist(), strict=True))
    scores = {
        f"{row.article} | {row.id}": weight[int(t)] * float(t == p)
        for row, t, p in zip(rows, truth, picked, strict=True)
    }
    facts |= {"macro-F1": macro_f1(truth, picked), "accuracy": float((truth == picked).mean())}
    return Measurement({TASK: scores}, facts)
