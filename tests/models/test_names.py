import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from etude.data import prose
from etude.errors import EtudeError
from etude.models import embedded as registry
from etude.models import load_causal_lm, load_encoder, load_tokenizer, model_directory, model_revision
from etude.models.commands import list_models, pull
from etude.models.local_lm import context_length_of
from etude.models.templates import templated


def test_importing_models_does_not_import_torch():
    heavy = ("torch", "transformers", "openai", "inspect_ai", "huggingface_hub", "xllamacpp")
    code = f"import sys, etude.models, etude.models.commands; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_an_unknown_name_is_answered_with_the_closest_ones():
    with pytest.raises(EtudeError, match="no model 'smolm2'") as caught:
        model_directory("smolm2")
    assert "smollm2" in caught.value.hint


def test_a_directory_without_a_config_is_not_a_model(tmp_path):
    with pytest.raises(EtudeError, match=r"no config\.json"):
        model_directory(str(tmp_path))


def test_a_directory_without_safetensors_says_what_it_must_hold(tiny_directory, tmp_path):
    shutil.copytree(tiny_directory, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    with pytest.raises(EtudeError, match="cannot be loaded as a causal language model") as caught:
        load_causal_lm(str(tmp_path / "m"))
    assert "safetensors" in caught.value.hint


def test_a_chat_template_that_was_cut_is_refused(tiny_directory, tmp_path):
    cut = shutil.copytree(tiny_directory, tmp_path / "cut")
    (cut / "chat_template.jinja").write_text("{% for message in mes")
    with pytest.raises(EtudeError, match=r"cut: its chat template refuses"):
        templated(load_tokenizer(str(cut)), [{"role": "user", "content": "hello"}])
    (cut / "chat_template.jinja").write_text("")
    with pytest.raises(EtudeError, match=r"chat_template\.jinja.* is empty"):
        load_tokenizer(str(cut))


def test_pickled_weights_are_not_loaded(tiny_directory, tmp_path):
    shutil.copytree(tiny_directory, tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").rename(tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(EtudeError, match="cannot be loaded"):
        load_causal_lm(str(tmp_path / "m"))


def test_a_hub_id_resolves_through_the_local_hugging_face_cache(tiny_directory, tmp_path):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "hub" / "models--some--tiny"
    shutil.copytree(tiny_directory, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    code = (
        "from etude.models import load_causal_lm, load_tokenizer;"
        "lm = load_causal_lm('some/tiny');"
        "print(lm.path.name, lm.context_length, len(load_tokenizer('some/tiny')))"
    )
    environment = {"HF_HUB_CACHE": str(tmp_path / "hub"), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == [commit, "256", "118"], done.stderr


def test_a_hub_id_that_cannot_be_fetched_is_one_clear_error(tmp_path):
    code = (
        "from etude.models import model_directory\n"
        "from etude.errors import EtudeError\n"
        "try: model_directory('some/model-that-is-not-there')\n"
        "except EtudeError as error: print(error.problem)"
    )
    environment = {"HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "some/model-that-is-not-there could not be fetched" in done.stdout


def test_the_revision_names_the_content_not_the_place(tiny_directory, tmp_path, own_cache):
    shutil.copytree(tiny_directory, tmp_path / "copy")
    first = model_revision(tiny_directory)
    assert model_revision(tmp_path / "copy") == first
    config = json.loads((tmp_path / "copy" / "config.json").read_text())
    (tmp_path / "copy" / "config.json").write_text(json.dumps(config | {"rope_theta": 1.0}))
    assert model_revision(tmp_path / "copy") != first


def test_the_context_length_is_read_from_nested_configs_too(tmp_path):
    (tmp_path / "config.json").write_text('{"text_config": {"max_position_embeddings": 77}}')
    assert context_length_of(tmp_path) == 77
    (tmp_path / "config.json").write_text('{"n_positions": 1024}')
    assert context_length_of(tmp_path) == 1024
    (tmp_path / "config.json").write_text("{}")
    assert context_length_of(tmp_path) is None


def test_pull_refuses_unknown_names_and_list_says_what_is_here(own_cache):
    with pytest.raises(EtudeError, match="no embedded model 'x'"):
        pull("x")
    listed = {model.name: model for model in list_models().models}
    assert listed["smollm2"].directory is None
    assert listed["smollm2"].license == "Apache-2.0"


def test_the_source_of_an_embedded_model_is_decided_once_and_kept(own_cache, tiny_directory, monkeypatch):
    asked = []
    monkeypatch.setattr(registry, "_hub_answers", lambda hub_id: asked.append(hub_id) or True)
    monkeypatch.setattr(registry, "hub_snapshot", lambda hub_id: tiny_directory)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    assert model_directory("smollm2") == tiny_directory
    assert model_directory("smollm2") == tiny_directory
    assert asked == ["HuggingFaceTB/SmolLM2-135M-Instruct"]
    (described,) = pull("smollm2").models
    assert described.source.startswith("hub HuggingFaceTB/SmolLM2-135M-Instruct@")


def test_a_hub_that_hangs_is_not_waited_for(monkeypatch):
    import time

    monkeypatch.setattr(registry, "_HUB_SECONDS", 0.2)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *a, **k: time.sleep(5))
    started = time.monotonic()
    assert registry._hub_answers("some/model") is False
    assert time.monotonic() - started < 3


def test_smollm2_is_a_clean_float32_directory(embedded):
    directory = embedded("smollm2")
    config = json.loads((directory / "config.json").read_text())
    assert "quantization_config" not in config
    if registry.prepared("smollm2").source.startswith("hub"):
        pytest.skip("this machine has the hub's files, which are as they are")
    assert config["dtype"] == "float32"
    assert config["rms_norm_eps"] == 1e-05
    assert (config["num_hidden_layers"], config["hidden_size"], config["vocab_size"]) == (30, 576, 49152)
    assert json.loads((directory / "source.json").read_text())["precision"] == "dequantized Q4_1"


def test_smollm2_weights_are_the_dequantized_tensors_of_the_gguf_file(smollm2):
    from gguf import GGUFReader
    from gguf.quants import dequantize

    if registry.prepared("smollm2").source.startswith("hub"):
        pytest.skip("this machine has the hub's weights")
    tensors = {tensor.name: tensor for tensor in GGUFReader(registry.gguf_file("smollm2")).tensors}
    ours = smollm2.model.state_dict()
    for theirs, name in {
        "token_embd.weight": "model.embed_tokens.weight",
        "blk.7.ffn_down.weight": "model.layers.7.mlp.down_proj.weight",
        "blk.29.attn_v.weight": "model.layers.29.self_attn.v_proj.weight",
        "output_norm.weight": "model.norm.weight",
    }.items():
        tensor = tensors[theirs]
        np.testing.assert_array_equal(ours[name].numpy(), dequantize(tensor.data, tensor.tensor_type))


def test_smollm2_tokenizer_knows_its_template_and_special_tokens(embedded):
    embedded("smollm2")
    tokenizer = load_tokenizer("smollm2")
    asked = [{"role": "user", "content": "Hi"}]
    assert tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.model_max_length == 8192
    assert tokenizer.encode("<|im_start|>") == [1]
    assert tokenizer.decode(tokenizer.encode("a<|im_end|>b"), skip_special_tokens=True) == "ab"


def test_smollm2_splits_digits_also_after_two_spaces(embedded):
    embedded("smollm2")
    tokenizer = load_tokenizer("smollm2")
    assert [tokenizer.decode([i]) for i in tokenizer.encode("a  12")] == ["a", "  ", "1", "2"]
    for text in ("Naïve café — 12,345.67 €", "日本語 2024", "def f(x):\n\treturn x  # 100%"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


TOKENIZE = """
import json, sys, urllib.request, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.n_ctx, parameters.verbosity, parameters.warmup = sys.argv[1], 64, 0, False
server = xllamacpp.Server(parameters)
body = json.dumps({"content": sys.stdin.read(), "add_special": False, "parse_special": True}).encode()
kind = {"Content-Type": "application/json"}
request = urllib.request.Request(server.listening_address + "/tokenize", body, kind)
print("tokens", urllib.request.urlopen(request).read().decode())
"""


def test_smollm2_tokenizer_agrees_with_llama_cpp_on_the_same_file(embedded):
    pytest.importorskip("xllamacpp")
    embedded("smollm2")
    odd = "\n a  1  22 x12y\t\t7 café 日本語 12,345.67 <|im_end|>\n<|im_start|>user\n I'll we've"
    text = prose()[:30000] + odd
    command = [sys.executable, "-c", TOKENIZE, str(registry.gguf_file("smollm2"))]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    answer = next(line for line in done.stdout.splitlines() if line.startswith("tokens"))
    assert load_tokenizer("smollm2").encode(text) == json.loads(answer.removeprefix("tokens"))["tokens"]


def test_minilm_vectors_are_unit_and_mean_pooled_whatever_the_batch(embedded):
    import torch

    embedded("minilm")
    encoder = load_encoder("minilm", device="cpu")
    texts = ["A cat sat on the mat.", "", "word " * 400, "Quantum physics.", "A feline rested on the rug."]
    vectors = encoder.encode(texts)
    assert vectors.shape == (5, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(encoder.encode(texts, batch_size=2), vectors, atol=1e-5)
    inputs = encoder.tokenizer(texts[:1], return_tensors="pt")
    with torch.inference_mode():
        mean = encoder.model(**inputs).last_hidden_state[0].mean(0).numpy()
    np.testing.assert_allclose(vectors[0], mean / np.linalg.norm(mean), atol=1e-5)
    similar = vectors @ vectors.T
    assert similar[0, 4] > 0.5 > similar[0, 3]
    assert encoder.encode([]).shape == (0, 384)
    assert encoder.max_length == 256
