"""The claim: does affect knowledge improve conspiracy detection? With the user's LOCO, or, where only EmoBank
is there, its affect half on EmoBank and the rest on our synthetic articles, which settle nothing.

A: a head or an encoder trained on EmoBank knows affect (held-out sentences, shuffled control). B: stage A
teaches a small language model affect. C: routes R1 and R2 against text alone, five folds five times,
corrected resampled t. D: route R1 with a language model against its two controls. E: other topics.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from etude.evidence import Arm, Check, Claim, Comparison, Measurement, Part, Scale
from etude.methods.conspemollm.claim_data import ClaimData, read_claim_data
from etude.methods.conspemollm.claim_stages import STAGES, StageBudget, stage_arms
from etude.methods.conspemollm.claim_tables import claim_tables
from etude.methods.conspemollm.comparison import ARMS, FoldScore, Material, fold_scores
from etude.methods.conspemollm.emobank import EmoBank, document_of
from etude.methods.conspemollm.encoder_detector import EncoderDetector
from etude.methods.conspemollm.lexicons import vader_scores
from etude.methods.conspemollm.resampled_t import corrected_resampled_t
from etude.methods.conspemollm.settings import Settings, StageSettings
from etude.methods.conspemollm.splits import SplitRows, cross_topic, grouped_folds
from etude.methods.conspemollm.vad_head import correlations, train_vad_head
from etude.methods.conspemollm.vectors import text_vectors
from etude.methods.conspemollm.wordings import wording_hash
from etude.models import load_encoder, model_origin
from etude.runs import Run

if TYPE_CHECKING:
    from etude.evidence import Evidence
    from etude.evidence.claim import Better

ENCODER = "minilm"
TUNED, TUNED_SHUFFLED = "minilm, tuned on affect", "minilm, tuned on shuffled affect"
_HEADS = ("mean", "VADER", "MiniLM", "MiniLM, shuffled ratings")
SIZES = (50, 100, 300)
ACROSS = "right on another topic"


@dataclass(frozen=True)
class Budget:
    """What a scale spends.

    Args:
        articles: LOCO documents at most.
        sentences: EmoBank's training sentences for the heads.
        held_out: Its held-out sentences.
        tuned_sentences: Sentences for the encoder's stage A.
        tuned_steps: Its steps of 16.
        folds: Folds of a partition.
        repeats: Partitions.
        stages: Route R1 with a language model.
    """

    articles: int | None
    sentences: int
    held_out: int
    tuned_sentences: int
    tuned_steps: int
    folds: int
    repeats: int
    stages: StageBudget


BUDGETS = {
    "laptop": Budget(
        600, 3000, 600, 480, 30, 5, 5,
        StageBudget("smollm2", 24, 8, 192, 400, 12, 48, 48, 1e-3, max_length=160),
    ),
    "slow": Budget(
        None, 8062, 1000, 8000, 500, 5, 5,
        StageBudget("smollm2", 400, 60, 1024, 8000, 30, 200, 200, 5e-4, max_length=512),
    ),
    "paper": Budget(
        None, 8062, 1000, 8000, 1500, 5, 5,
        StageBudget(
            "meta-llama/Llama-2-7b-chat-hf", None, None, 4096, 8062, None, 1000, None, 1e-6, "full", 4096,
            batch_size=8, accumulate=4,
        ),
    ),
}  # fmt: skip


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """The claim of conspemollm.

    Args:
        scale: `laptop`: at most 600 documents and 3,000 sentences, SmolLM2 with LoRA for a few dozen steps.
            `slow`: everything, hundreds of steps. `paper`: a 7B base, full fine-tuning (GPUs).
        data: A folder with `emobank*.csv` and, for detection, `LOCO.json` and `annotations*.csv`.
        seeds: Of tuning; partitions of the folds are the same for all arms.
        model: Another base for route R1 with a language model.

    Raises:
        EtudeError: EmoBank is missing.
    """
    budget = BUDGETS[scale]
    if model is not None:
        budget = Budget(**{**vars(budget), "stages": StageBudget(**{**vars(budget.stages), "model": model})})
    found = read_claim_data(data, budget.articles)
    material = Material(found.articles, str(found.emobank), ENCODER)
    folds = grouped_folds(
        material.labels.tolist(), material.groups, folds=budget.folds, repeats=budget.repeats
    )
    splits = [*folds, *cross_topic(material.topics, material.groups)]
    tuned = _tuned_vectors(budget, found)
    arms = [_head_arm(name, budget, found) for name in _HEADS]
    arms += [_tuned_arm(name, budget, material, splits, tuned) for name in (TUNED, TUNED_SHUFFLED)]
    arms += [_fold_arm(name, material, splits) for name in ARMS]
    arms += stage_arms(budget.stages, found)
    where = "LOCO" if found.real else "synthetic articles"
    return Claim(
        name="conspemollm",
        statement="Giving the detector affect knowledge improves conspiracy detection over text alone.",
        arms=arms,
        parts=_parts(found.real, folds, where),
        metrics={
            "valence error": "lower", "macro-F1": "higher", "affect loss": "lower",
            "detection surprise": "lower", "detected": "higher", ACROSS: "higher",
        },
        seeds=seeds or (0, 1, 2),
        config={
            "scale": scale,
            "budget": asdict(budget),
            "encoder": model_origin(ENCODER),
            "model": model_origin(budget.stages.model),
            "wording": wording_hash(),
            "data": found.hashes,
            "articles": where,
        },
        clusters=_cluster,
        notes=_notes(found, where, budget),
        blocks=lambda evidence: claim_tables(
            evidence, _HEADS, (*ARMS, TUNED, TUNED_SHUFFLED), splits, found.real
        ),
    )  # fmt: skip


def _notes(data: ClaimData, where: str, budget: Budget) -> tuple[str, ...]:
    first = (
        f"Detection is measured on {len(data.articles)} annotated LOCO documents, cut at 400 words."
        if data.real
        else f"No LOCO.json was there: detection is measured on {len(data.articles)} {where} written by us. "
        "They show that everything runs and settle nothing: C, D and E cannot hold or fail, only A and B can."
    )
    return (
        first,
        f"The language model is {budget.stages.model}, tuned: {budget.stages.tuning}; "
        f"{budget.stages.affect_steps or '3 epochs of'} steps on affect, "
        f"{budget.stages.steps or '3 epochs of'} on detection: a real run of the paper's mechanism, far "
        "below its size at laptop scale.",
        "Part C: differences of macro-F1 over 25 splits, corrected resampled t (Nadeau & Bengio 2003).",
        "EmoBank: Buechel & Hahn 2017, CC BY-SA 4.0.",
    )


def _cluster(unit: str) -> str:
    """Sentences of one EmoBank document are not independent."""
    return "/".join(unit.split("/")[:2]) if unit.startswith("emobank/") else unit


def _held_out(budget: Budget, data: ClaimData) -> EmoBank:
    dev = data.sentences.get("dev", data.sentences["train"])
    return dev.sample(budget.held_out, 0)


def _errors(held_out: EmoBank, said: NDArray[np.float64]) -> Measurement:
    errors = np.abs(said[:, 0] - held_out.ratings[:, 0])
    units = {f"emobank/{document_of(id)}/{id}": float(e) for id, e in zip(held_out.ids, errors, strict=True)}
    return Measurement({"valence error": units}, {"Pearson r": correlations(said, held_out.ratings)})


def _head_arm(name: str, budget: Budget, data: ClaimData) -> Arm:
    """Who tells held-out sentences' affect: nobody (the mean), a lexicon, a head, a head on wrong ratings."""

    def run(seed: int) -> Measurement:
        from sklearn.linear_model import LinearRegression

        train, held_out = data.sentences["train"].sample(budget.sentences, 0), _held_out(budget, data)
        if name == "mean":
            return _errors(held_out, np.tile(train.ratings.mean(0), (len(held_out), 1)))
        if name == "VADER":
            x, new = (np.array([vader_scores(text) for text in part.texts]) for part in (train, held_out))
            return _errors(held_out, LinearRegression().fit(x, train.ratings).predict(new))
        encoder = load_encoder(ENCODER)
        learned = train.shuffled(seed) if name.endswith("ratings") else train
        head = train_vad_head(encoder, learned, held_out)
        return _errors(held_out, head.ratings(text_vectors(encoder, held_out.texts)))

    return Arm(f"affect by {name}", run, {"head": name}, seeded=name.endswith("ratings"))


