"""The verbs on a user's own folder of audio, as the command line calls them."""

import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from etude.errors import EtudeError
from etude.methods.speech_translation.audio import read_audio, write_wav
from etude.methods.speech_translation.comparison import arm_design, compare
from etude.methods.speech_translation.design import Design
from etude.methods.speech_translation.evaluation import evaluate, evaluate_system, shuffled_audio
from etude.methods.speech_translation.example_view import show
from etude.methods.speech_translation.output_journal import Output, OutputJournal
from etude.methods.speech_translation.published_systems import PRESETS, preset_design, presets
from etude.methods.speech_translation.quality import word_error_rate
from etude.methods.speech_translation.systems import Cascade, TextTranslator, WhisperTranslate, open_system
from etude.methods.speech_translation.training_run import train
from etude.methods.speech_translation.translating import translate
from etude.methods.speech_translation.translator import Spoken
from etude.methods.speech_translation.utterances import read_utterances

from .conftest import tone

NINE = ("speech-llama", "lst", "salmonn", "slm", "blsp", "cosmic", "salm", "qwen-audio", "llm-st")
LATER = ("base", "connect-conv", "connect-ctc", "connect-cif", "connect-wlq", "slam-asr", "granite-speech")


@pytest.fixture(scope="module")
def model(tmp_path_factory, data_folder: Path, whisper_folder: str, llm_folder: str) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train(str(data_folder / "data.tsv"), sfm=whisper_folder, llm=llm_folder, la="conv", ma="linear", steps=2,
          out=folder / "m", features=folder / "f")  # fmt: skip
    return folder / "m"


class Oracle:
    """Knows every translation by the utterance's id, or says always the same."""

    name, task = "oracle", "st"

    def __init__(self, known: dict[str, str], identity: str = "oracle") -> None:
        self.known, self.identity, self.asked = known, identity, 0

    def translate(self, waveforms, utterances, *, beams=1):
        self.asked += len(utterances)
        time.sleep(0.001)
        return [Spoken(self.known[u.audio], 50, 10) for u in utterances]


