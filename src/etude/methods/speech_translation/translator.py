"""The five blocks as one module: speech encoder, length adapter, modality adapter, mixer, language model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from etude.errors import EtudeError
from etude.methods.speech_translation.audio import Samples
from etude.methods.speech_translation.design import Design, Stage, State, Task
from etude.methods.speech_translation.examples import Example
from etude.methods.speech_translation.feature_cache import Features, live_features
from etude.methods.speech_translation.language_models import (
    LanguageModel,
    load_language_model,
    with_lora,
)
from etude.methods.speech_translation.length_adapters import build_length_adapter
from etude.methods.speech_translation.lengths import pad_rows
from etude.methods.speech_translation.mixing import Prompt, PromptMixer
from etude.methods.speech_translation.modality_adapters import build_modality_adapter
from etude.methods.speech_translation.speech_encoders import SpeechEncoder, load_speech_encoder
from etude.methods.speech_translation.utterances import Utterance
from etude.render import console

MOST_SKIPPED = 10  # losses that are not numbers, until training stops


@dataclass(frozen=True)
class Spoken:
    """What was written for one utterance.

    Attributes:
        text: The model's words.
        frames: Features of the speech encoder.
        speech_tokens: Vectors that went into the language model.
    """

    text: str
    frames: int
    speech_tokens: int


class SpeechTranslator(nn.Module):
    """A design, built.

    Args:
        design: Its settings.
        sfm: Block 1.
        llm: Block 5.
    """

    def __init__(self, design: Design, sfm: SpeechEncoder, llm: LanguageModel) -> None:
        super().__init__()
        self.design, self.sfm, self.llm = design, sfm, llm
        self.length_adapter = build_length_adapter(
            design.length_adapter.kind, sfm.width, design.length_adapter.options
        )
        self.modality_adapter = build_modality_adapter(
            design.modality_adapter.kind,
            self.length_adapter.out_width,
            llm.width,
            design.modality_adapter.options,
        )
        if design.uses("sfm", "lora"):
            sfm.model = with_lora(sfm.model, design.sfm.lora, sfm.name)
        if design.uses("llm", "lora"):
            llm.add_lora(design.llm.lora)
        self.mixer = PromptMixer(design.mixer, llm)
        self.stage = design.stages[-1]
        self.skipped = 0
        self.skip_step = False
        self.set_stage(self.stage)
        self.to(llm.embeddings.weight.device)  # type: ignore[arg-type]

    @classmethod
    def build(cls, design: Design, *, device: str | None = None) -> SpeechTranslator:
        """A design with fresh adapters.

        Raises:
            EtudeError: A model or kind of block is unknown.
        """
        sfm = load_speech_encoder(
            design.sfm.name, window=design.sfm.window, layer=design.sfm.layer, device=device
        )
        return cls(design, sfm, load_language_model(design.llm.name, device=device))

    @classmethod
    def from_pretrained(cls, folder: Path | str, **options: Any) -> SpeechTranslator:
        """A trained translator; see `translator_folder.load_translator`."""
        from etude.methods.speech_translation.translator_folder import load_translator

        return load_translator(folder, **options)

    @property
    def adapter(self) -> nn.ModuleDict:
        """Blocks 2 and 3: what is always trained and saved."""
        return nn.ModuleDict(
            {"length_adapter": self.length_adapter, "modality_adapter": self.modality_adapter}
        )

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.llm.parameters()).device

    def set_stage(self, stage: Stage) -> None:
        """Freeze and thaw the blocks as a stage says."""
        self.stage = stage
        for block, module in (("sfm", self.sfm.model), ("llm", self.llm.model)):
            state = stage.state(block)
            for name, parameter in module.named_parameters():
                is_lora = "lora_" in name
                parameter.requires_grad_(is_lora if state == "lora" else state == "full" and not is_lora)
        for name, parameter in self.sfm.model.named_parameters():
            if "embed_positions" in name:  # sinusoids
                parameter.requires_grad_(False)
        trained = stage.state("adapter") != "frozen"
        for module in (self.length_adapter, self.modality_adapter):
            module.requires_grad_(trained and not (stage.supervise_only and module is self.modality_adapter))

    def train(self, mode: bool = True) -> SpeechTranslator:
        """Frozen blocks stay in evaluation mode: no dropout, no dropped layers."""
        super().train(mode)
        for block, module in (("sfm", self.sfm), ("llm", self.llm)):
            if self.stage.state(block) == "frozen":
                module.eval()
        return self

    def forward(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """The loss of a batch: the target's mean cross-entropy, and the length adapter's own loss.

        A loss that is not a number is counted and its step skipped.

        Raises:
            EtudeError: An example does not fit the language model's context, or too many losses were no
                numbers.
        """
        x, lengths = self._features(examples)
        transcripts = [example.utterance.transcript for example in examples]
        if self.training or self.stage.supervise_only:
            x, lengths, own = self.length_adapter.supervised(x, lengths, transcripts)
        else:
            (x, lengths), own = self.length_adapter(x, lengths), None
        if self.stage.supervise_only:
            if own is None:
                raise EtudeError(
                    f"the length adapter {self.design.length_adapter.kind!r} has no loss of its own",
                    "supervise_only is for ctc and cif.",
                )
            return {"loss": self._checked(own)}
        x, lengths = self.modality_adapter(x, lengths)
        draw = random if self.training and self.design.mixer.kind == "sampled" else None
        prompts = [
            self.mixer.prompt(example.utterance, example.task, draw=draw)  # type: ignore[arg-type]
            for example in examples
        ]
        targets = [self.mixer.target(example.target) for example in examples]
        for example, prompt, target, n in zip(examples, prompts, targets, lengths.tolist(), strict=True):
            self._check_context(example.utterance, prompt, n, len(target))
        loss = self._loss(x, lengths, prompts, targets)
        return {"loss": self._checked(loss if own is None else loss + own)}

    def _loss(self, x: Tensor, lengths: Tensor, prompts: list[Prompt], targets: list[list[int]]) -> Tensor:
        embed = self.llm.embeddings
        if not self.llm.encoder_decoder:
            given, mask, labels = self.mixer(x, lengths, prompts, embed, targets)
            return self.llm(given, mask, labels)  # type: ignore[no-any-return]
        given, mask, _ = self.mixer(x, lengths, prompts, embed)
        rows = [torch.tensor(target, device=x.device) for target in targets]
        told = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-100)
        return self.llm(given, mask, told)  # type: ignore[no-any-return]

    def _features(self, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
        if examples[0].features is not None:
            return self.from_features([example.features for example in examples])  # type: ignore[misc]
        waveforms = [example.waveform for example in examples]
        if self.stage.state("sfm") == "frozen":
            return self.from_features(live_features(self.sfm, waveforms))  # type: ignore[arg-type]
        found: tuple[Tensor, Tensor] = self.sfm(waveforms)
        return found

    def from_features(self, features: Sequence[Features]) -> tuple[Tensor, Tensor]:
        """Cached features as a batch: (B, T, d) and lengths (B,)."""
        rows = [torch.from_numpy(np.array(row, dtype=np.float32)) for row in features]
        x, lengths = pad_rows(rows)
        return x.to(self.device), lengths.to(self.device)

    def _checked(self, loss: Tensor) -> Tensor:
        self.skip_step = self.training and not bool(torch.isfinite(loss))
        if not self.skip_step:
            return loss
        self.skipped += 1
        if self.skipped > MOST_SKIPPED:
            raise EtudeError(
                f"{self.skipped} losses were not numbers", "Lower the learning rates, sfm's first."
            )
        console().print(f"a loss is not a number ({self.skipped}); this step is skipped")
        return sum((p.sum() * 0.0 for p in self.parameters() if p.requires_grad), torch.zeros(()))

    def _check_context(self, utterance: Utterance, prompt: Prompt, speech: int, target: int) -> None:
        limit = self.llm.context_length
        total = len(prompt.before) + len(prompt.after) + speech + (0 if self.llm.encoder_decoder else target)
        if limit is not None and total > limit:
            raise EtudeError(
                f"utterance {utterance.id!r}: {speech} speech tokens, prompt and target are {total} tokens, "
                f"{self.llm.name} reads {limit}",
                "Compress more (--la conv:layers=3), or leave long utterances out.",
            )

    @torch.no_grad()
    def translate(
        self,
        audio: Sequence[Samples] | Sequence[Features],
        utterances: Sequence[Utterance],
        *,
        task: Task = "st",
        prompt: str | None = None,
        max_tokens: int = 128,
        beams: int = 1,
    ) -> list[Spoken]:
        """Write what is asked for each utterance.

        Args:
            audio: Waveforms (samples,), or features (T, d) of this translator's encoder.
            utterances: Their languages (and questions) fill the prompt.
            task: What is asked.
            prompt: Another prompt, with one `{speech}`.
            max_tokens: Of an answer.
            beams: 1 is greedy.

        Raises:
            EtudeError: A prompt without its slot, no target language, or too much speech for the context.
        """
        was_training = self.training
        self.eval()
        given: Any = audio
        rows = given if np.ndim(audio[0]) == 2 else live_features(self.sfm, given)
        x, lengths = self.from_features(rows)
        frames = lengths.tolist()
        x, lengths = self.modality_adapter(*self.length_adapter(x, lengths))
        prompts = [self.mixer.prompt(utterance, task, template=prompt) for utterance in utterances]
        for utterance, asked, n in zip(utterances, prompts, lengths.tolist(), strict=True):
            self._check_context(utterance, asked, n, max_tokens)
        embeddings, mask, _ = self.mixer(
            x, lengths, prompts, self.llm.embeddings, left=not self.llm.encoder_decoder
        )
        written = self.llm.generate(embeddings, mask, max_tokens=max_tokens, beams=beams)
        self.train(was_training)
        return [
            Spoken(self.llm.text(ids), f, n)
            for ids, f, n in zip(written, frames, lengths.tolist(), strict=True)
        ]

    def trained_tensors(self) -> dict[str, Tensor]:
        """Everything that some stage of the design trains, by name."""
        keep = {}
        for name, parameter in self.named_parameters():
            block = name.split(".")[0]
            state: State = "lora" if "lora_" in name else "full"
            if block in ("length_adapter", "modality_adapter") or self.design.uses(block, state):
                keep[name] = parameter
        return {name: p.detach().cpu().contiguous() for name, p in keep.items()}

    def load_trained(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `trained_tensors` gave."""
        own: dict[str, Any] = dict(self.named_parameters())
        with torch.no_grad():
            for name, value in tensors.items():
                own[name].copy_(value)

    def parameter_counts(self) -> dict[str, int]:
        """Parameters of each block, and how many the current stage trains."""
        blocks = {
            "sfm": self.sfm,
            "length_adapter": self.length_adapter,
            "modality_adapter": self.modality_adapter,
            "llm": self.llm,
        }
        counts = {name: sum(p.numel() for p in module.parameters()) for name, module in blocks.items()}
        counts["trainable"] = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return counts
