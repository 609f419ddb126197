import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.idgen.backbones import build_backbone
from etude.methods.idgen.histories import History
from etude.methods.idgen.packed_histories import NextTokenLoss, PackedHistories, PackedItems
from etude.methods.idgen.prompted_examples import PromptedExamples
from etude.methods.idgen.sasrec import SASRec, SASRecSettings
from etude.methods.idgen.templates import Stream, TokenTemplate, own_templates, read_templates, template_words
from etude.methods.idgen.training_batches import IGNORED, length_groups
from etude.methods.idgen.vocabulary import word_tokenizer

END = 1
streams = st.lists(
    st.lists(st.lists(st.integers(3, 40), min_size=1, max_size=4), min_size=1, max_size=60),
    min_size=1,
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(streams, st.integers(1, 9), st.integers(1, 5))
def test_every_event_is_a_target_exactly_once_in_each_epoch(given_streams, max_history, batch_size):
    data = PackedHistories(given_streams, END, max_history=max_history, epochs=3, batch_size=batch_size)
    expected = sorted(token for stream in given_streams for item in stream for token in (*item, END))
    for epoch in range(3):
        found = []
        for number in range(epoch * data.per_epoch, (epoch + 1) * data.per_epoch):
            labels = data[number]["labels"]
            found += labels[labels != IGNORED].tolist()
        assert sorted(found) == expected


def test_inputs_and_labels_are_one_token_apart_and_padding_is_masked():
    data = PackedHistories([[[5, 6], [7]], [[8]]], END, batch_size=2)
    batch = data[0]
    rows = sorted(zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True))
    assert rows == [
        ([END, 5, 6, END, 7], [5, 6, END, 7, END]),
        ([END, 8, END, END, END], [8, END, IGNORED, IGNORED, IGNORED]),
    ]


def test_a_packed_row_has_the_same_loss_as_its_prefixes_one_by_one():
    backbone = build_backbone("causal-tiny", [f"w{n}" for n in range(40)], dropout=0.0)
    stream = [[5, 6, 7], [8], [9, 10]]
    data = PackedHistories([stream], END)
    batch = data[0]
    packed, positions = NextTokenLoss(backbone.model)(**batch)["loss"], batch["position_ids"]
    losses = []
    prefix = [END]
    for item in stream:
        for token in (*item, END):
            places = positions[:, : len(prefix)]
            logits = backbone.model(input_ids=torch.tensor([prefix]), position_ids=places).logits[0, -1]
            losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(token)))
            prefix.append(token)
    assert torch.allclose(packed, torch.stack(losses).mean(), atol=1e-5)


def test_positions_begin_up_to_two_items_late_and_never_leave_the_table():
    rows = [[[5, 6]] * count for count in (1, 3, 5)] * 20
    data = PackedHistories(rows, END, epochs=2, batch_size=4, longest=16)
    firsts = set()
    for number in range(len(data)):
        batch = data[number]
        assert batch["position_ids"].max() < 16
        real = batch["labels"] != IGNORED
        steps = batch["position_ids"][:, 1:] - batch["position_ids"][:, :-1]
        assert (steps[real[:, 1:]] == 1).all()
        firsts |= set(batch["position_ids"][:, 0].tolist())
    assert firsts == set(range(7))  # two items of two words, each with its end


def test_a_batch_depends_on_seed_and_number_alone():
    rows = [[[n % 30 + 3]] * (n % 9 + 1) for n in range(40)]
    first = PackedHistories(rows, END, max_history=3, epochs=2, batch_size=4, seed=5)
    second = PackedHistories(rows, END, max_history=3, epochs=2, batch_size=4, seed=5)
    numbers = list(range(len(first)))
    shuffled = numbers[::-1]
    seen = {number: second[number] for number in shuffled}  # another order of asking, as after a kill
    for number in numbers:
        assert torch.equal(first[number]["input_ids"], seen[number]["input_ids"])
    other = PackedHistories(rows, END, max_history=3, epochs=2, batch_size=4, seed=6)
    assert any(
        first[n]["input_ids"].shape != other[n]["input_ids"].shape
        or not torch.equal(first[n]["input_ids"], other[n]["input_ids"])
        for n in numbers
    )


