import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from etude.errors import EtudeError
from etude.methods.idgen import evaluate, recommend, train, zeroshot
from etude.methods.idgen.backbones import build_backbone, load_backbone
from etude.methods.idgen.generators import Generator
from etude.methods.idgen.preparation import read_corpus
from etude.methods.idgen.recommender import GenerativeRecommender
from etude.methods.idgen.recommender_training import Training, fit_recommender
from etude.methods.idgen.recommending import parse_history
from etude.methods.idgen.setup import Setup, start_recommender
from etude.methods.idgen.templates import own_templates
from etude.methods.idgen.textual_ids import read_ids, write_ids
from etude.methods.idgen.unique_ids import IdGenerator
from etude.methods.idgen.unseen_items import describe, with_words
from etude.methods.idgen.user_ids import user_ids

QUICK = {"epochs": 12, "batch_size": 8, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def run(tmp_path_factory, shop):
    """A recommender trained on the small shop, by the verb."""
    folder = tmp_path_factory.mktemp("shop")
    sequences, items = shop.write(folder)
    train(sequences, items=items, out=folder / "run", **QUICK)
    return folder / "run"


@pytest.fixture(scope="module")
def recommender(run):
    return GenerativeRecommender.load(run)


def test_a_trained_recommender_knows_the_rule_of_the_shop(run):
    found = evaluate(run, against="pop,itemknn", k="1,5")
    assert found.arms["idgen"]["HR@5"] > 0.4 > found.arms["pop"]["HR@5"]
    assert found.users == 60 and found.fewer_than_k == 0


def test_evaluation_writes_each_users_rank_and_means_follow_from_them(run):
    found = evaluate(run, against="pop")
    rows = [json.loads(line) for line in (run / "metrics-test-ranks.jsonl").read_text().splitlines()]
    for arm in ("idgen", "pop"):
        hits = [1 <= row["rank"] <= 5 for row in rows if row["arm"] == arm]
        assert len(hits) == 60 and sum(hits) / 60 == pytest.approx(found.arms[arm]["HR@5"])


def test_validation_questions_are_not_test_questions(run):
    test, validation = evaluate(run, against="none"), evaluate(run, part="validation", against="none")
    assert validation.part == "validation" and test.arms != validation.arms


def test_several_seeds_train_again_and_give_a_spread(tmp_path, shop):
    sequences, items = shop.write(tmp_path, users=12, length=5)
    train(sequences, items=items, out=tmp_path / "run", epochs=1, batch_size=8)
    found = evaluate(tmp_path / "run", against="pop", seeds=2)
    assert found.seeds == [0, 1] and "idgen" in found.spread
    first, second = (
        load_file(tmp_path / folder / "model/model.safetensors") for folder in ("run", "run/seeds/seed-1")
    )
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_search_gives_the_items_in_the_order_of_their_scores(recommender):
    history = ["C1", "C2"]
    (found,) = replace(recommender, normalize="vocabulary").recommend([history], k=24, beams=24)
    scores = recommender.score(history, recommender.items)
    expected = sorted(zip(scores, recommender.items, strict=True), reverse=True)
    assert [one.item_id for one in found] == [item for _, item in expected]
    assert [one.logprob for one in found] == pytest.approx([score for score, _ in expected], abs=1e-3)


def test_lists_do_not_depend_on_company_in_the_batch(recommender):
    histories = [["C1"], ["B0", "B1", "B2"], ["P3", "P4"]]
    together = recommender.recommend(histories, k=5)
    alone = [recommender.recommend([one], k=5)[0] for one in histories]
    assert [[one.item_id for one in row] for row in together] == [
        [one.item_id for one in row] for row in alone
    ]


def test_only_the_last_items_are_read(recommender):
    short = replace(recommender, max_history=2)
    assert short.prompt(["B5", "C1", "C2"]) == short.prompt(["C1", "C2"])
    assert recommender.prompt(["B5", "C1", "C2"]) != recommender.prompt(["C1", "C2"])


def test_a_history_longer_than_the_model_reads_loses_its_oldest_items(recommender):
    long = replace(recommender, max_history=10_000)
    prompt = long.prompt(["C1"] * 2000 + ["C2"])
    assert len(prompt) < recommender.backbone.longest
    assert prompt[-1 - len(recommender.tokens["C2"]) :] == [*recommender.tokens["C2"], recommender.end]


def test_seen_items_are_left_out_and_a_short_list_is_flagged(run):
    history = ",".join(f"{letter}{n}" for letter in "CPB" for n in range(8) if (letter, n) != ("B", 7))
    found = recommend(run, history=history, k=3, filter_seen=True)
    assert [one.item_id for one in found.lists[0].items] == ["B7"] and found.lists[0].short
    assert "Fewer items" in render(found)


def test_more_items_than_the_catalogue_has_are_refused(run):
    with pytest.raises(EtudeError, match="25 items wanted of a catalogue of 24"):
        recommend(run, history="C1", k=25)


def test_raw_text_of_an_unseen_item_may_stand_in_a_history(run):
    found = recommend(run, history='C1, "a warm stove, for camping"', k=3)
    ((text, words),) = found.read_as.items()
    assert text == "a warm stove, for camping" and set(words.split()) == {"stove", "camping"}
    assert all(one.item_id.startswith("C") for one in found.lists[0].items[:1])
    assert "is read as" in render(found)


def test_a_single_word_is_a_text_when_it_says_so(run):
    assert recommend(run, history="text:canvas", k=1).read_as == {"text:canvas": "canvas"}


@pytest.mark.parametrize(
    ("history", "message"),
    [("C99", "no item 'C99'"), ("zzz qqq xxx", "no word of"), (" , ", "empty history")],
)
def test_a_history_that_says_nothing_is_refused(run, history, message):
    with pytest.raises(EtudeError, match=message):
        recommend(run, history=history)


def test_commas_in_quotes_do_not_separate():
    assert parse_history('a, "b, c",d') == ["a", "b, c", "d"]


def test_lists_for_a_file_of_histories_are_written(run, tmp_path, shop):
    sequences, _ = shop.write(tmp_path, users=4)
    recommend(run, sequences=sequences, k=2, out=tmp_path / "lists.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "lists.jsonl").read_text().splitlines()]
    assert [row["user_id"] for row in rows] == ["u000", "u001", "u002", "u003"]
    assert set(rows[0]["items"][0]) == {"item_id", "textual_id", "logprob"} and len(rows[0]["items"]) == 2


def test_either_a_history_or_a_file_of_them(run):
    for options in ({}, {"history": "C1", "sequences": "x.jsonl"}):
        with pytest.raises(EtudeError, match="Give either"):
            recommend(run, **options)


def test_new_items_get_ids_from_their_text_and_can_be_recommended(run, tmp_path):
    new = tmp_path / "new.jsonl"
    new.write_text(json.dumps({"item_id": "N1", "title": "camping torch"}) + "\n")
    found = recommend(run, history="C1,C2", items=new, k=25)
    words = {one.item_id: one.textual_id for one in found.lists[0].items}
    assert len(words) == 25 and "camping" in words["N1"].split()
    assert len(set(words.values())) == 25


def test_a_recommender_refuses_ids_with_another_hash(run, tmp_path):
    recommender = GenerativeRecommender.load(run)
    write_ids(tmp_path / "same.tsv", recommender.ids)
    assert GenerativeRecommender.load(run, tmp_path / "same.tsv").ids == recommender.ids
    write_ids(tmp_path / "other.tsv", {**recommender.ids, "C1": "another name"})
    with pytest.raises(EtudeError, match="was trained on the ids"):
        recommend(run, history="C1", ids=tmp_path / "other.tsv")


def test_ids_that_were_changed_in_the_folder_are_noticed(run, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (path,) = copy.glob("ids-*.tsv")
    write_ids(path, {**read_ids(path), "C1": "another name"})
    with pytest.raises(EtudeError, match="was trained on the ids"):
        GenerativeRecommender.load(copy)


def test_a_folder_without_a_recommender_is_refused(tmp_path):
    for verb in (evaluate, recommend, zeroshot):
        options = {"history": "C1"} if verb is recommend else {}
        if verb is zeroshot:
            options = {"items": tmp_path / "i.jsonl", "sequences": tmp_path / "s.jsonl"}
        with pytest.raises(EtudeError, match="no trained recommender"):
            verb(tmp_path, **options)


def test_a_saved_recommender_is_an_ordinary_model_folder(run):
    backbone = load_backbone(run / "model")
    assert backbone.model.config.model_type == "gpt2"
    assert backbone.tokenizer.encode("camping") == [backbone.tokenizer.get_vocab()["camping"]]


def test_the_same_command_again_gives_the_stored_result(run, shop, tmp_path):
    sequences, items = shop.write(tmp_path)
    before = (run / "model/model.safetensors").stat().st_mtime_ns
    again = train(sequences, items=items, out=run, **QUICK)
    assert again.validation and (run / "model/model.safetensors").stat().st_mtime_ns == before
    assert "training loss" in render(again)


def test_zero_shot_names_and_ranks_a_catalogue_without_training(run, tmp_path, shop):
    sequences, items = shop.write(tmp_path, users=20, seed=3)
    rows = [json.loads(line) for line in items.read_text().splitlines()]
    items.write_text("".join(json.dumps({**row, "title": row["title"] + " deluxe"}) + "\n" for row in rows))
    found = zeroshot(run, items=items, sequences=sequences, k="5", out=tmp_path / "zero")
    assert found.items == 24 and 0 < found.known_words < 1
    assert found.arms["idgen, zero-shot"]["HR@5"] > 2 * found.chance["HR@5"]
    assert set(read_ids(tmp_path / "zero/ids.tsv")) == {row["item_id"] for row in rows}
    assert "chance" in render(found)


def test_new_words_get_the_mean_embedding_and_leave_the_others_alone():
    backbone = build_backbone("causal-tiny", ["a", "b"])
    before = backbone.model.lm_head.weight.detach().clone()
    wider = with_words(backbone, ["c", "a"])
    assert wider.tokenizer.encode("b c") == [4, 5]
    after = wider.model.lm_head.weight
    assert torch.equal(after[:5], before) and torch.allclose(after[5], before[3:].mean(0))


def test_describing_prefers_the_spelling_of_the_ids():
    recommender = GenerativeRecommender(build_backbone("causal-tiny", ["Dove", "soap"]), {"x": "Dove soap"})
    assert describe("a dove among soaps", recommender, []) == "Dove"


@pytest.fixture
def corpus(tmp_path, shop):
    return read_corpus(*shop.write(tmp_path, users=20, length=6))


def namer(texts):
    return IdGenerator(Generator("keywords", texts).source()).generate


def test_a_clean_user_id_does_not_know_validation_and_test_items(corpus):
    ids = {item: f"word{place}" for place, item in enumerate(sorted(corpus.items))}
    read = {}

    def spy(items):
        read.update({item.item_id: item.text for item in items})
        return {item.item_id: item.text for item in items}

    for protocol in ("clean", "paper"):
        user_ids(corpus.histories.users, ids, spy, protocol)
        for user in corpus.histories.users:
            words = [ids[item] for item in user.items]
            assert read[user.user_id].split() == (words[:-2] if protocol == "clean" else words)


def test_changing_the_future_changes_nothing_that_a_clean_recommender_reads(tmp_path, shop):
    """The proof of no leak: other validation and test items, the same user ids and the same batches."""
    from etude.methods.idgen.recommender_training import training_data

    rows = shop.sequences(users=20, length=6)
    changed = [{**row, "items": [*row["items"][:-2], "B0", "P0"]} for row in rows]
    found = {}
    for name, part in (("first", rows), ("second", changed)):
        folder = tmp_path / name
        _, items = shop.write(folder)
        (folder / "sequences.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
        corpus = read_corpus(folder / "sequences.jsonl", items)
        for protocol in ("clean", "paper"):
            setup = Setup(
                backbone="tiny",
                templates=tuple(own_templates(user_ids=True)),
                names_users=True,
                protocol=protocol,
            )
            made = start_recommender(corpus, setup)
            data = training_data(made, corpus.split.train, Training(epochs=1), setup.templates)
            found[name, protocol] = (dict(made.user_ids), data[0]["input_ids"].tolist())
    assert found["first", "clean"] == found["second", "clean"]
    assert found["first", "paper"][0] != found["second", "paper"][0]


def test_the_paper_protocol_says_so(tmp_path, shop):
    sequences, items = shop.write(tmp_path, users=10, length=5)
    found = train(
        sequences, items=items, backbone="tiny", user_names=True, protocol="paper", epochs=1,
        targets=1, out=tmp_path / "run",
    )  # fmt: skip
    assert found.protocol == "paper" and "know the test item" in render(found)
    assert "Protocol paper" in render(evaluate(tmp_path / "run", against="none"))
    held_back = evaluate(tmp_path / "run", against="none", held_back_wording=True)
    assert held_back.users == 10


def test_a_model_without_an_encoder_cannot_read_user_names(tmp_path, shop):
    sequences, items = shop.write(tmp_path)
    with pytest.raises(EtudeError, match="bare stream"):
        train(sequences, items=items, user_names=True, out=tmp_path / "run")


@pytest.mark.slow
def test_a_tiny_t5_learns_the_rule_and_answers_in_a_held_back_wording(tmp_path, shop):
    sequences, items = shop.write(tmp_path)
    train(
        sequences, items=items, backbone="tiny", epochs=16, batch_size=16, learning_rate=1e-2, targets=0,
        out=tmp_path / "run",
    )  # fmt: skip
    seen = evaluate(tmp_path / "run", against="none", k="5")
    held_back = evaluate(tmp_path / "run", against="none", k="5", held_back_wording=True)
    chance = 5 / 24
    assert seen.arms["idgen"]["HR@5"] > 2 * chance and held_back.arms["idgen"]["HR@5"] > chance


def test_a_causal_model_holds_no_wording_back(run):
    with pytest.raises(EtudeError, match="no wording"):
        evaluate(run, held_back_wording=True, against="none")


@pytest.mark.parametrize("scheme", ["shuffled", "random", "sequential", "collaborative", "token"])
def test_every_scheme_trains(tmp_path, shop, scheme):
    sequences, items = shop.write(tmp_path, users=12, length=5)
    found = train(sequences, items=items, scheme=scheme, epochs=1, out=tmp_path / "run")
    assert found.items == 24 and 0 <= found.validation["HR@10"] <= 1


def test_alternation_by_the_verb_reports_each_round(tmp_path, shop, monkeypatch):
    monkeypatch.setattr("etude.methods.idgen.setup.TAUGHT_EPOCHS", 1)
    sequences, items = shop.write(tmp_path, users=10, length=5)
    found = train(sequences, items=items, rounds=2, epochs=1, id_learning_rate=1e-3, out=tmp_path / "run")
    assert [one["round"] for one in found.rounds] == [1, 2]
    assert "ids changed" in render(found)
    assert GenerativeRecommender.load(tmp_path / "run").ids == read_ids(
        next((tmp_path / "run/round-2").glob("ids-*.tsv"))
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": 1, "scheme": "random"}, "Only textual ids"),
        ({"scheme": "nonsense"}, "no id scheme"),
        ({"items": None}, "needs the items' texts"),
        ({"backbone": "no-such-folder"}, "no-such-folder"),
        ({"generator": "magic"}, "no id generator"),
    ],
)
def test_bad_settings_of_train_are_refused(tmp_path, shop, options, message, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    sequences, items = shop.write(tmp_path)
    with pytest.raises(EtudeError, match=message):
        train(sequences, **{"items": items, **options}, out=tmp_path / "run")


def test_items_without_text_are_dropped_or_named_by_their_id(tmp_path, shop):
    sequences, items = shop.write(tmp_path, users=40, length=6)
    lines = items.read_text().splitlines()
    items.write_text("\n".join(line for line in lines if '"C3"' not in line) + "\n")
    with pytest.raises(EtudeError, match="1 items of the sequences"):
        train(sequences, items=items, out=tmp_path / "run")
    dropped = train(sequences, items=items, missing="drop", epochs=1, out=tmp_path / "dropped")
    assert dropped.items == 23 and dropped.dropped > 0
    named = train(sequences, items=items, missing="title-from-id", epochs=1, out=tmp_path / "named")
    assert named.items == 24 and named.dropped == 0


def test_histories_sorted_by_item_are_refused_until_the_user_knows(tmp_path, shop):
    sequences, items = shop.write(tmp_path, users=12, length=5)
    rows = [json.loads(line) for line in sequences.read_text().splitlines()]
    sequences.write_text("".join(json.dumps({**r, "items": sorted(r["items"])}) + "\n" for r in rows))
    with pytest.raises(EtudeError, match="not chronological"):
        train(sequences, items=items, out=tmp_path / "run")
    assert train(sequences, items=items, i_know=True, epochs=1, out=tmp_path / "run").users == 12


def test_histories_of_one_training_item_teach_nothing(tmp_path, shop):
    sequences, items = shop.write(tmp_path, users=6, length=3)
    with pytest.raises(EtudeError, match="nothing to predict"):
        train(sequences, items=items, out=tmp_path / "run")


def test_a_loss_that_is_not_a_number_stops_the_training(tmp_path, corpus):
    recommender = start_recommender(corpus, Setup())
    with torch.no_grad():
        recommender.backbone.model.transformer.wte.weight[5] = float("nan")
    with pytest.raises(EtudeError, match="the loss is nan"):
        fit_recommender(recommender, corpus.split.train, Training(epochs=1), out=tmp_path / "fit")


def test_a_model_that_gives_nan_is_refused_at_search(corpus):
    recommender = start_recommender(corpus, Setup())
    with torch.no_grad():
        recommender.backbone.model.transformer.wte.weight.fill_(float("nan"))
    with pytest.raises(EtudeError):
        recommender.recommend([["C1"]], k=2)


KILLED = """
import sys
from pathlib import Path
from etude.methods.idgen import train
folder = Path(sys.argv[1])
files = {"sequences": folder / "sequences.jsonl", "items": folder / "items.jsonl"}
train(**files, out=folder / sys.argv[2], epochs=12, batch_size=8)
"""


def test_a_training_killed_by_sigkill_ends_with_the_same_bits(tmp_path, shop, run_here):
    shop.write(tmp_path, users=40)
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), "killed"], env=one_thread)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("fit/checkpoint-*/complete")) and time.monotonic() < deadline:
        assert killed.poll() is None
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "killed/result.json").exists()
    run_here(KILLED, tmp_path, "killed")
    run_here(KILLED, tmp_path, "whole")
    first, second = (load_file(tmp_path / out / "model/model.safetensors") for out in ("killed", "whole"))
    assert first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
    results = [json.loads((tmp_path / out / "result.json").read_text()) for out in ("killed", "whole")]
    assert {**results[0], "out": ""} == {**results[1], "out": ""}


def test_a_run_folder_of_another_training_is_refused(run, shop, tmp_path):
    sequences, items = shop.write(tmp_path)
    with pytest.raises(EtudeError, match="another configuration"):
        train(sequences, items=items, out=run, **{**QUICK, "epochs": 3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": "0"}, "--k"),
        ({"k": "five"}, "--k"),
        ({"against": "oracle"}, "no baseline"),
        ({"seeds": 0}, "seeds"),
    ],
)
def test_bad_settings_of_evaluate_are_refused(run, options, message):
    with pytest.raises(EtudeError, match=message):
        evaluate(run, **options)


def render(result):
    from rich.console import Console

    console = Console(width=140, file=io.StringIO())
    console.print(result)
    return console.file.getvalue()
