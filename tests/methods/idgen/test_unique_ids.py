"""Ids are unique whatever the texts, settled in the order of the items, and survive a kill."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from etude.errors import EtudeError
from etude.methods.idgen import IdGenerator, Item, beam_source, ids, read_ids
from etude.methods.idgen.asking import AskedSource
from etude.methods.idgen.beam_source import BeamSource
from etude.methods.idgen.candidate_store import CandidateStore
from etude.methods.idgen.diverse_beams import Diversity, diverse_beam_search
from etude.methods.idgen.generators import Generator, batch_function
from etude.methods.idgen.keywords import KeywordSource, words_of
from etude.methods.idgen.rounds import BEAM_ROUNDS, Round
from etude.methods.idgen.textual_ids import id_key
from etude.methods.idgen.unique_ids import name_all
from etude.models import chat_model, register_scripted

from .conftest import gpt2, t5

WORDS = [f"{a}{b}" for a in "bdgklmprstvz" for b in ("ar", "el", "in", "o", "ud")][:57]


def word_tokenizer(words=WORDS):
    """One token to a word, after `<pad> </s> <unk>`; other words are unknown."""
    vocabulary = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *words])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )


def catalogue(texts):
    return [Item(item_id=f"i{number:03}", text=text) for number, text in enumerate(texts)]


class Table:
    """A source that says what it is told to, and remembers what it was asked."""

    rounds = (Round("first", 1, 1), Round("second", 2, 1))

    def __init__(self, **says):
        self.says, self.asked = says, []

    def candidates(self, texts, asked):
        self.asked += [(asked.name, text) for text in texts]
        return [self.says[asked.name].get(text, []) for text in texts]


class Always:
    """A source with one word for everything."""

    rounds = BEAM_ROUNDS

    def __init__(self, word):
        self.word = word

    def candidates(self, texts, asked):
        return [[self.word] * 10 for _ in texts]


def test_items_take_their_first_free_candidate_in_the_order_of_their_ids():
    source = Table(first={"a": ["x", "y"], "b": ["x", "y"], "c": ["y", "x"]}, second={"c": ["y", "z"]})
    items = catalogue(["a", "b", "c"])
    named = IdGenerator(source).generate(reversed(items))
    assert named == {"i000": "x", "i001": "y", "i002": "z"}
    assert [one for one in source.asked if one[0] == "second"] == [("second", "c")]  # only the loser


def test_diversity_rises_to_nine_before_ids_grow_longer():
    asked = [(one.penalty, one.shortest) for one in BEAM_ROUNDS]
    assert asked == [(dp, shortest) for shortest in (1, 11, 21) for dp in range(1, 10)]


@pytest.mark.parametrize(("shortest", "fewest", "most"), [(1, 0, 10), (11, 10, 20), (21, 20, 30)])
def test_a_round_asks_for_min_length_to_ten_more_counting_the_start_token(
    monkeypatch, shortest, fewest, most
):
    asked = []

    def search(*arguments):
        asked.append(arguments[-1])
        return diverse_beam_search(*arguments)

    monkeypatch.setattr(beam_source, "diverse_beam_search", search)
    found = BeamSource(t5(), word_tokenizer()).candidates(["bar bel"], Round("r", 3, shortest))
    assert asked == [Diversity(beams=10, groups=10, penalty=3, fewest=fewest, most=most)]
    assert len(found[0]) == 10 and all(len(one.split()) <= most for one in found[0])


def test_batches_of_unequal_texts_write_what_each_text_alone_gets():
    source = BeamSource(t5(), word_tokenizer())
    texts = [" ".join(WORDS[at : at + length]) for at, length in ((0, 3), (5, 9), (20, 1), (30, 14))]
    together = source.candidates(texts, BEAM_ROUNDS[0])
    assert together == [source.candidates([text], BEAM_ROUNDS[0])[0] for text in texts]


@settings(deadline=None, max_examples=40)
@given(
    texts=st.lists(
        st.one_of(
            st.just(""), st.just("same words here"), st.text(max_size=20), st.sampled_from(["A b", "a B"])
        ),
        min_size=1,
        max_size=25,
    ),
    taken=st.lists(st.sampled_from(["SAME words here", "item 2", "b", "words"]), max_size=3),
)
def test_keyword_ids_are_unique_and_clean_for_any_texts(texts, taken):
    items = catalogue(texts)
    named = IdGenerator(KeywordSource([item.line for item in items])).generate(items, taken)
    keys = [id_key(one) for one in named.values()]
    assert list(named) == [item.item_id for item in items]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & {id_key(one) for one in taken}
    assert all(key for key in keys)


def test_after_the_last_round_an_item_gets_a_word_of_its_own_and_then_a_number():
    items = catalogue(["steel bolt", "steel nut", "steel", "steel", "", ""])
    source = Always("thing")
    with CandidateStore() as store:
        naming = name_all(items, source.rounds, lambda: batch_function(source), store)
    assert naming.ids == {
        "i000": "thing", "i001": "thing nut", "i002": "thing steel", "i003": "thing 2", "i004": "thing 3",
        "i005": "thing 4",
    }  # fmt: skip
    assert list(naming.methods.values()) == [
        "beams dp=1 min=1",
        "word",
        "word",
        "counter",
        "counter",
        "counter",
    ]


def test_identical_texts_are_written_once_and_share_their_candidates():
    source = Table(first={"same": ["x", "y", "z"]}, second={})
    assert IdGenerator(source).generate(catalogue(["same"] * 3)) == {"i000": "x", "i001": "y", "i002": "z"}
    assert source.asked == [("first", "same")]


def test_new_items_never_get_an_old_id_in_any_case_of_letters():
    source = Table(first={"new": ["Old Name", "fresh"]}, second={})
    assert IdGenerator(source).generate(catalogue(["new"]), taken=["old  name"]) == {"i000": "fresh"}


def test_ids_that_do_not_come_back_from_the_tokenizer_are_rejected_at_generation():
    tokenizer = word_tokenizer()
    long = " ".join(WORDS[:57] + WORDS[:20])
    source = Table(first={"a": ["unknownword", long, "bar, bel", "bar bel"]}, second={})
    with CandidateStore() as store:
        naming = name_all(
            catalogue(["a"]), source.rounds, lambda: batch_function(source), store, tokenizer=tokenizer
        )
    assert naming.ids == {"i000": "bar bel"} and naming.rejected == 3


def test_a_tokenizer_that_no_id_survives_is_an_error():
    with pytest.raises(EtudeError, match="no id survives"):
        IdGenerator(Always("zzz"), word_tokenizer()).generate(catalogue(["qqq"]))


def test_ids_do_not_depend_on_the_order_of_the_file():
    generator = IdGenerator(t5(), word_tokenizer([*WORDS, "2", "3"][:57]))
    items = catalogue([" ".join(WORDS[at : at + 5]) for at in range(8)])
    assert generator.generate(items) == generator.generate(items[::-1])


def test_a_model_without_its_tokenizer_is_refused():
    with pytest.raises(EtudeError, match="tokenizer"):
        IdGenerator(t5())


def test_keywords_prefer_shared_words_and_keep_the_order_of_the_text():
    texts = [
        "title: cordless drill driver xq77; description: a drill for wood",
        "title: cordless impact driver zz99; description: for metal",
        "title: steel hammer handle; description: wood",
        "title: rubber hammer; description: for wood",
    ]
    found = KeywordSource(texts).candidates(texts, Round("keywords n=4", 0, 4))
    assert found[0][0] == "cordless drill driver wood"
    assert found[1][0] == "cordless impact driver zz99"
    assert words_of("title: a Drill; brand: B&Q") == ["drill"]


def test_a_chat_model_is_asked_again_and_its_words_are_cleaned():
    prompts = []

    def answer(conversation):
        prompts.append(conversation[-1]["content"])
        return 'Red "Hammer", 16-oz!\nIt is a hammer.' if "hammer" in prompts[-1] else ""

    register_scripted("namer", answer, revision="1")
    items = catalogue(["a red hammer", "large red hammer", "a saw"])
    named = IdGenerator(AskedSource(chat_model("scripted/namer"))).generate(items)
    assert named["i000"] == "Red Hammer 16 oz"
    assert named["i001"] == "Red Hammer 16 oz large"
    assert named["i002"] == "saw"
    assert any("a red hammer" in prompt for prompt in prompts)


@pytest.mark.parametrize("name", ["t5", "t5:", "lm:", "magic", "keywords:x"])
def test_an_unknown_generator_is_refused(name):
    with pytest.raises(EtudeError, match="no id generator"):
        Generator(name)


def test_a_causal_model_is_not_taken_for_a_sequence_to_sequence_one(tmp_path):
    gpt2().save_pretrained(tmp_path / "gpt2")
    word_tokenizer().save_pretrained(tmp_path / "gpt2")
    with pytest.raises(EtudeError, match="sequence-to-sequence"):
        Generator(f"t5:{tmp_path / 'gpt2'}").source()


def write_items(path, count=40, text=lambda n: " ".join(WORDS[(n * 7 + j) % 50] for j in range(4))):
    path.write_text(
        "".join(json.dumps({"item_id": f"i{n:03}", "title": text(n)}) + "\n" for n in range(count))
    )
    return path


def save_t5(folder):
    t5(seed=2).save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def test_the_verb_writes_ids_and_says_how_they_were_found(tmp_path):
    result = ids(write_items(tmp_path / "items.jsonl"), generator="keywords", out=tmp_path / "ids.tsv")
    found = read_ids(tmp_path / "ids.tsv")
    assert len(found) == result.items == result.new == 40
    assert sum(result.methods.values()) == 40
    assert (tmp_path / "ids.tsv").read_text().splitlines()[0] == "item_id\ttextual_id\tmethod"


def test_new_items_are_named_without_touching_known_ones(tmp_path):
    old = write_items(tmp_path / "old.jsonl", 20)
    ids(old, out=tmp_path / "old.tsv")
    every = write_items(tmp_path / "all.jsonl", 40, text=lambda n: f"bar bel bin {WORDS[n % 3]}")
    result = ids(every, known=tmp_path / "old.tsv", out=tmp_path / "all.tsv")
    before, after = read_ids(tmp_path / "old.tsv"), read_ids(tmp_path / "all.tsv")
    assert result.new == 20 and len(after) == 40
    assert {item: after[item] for item in before} == before
    assert len({id_key(one) for one in after.values()}) == 40
    with pytest.raises(EtudeError, match="one file"):
        ids(every, known=tmp_path / "all.tsv", out=tmp_path / "all.tsv")


def test_another_seed_or_catalogue_in_the_same_place_is_refused(tmp_path):
    items = write_items(tmp_path / "items.jsonl")
    ids(items, out=tmp_path / "ids.tsv")
    assert ids(items, out=tmp_path / "ids.tsv").written_now == 0
    with pytest.raises(EtudeError, match="another configuration"):
        ids(items, seed=1, out=tmp_path / "ids.tsv")


CHILD = """
import os, signal, sys
from etude.methods.idgen import beam_source, ids
log, model, items, out, die = sys.argv[1:]
inner = beam_source.BeamSource.candidates
def candidates(self, texts, asked):
    if os.path.exists(log) and sum(1 for _ in open(log)) >= int(die):
        os.kill(os.getpid(), signal.SIGKILL)
    found = inner(self, texts, asked)
    with open(log, "a") as handle:
        handle.write(asked.name + "|" + "|".join(texts) + "\\n")
    return found
