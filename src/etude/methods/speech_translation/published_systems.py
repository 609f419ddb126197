"""Published systems as designs: the nine of the survey's Table 1, the later ones, and the baselines.

A preset holds what the primary papers say; what they leave open (depths of adapters in `llm-st`, `slm`,
`cosmic` and `lst`) is ours and noted so. Full-size models are named by hub id; where the paper's own was
never published a public one stands in, which is noted too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from etude.errors import EtudeError
from etude.methods.speech_translation.design import (
    AdapterBlock,
    Design,
    LanguageBlock,
    Lora,
    MixerBlock,
    SpeechBlock,
    Stage,
)

if TYPE_CHECKING:
    from rich.console import RenderableType

_LARGE2, _LARGE3 = "openai/whisper-large-v2", "openai/whisper-large-v3"
_LLAMA, _LLAMA2 = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-2-7b-hf"
_VICUNA = "lmsys/vicuna-13b-v1.5"


@dataclass(frozen=True)
class Preset:
    """One published system.

    Args:
        name: What it is asked for by.
        paper: arXiv number.
        sfm: Its speech model and what happens to it, as in the survey's table.
        adapters: Length adapter and modality adapter.
        speech: Vectors that go into the language model.
        llm: Its language model and what happens to it.
        tasks: Tasks and data.
        reported: Speech translation scores of its paper.
        design: The same as a config; None for a baseline without training.
        note: What is ours, or stands in for something unpublished.
    """

    name: str
    paper: str
    sfm: str
    adapters: str
    speech: str
    llm: str
    tasks: str
    reported: str
    design: Design | None
    note: str = ""


@dataclass(frozen=True)
class PresetTable:
    """All presets."""

    presets: list[dict[str, Any]]

    def __rich__(self) -> RenderableType:
        """The survey's table, continued."""
        from rich.console import Group

        from etude.render import Text, show, table

        def part(columns: list[str], keys: tuple[str, ...]) -> RenderableType:
            return table(columns, [[row[key] for key in keys] for row in self.presets])

        blocks = ["preset", "arXiv", "SFM (state)", "length > modality", "into LLM", "LLM (state)"]
        notes = [f"{row['name']}: {row['note']}" for row in self.presets if row["note"]]
        return Group(
            part(blocks, ("name", "paper", "sfm", "adapters", "speech", "llm")),
            part(["preset", "tasks, data", "reported ST"], ("name", "tasks", "reported")),
            show(Text("\n".join(notes))),
        )


def _design(
    sfm: str,
    la: str,
    ma: str,
    llm: str,
    *stages: Stage,
    mixer: MixerBlock | None = None,
    lora: Lora | None = None,
    window: str = "padded",
) -> Design:
    return Design(
        sfm=SpeechBlock.model_validate({"name": sfm, "window": window}),
        length_adapter=AdapterBlock.parse(la),
        modality_adapter=AdapterBlock.parse(ma),
        mixer=mixer or MixerBlock(),
        llm=LanguageBlock(name=llm, lora=lora or Lora()),
        stages=stages,
    )


def _stage(tasks: str, steps: int, adapter: float = 1e-4, **states: Any) -> Stage:
    return Stage.model_validate(
        {"tasks": tasks.split("+"), "steps": steps, "trainable": states, "lr": {"adapter": adapter}}
    )


_CTC_HEAD = Stage(tasks=("asr",), steps=20_000, supervise_only=True)
_CONNECT = "SFM and LLM frozen; MuST-C, CoVoST2"

