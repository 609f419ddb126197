"""Block 1, the speech foundation model: waveforms to features (B, T, d) and their true lengths.

Whisper is run on the true length of the audio (its position table is cut), or padded to its fixed 30 s as in
its own training; which of the two is recorded in a translator's config, for mixing them breaks results.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from etude.errors import EtudeError
from etude.methods.speech_translation.audio import RATE, Samples
from etude.methods.speech_translation.lengths import length_mask, pad_rows
from etude.methods.speech_translation.packaged_whisper import speech_directory, speech_revision
from etude.models.quiet import quiet_transformers
from etude.runs import read_json

Window = Literal["true", "padded"]
HOP = 160  # samples between two mel frames: 10 ms


class SpeechEncoder(nn.Module, ABC):
    """A speech foundation model with what identifies its output.

    Attributes:
        model: The transformers module.
        name: The name it was asked for by.
        revision: Digest of its files.
        width: d of the features.
        rate: Features per second.
        longest: Seconds it reads at most, None without a limit.
        window: `true` or `padded` audio.
        layer: Features are the output of this layer (1 is the first); None is the encoder's own output.
    """

    model: nn.Module
    name: str
    revision: str
    width: int
    rate: float
    longest: float | None = None
    window: Window = "true"
    layer: int | None = None

    def forward(self, waveforms: Sequence[Samples]) -> tuple[Tensor, Tensor]:
        """Features of audio.

        Args:
            waveforms: Each (samples,) at 16 kHz.

        Returns:
            (B, T, width), zero behind each length, and lengths (B,).

        Raises:
            EtudeError: Audio is longer than the encoder reads.
        """
        for waveform in waveforms:
            seconds = len(waveform) / RATE
            if self.longest is not None and seconds > self.longest + 1e-6:
                raise EtudeError(
                    f"{seconds:.1f} s of audio, {self.name} reads {self.longest:g} s",
                    "Cut it (etude speech-translation translate does), or leave it out.",
                )
        x, lengths = self.encode(waveforms)
        return x * length_mask(lengths, x.shape[1]).unsqueeze(-1), lengths

    @abstractmethod
    def encode(self, waveforms: Sequence[Samples]) -> tuple[Tensor, Tensor]:
        """As `forward`, without its checks."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device


