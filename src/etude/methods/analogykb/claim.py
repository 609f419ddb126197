"""The claim: a scorer trained on mined analogies is better, because of the graph's relations.

The main test is the trained scorer against the same one trained on questions whose relation labels were
dealt out anew: same pairs, same words, same network, no relations. The untrained scorer is the other
baseline. Where training loses (Google's capitals and inflections are not in the graph) the loss is printed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.evidence import Arm, Claim, Comparison, Evidence, Measurement, Part, Scale
from etude.methods.analogykb.analogy_questions import AnalogyQuestion, read_questions
from etude.methods.analogykb.grouped_accuracy import answers
from etude.methods.analogykb.knowledge_base import AnalogyKB
from etude.methods.analogykb.pair_scorer import PairScorer, default_recipe
from etude.methods.analogykb.question_sets import make_questions
from etude.methods.analogykb.scorers import CosineScorer, ScorerKind
from etude.models import model_origin
from etude.render import Block, TableBlock
from etude.runs import file_hash

TRIPLES = "triples.parquet"
TESTS = {"Google": "google_a.jsonl", "BATS": "bats_a.jsonl"}
UNUSED = ("google_valid.jsonl", "bats_valid.jsonl")  # not scored, and not trained on either
FAMILIES = {
    "lexicographic": "BATS: L",
    "encyclopedic": "BATS: E",
    "inflection": "BATS: I",
    "derivation": "BATS: D",
    "Google": "Google: ",
}
"""Part of the claim to the beginning of its units' names."""

TRAINED, CONTROL, UNTRAINED, CHANCE = "trained", "shuffled relations", "untrained", "chance"


@dataclass(frozen=True)
class Budget:
    """Everything of the claim that a scale may change.

    Args:
        questions: Training questions.
        kind: The scorer.
        encoder: Its model, if none is asked for.
        curve: Smaller training sets.
        presets: Whether the negative presets are run.
        per_relation: Pairs of a relation to draw from.
    """

    questions: int = 6000
    kind: ScorerKind = "features"
    encoder: str = "minilm"
    curve: tuple[int, ...] = (50, 200, 1000)
    presets: bool = True
    per_relation: int = 20_000


