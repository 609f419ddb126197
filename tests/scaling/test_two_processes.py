"""One method of each kind under torchrun: two processes learn what one learns, and one of them writes.

Where an item is a whole batch (idgen, tmpt, speech-translation), two processes take two batches a step; one
process that takes two batches a step, one after the other, learns the same, but for the running averages of
batch normalization, which are of the first process's batches. Where noise is drawn in training (easygen),
each process draws its own, and the losses are near each other.
"""

import functools
import json
from pathlib import Path

import pytest
from tests.docs.tiny import story, tiny_lm
from tests.docs.world import jsonl, write
from tests.docs.worlds import easygen, idgen, speech_translation, tmpt
from tests.scaling.torchrun import kill_when, largest_difference, run, start

import etude.training
from etude.cli import main


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """Run a command in this process; `modules` take two batches a step, one after the other."""
    monkeypatch.chdir(tmp_path)

    def typed(line: str, *modules) -> None:
        twice = functools.partial(etude.training.fit, accumulate=2)
        for module in modules:
            monkeypatch.setattr(module, "fit", twice)
            if hasattr(module, "processes"):
                monkeypatch.setattr(module, "processes", lambda: 2)
        main(line.split())

    return typed


def written_once(folder: Path) -> bool:
    """Whether a run is complete and nothing of a process that does not write is left."""
    books = json.loads((folder / "run.json").read_text())
    return books["status"] == "complete" and not [p for p in folder.rglob("*") if p.name.endswith(".tmp")]


@pytest.mark.slow
def test_a_recommender_killed_under_torchrun_goes_on_to_what_one_process_learns(tmp_path, alone):
    idgen.prepare(tmp_path)
    alone("idgen ids items.csv --out ids.tsv")
    made = idgen.names(tmp_path)
    made["model"].config.dropout_rate = 0.0
    made["model"].save_pretrained(tmp_path / "t5")
    made["tokenizer"].save_pretrained(tmp_path / "t5")
    files = "events.csv --items items.csv --ids ids.tsv --backbone t5"
    training = f"idgen train {files} --batch-size 5 --epochs 12"
    together = start(2, f"{training} --out together", tmp_path)
    kill_when(together, lambda: list(tmp_path.glob("together/fit/checkpoint-*/complete")))
    assert not (tmp_path / "together" / "result.json").exists()
    said = run(2, f"{training} --json --out together", tmp_path)
    assert len(said.splitlines()) == 1  # one process speaks
    assert written_once(tmp_path / "together")
    alone(f"{training} --out alone", etude.training)
    place = "model/model.safetensors"
    assert largest_difference(tmp_path / "alone" / place, tmp_path / "together" / place) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["static", "frozen-lm"])
def test_a_contrastive_encoder_whose_processes_see_each_others_negatives(tmp_path, alone, kind):
    tiny_lm(tmp_path / "tiny", layers=2)
    rows = [{"sent0": story(6, at), "sent1": story(6, at + 500)} for at in range(40)]
    write(tmp_path, pairs_jsonl=jsonl(rows))
    encoder = f"--encoder tiny --kind {kind} --layer 1 --dimension 16 --dropout 0"
    training = f"semcsr train pairs.jsonl --objective positives {encoder} --steps 8 --batch-size 8"
    run(2, f"{training} --out together", tmp_path)
    assert written_once(tmp_path / "together.run")
    alone(f"{training} --out alone")
    files = sorted(
        path.relative_to(tmp_path / "alone") for path in (tmp_path / "alone").rglob("*.safetensors")
    )
    for file in files:
        assert largest_difference(tmp_path / "alone" / file, tmp_path / "together" / file) < 1e-5


@pytest.mark.slow
def test_a_multimodal_classifier(tmp_path, alone):
    import etude.methods.tmpt.rows_training as module

    tmpt.prepare(tmp_path)
    small = "--text-tuning frozen --baselines none --width 8 --epochs 2 --batch-size 4"
    training = f"tmpt train posts.csv --images pictures {small}"
    run(2, f"{training} --out together", tmp_path)
    assert written_once(tmp_path / "together")
    alone(f"{training} --out alone", module)
    place = "models/the-new-tram-line/seed-42/model.safetensors"
    averages = ("running_mean", "running_var", "num_batches_tracked", "text_mean", "image_mean")
    found = largest_difference(tmp_path / "alone" / place, tmp_path / "together" / place, but=averages)
    assert found < 1e-5


@pytest.mark.slow
def test_a_speech_encoder_joined_to_a_language_model(tmp_path, alone):
    for module in ("soundfile", "num2words"):
        pytest.importorskip(module)
    import etude.methods.speech_translation.staged_training as module

    speech_translation.prepare(tmp_path)
    small = "--sfm whisper-tiny.en --llm tiny --batch-size 1 --steps 2"
    training = f"speech-translation train data.tsv --la conv:layers=3 --target-lang de {small}"
    run(2, f"{training} --out together", tmp_path)
    assert written_once(tmp_path / "together")
    alone(f"{training} --out alone", module)
    place = "adapter.safetensors"
    assert largest_difference(tmp_path / "alone" / place, tmp_path / "together" / place) < 1e-5


@pytest.mark.slow
def test_a_diffusion_model(tmp_path, alone):
    easygen.prepare(tmp_path)
    training = "easygen train-bidiffuser photos/ --steps 60 --batch-size 6 --width 32 --depth 2"
    run(2, f"{training} --out together", tmp_path)
    assert written_once(tmp_path / "together")
    alone(f"{training} --out alone")
    one, two = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("alone", "together"))
    assert two["train_loss"] == pytest.approx(one["train_loss"], rel=0.3)
    assert max(one["train_loss"], two["train_loss"]) < 1.2  # it begins at 1.7
    place = "unet/diffusion_pytorch_model.safetensors"
    assert largest_difference(tmp_path / "alone" / place, tmp_path / "together" / place) > 0
