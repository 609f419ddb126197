"""Observations, prompts, targets and the check itself."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from etude.errors import EtudeError
from etude.methods.self_explanations.mctest import read_mctest
from etude.methods.self_explanations.observations import Observation
from etude.methods.self_explanations.samples import PLACES, babi_world, snippets
from etude.methods.self_explanations.sources import read_observations
from etude.methods.self_explanations.tasks import Custom, Entailment, MultiChoice, Sentiment, task_named
from etude.methods.self_explanations.variants import (
    KINDS,
    MASKS,
    PERSONAS,
    TARGETS,
    Variant,
    grid,
    one_or_more,
)
from etude.methods.self_explanations.wordings import read_prompt, wording_hash

SENTIMENT = Observation("1", "A dull film.", "negative")
CHOICE = Observation(
    "1", "Mary went to the office.", "office", "Where is Mary?", ("garden", "kitchen", "office")
)
ENTAILED = Observation("1", "Ann sold a car.", "yes", hypothesis="A car was sold.")


def test_targets_are_the_other_polarity_the_other_answer_and_the_next_option():
    assert Sentiment().target(SENTIMENT, "negative") == "positive"
    assert Entailment().target(ENTAILED, "yes") == "no"
    assert MultiChoice().target(CHOICE, "office") == "garden"
    assert MultiChoice().target(CHOICE, "garden") == "kitchen"


@pytest.mark.parametrize(
    ("task", "observation", "variant", "basis", "faithful"),
    [
        (Sentiment(), SENTIMENT, Variant("counterfactual"), "negative", {"positive"}),
        (Sentiment(), SENTIMENT, Variant("counterfactual", target="implicit"), "negative", {"positive"}),
        (Sentiment(), SENTIMENT, Variant("attribution"), "negative", {"unknown", "neutral"}),
        (Sentiment(), SENTIMENT, Variant("redaction"), "negative", {"unknown", "neutral"}),
        (MultiChoice(), CHOICE, Variant("counterfactual"), "office", {"garden"}),
        (
            MultiChoice(),
            CHOICE,
            Variant("counterfactual", target="implicit"),
            "office",
            {"garden", "kitchen"},
        ),
        (MultiChoice(), CHOICE, Variant("redaction"), "office", {"unknown"}),
        (Entailment(), ENTAILED, Variant("counterfactual"), "yes", {"no"}),
        (Entailment(), ENTAILED, Variant("attribution"), "yes", {"unknown"}),
    ],
)
def test_only_the_predicted_answer_is_faithful(task, observation, variant, basis, faithful):
    answers = {*task.options(observation), "unknown", "neutral"}
    assert {a for a in answers if task.is_faithful(observation, variant, basis, a)} == faithful


def test_every_variant_asks_differently_and_ends_with_the_paragraph():
    prompts = set()
    for kind, persona, mask, target in itertools.product(KINDS, PERSONAS, MASKS, TARGETS):
        variant = Variant(kind, persona, mask, target)
        classify = Sentiment().classify_prompt(SENTIMENT, variant)
        assert mask in classify
        assert '"unknown"' in classify
        assert ("redacted" if mask == "[REDACTED]" else "removed") in classify
        asked = Sentiment().explain_prompt(SENTIMENT, variant, "negative")
        for prompt in (classify, asked):
            assert read_prompt(prompt).paragraph == SENTIMENT.text
        assert read_prompt(asked).asks == kind
        assert read_prompt(classify).asks == "classify"
        prompts.add(asked)
    counterfactuals = 3 * 2  # personas x targets; the mask does not show in them
    attributions, redactions = 3, 3 * 2
    assert len(prompts) == counterfactuals + attributions + redactions


def test_the_first_and_the_third_chat_use_the_same_prompt_with_the_mask_remark():
    for task, observation in ((Sentiment(), SENTIMENT), (MultiChoice(), CHOICE), (Entailment(), ENTAILED)):
        first = task.classify_prompt(observation, Variant("redaction"))
        third = task.classify_prompt(observation, Variant("redaction"), "[REDACTED] film.")
        assert read_prompt(first).instruction == read_prompt(third).instruction
        assert "marked with [REDACTED]" in first
        assert "marked" not in task.classify_prompt(observation, Variant("redaction", mask_remark=False))


def test_the_target_is_named_only_where_it_shall_be():
    explicit = MultiChoice().explain_prompt(CHOICE, Variant("counterfactual"), "office")
    implicit = MultiChoice().explain_prompt(CHOICE, Variant("counterfactual", target="implicit"), "office")
    assert '"garden"' in explicit
    assert "garden" not in implicit
    assert "different from what it is now" in implicit
    opposite = Sentiment().explain_prompt(SENTIMENT, Variant("counterfactual", target="implicit"), "negative")
    assert "the opposite of what it is now" in opposite


def test_the_wording_is_versioned_by_a_hash_that_changes_with_any_template(monkeypatch):
    from etude.methods.self_explanations import wordings

    before = wording_hash()
    monkeypatch.setattr(wordings, "_FEW_EDITS", " Be brief.")
    assert wording_hash() != before


def test_a_grid_repeats_nothing_that_makes_no_difference():
    variants = grid(KINDS, PERSONAS, MASKS, TARGETS, short=True)
    assert len(variants) == len(set(variants)) == 3 * 2 * (2 + 1 + 1)
    assert {v.kind for v in variants if v.short} == {"redaction"}
    with pytest.raises(EtudeError, match="'selfish' is not known"):
        one_or_more("--explain", "redaction,selfish", KINDS)
    with pytest.raises(EtudeError, match="names nothing"):
        one_or_more("--explain", " , ", KINDS)


def test_the_world_of_babi_answers_with_the_last_place_a_person_went_to():
    world = babi_world(200, seed=3)
    assert len({o.id for o in world}) == 200
    for observation in world:
        assert observation.choices == PLACES == tuple(sorted(PLACES))
        person = observation.question.removeprefix("Where is ").rstrip("?")
        moves = [s for s in observation.text.split(". ") if s.startswith(person)]
        assert moves[-1].rstrip(".").split()[-1] == observation.label
    assert world == babi_world(200, seed=3)
    assert world != babi_world(200, seed=4)
    assert len({o.text.count(".") for o in world}) == 5  # stories grow two sentences at a time


def test_snippets_are_reproducible_and_balanced():
    made = snippets(400, seed=1)
    assert made == snippets(400, seed=1)
    assert 150 < sum(o.label == "positive" for o in made) < 250


def write(path: Path, *rows: dict) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    ("task", "row", "problem"),
    [
        ("sentiment", {"id": 1, "text": "x", "label": "meh"}, "r.jsonl:1: label.*not in the option set"),
        ("sentiment", {"id": 1, "text": "  ", "label": "positive"}, "1: text.*not be empty"),
        ("sentiment", {"text": "x", "label": "positive"}, "r.jsonl:1: id"),
        ("entailment", {"id": 1, "paragraph": "x", "hypothesis": "", "label": "no"}, "hypothesis.*empty"),
        ("entailment", {"id": 1, "paragraph": "x", "hypothesis": "y", "label": "meh"}, "option set yes, no"),
        ("multiple-choice", {"choices": ["a", "b"], "label": "c"}, "'c' is none of the choices"),
        ("multiple-choice", {"choices": ["a", "Unknown"], "label": "a"}, "cannot tell"),
        ("multiple-choice", {"choices": ["a", "A "], "label": "a"}, "two of them are the same"),
        ("multiple-choice", {"choices": ["a"], "label": "a"}, "2 to 25"),
        ("multiple-choice", {"choices": [f"c{i}" for i in range(26)], "label": "c1"}, "26 of them"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_file_line_and_field(tmp_path, task, row, problem):
    if task == "multiple-choice":
        row = {"id": 1, "paragraph": "p", "question": "q?", **row}
    with pytest.raises(EtudeError, match=problem):
        read_observations(write(tmp_path / "r.jsonl", row), task_named(task))


def test_duplicate_ids_and_empty_files_are_refused(tmp_path):
    rows = [{"id": i, "text": "x", "label": "positive"} for i in ("a", "b", "a")]
    with pytest.raises(EtudeError, match=r"id 'a' stands in rows 1 and 3"):
        read_observations(write(tmp_path / "d.jsonl", *rows), Sentiment())
    with pytest.raises(EtudeError, match="no rows"):
        read_observations(write(tmp_path / "e.jsonl"), Sentiment())
    with pytest.raises(EtudeError, match="--limit 0"):
        read_observations(write(tmp_path / "f.jsonl", *rows), Sentiment(), limit=0)


def test_custom_labels_must_be_told_apart_and_belong_to_a_custom_task():
    for labels in ((), ("one",), ("a", "A"), ("a", "unknown")):
        with pytest.raises(EtudeError, match="cannot be told apart"):
            Custom(labels, "Which?")
    with pytest.raises(EtudeError, match="needs a question"):
        Custom(("a", "b"), " ")
    with pytest.raises(EtudeError, match="for --task custom"):
        task_named("sentiment", labels="a,b")


def test_a_source_of_another_task_is_refused(tmp_path):
    with pytest.raises(EtudeError, match="babi-1 is for --task multiple-choice"):
        read_observations("babi-1", Sentiment())


def test_mctest_is_read_from_its_own_files(tmp_path, shared_data):
    path = shared_data("self-explanations") / "mctest" / "mc160.dev.tsv"
    found = read_observations(str(path), MultiChoice())
    assert len(found) == 30 * 4
    assert found[0].question == "Who was having a birthday?"
    assert found[0].label == "Jessie Bear"
    assert "\n" in found[0].text and "newline" not in found[0].text
    assert all(o.label in o.choices and len(o.choices) == 4 for o in found)


def test_a_broken_mctest_file_is_named_by_line(tmp_path):
    (tmp_path / "x.tsv").write_text("id\tproperties\tstory\n")
    with pytest.raises(EtudeError, match=r"no x\.ans"):
        read_mctest(tmp_path / "x.tsv")
    (tmp_path / "x.ans").write_text("A\tB\tC\tD\n")
    with pytest.raises(EtudeError, match=r"x.tsv:1: 3 columns"):
        read_mctest(tmp_path / "x.tsv")
    (tmp_path / "x.ans").write_text("A\tB\tC\tD\nA\tB\tC\tD\n")
    with pytest.raises(EtudeError, match="1 stories, 2 lines"):
        read_mctest(tmp_path / "x.tsv")


def test_the_shipped_sets_are_read(shared_data):
    folder = shared_data("self-explanations")
    for file, task, count in (
        ("sentence_polarity.jsonl", Sentiment(), 1000),
        ("movie_reviews.jsonl", Sentiment(), 300),
        ("rte3_dev.jsonl", Entailment(), 800),
    ):
        assert len(read_observations(str(folder / file), task)) == count
