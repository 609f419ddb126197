"""CTranslate2's files mapped to transformers: against CTranslate2's own converter and runtime."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from etude.errors import EtudeError
from etude.methods.speech_translation.ctranslate2_weights import (
    read_model_bin,
    whisper_config,
    whisper_state,
)


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, torch.Tensor]]:
    """A small random Whisper written by CTranslate2's own model specification."""
    import ctranslate2
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=64,
        d_model=64,
        encoder_layers=2,
        decoder_layers=3,
        encoder_attention_heads=1,
        decoder_attention_heads=1,
        encoder_ffn_dim=96,
        decoder_ffn_dim=96,
        max_source_positions=50,
        max_target_positions=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = WhisperForConditionalGeneration(config)
    loader = ctranslate2.converters.transformers.WhisperLoader()
    spec = ctranslate2.specs.whisper_spec.WhisperSpec(2, 1, 3, 1)
    loader.set_encoder(spec.encoder, model.model.encoder)
    loader.set_decoder(spec.decoder, model.model.decoder)
    loader.set_linear(spec.decoder.projection, model.proj_out)
    spec.register_vocabulary([f"t{i}" for i in range(64)])
    spec.validate()
    spec.optimize(quantization="float32")
    folder = tmp_path_factory.mktemp("converted")
    spec.save(str(folder))
    return folder / "model.bin", model.state_dict()


def test_the_map_undoes_ctranslate2s_conversion(converted) -> None:
    path, expected = converted
    tensors = read_model_bin(path)
    state = whisper_state(tensors)
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, msg=name)
    shapes = whisper_config(tensors)
    assert (shapes["encoder_layers"], shapes["decoder_layers"], shapes["d_model"]) == (2, 3, 64)


def test_files_that_are_cut_off_or_something_else_are_refused(converted, tmp_path: Path) -> None:
    content = converted[0].read_bytes()
    cases = {
        "cut off": content[: len(content) // 2],
        "format 5, not 6": struct.pack("<I", 5) + content[4:],
        "not WhisperSpec": content.replace(b"WhisperSpec", b"WhisperSpac", 1),
    }
    for message, changed in cases.items():
        (tmp_path / "model.bin").write_bytes(changed)
        with pytest.raises(EtudeError, match=message):
            read_model_bin(tmp_path / "model.bin")
    with pytest.raises(EtudeError, match="cannot be read"):
        read_model_bin(tmp_path / "gone.bin")


@pytest.mark.slow  # two real models on real speech, padded to 30 s
@pytest.mark.parametrize("name", ["whisper-tiny.en", "whisper-base"])
def test_features_and_words_are_ctranslate2s_on_real_speech(name: str, real_weights, shared_data) -> None:
    import ctranslate2

    from etude.methods.speech_translation.audio import read_audio
    from etude.methods.speech_translation.packaged_whisper import ctranslate2_directory
    from etude.methods.speech_translation.recognizers import Whisper
    from etude.methods.speech_translation.speech_encoders import load_speech_encoder

    real_weights(name)
    wave = read_audio(shared_data("speech-translation") / "sense_and_sensibility_01_austen_64kb-0880.wav")
    encoder = load_speech_encoder(name, window="padded")
    mel = encoder.log_mel(wave).numpy()[None]  # type: ignore[operator]
    theirs = ctranslate2.models.Whisper(str(ctranslate2_directory(name)), compute_type="float32")
    expected = np.array(theirs.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(mel))))
    with torch.no_grad():
        ours, lengths = encoder([wave])
    np.testing.assert_allclose(ours[0].numpy(), expected[0, : int(lengths)], atol=2e-3)
    words = {engine: Whisper(name, engine=engine).transcribe([wave]) for engine in
             ("transformers", "ctranslate2")}  # fmt: skip
    assert "young man" in words["transformers"][0]
    assert "young man" in words["ctranslate2"][0]
