"""Every mistake of a user is named, with the line where there is one."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.word_sensitivity import (
    DeepRandomFeatures,
    RandomAttentionFeatures,
    RandomFeatures,
    Vocabulary,
    curve,
    embed_texts,
    measure,
    modify,
    sensitivity,
    words,
)
from etude.methods.word_sensitivity.corpus import embedding_table, read_passages, word_table


def refused(match: str) -> object:
    return pytest.raises(EtudeError, match=match)


def test_a_text_that_is_too_short_is_named_by_line_and_tokens_or_dropped_and_counted(
    llama_folder: str, tmp_path: Path
) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "i love her much"}\n{"text": "a film"}\n{"text": "the plot was good"}\n')
    with refused(r"t\.jsonl:2: 2 tokens, and 3 are needed(.|\n)*--skip-short"):
        embed_texts(path, llama_folder, n=3, count=3, order=None)
    found = embed_texts(path, llama_folder, n=3, count=2, order=None, skip_short=True)
    assert found.skipped == 1 and found.ids == ("1", "3")
    with refused("2 texts of at least 3 tokens"):
        embed_texts(path, llama_folder, n=3, count=3, skip_short=True)
    with refused(r"t\.jsonl:2: 2 tokens"):
        measure(llama_folder, texts=path, lengths="3", count=3)
    dropped = measure(llama_folder, texts=path, lengths="3", count=2, words=3, skip_short=True)
    assert dropped.skipped == 1
    with refused("no text of 30 tokens"):
        measure(llama_folder, texts=path, lengths="30", skip_short=True)


def test_an_empty_text_and_a_label_that_is_no_number_are_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "fine"}\n{"text": "  "}\n')
    with refused(r"t\.jsonl:2: text: missing or empty"):
        read_passages(path)
    path.write_text('{"text": "fine", "label": "good"}\n')
    with refused(r"t\.jsonl:1: label: 'good' is not a number"):
        read_passages(path)
    path.write_text("")
    with refused("holds no text"):
        read_passages(path)


def test_csv_and_plain_text_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\ngood,1\nbad,0\n")
    assert [p.label for p in read_passages(tmp_path / "t.csv")] == [1.0, 0.0]
    (tmp_path / "t.txt").write_text("one\n\ntwo\n")
    assert [p.text for p in read_passages(tmp_path / "t.txt")] == ["one", "two"]


def test_labels_must_be_two_valued(llama_folder: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    for labels in (("1", "2"), ("1", "null"), ("1", "1")):
        path.write_text("".join(f'{{"text": "i love her", "label": {label}}}\n' for label in labels))
        with refused("the labels are"):
            modify("raf", texts=path, embeddings=llama_folder, n_train=1, tests=1, tokens=2)


def test_labels_of_zero_and_one_are_read_as_signs(llama_folder: str, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"text": "i love her", "label": 0}\n{"text": "the film", "label": 1}\n')
    found = embed_texts(path, llama_folder, n=2, count=2, labeled=True, order=None)
    assert found.labels == (-1.0, 1.0)


def test_a_zero_row_of_the_vocabulary_is_named(llama_folder: str, tmp_path: Path, monkeypatch) -> None:
    table = embedding_table(llama_folder).clone()
    table[2] = 0
    monkeypatch.setattr("etude.methods.word_sensitivity.corpus.embedding_table", lambda _: table)
    path = tmp_path / "t.txt"
    path.write_text("i love her")
    with refused("row 1 of the text is zero"):
        embed_texts(path, llama_folder, n=3, count=1)


def test_arrays_of_the_wrong_rank_size_or_content_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.ones((4, 5)))
    with refused(r"x\.npy: an array of shape \(4, 5\)"):
        embed_texts(path, "smollm2", n=2, count=1)
    np.save(path, np.ones((2, 3, 4)))
    with refused("is needed"):
        embed_texts(path, "smollm2", n=9, count=1)
    with refused("no labels"):
        embed_texts(path, "smollm2", n=2, count=1, labeled=True)
    bad = np.ones((2, 3, 4))
    bad[1, 2, 0] = np.nan
    np.save(path, bad)
    with refused(r"text 1: row 2 of the text holds NaN"):
        embed_texts(path, "smollm2", n=3, count=2)
    bad[1, 2] = 0
    np.save(path, bad)
    with refused("text 1: row 2 of the text is zero"):
        embed_texts(path, "smollm2", n=3, count=2)
    path.write_bytes(b"not an array")
    with refused("not a readable array"):
        embed_texts(path, "smollm2", n=3, count=2)
    with refused("no such file"):
        embed_texts(tmp_path / "absent.npy", "smollm2", n=3, count=2)
    with refused("an array of shape"):
        curve("raf", np.ones((2, 3)), [2])


def test_arrays_in_safetensors_are_read(tmp_path: Path) -> None:
    save_file({"x": torch.ones(2, 3, 4)}, tmp_path / "x.safetensors")
    assert embed_texts(tmp_path / "x.safetensors", "smollm2", n=2, count=2).x.shape == (2, 2, 4)
    save_file({"x": torch.ones(1), "y": torch.ones(1)}, tmp_path / "y.safetensors")
    with refused("holds 2 tensors"):
        embed_texts(tmp_path / "y.safetensors", "smollm2", n=1, count=1)


def test_positions_out_of_range_and_words_that_name_none(gaussian: Callable[..., Tensor]) -> None:
    x, map_ = gaussian(4, 5), RandomAttentionFeatures(5)
    with refused("position 4 in a text of 4 tokens"):
        sensitivity(map_, x, positions=[0, 4])
    with refused("position -1"):
        sensitivity(map_, x, positions="-1")
    for wrong in ("every", "sample:0", "sample", "1;2"):
        with refused("sample:4, all, first"):
            sensitivity(map_, x, positions=wrong)
    with refused("of none"):
        sensitivity(map_, x, positions=[])


def test_settings_that_make_no_ascent(gaussian: Callable[..., Tensor]) -> None:
    x, map_ = gaussian(4, 5), RandomAttentionFeatures(5)
    for wrong in ({"radius": 0.0}, {"radius": float("nan")}, {"starts": 0}, {"steps": 0}):
        with refused(next(iter(wrong))):
            sensitivity(map_, x, **wrong)
    with refused("without a vocabulary"):
        sensitivity(map_, x, method="vocabulary")
    with refused("no closed form"):
        sensitivity(lambda x: x, x, method="bound")
    with refused("norm 0"):
        sensitivity(lambda x: 0 * x, x)
    with refused("a vocabulary of 2 rows"):
        Vocabulary(torch.ones(2, 3), (1,), ("a",))


def test_texts_that_are_no_matrix_or_hold_no_numbers(gaussian: Callable[..., Tensor]) -> None:
    map_ = RandomAttentionFeatures(5)
    with refused("a text of shape"):
        sensitivity(map_, torch.ones(3))
    with refused("holds NaN or infinity"):
        sensitivity(map_, torch.full((2, 5), float("inf")))
    with refused("width 4 for a map of d=5"):
        sensitivity(map_, gaussian(3, 4))
    with refused(r"shape \(3, 4\) for a map of n=2, d=4"):
        sensitivity(RandomFeatures(2, 4, 8), gaussian(3, 4))


def test_maps_that_cannot_be() -> None:
    with refused("at least 1"):
        DeepRandomFeatures(2, 2, 2, depth=0)
    with refused("activation 'swish'"):
        RandomFeatures(2, 2, 2, "swish")
    with refused("attention 'linear'"):
        RandomAttentionFeatures(2, "linear")  # type: ignore[arg-type]
    with refused("d=0"):
        RandomAttentionFeatures(0)


def test_verbs_name_what_they_do_not_know(llama_folder: str, reviews: Path, tmp_path: Path) -> None:
    with refused("map 'attention'"):
        curve("attention")
    with refused("map 'attention'"):
        modify("attention", texts=reviews)
    with refused("lengths '4,x'"):
        curve("raf", lengths="4,x")
    with refused("positive whole numbers"):
        curve("raf", lengths="0")
    with refused("the --lengths"):
        curve("raf", lengths="4", values="1,2")
    with refused("one length"):
        curve("raf", lengths="4,8", axis="d", values="1,2")
    with refused("along a curve"):
        curve("raf", method="vocabulary")
    with refused("no seeds"):
        curve("raf", lengths="4", embeddings="gaussian", d=4, seeds=0)
    with refused("d=99"):
        embed_texts(reviews, llama_folder, n=2, count=1, d=99)
    with refused("no --texts"):
        modify("raf")
    with refused("'tuned'"):
        modify("raf", texts=reviews, learners="tuned")
    with refused("no negative penalty"):
        modify("raf", texts=reviews, penalty=-1.0)
    with refused("--text is empty"):
        words(llama_folder, text=" ")
    with refused("reads at most 256"):
        words(llama_folder, text="good " * 300)
    with refused("asks for 300 tokens"):
        measure(llama_folder, texts=reviews, lengths="4,300")
    with refused("no site 'nowhere'"):
        measure(llama_folder, texts=reviews, sites="nowhere", lengths="4")
    with refused("-3 replacement words"):
        measure(llama_folder, texts=reviews, lengths="4", words=-3)
    with refused("no model 'smollm3'"):
        embed_texts(reviews, "smollm3", n=2, count=1)


def test_a_table_without_embeddings_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    save_file({"weight": torch.ones(2)}, tmp_path / "model.safetensors")
    with refused("no token embeddings"):
        embedding_table(str(tmp_path))


def test_words_of_a_model_are_rescaled_with_their_columns_cut_first(llama_folder: str) -> None:
    found = word_table(llama_folder, [1, 2, 3], d=8)
    assert found.tokens == ("i", "love", "her")
    assert torch.allclose(found.embeddings.norm(dim=1), torch.full((3,), 8**0.5))
