import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from etude.errors import EtudeError
from etude.methods.teenytinyllama.chat_tuning import (
    IGNORED,
    Chat,
    ChatTokens,
    answer_loss,
    chat_ids,
    prepare_for_chat,
    read_chats,
)
from etude.methods.teenytinyllama.classification import Labeled, classification_ids, read_labeled
from etude.methods.teenytinyllama.finetuning import finetune
from etude.methods.teenytinyllama.row_splits import split_rows
from etude.models import chat_model, load_causal_lm, load_tokenizer

CHATS = [
    [("user", "Quem dorme na casa?"), ("assistant", "O gato.")],
    [
        ("user", " Quem lê um livro? "),
        ("assistant", "A menina lê. "),
        ("user", "E quem canta?"),
        ("assistant", "Ele."),
    ],
    [("system", " Responda com uma palavra. "), ("user", " Quem dorme? "), ("assistant", "Gato")],
    [("user", "O que é </instruction>?"), ("assistant", "É só texto, como </s>.")],
]
ROWS = [{"messages": [{"role": r, "content": c} for r, c in chat]} for chat in CHATS]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def chats(tmp_path):
    rows = [{"instruction": f"Repita {i}.", "output": f"{i} {i}"} for i in range(20)]
    return write_rows(tmp_path / "chats.jsonl", rows)


@pytest.fixture
def reviews(tmp_path):
    good, bad = "O gato dorme na casa velha", "Ontem choveu muito na cidade"
    rows = [{"text": f"{bad if i % 3 else good} {i}", "label": "neg" if i % 3 else "pos"} for i in range(48)]
    return write_rows(tmp_path / "reviews.jsonl", rows)


def test_what_is_trained_on_is_what_the_saved_template_gives(llama_folder):
    lm = load_causal_lm(str(llama_folder(128)))
    prepare_for_chat(lm.model, lm.tokenizer)
    template = lm.tokenizer.chat_template
    marked = template.replace(
        "{{ message['content'] | trim + eos_token }}",
        "{% generation %}{{ message['content'] | trim + eos_token }}{% endgeneration %}",
    )
    for row in ROWS[:3]:
        ids, labels = chat_ids(lm.tokenizer, Chat.model_validate(row))
        text = lm.tokenizer.apply_chat_template(row["messages"], tokenize=False)
        assert text.startswith("<instruction>") and text.endswith("</s>")
        assert lm.tokenizer(text, add_special_tokens=False)["input_ids"] == ids
        theirs = lm.tokenizer.apply_chat_template(
            row["messages"], chat_template=marked, return_assistant_tokens_mask=True, return_dict=True
        )
        assert theirs["input_ids"] == ids
        assert theirs["assistant_masks"] == [int(label != IGNORED) for label in labels]


def test_markers_that_a_user_writes_are_text(llama_folder):
    lm = load_causal_lm(str(llama_folder(128)))
    prepare_for_chat(lm.model, lm.tokenizer)
    ids, labels = chat_ids(lm.tokenizer, Chat.model_validate(ROWS[3]))
    assert ids.count(lm.tokenizer.convert_tokens_to_ids("</instruction>")) == 1
    assert ids.count(lm.tokenizer.eos_token_id) == 1 and labels[-1] == lm.tokenizer.eos_token_id


def test_new_tokens_start_as_the_mean_of_the_others(llama_folder):
    lm = load_causal_lm(str(llama_folder(128)))
    before = lm.model.get_input_embeddings().weight.detach().clone()
    prepare_for_chat(lm.model, lm.tokenizer)
    after = lm.model.get_input_embeddings().weight
    assert after.shape[0] == 402
    torch.testing.assert_close(after[:400], before)
    torch.testing.assert_close(after[400], before.mean(0))
    assert lm.model.config.vocab_size == 402


def test_the_answer_loss_counts_the_answers_alone(llama_folder):
    lm = load_causal_lm(str(llama_folder(128)))
    prepare_for_chat(lm.model, lm.tokenizer)
    tokens = ChatTokens(lm.tokenizer, [Chat.model_validate(row) for row in ROWS], 128)
    total, count = 0.0, 0
    for ids, labels in tokens.rows:
        with torch.no_grad():
            logs = lm.model(torch.tensor([ids])).logits[0].log_softmax(-1)
        for place, label in enumerate(labels[1:]):
            if label != IGNORED:
                total, count = total - float(logs[place, label]), count + 1
    assert answer_loss(lm.model, tokens, 3, batch_size=2) == pytest.approx(total / count, rel=1e-4)


