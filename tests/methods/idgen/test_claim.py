import json
from dataclasses import replace

import pytest

from etude.errors import EtudeError
from etude.evidence import run_claim
from etude.methods.idgen import claim as module
from etude.methods.idgen import write_ids
from etude.methods.idgen.alternation import GeneratorTraining
from etude.methods.idgen.claim import LAPTOP, PAPER, claim
from etude.methods.idgen.claim_arms import COLD, COLD_ONLY, baseline_arm, scheme_arm
from etude.methods.idgen.claim_data import DataSet, laptop_data, paper_data
from etude.methods.idgen.recommender_training import Training
from etude.methods.idgen.sasrec import SASRecSettings

SMALL = replace(
    LAPTOP,
    training=Training(epochs=1, batch_size=16),
    sasrec=(SASRecSettings(epochs=1, width=16),),
    rounds=1,
    round_epochs=1,
    tune=GeneratorTraining(histories=6, text_tokens=8),
    taught_epochs=1,
)


@pytest.fixture
def data(tmp_path, shop):
    """Both folders of the claim; the second has a dozen items that nobody chose in training."""
    shop.write(tmp_path / "beauty_core", users=16, length=6)
    (tmp_path / "beauty_core/items.jsonl").unlink()
    names = [item["item_id"] for item in shop.items()]
    write_ids(tmp_path / "beauty_core/textual_ids.tsv", {name: f"name {name}" for name in names})
    sequences, items = shop.write(tmp_path / "industrial", users=16, length=6)
    new = [{"item_id": f"N{n:02d}", "title": f"new stove {n} for camping"} for n in range(12)]
    items.write_text(items.read_text() + "".join(json.dumps(row) + "\n" for row in new))
    rows = [json.loads(line) for line in sequences.read_text().splitlines()]
    for place, row in enumerate(rows[:6]):
        row["items"][-1] = new[place]["item_id"]
    sequences.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_claim_without_its_data_says_what_it_needs(tmp_path):
    for folder in (None, tmp_path):
        with pytest.raises(EtudeError) as error:
            claim(data=folder)
        assert "beauty_core" in error.value.hint and "textual_ids.tsv" in error.value.hint
    with pytest.raises(EtudeError, match="no data set"):
        claim(scale="paper", data=tmp_path)


def test_every_scheme_and_baseline_is_an_arm_and_the_control_is_compared(data):
    made = claim(data=data)
    names = {arm.name for arm in made.arms}
    assert {f"Beauty: {one}" for one in ("textual", "shuffled", "random", "sequential", "token")} < names
    for one in ("Beauty", "Industrial"):
        assert {f"{one}: {name}" for name in ("SASRec", "item-kNN", "popularity")} < names
    assert {"Industrial: frozen ids", "Industrial: alternating ids"} < names
    assert made.seeds == (0, 1, 2)
    compared = {(entry.arm, entry.baseline) for part in made.parts for entry in part.entries}
    assert ("Beauty: textual", "Beauty: shuffled") in compared
    assert ("Beauty: textual", "Beauty: SASRec") in compared


def test_the_paper_scale_has_the_papers_settings_and_any_folder_of_the_official_layout(tmp_path):
    folder = tmp_path / "Toys"
    folder.mkdir()
    (folder / "user_sequence.txt").write_text("u1 a b c\nu2 b c a\n")
    (folder / "item_plain_text.txt").write_text("a one thing\nb other thing\nc third thing\n")
    (found,) = paper_data(tmp_path)
    assert found.name == "Toys" and found.ids is None
    made = claim(scale="paper", data=tmp_path)
    assert any(arm.name == "Toys: alternating ids" for arm in made.arms)
    assert PAPER.backbone == "t5-small" and PAPER.rounds == 3 and PAPER.round_epochs == 10
    assert PAPER.training.batch_size == 64 and PAPER.training.learning_rate == 1e-3


def test_an_arm_measures_every_user_and_the_cold_targets(data):
    one = laptop_data(data)[1]
    found = scheme_arm(one, "textual", SMALL)(0)
    assert set(found.scores) == {"HR@10", "NDCG@10", COLD, COLD_ONLY}
    rows = [json.loads(line)["items"] for line in one.sequences.read_text().splitlines()]
    trained = {item for items in rows for item in items[:-2]}
    cold = [items[-1] for items in rows if items[-1] not in trained]
    assert len(found.scores["HR@10"]) == 16 and len(found.scores[COLD]) == len(cold) >= 6
    assert found.scores[COLD_ONLY].keys() == found.scores[COLD].keys()
    assert found.facts["beams scored"] in ("allowed", "vocabulary")
    popular = baseline_arm(one, "popularity", SMALL)(0)
    assert popular.scores["HR@10"].keys() == found.scores["HR@10"].keys()
    assert sum(popular.scores[COLD].values()) == 0  # what nobody chose is never popular


def test_few_cold_items_are_not_ranked_among_themselves(data):
    one = laptop_data(data)[0]
    assert COLD not in scheme_arm(one, "token", SMALL)(0).scores


def test_the_same_arm_and_seed_measure_the_same(data):
    one: DataSet = laptop_data(data)[0]
    first, second = (scheme_arm(one, "random", SMALL)(1) for _ in range(2))
    assert first.scores == second.scores


@pytest.mark.slow
def test_the_whole_claim_runs_and_every_part_has_a_verdict(data, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LAPTOP", SMALL)
    evidence = run_claim(claim(data=data, seeds=(0, 1)), tmp_path / "out")
    assert not any(arm.errors for arm in evidence.arms)
    assert set(evidence.verdicts) == {
        "Q1, Beauty",
        "Q1, Beauty, against one vector per item",
        "Q1, Industrial",
        "Q1, Industrial, against one vector per item",
        "Q2, Industrial",
        "Q3, Industrial",
    }
    rounds, chosen = evidence.tables
    assert len(rounds["rows"]) == 4 and rounds["rows"][0][3] == 0  # frozen ids do not change
    assert len(chosen["rows"]) == 4
