"""Reading, scoring, curation, audit and similarity against references and by hand; every bad input named."""

from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from transformers import BertConfig, BertForSequenceClassification

from etude.errors import EtudeError
from etude.methods.semcsr import (
    Curator,
    Triple,
    audit,
    curate,
    generate,
    read_sts,
    read_triples,
    score,
    sts_eval,
    train,
    write_triples,
)
from etude.methods.semcsr.curation import refuse_too_few
from etude.methods.semcsr.grading import grade_conversation, read_grade
from etude.methods.semcsr.mteb_tables import mteb_rows
from etude.methods.semcsr.sentences import english_share, read_sentences
from etude.methods.semcsr.similarity_scorers import expected_grade, load_scorer
from etude.methods.semcsr.sts import (
    STSPair,
    alignment,
    bootstrap_spearman,
    evaluate_sts,
    halves,
    pair_contributions,
    paired_difference,
    spearman,
    uniformity,
)
from etude.methods.semcsr.transfer import transfer_eval
from etude.methods.semcsr.triple_audit import edit_similarity, histogram, is_bare_negation, levenshtein
from etude.models import register_scripted


class Bag:
    """An encoder whose vectors are known: counts of letters; it notes what it encodes."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def encode(self, sentences, *, batch_size: int = 64):  # type: ignore[no-untyped-def]
        self.seen += list(sentences)
        return np.array([[text.count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for text in sentences], float)


def row(**given) -> Triple:  # type: ignore[no-untyped-def]
    return Triple(**{"sent0": "a dog runs", "sent1": "a dog is running", "hard_neg": "a cat sleeps", **given})


@given(st.text(alphabet="abcd ", max_size=12), st.text(alphabet="abcd ", max_size=12))
@settings(max_examples=150)
def test_edit_distance_equals_the_table_of_wagner_and_fischer(one: str, other: str) -> None:
    table = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        left = [i]
        for j, b in enumerate(other, 1):
            left.append(min(table[j] + 1, left[-1] + 1, table[j - 1] + (a != b)))
        table = left
    assert levenshtein(one, other) == table[-1]


@pytest.mark.parametrize(
    ("sentence", "negative", "bare"),
    [
        ("The dog is running.", "The dog is not running.", True),
        ("The dog runs.", "The dog doesn't run.", True),
        ("A man is eating.", "No man is eating.", True),
        ("A man can swim.", "A man cannot swim.", True),
        ("The dog is running.", "The dog is sleeping.", False),
        ("The dog is running.", "The dog is running.", False),
        ("The dog is running.", "The cat is not running.", False),
    ],
)
def test_a_bare_negation_adds_a_negation_and_nothing_else(sentence: str, negative: str, bare: bool) -> None:
    assert is_bare_negation(sentence, negative) is bare


def test_the_audit_counts_by_hand() -> None:
    rows = [
        row(sent1="A dog runs.", hard_neg="a dog does not run", positive_score=5, negative_score=1),
        row(sent0="two cats", sent1="one animal and another", hard_neg="three cats", positive_score=1,
            negative_score=4),
        row(status="failed", sent1="", hard_neg=""),
    ]  # fmt: skip
    found = audit(rows)
    assert (found["rows"], found["failed"]) == (2, 1)
    assert found["positive_copies"] == 0.5 and found["bare_negations"] == 0.5
    assert found["positive_length"] == pytest.approx((3 / 3 + 4 / 2) / 2)
    assert found["swapped"] == 0.5 and found["positive_histogram"] == [0, 1, 0, 0, 1]
    assert found["negative_histogram"] == [0, 1, 0, 0, 1]


def test_near_copies_are_found_whatever_their_case_and_marks() -> None:
    assert edit_similarity("A dog runs.", "a dog  runs") == 1
    assert edit_similarity("abcd", "wxyz") == 0
    assert histogram([0, 0.99, 1, 4.5, 5, None]) == [2, 1, 0, 0, 2]


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5)), min_size=1, max_size=12),
    st.floats(0, 5), st.floats(0, 5), st.floats(0, 5),
)  # fmt: skip
def test_curation_keeps_exactly_what_its_rule_says(scores, alpha, beta, gamma) -> None:  # type: ignore[no-untyped-def]
    rows = [
        row(id=str(i), sent0=f"sentence {i}", positive_score=a, negative_score=b)
        for i, (a, b) in enumerate(scores)
    ]
    kept, dropped = Curator(alpha, beta, gamma).split(rows)
    expected = [
        str(i) for i, (a, b) in enumerate(scores)
        if max(a, b) >= alpha and min(a, b) <= beta and max(a, b) >= min(a, b) + gamma
    ]  # fmt: skip
    assert [one.id for one in kept] == expected and len(kept) + len(dropped) == len(rows)
    assert all(one.positive_score >= one.negative_score for one in kept)  # type: ignore[operator]


def test_curation_swaps_roles_and_names_every_reason() -> None:
    rows = [
        row(id="swap", positive_score=1, negative_score=4.5),
        row(id="low", sent0="b", positive_score=2, negative_score=0),
        row(id="high", sent0="c", positive_score=5, negative_score=3.5),
        row(id="close", sent0="d", positive_score=3.5, negative_score=3),
        row(id="none", sent0="e", positive_score=None, negative_score=3),
        row(id="copy", sent0="f g h i j k", sent1="f g h i j k", positive_score=5, negative_score=0),
        row(
            id="twice",
            positive_score=4.5,
            negative_score=1,
            sent1="a cat sleeps",
            hard_neg="a dog is running",
        ),
        row(id="failed", sent0="x", status="failed", sent1="", hard_neg=""),
        row(id="pair", sent0="y", hard_neg="", positive_score=4),
    ]
    kept, dropped = Curator(max_copy=0.9).split(rows)
    assert [one.id for one in kept] == ["swap", "pair"]
    assert (kept[0].sent1, kept[0].hard_neg) == ("a cat sleeps", "a dog is running")
    why = {one.triple.id: one.reason for one in dropped}
    assert why == {
        "low": "positive below alpha (3)", "high": "negative above beta (3)",
        "close": "closer than gamma (1)",
        "none": "no score", "copy": "a copy of the sentence (above 0.9)", "failed": "not written (failed)",
        "twice": "a duplicate of an earlier row",
    }  # fmt: skip


def test_a_scorer_that_says_one_thing_is_stopped() -> None:
    rows = [row(id=str(i), positive_score=2.5, negative_score=2.5) for i in range(20)]
    with pytest.raises(EtudeError, match=r"all 40 scores are 2\.5"):
        Curator().split(rows)
    with pytest.raises(EtudeError, match="no row has a score"):
        Curator().split([row()])
    with pytest.raises(EtudeError, match="alpha 9"):
        Curator(alpha=9)


def test_too_few_kept_names_the_rule_that_removed_most() -> None:
    _, dropped = Curator().split(
        [row(id=str(i), sent0=str(i), positive_score=1 + i / 9, negative_score=0.5) for i in range(9)]
    )
    with pytest.raises(EtudeError, match=r"positive below alpha \(3\) \(9\)"):
        refuse_too_few(0, dropped, 8)
    refuse_too_few(8, dropped, 8)


@pytest.mark.parametrize(
    ("answer", "grade"),
    [
        ("4.5", 4.5), ("Similarity: 3", 3.0), ("I would say 2.0.", 2.0), ("4 out of 5", 4.0), ("4/5", 4.0),
        ("3.5 (out of 5.0)", 3.5), ("between 3 and 4", None), ("7", None), ("very similar", None), ("", None),
        ("-1 or 6", None),
    ],
)  # fmt: skip
def test_an_answer_is_a_grade_only_if_it_is_one_number_from_0_to_5(answer: str, grade: float | None) -> None:
    assert read_grade(answer) == grade


def test_the_expected_grade_is_the_mean_under_the_digits() -> None:
    shares = np.array([0.1, 0.1, 0.2, 0.3, 0.2, 0.1])
    assert expected_grade(np.log(shares) - 7) == pytest.approx(float(shares @ np.arange(6)))
    assert expected_grade([-900, -900, -900, -900, -900, 0]) == 5


def test_each_scorer_orders_pairs_as_its_model_does(tiny, tmp_path) -> None:  # type: ignore[no-untyped-def]
    def similar(conversation):  # type: ignore[no-untyped-def]
        one, other = conversation[-1]["content"].rsplit("(a) ", 1)[1].split("\n(b) ")
        words, others = set(one.split()), set(other.split("\n")[0].split())
        return 5 * len(words & others) / len(words | others)

    register_scripted("grader", lambda talk: f"{similar(talk):.1f}",
                      score=lambda talk, option: -abs(similar(talk) - int(option)) * 5)  # fmt: skip
    pairs = [
        ("the dog runs", "the dog runs"),
        ("the dog runs", "the dog sleeps"),
        ("the dog runs", "no cats"),
    ]
    for name in ("text", "expected"):
        found = load_scorer(name, lm="scripted/grader").score(pairs)  # type: ignore[arg-type]
        assert found == sorted(found, reverse=True) and found[0] == pytest.approx(5, abs=0.1)  # type: ignore[type-var]
    cosines = load_scorer("embed", encoder="minilm").score(pairs)
    assert cosines[0] == pytest.approx(5, abs=1e-4) and cosines[1] > cosines[2]  # type: ignore[operator]
    with pytest.raises(EtudeError, match="no scorer"):
        load_scorer("magic")  # type: ignore[arg-type]


def test_the_nli_scorer_weighs_classes_by_their_names(tmp_path: Path) -> None:
    from transformers import BertTokenizerFast

    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ndog\nruns\n")
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path)
    config = BertConfig(vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16, num_labels=3,
                        id2label={0: "CONTRADICTION", 1: "entailment", 2: "neutral"},
                        label2id={"CONTRADICTION": 0, "entailment": 1, "neutral": 2})  # fmt: skip
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.log(torch.tensor([0.2, 0.5, 0.3])))
    model.save_pretrained(tmp_path)
    found = load_scorer("nli", lm=str(tmp_path)).score([("a dog", "a dog runs"), ("a", "dog")])
    assert found == pytest.approx([5 * 0.5 + 2.5 * 0.3] * 2, abs=1e-5)
    config.id2label = {0: "bad", 1: "good", 2: "ugly"}
    model.save_pretrained(tmp_path)
    with pytest.raises(EtudeError, match="bad, good, ugly"):
        load_scorer("nli", lm=str(tmp_path)).score([("a", "a")])


def test_score_keeps_rows_counts_unreadable_answers_and_resumes(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(conversation):  # type: ignore[no-untyped-def]
        asked.append(conversation[-1]["content"])
        return "no idea" if "odd" in conversation[-1]["content"].rsplit("(a)", 1)[1] else "4"

    register_scripted("sometimes", answer)
    write_triples(
        tmp_path / "t.jsonl", [row(id="1"), row(id="2", sent0="an odd one"), row(id="3", status="failed")]
    )
    options = {"scorer": "text", "lm": "scripted/sometimes", "out": tmp_path / "s.jsonl"}
    found = score(tmp_path / "t.jsonl", **options)  # type: ignore[arg-type]
    assert (found.scored, found.unreadable) == (1, 2)
    calls = len(asked)
    assert score(tmp_path / "t.jsonl", **options) == found and len(asked) == calls  # type: ignore[arg-type]
    assert read_triples(tmp_path / "s.jsonl")[0].positive_score == 4
    register_scripted("mute", lambda talk: "?")
    with pytest.raises(EtudeError, match="none of 4 answers"):
        score(tmp_path / "t.jsonl", scorer="text", lm="scripted/mute", out=tmp_path / "m.jsonl")


def test_curate_writes_kept_and_dropped_rows_and_escapes_its_page(tmp_path: Path) -> None:
    rows = [
        row(id=str(i), sent0=f"sentence {i} <script>", positive_score=4, negative_score=i) for i in range(4)
    ]
    write_triples(tmp_path / "s.jsonl", rows)
    found = curate(
        tmp_path / "s.jsonl", out=tmp_path / "c.csv", dropped=tmp_path / "d.jsonl", report=tmp_path / "r.html"
    )
    assert (found.kept, sum(found.dropped.values())) == (4, 0) or found.kept == 4
    assert (tmp_path / "c.csv").read_text().splitlines()[
        0
    ] == "sent0,sent1,hard_neg,positive_score,negative_score"
    page = (tmp_path / "r.html").read_text()
    assert (
        "<script>" not in page.split("</head>")[1].replace("&lt;script&gt;", "") and "&lt;script&gt;" in page
    )
    with pytest.raises(EtudeError, match="nothing is left of 4 rows"):
        curate(tmp_path / "s.jsonl", alpha=5, out=tmp_path / "x.jsonl")


def test_triples_survive_csv_and_both_layouts_are_read(tmp_path: Path) -> None:
    (tmp_path / "two.csv").write_text('sent0,sent1\n"a, ""b""",c\n')
    assert [(t.sent0, t.sent1, t.hard_neg) for t in read_triples(tmp_path / "two.csv")] == [
        ('a, "b"', "c", "")
    ]
    rows = [row(id="x", sent0='he said "no", twice', positive_score=4.5, negative_score=0.0)]
    write_triples(tmp_path / "t.csv", rows)
    back = read_triples(tmp_path / "t.csv")[0]
    assert (back.sent0, back.positive_score, back.negative_score) == (rows[0].sent0, 4.5, 0.0)
    (tmp_path / "wrong.csv").write_text("premise,hypothesis\na,b\n")
    with pytest.raises(EtudeError, match=r"found the columns premise, hypothesis; wanted sent0"):
        read_triples(tmp_path / "wrong.csv")
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(EtudeError, match="holds no rows"):
        read_triples(tmp_path / "empty.jsonl")


