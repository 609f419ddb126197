"""A small graph, real parses, and an encoder of a few thousand weights."""

from pathlib import Path

import pytest

from etude.methods.pipenet.concept_graph import ConceptGraph
from etude.methods.pipenet.demo import SAMPLE
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.preparing import build_kg, ground

PARSES = SAMPLE / "parses.jsonl"
QUESTIONS = SAMPLE / "questions.jsonl"
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="session")
def kg_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kg") / "kg"
    build_kg(SAMPLE / "triples.tsv", out=folder)
    return folder


@pytest.fixture(scope="session")
def kg(kg_folder: Path) -> ConceptGraph:
    return ConceptGraph.open(kg_folder)


@pytest.fixture(scope="session")
def graphs_folder(kg_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs") / "graphs"
    ground(str(QUESTIONS), kg=kg_folder, parser=str(PARSES), out=folder)
    return folder


@pytest.fixture(scope="session")
def store(graphs_folder: Path) -> GraphStore:
    return GraphStore(graphs_folder)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT with two layers of width 16 that knows the words of the sample."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder") / "bert"
    text = QUESTIONS.read_text() + (SAMPLE / "triples.tsv").read_text().replace("_", " ")
    words = sorted({w.strip('"?,.:[]{}') for w in text.lower().split()})
    vocabulary = {word: i for i, word in enumerate([*VOCABULARY, *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=64,
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)