def _tuned_vectors(budget: Budget, data: ClaimData) -> Callable[[str, int], NDArray[np.float64]]:
    """Vectors of the articles by an encoder tuned on affect (R1); once for a seed."""

    @cache
    def tuned(name: str, seed: int) -> NDArray[np.float64]:
        stage = StageSettings(
            steps=budget.tuned_steps, learning_rate=5e-5, batch_size=16, weight_decay=0.01, warmup=0.1
        )
        settings = Settings(
            ENCODER,
            "affect-base",
            shuffle_affect=name == TUNED_SHUFFLED,
            tuning="last2",
            seed=seed,
            stage_a=stage,
        )
        detector = EncoderDetector(settings)
        sentences = data.sentences["train"].sample(budget.tuned_sentences, seed)
        with tempfile.TemporaryDirectory(prefix="etude-conspemollm-") as folder:
            with Run(Path(folder) / "run", {"seed": seed}, command="conspemollm claim") as run:
                detector.tune_on_affect(
                    sentences.shuffled(seed) if settings.shuffle_affect else sentences, stage, run
                )
            return detector.features([one.input for one in data.articles], None)

    return tuned


def _tuned_arm(
    name: str,
    budget: Budget,
    material: Material,
    splits: Sequence[SplitRows],
    tuned: Callable[[str, int], NDArray[np.float64]],
) -> Arm:
    """Route R1 with an encoder: stage A on EmoBank, then frozen with a logistic head."""

    def run(seed: int) -> Measurement:
        vectors = tuned(name, seed)
        own = Material(material.examples, material.emobank, ENCODER, vectors)
        return _fold_measurement(fold_scores("minilm", own, splits))

    return Arm(name, run, {"steps": budget.tuned_steps})