BUDGETS: dict[Scale, Budget] = {
    "laptop": Budget(),
    "slow": Budget(kind="encoder", curve=(), presets=False),
    "paper": Budget(
        questions=1_000_000, kind="encoder", encoder="microsoft/deberta-v3-large",
        curve=(1000, 10_000, 100_000), presets=False,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Training:
    """What one arm trains on, and what.

    Args:
        n: Questions.
        kind: The scorer.
        sets: Options of `make_questions`.
    """

    n: int
    kind: ScorerKind
    sets: Mapping[str, Any] = field(default_factory=dict)


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """The claim on Google's and BATS's questions.

    Args:
        scale: `laptop`: frozen MiniLM vectors, 14 similarities, 257 weights, 6,000 questions; `slow`: MiniLM
            fine-tuned; `paper`: DeBERTa-v3-large on a million questions.
        data: Folder with the triples and the four question files.
        seeds: Of questions, relabelling and weights; five by default, for method and control alike.
        model: Another encoder.

    Raises:
        EtudeError: Without the data.
    """
    return claim_on(BUDGETS[scale], scale=scale, data=data, seeds=seeds or (0, 1, 2, 3, 4), model=model)


def claim_on(
    budget: Budget, *, scale: str, data: Path | None, seeds: tuple[int, ...], model: str | None = None
) -> Claim:
    """The claim on any budget."""
    needed = (TRIPLES, *TESTS.values(), *UNUSED)
    missing = list(needed) if data is None else [name for name in needed if not (data / name).is_file()]
    if data is None or missing:
        raise EtudeError(
            f"{'no --data folder' if data is None else data}: this claim needs {', '.join(missing)}",
            "Triples (rel, head, tail, source) and analogy questions (stem, choice, answer, group), "
            "e.g. ConceptNet "
            "and relbert/analogy_questions from the hub.",
        )
    encoder = model or budget.encoder
    trained = {TRAINED: Training(budget.questions, budget.kind)}
    trained[CONTROL] = Training(budget.questions, budget.kind, {"shuffle": True})
    trained["ConceptNet only"] = Training(budget.questions, budget.kind, {"sources": ["conceptnet"]})
    trained |= {f"trained, n = {n:,}": Training(n, budget.kind) for n in budget.curve}
    if budget.presets:
        trained["preset: nearest negatives"] = Training(
            budget.questions, budget.kind, {"negatives": "nearest"}
        )
        trained["preset: contrastive relation encoder"] = Training(budget.questions, "contrastive")
        trained["preset: the same, residual"] = Training(budget.questions, "residual")
    arms = [
        Arm(CHANCE, lambda seed: _chance(data), seeded=False),
        Arm(UNTRAINED, lambda seed: _untrained(data, encoder), seeded=False),
        *(_arm(name, training, data, encoder, budget.per_relation) for name, training in trained.items()),
    ]
    origin = model_origin(encoder)
    return Claim(
        name="analogykb",
        statement="A model trained on mined analogies recognizes analogies better, "
        "because of the graph's relations.",
        arms=arms,
        parts=[_part(name, prefix) for name, prefix in FAMILIES.items()],
        metrics={"accuracy": "higher"},
        seeds=seeds,
        config={
            "scale": scale, "encoder": origin, "budget": asdict(budget),
            "files": {name: file_hash(data / name) for name in needed},
        },
        columns=("questions", "relations", "removed"),
        notes=(
            "The main test is part lexicographic, trained - shuffled relations: these are the "
            "relations that the "
            "graph has. Both comparisons of a part must hold.",
            "removed: pairs of the graph that are in one of the tests, in either order; none is trained on.",
            f"Encoder: {encoder}, {origin['precision']} ({origin['source']}). Nothing was chosen by "
            f"these questions.",
            "A part whose verdict is `fails` is one where training loses: a finding, not an error.",
            "The presets are negatives: similarity as the mark of wrong choices, and relation "
            "encoders that learn "
            "their training pairs.",
        ),
        blocks=_blocks,
    )  # fmt: skip


def _part(name: str, prefix: str) -> Part:
    def mine(unit: str) -> bool:
        return unit.startswith(prefix)

    where = "Google's test" if name == "Google" else f"BATS, {name}"
    return Part(
        name,
        f"{where}: the trained scorer beats the one without relations, and the untrained one",
        tuple(
            Comparison(
                "accuracy", TRAINED, baseline, "higher", units=mine, statement=f"{TRAINED} - {baseline}"
            )
            for baseline in (CONTROL, UNTRAINED)
        ),
    )


@cache
def _knowledge_base(triples: Path, per_relation: int) -> AnalogyKB:
    scratch = tempfile.TemporaryDirectory(prefix="etude-claim-")
    kb = AnalogyKB.mine(triples, out=Path(scratch.name) / "kb", per_relation=per_relation, min_degree=1)
    kb._scratch = scratch  # lives as long as the process needs it
    return kb


@cache
def _tests(data: Path) -> tuple[tuple[str, AnalogyQuestion], ...]:
    """Unit to question, e.g. `BATS: L01 [hypernyms - animals] #0007`."""
    return tuple(
        (f"{test}: {question.group} #{i:04}", question)
        for test, file in TESTS.items()
        for i, question in enumerate(read_questions(data / file))
    )


def _scored(data: Path, chosen: Sequence[int]) -> dict[str, dict[str, float]]:
    tests = _tests(data)
    return {
        "accuracy": {unit: float(answer == q.answer) for (unit, q), answer in zip(tests, chosen, strict=True)}
    }


def _chance(data: Path) -> Measurement:
    return Measurement({"accuracy": {unit: 1 / len(q.choice) for unit, q in _tests(data)}})


def _untrained(data: Path, encoder: str) -> Measurement:
    return Measurement(_scored(data, answers(CosineScorer(encoder), [q for _, q in _tests(data)])))


def _arm(name: str, training: Training, data: Path, encoder: str, per_relation: int) -> Arm:
    def run(seed: int) -> Measurement:
        made = make_questions(
            _knowledge_base(data / TRIPLES, per_relation), training.n, split="all", common=encoder,
            min_pairs=10,
            exclude=[data / file for file in (*TESTS.values(), *UNUSED)], encoder=encoder, seed=seed,
            **training.sets,
        )  # fmt: skip
        scorer = PairScorer(encoder, kind=training.kind)
        scorer.fit(made.questions, recipe=default_recipe(training.kind, seed))
        chosen = answers(scorer.scorer, [q for _, q in _tests(data)])
        facts = {
            "questions": training.n,
            "relations": made.relations,
            "removed": made.removed,
            "pairs": made.eligible,
        }
        return Measurement(_scored(data, chosen), facts)

    return Arm(name, run, config=asdict(training))


def _blocks(evidence: Evidence) -> list[Block]:
    """Every arm's accuracy by family and by group."""

    def mean(arm: str, keep: Callable[[str], bool]) -> float | None:
        result = evidence.arm(arm)
        units = [unit for unit in result.units("accuracy") if keep(unit)]
        if not units:
            return None
        return float(np.mean([result.values("accuracy", units, seed).mean() for seed in result.measurements]))

    names = [arm.name for arm in evidence.arms]
    families = [
        (name, *(mean(name, lambda unit, p=prefix: unit.startswith(p)) for prefix in FAMILIES.values()))  # type: ignore[misc]
        for name in names
    ]
    units = evidence.arms[0].units("accuracy")
    groups = sorted({unit.rpartition(" #")[0] for unit in units})
    shown = [name for name in (UNTRAINED, CONTROL, TRAINED) if name in names]
    rows = [
        (
            group, sum(unit.rpartition(" #")[0] == group for unit in units),
            *(mean(name, lambda unit, g=group: unit.rpartition(" #")[0] == g) for name in shown),  # type: ignore[misc]
        )
        for group in groups
    ]  # fmt: skip
    return [
        TableBlock(("arm", *FAMILIES), families, "Accuracy by family, mean over seeds"),
        TableBlock(("group", "questions", *shown), rows, "Accuracy by group, mean over seeds"),
    ]
