"""Every format is written, loaded by somebody else's loader, and gives the same logits.

Independent loaders: transformers with compressed-tensors; transformers' GGUF reader; auto-round's loader in
an interpreter of its own (ETUDE_AUTOROUND_PYTHON) for auto_round and gptq; for gptq, gptq_v2 and awq also an
unpacking written here from the formats' descriptions, one value at a time.
"""

import copy
import json
import os
import subprocess

import numpy as np
import pytest
import torch
from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, CompressedTensorsConfig

from etude.errors import EtudeError
from etude.methods.signround.blockwise import quantize_model
from etude.methods.signround.exports import load_quantized
from etude.methods.signround.exports.packing import pack_bits, unpack_bits
from etude.methods.signround.inspection import inspect
from etude.methods.signround.schemes import QuantScheme, parse_scheme
from etude.methods.signround.tuner import RoundingConfig

QUICK = RoundingConfig(steps=6, batch_size=4)


@pytest.fixture
def quantize(llama, samples, tokenizer):
    def make(scheme: str, **options):
        return quantize_model(
            copy.deepcopy(llama), tokenizer, samples, parse_scheme(scheme), **{"config": QUICK, **options}
        )

    return make


def assert_same_logits(model, other, samples, tolerance=0.0):
    with torch.no_grad():
        ours, theirs = model(samples[:4]).logits.float(), other(samples[:4]).logits.float()
    torch.testing.assert_close(theirs, ours, rtol=0, atol=tolerance * float(ours.abs().max()))


