"""The claim, in three questions: do ids that mean something beat meaningless ones (Q1), does alternation help
(Q2), can words reach items that training never saw (Q3)?

The paper compares its ids with those of other papers, which differ in length and vocabulary too. Here the
same strings on the wrong items are the control, so that only their meaning is gone. Popularity, item-kNN and
a tuned SASRec stand beside all arms, and so does one token per item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from etude.evidence import Arm, Claim, Comparison, Evidence, Part, Scale
from etude.methods.idgen.alternation import GeneratorTraining
from etude.methods.idgen.claim_arms import (
    COLD,
    COLD_ONLY,
    Budget,
    alternation_arm,
    baseline_arm,
    scheme_arm,
)
from etude.methods.idgen.claim_data import DataSet, laptop_data, paper_data
from etude.methods.idgen.recommender_training import Training
from etude.methods.idgen.sasrec import SASRecSettings
from etude.render import Block, TableBlock

BASELINES = ("SASRec", "item-kNN", "popularity")
SCHEMES = ("textual", "shuffled", "random", "sequential", "token")

LAPTOP = Budget(
    backbone="causal-tiny",
    training=Training(epochs=4, batch_size=32, learning_rate=6e-3),
    beams=20,
    sasrec=tuple(SASRecSettings(dropout=dropout, epochs=12) for dropout in (0.2, 0.5)),
    rounds=2,
    round_epochs=2,
    tune=GeneratorTraining(learning_rate=1e-4, histories=600, text_tokens=32),
    taught_epochs=8,
)
SLOW = replace(
    LAPTOP,
    training=replace(LAPTOP.training, epochs=12),
    sasrec=tuple(
        SASRecSettings(dropout=dropout, epochs=epochs, learning_rate=rate)
        for dropout in (0.2, 0.5)
        for epochs in (10, 20, 40)
        for rate in (1e-3, 3e-3)
    ),
    rounds=3,
    round_epochs=4,
    tune=replace(LAPTOP.tune, histories=None),
    taught_epochs=12,
)
PAPER = replace(
    SLOW,
    backbone="t5-small",
    training=Training(epochs=30, batch_size=64, learning_rate=1e-3, targets=0, wordings=3),
    rounds=3,
    round_epochs=10,
    tune=GeneratorTraining(),
    generator="t5:nandakishormpai/t5-small-machine-articles-tag-generation",
)


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """The claim of idgen.

    Args:
        scale: laptop: Beauty (2,225 users, 678 items, the paper's phase-0 ids) and Industrial (2,852 users,
            2,481 items with texts), `causal-tiny`, 4 epochs. slow: 12 epochs, a larger grid for SASRec, three
            rounds, also collaborative ids. paper: every data set in the folder, T5-small, 3 x 10 epochs.
        data: The folder that `etude show idgen` describes.
        seeds: Three by default.
        model: Another backbone, e.g. `tiny` for the form with an encoder.

    Raises:
        EtudeError: Without the data.
    """
    sets = paper_data(data) if scale == "paper" else laptop_data(data)
    budget = {"laptop": LAPTOP, "slow": SLOW, "paper": PAPER}[scale]
    budget = budget if model is None else replace(budget, backbone=model)
    schemes = SCHEMES if scale == "laptop" else (*SCHEMES, "collaborative")
    arms: list[Arm] = []
    parts: list[Part] = []
    for one in sets:
        own = schemes if one.ids is not None or scale == "paper" else ("textual", "shuffled", "random")
        arms += _arms(one, own, budget)
        parts += _meaning(one, own)
    for one in sets:
        if one.items is not None:
            parts += [_alternation(one), _cold_start(one)]
    return Claim(
        name="idgen",
        statement="With the same backbone and data, ids that mean something beat meaningless ids.",
        arms=arms,
        parts=parts,
        metrics={"NDCG@10": "higher", "HR@10": "higher", COLD: "higher", COLD_ONLY: "higher"},
        seeds=seeds or (0, 1, 2),
        config={
            "scale": scale,
            "data": {one.name: one.hashes for one in sets},
            "budget": asdict(budget),
        },
        columns=("HR@5", "NDCG@5", "beams scored", "CPU s"),
        notes=(
            "Leave-one-out, all items ranked, all users, seen items not left out; units are users.",
            "Epochs, batch and rate of the language models were fixed on validation items of Beauty with "
            "textual ids and are the same for all schemes. Each arm chooses on 600 validation users whether "
            "beams are scored over the allowed tokens or the whole vocabulary. SASRec's dropout (above "
            "laptop scale also epochs) is chosen on the validation items of all users, anew for each seed.",
            "Data were filtered to users and items with several events before the split, as in the paper: "
            "this leaks popularity to all arms alike.",
            "Industrial has keyword ids. In its alternation arms a tiny T5 learned to write them and wrote "
            "the ids of phase 0; frozen and alternating arms share these, and epochs and restarts.",
        ),
        blocks=_blocks,
    )


def _arms(data: DataSet, schemes: Sequence[str], budget: Budget) -> list[Arm]:
    arms = [
        Arm(f"{data.name}: {scheme}", scheme_arm(data, scheme, budget), {"scheme": scheme})
        for scheme in schemes
    ]
    if data.items is not None:
        arms += [
            Arm(
                f"{data.name}: {'frozen' if frozen else 'alternating'} ids",
                alternation_arm(data, budget, frozen=frozen),
                {"frozen": frozen},
            )
            for frozen in (True, False)
        ]
    arms += [
        Arm(f"{data.name}: {name}", baseline_arm(data, name, budget), {"baseline": name}, name == "SASRec")
        for name in BASELINES
    ]
    return arms


def _meaning(data: DataSet, schemes: Sequence[str]) -> list[Part]:
    def compare(others: Sequence[str], metrics: Sequence[str]) -> list[Comparison]:
        return [
            Comparison(metric, f"{data.name}: textual", f"{data.name}: {other}", "higher")
            for other in others
            for metric in metrics
        ]

    meaningless = [scheme for scheme in schemes if scheme in ("shuffled", "random", "sequential")]
    strong = [*(scheme for scheme in schemes if scheme == "token"), "SASRec"]
    return [
        Part(
            f"Q1, {data.name}",
            f"On {data.name} textual ids beat the same strings shuffled, and numbers",
            compare(meaningless, ("NDCG@10", "HR@10")),
        ),
        Part(
            f"Q1, {data.name}, against one vector per item",
            f"On {data.name} textual ids beat {' and '.join(strong)}",
            compare(strong, ("NDCG@10",)),
        ),
    ]


def _alternation(data: DataSet) -> Part:
    return Part(
        f"Q2, {data.name}",
        f"On {data.name} alternation beats the frozen ids of phase 0",
        [
            Comparison(metric, f"{data.name}: alternating ids", f"{data.name}: frozen ids", "higher")
            for metric in ("NDCG@10", "HR@10")
        ],
    )


def _cold_start(data: DataSet) -> Part:
    return Part(
        f"Q3, {data.name}",
        f"On {data.name} textual ids reach items without a training event better than meaningless ones",
        [
            Comparison(metric, f"{data.name}: textual", f"{data.name}: {other}", "higher")
            for metric in (COLD, COLD_ONLY)
            for other in ("shuffled", "random")
        ],
    )


def _blocks(evidence: Evidence) -> list[Block]:
    """What each round of alternation changed, and what SASRec chose."""
    rounds = [
        [arm.name, seed, *row]
        for arm in evidence.arms
        for seed, measurement in arm.measurements.items()
        for row in measurement.facts.get("rounds", [])
    ]
    chosen = [
        [arm.name, seed, *(chosen[key] for key in ("dropout", "epochs", "validation NDCG@10"))]
        for arm in evidence.arms
        for seed, measurement in arm.measurements.items()
        if (chosen := measurement.facts.get("chosen"))
    ]
    losses = ["ids changed", "generator loss", "recommender loss", "validation NDCG@10"]
    blocks: list[Block] = []
    if rounds:
        blocks.append(
            TableBlock(["arm", "seed", "round", *losses], rounds, caption="Rounds; losses in nats per token")
        )
    if chosen:
        blocks.append(
            TableBlock(
                ["arm", "seed", "dropout", "epochs", "validation NDCG@10"],
                chosen,
                caption="SASRec, as chosen",
            )
        )
    return blocks
