"""An encoder that semcsr trained retrieves names for bioelqa and labels documents for relevance."""

import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from tests.docs.worlds import bioelqa, relevance

from etude.methods.bioelqa.indexing import read_index


def tiny_bert(folder) -> str:
    """A random BERT with MiniLM's tokenizer, which semcsr pools by its first token."""
    import torch
    from transformers import BertConfig, BertModel

    from etude.models import load_tokenizer

    tokenizer = load_tokenizer("minilm")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=64, initializer_range=0.5)  # fmt: skip
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def read(file: str) -> list[dict]:
    """Rows of a JSONL file."""
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["static", "frozen-lm", "full"])
def test_a_trained_encoder_is_a_retriever_and_a_labeller(folder, etude, kind):
    bioelqa.prepare(folder)
    names = [
        name
        for line in (folder / "vocabulary.tsv").read_text().splitlines()[1:]
        for name in [line.split("\t")[1], *line.split("\t")[2].split("|")]
        if name
    ]
    (folder / "names.txt").write_text("\n".join(names) + "\n")
    start = f"smollm2 --dimension 32 --kind {kind} --layer 2"
    if kind == "full":
        start = f"{tiny_bert(folder / 'bert')} --kind full"
    training = "--objective simcse --steps 20 --batch-size 16 --out encoder"
    assert etude(f"semcsr train names.txt --encoder {start} {training}")["kind"] == kind
    encoder = SentenceTransformer("encoder", device="cpu")

    index = etude("bioelqa index vocabulary.tsv --encoder hf:encoder --out index")
    vocabulary, _, vectors = read_index(folder / "index")
    theirs = encoder.encode(list(vocabulary.names.texts), normalize_embeddings=True)
    assert len(vectors) == index["names"] and np.allclose(vectors, theirs, atol=1e-5)
    mentions = [{"mention": name} for name in names[:8]]
    (folder / "mentions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mentions))
    etude("bioelqa link index mentions.jsonl --out links.jsonl")
    links = read("links.jsonl")
    known = {entity.name: entity.id for entity in vocabulary}
    assert [link["id"] for link in links if link["mention"] in known] == [
        known[name] for name in names[:8] if name in known
    ]  # a name links to itself

    tuned = "--retriever hf:encoder --retriever-epochs 1 --options 5 --epochs 1 --out linker"
    etude(f"bioelqa train train.pubtator --vocab index {tuned}")
    assert etude("bioelqa link linker mentions.jsonl --out tuned.jsonl")["linked_now"] == 8

    relevance.prepare(folder)
    model = "--model encoder:encoder"
    etude(f"relevance calibrate --docs d.jsonl --topics t.jsonl --gold gold.qrels {model} --out cuts.json")
    labelling = f"--pairs pool.qrels {model} --thresholds cuts.json --out labels.qrels"
    etude(f"relevance label --docs d.jsonl --topics t.jsonl {labelling}")
    labels = read("labels.jsonl")
    assert len(labels) == 24
    topics = {row["qid"]: row["query"] for row in read("t.jsonl")}
    documents = {row["docid"]: f"{row['title']}\n{row['text']}" for row in read("d.jsonl")}
    queries = encoder.encode([topics[one["qid"]] for one in labels], normalize_embeddings=True)
    texts = encoder.encode([documents[one["docid"]] for one in labels], normalize_embeddings=True)
    scores = np.array([one["score"] for one in labels])
    assert np.allclose(scores, (queries * texts).sum(1), atol=1e-5)
    cuts = json.loads((folder / "cuts.json").read_text())["thresholds"]
    assert [one["O"] for one in labels] == np.searchsorted(cuts, scores, side="right").tolist()
