"""Small networks and small models: real architectures, a few thousand weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tests.tiny_models import tiny_llama, word_tokenizer

from etude.methods.stg_llm.demo import ring_road
from etude.methods.stg_llm.panel import SensorPanel

SENTENCE = (
    "data task now a network of sensors one value every from the last values node forecast its next "
    "incident at since "
    "for so far lasted weather rush hour not monday tuesday wednesday thursday friday saturday sunday km"
)
WORDS = SENTENCE.split()


def _save_tokenizer(folder: Path) -> None:
    from tokenizers.pre_tokenizers import BertPreTokenizer, Digits, Sequence

    split = Sequence([BertPreTokenizer(), Digits(individual_digits=True)])
    word_tokenizer(["<unk>", *".,:-()", *"0123456789", *WORDS], split=split).save_pretrained(folder)


@pytest.fixture(scope="session")
def gpt2_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A GPT-2 with 3 blocks of width 32 and 96 positions."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("gpt2")
    torch.manual_seed(0)
    GPT2LMHeadModel(
        GPT2Config(vocab_size=100, n_embd=32, n_head=2, n_layer=3, n_positions=96)
    ).save_pretrained(folder)
    _save_tokenizer(folder)
    return str(folder)


@pytest.fixture(scope="session")
def llama_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Llama with 2 blocks of width 32, rotary positions and grouped keys."""
    folder = tmp_path_factory.mktemp("llama")
    tiny_llama(100, num_key_value_heads=2, max_position_embeddings=256).save_pretrained(folder)
    _save_tokenizer(folder)
    return str(folder)


@pytest.fixture(scope="session")
def ring() -> SensorPanel:
    """Four days of a synthetic ring road with six sensors."""
    return ring_road(sensors=6, days=4, seed=1)


@pytest.fixture
def ring_csv(tmp_path: Path, ring: SensorPanel) -> Path:
    """The same as a wide table."""
    from etude.methods.stg_llm.conversion import panel_table

    path = tmp_path / "ring.csv"
    panel_table(ring).write_csv(path)
    return path


@pytest.fixture
def wide(tmp_path: Path) -> Callable[..., Path]:
    """Write a small wide table: `wide(rows=..., **changes of the frame)`."""

    def write(rows: int = 30, nodes: int = 3, minutes: int = 60, name: str = "wide.csv") -> Path:
        times = np.datetime64("2024-01-01T00:00", "m") + np.arange(rows) * np.timedelta64(minutes, "m")
        values = np.arange(rows * nodes, dtype=float).reshape(rows, nodes) % 17
        frame = {"time": times.astype(str)} | {f"n{i}": values[:, i] for i in range(nodes)}
        path = tmp_path / name
        pl.DataFrame(frame).write_csv(path)
        return path

    return write
