"""Question sets: nothing true among wrong choices, nothing of a test, no word of the stem, even places."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.methods.analogykb import AnalogyKB, mine, questions, read_questions
from etude.methods.analogykb.kb_files import RELATION_PAIRS, write_relation_pairs
from etude.methods.analogykb.prompted import question_prompt
from etude.methods.analogykb.question_sets import eligible_pairs, make_items, make_questions

from .conftest import TRIPLES, write_tsv


def relation_pair(a, b, accepted):
    return {"rel_a": a, "rel_b": b, "meta": "m", "llm_votes": 2, "symmetric": True, "accepted": accepted,
            "reviewer": "x", "note": ""}  # fmt: skip


def many_to_many(tmp_path, extra=()):
    """Two relations over the same words, so that most random wrong pairs would be true by the other one."""
    letters = "abcdefgh"
    lines = [("likes", f"{x}{x}", f"{y}{y}q") for x, y in itertools.product(letters, letters) if x <= y]
    lines += [
        ("knows", f"{x}{x}", f"{y}{y}q")
        for x, y in itertools.product(letters, letters)
        if (ord(x) + ord(y)) % 3
    ]
    lines += [("far", f"{x}far", f"{x}away") for x in letters]
    mine(write_tsv(tmp_path / "m.tsv", [*lines, *extra]), out=tmp_path / "m", min_pairs=5, min_degree=1)
    return AnalogyKB(tmp_path / "m"), set(lines)


def test_a_wrong_choice_is_true_by_no_edge_of_the_stems_relation(tmp_path):
    kb, edges = many_to_many(tmp_path)
    made = kb.questions(n=400, choices=4, split="all")
    wrong = [(q.group, c) for q in made for i, c in enumerate(q.choice) if i != q.answer]
    assert wrong and not [w for group, w in wrong if (group, *w) in edges]


def test_truth_reaches_beyond_the_pairs_that_were_kept(tmp_path):
    lines = [("knows", f"k{chr(97 + i)}", f"n{chr(97 + i)}") for i in range(20)]
    lines += [("likes", f"k{chr(97 + i)}", f"n{chr(97 + i)}") for i in range(20)]
    lines += [("likes", f"l{chr(97 + i)}", f"m{chr(97 + i)}") for i in range(26)]
    lines += [("other", f"o{chr(97 + i)}", f"p{chr(97 + i)}") for i in range(20)]
    lines += [(rel, f"l{chr(97 + i)}", f"m{chr(97 + i)}") for rel in ("popular", "known") for i in range(26)]
    mine(
        write_tsv(tmp_path / "t.tsv", lines), out=tmp_path / "kb", min_pairs=5, min_degree=1, per_relation=20
    )
    kb = AnalogyKB(tmp_path / "kb")
    kept = set(kb.pairs("likes"))
    assert not kept & set(kb.pairs("knows"))  # every pair that both have was cut from `likes`
    made = [q for q in kb.questions(n=300, choices=4, split="all") if q.group == "likes"]
    assert made
    for q in made:
        for i, choice in enumerate(q.choice):
            assert i == q.answer or ("likes", *choice) not in set(lines)


def test_a_symmetric_relation_holds_both_ways_and_an_analogous_one_counts(tmp_path):
    lines = [("opposite", f"a{chr(97 + i)}", f"b{chr(97 + i)}") for i in range(12)]
    lines += [("opposite", f"b{chr(97 + i)}", f"a{chr(97 + i)}") for i in range(8)]
    lines += [("near", f"b{chr(97 + i)}", f"a{chr(97 + i)}") for i in range(6, 12)]
    lines += [("near", f"c{chr(97 + i)}", f"d{chr(97 + i)}") for i in range(12)]
    lines += [("like", f"e{chr(97 + i)}", f"f{chr(97 + i)}") for i in range(12)]
    mine(write_tsv(tmp_path / "t.tsv", lines), out=tmp_path / "kb", min_pairs=5, min_degree=1)
    kb = AnalogyKB(tmp_path / "kb")
    assert kb.symmetric == [rel == "opposite" for rel in kb.table.relations]
    write_relation_pairs(kb.folder / RELATION_PAIRS, [relation_pair("like", "near", None)])
    for q in kb.questions(n=300, choices=3, split="all"):
        wrong = [c for i, c in enumerate(q.choice) if i != q.answer]
        if q.group == "opposite":  # b : a stands under `near`, and is true by the turned pair
            assert not [w for w in wrong if w[0][0] == "b"]
        if q.group == "like":  # may be analogous, nobody refused it yet
            assert not [w for w in wrong if ("near", *w) in set(lines)]


def test_stem_words_are_in_no_choice_and_choices_differ_and_places_are_even(kb):
    made = kb.questions(n=500, choices=5, split="all")
    for q in made:
        assert not set(q.stem) & {word for pair in q.choice for word in pair}
        assert len({frozenset(pair) for pair in q.choice}) == 5
        assert (q.group, *q.stem) in TRIPLES and (q.group, *q.choice[q.answer]) in TRIPLES
    assert Counter(q.answer for q in made) == dict.fromkeys(range(5), 100)


def test_a_stem_word_inside_a_longer_term_counts_as_shared(tmp_path):
    lines = [("has", f"wing{chr(97 + i)}", f"bird{chr(97 + i)}") for i in range(8)]
    lines += [("of", f"wing{chr(97 + i)} feather", f"plume{chr(97 + i)}") for i in range(8)]
    mine(write_tsv(tmp_path / "t.tsv", lines), out=tmp_path / "kb", min_pairs=5, min_degree=1)
    for q in AnalogyKB(tmp_path / "kb").questions(n=200, choices=3, split="all"):
        assert not [w for pair in q.choice for term in pair for w in q.stem if f" {w} " in f" {term} "]


def test_pairs_of_a_test_are_removed_in_both_orders_and_any_casing(kb, tmp_path):
    test = tmp_path / "test.jsonl"
    rows = [
        {"stem": ["Bird", "WING"], "choice": [["hot", "cold"], ["car", "wheel"]], "answer": 1, "prefix": "x"}
    ]
    test.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before, none = eligible_pairs(kb, split="all")
    after, removed = eligible_pairs(kb, split="all", exclude=[test])
    assert (none, removed) == (0, 3) and len(before) - len(after) == 3
    texts = {after.text(i) for i in range(len(after))}
    assert not texts & {("wing", "bird"), ("hot", "cold"), ("wheel", "car")}
    made = kb.questions(n=300, split="all", exclude=[test])
    seen = {frozenset(pair) for q in made for pair in [q.stem, *q.choice]}
    assert not seen & {frozenset(("wing", "bird")), frozenset(("hot", "cold")), frozenset(("wheel", "car"))}


def test_nothing_left_after_decontamination_is_an_error(kb, tmp_path):
    test = tmp_path / "test.jsonl"
    rows = [{"stem": [h, t], "choice": [["a", "b"], ["c", "d"]], "answer": 0} for _, h, t in TRIPLES]
    test.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(EtudeError, match="80 pairs are in the excluded"):
        kb.questions(n=10, split="all", exclude=[test])


def test_the_same_seed_gives_the_same_questions_and_a_pair_is_in_one_split(kb):
    assert kb.questions(n=50, split="all", seed=3) == kb.questions(n=50, split="all", seed=3)
    assert kb.questions(n=50, split="all", seed=3) != kb.questions(n=50, split="all", seed=4)
    table = kb.table
    both = {frozenset(table.text(i)): set() for i in range(len(table))}
    for i in range(len(table)):
        both[frozenset(table.text(i))].add(int(table.split[i]))
    assert all(len(splits) == 1 for splits in both.values())


def test_the_control_keeps_pairs_and_relation_sizes_and_deals_labels_anew(kb):
    shuffled = kb.table.shuffled(1)
    assert np.array_equal(np.bincount(shuffled.rel), np.bincount(kb.table.rel))
    assert (shuffled.rel != kb.table.rel).mean() > 0.5
    made = make_questions(kb, 200, split="all", shuffle=True).questions
    true = np.mean([(q.group, *q.choice[q.answer]) in TRIPLES for q in made])
    assert true < 0.5  # one in five by accident


def test_nearest_negatives_are_nearer_than_random_ones(kb):
    from etude.methods.analogykb.scorers import CosineScorer

    def nearness(negatives):
        made = make_questions(kb, 60, split="all", negatives=negatives).questions
        scores = CosineScorer().choice_scores([q.stem for q in made], [q.choice for q in made])
        return np.mean([np.delete(row, q.answer).mean() for row, q in zip(scores, made, strict=True)])

    assert nearness("nearest") > nearness("random") + 0.1


def test_right_pairs_of_analogous_relations_come_only_from_accepted_ones(own_kb):
    kb = AnalogyKB(own_kb)
    with pytest.raises(EtudeError, match="no accepted analogous relations"):
        make_questions(kb, 10, relations="analogous", split="all")
    write_relation_pairs(
        own_kb / RELATION_PAIRS,
        [relation_pair("made_from", "part_of", True), relation_pair("works_at", "young_of", False)],
    )
    made = make_questions(kb, 100, relations="analogous", split="all").questions
    assert {q.group for q in made} == {"made_from", "part_of"}
    other = {"made_from": "part_of", "part_of": "made_from"}
    assert all((other[q.group], *q.choice[q.answer]) in TRIPLES for q in made)
    both = make_questions(kb, 300, relations="both", split="all").questions
    own = np.mean([(q.group, *q.choice[q.answer]) in TRIPLES for q in both if q.group in other])
    assert 0.3 < own < 0.7


def test_generation_items_accept_every_tail_of_the_graph(tmp_path):
    kb, edges = many_to_many(tmp_path)
    items, *_ = make_items(kb, 40, split="all")
    for item in items:
        assert set(item.accepted) == {t for r, h, t in edges if (r, h) == (item.group, item.query)}
        assert (item.group, *item.stem) in edges and item.query not in item.stem


def test_too_few_relations_and_bad_numbers_are_errors(tmp_path, kb):
    lines = [("one", f"a{chr(97 + i)}", f"b{chr(97 + i)}") for i in range(9)]
    mine(write_tsv(tmp_path / "t.tsv", lines), out=tmp_path / "kb", min_pairs=5, min_degree=1)
    with pytest.raises(EtudeError, match="two relations"):
        AnalogyKB(tmp_path / "kb").questions(n=5, split="all")
    with pytest.raises(EtudeError, match="at least 1"):
        kb.questions(n=0)
    with pytest.raises(EtudeError, match="no pairs from nowhere"):
        kb.questions(n=5, sources=["nowhere"])
    with pytest.raises(EtudeError, match="enough different wrong pairs"):
        kb.questions(n=5, choices=70, split="all")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"stem": ["a", "b"], "choice": [["c", "d"], ["e", "f"]], "answer": 2}, "not among 2"),
        ({"stem": ["a", "b"], "choice": [["c", "d"], ["c", "d"]], "answer": 0}, "stands there twice"),
        ({"stem": ["a", ""], "choice": [["c", "d"], ["e", "f"]], "answer": 0}, "empty"),
        ({"stem": ["a"], "choice": [["c", "d"], ["e", "f"]], "answer": 0}, "stem"),
        ({"stem": ["a", "b"], "choice": [["c", "d"]], "answer": 0}, "choice"),
        ({"stem": ["a", "b"], "answer": 0}, "choice"),
    ],
)
def test_a_bad_question_is_named_by_its_line(tmp_path, row, says):
    path = tmp_path / "q.jsonl"
    good = {"stem": ["a", "b"], "choice": [["c", "d"], ["e", "f"]], "answer": 1, "group": "g"}
    path.write_text(json.dumps(good) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(EtudeError, match=says) as error:
        read_questions(path)
    assert f"{path}:2" in error.value.problem


def test_the_verb_writes_the_public_shape(kb_folder, tmp_path):
    made = questions(kb_folder, out=tmp_path / "q.jsonl", n=30, choices=3, split="all")
    assert made.questions == 30 and made.positions == (10, 10, 10) and made.relations == 5
    read = read_questions(tmp_path / "q.jsonl")
    assert len(read) == 30 and all(len(q.choice) == 3 and q.group for q in read)
    first = json.loads((tmp_path / "q.jsonl").read_text().splitlines()[0])
    assert set(first) == {"stem", "choice", "answer", "group"}
    questions(kb_folder, out=tmp_path / "g.jsonl", n=5, task="generation", split="all")
    assert set(json.loads((tmp_path / "g.jsonl").read_text().splitlines()[0])) == {
        "stem",
        "query",
        "accepted",
        "group",
    }


def test_questions_as_solved_conversations_are_what_a_chat_model_is_asked(kb_folder, tmp_path):
    questions(kb_folder, out=tmp_path / "q.jsonl", n=10, choices=3, split="all", chat=True)
    asked = read_questions(tmp_path / "q.jsonl")
    rows = [json.loads(line)["messages"] for line in (tmp_path / "q.jsonl").read_text().splitlines()]
    for question, turns in zip(asked, rows, strict=True):
        assert turns[:-1] == question_prompt(question)
        assert turns[-1] == {"role": "assistant", "content": "ABC"[question.answer]}
    questions(kb_folder, out=tmp_path / "g.jsonl", n=5, task="generation", split="all", chat=True)
    for line in (tmp_path / "g.jsonl").read_text().splitlines():
        item = json.loads(line)
        assert item["messages"][-1]["content"] == item["accepted"][0]
        assert item["messages"][-2]["content"].endswith(f"{item['query']} is to")


def test_queries_and_analogies(kb):
    found = kb.query("wing", "bird", k=3)
    assert len(found) == 3 and all(row["by"] == "part_of" and "bird" not in row["pair"] for row in found)
    for first, second in kb.analogies("young_of", n=8, seed=1):
        assert (
            ("young_of", *first) in TRIPLES
            and ("young_of", *second) in TRIPLES
            and not set(first) & set(second)
        )
    assert kb.analogies("young_of", n=5, seed=1) == kb.analogies("young_of", n=5, seed=1)
    with pytest.raises(EtudeError, match="no relation joins") as error:
        kb.query("bird", "wing")
    assert "wing bird" not in error.value.problem and "bird" in error.value.hint
    with pytest.raises(EtudeError) as error:
        kb.query("wing", "brid")
    assert "bird" in error.value.hint
    with pytest.raises(EtudeError, match="no relation 'part'"):
        kb.analogies("part")
