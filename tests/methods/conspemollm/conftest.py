"""Small models with a real tokenizer, and our own texts as files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from tests.tiny_models import tiny_bert, tiny_llama

from etude.models import load_tokenizer


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with random weights and SmolLM2's tokenizer, as a directory."""
    folder = tmp_path_factory.mktemp("tiny") / "lm"
    tokenizer = load_tokenizer("smollm2")
    tiny_llama(
        len(tokenizer), intermediate_size=48, num_key_value_heads=2, max_position_embeddings=512,
        eos_token_id=tokenizer.eos_token_id, bos_token_id=None, initializer_range=0.2,
    ).save_pretrained(folder)  # fmt: skip
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights and MiniLM's tokenizer, as a directory."""
    folder = tmp_path_factory.mktemp("tiny") / "encoder"
    tokenizer = load_tokenizer("minilm")
    tiny_bert(len(tokenizer), num_hidden_layers=3).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def emobank(tmp_path: Path) -> Path:
    """A small file in EmoBank's layout, with an empty and a punctuation-only row."""
    words = {"lovely": 4.5, "fine": 3.6, "plain": 3.0, "poor": 2.4, "awful": 1.5}
    rows = []
    for number in range(60):
        word, rating = list(words.items())[number % 5]
        split, text = "train" if number < 48 else "dev", f"A {word} day number {number} by the sea."
        rows.append((f"doc{number % 7}_{number}", split, rating, 3.0 + 0.01 * number, 3.1, text))
    rows += [("doc1_90", "train", 3.0, 3.0, 3.0, ""), ("doc1_91", "train", 3.0, 3.0, 3.0, "...")]
    path = tmp_path / "emobank.csv"
    with path.open("w", newline="") as handle:
        csv.writer(handle).writerows([("id", "split", "V", "A", "D", "text"), *rows])
    return path


@pytest.fixture
def loco(tmp_path: Path) -> tuple[Path, Path]:
    """LOCO.json and its annotation table, made of the synthetic articles, with every doubtful label once."""
    from etude.methods.conspemollm.synthetic import synthetic_articles

    annotations, texts = synthetic_articles()
    records = [{"doc_id": name, "txt": text, "subcorpus": "conspiracy"} for name, text in texts.items()]
    documents = tmp_path / "LOCO.json"
    documents.write_text(json.dumps(records))
    doubtful = {0: ("Y?", "C"), 1: ("N?", "B"), 2: ("?", "C"), 3: ("Y", "C/B"), 4: ("Y", "Y"), 5: ("Y", "?")}
    table = tmp_path / "annotations.csv"
    with table.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(("doc id", "subcorpus", "seeds", "date", "annotator", "conspiracy", "relatedness"))
        for row, one in enumerate(annotations):
            judged, related = doubtful.get(row, (one.judgment, one.relatedness))
            seed = "corona" if one.topic == "coronavirus" else "sandy.hook"
            writer.writerow((one.document, "conspiracy", seed, "2021", one.annotator, judged, related))
        writer.writerow(("not-there", "conspiracy", "corona", "2021", "A", "Y", "C"))
    return documents, table