def test_the_fixed_file_of_the_claim_is_read_and_its_copies_are_counted(shared_data) -> None:  # type: ignore[no-untyped-def]
    rows = read_triples(shared_data("semcsr") / "triples_smollm2.jsonl")
    found = audit(rows)
    alike = [r for r in rows if SequenceMatcher(None, r.sent0.lower(), r.sent1.lower()).ratio() > 0.9]
    assert len(rows) == 900 and found["failed"] == 0
    assert 0.1 < found["positive_copies"] < len(alike) / 900  # difflib's ratio is never below edit similarity
    assert found["bare_negations"] < found["negations"] < 0.5


def test_sentences_are_cleaned_and_counted(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "s.txt"
    path.write_text("A dog runs.\n\n  a dog   runs \nA cat.\n" + "word " * 80 + "\n")
    found = read_sentences(path)
    assert found.texts[:2] == ["A dog runs.", "A cat."] and (found.duplicates, found.truncated) == (1, 1)
    assert len(found.texts[2].split()) == 64 and "cut to 64 words" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.txt", b"", "holds 0 distinct sentences"),
        ("one.txt", b"A dog.\na dog\n", "holds 1 distinct sentence"),
        ("latin.txt", "caf\u00e9 noir\nabc".encode("latin-1"), "latin.txt:1: not UTF-8"),
        ("two.csv", b"a,b\n1,2\n", "which column"),
        ("none.txt", None, "no such file"),
    ],
)
def test_sentence_files_that_cannot_be_used_are_named(tmp_path: Path, name, content, message) -> None:  # type: ignore[no-untyped-def]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(EtudeError, match=message):
        read_sentences(tmp_path / name)


