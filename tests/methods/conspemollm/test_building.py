"""The builder: five tasks from COCO and LOCO files, doubtful labels by policy, splits without leaks."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.conspemollm import build, read_examples
from etude.methods.conspemollm.cleaning import clean, looks_foreign
from etude.methods.conspemollm.coco import category_names, read_tweets
from etude.methods.conspemollm.examples import Example
from etude.methods.conspemollm.label_policies import LabelPolicy
from etude.methods.conspemollm.loco import read_annotations, read_documents
from etude.methods.conspemollm.near_duplicates import group_texts, normal_form
from etude.methods.conspemollm.synthetic import synthetic_tweets
from etude.methods.conspemollm.tasks import TASK_NAMES, bare, task_named


def write_coco(path: Path, order: list[int] | None = None) -> Path:
    names = [bare(label) for label in task_named("theory-type").classes]
    chosen = order or list(range(12))
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["Tweet ID", "Text", *(names[at].title() for at in chosen)])
        for tweet in synthetic_tweets():
            writer.writerow([tweet.id, tweet.text, *(tweet.levels[at] for at in chosen)])
    return path


def test_all_five_tasks_are_built_from_coco_and_loco(tmp_path, loco):
    found = build(
        coco=write_coco(tmp_path / "coco.csv"), loco=loco[0], annotations=loco[1], out=tmp_path / "c"
    )
    assert set(found.examples) == set(TASK_NAMES)
    assert found.counts["document not in LOCO.json"] == 1
    rows = read_examples(tmp_path / "c")
    assert {one.source for one in rows} == {"coco", "loco"}
    assert not found.synthetic


def test_the_order_of_coco_columns_is_read_from_the_file(tmp_path):
    plain = read_tweets(write_coco(tmp_path / "a.csv"))
    turned = read_tweets(write_coco(tmp_path / "b.csv", list(reversed(range(12)))))
    assert plain == turned == synthetic_tweets()


def test_a_long_coco_file_gives_the_same_tweets(tmp_path):
    path = tmp_path / "long.csv"
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("id", "text", "category", "label"))
        for tweet in synthetic_tweets():
            for label, level in zip(task_named("theory-type").classes, tweet.levels, strict=True):
                writer.writerow((tweet.id, tweet.text, bare(label), level))
    assert read_tweets(path) == synthetic_tweets()


def test_the_intention_of_a_tweet_is_the_maximum_over_categories(tmp_path):
    build(coco=write_coco(tmp_path / "coco.csv"), out=tmp_path / "c")
    said = {one.id: one.labels[0] for one in read_examples(tmp_path / "c", "intention")}
    assert said == {tweet.id: max(tweet.levels) - 1 for tweet in synthetic_tweets()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.replace("Satanism", "Sun spots"), "no column for satanism"),
        (lambda t: t.replace(",1\n", ",4\n", 1).replace(",1\r\n", ",4\r\n", 1), "is '4'"),
        (lambda t: t + t.splitlines()[1] + "\n", "there twice"),
    ],
)
def test_a_bad_coco_file_is_refused_by_line(tmp_path, change, message):
    path = write_coco(tmp_path / "coco.csv")
    path.write_text(change(path.read_text()))
    with pytest.raises(EtudeError, match=message):
        read_tweets(path)


@pytest.mark.parametrize(
    ("policy", "label", "judgment"),
    [
        (LabelPolicy(), "Y?", None), (LabelPolicy(uncertain="lean"), "Y?", 1),
        (LabelPolicy(uncertain="lean"), "N?", 0),
        (LabelPolicy(uncertain="lean"), "?", None), (LabelPolicy(), " y ", 1), (LabelPolicy(), "N", 0),
    ],
)  # fmt: skip
def test_doubtful_judgments_follow_the_policy_and_are_counted(policy, label, judgment):
    counts: Counter[str] = Counter()
    assert policy.judgment(label, counts) == judgment
    assert sum(counts.values()) == ("?" in label)


@pytest.mark.parametrize(
    ("policy", "label", "relatedness"),
    [
        (LabelPolicy(), "C/B", None), (LabelPolicy(overlap="broad"), "C/B", 2),
        (LabelPolicy(overlap="close"), "C/B", 1),
        (LabelPolicy(), "Y", None), (LabelPolicy(yes_relatedness="close"), "Y", 1),
        (LabelPolicy(), "?", None),
        (LabelPolicy(), "", None), (LabelPolicy(), "B", 2), (LabelPolicy(), "N", 0),
    ],
)  # fmt: skip
def test_doubtful_relatedness_follows_the_policy_and_is_counted(policy, label, relatedness):
    counts: Counter[str] = Counter()
    assert policy.relatedness(label, counts) == relatedness
    assert sum(counts.values()) == (label not in ("C", "B", "N"))


def test_what_became_of_doubtful_labels_is_printed(tmp_path, loco):
    found = build(loco=loco[0], annotations=loco[1], uncertain="lean", out=tmp_path / "c")
    assert found.counts["judgment Y?: taken as conspiracy"] == 1
    assert found.counts["judgment N?: taken as non-conspiracy"] == 1
    assert found.counts["judgment ?: left out"] == 1
    assert found.counts["relatedness C/B: left out"] == found.counts["relatedness Y: left out"] == 1


def test_the_site_is_not_the_label(tmp_path, loco):
    build(
        loco=loco[0], annotations=loco[1], out=tmp_path / "c"
    )  # every document is of the conspiracy subcorpus
    assert {one.labels[0] for one in read_examples(tmp_path / "c", "judgment")} == {0, 1}


def test_a_missing_document_can_be_an_error(tmp_path, loco):
    with pytest.raises(EtudeError, match=r"lacks 1 of 25 annotated documents.*'not-there'"):
        build(loco=loco[0], annotations=loco[1], missing="error", out=tmp_path / "c")


def test_a_document_id_twice_in_loco_is_refused(loco):
    records = json.loads(loco[0].read_text())
    loco[0].write_text(json.dumps([*records, records[0]]))
    with pytest.raises(EtudeError, match="more than once"):
        read_documents(loco[0], {records[0]["doc_id"]})


def test_a_json_without_document_ids_is_refused(tmp_path):
    path = tmp_path / "LOCO.json"
    path.write_text(json.dumps([{"name": "a", "body": "b"}]))
    with pytest.raises(EtudeError, match="no doc_id"):
        read_documents(path, {"a"})


def test_the_majority_row_of_a_document_wins(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(
        "doc id,seeds,annotator,conspiracy,relatedness\n"
        "d1,corona,A,N,C\nd1,corona,Majority,Y,B\nd1,corona,B,N,N\n"
    )
    (one,) = read_annotations(path)
    assert (one.judgment, one.relatedness, one.topic) == ("Y", "B", "coronavirus")


def test_annotations_in_xlsx_are_the_same_as_in_csv(loco, tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in csv.reader(loco[1].open()):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert read_annotations(tmp_path / "a.xlsx") == read_annotations(loco[1])


def test_a_file_that_only_claims_to_be_xlsx_is_refused(tmp_path):
    pytest.importorskip("openpyxl")
    path = tmp_path / "a.xlsx"
    path.write_text("doc id,seeds\n")
    with pytest.raises(EtudeError, match=r"not a readable \.xlsx"):
        read_annotations(path)


def test_an_annotation_table_without_its_columns_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("doc id,seeds,verdict\nd1,corona,Y\n")
    with pytest.raises(EtudeError, match="no column conspiracy, relatedness"):
        read_annotations(path)


def test_a_document_judged_for_both_events_stays_in_one_group(tmp_path, loco):
    with loco[1].open("a") as handle:
        handle.write("synthetic-article-1,conspiracy,sandy.hook,2021,A,N,N\n")
    build(loco=loco[0], annotations=loco[1], uncertain="lean", out=tmp_path / "c")
    rows = [
        one
        for one in read_examples(tmp_path / "c", "judgment")
        if one.id.startswith("synthetic-article-1#") or one.id == "synthetic-article-1"
    ]
    assert len(rows) == 2 and len({one.group for one in rows}) == 1 and len({one.split for one in rows}) == 1


def jaccard(a: str, b: str) -> float:
    sets = []
    for text in (a, b):
        words = normal_form(text).split()
        sets.append({tuple(words[i : i + 3]) for i in range(len(words) - 2)})
    return len(sets[0] & sets[1]) / max(1, len(sets[0] | sets[1]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdef"), min_size=3, max_size=9), min_size=2, max_size=8))
def test_near_duplicates_are_those_of_an_exact_count(drawn):
    texts = [" ".join(words) for words in drawn]
    groups = group_texts(texts, [str(row) for row in range(len(texts))], 0.5)
    alone = list(range(len(texts)))  # union-find by brute force
    for i in range(len(texts)):
        for j in range(i):
            if normal_form(texts[i]) == normal_form(texts[j]) or jaccard(texts[i], texts[j]) >= 0.5:
                alone = [alone[j] if label == alone[i] else label for label in alone]
    for i in range(len(texts)):
        for j in range(i):
            assert (groups[i] == groups[j]) == (alone[i] == alone[j])


def test_reposts_and_category_rows_share_a_group():
    texts = [
        "RT @bob: They hide the cheap cure from all of us https://x.y",
        "They hide the cheap cure from all of us!",
        "A choir meets on Tuesday in the old hall",
        "Another row of the same tweet",
    ]
    groups = group_texts(texts, ["1", "2", "3", "3"])
    assert groups[0] == groups[1] and groups[2] == groups[3] and groups[0] != groups[2]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_no_group_straddles_splits(seed, dev, test):
    from etude.methods.conspemollm.synthetic import synthetic_builder

    rows = synthetic_builder().examples(dev=dev, test=test, seed=seed)
    splits: dict[int, set[str]] = {}
    for one in rows:
        splits.setdefault(one.group, set()).add(one.split)
    assert all(len(found) == 1 for found in splits.values())


def test_the_release_and_its_trainer_are_read_like_our_own_rows(tmp_path):
    statement = task_named("intention").statement()
    text, answer = "They hide the cure.", "2. Conspiracy (related and supporting)"
    whole = f"{statement}\nText: {text}\nClass:"
    rows = [
        {"id": "a", "task": "intention", "instruction": statement, "input": text, "output": answer},
        {"id": "b", "instruction": whole, "input": "", "output": answer},
        {"id": "c", "conversations": [{"from": "human", "value": f"Human: \n{whole}\n\nAssistant: \n"},
                                      {"from": "gpt", "value": answer}]},
    ]  # fmt: skip
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = read_examples(path)
    assert [one.task for one in read] == ["intention"] * 3
    assert {one.input for one in read} == {text} and {one.labels for one in read} == {(2,)}
    assert len({one.instruction for one in read}) == 1 and len({one.group for one in read}) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"output": "3. maybe"}, "no class of judgment"),
        ({"input": "  "}, "text is empty"),
        ({"task": "mood"}, "expected one of"),
    ],
)
def test_a_bad_example_is_named_by_line_and_field(tmp_path, row, message):
    good = {
        "id": "a",
        "task": "judgment",
        "instruction": "Decide.",
        "input": "x y",
        "output": "1. conspiracy",
    }
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(good) + "\n" + json.dumps({**good, "id": "b", **row}) + "\n")
    with pytest.raises(EtudeError, match=f"rows.jsonl:2.*{message}"):
        read_examples(path)


def test_an_id_twice_within_a_task_is_refused(tmp_path):
    row = {"id": "a", "task": "judgment", "instruction": "D.", "input": "x", "output": "1. conspiracy"}
    path = tmp_path / "rows.jsonl"
    path.write_text((json.dumps(row) + "\n") * 2)
    with pytest.raises(EtudeError, match="there twice"):
        read_examples(path)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TASK_NAMES), st.data())
def test_what_a_task_writes_it_reads(name, data):
    task = task_named(name)
    numbers = st.sets(
        st.integers(0, len(task.classes) - 1),
        min_size=0 if task.multi_label else 1,
        max_size=4 if task.multi_label else 1,
    )
    chosen = tuple(sorted(data.draw(numbers)))
    assert task.read(task.answer(chosen)) == chosen


@pytest.mark.parametrize(
    ("said", "labels"),
    [
        ("1", (1,)), ("1.", (1,)), ("conspiracy", (1,)), ('"1. conspiracy"', (1,)),
        ("**0. non-conspiracy**", (0,)),
        ("0. conspiracy", None), ("2", None), ("I think it is a conspiracy", None), ("", None),
        ("maybe", None),
    ],
)  # fmt: skip
def test_an_answer_that_names_no_class_is_none_of_them(said, labels):
    assert task_named("judgment").read(said) == labels


def test_lists_of_theories_are_read_and_none_is_a_list_without_any():
    task = task_named("theory-type")
    assert task.read("none") == () and task.read("4; 10") == (4, 10)
    assert task.read("2. anti-vaccination, 10. other conspiracy theory") == (2, 10)
    assert task.read("2; unicorns") is None


def test_texts_are_cleaned_and_counted():
    counts: Counter[str] = Counter()
    assert clean("<p>They &amp; <b>us</b></p>\x07 now", counts) == "They & us now"
    assert clean("a < b and c > d", counts) == "a < b and c > d"
    assert clean(" \x00 ", counts) == ""
    assert clean(
        "Die Regierung hat uns alle jahrelang belogen und niemand hat etwas davon gemerkt oder gesagt", counts
    )
    assert dict(counts) == {"html": 1, "control characters": 2, "empty": 1, "not English": 1}
    assert not looks_foreign(
        "It was the best of times and it was the worst of times for all of us"
    ) and looks_foreign("правда о прививках")


def test_synthetic_goes_alone_and_loco_needs_both_files(tmp_path, loco):
    with pytest.raises(EtudeError, match="goes alone"):
        build(synthetic=True, loco=loco[0], annotations=loco[1], out=tmp_path / "c")
    with pytest.raises(EtudeError, match="both"):
        build(loco=loco[0], out=tmp_path / "c")
    with pytest.raises(EtudeError, match="no example"):
        build(out=tmp_path / "c")


def test_a_released_row_without_a_task_name_is_recognized_by_its_classes():
    asked = "Which is it: 0. not related, 1. closely related, 2. broadly related?"
    instruction = f"{asked}\nText: They hide it.\nClass:"
    row = Example.model_validate({"id": "a", "instruction": instruction, "output": "1. closely related"})
    assert (row.task, row.input) == ("relatedness", "They hide it.")
    assert category_names()[0] == "suppressedcures"
