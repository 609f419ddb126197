import json
import math

import pytest

from etude.cli import main
from etude.methods.teenytinyllama.run_logs import read_log
from etude.models import load_tokenizer

SHAPE = ["--hidden", "32", "--layers", "1", "--heads", "2", "--mlp", "64", "--context", "64"]
TRAINING = ["--tokens-per-step", "256", "--steps", "12", "--learning-rate", "3e-3", "--device", "cpu"]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def etude(capsys, *command):
    """The JSON that a command prints."""
    main(["teenytinyllama", *map(str, command), "--json"])
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["es", "de"])
def test_every_verb_runs_on_a_users_text_in_another_language(
    language, shared_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    lines = (
        (shared_data("teenytinyllama") / "parallel_handbook.jsonl").read_text(encoding="utf-8").splitlines()
    )
    pages = [json.loads(line) for line in lines[:16]]
    train = write_rows(tmp_path / "pages.jsonl", pages[:12])
    held_out = write_rows(tmp_path / "held_out.jsonl", pages[12:])
    field = ["--field", language]
    made = etude(capsys, "tokenizer", train, *field, "--vocab-size", "600", "--out", "tok")
    assert made["entries" if "entries" in made else "vocab_size"] == 600
    tokenizer = load_tokenizer("tok")
    assert tokenizer.decode(tokenizer(pages[0][language])["input_ids"]) == pages[0][language]
    assert etude(capsys, "fertility", "tok", "--texts", held_out, "--fields", language)
    assert etude(capsys, "plan", "--preset", "nano")
    prepare = ["prepare", train, *field, "--tokenizer", "tok", "--block", "64", "--out", "corpus"]
    etude(capsys, *prepare, "--validation", held_out, "--license", "CC-BY-SA-3.0")
    run = etude(capsys, "pretrain", "corpus", *SHAPE, *TRAINING, "--out", "run")
    assert run["steps"] == 12
    losses = [row["loss"] for row in read_log(tmp_path / "run" / "metrics.jsonl")]
    assert losses[-1] < losses[0] and losses[0] == pytest.approx(math.log(600), abs=0.7)
    own = etude(capsys, "evaluate", "run", "--limit", "2")
    other = etude(capsys, "evaluate", "run", "--texts", held_out, *field, "--limit", "2")
    assert own["texts"]["val.jsonl"]["bits_per_byte"] == pytest.approx(
        other["texts"]["held_out.jsonl"]["bits_per_byte"], rel=1e-4
    )
    chats = [
        {"instruction": f"{language} {i}", "output": page[language][:40]} for i, page in enumerate(pages)
    ]
    tuning = ["--data", write_rows(tmp_path / "chats.jsonl", chats), "--steps", "2"]
    tuned = etude(capsys, "finetune", "run", *tuning, "--out", "chat")
    assert tuned["task"] == "chat"
    etude(capsys, "export", "run", "--out", "hf")
    assert "CC-BY-SA-3.0" in (tmp_path / "hf" / "README.md").read_text()
    exported = etude(capsys, "evaluate", "hf", "--texts", held_out, *field, "--limit", "2")
    assert exported["texts"]["held_out.jsonl"]["bits_per_byte"] == pytest.approx(
        other["texts"]["held_out.jsonl"]["bits_per_byte"], rel=1e-5
    )
    page = etude(capsys, "report", "run")["page"]
    assert "data:image/svg" in (tmp_path / page).read_text(encoding="utf-8")
