"""The translator that comes with the package: three spoken English digits become a German number word.

It was trained, as anyone can again, by

    python -m etude.methods.speech_translation.sample_translator DATA OUT

on the recordings of four speakers (`spoken_numbers`); OUT is then `sample/numbers`. Its language model lies
inside its folder, being trained for it.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from etude.methods.speech_translation.audio import read_audio
from etude.methods.speech_translation.character_lm import TRANSLATE, character_lm
from etude.methods.speech_translation.design import (
    AdapterBlock,
    Design,
    LanguageBlock,
    MixerBlock,
    SpeechBlock,
    Stage,
)
from etude.methods.speech_translation.spoken_numbers import NumberTask, prepare_numbers
from etude.methods.speech_translation.staged_training import Schedule
from etude.methods.speech_translation.training_run import train_design
from etude.methods.speech_translation.translator import SpeechTranslator
from etude.methods.speech_translation.translator_folder import (
    ADAPTER,
    CONFIG,
    SAMPLE,
    facts_of,
    load_translator,
)
from etude.methods.speech_translation.utterances import Utterance
from etude.models.local_lm import load_tokenizer
from etude.models.quiet import quiet_transformers
from etude.runs import write_json

UTTERANCES, LM_STEPS, HEAD_STEPS, STEPS = 2000, 1000, 600, 1200


@dataclass(frozen=True)
class TestScore:
    """How the sample does on 180 unseen numbers by an unseen speaker.

    Attributes:
        utterances: How many.
        exact: Share that is right in every letter.
        chrf: Mean chrF, 0 to 100.
    """

    utterances: int
    exact: float
    chrf: float


def train_sample(data: Path, out: Path, *, seed: int = 0) -> TestScore:
    """Train the sample translator and score it; development utterances choose its checkpoint, not the test's.

    Args:
        data: Folder with the recordings, as for the claim.
        out: Folder for the translator.
        seed: Of weights and order.
    """
    task = prepare_numbers(data, train=UTTERANCES)
    out.mkdir(parents=True, exist_ok=True)
    _store_language_model(character_lm(task.numbers, seed, steps=LM_STEPS), out / "llm")
    rates = {"adapter": 2e-3}
    design = Design(
        sfm=SpeechBlock(name="whisper-tiny.en"),
        length_adapter=AdapterBlock(kind="ctc", options={"mode": "average"}),
        modality_adapter=AdapterBlock(kind="mlp", options={"hidden": 256}),
        mixer=MixerBlock(templates={"st": (TRANSLATE,)}, chat=False),
        llm=LanguageBlock(name=str(out / "llm")),
        stages=(
            Stage.model_validate(
                {
                    "tasks": ("asr",),
                    "steps": HEAD_STEPS,
                    "lr": rates,
                    "supervise_only": True,
                    "until_wer": 0.02,
                }
            ),
            Stage.model_validate({"tasks": ("st",), "steps": STEPS, "lr": rates}),
        ),
    )
    run = out / "run"  # the same command goes on with it after a kill
    train_design(design, task.train, task.dev, Schedule(seed=seed), out=run, name="sample")
    shutil.copyfile(run / ADAPTER, out / ADAPTER)
    score = _score(load_translator(run), task)
    told = facts_of(run)
    told["design"]["llm"]["name"] = told["llm"]["name"] = "llm"  # beside this file
    told["test"] = score.__dict__
    write_json(out / CONFIG, told)
    shutil.rmtree(run)
    return score


def _store_language_model(source: Path, target: Path) -> None:
    """As float16: half the size, and what it is trained with."""
    from transformers import AutoModelForCausalLM

    with quiet_transformers():
        model: Any = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float16)
        model.save_pretrained(target)
        load_tokenizer(str(source)).save_pretrained(target)


def _score(translator: SpeechTranslator, task: NumberTask) -> TestScore:
    from etude.methods.speech_translation.quality import character_f

    texts: list[str] = []
    for start in range(0, len(task.test), 60):
        part: list[Utterance] = task.test[start : start + 60]
        texts += [m.text for m in translator.translate([read_audio(u.reference) for u in part], part)]
    told = [u.translation or "" for u in task.test]
    scores = [character_f(text, right) for text, right in zip(texts, told, strict=True)]
    right = sum(text == one for text, one in zip(texts, told, strict=True))
    return TestScore(len(told), right / len(told), sum(scores) / len(scores))


if __name__ == "__main__":
    print(train_sample(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else SAMPLE))
