import json
import math
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from etude.errors import EtudeError
from etude.methods.teenytinyllama import harness
from etude.methods.teenytinyllama.bits_per_byte import document_bits
from etude.methods.teenytinyllama.classification import macro_f1, majority
from etude.methods.teenytinyllama.evaluating import evaluate
from etude.methods.teenytinyllama.held_out import corpus_of
from etude.methods.teenytinyllama.reading import Document
from etude.methods.teenytinyllama.suites import Item, Suite, continuation, read_suite, score_items, suite_rows
from etude.models import load_causal_lm

TEXTS = ["O gato dorme na casa velha.", "A menina lê um livro sobre o mar.", "Ontem choveu na cidade."]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def texts(tmp_path):
    rows = [{"id": str(i), "text": text, "source": f"s{i % 2}"} for i, text in enumerate(TEXTS)]
    return write_rows(tmp_path / "texts.jsonl", rows)


def test_evaluate_sums_over_documents_and_reports_each_source(llama_folder, texts, tmp_path):
    folder = str(llama_folder())
    result = evaluate(folder, texts=(texts,), out=tmp_path / "figures.json")
    scores = document_bits(load_causal_lm(folder), [Document(str(i), t) for i, t in enumerate(TEXTS)])
    expected = sum(s.bits for s in scores) / sum(s.utf8_bytes for s in scores)
    assert result.texts["texts.jsonl"]["bits_per_byte"] == pytest.approx(expected, rel=1e-5)
    assert set(result.texts) == {"texts.jsonl", "texts.jsonl, s0", "texts.jsonl, s1"}
    stored = json.loads((tmp_path / "figures.json").read_text())
    assert [d["id"] for d in stored["documents"]["texts.jsonl"]] == ["0", "1", "2"]


def test_evaluate_reads_another_field_and_lines_as_documents(llama_folder, tmp_path):
    folder = str(llama_folder())
    rows = write_rows(tmp_path / "pages.jsonl", [{"id": "p", "pt": TEXTS[0], "de": TEXTS[1]}])
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    by_field = evaluate(folder, texts=(rows,), field="de").texts["pages.jsonl"]
    by_lines = evaluate(folder, texts=(tmp_path / "lines.txt",), lines=1).texts["lines.txt"]
    assert by_field["bytes"] == len(TEXTS[1].encode())
    assert by_lines["documents"] == 3


def test_nothing_to_evaluate_on_is_refused(llama_folder):
    with pytest.raises(EtudeError, match="nothing to evaluate on"):
        evaluate(str(llama_folder()))


def test_an_empty_file_is_refused(llama_folder, tmp_path):
    (tmp_path / "empty.txt").write_text("\n\n")
    with pytest.raises(EtudeError, match="holds no document"):
        evaluate(str(llama_folder()), texts=(tmp_path / "empty.txt",))


def test_answers_are_scored_as_the_chain_rule_has_it(llama_folder):
    lm = load_causal_lm(str(llama_folder(64)))
    items = [
        Item("O gato", ("dorme na casa", "corre"), 0),
        Item("A menina lê", ("um livro", "o mar todo"), 1),
    ]
    scores, shortened = score_items(lm, items)
    assert shortened == 0
    for item, found in zip(items, scores, strict=True):
        for answer, value in zip(item.choices, found, strict=True):
            read, scored = continuation(lm.tokenizer, item.prompt, answer)
            row = [lm.tokenizer.eos_token_id, *read, *scored]
            with torch.no_grad():
                logs = lm.model(torch.tensor([row])).logits[0].double().log_softmax(-1)
            expected = sum(float(logs[i - 1, row[i]]) for i in range(len(read) + 1, len(row)))
            assert value == pytest.approx(expected, rel=1e-4)
            assert lm.tokenizer.decode([*read, *scored]) == f"{item.prompt} {answer}"


def test_a_uniform_model_prefers_short_answers_and_has_no_preference_per_byte_beyond_tokens(llama_folder):
    lm = load_causal_lm(str(llama_folder(64, uniform=True)))
    (scores,), _ = score_items(lm, [Item("O gato", ("dorme na casa", "e"), 0)])
    lengths = [len(continuation(lm.tokenizer, "O gato", answer)[1]) for answer in ("dorme na casa", "e")]
    assert scores == pytest.approx([-n * math.log(400) for n in lengths], rel=1e-5)


