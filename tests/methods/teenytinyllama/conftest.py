"""Small models: a real Llama of a few thousand random weights, a real tokenizer trained on a few
sentences.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.tiny_models import tiny_llama

SENTENCES = (
    "O gato dorme na casa velha e o cão corre no jardim da casa.",
    "A menina lê um livro sobre o mar e o menino canta uma canção.",
    "O computador executa o programa e grava o arquivo no disco.",
    "Instale o pacote, edite o arquivo de configuração e reinicie o serviço.",
    "Ontem choveu muito na cidade e as ruas ficaram cheias de água.",
)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`llama_folder(context=32, uniform=False)` is the folder of a random Llama with a tokenizer of 400
    entries.
    """
    from etude.methods.teenytinyllama.llama_tokenizer import save_tokenizer
    from etude.methods.teenytinyllama.tokenizer_training import train_tokenizer

    made: dict[tuple[int, bool], Path] = {}

    def make(context: int = 32, *, uniform: bool = False) -> Path:
        key = (context, uniform)
        if key not in made:
            folder = tmp_path_factory.mktemp("llama") / "model"
            save_tokenizer(train_tokenizer(list(SENTENCES) * 3, vocab_size=400), folder)
            model = tiny_llama(
                400, max_position_embeddings=context, initializer_range=0.3, bos_token_id=1, eos_token_id=2,
                pad_token_id=3,
            )  # fmt: skip
            if uniform:
                with torch.no_grad():
                    model.lm_head.weight.zero_()
            model.save_pretrained(folder)
            made[key] = folder
        return made[key]

    return make


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`corpus(kind="bpe")` is a prepared corpus of 400 tokens' vocabulary, a tenth of it held out."""
    from etude.methods.teenytinyllama.reading import Document
    from etude.methods.teenytinyllama.screening import Rules
    from etude.methods.teenytinyllama.shard_writing import write_shards
    from etude.methods.teenytinyllama.tokenizer_training import train_tokenizer

    made: dict[str, Path] = {}

    def make(kind: str = "bpe") -> Path:
        if kind not in made:
            texts = [f"{a} {b} {n}" for n, a in enumerate(SENTENCES * 6) for b in SENTENCES]
            documents = [
                Document(str(n), text, "manual", "CC-BY-SA-3.0", "pt") for n, text in enumerate(texts)
            ]
            folder = tmp_path_factory.mktemp("corpus") / kind
            size = 400 if kind == "bpe" else 330
            tokenizer = train_tokenizer(texts, kind=kind, vocab_size=size)  # type: ignore[arg-type]
            write_shards(documents, tokenizer, folder, block=32, rules=Rules(val_fraction=0.1), force=True)
            made[kind] = folder
        return made[kind]

    return make


@pytest.fixture(scope="session")
def trained_run(corpus: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`trained_run(kind="bpe")` is the folder of a finished pretraining of a model of hidden size 32."""
    from etude.methods.teenytinyllama.pretraining import pretrain

    made: dict[str, Path] = {}

    def make(kind: str = "bpe") -> Path:
        if kind not in made:
            out = tmp_path_factory.mktemp("run") / kind
            pretrain(
                corpus(kind), out=out, hidden=32, mlp=64, layers=2, heads=2, context=32, steps=60,
                tokens_per_step=256, learning_rate=1e-2, energy="estimate",
            )  # fmt: skip
            made[kind] = out
        return made[kind]

    return make
