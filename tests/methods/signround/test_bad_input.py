"""Every mistake the specification names is said in one clear error."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods.signround import quantize
from etude.methods.signround.blocks import find_blocks
from etude.methods.signround.blockwise import quantize_model
from etude.methods.signround.calibration import encode, make_samples, read_calibration
from etude.methods.signround.evaluation import evaluate
from etude.methods.signround.exports import load_quantized
from etude.methods.signround.inspection import inspect
from etude.methods.signround.schemes import QuantScheme, parse_scheme
from etude.methods.signround.tuner import RoundingConfig

QUICK = RoundingConfig(steps=4, batch_size=4)
W4 = QuantScheme(4, 32)


def run(model, samples, **options):
    return quantize_model(
        copy.deepcopy(model), None, samples, options.pop("scheme", W4), **{"config": QUICK, **options}
    )


@pytest.mark.parametrize("bits", [1, 0, 9, -3])
def test_bits_outside_two_to_eight_are_refused(bits):
    with pytest.raises(EtudeError, match="outside 2 to 8"):
        QuantScheme(bits)


@pytest.mark.parametrize("name", ["4bit", "w4", "w4g", "w4g64x", ""])
def test_a_scheme_that_cannot_be_read_shows_examples(name):
    with pytest.raises(EtudeError, match="w3g64a"):
        parse_scheme(name)


@pytest.mark.parametrize(
    ("option", "value"), [("steps", -1), ("batch_size", 0), ("seqlen", 1), ("nsamples", 0)]
)
def test_tuning_parameters_that_are_too_small_are_refused(option, value):
    with pytest.raises(EtudeError, match=option):
        RoundingConfig(**{option: value})


def test_a_group_size_of_zero_is_refused():
    with pytest.raises(EtudeError, match="group size 0"):
        QuantScheme(4, 0)


def test_a_group_that_does_not_divide_the_inputs_is_refused_before_work_naming_layer_and_legal_sizes(
    model_folder, tmp_path
):
    with pytest.raises(EtudeError, match=r"q_proj has 64 inputs.*legal sizes: \[16, 32, 64\]"):
        quantize(model_folder, scheme="w4g48a", out=tmp_path / "q")
    assert not (tmp_path / "q" / "blocks").exists()


def test_an_export_format_that_cannot_express_the_scheme_is_refused_before_work(model_folder, tmp_path):
    with pytest.raises(EtudeError, match=r"awq.*3 bits"):
        quantize(model_folder, scheme="w3g32a", format="awq", out=tmp_path / "q")


def test_a_model_without_a_list_of_decoder_blocks_says_how_to_name_one(llama, samples):
    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pieces = nn.ModuleList([nn.Linear(4, 4), nn.LayerNorm(4)])

    with pytest.raises(EtudeError, match="--block-list") as raised:
        find_blocks(Strange())
    assert "pieces" in raised.value.hint
    with pytest.raises(EtudeError, match=r"model\.blocks"):
        find_blocks(llama, "model.blocks")


def test_a_model_that_is_quantized_already_is_refused(llama, samples, model_folder, tmp_path):
    llama.config.quantization_config = {"quant_method": "gptq"}
    with pytest.raises(EtudeError, match="quantized already"):
        run(llama, samples)
    first = quantize(
        model_folder, scheme="w4g32s", method="rtn", seqlen=16, eval_documents=0, out=tmp_path / "q"
    )
    with pytest.raises(EtudeError, match="quantized already"):
        quantize(first.checkpoints["compressed-tensors"], scheme="w4g32s", out=tmp_path / "again")


def test_an_override_that_matches_no_layer_is_refused(llama, samples):
    with pytest.raises(EtudeError, match="matches no layer"):
        run(llama, samples, layer_overrides={"no_such": None})


@pytest.mark.parametrize("override", ["down_proj", "=w4g32s", "([=none"])
def test_an_override_that_cannot_be_read_is_refused(model_folder, tmp_path, override):
    with pytest.raises(EtudeError, match="override"):
        quantize(model_folder, override=(override,), out=tmp_path / "q")


def test_nan_in_a_weight_names_layer_and_count_and_the_flag_leaves_the_layer_out_and_says_so(llama, samples):
    with torch.no_grad():
        llama.model.layers[1].mlp.up_proj.weight[3, 5] = float("nan")
    with pytest.raises(EtudeError, match=r"layers\.1\.mlp\.up_proj: 1 of"):
        run(llama, samples)


def test_nan_in_the_loss_names_block_and_layer_and_the_flag_rounds_the_block_to_nearest(llama, samples):
    with torch.no_grad():
        llama.model.layers[1].post_attention_layernorm.weight.fill_(float("inf"))
    with pytest.raises(
        EtudeError, match=r"block model\.layers\.1: the loss is nan.*post_attention_layernorm"
    ):
        run(llama, samples)
    result = run(llama, samples, nonfinite="rtn")
    assert result.report["blocks"][1]["loss_best"] is None
    assert "rounded to nearest" in result.report["notes"][0]
    assert len(result.layers) == 14


def test_nan_weights_stay_in_full_precision_with_the_flag(llama, samples):
    with torch.no_grad():
        llama.model.layers[1].mlp.up_proj.weight[3, 5] = float("inf")
    result = run(llama, samples, nonfinite="rtn")
    assert result.skipped == {"model.layers.1.mlp.up_proj": "NaN or Inf in the weights"}
    assert any("keeps full precision" in note for note in result.report["notes"])


def test_a_scale_under_the_float16_floor_is_refused_and_a_group_of_zeros_is_not(llama, samples):
    with torch.no_grad():
        llama.model.layers[0].mlp.up_proj.weight[3] = 0
    run(llama, samples, method="rtn")
    with torch.no_grad():
        llama.model.layers[0].mlp.up_proj.weight[3] = 1e-6
    with pytest.raises(EtudeError, match="floor"):
        run(llama, samples)


def test_a_scale_over_the_float16_limit_is_refused(llama, samples):
    with torch.no_grad():
        llama.model.layers[0].mlp.up_proj.weight[3, 0] = 1e7
    with pytest.raises(EtudeError, match="over the float16 limit"):
        run(llama, samples)


def test_empty_or_too_short_calibration_is_refused(tokenizer, tmp_path):
    empty = tmp_path / "empty.txt"
    empty.write_text("")
    with pytest.raises(EtudeError, match="no document"):
        read_calibration(empty, tokenizer)
    with pytest.raises(EtudeError, match="one sample needs 64"):
        make_samples([[1] * 30], seqlen=64, nsamples=4, vocabulary=512, end=0, seed=0)


def test_token_ids_outside_the_vocabulary_are_refused():
    with pytest.raises(EtudeError, match=r"document 2 holds token id 512.*ends at 511"):
        make_samples([[1] * 30, [5, 512] * 20], seqlen=16, nsamples=4, vocabulary=512, end=0, seed=0)


def test_samples_longer_than_the_context_are_refused(model_folder, tmp_path):
    with pytest.raises(EtudeError, match="context of 256"):
        quantize(model_folder, scheme="w4g32a", seqlen=512, out=tmp_path / "q")


def test_messages_without_a_chat_template_are_refused(tokenizer, tmp_path):
    path = tmp_path / "chat.jsonl"
    write_records(path, [{"messages": [{"role": "user", "content": "hello"}]}])
    with pytest.raises(EtudeError, match="chat template"):
        read_calibration(path, tokenizer)


def test_short_documents_and_the_tail_are_dropped_with_a_count():
    calibration = make_samples(
        [[1] * 40, [2] * 3, [3] * 40], seqlen=32, nsamples=8, vocabulary=9, end=0, seed=0
    )
    assert calibration.dropped_documents == 1
    assert len(calibration.samples) == 2
    assert calibration.dropped_tokens == 82 - 64


def test_calibration_is_read_from_every_documented_format(tokenizer, tmp_path):
    words = "the quick brown fox jumps over the lazy dog " * 4
    (tmp_path / "a.txt").write_text(f"{words}\n\n{words}")
    write_records(tmp_path / "a.jsonl", [{"text": words}, {"text": words}])
    write_records(tmp_path / "a.parquet", [{"text": words}, {"text": words}])
    ids = tokenizer(words, add_special_tokens=False)["input_ids"]
    write_records(tmp_path / "ids.parquet", [{"input_ids": ids}, {"input_ids": ids}])
    expected = tokenizer(words.strip(), add_special_tokens=False)["input_ids"]
    assert read_calibration(tmp_path / "a.txt", tokenizer) == [expected, expected]
    assert read_calibration(tmp_path / "a.jsonl", tokenizer) == [ids, ids]
    assert read_calibration(tmp_path / "a.parquet", tokenizer) == [ids, ids]
    assert read_calibration(tmp_path / "ids.parquet", tokenizer) == [ids, ids]


def test_messages_go_through_the_chat_template(tokenizer):
    from etude.data import Document

    chatty = copy.deepcopy(tokenizer)
    chatty.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    (found,) = encode([Document(id="x", messages=[{"role": "user", "content": "hello"}])], chatty)
    assert chatty.decode(found) == "<user>hello"


def test_a_folder_that_is_no_quantized_model_is_refused(tmp_path, model_folder):
    with pytest.raises(EtudeError, match="not a model directory"):
        load_quantized(tmp_path)
    with pytest.raises(EtudeError, match="not a model directory"):
        inspect(tmp_path / "nothing")
    with pytest.raises(EtudeError, match="at least 1 per source"):
        evaluate(Path(model_folder), reference=model_folder, documents=0)


def test_a_run_folder_is_answered_with_the_names_of_its_checkpoints(tmp_path, model_folder):
    quantize(model_folder, scheme="w4g32s", method="rtn", seqlen=16, eval_documents=0, out=tmp_path / "q")
    with pytest.raises(EtudeError, match="give one of its folders: compressed-tensors"):
        inspect(tmp_path / "q")


def test_an_unknown_method_of_quantization_in_a_checkpoint_is_named(tmp_path, model_folder):
    import json
    import shutil

    shutil.copytree(model_folder, tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "hqq"}
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    with pytest.raises(EtudeError, match="'hqq'"):
        load_quantized(tmp_path / "m")
