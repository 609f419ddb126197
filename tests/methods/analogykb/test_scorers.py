"""Scorers against closed forms and planted relations; saving, resuming, tiny real models; prompts."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from etude.errors import EtudeError
from etude.methods.analogykb import PairScorer, evaluate, questions, read_questions, train
from etude.methods.analogykb.analogy_questions import AnalogyQuestion, GenerationItem
from etude.methods.analogykb.grouped_accuracy import accuracy_of, groups_of, hit_at
from etude.methods.analogykb.listwise import FeatureNetwork, RelationEncoder, listwise_loss, stacked
from etude.methods.analogykb.pair_scorer import default_recipe
from etude.methods.analogykb.prompted import read_letter
from etude.methods.analogykb.scorers import Recipe
from etude.methods.analogykb.similarity_features import FEATURES, centered, similarity_features
from etude.models import register_scripted


def question(stem, choice, answer, group="g"):
    return AnalogyQuestion(stem=stem, choice=choice, answer=answer, group=group)


def test_the_features_are_their_formulas_on_vectors_done_by_hand():
    a, b, c, d = (np.array(v, dtype=np.float32) for v in ([1, 0], [0, 1], [0.6, 0.8], [-0.8, 0.6]))

    def cos(x, y):
        return float(x @ y / np.sqrt((x @ x) * (y @ y)))

    expected = [
        cos(b - a, d - c), cos(c - a, d - b), cos(a, c), cos(b, d), cos(a, b), cos(c, d), cos(a, d),
        cos(b, c),
        abs(cos(a, b) - cos(c, d)), abs(cos(a, c) - cos(b, d)), cos(d, c + b - a), cos(c, d + a - b),
        abs(np.linalg.norm(b - a) - np.linalg.norm(d - c)), 0.0,
    ]  # fmt: skip
    found = similarity_features(a, b, c, d)
    assert found.shape == (14,) == (len(FEATURES),)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(centered(np.stack([c, d]) * 3, a), axis=1), 1, atol=1e-6)


def test_the_network_has_257_weights_and_padding_does_not_count():
    assert sum(p.numel() for p in FeatureNetwork().parameters()) == 257
    scores = torch.tensor([[1.0, 2.0, 9.0]])
    padded = listwise_loss(scores, torch.tensor([[1, 1, 0]]), torch.tensor([0]))
    assert padded.item() == pytest.approx(float(np.log(1 + np.e)), abs=1e-5)
    vectors = {w: np.random.default_rng(i).normal(size=4).astype(np.float32) for i, w in enumerate("abcdef")}
    stems, choices = (
        [("a", "b"), ("a", "b")],
        [[("c", "d"), ("e", "f")], [("c", "d"), ("e", "f"), ("a", "c")]],
    )
    inputs, mask = stacked(vectors, stems, choices, features=True)
    assert inputs.shape == (2, 3, 14) and mask.tolist() == [[1, 1, 0], [1, 1, 1]]
    torch.testing.assert_close(inputs[0, :2], inputs[1, :2])
    np.testing.assert_allclose(
        inputs[1, 2].numpy(), similarity_features(*(vectors[w] for w in "abac")), atol=1e-6
    )
    pairs, _ = stacked(vectors, stems, choices, features=False)
    assert RelationEncoder(4).scores(pairs).shape == (2, 3)


def test_an_untrained_residual_encoder_is_the_cosine_of_differences():
    vectors = {w: np.random.default_rng(i).normal(size=4).astype(np.float32) for i, w in enumerate("abcdef")}
    inputs, _ = stacked(vectors, [("a", "b")], [[("c", "d"), ("e", "f")]], features=False)
    scores = RelationEncoder(4, residual=True).scores(inputs)[0] * 0.07
    stem = vectors["b"] - vectors["a"]
    for score, (c, d) in zip(scores.tolist(), [("c", "d"), ("e", "f")], strict=True):
        other = vectors[d] - vectors[c]
        assert score == pytest.approx(stem @ other / np.linalg.norm(stem) / np.linalg.norm(other), abs=1e-5)


def planted(monkeypatch, count=60):
    """Words whose vectors hold two relations: a shift along axis 0, or along axis 1, plus noise."""
    generator = np.random.default_rng(0)
    vectors, pairs = {}, {"x": [], "y": []}
    for axis, rel in enumerate("xy"):
        for i in range(count):
            base = generator.normal(size=16)
            head, tail = f"{rel}h{i}", f"{rel}t{i}"
            vectors[head], vectors[tail] = base, base + 4 * np.eye(16)[axis] + 0.3 * generator.normal(size=16)
            pairs[rel].append((head, tail))

    def lookup(words, encoder="minilm"):
        rows = np.stack([vectors[w] for w in words]).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    import etude.methods.analogykb.scorers as scorers

    monkeypatch.setattr(scorers, "word_vectors", lookup)
    made = []
    for i in range(count - 1):
        for rel, other in ("xy", "yx"):
            place = i % 2
            choice = [pairs[other][i], pairs[other][i]]
            choice[place], choice[1 - place] = pairs[rel][i + 1], pairs[other][i]
            made.append(question(pairs[rel][i], choice, place, rel))
    return made


@pytest.mark.parametrize("kind", ["features", "contrastive", "residual"])
def test_a_planted_relation_is_learned_saved_and_loaded(monkeypatch, tmp_path, kind):
    made = planted(monkeypatch)
    scorer = PairScorer(kind=kind).fit(made[:80], recipe=Recipe(20, 16, 1e-2))
    chosen = [int(np.argmax(scorer.score(q.stem, q.choice))) for q in made[80:]]
    assert accuracy_of("held out", made[80:], chosen).accuracy.value > 0.9
    scorer.save(tmp_path / "s")
    again = PairScorer.load(tmp_path / "s")
    assert again.kind == kind and again.score(made[0].stem, made[0].choice) == scorer.score(
        made[0].stem, made[0].choice
    )
    assert {p.name for p in (tmp_path / "s").iterdir()} == {"analogykb.json", "network.safetensors"}


def test_an_untrained_scorer_prefers_the_parallel_pair():
    scores = PairScorer().score(("man", "woman"), [("king", "queen"), ("king", "car")])
    assert scores[0] > scores[1] and all(-1 <= s <= 1 for s in scores)


def test_accuracy_chance_groups_and_hits():
    asked = [question(("a", "b"), [("c", "d"), ("e", "f")], 0, "x"),
             question(("a", "b"), [("c", "d"), ("e", "f"), ("g", "h"), ("i", "j")], 1, "y")]  # fmt: skip
    found = accuracy_of("t", asked, [0, None])
    assert found.accuracy.value == 0.5 and found.chance == pytest.approx(0.375) and found.unanswered == 1
    assert found.positions == (1, 0, 0, 0)
    assert [(g.group, g.accuracy.value) for g in groups_of("t", asked, [0, 0])] == [("x", 1.0), ("y", 0.0)]
    with pytest.raises(EtudeError, match="no question is left"):
        accuracy_of("t", [], [])
    items = [GenerationItem(stem=("a", "b"), query="c", accepted=["Big Dog", "cat"])] * 3
    assert hit_at(items, [["x", "big_dog"], ["cat"], []], 1) == [False, True, False]
    assert hit_at(items, [["x", "big_dog"], ["cat"], []], 2) == [True, True, False]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A tiny encoder, a tiny T5 and a tiny GPT-2 with one word tokenizer, randomly initialized."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        BertConfig,
        BertModel,
        GPT2Config,
        GPT2LMHeadModel,
        PreTrainedTokenizerFast,
        T5Config,
        T5ForConditionalGeneration,
    )

    from etude.methods.analogykb.demo import GRAPH

    words = sorted({w for pairs in GRAPH.values() for p in pairs.split(",") for w in p.split()})
    vocabulary = ["<pad>", "</s>", "<unk>", *"():ABCDE", "is", "to", "as", "Answer", *words]
    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(vocabulary)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=128
    )
    torch.manual_seed(0)
    n = len(vocabulary)
    made = {
        "bert": BertModel(BertConfig(vocab_size=n, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                                     intermediate_size=64, max_position_embeddings=128,
                                     hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)),
        "t5": T5ForConditionalGeneration(T5Config(vocab_size=n, d_model=32, d_kv=16, d_ff=64,
        num_layers=1, num_heads=2,
                                                  decoder_start_token_id=0, pad_token_id=0, eos_token_id=1)),
        "gpt2": GPT2LMHeadModel(GPT2Config(vocab_size=n, n_embd=32, n_layer=1, n_head=2, n_positions=128,
                                           bos_token_id=1, eos_token_id=1)),
    }  # fmt: skip
    folder = tmp_path_factory.mktemp("tiny")
    for name, model in made.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    return folder


@pytest.fixture(scope="module")
def files(kb_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions")
    questions(kb_folder, out=folder / "q.jsonl", n=60, choices=3, split="all")
    questions(kb_folder, out=folder / "g.jsonl", n=60, task="generation", split="all")
    return folder


@pytest.mark.parametrize(("scorer", "model"), [("encoder", "bert"), ("seq2seq", "t5"), ("seq2seq", "gpt2")])
def test_transformers_learn_their_questions_and_come_back_from_their_folder(
    tiny, files, tmp_path, scorer, model
):
    made = train(
        files / "q.jsonl", out=tmp_path / "run", scorer=scorer, encoder=str(tiny / model), epochs=10,
        batch_size=16,
        learning_rate=3e-3,
    )  # fmt: skip
    losses = read_losses(tmp_path / "run")
    assert made.steps > 0 and losses[-1] < losses[0]
    loaded, again = PairScorer.load(tmp_path / "run"), PairScorer.load(tmp_path / "run" / "scorer")
    asked = read_questions(files / "q.jsonl")[:4]
    scores = loaded.scorer.choice_scores([q.stem for q in asked], [q.choice for q in asked])
    assert [len(row) for row in scores] == [3] * 4 and np.isfinite(np.concatenate(scores)).all()
    alone = again.score(asked[0].stem, asked[0].choice)  # other padding, the same scores
    np.testing.assert_allclose(alone, scores[0], atol=1e-4)
    found = evaluate(str(tmp_path / "run"), (files / "q.jsonl",), by_group=True, out=tmp_path / "a.jsonl")
    assert found.rows[0].questions == 60 and len(found.rows) == 6
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 60


def read_losses(run):
    state = json.loads(max(run.glob("checkpoints/checkpoint-*/trainer_state.json")).read_text())
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


@pytest.mark.parametrize("model", ["t5", "gpt2"])
def test_generation_is_trained_and_measured_by_hits(tiny, files, tmp_path, model):
    train(
        files / "g.jsonl", out=tmp_path / "run", scorer="seq2seq", encoder=str(tiny / model), epochs=1,
        batch_size=16,
        learning_rate=3e-3,
    )  # fmt: skip
    found = evaluate(str(tmp_path / "run"), (files / "g.jsonl",), k=(1, 2), limit=8)
    assert found.hits[0].items == 8 and found.hits[0].hit[1].value <= found.hits[0].hit[2].value
    with pytest.raises(EtudeError, match="cannot learn"):
        train(files / "g.jsonl", out=tmp_path / "no", scorer="features")
    with pytest.raises(EtudeError, match="cannot generate"):
        evaluate("cosine", (files / "g.jsonl",), limit=2)


def test_a_wrong_kind_of_model_is_refused(files, tmp_path, tiny):
    with pytest.raises(EtudeError, match="text-to-text"):
        train(files / "q.jsonl", out=tmp_path / "a", scorer="seq2seq", encoder=str(tiny / "bert"))
    with pytest.raises(EtudeError, match="multiple-choice"):
        train(files / "q.jsonl", out=tmp_path / "b", scorer="encoder", encoder=str(tiny / "t5"))
    with pytest.raises(EtudeError, match="no trained scorer"):
        PairScorer.load(tmp_path)
    with pytest.raises(EtudeError, match="there is no scorer"):
        PairScorer(kind="magic")
    with pytest.raises(EtudeError, match="not trained"):
        PairScorer().save(tmp_path / "s")


KILLED = """
import os, sys
import etude.training.fitting as fitting
mark = fitting.MarkComplete.on_save
saves = []
def killing(self, *args, **kwargs):
    mark(self, *args, **kwargs)
    saves.append(1)
    if sys.argv[3] == "kill" and len(saves) == 3:
        os.kill(os.getpid(), 9)
