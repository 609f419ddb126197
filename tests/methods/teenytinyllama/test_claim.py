import json

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from etude.errors import EtudeError
from etude.evidence import run_claim
from etude.methods.teenytinyllama.arms import Laboratory, Setting
from etude.methods.teenytinyllama.claim import claim, claim_on, setting_of
from etude.methods.teenytinyllama.configs import ModelConfig
from etude.methods.teenytinyllama.downstream import TASK, _majority, _scored
from etude.methods.teenytinyllama.parallel_corpora import FILES, LANGUAGES, paragraphs, read_corpora, size_of
from etude.methods.teenytinyllama.sentence_selection import Question, pairs, read_pairs, sentences
from etude.methods.teenytinyllama.settings import TrainSettings
from etude.runs import file_hash

SMALL = ModelConfig(32, 64, 1, 2, context=64, vocab_size=600, tied=True)


def test_the_three_texts_have_equal_bytes_and_no_held_out_paragraph(shared_data):
    corpora = read_corpora(shared_data("teenytinyllama"))
    sizes = [sum(map(size_of, corpora.text(*names))) for names in (("pt",), LANGUAGES, ("en",))]
    assert max(sizes) - min(sizes) <= 6 * 4  # a character may be cut short at the end of each part
    held_out = {line for d in corpora.manuals for line in paragraphs(d.text)}
    held_out |= {line for page in corpora.pages for line in page["pt"].splitlines() if line.strip()}
    for documents in corpora.training.values():
        assert not held_out & {line for d in documents for line in paragraphs(d.text)}


def test_held_out_pages_are_in_no_training_text_of_any_language(shared_data):
    folder = shared_data("teenytinyllama")
    corpora = read_corpora(folder)
    lines = (folder / "pt_docs_valid.jsonl").read_text(encoding="utf-8").splitlines()
    valid = {json.loads(line)["id"] for line in lines}
    for documents in corpora.training.values():
        assert not valid & {d.id.rpartition(":")[0] for d in documents}
    assert len(corpora.pages) == 23
    assert len({d.id for d in corpora.manuals}) == len(corpora.manuals) == 147


def test_paragraphs_left_in_english_are_in_the_english_text_alone(shared_data):
    folder = shared_data("teenytinyllama")
    rows = map(json.loads, (folder / "parallel_handbook.jsonl").read_text(encoding="utf-8").splitlines())
    english = {row["id"]: set(paragraphs(row["en"])) for row in rows}
    training = read_corpora(folder).training
    for language in LANGUAGES:
        shared = sum(
            line in english[d.id.rpartition(":")[0]]
            for d in training[language]
            for line in paragraphs(d.text)
        )
        assert (shared == 0) == (language != "en")


def test_without_data_the_claim_says_what_it_needs(tmp_path):
    with pytest.raises(EtudeError, match=r"needs pt_docs_train\.jsonl"):
        claim()
    with pytest.raises(EtudeError, match=r"parallel_handbook\.jsonl in --data"):
        claim(data=tmp_path)


@pytest.mark.parametrize("scale", ["laptop", "slow", "paper"])
def test_every_scale_has_the_four_arms_and_equal_budgets(scale, shared_data):
    built = claim(scale=scale, data=shared_data("teenytinyllama"))
    letters = [arm.name[:2] for arm in built.arms if arm.name[1] == " "]
    assert {"A ", "B ", "C ", "D "} <= set(letters)
    assert built.seeds == ((0,) if scale == "paper" else (0, 1, 2))
    assert [part.name for part in built.parts][:2] == ["fertility", "A < C"]


def test_the_papers_setting_is_the_papers():
    setting = setting_of("paper", "160m")
    how = setting.training
    assert (setting.steps, how.tokens_per_step, how.learning_rate, how.warmup) == (458_000, 8192, 6e-4, 5000)
    assert (how.betas, how.eps, how.weight_decay) == ((0.9, 0.999), 1e-8, 0.01)
    assert setting.vocabulary == 32_000


@pytest.mark.slow
def test_the_claim_runs_from_texts_to_verdicts_on_a_tiny_model(shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("ETUDE_CACHE", str(tmp_path / "cache"))
    folder = shared_data("teenytinyllama")
    training = TrainSettings(tokens_per_step=256, learning_rate=3e-3, eval_every=0, sample_tokens=0)
    setting = Setting({"nano": SMALL, "pico": SMALL}, 600, training, steps=4, characters=200)
    laboratory = Laboratory(folder, setting, {name: file_hash(folder / name) for name in FILES})
    evidence = run_claim(claim_on(laboratory, "nano", "laptop", (0,)), tmp_path / "claim")
    assert not any(arm.errors for arm in evidence.arms)
    arms = {arm.name: arm for arm in evidence.arms}
    a, b, again = (
        arms[f"{name}"]
        for name in ("A native/native", "B multilingual/native", "B multilingual/native, equal bytes")
    )
    assert a.fact("steps") == b.fact("steps") == 4
    assert again.fact("steps") >= 4 and again.fact("MB read") == pytest.approx(a.fact("MB read"), rel=0.15)
    assert evidence.verdicts["fertility"] == "holds"


def test_sentences_are_cut_where_they_end():
    assert sentences("A UFMS fica em MS. Tem 5.400 alunos. É pública!") == [
        "A UFMS fica em MS.",
        "Tem 5.400 alunos.",
        "É pública!",
    ]


def test_the_right_sentence_holds_the_answer_and_the_wrong_ones_do_not():
    context = "O rio é longo. A ponte é velha. Há um museu."
    question = Question(id="1", title="T", context=context, question="Como é a ponte?", answers=["velha"])
    found = {pair.pair: pair.label for pair in pairs([question])}
    assert found == {"A ponte é velha.": "yes", "O rio é longo.": "no", "Há um museu.": "no"}
    spanning = question.model_copy(update={"answers": ["longo. A ponte"]})
    assert pairs([spanning]) == []


def test_articles_are_never_in_two_splits(shared_data):
    splits = read_pairs(shared_data("teenytinyllama") / "faquad_train.jsonl")
    articles = [{row.article for row in rows} for rows in splits.values()]
    assert not articles[0] & articles[1] and not articles[0] & articles[2] and not articles[1] & articles[2]


def test_the_downstream_metric_is_balanced_accuracy(shared_data):
    questions = shared_data("teenytinyllama") / "faquad_train.jsonl"
    assert np.mean(list(_majority(questions).scores[TASK].values())) == pytest.approx(0.5)
    rows = read_pairs(questions)["test"]
    truth = np.array([row.label == "yes" for row in rows]).astype(int)
    picked = np.random.default_rng(0).integers(0, 2, len(rows))
    measured = np.mean(list(_scored(rows, truth, picked, {}).scores[TASK].values()))
    assert measured == pytest.approx(balanced_accuracy_score(truth, picked))


@pytest.mark.slow
def test_the_demo_learns_something_in_its_seconds(tmp_path):
    from etude.methods.teenytinyllama.demo import demo

    shown = demo(tmp_path)
    before, after = (row[1] for row in shown.came_out[0].rows)
    assert after < before - 0.3
