"""Tiny speech encoders, a tiny language model, tones as audio: real modules, random weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.tiny_models import tiny_llama

from etude.methods.speech_translation.audio import RATE, Samples, write_wav

WORDS = ("red", "green", "blue", "white")
GERMAN = {"red": "rot", "green": "grün", "blue": "blau", "white": "weiß"}


def tone(seconds: float, pitch: float = 440.0) -> Samples:
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * pitch * times)).astype(np.float32)


@pytest.fixture(scope="session")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Whisper of two layers of width 16 that reads at most 6 s."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    folder = tmp_path_factory.mktemp("whisper")
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=64,
        d_model=16,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_source_positions=300,
        max_target_positions=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    WhisperModel(config).save_pretrained(folder)
    WhisperFeatureExtractor(chunk_length=6).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def llm_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A character LM of two layers of width 16, random weights."""
    from etude.methods.speech_translation.character_lm import character_tokenizer

    folder = tmp_path_factory.mktemp("llm")
    tokenizer = character_tokenizer()
    tiny_llama(
        len(tokenizer), hidden_size=16, intermediate_size=32, num_attention_heads=2,
        max_position_embeddings=512, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    ).save_pretrained(folder)  # fmt: skip
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve utterances: each word is a pitch of its own, lengths differ; the last four are for the test."""
    from etude.data import write_records

    folder = tmp_path_factory.mktemp("data")
    rows = []
    for i in range(12):
        word = WORDS[i % 4]
        write_wav(folder / f"{i}.wav", tone(0.4 + 0.05 * i, 300 + 200 * (i % 4)))
        rows.append(
            {
                "id": f"u{i}",
                "audio": f"{i}.wav",
                "transcript": word,
                "source_lang": "en",
                "target_lang": "de",
                "translation": GERMAN[word],
                "question": "which color?",
                "answer": word,
                "split": "test" if i >= 8 else "train",
            }
        )
    write_records(folder / "data.tsv", rows)
    return folder


@pytest.fixture(autouse=True)
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, request) -> None:
    """Features of tiny encoders stay out of the user's cache; weights that tests fetched are shared."""
    if "real_weights" not in request.fixturenames:
        monkeypatch.setenv("ETUDE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="session")
def real_weights() -> Callable[[str], Path]:
    """`real_weights("whisper-tiny.en")`: the packaged model, or a skip where it cannot be fetched."""

    def find(name: str) -> Path:
        from etude.errors import EtudeError
        from etude.methods.speech_translation.packaged_whisper import whisper_directory

        try:
            return whisper_directory(name)
        except EtudeError as error:
            pytest.skip(f"{name} cannot be fetched here: {error.problem}")

    return find