fitting.MarkComplete.on_save = killing
from etude.methods.analogykb import train
print(train(sys.argv[1], out=sys.argv[2], epochs=10, batch_size=16).train_loss, len(saves))
"""


@pytest.mark.slow
def test_a_killed_training_goes_on_and_gives_the_same_weights(files, tmp_path):
    def run(out, kill):
        return subprocess.run(
            [sys.executable, "-c", KILLED, str(files / "q.jsonl"), str(tmp_path / out), kill],
            env={**os.environ},
            capture_output=True, text=True,
        )  # fmt: skip

    assert run("whole", "no").returncode == 0
    assert run("cut", "kill").returncode == -signal.SIGKILL
    assert not (tmp_path / "cut" / "scorer").exists()
    resumed = run("cut", "no")
    assert resumed.returncode == 0 and int(resumed.stdout.split()[1]) < 10
    weights = [(tmp_path / out / "scorer" / "network.safetensors").read_bytes() for out in ("whole", "cut")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("B", 1), ("(B)", 1), (" b", None),
        ("The answer is C.", 2), ("(A) is to", 0), ("B) fin is to fish", 1),
        ("A or B? (A) or (B)", None), ("E", None), ("", None),
        ("A fish", None), ("Answer: D", 3), ("none of them", None),
    ],
)  # fmt: skip
def test_letters_are_read_only_when_one_is_named(text, place):
    assert read_letter(text, 4) == place


def test_a_prompted_model_of_known_quality_gets_its_accuracy(files, tmp_path):
    asked = {q.stem + tuple(q.choice): q for q in read_questions(files / "q.jsonl")}
    by_text = {}
    for q in asked.values():
        by_text["\n".join(f"{a} is to {b}" for a, b in q.choice)] = q

    def answer(conversation):
        text = conversation[-1]["content"]
        shown = "\n".join(line.split(") ", 1)[1] for line in text.splitlines()[1:])
        q = by_text[shown]
        return "?" if q.stem[0] < "f" else "ABC"[q.answer]

    register_scripted("knows", answer, score=lambda c, option: -float(ord(option)))
    found = evaluate("scripted/knows", (files / "q.jsonl",))
    silent = sum(q.stem[0] < "f" for q in read_questions(files / "q.jsonl"))
    assert found.rows[0].unanswered == silent
    assert found.rows[0].accuracy.value == pytest.approx(1 - silent / 60)
    first = evaluate("scripted/knows", (files / "q.jsonl",), logprob=True).rows[0]
    assert first.positions == (60, 0, 0)


def test_demonstrations_are_shown_and_must_not_be_in_the_test(files, tmp_path):
    seen = []

    def answer(conversation):
        seen.append(len(conversation))
        return "A"

    register_scripted("shown", answer)
    lines = [
        json.dumps({"stem": [f"s{i}", f"t{i}"], "choice": [["u", f"v{i}"], ["w", f"x{i}"]], "answer": 0})
        for i in range(4)
    ]
    (tmp_path / "d.jsonl").write_text("\n".join(lines) + "\n")
    evaluate("scripted/shown", (files / "q.jsonl",), demonstrations=tmp_path / "d.jsonl", shots=3, limit=2)
    assert seen == [8, 8]
    with pytest.raises(EtudeError, match="is in the test"):
        evaluate("scripted/shown", (files / "q.jsonl",), demonstrations=files / "q.jsonl", shots=2)
    with pytest.raises(EtudeError, match="5 shots of 4"):
        evaluate("scripted/shown", (files / "q.jsonl",), demonstrations=tmp_path / "d.jsonl", shots=5)
    register_scripted("speaks", lambda c: "cat" if len(c) > 1 else "")
    hits = evaluate("scripted/speaks", (files / "g.jsonl",), k=(1,), limit=10).hits[0]
    assert hits.items == 10 and hits.hit[1].value < 1


def test_odd_tests_are_noticed(tmp_path):
    rows = [
        {"stem": ["a", "b"], "choice": [["c", "d"], ["e", "f"], ["e", "f"]], "answer": 0},
        {"stem": ["a", "b"], "choice": [["c", "d"], ["b", "f"]], "answer": 0, "prefix": "p"},
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    register_scripted("first", lambda c: "A")
    notices = " ".join(evaluate("scripted/first", (tmp_path / "t.jsonl",)).notices)
    assert "wrong choice twice" in notices and "a word of the stem" in notices and "2 to 3 choices" in notices


def test_the_recipes_are_the_specs():
    assert default_recipe("encoder").learning_rate == 1e-5 and default_recipe("seq2seq").learning_rate == 1e-4
    assert all(default_recipe(kind).batch_size == 64 for kind in ("features", "encoder", "seq2seq"))
    assert all(3 <= default_recipe(kind).epochs <= 5 for kind in ("features", "encoder", "seq2seq"))


@pytest.mark.slow
def test_the_inspect_task_scores_letters(files, tmp_path):
    pytest.importorskip("inspect_ai")
    from inspect_ai import eval as inspect_eval
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    from etude.methods.analogykb.inspect_task import analogykb

    asked = read_questions(files / "q.jsonl")
    outputs = [
        ModelOutput.from_content("mock", "ABC"[q.answer] if i % 2 else "neither") for i, q in enumerate(asked)
    ]
    for output in outputs:  # else Inspect counts tokens with a tokenizer that it downloads
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
    [log] = inspect_eval(
        analogykb(str(files / "q.jsonl")),
        model=get_model("mockllm/model", custom_outputs=outputs, memoize=False),
        log_dir=str(tmp_path), display="none", max_connections=1, max_samples=1,
    )  # fmt: skip
    assert log.status == "success", log.error
    metrics = {name: m.value for name, m in log.results.scores[0].metrics.items()}
    assert metrics["mean"] == pytest.approx(0.5) and metrics["unanswered"] == pytest.approx(0.5)