@given(st.integers(2, 8), st.integers(1, 70), st.integers(1, 5), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_packing_is_a_dense_bit_stream_and_comes_back(bits, count, rows, seed):
    values = torch.randint(0, 1 << bits, (rows, count), generator=torch.Generator().manual_seed(seed))
    words = pack_bits(values, bits)
    assert words.shape == (rows, -(-count * bits // 32))
    assert torch.equal(unpack_bits(words, bits, count).long(), values)
    stream = [sum((int(w) & 0xFFFFFFFF) << 32 * i for i, w in enumerate(row)) for row in words]
    for row, number in zip(values, stream, strict=True):
        assert [number >> bits * i & (1 << bits) - 1 for i in range(count)] == row.tolist()
    theirs = unpack_from_int32(words, bits, torch.Size((rows, count)))
    assert torch.equal(theirs.long() + (1 << bits - 1), values)


@pytest.mark.parametrize(
    ("format", "scheme"),
    [
        ("compressed-tensors", "w4g32a"),
        ("compressed-tensors", "w3g-1s"),
        ("gptq", "w4g32s"),
        ("gptq", "w3g32a"),
        ("gptq_v2", "w2g32a"),
        ("auto_round", "w8g64s"),
        ("auto_round", "w3g32a"),
        ("awq", "w4g32a"),
        ("dequantized", "w5g32a"),
    ],
)
def test_a_checkpoint_read_back_gives_the_same_logits_and_codes(quantize, samples, tmp_path, format, scheme):
    quantized = quantize(scheme)
    back = load_quantized(quantized.save(tmp_path / "q", format))
    assert_same_logits(quantized.model, back.model, samples)
    for name, layer in back.layers.items():
        assert torch.equal(layer.codes, quantized.layers[name].codes)
        assert torch.equal(layer.zero, quantized.layers[name].zero)
        assert layer.scheme.bits == quantized.layers[name].scheme.bits


@pytest.mark.parametrize("scheme", ["w4g32s", "w3g32s", "w2g-1s", "w8g64s"])
def test_symmetric_compressed_tensors_load_in_transformers_as_they_are(quantize, samples, tmp_path, scheme):
    quantized = quantize(scheme)
    path = quantized.save(tmp_path / "q", "compressed-tensors")
    assert_same_logits(quantized.model, AutoModelForCausalLM.from_pretrained(path), samples)


@pytest.mark.parametrize("scheme", ["w4g32a", "w3g32a", "w2g32a"])
def test_asymmetric_compressed_tensors_load_in_transformers_dequantized(quantize, samples, tmp_path, scheme):
    quantized = quantize(scheme)
    path = quantized.save(tmp_path / "q", "compressed-tensors")
    loaded = AutoModelForCausalLM.from_pretrained(
        path, quantization_config=CompressedTensorsConfig(dequantize=True)
    )
    assert_same_logits(
        quantized.model, loaded, samples, tolerance=5e-3
    )  # it multiplies in the scale's float16


def test_mixed_schemes_and_left_out_layers_load_in_transformers(quantize, samples, tmp_path):
    quantized = quantize("w4g32s", layer_overrides={"down_proj": parse_scheme("w8g32s"), "q_proj": None})
    path = quantized.save(tmp_path / "q", "compressed-tensors")
    assert_same_logits(quantized.model, AutoModelForCausalLM.from_pretrained(path), samples)
    assert_same_logits(quantized.model, load_quantized(path).model, samples)


def test_dequantized_checkpoints_load_in_transformers(quantize, samples, tmp_path):
    quantized = quantize("w3g32a")
    loaded = AutoModelForCausalLM.from_pretrained(quantized.save(tmp_path / "q", "dequantized"))
    assert_same_logits(quantized.model, loaded, samples)


@pytest.mark.parametrize("scheme", ["w4g32s", "w4g32a", "w8g32s"])
def test_gguf_loads_in_transformers(quantize, samples, tmp_path, scheme):
    quantized = quantize(scheme)
    path = quantized.save(tmp_path / "q", "gguf")
    loaded = AutoModelForCausalLM.from_pretrained(path, gguf_file="model.gguf", dtype=torch.float32)
    assert_same_logits(quantized.model, loaded, samples, tolerance=5e-3)  # embeddings are float16 there


def test_gguf_loads_in_llama_cpp_and_says_the_same(quantize, samples, tmp_path, tokenizer):
    xllamacpp = pytest.importorskip("xllamacpp")
    quantized = quantize("w4g32s")
    path = quantized.save(tmp_path / "q", "gguf")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(path / "model.gguf")
    parameters.n_ctx, parameters.n_parallel, parameters.cpuparams.n_threads = 256, 1, 1
    server = xllamacpp.Server(parameters)
    prompt = samples[0].tolist()
    answer = server.handle_completions({"prompt": prompt, "max_tokens": 8, "temperature": 0.0, "n_probs": 1})
    answer = json.loads(answer) if isinstance(answer, str) else answer
    with torch.no_grad():
        expected = quantized.model.generate(
            torch.tensor([prompt]), max_new_tokens=8, do_sample=False, eos_token_id=None, pad_token_id=0
        )
    said = answer["choices"][0]["text"]
    wanted = tokenizer.decode(expected[0, len(prompt) :])
    assert said.split("\ufffd")[0][:4] == wanted.split("\ufffd")[0][: len(said.split("\ufffd")[0][:4])]


def field(words: np.ndarray, index: int, bits: int) -> np.ndarray:
    """Value `index` of each column's bit stream down the first axis, from the format's description."""
    first, shift = divmod(index * bits, 32)
    low = words[first].astype(np.uint64) & 0xFFFFFFFF
    high = words[first + 1].astype(np.uint64) & 0xFFFFFFFF if first + 1 < len(words) else np.zeros_like(low)
    return (low | high << np.uint64(32)) >> np.uint64(shift) & np.uint64((1 << bits) - 1)


@pytest.mark.parametrize(
    ("format", "scheme", "added"), [("gptq", "w4g32s", 1), ("gptq", "w3g32a", 1), ("gptq_v2", "w2g32a", 0)]
)
def test_gptq_tensors_unpack_by_the_description_of_the_format(quantize, tmp_path, format, scheme, added):
    quantized = quantize(scheme)
    path = quantized.save(tmp_path / "q", format)
    assert AutoConfig.from_pretrained(path).quantization_config["quant_method"] == "gptq"
    tensors = load_file(path / "model.safetensors")
    bits = parse_scheme(scheme).bits
    for name, layer in quantized.layers.items():
        qweight, qzeros, scales, g_idx = (
            tensors[f"{name}.{s}"].numpy() for s in ("qweight", "qzeros", "scales", "g_idx")
        )
        outputs, inputs = layer.codes.shape
        zeros = np.stack([field(qzeros.T, o, bits) for o in range(outputs)], axis=1)  # (groups, out)
        zeros = (zeros.astype(np.int64) + added) % (1 << bits)
        codes = np.stack([field(qweight, i, bits) for i in range(inputs)]).astype(np.int64)  # (in, out)
        weight = (codes - zeros[g_idx]) * scales[g_idx].astype(np.float32)
        np.testing.assert_allclose(weight.T, layer.dequantize().numpy(), rtol=0, atol=1e-7)


def test_awq_tensors_unpack_by_the_description_of_the_format(quantize, tmp_path):
    quantized = quantize("w4g32a")
    path = quantized.save(tmp_path / "q", "awq")
    config = json.loads((path / "config.json").read_text())["quantization_config"]
    assert (config["quant_method"], config["bits"], config["version"]) == ("awq", 4, "gemm")
    tensors = load_file(path / "model.safetensors")
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    for name, layer in quantized.layers.items():
        qweight, qzeros = (tensors[f"{name}.{s}"].numpy() for s in ("qweight", "qzeros"))
        weight = np.empty(layer.codes.T.shape, np.int64)
        zeros = np.empty(layer.zero.T.shape, np.int64)
        for lane, column in enumerate(order):
            weight[:, column::8] = qweight >> 4 * lane & 15
            zeros[:, column::8] = qzeros >> 4 * lane & 15
        scales = tensors[f"{name}.scales"].float().numpy()
        width = weight.shape[0] // zeros.shape[0]
        full = (weight - zeros.repeat(width, 0)) * scales.repeat(width, 0)
        np.testing.assert_allclose(full.T, layer.dequantize().numpy(), rtol=0, atol=1e-7)


AUTO_ROUND_SCRIPT = """
import sys, torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoRoundConfig
import auto_round
path, ids, out, other = sys.argv[1:5]
extra = {"quantization_config": AutoRoundConfig()} if other == "yes" else {}
model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16, device_map="cpu", **extra)
kinds = {type(m).__name__ for m in model.modules()}
assert any("Quant" in k for k in kinds), kinds
with torch.no_grad():
    save_file({"logits": model(load_file(ids)["ids"]).logits.float().contiguous()}, out)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("format", "scheme"),
    [("auto_round", "w4g32s"), ("auto_round", "w4g32a"), ("auto_round", "w3g32s"), ("gptq", "w4g32s")],
)
def test_auto_rounds_own_loader_reads_auto_round_and_gptq(quantize, samples, tmp_path, format, scheme):
    python = os.environ.get("ETUDE_AUTOROUND_PYTHON")
    if not python:
        pytest.skip("ETUDE_AUTOROUND_PYTHON is not set: no interpreter with auto-round")
    from safetensors.torch import save_file

    quantized = quantize(scheme)
    path = quantized.save(tmp_path / "q", format)
    save_file({"ids": samples[:4].contiguous()}, tmp_path / "ids.safetensors")
    command = [python, "-c", AUTO_ROUND_SCRIPT, str(path), str(tmp_path / "ids.safetensors")]
    done = subprocess.run(
        [*command, str(tmp_path / "out.safetensors"), "yes" if format == "gptq" else "no"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = load_file(tmp_path / "out.safetensors")["logits"]
    with torch.no_grad():
        ours = quantized.model(samples[:4]).logits
    assert float((theirs - ours).pow(2).mean()) < 1e-3 * float(ours.var())  # bfloat16 arithmetic


@pytest.mark.parametrize(
    ("format", "scheme", "message"),
    [
        ("awq", "w3g32a", "3 bits"),
        ("gptq", "w5g32a", "5 bits"),
        ("gguf", "w4g64s", "w4g64s"),
        ("gguf", "w3g32a", "w3g32a"),
        ("compressed-tensors", "w4g48a", "legal sizes"),
    ],
)
def test_a_format_that_cannot_express_the_scheme_is_refused_naming_the_layer(
    quantize, tmp_path, format, scheme, message
):
    quantized = quantize(scheme, method="rtn")
    with pytest.raises(EtudeError, match=message) as raised:
        quantized.save(tmp_path / "q", format)
    assert "self_attn.q_proj" in raised.value.problem
    assert not (tmp_path / "q").exists()


def test_an_unknown_format_is_refused(quantize, tmp_path):
    with pytest.raises(EtudeError, match="not known"):
        quantize("w4g32a", method="rtn").save(tmp_path / "q", "zip")


def test_inspect_counts_bits_with_scales_and_zeros(quantize, tmp_path):
    quantized = quantize("w4g32a", first_blocks=1)
    found = inspect(quantized.save(tmp_path / "q", "gptq"))
    assert found.bits_per_weight == pytest.approx(4 + (16 + 4) / 32)
    assert found.schemes == {"w4g32a": 7}
    assert found.quantized_weights == sum(x.codes.numel() for x in quantized.layers.values())
    assert "only the first 1 blocks" in found.skipped["model.layers.1.mlp.up_proj"]


def test_a_full_disk_is_said_and_leaves_nothing_behind(quantize, tmp_path, monkeypatch):
    from safetensors import SafetensorError

    from etude.methods.signround.exports import checkpoint

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_torch_state_dict", full)
    with pytest.raises(EtudeError, match=r"(?i)space"):
        quantize("w4g32a", method="rtn").save(tmp_path / "q", "gptq")
    assert list(tmp_path.iterdir()) == []


def test_scales_are_kept_in_the_dtype_asked_for_and_a_format_without_it_refuses(quantize, tmp_path, samples):
    scheme = QuantScheme(4, 32, sym=True, scale_dtype="float32")
    quantized = quantize("w4g32s", method="rtn", layer_overrides={"proj": scheme})
    path = quantized.save(tmp_path / "q", "compressed-tensors")
    back = load_quantized(path)
    assert {layer.scale.dtype for layer in back.layers.values()} == {torch.float32}
    assert_same_logits(quantized.model, back.model, samples)
    with pytest.raises(EtudeError, match="float16"):
        quantized.save(tmp_path / "g", "gptq")
