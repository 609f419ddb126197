"""The claim's code on a small part of the data: every arm measures, every part is settled."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.evidence import run_claim
from etude.methods.relevance import claim as claims
from etude.methods.relevance.claim import claim
from etude.methods.relevance.cranfield import FILES, GRADES, Cranfield, RandomScorer
from etude.methods.relevance.score_labellers import EncoderScorer


class LengthScorer(EncoderScorer):
    """Vectors from a text's words, so that no model is loaded."""

    def vectors(self, texts):
        found = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                found[row, sum(word.encode()) % 64] += 1
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def part(shared_data, tmp_path) -> Path:
    """Twelve queries with their judged documents and 100 more, and a third of the matrix's columns."""
    source = shared_data("relevance")
    qrels = [line.split() for line in (source / "cranfield.qrels").read_text().splitlines()]
    qrels = [fields for fields in qrels if int(fields[0]) <= 12]
    judged = {fields[2] for fields in qrels}
    docs = [json.loads(line) for line in (source / FILES[0]).read_text().splitlines()]
    kept = [d for d in docs if d["docid"] in judged] + [d for d in docs if d["docid"] not in judged][:100]
    (tmp_path / FILES[0]).write_text("".join(json.dumps(d) + "\n" for d in kept))
    (tmp_path / FILES[1]).write_text((source / FILES[1]).read_text())
    (tmp_path / FILES[2]).write_text("\n".join(" ".join(fields) for fields in qrels) + "\n")
    with open(source / FILES[3]) as handle, open(tmp_path / FILES[3], "w") as target:
        writer = csv.writer(target)
        for row in csv.reader(handle):
            writer.writerow([*row[:3], *row[3::9]])
    return tmp_path


def test_the_claim_without_its_data_says_what_it_needs(tmp_path):
    with pytest.raises(EtudeError, match="needs data"):
        claim()
    with pytest.raises(EtudeError, match=r"cranfield_docs\.jsonl"):
        claim(data=tmp_path)


def test_the_pool_the_split_and_the_systems_are_what_they_should_be(part, monkeypatch, tmp_path):
    pytest.importorskip("bm25s")
    world = Cranfield(part)
    monkeypatch.setattr(Cranfield, "encoder", LengthScorer())
    assert set(world.gold.values()) <= set(GRADES.values())
    assert set(world.gold) <= set(world.pool)
    judged = world.judge(RandomScorer(0), 0, 90)
    fit = set(world.queries) - {q for q, _ in judged.all_gold}
    assert len(fit) == 6 and not fit & {q for q, _ in judged.labels}
    runs = world.systems(0)
    assert len(runs) == 28 and len({run.name for run in runs}) == 28
    assert world.systems(1)[-1].scores != runs[-1].scores and world.systems(1)[0].scores == runs[0].scores


@pytest.mark.slow
def test_every_arm_measures_and_every_part_is_settled(part, monkeypatch, tmp_path):
    pytest.importorskip("bm25s")
    monkeypatch.setitem(claims.SCALES, "laptop", claims.Setting(90, 6, (0, 1)))
    found = run_claim(claim(data=part), tmp_path / "claim")
    assert not any(arm.errors for arm in found.arms)
    assert set(found.verdicts) == {"A", "B", "C", "D"}
    assert set(found.verdicts.values()) <= {"holds", "fails", "not shown"}
    [taus] = [t for t in found.tables if "tau" in t["caption"]]
    assert {row[0] for row in taus["rows"]} == {
        "MiniLM labels",
        "BM25 labels",
        "both summed",
        "random labels",
    }