def test_chat_tuning_lowers_the_loss_and_the_folder_chats_everywhere(llama_folder, chats, tmp_path):
    result = finetune(str(llama_folder(128)), data=chats, out=tmp_path / "chat", learning_rate=3e-3, epochs=6)
    assert result.validation_loss < result.validation_loss_before - 0.5
    assert result.rows == {"train": 18, "validation": 2}
    tokenizer = load_tokenizer(str(tmp_path / "chat" / "model"))
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Olá"}], tokenize=False)
    assert text == "<instruction>Olá</instruction>"
    told = [{"role": "system", "content": "Seja breve."}, {"role": "user", "content": "Olá"}]
    text = tokenizer.apply_chat_template(told, tokenize=False)
    assert text == "<instruction>Seja breve.\n\nOlá</instruction>"
    with pytest.raises(Exception, match="alternate"):
        tokenizer.apply_chat_template([{"role": "assistant", "content": "Olá"}], tokenize=False)
    reply = chat_model(str(tmp_path / "chat" / "model")).generate(
        [[{"role": "user", "content": "Repita 3."}]], max_tokens=4
    )
    assert reply[0].stop_reason in ("stop", "length")
    again = finetune(str(llama_folder(128)), data=chats, out=tmp_path / "chat", learning_rate=3e-3, epochs=6)
    assert again == result


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"prompt": "a", "completion": "b"},
        {"instruction": "a", "response": "b"},
    ],
)
def test_conversations_are_read_in_the_spellings_that_are_about(tmp_path, row):
    (chat,) = read_chats(write_rows(tmp_path / "c.jsonl", [row]))
    assert [(turn.role, turn.content) for turn in chat.messages] == [("user", "a"), ("assistant", "b")]


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (["assistant", "user"], "roles must alternate"),
        (["user", "user"], "roles must alternate"),
        (["user"], "last message"),
        (["user", "system", "assistant"], "roles must alternate"),
        (["system", "assistant"], "roles must alternate"),
    ],
)
def test_roles_that_do_not_alternate_are_named_by_line(tmp_path, roles, message):
    bad = {"messages": [{"role": role, "content": "x"} for role in roles]}
    with pytest.raises(EtudeError, match=r"c\.jsonl:2.*" + message):
        read_chats(write_rows(tmp_path / "c.jsonl", [ROWS[0], bad]))


def test_conversations_whose_answer_lies_beyond_the_context_are_left_out_and_counted(llama_folder):
    lm = load_causal_lm(str(llama_folder(128)))
    prepare_for_chat(lm.model, lm.tokenizer)
    long = {"messages": [{"role": "user", "content": "gato " * 200}, {"role": "assistant", "content": "sim"}]}
    wordy = {
        "messages": [{"role": "user", "content": "gato"}, {"role": "assistant", "content": "sim " * 200}]
    }
    tokens = ChatTokens(lm.tokenizer, [Chat.model_validate(row) for row in (long, wordy, ROWS[0])], 64)
    assert (len(tokens), tokens.dropped, tokens.shortened) == (2, 1, 1)


def test_classification_prints_the_baselines_and_beats_none_by_the_test_rows(llama_folder, reviews, tmp_path):
    test = write_rows(
        tmp_path / "test.jsonl", [{"text": f"gato {i}", "label": "pos" if i % 2 else "neg"} for i in range(8)]
    )
    result = finetune(
        str(llama_folder(64)), data=reviews, task="classification", test=test, out=tmp_path / "c",
        learning_rate=1e-2, epochs=4,
    )  # fmt: skip
    table = {(s.scored, s.by): s for s in result.scores}
    assert table["test", "majority class"].accuracy == pytest.approx(0.5)
    assert table["validation", "model"].accuracy >= table["validation", "majority class"].accuracy
    assert result.labels == ("neg", "pos")
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "c" / "model")
    assert model.config.id2label == {0: "neg", 1: "pos"}