def _fold_arm(name: str, material: Material, splits: Sequence[SplitRows]) -> Arm:
    """An arm of the comparison; nothing in it is random but the partitions, which all arms share."""

    def run(seed: int) -> Measurement:
        measured = _fold_measurement(fold_scores(name, material, splits))
        sizes = {}
        for size in SIZES:
            if size < 0.7 * len(material.examples):
                small = grouped_folds(
                    material.labels.tolist(), material.groups, folds=5, repeats=2, size=size
                )
                sizes[str(size)] = float(
                    np.mean([one.macro_f1 for one in fold_scores(name, material, small).values()])
                )
        return Measurement(measured.scores, {**measured.facts, "by training size": sizes})

    return Arm(name, run, {"arm": name}, seeded=False)


def _fold_measurement(scores: Mapping[str, FoldScore]) -> Measurement:
    within = {name: one.macro_f1 for name, one in scores.items() if " fold " in name}
    areas = [one.auc for name, one in scores.items() if " fold " in name and one.auc is not None]
    across = {name: one for name, one in scores.items() if " fold " not in name}
    right = {f"{name}/{id}": float(hit) for name, one in across.items() for id, hit in one.right.items()}
    return Measurement(
        {"macro-F1": within, ACROSS: right},
        {
            "AUC": float(np.mean(areas)) if areas else None,
            "across topics": {name: one.macro_f1 for name, one in across.items()},
        },
    )


def _parts(real: bool, folds: Sequence[SplitRows], where: str) -> list[Part]:
    affect, plain, shuffled = (f"LM: {name}" for name in STAGES)
    pairs = (
        ("minilm+lexicon", "minilm"), ("minilm+vad", "minilm"), ("minilm+lexicon+vad", "minilm"),
        ("minilm+vad", "minilm+shuffled"),
        ("tfidf+lexicon", "tfidf"), ("tfidf+vad", "tfidf"), (TUNED, "minilm"), (TUNED, TUNED_SHUFFLED),
    )  # fmt: skip
    return [
        Part("A", "A head on EmoBank knows valence: better than mean, VADER, wrong ratings.", [
            Comparison("valence error", "affect by MiniLM", f"affect by {other}", "lower")
            for other in ("mean", "VADER", "MiniLM, shuffled ratings")
        ]),
        Part("B", "Stage A teaches the language model affect: less loss on new affect questions.", [
            Comparison("affect loss", affect, other, "lower", every_seed=True) for other in (plain, shuffled)
        ]),
        Part("C", f"Affect beside the text, or an affect-tuned encoder, improves detection ({where}).",
             [_resampled(arm, base, folds, real) for arm, base in pairs]),
        Part("D", f"The paper's mechanism, affect first, beats both controls ({where}).",
             [_settled("detection surprise", affect, other, "lower", real) for other in (plain, shuffled)]),
        Part("E", f"Affect improves detection on another topic ({where}).",
             [_settled(ACROSS, arm, "minilm", "higher", real)
              for arm in ("minilm+lexicon", "minilm+vad", TUNED)]),
    ]  # fmt: skip


_UNSETTLED = "synthetic texts settle nothing: "


def _resampled(arm: str, baseline: str, folds: Sequence[SplitRows], real: bool) -> Check:
    def check(evidence: Evidence) -> tuple[bool | None, str]:
        names = [split.name for split in folds]
        share = float(np.mean([len(split.test) / len(split.train) for split in folds]))
        both = []
        for name in (arm, baseline):
            found = evidence.arm(name)
            if not found.measurements:
                raise KeyError(name)
            seeds = list(found.measurements)
            both.append(np.mean([found.values("macro-F1", names, seed) for seed in seeds], axis=0))
        tested = corrected_resampled_t((both[0] - both[1]).tolist(), share)
        so = None if not real else {"supported": True, "not supported": False}.get(tested.verdict)
        return so, ("" if real else _UNSETTLED) + str(tested)

    return Check(f"{arm} above {baseline}", check)


def _settled(metric: str, arm: str, baseline: str, better: Better, real: bool) -> Check | Comparison:
    """A comparison over documents; on synthetic ones only their means are told."""
    if real:
        return Comparison(metric, arm, baseline, better)

    def check(evidence: Evidence) -> tuple[bool | None, str]:
        means = [evidence.arm(name).mean(metric) for name in (arm, baseline)]
        if means[0] is None or means[1] is None:
            raise KeyError(arm)
        return None, f"{_UNSETTLED}{means[0]:.3f} against {means[1]:.3f}"

    return Check(f"{arm} has {better} {metric} than {baseline}", check)
