"""Exports are checked by those who will read them: transformers and llama.cpp."""

import json
import os
from pathlib import Path

import pytest
import torch

from etude.errors import EtudeError
from etude.methods.teenytinyllama import export
from etude.methods.teenytinyllama.gguf_export import interleave

PROMPTS = ("O gato dorme na", "A menina lê um livro sobre", "Instale o pacote")


def llama_cpp(path: Path):
    xllamacpp = pytest.importorskip("xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path)
    parameters.n_ctx, parameters.n_parallel, parameters.cpuparams.n_threads = 64, 1, 1
    return xllamacpp.Server(parameters)


def completion(server, prompt, tokens: int = 12) -> str:
    answer = server.handle_completions({"prompt": prompt, "max_tokens": tokens, "temperature": 0.0})
    answer = json.loads(answer) if isinstance(answer, str) else answer
    return answer["choices"][0]["text"]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_llama_cpp_writes_the_same_greedy_text_as_transformers(trained_run, tmp_path, kind) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    run = trained_run(kind)
    export(run, out=tmp_path / "hf")
    export(run, format="gguf", out=tmp_path / "model.gguf")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    server = llama_cpp(tmp_path / "model.gguf")
    for prompt in PROMPTS:
        ids = tokenizer(prompt, return_tensors="pt")
        made = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
        whole = tokenizer.decode(torch.cat([ids["input_ids"][0], made]), skip_special_tokens=True)
        assert completion(server, prompt) == whole[len(prompt) :]


def test_a_stock_llama_directory_holds_the_weights_that_were_trained(trained_run, tmp_path) -> None:
    from safetensors.torch import load_file

    run = trained_run("bpe")
    result = export(run, out=tmp_path / "hf", dtype="bfloat16")
    stored = load_file(tmp_path / "hf" / "model.safetensors")
    original = load_file(run / "model" / "model.safetensors")
    assert stored.keys() == original.keys()
    assert all(torch.equal(stored[name], original[name].bfloat16()) for name in stored)
    names = {p.name for p in (tmp_path / "hf").iterdir()}
    assert {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "generation_config.json",
        "README.md",
    } <= names
    assert result.dtype == "bfloat16" and result.megabytes > 0


def test_the_card_tells_licences_data_loss_and_energy_of_the_logs(trained_run, tmp_path) -> None:
    run = trained_run("bpe")
    export(run, out=tmp_path / "hf")
    card = (tmp_path / "hf" / "README.md").read_text()
    last = json.loads((run / "eval.jsonl").read_text().splitlines()[-1])
    assert "CC-BY-SA-3.0" in card and f"{last['bits_per_byte']:.4g}" in card
    assert "kWh" in card and "an estimate" in card
    assert card.startswith("---\n") and 'license_name: "CC-BY-SA-3.0"' in card


def test_a_checkpoint_of_an_unfinished_run_can_be_exported(trained_run, tmp_path) -> None:
    run = trained_run("bpe")
    last = sorted((run / "checkpoints").iterdir(), key=lambda p: int(p.name.removeprefix("step_")))[-1]
    export(last, out=tmp_path / "hf")
    one, other = (p / "model.safetensors" for p in (tmp_path / "hf", run / "model"))
    assert one.read_bytes() == other.read_bytes()


def test_what_is_no_model_is_refused(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EtudeError, match=r"config.json"):
        export(tmp_path / "empty", out=tmp_path / "hf")


def test_a_folder_with_other_files_is_not_overwritten(trained_run, tmp_path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("x")
    with pytest.raises(EtudeError, match="other files"):
        export(trained_run("bpe"), out=tmp_path / "notes")
    assert os.listdir(tmp_path / "notes") == ["thesis.txt"]


def test_rows_of_a_head_become_neighbors() -> None:
    rows = torch.arange(8.0).unsqueeze(1)  # two heads of four: pairs (0, 2), (1, 3)
    assert interleave(rows, 2).flatten().tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
