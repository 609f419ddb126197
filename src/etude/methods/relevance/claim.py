"""The claim: real labels agree and wording moves them (A), moderate labels still rank systems (B), they favor
systems like the labeller (C), and a 135M model is no judge (D).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.evidence import Arm, Claim, Measurement, Scale
from etude.methods.relevance.agreement import agreement, by_query, weighted_auc
from etude.methods.relevance.circularity import circularity
from etude.methods.relevance.claim_parts import MEASURES, part_a, part_b, part_c, part_d, tables
from etude.methods.relevance.cranfield import FILES, SAMPLE, Cranfield, RandomScorer
from etude.methods.relevance.llm_labeller import LLMLabeller
from etude.methods.relevance.prompt_study import PromptStudy, read_label_matrix, select, study, with_choice
from etude.methods.relevance.sampling import stratified
from etude.methods.relevance.score_labellers import SummedScorer
from etude.methods.relevance.system_ranking import system_ranking
from etude.methods.relevance.thresholds import split_queries
from etude.methods.relevance.wording import RelevancePrompt
from etude.models import chat_model, model_origin
from etude.runs import file_hash

RELEVANT = 2
"""Grade from which a passage counts as relevant on the scale 0-3 of DL 2020."""


@dataclass(frozen=True)
class Setting:
    """How much is labelled: pairs of Cranfield's sample, pairs that the chat model grades, seeds."""

    sample: int
    graded: int
    seeds: tuple[int, ...]


SCALES = {
    "laptop": Setting(SAMPLE, 42, (0, 1, 2)),
    "slow": Setting(SAMPLE, 300, (0, 1, 2, 3, 4)),
    "paper": Setting(3000, 3000, (0, 1, 2, 3, 4)),
}


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """The claim of relevance.

    Args:
        scale: `laptop`: 1,500 pairs labelled by scorers, 42 graded by the chat model. `slow`: 300 graded.
            `paper`: 3,000 of both.
        data: The folder that `etude show relevance` describes.
        seeds: Of samples, splits of queries, noisy systems and random labels.
        model: The chat model of part D; `smollm2` by default.

    Raises:
        EtudeError: The data are missing.
    """
    if data is None:
        raise EtudeError("relevance: the claim needs data", "Give --data DIR; see: etude show relevance.")
    missing = [name for name in FILES if not (data / name).is_file()]
    if missing:
        raise EtudeError(f"{data}: no {', '.join(missing)}", "See what it holds: etude show relevance.")
    setting, name = SCALES[scale], model or "smollm2"
    chosen = seeds or setting.seeds
    gold, columns, outside = read_label_matrix(data / FILES[3], "nist", (0, 3))
    judges = sorted({column.partition("#")[0] for column in columns})
    world = Cranfield(data)
    scorers = {
        "MiniLM labels": lambda seed: world.encoder,
        "BM25 labels": lambda seed: world.bm25,
        "both summed": lambda seed: SummedScorer([world.encoder, world.bm25], (10.0, 1.0)),
        "random labels": RandomScorer,
    }
    arms = [_matrix_arm(judge, gold, columns, outside) for judge in judges]
    arms.append(Arm("shuffled labels", lambda seed: _shuffled(gold, columns, judges, seed)))
    arms.append(Arm("people", lambda seed: _people(world, seed)))
    arms += [
        Arm(label, lambda seed, make=make: _labelled(world, make(seed), seed, setting.sample))  # type: ignore[misc]
        for label, make in scorers.items()
    ]
    first = chosen[0]
    arms += _small_model_arms(world, name, setting.graded, first)
    return Claim(
        name="relevance",
        statement="Labels that agree with people only moderately still rank systems as people do.",
        arms=arms,
        parts=[part_a(judges), part_b(), part_c(), part_d(name)],
        metrics=dict.fromkeys(("kappa", *MEASURES, "preferred"), "higher")
        | dict.fromkeys((f"{m} rank error" for m in MEASURES), "lower"),  # type: ignore[arg-type]
        seeds=chosen,
        config={
            "scale": scale,
            "data": {file: file_hash(data / file) for file in FILES},
            "sample": setting.sample,
            "graded": setting.graded,
            "graded_seed": first,
            "model": model_origin(name),
            "encoder": model_origin("minilm"),
        },
        columns=("kappa", "kappa graded", "AUC", "MAE", "prevalence"),
        notes=(
            "A: labels of the released matrix, relevant from grade 2 of 0-3; values outside the scale are "
            "left out. B, C: Cranfield, codes 1, 2 -> 2; 3, 4 -> 1; -1 and unjudged -> 0; the pool is the "
            "top 100 of BM25 and MiniLM and everything judged; thresholds are fitted on half of the queries "
            "and all figures are from the other half, both drawn by the seed.",
            "Intervals are bootstrapped by query. In B and C ranked documents outside the pool count as not "
            "relevant, for people and labels alike.",
        ),
        blocks=tables,
    )


