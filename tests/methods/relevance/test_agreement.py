"""Agreement and rankings against scikit-learn, scipy, hand-worked lists and the published label matrix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, roc_auc_score

from etude.errors import EtudeError
from etude.methods.relevance import agreement, prompts, rbo
from etude.methods.relevance.agreement import auc, kappa, weighted_auc, weighted_kappa
from etude.methods.relevance.circularity import circularity
from etude.methods.relevance.prompt_study import median_labels, read_label_matrix, select, study
from etude.methods.relevance.rank_overlap import ranks
from etude.methods.relevance.sampling import stratified
from etude.methods.relevance.system_ranking import system_ranking
from etude.methods.relevance.thresholds import fit_thresholds, split_queries
from etude.methods.relevance.trec import SystemRun


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_kappa_is_scikit_learns(pairs):
    gold, labels = zip(*pairs, strict=True)
    ours = kappa(gold, labels)
    if len({*gold, *labels}) > 1:
        assert ours == pytest.approx(cohen_kappa_score(gold, labels))
    else:
        assert np.isnan(ours)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), min_size=2, max_size=40))
def test_auc_of_two_grades_is_scikit_learns(pairs):
    gold, scores = zip(*pairs, strict=True)
    if len(set(gold)) > 1:
        assert auc(gold, scores) == pytest.approx(roc_auc_score(gold, scores))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=20))
def test_weights_are_repetitions_and_auc_counts_every_pair_of_grades(rows):
    g, x, w = (np.array(column) for column in zip(*rows, strict=True))
    again, scores = np.repeat(g, w), np.repeat(x, w)
    wins = [
        (scores[i] > scores[j]) + (scores[i] == scores[j]) / 2
        for i in range(len(again)) for j in range(len(again)) if again[i] > again[j]
    ]  # fmt: skip
    if wins:
        weights = w[None].astype(float)
        assert weighted_auc(g, x.astype(float), weights)[0] == pytest.approx(np.mean(wins))
        assert weighted_kappa(g, x, weights)[0] == pytest.approx(kappa(again, scores), nan_ok=True)


def test_one_grade_in_the_gold_is_said_and_not_scored():
    found = agreement({("q", "a"): 1, ("q", "b"): 1}, {("q", "a"): 1, ("q", "b"): 0})
    assert found.kappa is None and found.auc is None and "undefined" in found.alarms[0]
    with pytest.raises(EtudeError, match="share no pair"):
        agreement({("q", "a"): 1}, {("p", "a"): 1})


def test_a_turned_scale_raises_an_alarm_and_a_right_one_does_not():
    rng = np.random.default_rng(0)
    gold = {(f"q{i % 30}", f"d{i}"): int(g) for i, g in enumerate(rng.integers(0, 3, 300))}
    assert not agreement(gold, {p: float(g) for p, g in gold.items()}).alarms
    assert "turned round" in agreement(gold, {p: 2.0 - g for p, g in gold.items()}).alarms[0]


def test_rbo_of_hand_worked_lists():
    abc = {"a": 3, "b": 2, "c": 1}
    assert rbo(abc, abc) == pytest.approx(1)
    # a b c against b a c, p = 0.5: A = 0, 1, 1 -> 0.5 (0 + 0.5 + 0.25) + 0.125
    assert rbo(abc, {"b": 3, "a": 2, "c": 1}, 0.5) == pytest.approx(0.5)
    # ties: a and b share rank 1 in the second list, A_1 = 2*1/(1+2) = 2/3, then 1, 1
    assert rbo(abc, {"a": 2, "b": 2, "c": 1}, 0.5) == pytest.approx(0.5 * (2 / 3 + 0.5 + 0.25) + 0.125)
    assert rbo({"a": 1}, {"a": 7}, 0.9) == pytest.approx(1)
    assert ranks({"a": 1.0, "b": 2.0, "c": 2.0}) == {"a": 3, "b": 1, "c": 1}
    with pytest.raises(ValueError, match="same items"):
        rbo(abc, {"a": 1})


@given(st.permutations(range(6)), st.floats(0.1, 0.95))
def test_rbo_is_symmetric_and_within_bounds(order, p):
    first, second = {i: -i for i in range(6)}, {i: -o for i, o in enumerate(order)}
    assert rbo(first, second, p) == pytest.approx(rbo(second, first, p))
    assert 0 <= rbo(first, second, p) <= 1 + 1e-12


def system(name: str, order: str) -> SystemRun:
    return SystemRun(name, {"q": {d: float(-i) for i, d in enumerate(order)}})


def test_measures_by_hand_and_unjudged_documents_must_be_decided():
    gold = {("q", "a"): 1, ("q", "b"): 0, ("q", "c"): 1}
    runs = [system("good", "acb"), system("bad", "bac")]
    [found] = system_ranking(runs, gold, gold, ["P@2"])
    assert found.gold_scores == {"good": 1.0, "bad": 0.5} and found.tau().value == 1
    strange = [*runs, system("strange", "xac")]
    with pytest.raises(
        EtudeError, match=r"(?s)P@2: 16.7% of the ranked documents have no gold.*--unjudged"
    ) as e:
        system_ranking(strange, gold, gold, ["P@2"])
    assert "condensed" in e.value.hint
    [zero] = system_ranking(strange, gold, gold, ["P@2"], unjudged="zero")
    [condensed] = system_ranking(strange, gold, gold, ["P@2"], unjudged="condensed")
    assert zero.gold_scores["strange"] == 0.5 and condensed.gold_scores["strange"] == 1.0
    with pytest.raises(EtudeError, match="none of its documents"):
        system_ranking([*runs, system("alien", "xyz")], gold, gold, ["P@2"], unjudged="zero")
    with pytest.raises(EtudeError, match="no measure"):
        system_ranking(runs, gold, gold, ["Magic@3"])


def test_circularity_gives_rank_under_gold_minus_rank_under_labels():
    gold = {("q", "a"): 1, ("q", "b"): 0}
    labels = {("q", "a"): 0, ("q", "b"): 1}
    [found] = system_ranking([system("ours-mini", "ba"), system("other", "ab")], gold, labels, ["P@1"])
    report = circularity(found, ["*MINI*"])
    assert [(s.run, s.gain, s.shares_model) for s in report.shifts] == [
        ("other", -1, False), ("ours-mini", 1, True),
    ]  # fmt: skip
    assert report.lift.value == 2


def test_thresholds_are_found_again_and_queries_never_serve_twice():
    rng = np.random.default_rng(1)
    scores = rng.uniform(0, 1, 900)
    gold = np.searchsorted([0.3, 0.8], scores)
    assert fit_thresholds(scores, gold.tolist(), 2) == pytest.approx([0.3, 0.8], abs=0.03)
    first, second = split_queries(map(str, range(11)))
    assert not first & second and len(first | second) == 11
    assert split_queries(["a", "b"])[0] != split_queries(["a", "b"])[1]
    with pytest.raises(EtudeError, match="one query"):
        split_queries(["a"])


def test_a_stratified_sample_has_equal_grades_and_fills_up():
    gold = {("q", str(i)): 0 if i < 50 else 1 if i < 55 else 2 for i in range(100)}
    sample = stratified(gold, 25)
    assert [list(sample.values()).count(g) for g in (0, 1, 2)] == [10, 5, 10]
    assert len(stratified(gold, 1000)) == 100


def test_choice_reports_on_queries_that_did_not_choose():
    rng = np.random.default_rng(0)
    gold = {(f"q{i % 20}", f"d{i}"): int(g) for i, g in enumerate(rng.integers(0, 2, 400))}
    luck = {f"p{n}": {p: float(rng.integers(0, 2)) for p in gold} for n in range(8)}
    chosen = select(
        {**luck, "true": {p: float(g) for p, g in gold.items()}}, gold, {f"q{i}" for i in range(10)}
    )
    assert chosen.best == "true" and chosen.held_out.value == 1
    with pytest.raises(EtudeError, match="report on"):
        select(luck, gold, set())


MATRIX = {"gpt-4o": (0.4916, 0.4410, 0.5396), "mistral": (0.3457, 0.2453, 0.3954),
          "llama3.2": (0.2205, 0.0016, 0.3597)}  # fmt: skip


def test_the_published_label_matrix_gives_the_published_kappas(shared_data):
    gold, labels, outside = read_label_matrix(
        shared_data("relevance") / "dl20_llm_labels.csv", "nist", (0, 3)
    )
    assert len(gold) == 1690 and len(labels) == 81 and outside
    for judge, expected in MATRIX.items():
        kappas = [
            agreement(gold, found, binarize=2, resamples=0).kappa.value
            for name, found in labels.items() if name.startswith(judge)
        ]  # fmt: skip
        assert (np.mean(kappas), min(kappas), max(kappas)) == pytest.approx(expected, abs=5e-5)
    gpt = {name: found for name, found in labels.items() if name.startswith("gpt-4o")}
    assert agreement(gold, median_labels(gpt), binarize=2, resamples=0).kappa.value == pytest.approx(
        0.508, abs=5e-4
    )


@pytest.mark.slow
def test_the_prompt_study_reads_the_matrix_and_holds_out_queries(shared_data):
    found = prompts(matrix=shared_data("relevance") / "dl20_llm_labels.csv", judge="gpt-4o", binarize=2).study
    assert found.mean == pytest.approx(0.4916, abs=5e-5) and found.median_gain.low > 0
    assert found.choice.gain.low < found.choice.gain.value < found.choice.gain.high


def test_a_study_without_labels_is_refused():
    with pytest.raises(EtudeError, match="no prompts"):
        study({}, {("q", "d"): 1})
