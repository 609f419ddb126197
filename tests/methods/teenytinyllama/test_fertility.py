"""Fertility against tokenizers whose counts are known, and against the figures measured before."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from etude.errors import EtudeError
from etude.methods.teenytinyllama import fertility, train_tokenizer
from etude.methods.teenytinyllama.llama_tokenizer import save_tokenizer
from etude.methods.teenytinyllama.loading import wrap_tokenizer
from etude.methods.teenytinyllama.tokens_per_word import measure, ratio

TEXTS = ["o gato dorme", "a água é fria hoje", "sim"]


def whole_words() -> Tokenizer:
    words = sorted({word for text in TEXTS for word in text.split()} - {"água"})
    vocabulary = {"<unk>": 0, "</s>": 1, **{word: i + 2 for i, word in enumerate(words)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return tokenizer


def single_bytes() -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def test_words_and_bytes_as_tokens_have_known_fertility() -> None:
    words, bytes_ = measure([wrap_tokenizer(whole_words()), wrap_tokenizer(single_bytes())], [*TEXTS, " \n"])
    total = sum(len(text.encode()) for text in TEXTS)
    assert (words.documents, words.words, words.tokens, words.bytes) == (3, 9, 9, total)
    assert words.tokens_per_word == 1.0
    assert words.unknown_share == pytest.approx(1 / 9)
    assert words.tokens_per_document == 3.0
    assert bytes_.tokens == total
    assert bytes_.tokens_per_byte == bytes_.bytes_per_token == 1.0
    assert bytes_.unknown_share == 0.0
    assert (words.relative, bytes_.relative) == (1.0, pytest.approx(total / 9))
    assert words.relative_interval == (1.0, 1.0)


def test_the_interval_of_a_ratio_is_that_of_a_plain_bootstrap() -> None:
    rng = np.random.default_rng(0)
    below = rng.integers(50, 500, 80)
    above = (below * rng.normal(1.5, 0.2, 80)).astype(int)
    value, (low, high) = ratio(above, below)
    picked = rng.integers(0, 80, (20_000, 80))
    expected = np.percentile(above[picked].sum(1) / below[picked].sum(1), [2.5, 97.5])
    assert value == above.sum() / below.sum()
    assert (low, high) == pytest.approx(tuple(expected), abs=0.004)


def test_many_documents_are_pooled_without_changing_the_totals() -> None:
    texts = [f"{'um ' * (i % 7)}dois" for i in range(5000)]
    row = measure([wrap_tokenizer(single_bytes())], texts)[0]
    assert (row.documents, row.words, row.bytes) == (
        5000,
        sum(len(t.split()) for t in texts),
        sum(map(len, texts)),
    )


def test_folders_files_and_fields_from_the_command(tmp_path: Path) -> None:
    pages = [{"id": i, "pt": f"página número {i}", "en": f"page number {i} of it"} for i in range(40)]
    (tmp_path / "pages.jsonl").write_text("\n".join(map(json.dumps, pages)))
    texts = [page[field] for page in pages for field in ("pt", "en")]
    save_tokenizer(train_tokenizer(texts * 3, vocab_size=310), tmp_path / "own")
    (tmp_path / "words.json").write_text(whole_words().to_str())
    found = fertility(
        (str(tmp_path / "own"), str(tmp_path / "words.json")),
        texts=(tmp_path / "pages.jsonl",),
        fields="pt,en",
        out=tmp_path / "table.csv",
    )
    assert [(row.texts, row.words) for row in found.rows] == [
        ("pages.jsonl:pt", 120),
        ("pages.jsonl:pt", 120),
        ("pages.jsonl:en", 200),
        ("pages.jsonl:en", 200),
    ]
    assert found.rows[3].tokens_per_document == 5.0
    table = pl.read_csv(tmp_path / "table.csv")
    assert table.height == 4 and "tokens_per_word_interval_low" in table.columns
    assert (
        fertility(str(tmp_path / "own"), texts=tmp_path / "pages.jsonl", fields="pt").rows[0].documents == 40
    )  # type: ignore[arg-type]


def test_a_language_without_spaces_is_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "zh.txt").write_text("这是一个没有空格的很长的句子" * 5)
    save_tokenizer(train_tokenizer(TEXTS * 3, vocab_size=275), tmp_path / "own")
    found = fertility(str(tmp_path / "own"), texts=tmp_path / "zh.txt")  # type: ignore[arg-type]
    assert "compare tokens per byte" in found.notices[0]
    assert not np.isfinite(found.rows[0].tokens_per_word_interval).any()  # one document: nothing is known


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": ("none.jsonl",)}, "none.jsonl: no such file"),
        ({"texts": ()}, "no text was given"),
        ({"texts": ("t.jsonl",), "fields": "pt"}, r"t\.jsonl:1: no field 'pt'; it has text"),
        ({"texts": ("t.jsonl",), "fields": ","}, "fields ','"),
        ({"texts": ("empty.txt",)}, r"empty\.txt: no words"),
        ({"texts": ("latin.txt",)}, r"latin\.txt:2: not UTF-8"),
        ({"tokenizers": (), "texts": ("t.jsonl",)}, "no tokenizer was given"),
    ],
)
def test_bad_input_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.jsonl").write_text('{"text": "a b"}')
    Path("empty.txt").write_text("\n\n")
    Path("latin.txt").write_bytes("um\nespaço\n".encode("latin-1"))
    save_tokenizer(train_tokenizer(TEXTS * 3, vocab_size=275), "own")
    with pytest.raises(EtudeError, match=message):
        fertility(**{"tokenizers": ("own",), **options})  # type: ignore[arg-type]


@pytest.mark.slow
def test_native_multilingual_and_english_tokenizers_as_measured_before(shared_data) -> None:  # type: ignore[no-untyped-def]
    """Recorded before with 4,096 entries: 1.49, 1.85 and 3.01; on news 2.15, 2.42 and 3.15."""
    folder = shared_data("teenytinyllama")

    def rows(name: str) -> list[dict[str, str]]:
        return [json.loads(line) for line in (folder / name).read_text().splitlines()]

    pages = rows("parallel_handbook.jsonl")
    native = [row["text"] for row in rows("pt_docs_train.jsonl")]
    languages = ("pt", "en", "es", "fr", "de", "it")
    trained = [
        train_tokenizer(texts, vocab_size=4096)
        for texts in (native, [p[l] for p in pages for l in languages], [p["en"] for p in pages])
    ]
    news = (folder / "pt_news_valid.txt").read_text().splitlines()
    for texts, expected in (
        ([row["text"] for row in rows("pt_docs_valid.jsonl")], (1.49, 1.85, 3.01)),
        (["\n".join(news[i : i + 40]) for i in range(0, len(news), 40)], (2.15, 2.42, 3.15)),
    ):
        found = measure([wrap_tokenizer(t) for t in trained], texts)
        assert [row.tokens_per_word for row in found] == pytest.approx(expected, rel=0.1)
        assert (
            found[1].relative_interval[0] > 1
            and found[2].relative_interval[0] > found[1].relative_interval[1]
        )