def test_long_prompts_lose_their_beginning_and_are_counted(llama_folder):
    lm = load_causal_lm(str(llama_folder()))
    long = "A menina lê um livro sobre o mar. " * 20
    _, shortened = score_items(lm, [Item(long, ("sim", "não"), 0), Item("O gato", ("sim", "não"), 0)])
    assert shortened == 1


def test_every_suite_table_has_chance_and_majority_rows(llama_folder, tmp_path):
    rows = [
        {"text": t, "label": label}
        for t, label in zip(TEXTS * 2, ["bom", "mau", "bom", "bom", "bom", "mau"], strict=True)
    ]
    result = evaluate(str(llama_folder(64)), suites=(str(write_rows(tmp_path / "reviews.jsonl", rows)),))
    by = {row.scored_by: row for row in result.suites}
    assert by["chance"].accuracy == pytest.approx(0.5)
    assert by["most frequent answer"].accuracy == pytest.approx(4 / 6)
    truth = [0, 1, 0, 0, 0, 1]
    assert by["most frequent answer"].macro_f1 == pytest.approx(
        f1_score(truth, [0] * 6, average="macro", zero_division=0)
    )
    rng = np.random.default_rng(0)
    guesses = [f1_score(truth * 300, rng.integers(0, 2, 1800), average="macro") for _ in range(3)]
    assert by["chance"].macro_f1 == pytest.approx(np.mean(guesses), abs=0.03)


def test_macro_f1_is_that_of_scikit_learn():
    rng = np.random.default_rng(1)
    for _ in range(20):
        truth, chosen = rng.integers(0, 4, 30), rng.integers(0, 4, 30)
        assert macro_f1(truth, chosen) == pytest.approx(
            f1_score(truth, chosen, average="macro", zero_division=0)
        )
    assert majority(np.array([2, 1, 1, 2, 3])) == 1


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ({"question": "Q", "choices": ["a", "b", "c"], "answer": 2}, 2),
        ({"question": "Q", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"}, 1),
        ({"ctx": "Q", "endings": ["x", "y"], "label": "1"}, 1),
        ({"enunciado": "Q", "alternatives": ["x", "y"], "label": "B"}, 1),
        ({"query": "Q", "options": ["sim", "não"], "gold": "não"}, 1),
    ],
)
def test_suites_are_read_in_the_spellings_that_are_about(tmp_path, row, answer):
    suite = read_suite(str(write_rows(tmp_path / "s.jsonl", [row])))
    assert (suite.kind, suite.items[0].prompt, suite.items[0].answer) == ("multiple-choice", "Q", answer)


def test_classification_suites_take_a_prompt_and_names_for_the_labels(tmp_path):
    rows = [{"text": "ruim", "label": 0}, {"text": "ótimo", "label": 1}]
    path = str(write_rows(tmp_path / "s.jsonl", rows))
    suite = read_suite(path, prompt="{text} Nota:", labels=("negativa", "positiva"))
    assert suite.items[1] == Item("ótimo Nota:", ("negativa", "positiva"), 1)
    with pytest.raises(EtudeError, match="no place for the text"):
        read_suite(path, prompt="Nota:")
    with pytest.raises(EtudeError, match="3 names for the 2 labels"):
        read_suite(path, labels=("a", "b", "c"))


def test_both_texts_of_a_pair_are_read(tmp_path):
    rows = [{"text": "Quem dorme?", "pair": "O gato dorme.", "label": x} for x in ("sim", "não")]
    suite = read_suite(str(write_rows(tmp_path / "p.jsonl", rows)))
    assert suite.items[0] == Item("Quem dorme?\nO gato dorme.\n", ("não", "sim"), 1)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"question": "Q", "choices": ["a", "b"], "answer": 5}, "answer 5 is none of the 2"),
        ({"question": "Q", "choices": ["a"], "answer": 0}, "two or more"),
        ({"question": "Q", "choices": ["a", "b"]}, "none of the fields answer"),
        ({"label": "x"}, "none of the fields text"),
    ],
)
def test_a_bad_question_is_named_by_file_and_line(tmp_path, row, message):
    good = (
        {"question": "Q", "choices": ["a", "b"], "answer": 0}
        if "question" in row
        else {"text": "t", "label": "y"}
    )
    path = write_rows(tmp_path / "bad.jsonl", [good, row])
    with pytest.raises(EtudeError, match=r"bad\.jsonl:2.*" + message):
        read_suite(str(path))


def test_a_suite_of_one_label_is_refused(tmp_path):
    with pytest.raises(EtudeError, match="only label"):
        read_suite(str(write_rows(tmp_path / "one.jsonl", [{"text": "t", "label": "y"}] * 3)))


