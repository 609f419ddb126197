"""Folders of sentence-transformers give here the vectors that sentence-transformers gives."""

import json

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Normalize,
    Pooling,
    StaticEmbedding,
    Transformer,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from etude.errors import EtudeError
from etude.models import load_encoder, model_revision

TEXTS = ["the cat sat on the mat", "a dog ran fast", "tree", "the dog sat under a tree " * 9]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *sorted({word for text in TEXTS for word in text.split()})]


def pieces() -> Tokenizer:
    """A tokenizer of words that puts [CLS] and [SEP] around a text."""
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(WORDS[:4])
    return made


@pytest.fixture
def transformer(tmp_path):
    """A random BERT of a few weights, as the first module."""
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=32, max_position_embeddings=40, initializer_range=0.5)  # fmt: skip
    folder = tmp_path / "bert"
    BertModel(config).save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=pieces(), pad_token="[PAD]", unk_token="[UNK]", model_max_length=40
    )
    tokenizer.save_pretrained(folder)
    return Transformer(str(folder), max_seq_length=24)


def written(modules, folder) -> np.ndarray:
    """Write a folder and give its own unit vectors."""
    model = SentenceTransformer(modules=modules, device="cpu")
    model.save(str(folder))
    return model.encode(TEXTS, normalize_embeddings=True)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_folders_own_pooling_is_used(transformer, tmp_path, pooling):
    expected = written([transformer, Pooling(16, pooling), Normalize()], tmp_path / "model")
    encoder = load_encoder(str(tmp_path / "model"), device="cpu")
    assert (encoder.pooling, encoder.max_length) == (pooling, 24)
    assert np.allclose(encoder.encode(TEXTS), expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["layers on the states", "a table of embeddings"])
def test_modules_beside_a_transformer_and_its_pooling_are_run_and_written_again(transformer, tmp_path, kind):
    if kind == "a table of embeddings":
        modules = [StaticEmbedding(pieces(), embedding_weights=torch.randn(len(WORDS), 8))]
    else:
        gate = Dense(16, 12, activation_function=torch.nn.GLU(), module_input_name="token_embeddings",
                     module_output_name="token_embeddings")  # fmt: skip
        modules = [transformer, gate, Pooling(6, "mean")]
    expected = written(modules, tmp_path / "model")
    encoder = load_encoder(str(tmp_path / "model"), device="cpu")
    assert encoder.dimension == expected.shape[1]
    assert np.allclose(encoder.encode(TEXTS), expected, atol=1e-6)
    encoder.model.save_pretrained(tmp_path / "again")
    encoder.tokenizer.save_pretrained(tmp_path / "again")
    again = load_encoder(str(tmp_path / "again"), pooling=encoder.pooling, device="cpu")
    assert np.array_equal(again.encode(TEXTS), encoder.encode(TEXTS))
    assert again.model.config.hidden_size == encoder.dimension


def test_a_text_without_a_token_is_the_zero_vector(tmp_path):
    written([StaticEmbedding(pieces(), embedding_weights=torch.ones(len(WORDS), 4))], tmp_path / "model")
    found = load_encoder(str(tmp_path / "model"), device="cpu").encode(["", "cat"])
    assert found.tolist() == [[0.0] * 4, [0.5] * 4]
    assert load_encoder(str(tmp_path / "model"), device="cpu").encode([""]).tolist() == [[0.0] * 4]


def test_the_revision_of_a_folder_knows_the_weights_of_its_layers(transformer, tmp_path):
    layer = Dense(16, 16, module_input_name="token_embeddings", module_output_name="token_embeddings")
    before = []
    for scale in (1.0, 2.0):
        layer.linear.weight.data *= scale
        written([transformer, layer, Pooling(16)], tmp_path / f"model{scale}")
        before.append(model_revision(tmp_path / f"model{scale}"))
    assert before[0] != before[1]


def test_what_would_give_other_vectors_is_refused(transformer, tmp_path):
    written([transformer, Pooling(16, "max")], tmp_path / "max")
    with pytest.raises(EtudeError, match="its pooling is max"):
        load_encoder(str(tmp_path / "max"))
    written([transformer, Pooling(16), Dense(16, 8)], tmp_path / "after")
    with pytest.raises(EtudeError, match="Transformer, Pooling, Dense"):
        load_encoder(str(tmp_path / "after"))
    written([transformer, Pooling(16)], tmp_path / "foreign")
    listed = json.loads((tmp_path / "foreign" / "modules.json").read_text())
    listed[1]["type"] = "elsewhere.Pooling"
    (tmp_path / "foreign" / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(EtudeError, match="elsewhere") as caught:
        load_encoder(str(tmp_path / "foreign"))
    assert "a pooling" in caught.value.hint
    written([transformer, Pooling(16)], tmp_path / "chat")
    settings = json.loads((tmp_path / "chat" / "sentence_bert_config.json").read_text())
    settings["modality_config"]["message"] = settings["modality_config"]["text"]
    (tmp_path / "chat" / "sentence_bert_config.json").write_text(json.dumps(settings))
    with pytest.raises(EtudeError, match="chat message"):
        load_encoder(str(tmp_path / "chat"))
