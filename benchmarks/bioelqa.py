"""bioelqa: candidates by exact n-gram search against a scipy loop and scispacy's approximate generator.

Queries are synonyms held out of the Human Phenotype Ontology, one a term; where ETUDE_TEST_DATA has them,
also the mentions of BC5CDR's development part against 29,054 MeSH names and the training mentions. Every
side runs in a process of its own, one thread. scispacy lives in an environment of its own, whose python is
named by ETUDE_SCISPACY_PYTHON (`python -m venv E; E/bin/pip install nmslib-metabrainz scikit-learn conllu
pysbd requests joblib spacy; E/bin/pip install --no-deps scispacy`); without it that side is left out.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from etude.methods.bioelqa.demo import sample
from etude.methods.bioelqa.feature_selector import FeatureSelector
from etude.methods.bioelqa.linker import BioELQA
from etude.methods.bioelqa.mentions import Preprocessing, training_cases
from etude.methods.bioelqa.normalization import normalize
from etude.methods.bioelqa.pubtator import read_pubtator
from etude.methods.bioelqa.vocabulary import Vocabulary, hold_out_synonyms

_WORKER = Path(__file__).with_name("_bioelqa_worker.py")


def measure(side: str, python: str, path: Path) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [python, str(_WORKER), side, str(path)], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{side}: {done.stderr[-800:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def compare(vocabulary: Vocabulary, pairs: list[tuple[str, str]], quick: bool) -> dict[str, Any]:
    """All sides on one vocabulary; queries are normalized and come in a fixed order."""
    table = vocabulary.names
    asked = [(normalize(m), vocabulary.place[i]) for m, i in pairs if i in vocabulary and normalize(m)]
    asked = asked[:500] if quick else asked
    job = {
        "names": table.texts,
        "owners": table.owners.tolist(),
        "queries": [mention for mention, _ in asked],
        "gold": [gold for _, gold in asked],
        "times": 1 if quick else 3,
    }
    sides = {"etude": sys.executable, "naive": sys.executable}
    if peer := os.environ.get("ETUDE_SCISPACY_PYTHON"):
        sides["scispacy"] = peer
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.json"
        path.write_text(json.dumps(job))
        found = {side: measure(side, python, path) for side, python in sides.items()}
    first = {side: one.pop("first") for side, one in found.items()}
    count = len(asked)
    rows = [
        {
            "side": side,
            "mentions a CPU second": round(count / one["cpu"]),
            "mentions a second": round(count / one["wall"]),
            "recall@1": round(one["recall@1"], 4),
            "recall@10": round(one["recall@10"], 4),
            "peak MB": round(one["peak"]),
            "MB for the index and its making": round(one["index"]),
        }
        for side, one in found.items()
    ]
    ours = found["etude"]
    same = sum(a == b for a, b in zip(first["etude"], first["naive"], strict=True))
    return {
        "names": len(table.texts),
        "mentions": count,
        "sides": rows,
        "share of mentions with the very ids of the whole product": round(same / count, 4),
        "CPU ratio to scipy and argsort (target 5)": round(found["naive"]["cpu"] / ours["cpu"], 2),
        **(
            {
                "CPU ratio to scispacy (target 2)": round(found["scispacy"]["cpu"] / ours["cpu"], 2),
                "memory of its index over ours (target 4)": round(
                    found["scispacy"]["index"] / max(1.0, ours["index"]), 1
                ),
            }
            if "scispacy" in found
            else {"scispacy": "left out: ETUDE_SCISPACY_PYTHON names no environment"}
        ),
    }


def questions_a_second(quick: bool) -> dict[str, Any]:
    """The feature selector on the packaged sample: questions answered in a CPU second."""
    vocabulary = Vocabulary.from_tsv(sample("vocabulary.tsv"))
    linker = BioELQA(selector=FeatureSelector(epochs=1)).fit(
        read_pubtator(sample("train.pubtator")), vocabulary
    )
    mentions = [f"{entity.name} {i}" for i in range(5 if quick else 25) for entity in vocabulary]
    questions = linker.questions(mentions)
    assert linker.selector is not None
    started = time.process_time()
    linker.selector.probabilities(questions)
    taken = time.process_time() - started
    return {"questions": len(questions), "questions a CPU second": round(len(questions) / taken)}


def main(*, quick: bool = False) -> dict[str, Any]:
    smaller, held_out = hold_out_synonyms(Vocabulary.from_hpo())
    found: dict[str, Any] = {"HPO, held-out synonyms": compare(smaller, list(held_out), quick)}
    root = Path(os.environ.get("ETUDE_TEST_DATA") or Path(__file__).parents[1] / "shared" / "data")
    folder = root / "bioelqa"
    if (folder / "mesh_names.tsv").is_file():
        mesh = Vocabulary.from_mesh_names(folder / "mesh_names.tsv")
        train = read_pubtator(folder / "bc5cdr_train.pubtator.txt")
        cases, _ = training_cases(train, mesh, Preprocessing(abbreviations=False, composites=False))
        mesh = mesh.with_mentions([(case.mention, case.id) for case in cases])
        test = read_pubtator(folder / "bc5cdr_dev.pubtator.txt")
        pairs = [(m.text, m.ids[0]) for document in test for m in document.mentions if len(m.ids) == 1]
        unique = list({(normalize(text), id): (text, id) for text, id in pairs}.values())
        found["MeSH names, BC5CDR mentions"] = compare(mesh, unique, quick)
    found["feature selector"] = questions_a_second(quick)
    return found