def test_an_answer_longer_than_the_context_is_refused(llama_folder):
    lm = load_causal_lm(str(llama_folder()))
    with pytest.raises(EtudeError, match="an answer has"):
        suite_rows(lm, Suite("s", "multiple-choice", [Item("Q", ("a", "gato velho " * 40), 0)]))


def test_a_harness_task_without_lm_eval_says_what_to_install(llama_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(EtudeError, match="needs lm-eval") as caught:
        evaluate(str(llama_folder()), harness=("assin2_rte",))
    assert "pip install" in caught.value.hint


def test_the_harness_rows_count_what_lm_eval_logged():
    samples = [
        {"target": 1, "filtered_resps": [(-3.0, False), (-1.0, True)]},
        {"target": 0, "filtered_resps": [(-3.0, False), (-1.0, True)]},
        {"target": 1, "filtered_resps": [(-2.0, False), (-9.0, False)]},
    ]
    rows = harness.task_rows("task", "model", samples)
    assert [row.accuracy for row in rows] == pytest.approx([1 / 3, 2 / 3, 0.5])
    assert rows[0].macro_f1 == pytest.approx(f1_score([1, 0, 1], [1, 1, 0], average="macro"))


def test_a_harness_task_that_is_no_choice_is_refused():
    with pytest.raises(EtudeError, match="not multiple choice"):
        harness.task_rows("task", "model", [{"target": "text", "filtered_resps": ["text"]}])


def test_the_harness_is_asked_for_the_named_tasks(llama_folder, monkeypatch):
    asked = {}

    def simple_evaluate(**options):
        asked.update(options)
        return {"samples": {"toy": [{"target": "0", "filtered_resps": [(-1.0, True), (-2.0, False)]}]}}

    modules = {
        "lm_eval.evaluator": SimpleNamespace(simple_evaluate=simple_evaluate),
        "lm_eval.tasks": SimpleNamespace(TaskManager=lambda include_path: SimpleNamespace(all_tasks=["toy"])),
        "lm_eval.models": ModuleType("lm_eval.models"),
        "lm_eval.models.huggingface": SimpleNamespace(HFLM=lambda **options: options),
    }
    monkeypatch.setitem(sys.modules, "lm_eval", ModuleType("lm_eval"))
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    result = evaluate(str(llama_folder()), harness=("toy",), shots=3, limit=7)
    assert (asked["num_fewshot"], asked["limit"], asked["tasks"]) == (3, 7, ["toy"])
    assert [row.scored_by.rpartition(", ")[2] for row in result.suites] == [
        "lm-eval",
        "most frequent answer",
        "chance",
    ]
    with pytest.raises(EtudeError, match="no task 'other'"):
        evaluate(str(llama_folder()), harness=("other",))


def test_lm_eval_and_our_own_scoring_choose_the_same_answers(llama_folder, tmp_path):
    pytest.importorskip("lm_eval")
    rows = [
        {"question": "O gato", "choices": ["dorme na casa", "corre"], "answer": 0},
        {"question": "A menina lê", "choices": ["um livro", "o mar"], "answer": 1},
        {"question": "Ontem choveu", "choices": ["muito", "na cidade velha"], "answer": 0},
    ]
    data = write_rows(tmp_path / "toy.jsonl", rows)
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    (tasks / "toy.yaml").write_text(
        "task: toy\ndataset_path: json\noutput_type: multiple_choice\ntest_split: train\n"
        f"dataset_kwargs:\n  data_files: {data}\n"
        "doc_to_text: '{{question}}'\ndoc_to_choice: '{{choices}}'\ndoc_to_target: '{{answer}}'\n"
        "target_delimiter: ' '\nmetric_list:\n  - metric: acc\n"
    )
    folder = str(llama_folder(64))
    theirs = evaluate(folder, harness=("toy",), tasks=tasks).suites
    ours = evaluate(folder, suites=(str(data),)).suites
    assert theirs[0].accuracy == pytest.approx(ours[0].accuracy)
    assert [row.accuracy for row in theirs[1:]] == pytest.approx([row.accuracy for row in ours[2:]])


@pytest.mark.parametrize("content", ["", "data: [", "- a list", "\x00"])
def test_settings_of_a_run_that_are_damaged_are_named(tmp_path, content):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(EtudeError, match=r"config\.yaml: not the settings of a run"):
        corpus_of(tmp_path)
