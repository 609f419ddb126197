import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from etude.errors import EtudeError
from etude.methods.idgen.baselines import item_knn, popularity
from etude.methods.idgen.histories import History
from etude.methods.idgen.leave_one_out import SeqSplit
from etude.methods.idgen.rank_metrics import rank_metrics, ranks_by_score, ranks_of
from etude.methods.idgen.sasrec import SASRec, SASRecSettings, train_sasrec, tuned_sasrec


@given(st.lists(st.permutations(range(12)), min_size=1, max_size=6), st.data())
def test_ndcg_and_hits_agree_with_scikit_learn_and_counting(orders, data):
    scores = np.array(orders, dtype=float)
    targets = [data.draw(st.integers(0, 11)) for _ in orders]
    ranks = ranks_by_score(targets, scores)
    relevant = np.eye(12)[targets]
    found = rank_metrics(ranks, (5, 10))
    for k in (5, 10):
        assert found[f"NDCG@{k}"] == pytest.approx(ndcg_score(relevant, scores, k=k))
        top = np.argsort(-scores, 1)[:, :k]
        assert found[f"HR@{k}"] == pytest.approx(
            np.mean([t in row for t, row in zip(targets, top, strict=True)])
        )


def test_a_target_that_is_not_in_the_list_counts_nothing():
    ranks = ranks_of([4, 7, -1], [[4, 5, 6], [1, 2, -1], [-1, 2, 3]])
    assert ranks.tolist() == [1, 0, 0]
    assert rank_metrics(ranks, (3,)) == {"HR@3": pytest.approx(1 / 3), "NDCG@3": pytest.approx(1 / 3)}


def test_items_are_compared_by_number_so_padding_never_matches():
    assert ranks_of([-1], [[-1, -1]]).tolist() == [0]


def test_ties_count_half_against_the_target_and_left_out_items_are_not_found():
    assert ranks_by_score([0], np.zeros((1, 5))).tolist() == [3]
    assert ranks_by_score([0], np.array([[-np.inf, 1.0]])).tolist() == [0]


@pytest.mark.parametrize(("ranks", "ks"), [([], (5,)), ([1], (0,)), ([1], ())])
def test_no_ranks_or_no_length_is_refused(ranks, ks):
    with pytest.raises(EtudeError):
        rank_metrics(ranks, ks)


def test_leave_one_out_keeps_the_last_two_items_from_training():
    split = SeqSplit.leave_one_out(
        [History(user_id="u", items=["a", "b", "c", "d"], timestamps=[1, 2, 3, 4])]
    )
    assert split.train[0].items == ["a", "b"] and split.train[0].timestamps == [1, 2]
    assert (split.validation[0].history, split.validation[0].target) == (("a", "b"), "c")
    assert (split.test[0].history, split.test[0].target) == (("a", "b", "c"), "d")
    assert split.train_counts == {"a": 1, "b": 1}


def test_a_history_too_short_to_split_is_refused():
    with pytest.raises(EtudeError, match="fewer than 3"):
        SeqSplit.leave_one_out([History(user_id="u", items=["a", "b"])])


def test_popularity_ranks_by_training_events():
    score = popularity([[0, 1], [1, 2], [1]], 4)
    assert score([[0], [3]]).tolist() == [[1, 3, 1, 0]] * 2


def test_item_knn_is_the_cosine_of_user_sets():
    train = [[0, 1], [0, 1], [0, 2], [3]]
    users = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
    norm = np.linalg.norm(users, axis=0)
    cosine = users.T @ users / np.outer(norm, norm) - np.eye(4)
    assert item_knn(train, 4, decay=1.0)([[0], [1, 2]]) == pytest.approx(
        np.stack([cosine[0], cosine[1] + cosine[2]])
    )
    recent = item_knn(train, 4, decay=0.5)([[1, 2]])
    assert recent[0] == pytest.approx(0.5 * cosine[1] + cosine[2])


def test_item_knn_keeps_only_the_nearest_neighbors():
    train = [[0, 1], [0, 1], [0, 2]]
    score = item_knn(train, 3, neighbors=1)([[0]])
    assert score[0, 1] > 0 and score[0, 2] == 0


def test_item_knn_of_items_without_company_scores_nothing():
    assert item_knn([[0], [1]], 3)([[0], []]).tolist() == [[0, 0, 0]] * 2


def test_sasrec_sees_no_future():
    import torch

    model = SASRec(10, SASRecSettings(width=16)).eval()
    first = model.states(torch.tensor([[1, 2, 3]]))
    second = model.states(torch.tensor([[1, 2, 9]]))
    assert torch.allclose(first[:, :2], second[:, :2], atol=1e-6)
    assert not torch.allclose(first[:, 2], second[:, 2], atol=1e-4)


def test_sasrec_learns_a_rule_and_its_settings_are_chosen_on_validation(tmp_path):
    rng = np.random.default_rng(0)
    histories = [[int((s + n) % 12) for n in range(rng.integers(4, 9))] for s in rng.integers(0, 12, 80)]
    train = [history[:-2] for history in histories]
    validation = ([h[:-2] for h in histories], [h[-2] for h in histories])
    grid = (
        SASRecSettings(epochs=1, learning_rate=1e-6),
        SASRecSettings(epochs=15, learning_rate=1e-2, batch_size=16, max_history=3),
    )
    score, tried = tuned_sasrec(train, 12, validation, out=tmp_path, grid=grid)
    assert tried["chosen"]["epochs"] == 15 and len(tried["tried"]) == 2
    ranks = ranks_by_score([h[-1] for h in histories], score([h[:-1] for h in histories]))
    assert rank_metrics(ranks, (1,))["HR@1"] > 0.95


def test_sasrec_scores_do_not_depend_on_company_in_the_batch(tmp_path):
    model = train_sasrec([[0, 1, 2], [2, 1, 0]], 4, SASRecSettings(epochs=1, width=16), out=tmp_path)
    alone = model.score([[0, 1]])
    together = model.score([[0, 1], [2, 1, 0, 3]])
    assert alone[0] == pytest.approx(together[0], abs=1e-5)
