"""Protocols: groups stay whole, zero-shot sees nothing of its target, leaks are named."""

from dataclasses import replace

import pytest

from etude.errors import EtudeError
from etude.methods.tmpt.posters import MARKET, TRAM, made_up_posts
from etude.methods.tmpt.posts import StanceDataset, StanceExample
from etude.methods.tmpt.splits import dataset_digest, make_tasks
from etude.methods.tmpt.targets import Target


def changed(data: StanceDataset, **fields: object) -> StanceDataset:
    return data.only(replace(e, **fields) for e in data.examples)  # type: ignore[arg-type]


def test_in_target_is_a_task_for_each_target_by_seven_one_two() -> None:
    data = made_up_posts(200)
    tasks = make_tasks(data, "in-target")
    assert [t.name for t in tasks] == [TRAM, MARKET]
    for task in tasks:
        sizes = [len(part) for part in (task.train, task.valid, task.test)]
        assert sum(sizes) == 200
        assert all(abs(size - share) <= 6 for size, share in zip(sizes, (140, 20, 40), strict=True))
        assert {e.target for part in (task.train, task.valid, task.test) for e in part} == {task.name}


def test_rows_of_one_post_never_lie_in_two_splits() -> None:
    task = make_tasks(made_up_posts(60), "pooled")[0]
    train, valid, test = ({e.group for e in part} for part in (task.train, task.valid, task.test))
    assert not (train & valid or train & test or valid & test)
    assert task.notices == ()


def test_zero_shot_tests_on_every_post_of_its_target_and_trains_on_none() -> None:
    task = make_tasks(made_up_posts(40), "zero-shot", hold_out=MARKET)[0]
    assert len(task.test) == 40
    assert {e.target for e in task.test} == {MARKET}
    assert {e.target for e in (*task.train, *task.valid)} == {TRAM}


def test_a_held_out_target_in_training_is_a_leak_and_refused() -> None:
    data = changed(made_up_posts(40), split="train")
    with pytest.raises(EtudeError, match="a leak"):
        make_tasks(data, "zero-shot", hold_out=MARKET)


def test_a_held_out_target_in_another_spelling_is_a_leak_and_refused() -> None:
    data = made_up_posts(40)
    shouted = MARKET.upper()
    rows = [
        replace(e, target=shouted) if e.target == MARKET and int(e.group) < 9 else e for e in data.examples
    ]
    mixed = replace(data, examples=tuple(rows), targets={**data.targets, shouted: Target(shouted, shouted)})
    with pytest.raises(EtudeError, match="another spelling: a leak"):
        make_tasks(mixed, "zero-shot", hold_out=MARKET)


def test_a_target_that_may_not_be_held_out_is_refused() -> None:
    data = made_up_posts(40)
    fixed = replace(data, targets={**data.targets, MARKET: Target(MARKET, MARKET, zero_shot=False)})
    with pytest.raises(EtudeError, match="never held out"):
        make_tasks(fixed, "zero-shot", hold_out=MARKET)
    with pytest.raises(EtudeError, match="belong together"):
        make_tasks(data, "zero-shot")
    with pytest.raises(EtudeError, match="no post is about"):
        make_tasks(data, "zero-shot", hold_out="nothing")


def given_splits(shared: StanceExample | None = None) -> StanceDataset:
    data = made_up_posts(60)
    parts = ["train"] * 40 + ["valid"] * 10 + ["test"] * 10
    rows = [replace(e, split=parts[int(e.group)]) for e in data.examples]
    if shared is not None:
        rows[-1] = replace(rows[-1], id=shared.id, image=shared.image)
    return data.only(rows)


def test_the_same_id_or_picture_in_two_splits_is_said_and_refused_when_strict() -> None:
    leaky = given_splits(shared=made_up_posts(60).examples[0])
    notices = make_tasks(leaky, "pooled")[0].notices
    assert any("same id" in notice for notice in notices)
    assert any("same picture" in notice for notice in notices)
    with pytest.raises(EtudeError, match="same id lies in two splits"):
        make_tasks(leaky, "pooled", strict=True)
    assert make_tasks(given_splits(), "pooled", strict=True)[0].notices == ()


def test_a_label_that_training_lacks_is_refused() -> None:
    data = given_splits()
    lacking = data.only(
        replace(e, label="neutral") if e.split == "train" and e.label == "against" else e
        for e in data.examples
    )
    with pytest.raises(EtudeError, match=r"training posts have no 'against', but valid and test have"):
        make_tasks(lacking, "pooled")


def test_too_few_posts_and_half_a_split_column_are_refused() -> None:
    with pytest.raises(EtudeError, match="too few"):
        make_tasks(made_up_posts(10), "pooled")
    data = made_up_posts(40)
    half = data.only(replace(e, split="train") if i % 2 else e for i, e in enumerate(data.examples))
    with pytest.raises(EtudeError, match="some have none"):
        make_tasks(half, "pooled")


def test_the_digest_sees_every_change_that_matters() -> None:
    data = made_up_posts(20)
    digests = {dataset_digest(data)}
    for change in ({"text": "x"}, {"label": "neutral"}, {"image": b"other"}, {"rationale": "because"}):
        first = replace(data.examples[0], **change)  # type: ignore[arg-type]
        digests.add(dataset_digest(data.only([first, *data.examples[1:]])))
    assert len(digests) == 5