def test_groups_of_near_equal_length_leave_little_padding():
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 200, 1000)
    groups = length_groups(lengths, 20, generator)
    assert sorted(np.concatenate(groups)) == list(range(1000))
    padded = sum(len(group) * lengths[group].max() for group in groups)
    shuffled = sum(20 * lengths[start : start + 20].max() for start in range(0, 1000, 20))
    assert padded < 1.2 * lengths.sum() < shuffled


def test_items_as_single_numbers_predict_the_next_item():
    data = PackedItems([[2, 0, 1]], 3)
    assert data[0]["input_ids"].tolist() == [[2, 0]]
    assert data[0]["labels"].tolist() == [[0, 1]]
    alone = PackedItems([[2]], 3)[0]
    assert (alone["labels"] == IGNORED).all()
    assert SASRec(3, SASRecSettings(width=8))(**alone)["loss"] == 0


def examples(**options):
    tokens = {"a": [910], "b": [911, 912], "c": [913], "d": [914]}
    tokenizer = word_tokenizer(template_words(own_templates(user_ids=True), "shop"))
    templates = [TokenTemplate(one, tokenizer, "shop") for one in own_templates(user_ids=True) if one.seen]
    histories = [History(user_id="x", items=["a", "b", "c", "d"]), History(user_id="y", items=["d"])]
    return PromptedExamples(
        histories, tokens, {"x": [920, 921]}, templates, end=END, padding=0, max_history=2, **options
    )


def test_prompted_examples_hold_the_prefix_the_user_and_the_target():
    data = examples(targets=None, batch_size=8)
    (batch,) = [data[0]]
    assert len(batch["input_ids"]) == 3  # three targets of x; y has nothing to learn from
    for row, labels in zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True):
        target = [token for token in labels if token != IGNORED]
        text = ",".join(map(str, row))
        assert "920,921" in text
        prefix = {911: [910], 913: [910, 911, 912], 914: [911, 912, 913]}[target[0]]
        assert [token for token in row if 910 <= token <= 914] == prefix  # at most two items, oldest first


def test_an_epoch_samples_positions_and_wordings():
    data = examples(targets=1, wordings=3, epochs=20, batch_size=8)
    assert len(data) == 20 and all(len(data[n]["input_ids"]) == 3 for n in range(20))
    targets = {tuple(data[n]["labels"][0].tolist()) for n in range(20)}
    assert len(targets) == 3


def test_labels_are_padded_with_the_ignored_label():
    data = examples(targets=None, batch_size=8)
    labels = data[0]["labels"]
    assert (labels == 0).sum() == 0 and (labels == IGNORED).sum() > 0


def test_there_are_ten_wordings_for_training_and_one_held_back():
    for user_ids in (True, False):
        found = own_templates(user_ids=user_ids)
        assert [one.seen for one in found] == [True] * 10 + [False]
        assert all(one.wants_user == user_ids for one in found)
        assert len({one.text for one in found}) == 11


def test_a_template_tells_where_each_item_begins():
    tokenizer = word_tokenizer([";", "after", "comes", "?"])
    (template,) = read_one("s; seen; after {history}, comes ?; {target}")
    filled, starts = TokenTemplate(template, tokenizer).fill([[50], [51, 52]])
    assert filled[starts[0] : starts[0] + 1] == [50] and filled[starts[1] : starts[1] + 2] == [51, 52]
    assert filled[-1] == tokenizer.eos_token_id
    assert Stream(END).fill([[50], [51, 52]]) == ([END, 50, END, 51, 52, END], [1, 3])


def read_one(line):
    from etude.methods.idgen.templates import parse_templates

    return parse_templates([line], "file")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sequential; seen; {history}", "not a template"),
        ("sequential; maybe; {history}; {target}", "not a template"),
        ("sequential; seen; nothing here; {target}", "slots are missing"),
        ("sequential; seen; {history} of {nobody}; {target}", "unknown slot nobody"),
        ("sequential; unseen; {history}; {target}", "no template is for training"),
    ],
)
def test_a_bad_template_file_is_refused_by_line(tmp_path, line, message):
    path = tmp_path / "templates.txt"
    path.write_text(line + "\n")
    with pytest.raises(EtudeError, match=message):
        read_templates(path)


def test_an_input_of_a_template_may_hold_semicolons(tmp_path):
    path = tmp_path / "templates.txt"
    path.write_text("sequential; seen; list: {history}; then what; {target}\n")
    (found,) = read_templates(path)
    assert found.text == "list: {history}; then what"
