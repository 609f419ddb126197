"""Tokenizers: nothing is lost, nothing can be forged, and the pieces are those that the algorithms define."""

import itertools
import json
import math
import unicodedata
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from etude.data import prose
from etude.errors import EtudeError
from etude.methods.teenytinyllama import tokenizer, train_tokenizer
from etude.methods.teenytinyllama.deduplication import text_key
from etude.methods.teenytinyllama.llama_tokenizer import (
    BYTES,
    SPECIAL,
    Kind,
    save_tokenizer,
    unigram_tokenizer,
    vocabulary_pieces,
)
from etude.methods.teenytinyllama.loading import load_any_tokenizer, wrap_tokenizer
from etude.methods.teenytinyllama.splitting import is_held_out
from etude.models import load_tokenizer

KINDS: tuple[Kind, ...] = ("bpe", "unigram")
TEXTS = prose()[:60_000].split("\n\n")
NASTY = "  a▁b\n\n<s></s> <0x41>\ue000\ue0001 \t 漢字 🎉\x00\r\n<unk><pad>▁▁ é e\u0301 "


@cache
def trained(kind: Kind, byte_fallback: bool = True) -> Tokenizer:
    return train_tokenizer(TEXTS, kind=kind, vocab_size=600, byte_fallback=byte_fallback)


@pytest.mark.parametrize("kind", KINDS)
def test_reserved_pieces_have_the_first_ids(kind: Kind) -> None:
    with_bytes, without = trained(kind), trained(kind, byte_fallback=False)
    assert [with_bytes.id_to_token(i) for i in range(260)] == [*SPECIAL, *BYTES]
    assert [without.id_to_token(i) for i in range(4)] == list(SPECIAL)
    assert without.token_to_id("<0x00>") is None
    assert with_bytes.get_vocab_size() == without.get_vocab_size() == 600


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.one_of(st.text(), st.binary().map(lambda b: b.decode("latin-1")), st.text("▁\ue00001 <>/s\n")))
@example(text=NASTY)
@example(text=" ")
@example(text="")
@settings(max_examples=150, deadline=None)
def test_any_text_comes_back_from_its_ids(kind: Kind, text: str) -> None:
    loaded = wrap_tokenizer(trained(kind))
    assert loaded.tokenizer.decode(loaded.encode([text])[0], skip_special_tokens=False) == text


@pytest.mark.parametrize("kind", KINDS)
@given(raw=st.binary(max_size=60))
@settings(max_examples=80, deadline=None)
def test_byte_tokens_of_any_valid_utf8_are_its_text(kind: Kind, raw: bytes) -> None:
    text = raw.decode("utf-8", "ignore")
    ids = [4 + byte for byte in b" " + text.encode()]  # a text begins with its space mark
    assert trained(kind).decode(ids) == text


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_can_spell_a_reserved_piece(kind: Kind) -> None:
    texts = [f"a{name} {name}b{name}" for name in (*SPECIAL, "<0x41>", "<0xFF>")]
    own = train_tokenizer(TEXTS + texts * 50, kind=kind, vocab_size=600)  # not even when trained on them
    loaded = wrap_tokenizer(own)
    for text, ids in zip(texts, loaded.encode(texts), strict=True):
        assert not set(ids) & set(range(4))
        assert loaded.tokenizer.decode(ids, skip_special_tokens=False) == text
    assert not any(bytes_piece in own.encode("<0x41>").tokens for bytes_piece in ("<0x41>",))


@pytest.mark.parametrize("kind", KINDS)
def test_without_byte_fallback_unknown_characters_are_unk(kind: Kind) -> None:
    ids = wrap_tokenizer(trained(kind, byte_fallback=False)).encode(["漢"])[0]
    assert 0 in ids
    assert 0 not in wrap_tokenizer(trained(kind)).encode(["漢"])[0]


def test_cutting_into_words_changes_no_bpe_segmentation() -> None:
    state = json.loads(trained("bpe").to_str())
    uncut = Tokenizer.from_str(json.dumps({**state, "pre_tokenizer": None}))
    for text in [*TEXTS[:40], NASTY.replace("<s></s>", "").replace("<unk><pad>", "")]:
        assert uncut.encode(text).ids == trained("bpe").encode(text).ids


