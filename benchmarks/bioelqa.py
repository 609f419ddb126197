"""bioelqa: candidates by exact n-gram search against a scipy loop and scispacy's approximate generator.

Queries are synonyms held out of the Human Phenotype Ontology, one a term; where ETUDE_TEST_DATA has them,
also the mentions of BC5CDR's development part against 29,054 MeSH names and the training mentions. Every
side runs in a process of its own, one thread, and they search in turn.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks._comparison import Comparison, Figure, Missing, Worker, in_turn, ratios
from benchmarks._peers import SCISPACY, SKLEARN
from etude.methods.bioelqa.demo import sample
from etude.methods.bioelqa.feature_selector import FeatureSelector
from etude.methods.bioelqa.linker import BioELQA
from etude.methods.bioelqa.mentions import Preprocessing, training_cases
from etude.methods.bioelqa.normalization import normalize
from etude.methods.bioelqa.pubtator import read_pubtator
from etude.methods.bioelqa.vocabulary import Vocabulary, hold_out_synonyms

PEERS = (SKLEARN, SCISPACY)
_MISSED = (
    "Ours is exact, and finds more of the true ids among ten; scispacy's graph search skips postings. The"
    " product alone takes 0.3 ms a mention on HPO (187,000 postings), near what one core can add up."
)
_MEMORY = (
    "The vectors themselves take 21 MB on HPO (2.8 million n-grams of names), and scikit-learn's counting"
    " some 50 MB for a moment; a quarter of scispacy's is less than the exact vectors need."
)
_WORKER = Path(__file__).with_name("_bioelqa_worker.py")


def compare(
    name: str, vocabulary: Vocabulary, pairs: list[tuple[str, str]], queries: int | None, repetitions: int
) -> tuple[list[Figure], dict[str, Any]]:
    """All sides on one vocabulary; queries are normalized and come in a fixed order."""
    table = vocabulary.names
    asked = [(normalize(m), vocabulary.place[i]) for m, i in pairs if i in vocabulary and normalize(m)]
    asked = asked[:queries]
    job = {
        "names": table.texts,
        "owners": table.owners.tolist(),
        "queries": [mention for mention, _ in asked],
        "gold": [gold for _, gold in asked],
    }
    sides = {"etude": sys.executable, "naive": sys.executable}
    if peer := SCISPACY.python():
        sides["scispacy"] = peer
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    rounds: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        path.write_text(json.dumps(job))
        workers = {
            side: Worker([python, str(_WORKER), side, str(path)], environment=environment, cwd=_WORKER.parent)
            for side, python in sides.items()
        }
        for _ in range(repetitions):
            for side, worker in workers.items():
                rounds[side].append(worker.round())
        for worker in workers.values():
            worker.close()
    cpu = {side: [one["cpu"] for one in many] for side, many in rounds.items()}
    last = {side: many[-1] for side, many in rounds.items()}
    index = {side: worker.ready["index"] for side, worker in workers.items()}
    work = f"ten candidates for {len(asked):,} mentions among {len(table.texts):,} names ({name})"
    loop = ratios(cpu["naive"], cpu["etude"])
    figures = [Figure(work, "a scipy product and argsort", "processor seconds", loop, 5)]
    if "scispacy" in sides:
        speed, memory = ratios(cpu["scispacy"], cpu["etude"]), index["scispacy"] / max(1.0, index["etude"])
        figures += [
            Figure(work, "scispacy", "processor seconds", speed, 2, if_missed=_MISSED),
            Figure(work, "scispacy", "MB that its index adds", (memory,), 4, if_missed=_MEMORY),
            Figure(work, "scispacy", "recall@10, ours less its own",
                   (last["etude"]["recall@10"] - last["scispacy"]["recall@10"],), 0, "points"),
        ]  # fmt: skip
    same = sum(a == b for a, b in zip(last["etude"]["first"], last["naive"]["first"], strict=True))
    rows = [
        {
            "side": side,
            "mentions a CPU second": round(len(asked) / statistics.median(cpu[side])),
            "recall@1": round(one["recall@1"], 4),
            "recall@10": round(one["recall@10"], 4),
            "peak MB": round(one["peak"]),
            "MB for the index and its making": round(index[side]),
        }
        for side, one in last.items()
    ]
    share = round(same / len(asked), 4)
    return figures, {"sides": rows, "share of mentions with the very ids of the whole product": share}


def questions_a_second(repetitions: int) -> dict[str, Any]:
    """The feature selector on the packaged sample: questions answered in a CPU second."""
    vocabulary = Vocabulary.from_tsv(sample("vocabulary.tsv"))
    linker = BioELQA(selector=FeatureSelector(epochs=1)).fit(
        read_pubtator(sample("train.pubtator")), vocabulary
    )
    questions = linker.questions([f"{entity.name} {i}" for i in range(25) for entity in vocabulary])
    assert linker.selector is not None
    taken = in_turn({"": lambda: linker.selector.probabilities(questions)}, repetitions)[""]  # type: ignore[union-attr]
    return {"questions": len(questions), "a CPU second": round(len(questions) / statistics.median(taken))}


def main(*, full: bool, repetitions: int) -> Comparison:
    """Candidates, and questions of the feature selector; by default for 1,000 mentions of each set."""
    queries = None if full else 1000
    smaller, held_out = hold_out_synonyms(Vocabulary.from_hpo())
    cases = {"HPO, held-out synonyms": (smaller, list(held_out))}
    root = Path(os.environ.get("ETUDE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
    folder = root / "bioelqa"
    if (folder / "mesh_names.tsv").is_file():
        mesh = Vocabulary.from_mesh_names(folder / "mesh_names.tsv")
        train = read_pubtator(folder / "bc5cdr_train.pubtator.txt")
        found, _ = training_cases(train, mesh, Preprocessing(abbreviations=False, composites=False))
        mesh = mesh.with_mentions([(case.mention, case.id) for case in found])
        test = read_pubtator(folder / "bc5cdr_dev.pubtator.txt")
        pairs = [(m.text, m.ids[0]) for document in test for m in document.mentions if len(m.ids) == 1]
        unique = list({(normalize(text), id): (text, id) for text, id in pairs}.values())
        cases["MeSH, BC5CDR mentions"] = (mesh, unique)
    figures, details = list[Figure](), dict[str, Any]()
    for name, (vocabulary, wanted) in cases.items():
        more, details[name] = compare(name, vocabulary, wanted, queries, repetitions)
        figures += more
    details["feature selector"] = questions_a_second(repetitions)
    missing = [] if SCISPACY.python() else [Missing("candidates for mentions", SCISPACY)]
    return Comparison(figures, missing, details)
