"""Route R1 of the claim, measured: SmolLM2 tuned on affect, then on detection, beside its two controls."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from etude.evidence import Arm, Measurement
from etude.methods.conspemollm.affect_tasks import affect_instructions
from etude.methods.conspemollm.claim_data import ClaimData
from etude.methods.conspemollm.detector import ConspEmo
from etude.methods.conspemollm.emobank import document_of
from etude.methods.conspemollm.examples import Example
from etude.methods.conspemollm.settings import Route, Settings, StageSettings, Tuning
from etude.runs import Run

Stages: TypeAlias = Literal["affect, then detection", "detection only", "shuffled affect, then detection"]
STAGES: tuple[Stages, ...] = (
    "affect, then detection",
    "detection only",
    "shuffled affect, then detection",
)


@dataclass(frozen=True)
class StageBudget:
    """What a scale spends on route R1 with a language model.

    Args:
        model: The base.
        affect_steps: Stage A; None for three epochs, as in the paper.
        steps: Stage B, the same for all three arms; None for three epochs.
        pack_tokens: Tokens of a pack.
        affect_rows: Stage A's sentences.
        affect_words: Of at most so many words.
        probed: Held-out sentences on which the affect loss is measured.
        articles: Articles of each half at most.
        learning_rate: Of both stages.
        tuning: What is trained.
        max_length: Tokens of prompt and answer; longer articles are cut.
        batch_size: Packs of a batch.
        accumulate: Batches of a step.
    """

    model: str
    affect_steps: int | None
    steps: int | None
    pack_tokens: int
    affect_rows: int
    affect_words: int | None
    probed: int
    articles: int | None
    learning_rate: float
    tuning: Tuning = "lora"
    max_length: int | None = None
    batch_size: int = 1
    accumulate: int = 1


def stage_arms(budget: StageBudget, data: ClaimData) -> list[Arm]:
    """The three arms, each measured on every seed."""

    def arm(name: Stages) -> Arm:
        return Arm(f"LM: {name}", lambda seed: _measure(name, budget, data, seed), {"stages": name})

    return [arm(name) for name in STAGES]


def split_articles(
    data: ClaimData, seed: int, most: int | None = None
) -> tuple[list[Example], list[Example]]:
    """Half of the groups to train on, half to test on, by seed; the same for all arms.

    Args:
        data: The claim's data.
        seed: Of the halves.
        most: Articles of each half at most, drawn at random.
    """
    rng = np.random.default_rng(seed)
    groups = rng.permutation(sorted({one.group for one in data.articles}))
    chosen = set(groups[: len(groups) // 2].tolist())
    halves = (
        [one for one in data.articles if one.group in chosen],
        [one for one in data.articles if one.group not in chosen],
    )
    train, test = ([half[at] for at in sorted(rng.permutation(len(half))[:most])] for half in halves)
    return train, test


def _measure(name: Stages, budget: StageBudget, data: ClaimData, seed: int) -> Measurement:
    train, test = split_articles(data, seed, budget.articles)
    route: Route = "none" if name == "detection only" else "affect-base"
    settings = Settings(
        budget.model,
        route,
        shuffle_affect=name.startswith("shuffled"),
        tuning=budget.tuning,
        seed=seed,
        max_length=budget.max_length,
        affect_rows=budget.affect_rows,
        affect_words=budget.affect_words,
        stage_a=_stage(budget, budget.affect_steps),
        stage_b=_stage(budget, budget.steps),
    )
    detector = ConspEmo(settings=settings)
    dev = data.sentences.get("dev", data.sentences["train"])
    probed = dev.sample(budget.probed, 0, budget.affect_words)
    questions = affect_instructions(probed)
    with (
        tempfile.TemporaryDirectory(prefix="etude-conspemollm-") as folder,
        Run(Path(folder) / "run", {"seed": seed}, command="conspemollm claim") as run,
    ):
        report_a = detector.tune_on_affect(run, data.sentences["train"], ())
        affect = detector.causal.losses(questions)  # before stage B: what stage A alone gave
        rows = detector.instructions(train)
        report_b = detector.causal.tune("stage B", rows, (), settings.stage_b, run)
    asked = detector.instructions(test)
    detection = detector.causal.losses(asked)
    labels, each = detector.probabilities([one.input for one in test], "judgment")
    right = [float(said == one.labels) for said, one in zip(labels, test, strict=True)]
    surprise = [float(-np.log(max(row[one.labels[0]], 1e-12))) for row, one in zip(each, test, strict=True)]
    names = [f"{one.source}/{one.id}" for one in test]
    return Measurement(
        {
            "affect loss": {_unit(i, probed.ids[i]): value for i, value in enumerate(affect)},
            "detection surprise": dict(zip(names, surprise, strict=True)),
            "detected": dict(zip(names, right, strict=True)),
        },
        {
            "stage A steps": report_a.steps if report_a else 0,
            "stage B steps": report_b.steps,
            "stage B first loss": report_b.first_loss,
            "stage B last loss": report_b.last_loss,
            "answer loss": float(np.mean(detection)),
        },
    )


def _unit(row: int, id: str) -> str:
    return f"emobank/{document_of(id)}/{row}"


def _stage(budget: StageBudget, steps: int | None) -> StageSettings:
    return StageSettings(
        steps=steps,
        epochs=3,
        learning_rate=budget.learning_rate,
        weight_decay=1e-5,
        warmup=0.03,
        batch_size=budget.batch_size,
        accumulate=budget.accumulate,
        pack_tokens=budget.pack_tokens,
    )