def test_outputs_have_the_fields_of_the_format_and_follow_the_audio(
    model: Path, data_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    made = translate(str(data_folder / "data.tsv"), model=str(model), max_tokens=4, out=out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == len(made.outputs) == 12
    assert {"id", "audio", "translation", "n_frames", "n_speech_tokens", "seconds"} <= rows[0].keys()
    assert rows[11]["n_frames"] == math.ceil((0.4 + 0.05 * 11) * 50)
    assert not list(tmp_path.glob(".out*"))


def test_beams_are_searched(model: Path, data_folder: Path) -> None:
    made = translate(str(data_folder / "0.wav"), model=str(model), beams=5, max_tokens=4)
    assert len(made.outputs) == 1


@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_gives_what_each_utterance_gives_alone(model: Path, data_folder: Path, beams: int) -> None:
    source, options = str(data_folder / "data.tsv"), {"model": str(model), "max_tokens": 6, "beams": beams}
    alone = translate(source, batch_size=1, **options)
    together = translate(source, batch_size=5, **options)
    keep = ("id", "translation", "n_frames", "n_speech_tokens", "audio_seconds")
    for one, other in zip(alone.outputs, together.outputs, strict=True):
        assert [getattr(one, k) for k in keep] == [getattr(other, k) for k in keep]


def test_batches_hold_one_language_like_lengths_and_two_minutes_at_most(tmp_path: Path) -> None:
    from etude.methods.speech_translation.translating import length_buckets
    from etude.methods.speech_translation.utterances import Utterance

    rows = []
    for i, seconds in enumerate((29, 1, 29, 2, 40, 1, 29, 29, 3)):
        write_wav(tmp_path / f"{i}.wav", tone(seconds))
        rows.append(
            Utterance(id=str(i), audio=str(tmp_path / f"{i}.wav"), source_lang="de" if i == 5 else "en")
        )
    found = [[u.id for u in batch] for batch in length_buckets(rows, 4)]
    assert found == [["5"], ["1", "3", "8"], ["0", "2", "6", "7"], ["4"]]
    assert [u.id for u in length_buckets(rows, 1)[-1]] == ["4"]


def test_long_recordings_are_cut_and_joined(tmp_path: Path) -> None:
    from etude.methods.speech_translation.translating import translate_each

    write_wav(tmp_path / "long.wav", tone(61.0))
    lengths: list[float] = []

    class Counts(Oracle):
        def translate(self, waveforms, utterances, *, beams=1):
            lengths.append(len(waveforms[0]) / 16000)
            return [Spoken(f"part {len(lengths)}", 10, 5)]

    (output,) = translate_each(Counts({}), read_utterances(tmp_path / "long.wav"), batch_size=1)
    assert len(lengths) == 3 and max(lengths) <= 30 and sum(lengths) == pytest.approx(61.0)
    assert output.translation == "part 1 part 2 part 3"
    assert (output.n_frames, output.n_speech_tokens) == (30, 15)


def test_scores_of_an_oracle_are_perfect_and_exchanged_audio_ruins_them(data_folder: Path) -> None:
    rows = read_utterances(data_folder / "data.tsv")
    by_audio = {u.audio: u.translation for u in rows}
    result = evaluate_system(Oracle(by_audio), rows[:6])
    assert result.scores["chrf"] == pytest.approx(100)
    assert result.shuffled["chrf"] < 50
    assert result.failures == {"empty": 0, "refusing": 0, "looping": 0}
    assert (result.speech_tokens, result.frames_per_token) == (10, 5)
    assert result.real_time_factor > 0 and result.memory_mb > 0
    deaf = evaluate_system(Oracle(dict.fromkeys(by_audio, "rot")), rows)
    assert deaf.shuffled["chrf"] == pytest.approx(deaf.scores["chrf"])


def test_shuffling_gives_everyone_the_audio_of_another(data_folder: Path) -> None:
    rows = read_utterances(data_folder / "data.tsv")
    others = shuffled_audio(rows)
    assert [o.id for o in others] == [u.id for u in rows]
    assert all(o.audio != u.audio for o, u in zip(others, rows, strict=True))
    assert sorted(o.audio for o in others) == sorted(u.audio for u in rows)


def test_a_repeated_evaluation_asks_for_nothing_twice(data_folder: Path, tmp_path: Path) -> None:
    rows = read_utterances(data_folder / "data.tsv")
    oracle = Oracle({u.audio: u.translation for u in rows})
    first = evaluate_system(oracle, rows, out=tmp_path / "e")
    assert oracle.asked == 24
    assert evaluate_system(oracle, rows, out=tmp_path / "e") == first and oracle.asked == 24
    with pytest.raises(EtudeError, match="another configuration"):
        evaluate_system(Oracle(oracle.known, "other"), rows, out=tmp_path / "e")


def test_a_torn_line_of_the_journal_is_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "j"
    output = Output("a", "a.wav", "rot", 1, 1, 0.1, 1.0)
    OutputJournal(path, "k").add(output)
    with open(path, "a") as handle:
        handle.write('{"key": "k", "output": {"id": "b", "au')
    again = OutputJournal(path, "k")
    assert again.get("a") == output and again.get("b") is None
    again.add(replace(output, id="c"))
    assert OutputJournal(path, "k").get("c") is not None
    assert OutputJournal(path, "other").get("a") is None


def test_the_verb_evaluates_a_trained_translator(model: Path, data_folder: Path, tmp_path: Path) -> None:
    result = evaluate(str(model), str(data_folder / "data.tsv"), split="test", metrics=("chrf", "bleu"),
                      max_tokens=4, out=tmp_path / "e")  # fmt: skip
    assert result.utterances == 4 and set(result.scores) == set(result.shuffled) == {"chrf", "bleu"}
    rows = [json.loads(line) for line in (tmp_path / "e" / "outputs.jsonl").read_text().splitlines()]
    assert {"reference", "chrf", "bleu"} <= rows[0].keys()
    asr = evaluate(
        str(model), str(data_folder / "data.tsv"), task="asr", limit=2, max_tokens=4, control=False
    )
    assert set(asr.scores) == {"wer"}


def test_wer_is_that_of_the_systems_own_transcripts(
    data_folder: Path, whisper_folder: str, llm_folder: str, tmp_path: Path, model: Path
) -> None:
    train(str(data_folder / "data.tsv"), sfm=whisper_folder, llm=llm_folder, la="ctc", ma="linear",
          stages="ctc@2,st@1", out=tmp_path / "m", features=tmp_path / "f")  # fmt: skip
    rows = read_utterances(data_folder / "data.tsv", split="test")
    system = open_system(str(tmp_path / "m"), max_tokens=3)
    result = evaluate_system(system, rows, metrics=("chrf", "wer"), control=False, out=tmp_path / "e")
    head = system.translator.length_adapter
    heard = head.transcribe(*system.translator.sfm([read_audio(u.reference) for u in rows]))
    assert result.scores["wer"] == word_error_rate(heard, [u.transcript for u in rows]).scores["wer"]
    deaf = evaluate_system(
        open_system(str(model), max_tokens=3), rows, metrics=("chrf", "wer"), control=False
    )
    assert "wer" not in deaf.scores and "no WER" in deaf.notes[0]


def test_the_wer_of_the_cascade_is_its_recognizers(data_folder: Path, llm_folder: str) -> None:
    from etude.methods.speech_translation.language_models import load_language_model

    class Hears:
        name = "hears"

        def transcribe(self, waveforms, language="en"):
            return ["red" for _ in waveforms]

    rows = read_utterances(data_folder / "data.tsv")[:4]
    cascade = Cascade(Hears(), TextTranslator(load_language_model(llm_folder), max_tokens=2))
    assert evaluate_system(cascade, rows, metrics=("chrf", "wer"), control=False).scores["wer"] == 0.75


def test_every_preset_of_the_survey_is_there_and_builds_its_design() -> None:
    table = presets()
    names = [row["name"] for row in table.presets]
    assert names == [*NINE, *LATER, "cascade", "whisper-translate"]
    for name in (*NINE, *LATER):
        design = preset_design(name)
        assert Design.model_validate(design.model_dump(mode="json")) == design
        assert design.stages and PRESETS[name].paper
    with pytest.raises(EtudeError, match="no preset 'salmon'") as caught:
        preset_design("salmon")
    assert "salm" in caught.value.hint
    with pytest.raises(EtudeError, match="is a baseline"):
        preset_design("cascade")


@pytest.mark.parametrize("name", [n for n in (*NINE, *LATER) if n not in ("salmonn",)])
def test_every_preset_runs_with_small_models(
    name: str, data_folder: Path, whisper_folder: str, llm_folder: str
) -> None:
    from etude.methods.speech_translation.audio import read_audio
    from etude.methods.speech_translation.examples import Example
    from etude.methods.speech_translation.training_run import assembled_design, with_vocabulary
    from etude.methods.speech_translation.translator import SpeechTranslator

    rows = read_utterances(data_folder / "data.tsv")[:2]
    design = with_vocabulary(assembled_design(name, sfm=whisper_folder, llm=llm_folder), rows)
    translator = SpeechTranslator.build(design).train()
    examples = [Example(u, "asr", u.transcript or "", waveform=read_audio(u.reference)) for u in rows]
    loss = translator(examples)["loss"]
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None for p in translator.modality_adapter.parameters())


def test_systems_that_cannot_run_say_what_to_do(model: Path, data_folder: Path, llm_folder: str) -> None:
    with pytest.raises(EtudeError, match="blsp is a preset") as caught:
        open_system("blsp")
    assert "train" in caught.value.hint
    with pytest.raises(EtudeError, match=r"not a Whisper model|no speech encoder"):
        open_system("cascade", sfm=llm_folder, llm=llm_folder)
    with pytest.raises(EtudeError, match="has 0 places"):
        translate(str(data_folder / "0.wav"), model=str(model), prompt="no slot")
    with pytest.raises(EtudeError, match="no metric meteor"):
        evaluate(str(model), str(data_folder / "data.tsv"), metrics=("meteor",))
    with pytest.raises(EtudeError, match=r"Name it with \.jsonl"):
        translate(str(data_folder / "0.wav"), model=str(model), out=Path("a.txt"))


def test_whisper_translates_into_english_only(data_folder: Path) -> None:
    rows = read_utterances(data_folder / "data.tsv")
    with pytest.raises(EtudeError, match="writes English"):
        WhisperTranslate.translate(object.__new__(WhisperTranslate), [], rows)


def test_the_cascade_reads_the_transcript_where_speech_would_stand(llm_folder: str) -> None:
    import torch

    from etude.methods.speech_translation.design import MixerBlock
    from etude.methods.speech_translation.language_models import load_language_model
    from etude.methods.speech_translation.utterances import Utterance

    class Hears:
        name = "hears"

        def transcribe(self, waveforms, language="en"):
            return ["red {speech}", "blue"]

    language = load_language_model(llm_folder)
    cascade = Cascade(
        Hears(), TextTranslator(language, prompt="{speech}=", mixer=MixerBlock(chat=False), max_tokens=6)
    )
    rows = [Utterance(id=i, audio="a.wav", target_lang="de") for i in "ab"]
    made = [m.text for m in cascade.translate([tone(0.3)] * 2, rows)]
    for text, heard in zip(made, ("red ", "blue"), strict=True):
        ids = torch.tensor([[1, *language.tokenizer.encode(f"{heard}=", add_special_tokens=False)]])
        alone = language.model.generate(ids, max_new_tokens=6, do_sample=False, pad_token_id=0)
        assert text == language.text(alone[0, ids.shape[1] :])


def test_an_example_is_shown_with_its_mask(data_folder: Path, llm_folder: str) -> None:
    view = show(str(data_folder / "data.tsv"), example=1, llm=llm_folder)
    learned = "".join(p["text"] for p in view.pieces if p["learned"])
    assert learned == "grün</s>"
    assert [p["part"] for p in view.pieces].count("speech") == 1
    with pytest.raises(EtudeError, match="no row 99"):
        show(str(data_folder / "data.tsv"), example=99, llm=llm_folder)


def test_arms_that_learn_from_transcripts_and_the_others_get_as_many_steps() -> None:
    for arm, own in (("ctc", True), ("cif", True), ("conv:layers=3", False), ("connect-ctc", True)):
        design = arm_design(arm, sfm="whisper-base", llm="smollm2", budget=7, head=3)
        assert design is not None
        assert [s.steps for s in design.stages] == [3, 7]
        assert design.stages[0].supervise_only is own
    assert arm_design("cascade", sfm="a", llm="b", budget=1, head=1) is None
    with pytest.raises(EtudeError, match="no arm 'convolution'"):
        arm_design("convolution", sfm="a", llm="b", budget=1, head=1)


def test_compare_writes_a_table_a_page_and_resumes(
    data_folder: Path, whisper_folder: str, llm_folder: str, tmp_path: Path
) -> None:
    options = {
        "arms": ("conv", "ctc"), "sfm": whisper_folder, "llm": llm_folder, "budget": 2, "head": 2,
        "seeds": (0, 1), "metrics": ("chrf", "bleu"), "out": tmp_path / "c", "batch_size": 4,
        "beams": (1, 2), "max_tokens": 4,
    }  # fmt: skip
    made = compare(str(data_folder / "data.tsv"), **options)
    assert [a.arm for a in made.arms] == ["conv", "ctc"]
    assert made.arms[0].difference is None and made.arms[1].difference is not None
    page = (tmp_path / "c" / "compare.html").read_text()
    assert "ctc" in page and "nw:2" in page and "svg" in page
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "c" / "arms").rglob("result.json")}
    assert len(stamps) == 12
    assert all(set(a.other_beams) == {"2"} and set(a.other_beams["2"]) == {"chrf", "bleu"} for a in made.arms)
    assert "chrf, 2 beams" in page
    again = compare(str(data_folder / "data.tsv"), **options)
    assert again == made
    assert {p: p.stat().st_mtime_ns for p in stamps} == stamps