def test_a_column_is_chosen_and_a_missing_one_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,text\n1,A dog.\n2,A cat.\n")
    assert read_sentences(tmp_path / "t.csv", column="text").texts == ["A dog.", "A cat."]
    with pytest.raises(EtudeError, match="no column 'body'; found id, text"):
        read_sentences(tmp_path / "t.csv", column="body")


def test_another_language_is_warned_about(tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "g.txt").write_text("Der Hund schläft gern lange.\nDie Katze frisst viel Fisch.\n")
    read_sentences(tmp_path / "g.txt")
    assert "built-in prompts are English" in " ".join(capsys.readouterr().err.split())
    assert english_share(["The dog sleeps in the garden all day."]) == 1


def test_sentences_of_the_evaluation_file_are_refused_unless_allowed(tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("A dog runs.\nA cat sleeps.\nA bird sings.\n")
    (tmp_path / "dev.csv").write_text("score,sentence1,sentence2\n1,a dog RUNS,x y\n2,b,c\n3,d,e\n")
    register_scripted("any", lambda talk: "Something else.")
    options = {
        "lm": "scripted/any",
        "omega": 0,
        "evaluation": tmp_path / "dev.csv",
        "out": tmp_path / "t.jsonl",
    }
    with pytest.raises(
        EtudeError, match=r"1 of 3 sentences are in the evaluation file, e\.g\. 'A dog runs\.'"
    ):
        generate(tmp_path / "s.txt", **options)  # type: ignore[arg-type]
    assert generate(tmp_path / "s.txt", allow_overlap=True, **options).overlapping == 1  # type: ignore[arg-type]


def test_the_seven_columns_of_the_benchmark_are_read_with_literal_quotes(tmp_path: Path) -> None:
    line = 'main-captions\tMSRvid\t2012test\t0001\t{}\tA "plane" is taking off.\tAn air plane "takes off.\n'
    path = tmp_path / "sts-dev.csv"
    path.write_text("".join(line.format(s) for s in (5, 3.2, 0)))
    pairs = read_sts(path)
    assert pairs[0].sentence1 == 'A "plane" is taking off.' and pairs[1].score == 3.2
    assert pairs[0].subset == "main-captions/MSRvid 2012test"
    path.write_text("".join(line.format(s) for s in (5, 3.2, 0)) + "a\tb\n")
    with pytest.raises(EtudeError, match=r"sts-dev\.csv:4: 2 of 7 columns"):
        read_sts(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n", "score"),
        ("score,sentence1,sentence2\n7,a,b\n", "less than or equal to 5"),
        ("score,sentence1,sentence2\n1,a,b\n", "three pairs"),
        ("score,sentence1,sentence2\n1,a,b\n1,c,d\n1,e,f\n", "all scores are the same"),
    ],
)
def test_similarity_files_that_cannot_be_used_are_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(EtudeError, match=message):
        read_sts(tmp_path / "x.csv")


