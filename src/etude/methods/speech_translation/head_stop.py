"""When a CTC head has learned enough: its stage ends at a word error rate, not at a number of steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import TrainerCallback, TrainingArguments

from etude.errors import EtudeError
from etude.methods.speech_translation.ctc_compression import CTCCompression
from etude.methods.speech_translation.design import Stage
from etude.methods.speech_translation.examples import Speech
from etude.methods.speech_translation.feature_cache import FeatureCache, live_features
from etude.methods.speech_translation.quality import word_error_rate
from etude.methods.speech_translation.translator import SpeechTranslator
from etude.methods.speech_translation.utterances import Utterance, require

_CHECKS = 20  # looks at the word error rate in the longest stage
_TOGETHER = 64


class StopAtWordErrorRate(TrainerCallback):
    """Ends a stage once its CTC head hears well enough.

    Args:
        translator: Its length adapter is ctc.
        stage: With `until_wer`.
        utterances: With transcripts; not those that are tested later.
        cache: Features of the frozen encoder.

    Attributes:
        wer: The last word error rate, a share.

    Raises:
        EtudeError: Another length adapter, or utterances without transcripts.
    """

    def __init__(
        self,
        translator: SpeechTranslator,
        stage: Stage,
        utterances: Sequence[Utterance],
        cache: FeatureCache | None,
    ) -> None:
        head = translator.length_adapter
        if not isinstance(head, CTCCompression) or not stage.supervise_only or stage.until_wer is None:
            raise EtudeError(
                f"until_wer is for the head of the length adapter ctc, this one is {type(head).__name__}",
                "Leave until_wer out, or set supervise_only and the length adapter ctc.",
            )
        require(utterances, "transcript", "until_wer")
        self.translator, self.head, self.limit = translator, head, stage.until_wer
        self.utterances = list(utterances)
        self.speech = Speech(self.utterances, cache)
        self.every = max(1, stage.steps // _CHECKS)
        self.wer: float | None = None

    def on_step_end(self, args: TrainingArguments, state: Any, control: Any, **kwargs: Any) -> None:
        """Look, every twentieth part of the stage."""
        if state.global_step % self.every:
            return
        self.wer = self.word_error_rate()
        if self.wer <= self.limit:
            control.should_training_stop = True
            control.should_save = False  # resumed from before, it stops here again

    @torch.no_grad()
    def word_error_rate(self) -> float:
        """Of the head's most likely path on the utterances, words as they are written, a share."""
        heard: list[str] = []
        for start in range(0, len(self.utterances), _TOGETHER):
            given = [self.speech.of(u) for u in self.utterances[start : start + _TOGETHER]]
            rows = [
                one["features"]
                if "features" in one
                else live_features(self.translator.sfm, [one["waveform"]])[0]
                for one in given
            ]
            heard += self.head.transcribe(*self.translator.from_features(rows))
        spoken = [u.transcript or "" for u in self.utterances]
        return word_error_rate(heard, spoken, language=None).scores["wer"]
