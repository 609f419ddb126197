"""Training through all five blocks: what is trained, what is kept, what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from etude.errors import EtudeError
from etude.methods.speech_translation.audio import read_audio
from etude.methods.speech_translation.design import (
    AdapterBlock,
    Design,
    LanguageBlock,
    Lora,
    MixerBlock,
    SpeechBlock,
    Stage,
    read_design,
)
from etude.methods.speech_translation.examples import Batches, Example, Speech, plan_batches
from etude.methods.speech_translation.feature_cache import FeatureCache, live_features
from etude.methods.speech_translation.staged_training import Schedule, SkippingAdamW, block_optimizer
from etude.methods.speech_translation.training_run import assembled_design, train, train_design
from etude.methods.speech_translation.translator import MOST_SKIPPED, SpeechTranslator
from etude.methods.speech_translation.translator_folder import load_translator
from etude.methods.speech_translation.utterances import read_utterances

PLAIN = MixerBlock(templates={"st": ("{speech}=",), "asr": ("{speech}>",)}, chat=False)


def design_of(sfm: str, llm: str, la: str = "conv", *stages: Stage, **more: object) -> Design:
    return Design(
        sfm=SpeechBlock(name=sfm),
        length_adapter=AdapterBlock.parse(la),
        modality_adapter=AdapterBlock(kind="linear"),
        mixer=PLAIN,
        llm=LanguageBlock(name=llm, lora=Lora(r=2, targets=("q_proj", "v_proj"))),
        stages=stages or (Stage(steps=2),),
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture
def utterances(data_folder: Path):
    return read_utterances(data_folder / "data.tsv")


def example(utterance, **audio) -> Example:
    return Example(utterance, "st", utterance.translation, **audio)


def test_cached_and_live_features_give_the_same_loss(
    utterances, whisper_folder: str, llm_folder: str, tmp_path: Path
) -> None:
    translator = SpeechTranslator.build(design_of(whisper_folder, llm_folder)).eval()
    speech = Speech(utterances, FeatureCache(translator.sfm, tmp_path), together=5)
    cached = [example(u, **speech.of(u)) for u in utterances]
    live = [example(u, waveform=read_audio(u.reference)) for u in utterances]
    with torch.no_grad():
        assert float(translator(cached)["loss"]) == pytest.approx(float(translator(live)["loss"]), abs=1e-5)


def test_features_are_computed_once_and_mapped_from_disk(
    utterances, whisper_folder: str, tmp_path: Path
) -> None:
    from etude.methods.speech_translation.speech_encoders import load_speech_encoder

    encoder = load_speech_encoder(whisper_folder)
    asked: list[int] = []
    forward = encoder.forward
    encoder.forward = lambda waves: asked.append(len(waves)) or forward(waves)  # type: ignore[method-assign]
    Speech(utterances, FeatureCache(encoder, tmp_path), together=5)
    assert asked == [5, 5, 2]
    again = FeatureCache(encoder, tmp_path)
    speech = Speech(utterances, again)
    assert asked == [5, 5, 2] and len(again) == 12
    row = speech.of(utterances[3])["features"]
    assert row.dtype == np.float16 and isinstance(row.base, np.memmap)
    expected = live_features(encoder, [read_audio(utterances[3].reference)])[0]
    np.testing.assert_allclose(row.astype(np.float32), expected.astype(np.float32), atol=2e-3)


def test_a_shard_without_its_index_does_not_count_and_other_settings_lie_elsewhere(
    utterances, whisper_folder: str, tmp_path: Path
) -> None:
    from etude.methods.speech_translation.speech_encoders import load_speech_encoder

    cache = FeatureCache(load_speech_encoder(whisper_folder), tmp_path)
    Speech(utterances, cache, together=6)
    index = next(cache.folder.glob("*.json"))
    index.unlink()  # as after a kill between the two files
    assert len(FeatureCache(cache.encoder, tmp_path)) == 6
    for options in ({"layer": 1}, {"window": "padded"}):
        other = FeatureCache(load_speech_encoder(whisper_folder, **options), tmp_path)
        assert other.folder != cache.folder and len(other) == 0


def test_batches_hold_every_example_once_and_like_lengths_together() -> None:
    sizes = list(np.random.default_rng(0).uniform(1, 30, 400))
    plan = plan_batches(sizes, 8, None, seed=3)
    assert sorted(i for batch in plan for i in batch) == list(range(400))
    within = np.mean([np.ptp([sizes[i] for i in batch]) for batch in plan])
    assert within < 0.05 * np.ptp(sizes)
    assert plan_batches(sizes, 8, 120, seed=3)[:50] == plan
    assert len(plan_batches(sizes, 8, 120, seed=3)) == 120
    assert plan_batches(sizes, 8, None, seed=4) != plan


def test_the_plan_is_the_same_for_every_length_adapter(utterances, whisper_folder: str) -> None:
    speech = Speech(utterances, None)
    plans = [Batches(utterances, ("st",), speech, batch_size=4, count=9, seed=1).plan for _ in range(2)]
    assert plans[0] == plans[1]


def changed(before: dict[str, torch.Tensor], model: torch.nn.Module) -> set[str]:
    return {
        name.split(".")[0] + (" lora" if "lora_" in name else "")
        for name, value in model.named_parameters()
        if not torch.equal(before[name], value)
    }


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ({}, {"length_adapter", "modality_adapter"}),
        ({"llm": "lora"}, {"length_adapter", "modality_adapter", "llm lora"}),
        ({"llm": "full"}, {"length_adapter", "modality_adapter", "llm"}),
        ({"sfm": "full"}, {"length_adapter", "modality_adapter", "sfm"}),
        ({"sfm": "lora", "adapter": "frozen"}, {"sfm lora"}),
    ],
)
def test_a_step_changes_the_blocks_that_are_trained_and_no_others(
    states: dict[str, str], expected: set[str], utterances, whisper_folder: str, llm_folder: str
) -> None:
    stage = Stage.model_validate({"steps": 1, "trainable": states})
    torch.manual_seed(0)
    translator = SpeechTranslator.build(design_of(whisper_folder, llm_folder, "conv", stage)).train()
    before = {name: p.detach().clone() for name, p in translator.named_parameters()}
    optimizer = block_optimizer(stage)(translator)
    live = [example(u, waveform=read_audio(u.reference)) for u in utterances[:4]]
    for _ in range(2):  # LoRA's second factor is zero before the first step
        optimizer.zero_grad()
        translator(live)["loss"].backward()
        optimizer.step()
    assert changed(before, translator) == expected


@pytest.mark.parametrize("starts", [(3, 5), (1, 4), (6, 6)])
def test_the_loss_is_that_of_all_logits(starts: tuple[int, int], llm_folder: str) -> None:
    """Logits of the prompt and the speech are left out: nothing is learned there."""
    from etude.methods.speech_translation.language_models import load_language_model

    torch.manual_seed(0)
    language = load_language_model(llm_folder)
    x, mask = torch.randn(2, 8, 16), torch.ones(2, 8, dtype=torch.long)
    labels = torch.full((2, 8), -100)
    for row, start in enumerate(starts):
        labels[row, start:7] = torch.randint(4, 30, (7 - start,))
    logits = language.model(inputs_embeds=x, attention_mask=mask).logits
    expected = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    assert float(language(x, mask, labels).detach()) == pytest.approx(float(expected), abs=1e-6)


def test_every_block_has_its_own_learning_rate(whisper_folder: str, llm_folder: str) -> None:
    stage = Stage.model_validate(
        {"steps": 1, "trainable": {"sfm": "full", "llm": "lora"}, "lr": {"sfm": 1e-6, "adapter": 1e-3}}
    )
    translator = SpeechTranslator.build(design_of(whisper_folder, llm_folder, "conv", stage))
    rates = [group["lr"] for group in block_optimizer(stage)(translator).param_groups]
    assert rates == [1e-6, 1e-3, 1e-4]


def test_frozen_blocks_stay_in_evaluation_mode(whisper_folder: str, llm_folder: str) -> None:
    translator = SpeechTranslator.build(design_of(whisper_folder, llm_folder)).train()
    assert translator.length_adapter.training
    assert not translator.sfm.model.training and not translator.llm.model.training


def test_a_loss_that_is_no_number_is_skipped_and_counted_and_ten_are_too_many(
    utterances, whisper_folder: str, llm_folder: str
) -> None:
    translator = SpeechTranslator.build(design_of(whisper_folder, llm_folder)).train()
    optimizer = block_optimizer(translator.stage)(translator)
    assert isinstance(optimizer, SkippingAdamW)
    good = [example(u, waveform=read_audio(u.reference)) for u in utterances[:2]]
    translator(good)["loss"].backward()
    optimizer.step()  # the moments are not zero now
    before = {name: p.detach().clone() for name, p in translator.named_parameters()}
    wrong = [example(u, features=np.full((9, 16), np.nan, np.float16)) for u in utterances[:2]]
    for _ in range(MOST_SKIPPED):
        optimizer.zero_grad()
        loss = translator(wrong)["loss"]
        loss.backward()
        optimizer.step()
        assert float(loss) == 0.0
    assert translator.skipped == MOST_SKIPPED and not changed(before, translator)
    with pytest.raises(EtudeError, match="11 losses were not numbers"):
        translator(wrong)


def test_speech_beyond_the_context_is_refused(utterances, whisper_folder: str, llm_folder: str) -> None:
    translator = SpeechTranslator.build(design_of(whisper_folder, llm_folder, "none"))
    long = [example(utterances[0], features=np.zeros((600, 16), np.float16))]
    with pytest.raises(EtudeError, match=r"600 speech tokens.*reads 512"):
        translator(long)
    with pytest.raises(EtudeError, match="reads 512"):
        translator.translate([np.zeros((600, 16), np.float16)], utterances[:1])


@pytest.mark.parametrize("la", ["conv", "ctc", "cif", "wlq:hidden=16,heads=2"])
def test_what_is_trained_comes_back_from_its_folder(
    la: str, utterances, whisper_folder: str, llm_folder: str, tmp_path: Path
) -> None:
    stages = [Stage(tasks=("asr", "st"), steps=3, trainable={"llm": "lora"})]
    if la in ("ctc", "cif"):
        stages.insert(0, Stage(tasks=("asr",), steps=2, supervise_only=True))
    design = design_of(whisper_folder, llm_folder, la, *stages)
    made = train_design(
        design, utterances[:8], utterances[8:], Schedule(batch_size=4), out=tmp_path / "m",
        features=tmp_path / "f",
    )  # fmt: skip
    assert [s["steps"] for s in made.stages] == [s.steps for s in stages]
    assert made.stages[-1]["dev_loss"] is not None
    first, second = (SpeechTranslator.from_pretrained(tmp_path / "m") for _ in range(2))
    audio = [read_audio(u.reference) for u in utterances[:3]]
    told = [t.translate(audio, utterances[:3], max_tokens=5) for t in (first, second)]
    assert told[0] == told[1]
    stored = load_file(tmp_path / "m" / "adapter.safetensors")
    assert all(name.startswith(("length_adapter.", "modality_adapter.")) for name in stored)
    assert (tmp_path / "m" / "lora" / "adapter_config.json").is_file()
    lora = [p for name, p in first.llm.named_parameters() if "lora_B" in name]
    assert any(p.abs().max() > 0 for p in lora)  # trained, and loaded
    assert not (tmp_path / "m" / "tuned.safetensors").exists()


@pytest.mark.parametrize(("limit", "ended"), [(9.0, 2), (0.0, 40)])
def test_a_ctc_head_stops_at_its_word_error_rate(
    limit: float, ended: int, utterances, whisper_folder: str, llm_folder: str, tmp_path: Path
) -> None:
    """Looked at every twentieth part; a limit above every rate ends the stage at the first look."""
    head = Stage(tasks=("asr",), steps=40, supervise_only=True, until_wer=limit)
    design = design_of(whisper_folder, llm_folder, "ctc", head, Stage(steps=1))
    made = train_design(
        design, utterances[:8], utterances[8:], Schedule(batch_size=4), out=tmp_path / "m",
        features=tmp_path / "f",
    )  # fmt: skip
    first, second = made.stages
    assert (first["steps"], second["steps"]) == (ended, 1)
    translator = load_translator(tmp_path / "m")
    rows = [read_audio(u.reference) for u in utterances[8:]]
    heard = translator.length_adapter.transcribe(
        *translator.from_features(live_features(translator.sfm, rows))
    )
    wrong = sum(said != u.transcript for said, u in zip(heard, utterances[8:], strict=True))
    if limit:
        assert first["wer"] == pytest.approx(wrong / 4, abs=0.26)  # the joint step may change one word
    assert second["wer"] is None


def test_until_wer_is_for_ctc_heads(utterances, whisper_folder: str, llm_folder: str, tmp_path: Path) -> None:
    stage = Stage(tasks=("asr",), steps=4, until_wer=0.1)
    design = design_of(whisper_folder, llm_folder, "conv", stage)
    with pytest.raises(EtudeError, match="until_wer is for the head of the length adapter ctc"):
        train_design(design, utterances[:8], [], Schedule(), out=tmp_path / "m", features=tmp_path / "f")


def test_stages_are_read_from_the_command_line() -> None:
    made = assembled_design("base", la="ctc", stages="ctc@50:wer=0.1,asr+st@9").stages
    assert [(s.steps, s.until_wer, s.supervise_only) for s in made] == [(50, 0.1, True), (9, None, False)]
    with pytest.raises(EtudeError, match="until_wer"):
        assembled_design("base", la="ctc", stages="ctc@50:wer=few")


def test_an_encoder_trained_in_full_comes_back(
    utterances, whisper_folder: str, llm_folder: str, tmp_path: Path
) -> None:
    stage = Stage.model_validate({"steps": 2, "trainable": {"sfm": "full"}, "lr": {"sfm": 1e-2}})
    design = design_of(whisper_folder, llm_folder, "conv", stage)
    train_design(design, utterances[:8], [], Schedule(batch_size=4), out=tmp_path / "m")
    loaded = load_translator(tmp_path / "m")
    fresh = SpeechTranslator.build(design)
    assert not torch.equal(loaded.sfm.model.conv1.weight, fresh.sfm.model.conv1.weight)


def test_another_language_model_is_refused_before_anything_is_loaded(
    utterances, whisper_folder: str, llm_folder: str, tmp_path: Path
) -> None:
    train_design(design_of(whisper_folder, llm_folder), utterances[:8], [], Schedule(), out=tmp_path / "m")
    told = json.loads((tmp_path / "m" / "config.json").read_text())
    for block, key, value, message in (
        ("llm", "width", 64, "language model .*width 64"),
        ("llm", "vocabulary", 5, "vocabulary 5"),
        ("sfm", "revision", "0" * 16, "speech model .*revision 0000"),
    ):
        changed_config = json.loads(json.dumps(told))
        changed_config[block][key] = value
        (tmp_path / "m" / "config.json").write_text(json.dumps(changed_config))
        with pytest.raises(EtudeError, match=message):
            load_translator(tmp_path / "m")
    with pytest.raises(EtudeError, match="no trained translator"):
        load_translator(tmp_path / "nothing")


def test_an_encoder_decoder_reads_speech_too(utterances, whisper_folder: str, tmp_path: Path) -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    from etude.methods.speech_translation.character_lm import character_tokenizer

    torch.manual_seed(0)
    tokenizer = character_tokenizer()
    config = T5Config(
        vocab_size=len(tokenizer), d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=2,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(tmp_path / "t5")
    tokenizer.save_pretrained(tmp_path / "t5")
    translator = SpeechTranslator.build(design_of(whisper_folder, str(tmp_path / "t5"))).eval()
    live = [example(u, waveform=read_audio(u.reference)) for u in utterances[:3]]
    with torch.no_grad():
        together = float(translator(live)["loss"])
        each = [float(translator([one])["loss"]) for one in live]
    sizes = [len(u.translation) + 1 for u in utterances[:3]]
    assert together == pytest.approx(sum(a * b for a, b in zip(each, sizes, strict=True)) / sum(sizes), 1e-4)
    made = translator.translate([read_audio(u.reference) for u in utterances[:3]], utterances[:3])
    assert [m.speech_tokens for m in made] == [-(-m.frames // 4) for m in made]


def test_training_learns_to_translate_tones(
    utterances, whisper_folder: str, llm_folder: str, tmp_path: Path
) -> None:
    """With the language model thawed, four pitches become four words."""
    stage = Stage.model_validate(
        {"steps": 60, "trainable": {"llm": "full"}, "lr": {"adapter": 1e-2, "llm": 1e-2}}
    )
    design = design_of(whisper_folder, llm_folder, "pool:k=10", stage)
    made = train_design(
        design, utterances[:8], [], Schedule(batch_size=8), out=tmp_path / "m", features=tmp_path / "f"
    )
    assert made.stages[0]["loss"] < 0.7
    translator = load_translator(tmp_path / "m")
    seen = utterances[:8]
    made_up = translator.translate([read_audio(u.reference) for u in seen], seen, max_tokens=8)
    right = sum(m.text == u.translation for m, u in zip(made_up, seen, strict=True))
    assert right >= 5


def test_the_continuation_task_learns_what_the_language_model_writes_itself(
    data_folder: Path, whisper_folder: str, llm_folder: str, tmp_path: Path
) -> None:
    out = tmp_path / "m"
    train(str(data_folder / "data.tsv"), sfm=whisper_folder, llm=llm_folder, la="conv", ma="linear",
          tasks=("continuation",), steps=1, out=out, features=tmp_path / "f")  # fmt: skip
    rows = [json.loads(line) for line in (out / "continuations.jsonl").read_text().splitlines()]
    translator = load_translator(out)
    u = read_utterances(data_folder / "data.tsv")[0]
    prompt = translator.mixer.prompt(u, "continuation")
    words = translator.mixer.tokenizer.encode("red", add_special_tokens=False)
    ids = torch.tensor([[*prompt.before, *words, *prompt.after]])
    written = translator.llm.model.generate(ids, max_new_tokens=32, do_sample=False, pad_token_id=0)
    assert rows[0] == {"id": "u0", "text": translator.llm.text(written[0, ids.shape[1] :])}


def test_a_design_file_is_read_and_bad_keys_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        '[sfm]\nname = "whisper-tiny.en"\n[length_adapter]\nkind = "conv"\noptions = {layers = 3}\n'
        '[[stages]]\ntasks = ["asr"]\nsteps = 5\n[stages.lr]\nadapter = 1e-4\n'
    )
    (tmp_path / "a.yaml").write_text(
        "sfm: {name: whisper-tiny.en}\nlength_adapter: {kind: conv, options: {layers: 3}}\n"
        "stages: [{tasks: [asr], steps: 5, lr: {adapter: 0.0001}}]\n"
    )
    assert read_design(tmp_path / "a.toml") == read_design(tmp_path / "a.yaml")
    (tmp_path / "b.toml").write_text("[length_adaptor]\nkind = 'conv'\n")
    with pytest.raises(EtudeError, match="length_adaptor: Extra inputs"):
        read_design(tmp_path / "b.toml")
    (tmp_path / "c.yaml").write_text("a: [")
    with pytest.raises(EtudeError, match="not valid"):
        read_design(tmp_path / "c.yaml")


def test_stages_are_written_as_tasks_and_steps() -> None:
    design = assembled_design("connect-ctc", stages="ctc@20,asr+st@40")
    first, second = design.stages
    assert (first.supervise_only, first.steps, second.tasks) == (True, 20, ("asr", "st"))
    with pytest.raises(EtudeError, match="'dance@3' is no stage"):
        Stage.parse("dance@3")
    with pytest.raises(EtudeError, match="not option=value"):
        AdapterBlock.parse("conv:3")


def test_adapters_that_need_transcripts_refuse_data_without(
    data_folder: Path, whisper_folder: str, llm_folder: str, tmp_path: Path
) -> None:
    rows = [u.model_copy(update={"transcript": None}) for u in read_utterances(data_folder / "data.tsv")]
    for la in ("ctc", "cif"):
        with pytest.raises(EtudeError, match=f"no transcript.*length adapter {la}"):
            train_design(design_of(whisper_folder, llm_folder, la), rows, [], Schedule(), out=tmp_path / "m")
    with pytest.raises(EtudeError, match="has no loss of its own"):
        stage = Stage(tasks=("st",), steps=1, supervise_only=True)
        translator = SpeechTranslator.build(design_of(whisper_folder, llm_folder, "conv", stage))
        translator([example(rows[0], waveform=read_audio(rows[0].reference))])