def _matrix_arm(
    judge: str, gold: Mapping[tuple[str, str], int], columns: Mapping[str, Any], outside: Mapping[str, int]
) -> Arm:
    mine = {name: found for name, found in columns.items() if name.partition("#")[0] == judge}

    whole = cache(lambda: study(mine, gold, binarize=RELEVANT, resamples=0))

    def measure(seed: int) -> Measurement:
        found = whole()
        _, held_out = split_queries((qid for qid, _ in gold), 0.5, seed)
        found = with_choice(found, select(mine, gold, held_out, binarize=RELEVANT))
        rows = {row.name: row.agreement for row in found.rows}
        kappas = {n.partition("#")[2]: a.kappa.value for n, a in rows.items() if a.kappa}
        graded = [a.kappa_graded.value for a in rows.values() if a.kappa_graded]
        facts = _study_facts(found, graded) | {"left_out": sum(outside.get(name, 0) for name in mine)}
        return Measurement({"kappa": kappas}, facts)

    return Arm(judge, measure, {"judge": judge})


def _study_facts(found: PromptStudy, graded: list[float]) -> dict[str, Any]:
    choice = found.choice
    return {
        "kappa": f"{found.mean:.4f} ({found.low:.4f} to {found.high:.4f})",
        "kappa graded": f"{np.mean(graded):.4f} ({min(graded):.4f} to {max(graded):.4f})",
        "prevalence": f"{found.rows[0].agreement.prevalence_gold:.1%}",
        "median": None if found.median_kappa is None else asdict(found.median_kappa),
        "median_gain": None if found.median_gain is None else asdict(found.median_gain),
        "best": None if choice is None else choice.best,
        "worst": None if choice is None else choice.worst,
        "held_out": None if choice is None or choice.held_out is None else asdict(choice.held_out),
        "gain": None if choice is None or choice.gain is None else asdict(choice.gain),
        "alarms": [f"{r.name}: {a}" for r in found.rows for a in r.agreement.alarms],
    }


def _shuffled(
    gold: Mapping[tuple[str, str], int], columns: Mapping[str, Any], judges: list[str], seed: int
) -> Measurement:
    """The first judge's labels, dealt out anew: what agreement by chance gives."""
    generator = np.random.default_rng(seed)
    kappas = {}
    for name, found in columns.items():
        if name.partition("#")[0] == judges[0]:
            dealt = dict(zip(found, generator.permutation(list(found.values())).tolist(), strict=True))
            estimate = agreement(gold, dealt, binarize=RELEVANT, resamples=0).kappa
            assert estimate is not None
            kappas[name.partition("#")[2]] = estimate.value
    return Measurement({"kappa": kappas})


@cache
def _systems(world: Cranfield, seed: int) -> Any:
    return world.systems(seed)