def sentencepiece_bpe(symbols: list[str], scores: dict[str, float]) -> list[str]:
    """SentencePiece's definition: merge the neighbors whose union scores best, the leftmost first."""
    while True:
        unions = [(scores.get(a + b, -math.inf), -i) for i, (a, b) in enumerate(itertools.pairwise(symbols))]
        best = max(unions, default=(-math.inf, 0))
        if best[0] == -math.inf:
            return symbols
        at = -best[1]
        symbols = [*symbols[:at], symbols[at] + symbols[at + 1], *symbols[at + 2 :]]


def test_bpe_equals_a_plain_reading_of_sentencepiece_by_scores_alone() -> None:
    scores = {
        piece.text: piece.score for piece in vocabulary_pieces(trained("bpe")) if piece.kind == "normal"
    }
    for text in TEXTS[:25]:
        line = text.split("\n")[0].replace("<", "")
        marked = list("▁" + line.replace(" ", "▁")) if line else []
        if set(marked) <= set(scores):
            assert trained("bpe").encode(line).tokens == sentencepiece_bpe(marked, scores)


def test_unigram_takes_the_likeliest_segmentation() -> None:
    scores = {
        piece.text: piece.score for piece in vocabulary_pieces(trained("unigram")) if piece.kind == "normal"
    }
    checked = 0
    for word in {word for text in TEXTS[:30] for word in text.split() if "<" not in word}:
        marked = "▁" + word
        if not set(marked) <= set(scores):
            continue
        best = [0.0] + [-math.inf] * len(marked)
        for end in range(1, len(marked) + 1):
            for start in range(end):
                best[end] = max(best[end], best[start] + scores.get(marked[start:end], -math.inf))
        found = trained("unigram").encode(word).tokens
        assert sum(scores[token] for token in found) == pytest.approx(best[-1])
        checked += 1
    assert checked > 50


def test_bpe_learns_the_pairs_that_counting_by_hand_gives() -> None:
    words = ["hug"] * 10 + ["pug"] * 5 + ["pun"] * 12 + ["bun"] * 4 + ["hugs"] * 5
    # ug 20, ▁p 17, un 16; the characters ▁ b g h n p s u come first
    own = train_tokenizer(words, vocab_size=4 + 8 + 3, byte_fallback=False)
    assert [own.id_to_token(i) for i in range(4, 15)] == [*sorted("bghnpsu"), "▁", "ug", "▁p", "un"]


def test_unigram_scores_are_log_probabilities_that_are_used_as_given() -> None:
    pieces = [("▁", -1.0), ("a", -2.0), ("b", -2.0), ("ab", -3.5), ("▁ab", -5.0)]
    own = unigram_tokenizer(pieces, byte_fallback=False)
    assert own.encode("ab").tokens == ["▁", "ab"]  # -4.5 against -5.0 and -5.0


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_loads_in_transformers_with_the_same_ids(kind: Kind, tmp_path: Path) -> None:
    save_tokenizer(trained(kind), tmp_path / "tok")
    for loaded in (AutoTokenizer.from_pretrained(tmp_path / "tok"), load_tokenizer(str(tmp_path / "tok"))):
        assert (loaded.unk_token_id, loaded.bos_token_id, loaded.eos_token_id, loaded.pad_token_id) == (
            0,
            1,
            2,
            3,
        )
        assert len(loaded) == 600
        text = "Das  ist\nein Beispiel, ▁ 漢字."
        ids = loaded(text)["input_ids"]
        assert ids == trained(kind).encode(text).ids
        assert loaded.decode(ids) == text
    mine = load_any_tokenizer(tmp_path / "tok")
    assert (mine.end_token, mine.unknown_token, mine.vocab_size) == (2, 0, 600)
    assert load_any_tokenizer(tmp_path / "tok" / "tokenizer.json").end_token == 2


