"""Each way to name items does what its name says, and all are unique over the same catalogue."""

import itertools

import pytest

from etude.errors import EtudeError
from etude.methods.idgen import SCHEMES, Catalogue, History, Item, name_items, scheme

NAMES = [f"i{number:03}" for number in range(60)]


def catalogue(**changes):
    """Items in three groups; users stay in one group, and texts speak of it."""
    about = ["hammer nail steel tool", "shampoo hair soap beauty", "novel story reader book"]
    items = {name: Item(item_id=name, title=f"{about[n % 3]} number {n}") for n, name in enumerate(NAMES)}
    groups = [NAMES[group::3] for group in range(3)]
    train = [
        History(user_id=f"u{user}", items=[groups[user % 3][(user * 3 + j) % 20] for j in range(6)])
        for user in range(90)
    ]
    textual = {name: f"word{n} of group {n % 3}" for n, name in enumerate(NAMES)}
    return Catalogue(**{"items": items, "train": train, "textual": textual, "seed": 1, **changes})


FAST = ["textual", "shuffled", "random", "sequential", "token", "collaborative"]


@pytest.mark.parametrize("name", FAST)
def test_every_item_has_an_id_of_its_own_and_the_same_one_each_time(name):
    ids = name_items(name, catalogue())
    assert list(ids) == NAMES and len(set(ids.values())) == 60
    assert ids == name_items(name, catalogue())


@pytest.mark.parametrize("name", ["shuffled", "random"])
def test_another_seed_gives_other_ids(name):
    assert name_items(name, catalogue()) != name_items(name, catalogue(seed=2))


def test_the_shuffled_control_has_the_same_strings_and_none_in_its_place():
    textual, shuffled = (name_items(name, catalogue()) for name in ("textual", "shuffled"))
    assert sorted(textual.values()) == sorted(shuffled.values())
    assert all(textual[name] != shuffled[name] for name in NAMES)


@pytest.mark.parametrize("name", ["random", "sequential"])
def test_numbers_are_four_digits_as_words_of_their_own(name):
    assert all(
        len(one.split()) == 4 and all(digit in "0123456789" for digit in one.split())
        for one in name_items(name, catalogue()).values()
    )


def test_sequential_numbers_follow_the_training_histories_and_then_the_rest():
    train = [History(user_id="u", items=["i005", "i003"]), History(user_id="v", items=["i003", "i009"])]
    ids = name_items("sequential", catalogue(train=train))
    assert [ids[name] for name in ("i005", "i003", "i009", "i000")] == [
        "0 0 0 0",
        "0 0 0 1",
        "0 0 0 2",
        "0 0 0 3",
    ]


def shared_first_word(ids):
    """Share of pairs of one group, among the pairs of items whose ids begin with the same word."""
    pairs = [
        (a, b)
        for a, b in itertools.combinations(range(60), 2)
        if ids[NAMES[a]].split()[0] == ids[NAMES[b]].split()[0]
    ]
    return sum(a % 3 == b % 3 for a, b in pairs) / len(pairs)


def test_collaborative_ids_share_words_where_users_do():
    assert shared_first_word(name_items("collaborative", catalogue())) > 0.95


def test_items_without_training_events_get_a_branch_of_their_own():
    train = [user for user in catalogue().train if int(user.user_id[1:]) % 3]
    ids = name_items("collaborative", catalogue(train=train))
    assert {ids[name].split()[0] for name in NAMES[::3]} == {"c-new"}
    assert "c-new" not in {ids[name].split()[0] for name in NAMES[1::3]}


def test_semantic_ids_share_words_where_texts_do():
    ids = name_items("semantic", catalogue())
    assert len(set(ids.values())) == 60
    assert shared_first_word(ids) > 0.95


@pytest.mark.parametrize(
    ("name", "changes", "says"),
    [
        ("magic", {}, "no id scheme 'magic'"),
        ("textual", {"textual": {"i000": "x"}}, "59 items have no textual id: i001"),
        ("shuffled", {"textual": {}}, "60 items have no textual id"),
        ("collaborative", {"train": []}, "need training histories"),
        ("semantic", {"items": {"a": Item(item_id="a")}}, "need the items' texts"),
        ("random", {"items": {}}, "without items"),
    ],
)
def test_a_scheme_that_lacks_what_it_needs_says_so(name, changes, says):
    with pytest.raises(EtudeError, match=says):
        name_items(name, catalogue(**changes))


def test_a_scheme_of_ones_own_is_registered_by_name_and_must_be_unique():
    @scheme("backwards")
    def backwards(given):
        return {name: name[::-1] for name in given.names}

    @scheme("constant")
    def constant(given):
        return dict.fromkeys(given.names, "x")

    try:
        assert name_items("backwards", catalogue())["i012"] == "210i"
        with pytest.raises(EtudeError, match="gave one id twice"):
            name_items("constant", catalogue())
    finally:
        del SCHEMES["backwards"], SCHEMES["constant"]