beam_source.BeamSource.candidates = candidates
ids(items, generator="t5:" + model, batch_size=8, out=out)
"""


def test_a_killed_naming_goes_on_and_gives_the_same_file_without_asking_twice(tmp_path, monkeypatch):
    model, items = save_t5(tmp_path / "t5"), write_items(tmp_path / "items.jsonl")
    out, log = tmp_path / "ids.tsv", tmp_path / "log"
    command = [sys.executable, "-c", CHILD, *map(str, (log, model, items, out, 3))]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not out.exists() and len(log.read_text().splitlines()) == 3
    inner, asked = beam_source.BeamSource.candidates, []

    def candidates(self, texts, wanted):
        asked.append(wanted.name + "|" + "|".join(texts))
        return inner(self, texts, wanted)

    monkeypatch.setattr(beam_source.BeamSource, "candidates", candidates)
    ids(items, generator=f"t5:{model}", batch_size=8, out=out)
    in_two, asked[:] = log.read_text().splitlines() + asked, []
    ids(items, generator=f"t5:{model}", batch_size=8, out=tmp_path / "whole" / "ids.tsv")
    assert in_two == asked
    assert len(set(asked)) == len(asked) > 4
    assert out.read_bytes() == (tmp_path / "whole" / "ids.tsv").read_bytes()


@pytest.mark.slow
def test_ray_writes_the_same_ids_as_this_process(tmp_path):
    pytest.importorskip("ray")
    items = write_items(tmp_path / "items.jsonl", 200)
    ids(items, out=tmp_path / "local.tsv")
    ids(items, engine="ray", out=tmp_path / "ray.tsv")
    assert Path(tmp_path / "local.tsv").read_bytes() == Path(tmp_path / "ray.tsv").read_bytes()