class WhisperSpeechEncoder(SpeechEncoder):
    """Whisper's encoder (Radford et al. 2022): 10 ms log-mel frames, two convolutions, 50 features/s."""

    def __init__(self, model: Any, name: str, revision: str, window: Window) -> None:
        super().__init__()
        from transformers.audio_utils import mel_filter_bank

        self.model, self.name, self.revision, self.window = model, name, revision, window
        config = model.config
        self.width, self.rate = config.d_model, RATE / HOP / 2
        self.positions = config.max_source_positions
        self.longest = self.positions / self.rate
        bank = mel_filter_bank(201, config.num_mel_bins, 0.0, RATE / 2, RATE, "slaney", "slaney")
        self.register_buffer("mel", torch.from_numpy(bank.T.copy()).float(), persistent=False)
        self.register_buffer("hann", torch.hann_window(400), persistent=False)

    def log_mel(self, waveform: Samples) -> Tensor:
        """Whisper's features of one waveform, (mel bins, ceil(samples / 160)).

        With `window="padded"` the waveform is followed by silence up to 30 s first.
        """
        x = torch.from_numpy(waveform).to(self.device)
        whole = round(self.positions * 2 * HOP)
        size = whole if self.window == "padded" else -(-len(waveform) // (2 * HOP)) * 2 * HOP
        spoken = min(size, -(-(len(waveform) + 400) // HOP) * HOP)  # behind it every window is silent
        x = nn.functional.pad(x, (0, max(0, spoken - len(waveform))))
        spectrum = torch.stft(x, 400, HOP, window=self.get_buffer("hann"), return_complex=True)
        power = self.get_buffer("mel") @ spectrum[:, :-1].abs() ** 2
        power = nn.functional.pad(power, (0, (size - spoken) // HOP))
        log = power.clamp(min=1e-10).log10()
        return (torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0

    def encode(self, waveforms: Sequence[Samples]) -> tuple[Tensor, Tensor]:
        """Convolutions, positions and layers of transformers' module, with a mask over what is padding."""
        mels = [self.log_mel(waveform) for waveform in waveforms]
        frames = torch.tensor([mel.shape[1] for mel in mels], device=self.device)
        x = pad_rows([mel.T for mel in mels])[0].transpose(1, 2)  # (B, mel, frames)
        lengths = frames // 2
        model: Any = self.model
        x = gelu(model.conv1(x)) * length_mask(frames, x.shape[2]).unsqueeze(1)  # as if nothing followed
        x = gelu(model.conv2(x)).transpose(1, 2)  # (B, T, d)
        x = x + model.embed_positions.weight[: x.shape[1]]
        keep = length_mask(lengths, x.shape[1])
        mask = None if bool(keep.all()) else keep[:, None, None, :].expand(-1, 1, x.shape[1], -1)
        for layer in model.layers[: self.layer]:
            x = layer(x, mask)
        x = x if self.layer is not None else model.layer_norm(x)
        true = torch.tensor([-(-len(w) // (2 * HOP)) for w in waveforms], device=self.device)
        return x[:, : int(true.max())], true


class WaveformSpeechEncoder(SpeechEncoder):
    """wav2vec 2.0, HuBERT, WavLM: a convolutional front end over samples, about 50 features/s."""

    def __init__(self, model: Any, name: str, revision: str, normalize: bool) -> None:
        super().__init__()
        self.model, self.name, self.revision, self.normalize = model, name, revision, normalize
        self.width = model.config.hidden_size
        stride = 1
        for step in model.config.conv_stride:
            stride *= step
        self.rate = RATE / stride

    def encode(self, waveforms: Sequence[Samples]) -> tuple[Tensor, Tensor]:
        """Each waveform to zero mean and unit variance where the model was trained so."""
        rows = [torch.from_numpy(waveform).to(self.device).unsqueeze(-1) for waveform in waveforms]
        if self.normalize:
            rows = [(row - row.mean()) / (row.var(unbiased=False) + 1e-7).sqrt() for row in rows]
        x, samples = pad_rows(rows)
        model: Any = self.model
        mask = length_mask(samples, x.shape[1]).long()
        x = _states(
            model(x.squeeze(-1), attention_mask=mask, output_hidden_states=self.layer is not None), self.layer
        )
        lengths = model._get_feat_extract_output_lengths(samples).long().clamp(min=1)
        return x[:, : int(lengths.max())], lengths


class FilterbankSpeechEncoder(SpeechEncoder):
    """Seamless (w2v-BERT 2.0 with its own 8x adapter, ~6 features/s) and FastConformer (12.5/s)."""

    def __init__(self, model: Any, extractor: Any, name: str, revision: str, stride: int) -> None:
        super().__init__()
        self.model, self.extractor, self.name, self.revision = model, extractor, name, revision
        self.width, self.stride = model.config.hidden_size, stride
        self.rate = 100 / stride

    def encode(self, waveforms: Sequence[Samples]) -> tuple[Tensor, Tensor]:
        """The feature extractor's frames through the model; lengths follow its strides."""
        made = self.extractor(list(waveforms), sampling_rate=RATE, return_tensors="pt", padding=True)
        given = {key: made[key].to(self.device) for key in ("input_features", "attention_mask")}
        x = _states(self.model(**given, output_hidden_states=self.layer is not None), self.layer)
        share = given["attention_mask"].sum(1) / given["attention_mask"].shape[1]
        exact = self._lengths(given["attention_mask"])
        lengths = (share * x.shape[1]).ceil().long() if exact is None else exact
        return x, lengths.clamp(min=1, max=x.shape[1])

    def _lengths(self, mask: Tensor) -> Tensor | None:
        model: Any = self.model
        if hasattr(model, "_get_subsampling_output_length"):
            return torch.as_tensor(model._get_subsampling_output_length(mask.sum(1))).long()
        if getattr(model, "adapter", None) is None:
            return mask.sum(1) if self.stride == 2 else None
        config, lengths = model.config, mask.sum(1)
        for _ in range(config.num_adapter_layers):
            pad = config.adaptor_kernel_size // 2
            lengths = (lengths + 2 * pad - config.adaptor_kernel_size) // config.adaptor_stride + 1
        return lengths


class JoinedSpeechEncoders(SpeechEncoder):
    """Two encoders side by side, features concatenated (SALMONN); the slower one's features are repeated."""

    def __init__(self, parts: Sequence[SpeechEncoder]) -> None:
        super().__init__()
        self.parts = list(parts)
        self.model = nn.ModuleList(parts)
        self.name = "+".join(part.name for part in parts)
        self.revision = "+".join(part.revision for part in parts)
        self.width, self.rate = sum(part.width for part in parts), max(part.rate for part in parts)
        limits = [part.longest for part in parts if part.longest is not None]
        self.longest = min(limits, default=None)
        self.window = parts[0].window

    def encode(self, waveforms: Sequence[Samples]) -> tuple[Tensor, Tensor]:
        """Each feature of a part stands beside those of the others at the same time."""
        made = [part(waveforms) for part in self.parts]
        lengths = torch.stack([n for _, n in made]).max(0).values
        rows = []
        for b, total in enumerate(lengths.tolist()):
            places = [torch.arange(total, device=self.device) * int(n[b]) // total for _, n in made]
            rows.append(torch.cat([x[b][at] for (x, _), at in zip(made, places, strict=True)], dim=-1))
        return pad_rows(rows)[0], lengths


def _states(output: Any, layer: int | None) -> Tensor:
    states: Tensor = output.last_hidden_state if layer is None else output.hidden_states[layer]
    return states


_WAVEFORM = ("wav2vec2", "hubert", "wavlm", "wav2vec2-conformer", "data2vec-audio", "unispeech-sat")


def load_speech_encoder(
    name: str, *, window: Window = "true", layer: int | None = None, device: str | None = None
) -> SpeechEncoder:
    """Load a speech foundation model's encoder, in evaluation mode.

    Args:
        name: `whisper-tiny.en`, `whisper-base` (packaged), a directory, a hub id, or several joined by `+`.
        window: For Whisper: `true` length, or `padded` to 30 s.
        layer: Take the output of this layer, 1 is the first.
        device: Default: the GPU if there is one.

    Raises:
        EtudeError: No such model, or of a kind that is not known.
    """
    from etude.models.local_lm import default_device

    if "+" in name:
        parts = [
            load_speech_encoder(part, window=window, layer=layer, device=device) for part in name.split("+")
        ]
        return JoinedSpeechEncoders(parts).eval()
    directory = speech_directory(name)
    kind = read_json(directory / "config.json").get("model_type", "")
    if window == "padded" and kind != "whisper":
        window = "true"
    with quiet_transformers():
        try:
            encoder = _build(kind, name, directory, window)
        except (ValueError, OSError, KeyError, ImportError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise EtudeError(
                f"{name}: cannot be loaded as a speech encoder ({reason})"[:400],
                "The folder must hold config.json and .safetensors weights of a speech model.",
            ) from error
    layers = getattr(encoder.model, "layers", None) or getattr(
        getattr(encoder.model, "encoder", None), "layers", None
    )
    if layer is not None and not 1 <= layer <= len(layers or ()):
        raise EtudeError(f"{name} has no layer {layer}", f"It has the layers 1 to {len(layers or ())}.")
    encoder.layer = layer
    return encoder.to(device or default_device()).eval()


def _build(kind: str, name: str, directory: Any, window: Window) -> SpeechEncoder:
    from transformers import AutoFeatureExtractor, AutoModel

    features: Any = AutoFeatureExtractor
    revision = speech_revision(name, directory)
    load: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True}
    if kind == "whisper":
        model = AutoModel.from_pretrained(directory, **load)
        return WhisperSpeechEncoder(model.encoder, name, revision, window)
    if kind in _WAVEFORM:
        settings = directory / "preprocessor_config.json"
        normalize = bool(read_json(settings).get("do_normalize", True)) if settings.exists() else True
        return WaveformSpeechEncoder(AutoModel.from_pretrained(directory, **load), name, revision, normalize)
    if kind in ("seamless_m4t_v2", "seamless_m4t", "wav2vec2-bert"):
        model = AutoModel.from_pretrained(directory, **load)
        encoder = getattr(model, "speech_encoder", model)
        strides = 2 * (encoder.config.adaptor_stride if getattr(encoder, "adapter", None) is not None else 1)
        extractor = features.from_pretrained(directory)
        return FilterbankSpeechEncoder(encoder, extractor, name, revision, strides)
    if kind.startswith("parakeet"):
        model = AutoModel.from_pretrained(directory, **load)
        encoder = getattr(model, "encoder", model)
        extractor = features.from_pretrained(directory)
        return FilterbankSpeechEncoder(encoder, extractor, name, revision, encoder.config.subsampling_factor)
    raise EtudeError(
        f"{name}: a model of type {kind!r} is no speech encoder that is known",
        f"Known: whisper, {', '.join(_WAVEFORM)}, seamless_m4t_v2, wav2vec2-bert, parakeet.",
    )