def test_compare_without_anything_to_score_is_refused(data_folder: Path, tmp_path: Path) -> None:
    rows = [u.model_copy(update={"split": "train"}) for u in read_utterances(data_folder / "data.tsv")]
    from etude.data import write_records

    write_records(data_folder / "train.jsonl", rows)
    with pytest.raises(EtudeError, match="0 utterances to score"):
        compare(str(data_folder / "train.jsonl"), out=tmp_path / "c")


def test_the_command_line_trains_and_prints_json(
    data_folder: Path, whisper_folder: str, llm_folder: str, tmp_path: Path
) -> None:
    command = [
        sys.executable, "-m", "etude.cli", "speech-translation", "train", str(data_folder / "data.tsv"),
        "--sfm", whisper_folder, "--llm", llm_folder, "--la", "conv:layers=1", "--ma", "linear",
        "--steps", "1", "--out", str(tmp_path / "m"), "--json",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told["adapters"] == "conv:layers=1 > linear" and told["utterances"] == 8


def test_an_unknown_length_adapter_is_named(
    data_folder: Path, whisper_folder: str, llm_folder: str, tmp_path: Path
) -> None:
    with pytest.raises(EtudeError, match="no length adapter 'con'"):
        train(str(data_folder / "data.tsv"), sfm=whisper_folder, llm=llm_folder, la="con", out=tmp_path / "x")