def _people(world: Cranfield, seed: int) -> Measurement:
    """Mean score of every system with gold on the seed's test queries."""
    fit, _ = split_queries(world.queries, 0.5, seed)
    gold = {pair: grade for pair, grade in world.pool.items() if pair[0] not in fit}
    found = system_ranking(_systems(world, seed), gold, gold, MEASURES, unjudged="zero")
    return Measurement({r.measure: r.gold_scores for r in found})


def _labelled(world: Cranfield, scorer: Any, seed: int, sample: int) -> Measurement:
    judged = world.judge(scorer, seed, sample)
    found = agreement(judged.gold, judged.labels)
    pairs = sorted(judged.gold)
    queries, group = np.unique([qid for qid, _ in pairs], return_inverse=True)
    grades = np.array([judged.gold[p] for p in pairs])
    scores = np.array([judged.scores[p] for p in pairs])
    raw = by_query(lambda w: weighted_auc(grades, scores, w), group, len(queries))
    metrics: dict[str, dict[str, float]] = {}
    facts: dict[str, Any] = {
        "kappa": str(found.kappa),
        "kappa graded": str(found.kappa_graded),
        "AUC": str(raw),
        "MAE": str(found.mae),
        "prevalence": f"{found.prevalence_gold:.1%}",
        "agreement": {
            "kappa": None if found.kappa is None else asdict(found.kappa),
            "auc": None if raw is None else asdict(raw),
            "pairs": found.pairs,
        },
        "tau": {},
        "shifts": {},
        "lift": {},
    }
    runs = _systems(world, seed)
    for r in system_ranking(runs, judged.all_gold, judged.all_labels, MEASURES, unjudged="zero"):
        report = circularity(r, ("minilm*",))
        metrics[r.measure] = r.label_scores
        metrics[f"{r.measure} rank error"] = {s.run: float(abs(s.gain)) for s in report.shifts}
        tau = r.tau()
        facts["tau"][r.measure] = None if tau is None else asdict(tau)
        facts["shifts"][r.measure] = [asdict(s) for s in report.shifts]
        facts["lift"][r.measure] = None if report.lift is None else asdict(report.lift)
    return Measurement(metrics, facts)


def _small_model_arms(world: Cranfield, name: str, size: int, seed: int) -> list[Arm]:
    """The chat model on two scales and MiniLM, on the same pairs."""

    def preferred(scores: Any, pairs: Any, grades: Any) -> Measurement:
        """Share of the worse documents that each better one beats; weighted, their mean is the AUC."""
        values = {}
        for place, pair in enumerate(pairs):
            worse = scores[grades < grades[place]]
            if len(worse):
                won = (worse < scores[place]).mean() + (worse == scores[place]).mean() / 2
                values[f"{pair.qid}|{pair.docid}"] = float(won)
        queries, group = np.unique([p.qid for p in pairs], return_inverse=True)
        auc = by_query(lambda w: weighted_auc(grades, scores, w), group, len(queries))
        return Measurement(
            {"preferred": values}, {"AUC": str(auc), "auc": None if auc is None else asdict(auc)}
        )

    def sample() -> tuple[Any, Any]:
        drawn = stratified(world.pool, size, seed)
        pairs = world.pairs(drawn)
        return pairs, np.array([drawn[p.qid, p.docid] for p in pairs])

    def by_model(scale: int) -> Measurement:
        pairs, grades = sample()
        prompt = RelevancePrompt("-----", scale=(0, scale))
        labels = LLMLabeller(chat_model(name), prompt, "logprob", most_words=200).label(pairs)
        return preferred(np.array([one.score for one in labels]), pairs, grades)

    def by_encoder() -> Measurement:
        pairs, grades = sample()
        return preferred(world.encoder.scores(pairs), pairs, grades)

    return [
        Arm(f"{name}, 0-2", lambda s: by_model(2), {"size": size, "seed": seed}, seeded=False),
        Arm(f"{name}, yes or no", lambda s: by_model(1), {"size": size, "seed": seed}, seeded=False),
        Arm("MiniLM, the same pairs", lambda s: by_encoder(), {"size": size, "seed": seed}, seeded=False),
    ]