PRESETS = {
    p.name: p
    for p in (
        Preset(
            "speech-llama", "2307.03917", "own CTC encoder, in-house", "ctc > 4-layer transformer",
            "~1 per label", "LLaMA-7B, frozen or LoRA", "ASR pretraining; ST 13>En, ~1k h each",
            "CoVoST2 X>En BLEU, average +4.6 over its seq2seq",
            _design("facebook/wav2vec2-large-960h-lv60-self", "ctc:mode=average", "transformer:layers=4",
                    "huggyllama/llama-7b", _CTC_HEAD, _stage("asr", 50_000),
                    _stage("st", 100_000, llm="lora")),
            "its encoder is in-house; a public CTC-tuned one stands in",
        ),
        Preset(
            "lst", "2310.02050", "wav2vec2-large, ASR-tuned", "conv > linear", "4x fewer",
            "LLaMA2-7B/13B, tuned in stage 2", "ASR, then ST; MuST-C",
            "MuST-C De/Fr/Es 30.4/41.6/35.3 BLEU (13B)",
            _design("facebook/wav2vec2-large-960h-lv60-self", "conv:layers=2", "linear", _LLAMA2,
                    _stage("asr", 20_000, 2e-4), _stage("st", 20_000, 2e-5, llm="full")),
            "depth of the adapter is ours",
        ),
        Preset(
            "salmonn", "2310.13289", "Whisper-large-v2 + BEATs, frozen", "wlq L=17 Q=1 (both)",
            "88 per 30 s", "Vicuna-13B, LoRA r=8", "ASR+AAC; instructions; activation",
            "CoVoST2 En>Zh 33.1; unseen De 18.6, Ja 22.7 BLEU",
            _design(_LARGE2, "wlq:window=17,queries=1", "linear", _VICUNA,
                    _stage("asr", 50_000, 3e-5, llm="lora"), _stage("asr+st+qa", 50_000, 3e-5, llm="lora"),
                    mixer=MixerBlock(kind="sampled", position="around"), lora=Lora(r=8, alpha=32)),
            "BEATs is not in transformers: --sfm openai/whisper-large-v2+ORG/ENCODER joins another encoder",
        ),
        Preset(
            "slm", "2310.00230", "USM 2B, frozen", "ctc (blanks dropped) > 2-layer transformer",
            "up to 4x fewer", "mT0-MT-XXL 13B, frozen", "ASR, ST, speech instructions", "CoVoST2 X>En BLEU",
            _design("facebook/w2v-bert-2.0", "ctc:mode=remove_blank", "transformer:layers=2",
                    "bigscience/mt0-xxl-mt", _CTC_HEAD, _stage("asr+st", 100_000),
                    mixer=MixerBlock(kind="sampled", position="before")),
            "USM is unpublished, w2v-BERT 2.0 stands in; the CTC filter is ours",
        ),
        Preset(
            "blsp", "2309.00916", "Whisper-small, frozen", "conv x3 > MLP 512", "6.25/s (8x)",
            "Llama2-7B, frozen", "continuation; ST zero-shot or tuned", "CoVoST2, MuST-C",
            _design("openai/whisper-small", "conv:layers=3", "mlp:hidden=512", _LLAMA2,
                    _stage("continuation", 20_000)),
        ),
        Preset(
            "cosmic", "2311.02248", "Whisper-medium, frozen", "wlq > linear", "1 per window",
            "LLaMA2-7B/13B, LoRA", "ASR + generated QA; TED-LIUM 3 (450 h)", "FLEURS/CoVoST2, 0/1-shot",
            _design("openai/whisper-medium", "wlq:window=17,queries=1", "linear",
                    "meta-llama/Llama-2-7b-chat-hf",
                    _stage("asr+qa", 50_000, llm="lora")),
            "window and depth are ours",
        ),
        Preset(
            "salm", "2310.09424", "FastConformer 110M, tuned", "8x in the encoder > 2 conformer layers",
            "12.5/s", "2B GPT, frozen + LoRA r=128", "ASR + ST (MuST-C/IWSLT), keyword boosting",
            "MuST-C En>De/Ja",
            _design("nvidia/parakeet-ctc-1.1b", "none", "conformer:layers=2", "google/gemma-2b",
                    _stage("asr+st", 100_000, sfm="full", llm="lora"),
                    mixer=MixerBlock(position="before"), lora=Lora(r=128, alpha=256)),
            "its GPT is unpublished and the 110M encoder not in transformers: larger public ones stand in",
        ),
        Preset(
            "qwen-audio", "2311.07919", "Whisper-large-v2, tuned in pretraining", "pool k=2 > linear", "25/s",
            "Qwen-7B, frozen; then tuned, encoder frozen", ">30 tasks with tags",
            "CoVoST2 En-De 25.1, De-En 33.9, En-Zh 41.5, Zh-En 15.7, Es-En 39.7, Fr-En 38.5, It-En 36.0",
            _design(_LARGE2, "pool:k=2", "linear", "Qwen/Qwen2.5-7B", _stage("asr+st", 100_000, sfm="full"),
                    _stage("asr+st+qa", 20_000, llm="full"), mixer=MixerBlock(kind="tags")),
            "Qwen2.5-7B for Qwen-7B, whose code is not in transformers",
        ),
        Preset(
            "llm-st", "2312.13585", "Whisper-large encoder", "conv > transformer", "4-8x fewer",
            "in-house 13B, tuned", "ASR+ST, timestamps, chain; in-house, GigaST", "in-house, BLEU/COMET",
            _design(_LARGE2, "conv:layers=2", "transformer:layers=2", "meta-llama/Llama-2-13b-hf",
                    _stage("asr+st+chain", 100_000, 2e-5, llm="full")),
            "its LLM is in-house; adapter depths are ours",
        ),
        *(
            Preset(
                name, "2409.17044", "Whisper-large-v3, frozen", f"{shown} > 4-layer transformer", speech,
                "Llama-3.1-8B, frozen", _CONNECT, "MuST-C/CoVoST2, 5 directions (COMET)",
                _design(_LARGE3, la, "transformer:layers=4", _LLAMA, *head, _stage("asr+st", 28_000)),
                "layers of the modality adapter and steps are ours",
            )
            for name, shown, la, speech, head in (
                ("base", "none", "none", "50/s", ()),
                ("connect-conv", "conv", "conv:layers=2", "4x fewer", ()),
                ("connect-ctc", "ctc", "ctc:mode=average", "13x fewer", (_CTC_HEAD,)),
                ("connect-cif", "cif", "cif:unit=word", "25x fewer", ()),
                ("connect-wlq", "wlq", "wlq:window=16,queries=1", "16x fewer", ()),
            )
        ),
        Preset(
            "slam-asr", "2402.08846", "Whisper-large-v2, frozen", "stack k=5 > MLP 2048", "10/s",
            "Vicuna-7B, frozen", "ASR; LibriSpeech", "(ASR only)",
            _design(_LARGE2, "stack:k=5", "mlp:hidden=2048", "lmsys/vicuna-7b-v1.5", _stage("asr", 6_000)),
        ),
        Preset(
            "granite-speech", "2505.08699", "own 16-layer conformer CTC encoder, frozen",
            "wlq L=15 Q=3 (both)",
            "10/s", "Granite-3.3, LoRA r=64", "ASR + ST", "CoVoST2 En>X",
            _design("facebook/w2v-bert-2.0", "wlq:window=15,queries=3", "linear",
                    "ibm-granite/granite-3.3-2b-instruct", _stage("asr+st", 100_000, llm="lora"),
                    lora=Lora(r=64, alpha=32)),
            "its encoder is loaded by transformers only with the whole model; w2v-BERT 2.0 stands in",
        ),
        Preset(
            "cascade", "", "Whisper", "(text)", "0", "the same LLM", "ASR, then text translation", "", None
        ),
        Preset(
            "whisper-translate", "2212.04356", "Whisper", "(none)", "0", "(none)", "X>En", "", None
        ),
    )
}  # fmt: skip
"""Name to preset."""


def presets() -> PresetTable:
    """Print the published systems: speech model, adapters, language model, tasks, reported scores.

    Each name is a `--preset` of `etude speech-translation train`. `--sfm` and `--llm` are whisper-base and
    smollm2 unless you name others, or `preset` for the full-size models of the paper.

    Returns:
        One row per preset.
    """
    rows = []
    for preset in PRESETS.values():
        row = asdict(preset)
        row["design"] = preset.design.model_dump(mode="json") if preset.design else None
        rows.append(row)
    return PresetTable(rows)


def preset_design(name: str) -> Design:
    """The design of a preset.

    Raises:
        EtudeError: No such preset, or a baseline, which has nothing to train.
    """
    if name not in PRESETS:
        import difflib

        near = difflib.get_close_matches(name, PRESETS, n=1)
        raise EtudeError(
            f"no preset {name!r}",
            f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(PRESETS)}.",
        )
    design = PRESETS[name].design
    if design is None:
        raise EtudeError(f"{name} is a baseline: nothing is trained", "Give it to evaluate or compare.")
    return design