def test_training_again_gives_the_same_tokenizer() -> None:
    assert train_tokenizer(TEXTS, vocab_size=600).to_str() == trained("bpe").to_str()
    unigram = vocabulary_pieces(train_tokenizer(iter(TEXTS), kind="unigram", vocab_size=600))
    first = {piece.text: piece.score for piece in vocabulary_pieces(trained("unigram"))}
    assert {piece.text for piece in unigram} == set(first)  # the library's sums depend on a random hash order
    assert all(abs(piece.score - first[piece.text]) < 0.02 for piece in unigram)
    letters = [
        "".join(chr(0x4E00 + (i * 7 + j) % 900) for j in range(30)) for i in range(120)
    ]  # equal counts
    assert len({train_tokenizer(letters, vocab_size=500).to_str() for _ in range(3)}) == 1


def test_a_vocabulary_larger_than_the_corpus_supports_names_the_most() -> None:
    with pytest.raises(EtudeError, match=r"vocab_size 9,000 .* it reaches ([\d,]+) entries") as caught:
        train_tokenizer(TEXTS[:5], vocab_size=9000)
    most = int(caught.value.problem.split("reaches ")[1].split(" ")[0].replace(",", ""))
    assert train_tokenizer(TEXTS[:5], vocab_size=most).get_vocab_size() == most


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ([], {"vocab_size": 400}, "corpus is empty"),
        ([" \n", ""], {"vocab_size": 400}, "corpus is empty"),
        (TEXTS, {"vocab_size": 261}, "no room beside 4 special and 256 byte tokens"),
        (
            ["".join(map(chr, range(0x4E00, 0x4F00)))] * 3,
            {"vocab_size": 300, "kind": "unigram"},
            "more characters",
        ),
    ],
)
def test_corpora_and_sizes_that_cannot_be(texts: list[str], options: dict[str, object], message: str) -> None:
    with pytest.raises(EtudeError, match=message):
        train_tokenizer(texts, **options)  # type: ignore[arg-type]


def test_rare_characters_go_to_bytes_before_they_fill_the_vocabulary() -> None:
    han = "".join(chr(0x4E00 + i) for i in range(400))
    own = train_tokenizer([*TEXTS, han], vocab_size=500)
    assert own.get_vocab_size() == 500
    assert unicodedata.name("丁") and own.decode(own.encode(han).ids) == han


def test_the_verb_leaves_out_what_prepare_holds_out_and_draws_by_seed(tmp_path: Path) -> None:
    rows = [{"text": f"{text} number {i}"} for i, text in enumerate(TEXTS * 2) if text.strip()]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    held_out = sum(is_held_out(text_key(row["text"]), 0.1, 3) for row in rows)
    found = tokenizer(tmp_path / "t.jsonl", out=tmp_path / "a", vocab_size=500, val_fraction=0.1, seed=3)
    assert (found.documents, found.held_out) == (len(rows) - held_out, held_out)
    drawn = tokenizer(tmp_path / "t.jsonl", out=tmp_path / "b", vocab_size=500, documents=30, seed=1)
    again = tokenizer(tmp_path / "t.jsonl", out=tmp_path / "c", vocab_size=500, documents=30, seed=1)
    other = tokenizer(tmp_path / "t.jsonl", out=tmp_path / "d", vocab_size=500, documents=30, seed=2)
    assert drawn.documents == again.documents == other.documents == 30
    files = {name: (tmp_path / name / "tokenizer.json").read_bytes() for name in "bcd"}
    assert files["b"] == files["c"] != files["d"]
    training = json.loads((tmp_path / "b" / "training.json").read_text())
    assert training["documents"] == 30 and len(training["files"][0]["sha256"]) == 64


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    (tmp_path / "t.txt").write_text("text")
    with pytest.raises(EtudeError, match="holds other files"):
        tokenizer(tmp_path / "t.txt", out=tmp_path, vocab_size=400)
    assert (tmp_path / "thesis.tex").exists()


def test_a_tokenizer_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(EtudeError, match="not a tokenizer"):
        load_any_tokenizer(tmp_path)
    with pytest.raises(EtudeError, match="no model 'nothing'"):
        load_any_tokenizer("nothing")
