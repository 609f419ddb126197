"""Speech encoders against transformers' own forward passes, from tiny local directories."""

from pathlib import Path

import numpy as np
import pytest
import torch

from etude.errors import EtudeError
from etude.methods.speech_translation.speech_encoders import (
    HOP,
    WhisperSpeechEncoder,
    load_speech_encoder,
)

from .conftest import tone


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return (tone(seconds) + 0.05 * draw.normal(size=round(seconds * 16000))).astype(np.float32)


def test_whispers_mel_frames_are_its_feature_extractors(whisper_folder: str) -> None:
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor.from_pretrained(whisper_folder)
    encoder = load_speech_encoder(whisper_folder, window="padded")
    assert isinstance(encoder, WhisperSpeechEncoder)
    wave = noise(1.3)
    expected = extractor(wave, sampling_rate=16000, return_tensors="np").input_features[0]
    np.testing.assert_allclose(encoder.log_mel(wave).numpy(), expected, atol=1e-4)


def test_padded_whisper_is_transformers_encoder(whisper_folder: str) -> None:
    from transformers import WhisperModel

    encoder = load_speech_encoder(whisper_folder, window="padded")
    wave = noise(1.3)
    with torch.no_grad():
        mel = encoder.log_mel(wave)[None]  # type: ignore[operator]
        expected = WhisperModel.from_pretrained(whisper_folder).eval().encoder(mel).last_hidden_state
        x, lengths = encoder([wave])
    assert lengths.tolist() == [65] and x.shape == (1, 65, 16)
    torch.testing.assert_close(x, expected[:, :65], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("window", ["true", "padded"])
def test_whisper_gives_a_row_in_a_batch_what_it_gives_it_alone(whisper_folder: str, window: str) -> None:
    encoder = load_speech_encoder(whisper_folder, window=window)  # type: ignore[arg-type]
    waves = [noise(s, i) for i, s in enumerate((0.5, 1.7, 1.1))]
    with torch.no_grad():
        x, lengths = encoder(waves)
        for b, wave in enumerate(waves):
            alone, n = encoder([wave])
            assert int(n) == int(lengths[b]) == -(-len(wave) // (2 * HOP))
            torch.testing.assert_close(x[b, : int(n)], alone[0], atol=1e-4, rtol=1e-3)
            assert not x[b, int(n) :].any()


def test_a_layers_output_is_that_layers(whisper_folder: str) -> None:
    from transformers import WhisperModel

    encoder = load_speech_encoder(whisper_folder, window="padded", layer=1)
    wave = noise(0.8)
    with torch.no_grad():
        mel = encoder.log_mel(wave)[None]  # type: ignore[operator]
        model = WhisperModel.from_pretrained(whisper_folder).eval().encoder
        expected = model(mel, output_hidden_states=True).hidden_states[1]
        torch.testing.assert_close(encoder([wave])[0], expected[:, :40], atol=1e-5, rtol=1e-4)
    with pytest.raises(EtudeError, match="no layer 9"):
        load_speech_encoder(whisper_folder, layer=9)


def test_audio_beyond_the_fixed_window_is_refused_with_its_length(whisper_folder: str) -> None:
    with pytest.raises(EtudeError, match=r"6\.5 s of audio, .* reads 6 s"):
        load_speech_encoder(whisper_folder)([noise(6.5)])


@pytest.fixture(scope="module")
def wav2vec2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    folder = tmp_path_factory.mktemp("wav2vec2")
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8, 8),
        conv_stride=(5, 8, 8),
        conv_kernel=(10, 8, 8),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
    )
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True).save_pretrained(folder)
    return folder


def test_wav2vec2_is_transformers_model_on_the_true_length(wav2vec2_folder: Path) -> None:
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model

    encoder = load_speech_encoder(str(wav2vec2_folder))
    model = Wav2Vec2Model.from_pretrained(wav2vec2_folder).eval()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(wav2vec2_folder)
    waves = [noise(0.6), noise(1.0, 1)]
    with torch.no_grad():
        x, lengths = encoder(waves)
        for b, wave in enumerate(waves):
            given = extractor(wave, sampling_rate=16000, return_tensors="pt").input_values
            expected = model(given).last_hidden_state[0]
            assert int(lengths[b]) == len(expected)
            torch.testing.assert_close(x[b, : len(expected)], expected, atol=1e-4, rtol=1e-3)