def sample(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    gold = generator.integers(0, 11, count) / 2
    ours = gold + generator.normal(scale=1.5, size=count)
    return ours, gold + generator.normal(scale=4, size=count), gold


def test_spearman_equals_scipy_with_ties() -> None:
    ours, _, gold = sample(60)
    assert spearman(ours, gold) == pytest.approx(spearmanr(ours, gold).statistic)
    assert np.isnan(spearman(np.ones(5), np.arange(5.0)))


def test_contributions_have_the_correlation_as_mean_and_its_bootstrap_as_spread() -> None:
    ours, theirs, gold = sample(150)
    shares = pair_contributions(ours, gold)
    assert shares.mean() == pytest.approx(spearman(ours, gold))
    low, high = bootstrap_spearman(ours, gold, resamples=4000)
    index = np.random.default_rng(1).integers(0, 150, (4000, 150))
    by_shares = np.percentile(shares[index].mean(1), [2.5, 97.5])
    assert by_shares == pytest.approx([low, high], abs=0.25 * (high - low))
    difference, least, most = paired_difference(ours, theirs, gold, resamples=2000)
    assert (
        difference == pytest.approx(spearman(ours, gold) - spearman(theirs, gold))
        and least < difference < most
    )


def test_each_distinct_sentence_is_encoded_once_and_subsets_are_aggregated_both_ways() -> None:
    texts = ["abc", "abd", "xyz", "xyw", "aaa", "bcd"]
    rows = [
        STSPair(score=(i * 7 + j * 3) % 6, sentence1=texts[i], sentence2=texts[j], year=str(i % 2))
        for i in range(6) for j in range(6) if i != j
    ]  # fmt: skip
    encoder = Bag()
    found = evaluate_sts(encoder, rows, resamples=200)
    assert sorted(encoder.seen) == sorted(texts)
    gold = np.array([r.score for r in rows])
    assert found.spearman == pytest.approx(spearmanr(found.cosines, gold).statistic)
    parts = [
        spearmanr(found.cosines[[r.year == y for r in rows]], gold[[r.year == y for r in rows]]).statistic
        for y in "01"
    ]
    assert found.mean == pytest.approx(np.mean(parts)) and found.mean != pytest.approx(found.spearman)
    as_dict = sts_eval(Bag(), rows, resamples=200)
    assert as_dict["ci"] == (found.low, found.high) and as_dict["spearman"] == found.spearman


def test_alignment_and_uniformity_by_hand() -> None:
    one, other = np.eye(2), np.array([[0.0, 1.0], [0.0, 1.0]])
    assert alignment(one, other) == pytest.approx((2 + 0) / 2)
    assert uniformity(np.eye(2)) == pytest.approx(-4) and uniformity(np.ones((3, 1))) == 0
    assert alignment(one[:0], other[:0]) is None


def test_an_encoder_that_diverged_is_named() -> None:
    class Broken:
        def encode(self, sentences, *, batch_size: int = 64):  # type: ignore[no-untyped-def]
            return np.full((len(sentences), 2), np.nan)

    rows = [STSPair(score=i, sentence1=str(i), sentence2="b") for i in range(4)]
    with pytest.raises(EtudeError, match="not finite"):
        evaluate_sts(Broken(), rows)


def test_halves_share_no_pair_and_split_every_subset() -> None:
    rows = [STSPair(score=i % 5, sentence1=str(i), sentence2="b", genre="xy"[i % 2]) for i in range(40)]
    first, second = halves(rows)
    assert len(first) == len(second) == 20
    assert not {p.sentence1 for p in first} & {p.sentence1 for p in second}
    assert sum(p.genre == "x" for p in first) == 10


def test_transfer_is_right_on_separable_classes_and_at_chance_on_noise(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    words = ["".join(generator.choice(list("abcde" if i % 2 else "vwxyz"), 6)) for i in range(60)]
    lines = "".join(f"{word},{i % 2}\n" for i, word in enumerate(words))
    (tmp_path / "easy.csv").write_text("text,label\n" + lines)
    found = transfer_eval(Bag(), tmp_path / "easy.csv")
    assert found.accuracy == 1 and found.protocol == "10 folds"
    split = "".join(f"{w},{w[::-1]},{i % 2},{'test' if i > 39 else 'train'}\n" for i, w in enumerate(words))
    (tmp_path / "pairs.csv").write_text("sentence1,sentence2,label,split\n" + split)
    assert transfer_eval(Bag(), tmp_path / "pairs.csv").protocol == "given split"
    (tmp_path / "one.csv").write_text("text,label\na,1\nb,1\n")
    with pytest.raises(EtudeError, match="1 class in 2 rows"):
        transfer_eval(Bag(), tmp_path / "one.csv")
    (tmp_path / "few.csv").write_text("text,label\na,1\nb,0\n")
    with pytest.raises(EtudeError, match="Ten folds"):
        transfer_eval(Bag(), tmp_path / "few.csv")


def test_the_full_tables_need_their_library(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EtudeError) as caught:
        mteb_rows("m", None, ["STS12"])
    assert caught.value.hint == 'pip install "etude[mteb]"'


def test_train_says_what_is_wrong_with_its_input(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"sent0": "a", "sent1": "", "status": "failed"}\n')
    with pytest.raises(EtudeError, match="no row can be trained on"):
        train(tmp_path / "t.jsonl", out=tmp_path / "m")
    (tmp_path / "s.csv").write_text("text\na b\nc d\n")
    with pytest.raises(EtudeError, match="found the columns text"):
        train(tmp_path / "s.csv", out=tmp_path / "m")


def test_the_graded_pairs_of_the_prompt_are_our_own() -> None:
    [message] = grade_conversation("One.", "Two.")
    assert str(message["content"]).endswith("(a) One.\n(b) Two.\nSimilarity (0-5):")
