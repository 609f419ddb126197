"""The contrastive loss against its formula, mining, and training that a kill does not change."""

import numpy as np
import pytest
import torch

from etude.errors import EtudeError
from etude.methods.bioelqa.bi_encoder import BiEncoder
from etude.methods.bioelqa.contrastive import (
    ContrastiveSettings,
    contrastive_loss,
    mine_hard_negatives,
    train_bi_encoder,
)
from etude.methods.bioelqa.retrievers import load_retriever, save_retriever
from etude.methods.bioelqa.vocabulary import Entity, Vocabulary


def test_the_loss_is_the_formula_written_out_pair_by_pair():
    generator = torch.Generator().manual_seed(0)
    unit = torch.nn.functional.normalize
    mentions = unit(torch.randn(4, 5, generator=generator, dtype=torch.float64), dim=1)
    names = unit(torch.randn(7, 5, generator=generator, dtype=torch.float64), dim=1)
    ids, name_ids = torch.tensor([0, 1, 0, 2]), torch.tensor([0, 1, 0, 2, 5, 1, 6])
    total = 0.0
    for i in range(4):
        negatives = [j for j in range(7) if name_ids[j] != ids[i]]
        positive = torch.exp(mentions[i] @ names[i] / 0.05)
        rest = sum(torch.exp(mentions[i] @ names[j] / 0.05) for j in negatives)
        total -= torch.log(positive / (positive + rest)).item() / 4
    assert contrastive_loss(mentions, names, ids, name_ids, 0.05).item() == pytest.approx(total, rel=1e-9)


@pytest.fixture
def words(tiny):
    vocabulary = Vocabulary(
        [Entity(f"E{i}", w) for i, w in enumerate(("is", "does", "for", "entry", "is for"))]
    )
    pairs = [("right", "E0"), ("wrong", "E1"), ("what", "E2"), ("case", "E3"), ("stand", "E4")] * 8
    retriever = BiEncoder(tiny("bert"), device="cpu")
    return retriever, vocabulary, pairs


def test_hard_negatives_are_the_best_names_of_other_ids(words):
    retriever, vocabulary, pairs = words
    known = [(mention, vocabulary.place[id]) for mention, id in pairs[:5]]
    found = mine_hard_negatives(retriever, vocabulary, known, 3)
    scores = retriever.encode([m for m, _ in known]) @ retriever.encode(vocabulary.names.texts).T
    for row, (_, place) in enumerate(known):
        others = [j for j in np.argsort(-scores[row], kind="stable") if j != place][:3]
        assert sorted(owner for _, owner in found[row]) == sorted(others)
        assert place not in {owner for _, owner in found[row]}


def test_training_the_bi_encoder_brings_mentions_to_their_names_and_is_kept(words, tmp_path):
    retriever, vocabulary, pairs = words
    table, mentions = vocabulary.names, [m for m, _ in pairs[:5]]

    def hits(one):
        tops = one.index(one.encode(table.texts), table.owners).top(one.encode(mentions), 1)
        return sum(vocabulary.entities[t.owners[0]].id == id for t, (_, id) in zip(tops, pairs, strict=False))

    before = hits(retriever)
    how = ContrastiveSettings(epochs=6, batch_size=8, hard_negatives=2, learning_rate=3e-3)
    train_bi_encoder(retriever, vocabulary, pairs, out=tmp_path / "c", settings=how)
    assert before < 4 and hits(retriever) == 5
    save_retriever(retriever, tmp_path / "r")
    again = load_retriever(tmp_path / "r")
    assert hits(again) == 5 and again.identity["trained"]
    with pytest.raises(EtudeError, match="no training pair"):
        train_bi_encoder(retriever, vocabulary, [("x", "unknown")], out=tmp_path / "d")
