"""The verbs as a user calls them, with a small encoder, and what they say of wrong input."""

import json
from pathlib import Path

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.methods.pipenet import evaluate, explain, ground, parse, predict, prune, sweep, train
from etude.methods.pipenet.demo import SAMPLE
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.parsing import open_parser
from etude.methods.pipenet.questions import read_questions

PARSES = SAMPLE / "parses.jsonl"
QUESTIONS = SAMPLE / "questions.jsonl"


@pytest.fixture(scope="module")
def pruned(graphs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pruned") / "pruned-0.5"
    prune(graphs_folder, out=folder, rate=0.5)
    return folder


@pytest.fixture(scope="module")
def model(pruned: Path, tiny_encoder: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    train(
        str(QUESTIONS), graphs=pruned, out=folder, encoder=tiny_encoder, dim=16, layers=2, epochs=60,
        batch_size=12, learning_rate=1e-2, dropout=0.0,
    )  # fmt: skip
    return folder


def test_a_network_learns_its_own_questions(model: Path, pruned: Path, tmp_path: Path) -> None:
    found = evaluate(str(QUESTIONS), graphs=pruned, model=model)
    assert found.accuracy is not None and found.accuracy.value > 0.9
    assert found.chance == 0.25 and found.notices == ()
    with pytest.raises(EtudeError, match=r"\.jsonl or \.parquet"):
        predict(str(QUESTIONS), graphs=pruned, model=model, out=tmp_path / "p.csv")
    result = predict(str(QUESTIONS), graphs=pruned, model=model, out=tmp_path / "p.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert result.questions == len(rows) == 12
    assert all(abs(sum(row["probabilities"]) - 1) < 1e-5 for row in rows)


def test_small_batches_of_prediction_change_nothing(model: Path, pruned: Path, tmp_path: Path) -> None:
    for budget in (1, 10**6):
        predict(
            str(QUESTIONS), graphs=pruned, model=model, out=tmp_path / f"{budget}.jsonl", edge_budget=budget
        )
    rows = [
        [json.loads(line)["probabilities"] for line in (tmp_path / f"{b}.jsonl").read_text().splitlines()]
        for b in (1, 10**6)
    ]
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-4)


def test_other_pruning_than_in_training_is_said(model: Path, graphs_folder: Path) -> None:
    notices = evaluate(str(QUESTIONS), graphs=graphs_folder, model=model).notices
    assert notices == (
        "the network was trained on graphs 50% of the bridges removed by dependency, these are not pruned",
    )


def test_the_page_shows_kept_and_pruned_concepts_escaped(
    model: Path, graphs_folder: Path, pruned: Path, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    explain(str(QUESTIONS), graphs=graphs_folder, model=model, out=page, id="anchor")
    text = page.read_text()
    whole, kept = GraphStore(graphs_folder), GraphStore(pruned)
    q = next(q for q in read_questions(QUESTIONS) if q.id == "anchor")
    before, after = whole.of_question(q)[1], kept.of_question(q)[1]
    gone = {before.name(int(c)) for c in before.nodes} - {after.name(int(c)) for c in after.nodes}
    assert gone and all(name in text for name in gone) and "<script" not in text
    with pytest.raises(EtudeError, match="is pruned already"):
        explain(str(QUESTIONS), graphs=pruned, model=model, out=page)
    with pytest.raises(EtudeError, match="no question has the id 'nobody'"):
        explain(str(QUESTIONS), graphs=graphs_folder, model=model, out=page, id="nobody")


def test_ragged_choices_and_ungrounded_questions_are_answered(
    kg_folder: Path, tiny_encoder: str, tmp_path: Path
) -> None:
    rows = [
        {"id": "a", "question": "a candle is a ___", "choices": ["fire", "ship", "bird"], "answer": 0},
        {"id": "b", "question": "книга и ___", "choices": ["стол", ""], "answer": 1},
        {"id": "c", "question": "a ship has a ___", "choices": ["anchor"], "answer": 0},
    ]
    questions = tmp_path / "q.jsonl"
    questions.write_text("\n".join(json.dumps(row) for row in rows))
    given = tmp_path / "parses.jsonl"
    texts = [r["question"].replace("___", c) for r in rows for c in r["choices"]]
    texts += [c for r in rows for c in r["choices"] if c]
    lines = []
    for text in dict.fromkeys(texts):
        words, at, starts = text.split(), 0, []
        for word in words:
            starts.append(text.index(word, at))
            at = starts[-1] + len(word)
        ends = [s + len(w) for s, w in zip(starts, words, strict=True)]
        heads = [max(0, i - 1) for i in range(len(words))]
        row = {"text": text, "starts": starts, "ends": ends, "lemmas": words, "heads": heads}
        lines.append(json.dumps(row))
    given.write_text("\n".join(lines))
    result = ground(str(questions), kg=kg_folder, parser=str(given), out=tmp_path / "g")
    assert result.grounded.size.statements == 6 and result.grounded.size.ungrounded == 2
    assert "2 statements name no concept" in result.grounded.notices[0]
    train(
        str(questions), graphs=tmp_path / "g", out=tmp_path / "m", encoder=tiny_encoder, dim=8, layers=1,
        epochs=2, batch_size=1, edge_budget=30,
    )  # fmt: skip
    found = predict(str(questions), graphs=tmp_path / "g", model=tmp_path / "m", out=tmp_path / "p.jsonl")
    assert found.ungrounded == 1
    rows = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [len(row["probabilities"]) for row in rows] == [3, 2, 1]


def test_a_tuned_encoder_rests_first_and_is_saved(pruned: Path, tiny_encoder: str, tmp_path: Path) -> None:
    from etude.models import load_encoder

    shape = {
        "dim": 8,
        "layers": 1,
        "batch_size": 6,
        "mini_batch": 3,
        "epochs": 2,
        "encoder_learning_rate": 1e-3,
    }
    for rest in (1, 2):
        train(
            str(QUESTIONS), graphs=pruned, out=tmp_path / str(rest), encoder=tiny_encoder, tune=True,
            frozen_epochs=rest, **shape,
        )  # fmt: skip
    before, thawed, rested = (
        dict(load_encoder(str(name)).model.named_parameters())["encoder.layer.0.output.dense.weight"]
        for name in (tiny_encoder, tmp_path / "1" / "encoder", tmp_path / "2" / "encoder")
    )
    assert (before == rested).all() and (before != thawed).any()
    predict(str(QUESTIONS), graphs=pruned, model=tmp_path / "1", out=tmp_path / "p.parquet")
    assert (tmp_path / "p.parquet").exists()


def test_files_of_concept_vectors_are_checked(pruned: Path, tiny_encoder: str, tmp_path: Path) -> None:
    top = int(GraphStore(pruned).concepts[-1])
    shape = {"graphs": pruned, "encoder": tiny_encoder, "dim": 8, "layers": 1, "epochs": 1, "batch_size": 12}
    np.save(tmp_path / "short.npy", np.zeros((top, 5), dtype=np.float32))
    with pytest.raises(EtudeError, match=f"the graphs have the concept id {top}"):
        train(str(QUESTIONS), out=tmp_path / "a", features=tmp_path / "short.npy", **shape)
    np.save(tmp_path / "ent.npy", np.random.default_rng(0).normal(size=(top + 1, 5)).astype(np.float32))
    train(str(QUESTIONS), out=tmp_path / "b", features=tmp_path / "ent.npy", **shape)
    with pytest.raises(EtudeError, match=r"trained with concept vectors from ent.npy"):
        evaluate(str(QUESTIONS), graphs=pruned, model=tmp_path / "b")
    found = evaluate(str(QUESTIONS), graphs=pruned, model=tmp_path / "b", features=tmp_path / "ent.npy")
    assert found.accuracy is not None


def test_held_out_questions_choose_the_epoch(pruned: Path, tiny_encoder: str, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(q.id for q in read_questions(QUESTIONS)[:8]))
    shape = {"graphs": pruned, "encoder": tiny_encoder, "dim": 8, "layers": 1, "epochs": 2, "batch_size": 3}
    result = train(str(QUESTIONS), out=tmp_path / "m", ids=ids, hold_out=0.25, **shape)
    assert result.questions == 6 and result.held_out is not None and result.best_step in (2, 4)
    ids.write_text("nobody\n")
    with pytest.raises(EtudeError, match="no question has the id nobody"):
        train(str(QUESTIONS), out=tmp_path / "n", ids=ids, **shape)


@pytest.mark.slow  # every cell measures its step in a process of its own
def test_the_sweep_has_a_row_for_every_cell(graphs_folder: Path, tiny_encoder: str, tmp_path: Path) -> None:
    options = {"graphs": graphs_folder, "out": tmp_path / "s", "encoder": tiny_encoder, "dim": 8, "layers": 1}
    result = sweep(
        str(QUESTIONS), rates="0,1", by="random", train_questions=str(QUESTIONS), train_graphs=graphs_folder,
        epochs=1, sample=4, **options,
    )  # fmt: skip
    full, bare = result.rows
    assert (full.rate, bare.rate) == (0, 1) and full.messages > bare.messages and bare.step_ms > 0
    assert full.structural.value > 0.9 and full.trained is not None
    with pytest.raises(EtudeError, match=r"prune rate 1\.5"):
        sweep(str(QUESTIONS), rates="0,1.5", **options)
    with pytest.raises(EtudeError, match="no criterion nearest"):
        sweep(str(QUESTIONS), by="nearest", **options)


def test_stored_trees_ground_as_the_parser_does(kg_folder: Path, store: GraphStore, tmp_path: Path) -> None:
    pytest.importorskip("spacy")
    parse(str(QUESTIONS), out=tmp_path / "p.jsonl", kg=kg_folder)
    assert (tmp_path / "p.jsonl").read_text() == PARSES.read_text()
    result = ground(str(QUESTIONS), kg=kg_folder, out=tmp_path / "g", fast_parse=True)
    assert result.grounded.effect is not None and result.grounded.effect.statements == 48
    assert 0 <= result.grounded.effect.same_scores <= 1
    ground(str(QUESTIONS), kg=kg_folder, out=tmp_path / "full")
    for a, b in zip(GraphStore(tmp_path / "full"), store, strict=True):
        assert np.array_equal(a.nodes, b.nodes) and np.array_equal(a.scores, b.scores)


def test_several_sentences_stay_one_tree() -> None:
    pytest.importorskip("spacy")
    (tree,) = open_parser("spacy:en_core_web_sm").parse(["I saw a bank. It was closed! Where is the other?"])
    assert int((tree.heads == np.arange(len(tree.heads))).sum()) == 1


def test_a_parser_that_is_not_there_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from etude.methods.pipenet import parsing

    with pytest.raises(EtudeError, match="no parser 'stanza'"):
        open_parser("stanza")
    with pytest.raises(EtudeError, match="'xx_no_such' is not installed"):
        open_parser("spacy:xx_no_such")
    monkeypatch.setattr(parsing.util, "find_spec", lambda name: None)
    with pytest.raises(EtudeError, match=r"needs spaCy\npip install 'etude\[parsing\]'"):
        open_parser("spacy:en_core_web_sm")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "1", "question": "Q?", "choices": []}, r"q.jsonl:1: choices"),
        ({"id": "1", "question": "Q?", "choices": ["a"], "answer": 1}, "answer 1 is not an index of 1"),
        ({"id": "1", "question": "Q?", "choices": ["a"], "statements": []}, "0 statements for 1 choices"),
        ({"id": "1", "question": {"stem": "Q?", "choices": [{"label": "A", "text": "a"}]}, "answerKey": "B"},
         "answerKey 'B' is none of A"),
    ],
)  # fmt: skip
def test_bad_questions_are_named_by_line(row: dict, message: str, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(json.dumps(row))
    with pytest.raises(EtudeError, match=message):
        read_questions(tmp_path / "q.jsonl")


def test_published_shapes_are_read(tmp_path: Path) -> None:
    rows = [
        {"id": "a", "answerKey": "B", "question": {"stem": "Q?", "question_concept": "x", "choices": [
            {"label": "A", "text": "one"}, {"label": "B", "text": "two"}]}},
        {"id": "b", "question": "Q?", "answerKey": "A", "choices":
            {"label": ["A", "B"], "text": ["one", "two"]}},
        {"id": "c", "question_stem": "Q?", "choices": {"label": ["A"], "text": ["one"]}, "answerKey": "A",
         "fact1": "F."},
    ]  # fmt: skip
    (tmp_path / "q.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    a, b, c = read_questions(tmp_path / "q.jsonl")
    assert (a.question, a.choices, a.answer) == ("Q?", ["one", "two"], 1)
    assert (b.answer, c.question, c.fact) == (0, "Q?", "F.")


def test_graphs_of_other_questions_are_refused(graphs_folder: Path, tmp_path: Path) -> None:
    row = json.loads(QUESTIONS.read_text().splitlines()[0])
    for changed in ({**row, "id": "new"}, {**row, "choices": row["choices"][:3]}):
        (tmp_path / "q.jsonl").write_text(json.dumps(changed))
        with pytest.raises(EtudeError, match="was not grounded with these"):
            evaluate(str(tmp_path / "q.jsonl"), graphs=graphs_folder)
    (tmp_path / "q.jsonl").write_text("\n".join([json.dumps(row)] * 2))
    with pytest.raises(EtudeError, match="two questions have the id 'umbrella'"):
        evaluate(str(tmp_path / "q.jsonl"), graphs=graphs_folder)
    with pytest.raises(EtudeError, match="no subgraphs"):
        evaluate(str(QUESTIONS), graphs=tmp_path)


def test_stored_trees_that_are_wrong_are_named(tmp_path: Path, kg_folder: Path) -> None:
    good = {"text": "a b", "starts": [0, 2], "ends": [1, 3], "lemmas": ["a", "b"], "heads": [0, 0]}
    for change, message in (
        ({"heads": [0, 5]}, "a head is not a token"),
        ({"ends": [1, 9]}, "a token lies outside the text"),
        ({"lemmas": ["a"]}, "differ in length"),
        ({"starts": None}, "A parse has text, starts"),
    ):
        (tmp_path / "p.jsonl").write_text(json.dumps({**good, **change}))
        with pytest.raises(EtudeError, match=message):
            open_parser(str(tmp_path / "p.jsonl"))
    (tmp_path / "p.jsonl").write_text(json.dumps(good))
    with pytest.raises(EtudeError, match="no tree of"):
        ground(str(QUESTIONS), kg=kg_folder, parser=str(tmp_path / "p.jsonl"), out=tmp_path / "g")
