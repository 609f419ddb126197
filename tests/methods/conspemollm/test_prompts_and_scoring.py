"""Prompts that never lose their answer, labels scored in one reading, packs that change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.conspemollm.affect_tasks import Instruction
from etude.methods.conspemollm.label_scoring import (
    answer_tails,
    encoded_answers,
    label_probabilities,
    listed_probabilities,
)
from etude.methods.conspemollm.long_texts import chunks
from etude.methods.conspemollm.packing import AnswerLoss, PackedRows, collate_packs, pack, row_losses
from etude.methods.conspemollm.prompts import IGNORED, encode_prompt, encode_row, frame
from etude.methods.conspemollm.tasks import task_named
from etude.models import load_causal_lm, load_tokenizer

LONG = "The men in the mountains count us like cattle and hide the cure in a vault. " * 60
STATEMENT = task_named("judgment").statement()


@pytest.fixture(scope="module")
def lm(tiny_lm):
    return load_causal_lm(str(tiny_lm))


@settings(max_examples=30, deadline=None)
@given(st.integers(80, 400), st.integers(0, len(LONG)))
def test_a_long_text_is_cut_and_neither_instruction_nor_answer_is(most, size):
    tokenizer = load_tokenizer("smollm2")
    row = encode_row(tokenizer, Instruction(STATEMENT, "Start. " + LONG[:size], "1. conspiracy"), most)
    text = tokenizer.decode(row.ids)
    assert len(row.ids) <= most
    assert text.startswith(f"Human:\n{STATEMENT}\nText: Start.")
    assert text.endswith("\nClass:\n\nAssistant:\n1. conspiracy<|im_end|>")
    answer = [label for label in row.labels if label != IGNORED]
    assert tokenizer.decode(answer) == "1. conspiracy<|im_end|>"
    assert row.cut == (len(tokenizer.encode(frame(STATEMENT, "Start. " + LONG[:size]))) + len(answer) > most)


def test_a_row_without_room_for_its_text_is_refused():
    with pytest.raises(EtudeError, match="no room for the text"):
        encode_row(load_tokenizer("smollm2"), Instruction(STATEMENT, LONG, "1. conspiracy"), 40)


def test_the_prompt_of_training_is_the_prompt_of_prediction():
    tokenizer = load_tokenizer("smollm2")
    one = Instruction(STATEMENT, "They hide it.", "0. non-conspiracy")
    row = encode_row(tokenizer, one, None)
    asked, _ = encode_prompt(tokenizer, Instruction(STATEMENT, "They hide it.", ""), None, 5)
    assert row.ids[: len(asked)] == asked and row.labels[: len(asked)] == [IGNORED] * len(asked)
    assert row.ids[len(asked) :] == row.labels[len(asked) :]


def test_a_beginning_token_stands_first_in_training_and_prediction():
    tokenizer = load_tokenizer("minilm")  # its tokenizer adds a token in front
    tokenizer.eos_token = "[SEP]"
    row = encode_row(tokenizer, Instruction("s", "t", "0. non-conspiracy"), None)
    assert (
        row.ids[0]
        == tokenizer.cls_token_id
        == encode_prompt(tokenizer, Instruction("s", "t", ""), None, 3)[0][0]
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 600), st.integers(1, 50))
def test_chunks_lose_nothing_and_fit(size, tokens):
    tokenizer = load_tokenizer("minilm")
    text = LONG[:size].strip()
    parts = chunks(tokenizer, text, tokens)
    assert " ".join(parts).split() == text.split() or "".join(parts).replace(" ", "") == text.replace(" ", "")
    for part in parts:  # a word cut in two may need one more
        assert len(tokenizer.encode(part, add_special_tokens=False)) <= tokens + 2


def reference(lm, prompt: list[int], options: list[list[int]]) -> np.ndarray:
    """Log-probabilities of whole options by plain forward passes."""
    found = []
    for option in options:
        with torch.inference_mode():
            logits = lm.model(torch.tensor([prompt + option])).logits[0].log_softmax(-1)
        found.append(sum(float(logits[len(prompt) + i - 1, token]) for i, token in enumerate(option)))
    return np.array(found)


def test_digits_that_differ_are_scored_by_one_softmax(lm):
    prompts = [
        lm.tokenizer.encode(frame(STATEMENT, text)) for text in ("They hide it.", LONG[:700], "A choir.")
    ]
    labels = encoded_answers(lm, task_named("judgment").classes)
    shared, tails = answer_tails(labels)
    assert [len(tail) for tail in tails] == [1, 1]
    each = label_probabilities(lm, prompts, labels)
    for prompt, row in zip(prompts, each, strict=True):
        scores = reference(lm, prompt + shared, tails)
        assert row == pytest.approx(np.exp(scores) / np.exp(scores).sum(), rel=2e-4)
    assert each.sum(1) == pytest.approx(1)


def test_labels_with_a_common_number_are_scored_as_far_as_they_differ(lm):
    labels = encoded_answers(lm, ["1. one thing", "1. one other thing", "10. ten", "2. two"])
    prompts = [lm.tokenizer.encode(frame(STATEMENT, text)) for text in ("They hide it.", "A choir.")]
    shared, tails = answer_tails(labels)
    assert not shared and [len(tail) for tail in tails] == [4, 4, 2, 1]
    assert [lm.tokenizer.decode(tail) for tail in tails[2:]] == ["10", "2"]
    each = label_probabilities(lm, prompts, labels)
    for prompt, row in zip(prompts, each, strict=True):
        scores = reference(lm, prompt, tails)
        assert row == pytest.approx(
            np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum(), rel=1e-3
        )


def test_scoring_is_deterministic_and_ignores_neighbors(lm):
    labels = encoded_answers(lm, task_named("intention").classes)
    prompts = [lm.tokenizer.encode(frame(STATEMENT, LONG[: 40 * n])) for n in range(1, 9)]
    all_at_once = label_probabilities(lm, prompts, labels)
    assert (all_at_once == label_probabilities(lm, prompts, labels)).all()
    alone = np.vstack([label_probabilities(lm, [prompt], labels) for prompt in prompts])
    assert all_at_once == pytest.approx(alone, abs=1e-4)


def test_two_classes_with_the_same_name_are_refused(lm):
    with pytest.raises(EtudeError, match="same tokens"):
        label_probabilities(lm, [[1, 2]], encoded_answers(lm, ["1. a", "1. a"]))


def test_half_precision_that_overflows_falls_back_to_float32(tiny_lm, capsys):
    lm = load_causal_lm(str(tiny_lm), dtype="float16")
    with torch.no_grad():
        lm.model.model.embed_tokens.weight.mul_(3e4).clamp_(-6e4, 6e4)
        lm.model.model.layers[0].mlp.down_proj.weight.mul_(3e4).clamp_(-6e4, 6e4)
    labels = encoded_answers(lm, task_named("judgment").classes)
    each = label_probabilities(lm, [lm.tokenizer.encode(frame(STATEMENT, "They hide it."))], labels)
    assert np.isfinite(each).all() and lm.model.dtype == torch.float32
    assert "half precision" in capsys.readouterr().err


def test_broken_weights_are_named(tiny_lm):
    lm = load_causal_lm(str(tiny_lm))
    with torch.no_grad():
        lm.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(EtudeError, match="not finite"):
        label_probabilities(lm, [[1, 2, 3]], encoded_answers(lm, ["0. a", "1. b"]))


def test_a_list_answer_is_chosen_step_by_step_as_plain_forward_passes_would(lm):
    task = task_named("topic")
    prompt = lm.tokenizer.encode(frame(task.statement(), "They hide it."))
    chosen, each = listed_probabilities(lm, [prompt, prompt[:-1]], task.classes, "; ", "none")
    options = [lm.tokenizer.encode(label) for label in task.classes] + [lm.tokenizer.encode("none")]
    scores = reference(lm, prompt, [option[:1] for option in options])
    share = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    best = int(share.argmax())
    assert chosen[0][:1] == (() if best == 2 else (best,))
    assert each[0, 0] == pytest.approx(share[0], rel=1e-3)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 40), max_size=60), st.integers(40, 100), st.integers(0, 5))
def test_every_row_is_in_exactly_one_pack_and_packs_fit(lengths, budget, seed):
    packs = pack(lengths, budget, seed)
    assert sorted(row for part in packs for row in part) == list(range(len(lengths)))
    assert all(sum(lengths[row] for row in part) <= budget for part in packs)


def test_packed_rows_have_the_losses_of_rows_alone(lm):
    texts = ["They hide it.", LONG[:300], "A choir meets.", LONG[:120]]
    rows = [encode_row(lm.tokenizer, Instruction(STATEMENT, text, "1. conspiracy"), None) for text in texts]
    alone = []
    for row in rows:  # transformers' own loss
        with torch.inference_mode():
            alone.append(float(lm.model(torch.tensor([row.ids]), labels=torch.tensor([row.labels])).loss))
    assert row_losses(lm.model, rows, budget=200) == pytest.approx(alone, rel=1e-4)
    batch = collate_packs([rows[:3], rows[3:]])  # the second pack is filled up
    sizes = [sum(label != IGNORED for label in row.labels) for row in rows]
    with torch.inference_mode():
        loss = float(AnswerLoss(lm.model)(**batch)["loss"])
    assert loss == pytest.approx(float(np.average(alone, weights=sizes)), rel=1e-4)


def test_the_gradient_of_a_pack_is_that_of_its_rows(lm):
    texts = ["They hide it.", "A choir meets on Tuesday.", LONG[:100]]
    rows = [
        encode_row(lm.tokenizer, Instruction(STATEMENT, text, "0. non-conspiracy"), None) for text in texts
    ]
    weight = lm.model.model.layers[0].self_attn.q_proj.weight
    lm.model.requires_grad_(True)
    packed = PackedRows(rows, 10_000, 0)
    AnswerLoss(lm.model)(**collate_packs([packed[0]]))["loss"].backward()
    got = weight.grad.clone()
    lm.model.zero_grad()
    for row in rows:
        (lm.model(torch.tensor([row.ids]), labels=torch.tensor([row.labels])).loss / len(rows)).backward()
    assert torch.allclose(got, weight.grad, atol=1e-6, rtol=1e-3)
    lm.model.zero_grad()
