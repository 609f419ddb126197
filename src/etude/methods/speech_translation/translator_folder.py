"""A trained translator on disk: `adapter.safetensors`, `config.json`, `lora/` in peft's format.

The speech model and the language model are never copied: they are loaded by name and checked by revision.
Where a block was trained in full, its changed tensors lie in `tuned.safetensors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from etude.errors import EtudeError
from etude.methods.speech_translation.design import design_from
from etude.methods.speech_translation.language_models import LanguageModel, load_language_model
from etude.methods.speech_translation.speech_encoders import SpeechEncoder, load_speech_encoder
from etude.methods.speech_translation.translator import SpeechTranslator
from etude.runs import atomic_path, read_json, write_json

FORMAT = 1
ADAPTER, TUNED, CONFIG = "adapter.safetensors", "tuned.safetensors", "config.json"
SAMPLE = Path(__file__).parent / "sample" / "numbers"
SAMPLE_NAME = "spoken-numbers"


def translator_directory(name: Path | str) -> Path:
    """The folder of a translator: a directory, or the packaged sample by its name `spoken-numbers`."""
    return SAMPLE if name == SAMPLE_NAME and not Path(name).is_dir() else Path(name)


def save_translator(folder: Path, translator: SpeechTranslator, facts: Mapping[str, Any]) -> None:
    """Write a translator; `config.json` comes last.

    Args:
        folder: Where to.
        translator: What to.
        facts: More to keep in the config, as JSON.
    """
    parts: dict[str, dict[str, Tensor]] = {ADAPTER: {}, TUNED: {}}
    for name, value in translator.trained_tensors().items():
        if "lora_" not in name:
            own = name.startswith(("length_adapter.", "modality_adapter."))
            parts[ADAPTER if own else TUNED][name] = value
    for file, tensors in parts.items():
        if tensors or file == ADAPTER:
            with atomic_path(folder / file) as temporary:
                save_file(tensors, temporary)
    for block, module in (("sfm", translator.sfm), ("llm", translator.llm)):
        if translator.design.uses(block, "lora"):
            model: Any = module.model
            with atomic_path(folder / _lora_folder(block)) as temporary:
                model.save_pretrained(temporary)
    write_json(
        folder / CONFIG,
        {
            "format": FORMAT,
            "design": translator.design.model_dump(mode="json"),
            "sfm": _identity(translator.sfm),
            "llm": _identity(translator.llm),
            **facts,
        },
    )


def load_translator(
    folder: Path | str, *, llm: str | None = None, sfm: str | None = None, device: str | None = None
) -> SpeechTranslator:
    """Load what `save_translator` wrote, in evaluation mode.

    Args:
        folder: The translator's.
        llm: Where its language model lies now, if not under its recorded name.
        sfm: The same for the speech model.
        device: Default: the GPU if there is one.

    Raises:
        EtudeError: No such folder, or a model is not the one that it was trained with.
    """
    folder = translator_directory(folder)
    if not (folder / CONFIG).is_file() or not (folder / ADAPTER).is_file():
        raise EtudeError(
            f"{folder}: no trained translator in it", f"etude speech-translation train … --out {folder}"
        )
    told = read_json(folder / CONFIG)
    if told.get("format") != FORMAT:
        raise EtudeError(f"{folder}: format {told.get('format')!r}, not {FORMAT}", "Train it again.")
    design = design_from(told["design"], str(folder / CONFIG))
    encoder = load_speech_encoder(
        sfm or design.sfm.name, window=design.sfm.window, layer=design.sfm.layer, device=device
    )
    inside = folder / design.llm.name  # a language model trained for this translator lies in its folder
    own = str(inside) if (inside / CONFIG).is_file() else design.llm.name
    language = load_language_model(llm or own, device=device)
    _same(told["sfm"], encoder, "speech model", folder)
    _same(told["llm"], language, "language model", folder)
    translator = SpeechTranslator(design, encoder, language)
    tensors = load_file(folder / ADAPTER)
    if (folder / TUNED).exists():
        tensors |= load_file(folder / TUNED)
    for block in ("sfm", "llm"):
        if design.uses(block, "lora"):
            tensors |= _lora_tensors(folder / _lora_folder(block), block)
    translator.load_trained(tensors)
    return translator.eval()


def facts_of(folder: Path) -> dict[str, Any]:
    """What a translator's config says."""
    return dict(read_json(folder / CONFIG))


def _lora_folder(block: str) -> str:
    return "lora" if block == "llm" else f"lora_{block}"


def _lora_tensors(folder: Path, block: str) -> dict[str, Tensor]:
    stored = load_file(folder / "adapter_model.safetensors")
    return {
        f"{block}.model.{name}".replace(".weight", ".default.weight"): value for name, value in stored.items()
    }


def _identity(module: SpeechEncoder | LanguageModel) -> dict[str, Any]:
    found: dict[str, Any] = {"name": module.name, "revision": module.revision, "width": module.width}
    if isinstance(module, LanguageModel):
        found["vocabulary"] = len(module.tokenizer)
    return found


def _same(told: Mapping[str, Any], module: SpeechEncoder | LanguageModel, what: str, folder: Path) -> None:
    now = _identity(module)
    for key, label in (("width", "width"), ("vocabulary", "vocabulary"), ("revision", "revision")):
        if key in told and told[key] != now[key]:
            raise EtudeError(
                f"{folder}: trained with the {what} {told['name']} ({label} {told[key]}), "
                f"this one is {now['name']} ({label} {now[key]})",
                "Use the same model, or train again.",
            )