def test_the_head_reads_the_last_token_of_each_row_whatever_its_neighbors(llama_folder, reviews, tmp_path):
    from functools import partial

    from etude.methods.teenytinyllama.classification import LabeledTokens, collate_labeled, predict_labels
    from etude.methods.teenytinyllama.finetuning import _with_head

    folder = str(llama_folder(64))
    tokenizer = load_tokenizer(folder)
    model = _with_head(folder, ["neg", "pos"], tokenizer, 0).eval()
    rows = [*read_labeled(reviews)[:3], Labeled(text="gato", label="pos")]
    tokens = LabeledTokens(tokenizer, rows, np.zeros(4, dtype=int), 64)
    batch = partial(collate_labeled, 3)([tokens[i] for i in range(4)])
    del batch["labels"]
    with torch.no_grad():
        together = model(**batch).logits
        alone = torch.cat([model(torch.tensor([tokens.ids[i]])).logits for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert predict_labels(model, tokens, 3, batch_size=3).tolist() == alone.argmax(-1).tolist()


def test_pairs_keep_both_sides_when_cut(llama_folder):
    tokenizer = load_tokenizer(str(llama_folder(64)))
    row = Labeled(text="gato " * 50, pair="cidade " * 50, label="x")
    ids, cut = classification_ids(tokenizer, row, 32)
    assert cut and len(ids) == 32 and ids[-1] == tokenizer.eos_token_id
    assert "gato" in tokenizer.decode(ids) and "cidade" in tokenizer.decode(ids)


def test_pair_columns_are_read_in_other_spellings(tmp_path):
    row = {"sentence1": "a", "sentence2": "b", "label": 1}
    (read,) = read_labeled(write_rows(tmp_path / "p.jsonl", [row]))
    assert (read.text, read.pair, read.label) == ("a", "b", "1")


def test_equal_rows_are_never_in_two_splits(tmp_path):
    rows = [{"text": f"t{i % 10}", "label": str(i % 2)} for i in range(60)]
    data = write_rows(tmp_path / "d.jsonl", rows)
    splits = split_rows(data, None, None, read_labeled, 0.3, 0)
    texts = {name: {row.text for row in part} for name, part in splits.items()}
    assert not texts["train"] & texts["validation"]
    assert sum(map(len, splits.values())) == 60 and len(texts["validation"]) == 3


def test_validation_rows_inside_the_training_rows_are_refused_unless_forced(llama_folder, reviews, tmp_path):
    inside = write_rows(tmp_path / "inside.jsonl", [json.loads(reviews.read_text().splitlines()[0])] * 3)
    with pytest.raises(EtudeError, match="3 of 3 validation rows are among the training rows"):
        finetune(
            str(llama_folder()), data=reviews, task="classification", validation=inside, out=tmp_path / "o"
        )
    assert split_rows(reviews, inside, None, read_labeled, 0.1, 0, force=True)["validation"]


def test_one_label_alone_and_an_unknown_label_are_refused(llama_folder, reviews, tmp_path):
    one = write_rows(tmp_path / "one.jsonl", [{"text": f"a{i}", "label": "x"} for i in range(9)])
    with pytest.raises(EtudeError, match="only label"):
        finetune(str(llama_folder()), data=one, task="classification", out=tmp_path / "o1")
    other = write_rows(tmp_path / "other.jsonl", [{"text": "b", "label": "meh"}])
    with pytest.raises(EtudeError, match="'meh' is in no training row"):
        finetune(str(llama_folder()), data=reviews, task="classification", test=other, out=tmp_path / "o2")


@pytest.mark.slow
def test_a_killed_fine_tuning_goes_on_and_ends_with_the_same_weights(llama_folder, chats, tmp_path):
    folder = str(llama_folder(128))
    code = (
        "from etude.methods.teenytinyllama import finetune; import sys;"
        f"finetune({folder!r}, data={str(chats)!r}, learning_rate=1e-3, epochs=40, out=sys.argv[1])"
    )
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "whole")], check=True, env=env)
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "killed")], env=env)
    while not list((tmp_path / "killed" / "fit").glob("checkpoint-*/complete")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "killed")], check=True, env=env)
    whole, killed = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "killed")
    )
    assert whole.keys() == killed.keys()
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