@pytest.fixture(scope="module")
def seamless_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import SeamlessM4TFeatureExtractor, SeamlessM4Tv2Config, SeamlessM4Tv2Model

    folder = tmp_path_factory.mktemp("seamless")
    torch.manual_seed(0)
    config = SeamlessM4Tv2Config(
        vocab_size=32,
        t2u_vocab_size=32,
        char_vocab_size=32,
        hidden_size=16,
        feature_projection_input_dim=160,
        speech_encoder_layers=1,
        speech_encoder_attention_heads=2,
        speech_encoder_intermediate_size=32,
        encoder_layers=1,
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        decoder_layers=1,
        decoder_ffn_dim=16,
        decoder_attention_heads=2,
        t2u_encoder_layers=1,
        t2u_encoder_ffn_dim=16,
        t2u_encoder_attention_heads=2,
        t2u_decoder_layers=1,
        t2u_decoder_ffn_dim=16,
        t2u_decoder_attention_heads=2,
        num_adapter_layers=1,
        adaptor_kernel_size=8,
        adaptor_stride=8,
        unit_hifi_gan_vocab_size=32,
        unit_embed_dim=8,
        spkr_embed_dim=4,
        vocoder_num_langs=2,
        vocoder_num_spkrs=2,
        lang_embed_dim=4,
        upsample_initial_channel=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        vocoder_offset=4,
    )
    SeamlessM4Tv2Model(config).save_pretrained(folder)
    SeamlessM4TFeatureExtractor().save_pretrained(folder)
    return folder


def test_seamless_gives_about_six_features_a_second(seamless_folder: Path) -> None:
    from transformers import AutoModel, SeamlessM4TFeatureExtractor

    encoder = load_speech_encoder(str(seamless_folder))
    assert encoder.rate == pytest.approx(6.25)
    waves = [noise(1.0), noise(2.5, 1)]
    with torch.no_grad():
        _, lengths = encoder(waves)
        assert lengths[0] < lengths[1]
        extractor = SeamlessM4TFeatureExtractor.from_pretrained(seamless_folder)
        given = extractor([waves[1]], sampling_rate=16000, return_tensors="pt")
        model = AutoModel.from_pretrained(seamless_folder).eval().speech_encoder
        expected = model(given["input_features"], attention_mask=given["attention_mask"]).last_hidden_state[0]
        x, n = encoder([waves[1]])
    torch.testing.assert_close(x[0, : int(n)], expected[: int(n)], atol=1e-4, rtol=1e-3)
    assert int(n) == int(lengths[1])


def test_two_encoders_stand_side_by_side(whisper_folder: str, wav2vec2_folder: Path) -> None:
    both = load_speech_encoder(f"{whisper_folder}+{wav2vec2_folder}")
    first, second = load_speech_encoder(whisper_folder), load_speech_encoder(str(wav2vec2_folder))
    wave = noise(1.0)
    with torch.no_grad():
        (x, n), (a, na), (b, nb) = both([wave]), first([wave]), second([wave])
    assert both.width == x.shape[-1] == 32 and int(n) == max(int(na), int(nb))
    assert both.longest == first.longest
    torch.testing.assert_close(x[0, :, :16], a[0] if int(na) == int(n) else x[0, :, :16])
    torch.testing.assert_close(x[0, 0], torch.cat([a[0, 0], b[0, 0]]))


def test_models_that_are_no_speech_encoders_are_refused(llm_folder: str) -> None:
    with pytest.raises(EtudeError, match="type 'llama' is no speech encoder"):
        load_speech_encoder(llm_folder)
    with pytest.raises(EtudeError, match="no speech model 'whisper-tiny'"):
        load_speech_encoder("whisper-tiny")
