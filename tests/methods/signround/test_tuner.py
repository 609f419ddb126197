"""The SignSGD loop and the block-wise walk: what they promise, on a small random model."""

import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, MixtralConfig, MixtralForCausalLM

from etude.errors import EtudeError
from etude.methods.signround.blocks import capture_inputs, find_blocks, run_block
from etude.methods.signround.blockwise import quantize_model
from etude.methods.signround.grid import round_to_nearest
from etude.methods.signround.linear_gradient import LowPrecisionWeightGradient
from etude.methods.signround.schemes import QuantScheme
from etude.methods.signround.tuner import RoundingConfig, block_loss

W2 = QuantScheme(2, 32)
QUICK = RoundingConfig(steps=30, batch_size=4, seqlen=24, nsamples=32, gradient_dtype="float32")


def quantized(model, samples, scheme=W2, **options):
    return quantize_model(copy.deepcopy(model), None, samples, scheme, **{"config": QUICK, **options})


def output_error(model, other, samples):
    with torch.no_grad():
        return float((model(samples).logits - other(samples).logits).pow(2).mean())


def test_blocks_run_alone_give_what_the_model_gives(llama, samples):
    blocks = find_blocks(llama)
    hidden = torch.empty(*samples.shape, 64)
    capture_inputs(llama, blocks, samples, hidden, 8)
    for block in blocks:
        run_block(block, hidden, hidden, 8)
    with torch.no_grad():
        expected = llama.model(samples).last_hidden_state
    torch.testing.assert_close(llama.model.norm(hidden), expected, rtol=1e-4, atol=1e-5)


def test_signround_loses_less_than_the_baselines_at_two_bits(llama, samples):
    errors = {
        m: output_error(llama, quantized(llama, samples, method=m).model, samples)
        for m in ("rtn", "gptq", "awq", "signround")
    }
    assert errors["signround"] < errors["rtn"]
    assert errors["gptq"] < errors["rtn"]
    assert errors["awq"] < errors["rtn"]


def test_no_steps_is_round_to_nearest(llama, samples):
    tuned = quantized(llama, samples, config=RoundingConfig(steps=0, batch_size=4))
    for name, layer in tuned.layers.items():
        expected = round_to_nearest(llama.get_parameter(f"{name}.weight").detach(), W2)
        assert torch.equal(layer.codes, expected.codes)
        assert torch.equal(layer.scale, expected.scale)


def test_the_same_seed_gives_the_same_codes_and_another_seed_others(llama, samples):
    first, again = quantized(llama, samples), quantized(llama, samples)
    other = quantized(llama, samples, config=RoundingConfig(steps=30, batch_size=4, seed=1))
    assert all(torch.equal(first.layers[n].codes, again.layers[n].codes) for n in first.layers)
    assert any(not torch.equal(first.layers[n].codes, other.layers[n].codes) for n in first.layers)


@pytest.mark.parametrize("select", ["val", "minibatch", "last"])
def test_every_selection_lowers_the_loss_of_the_block(llama, samples, select):
    config = RoundingConfig(steps=30, batch_size=4, select=select)
    first = quantized(llama, samples, config=config).report["blocks"][0]
    assert first["loss_best"] < first["loss_initial"]


def test_the_validation_slice_never_makes_a_block_worse(llama, samples):
    config = RoundingConfig(steps=10, lr=3.0, batch_size=4)  # a rate that destroys the weights
    for record in quantized(llama, samples, config=config).report["blocks"]:
        assert record["loss_best"] <= record["loss_initial"]


def test_the_reported_loss_is_that_of_the_kept_weights(llama, samples):
    result = quantized(llama, samples, first_blocks=1)
    block = find_blocks(llama)[0]
    inputs, target = torch.empty(*samples.shape, 64), torch.empty(*samples.shape, 64)
    capture_inputs(llama, [block], samples, inputs, 8)
    run_block(block, inputs, target, 4)
    weights = {slot.parameter: result.layers[slot.layer] for slot in block.slots}
    found = block_loss(block, inputs, target.__getitem__, weights, QUICK)
    assert found == pytest.approx(result.report["blocks"][0]["loss_best"], rel=1e-4)


def test_the_bfloat16_weight_gradient_has_the_same_signs(llama, samples):
    block = find_blocks(llama)[0]
    inputs = torch.empty(*samples.shape, 64)
    capture_inputs(llama, [block], samples, inputs, 8)
    leaves = {slot.parameter: block.matrix(slot).clone().requires_grad_() for slot in block.slots}
    target = torch.randn_like(inputs)

    def gradients():
        loss = torch.nn.functional.mse_loss(block(inputs, leaves), target)
        return torch.autograd.grad(loss, list(leaves.values()))

    exact = gradients()
    with LowPrecisionWeightGradient():
        fast = gradients()
    same = torch.cat([(a.sign() == b.sign()).flatten() for a, b in zip(exact, fast, strict=True)])
    assert same.float().mean() > 0.99
    large = torch.cat([(a.abs() > a.abs().mean() * 0.05).flatten() for a in exact])
    assert same[large].float().mean() > 0.9999


def test_gpt2_weights_are_quantized_along_their_inputs(samples):
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=512, n_positions=64, n_embd=64, n_layer=2, n_head=4)).eval()
    result = quantized(model, samples, scheme=QuantScheme(3, 32))
    layer = result.layers["transformer.h.0.mlp.c_fc"]
    assert layer.codes.shape == (256, 64)  # (out, in); Conv1D stores (in, out)
    stored = result.model.get_parameter("transformer.h.0.mlp.c_fc.weight")
    assert torch.equal(stored, layer.dequantize().T)
    for method in ("gptq", "awq", "rtn"):
        assert (
            output_error(model, quantized(model, samples, QuantScheme(8, 32), method=method).model, samples)
            < 1e-3
        )


def test_experts_that_saw_no_token_are_rounded_to_nearest_and_counted(samples):
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=512, hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, num_local_experts=4, num_experts_per_tok=1,
    )  # fmt: skip
    model = MixtralForCausalLM(config).eval()
    router = next(p for n, p in model.named_parameters() if n.endswith("gate.weight"))
    with torch.no_grad():
        router.zero_()
    result = quantized(model, samples[:, :8])
    stack = next(name for name in result.layers if name.endswith("experts.down_proj"))
    rows = result.layers[stack].codes.view(4, 32, -1)
    expected = round_to_nearest(model.get_parameter(stack).detach().reshape(4 * 32, -1), W2).codes.view(
        4, 32, -1
    )
    unchanged = [bool(torch.equal(rows[e], expected[e])) for e in range(4)]
    assert sum(unchanged) >= 2
    counted = quantized(model, samples[:, :8], method="gptq").report["blocks"][0]["untouched"]
    assert any(name.endswith("experts.down_proj") for name in counted)


def test_an_untied_output_layer_is_tuned_as_a_block_of_its_own(llama, samples):
    result = quantized(llama, samples, lm_head=True)
    assert "lm_head" in result.layers
    record = result.report["blocks"][-1]
    assert record["block"] == "lm_head" and record["loss_best"] <= record["loss_initial"]


def test_a_tied_output_layer_is_refused(samples):
    from tests.methods.signround.conftest import small_llama

    with pytest.raises(EtudeError, match="tied"):
        quantized(small_llama(tie_word_embeddings=True), samples, lm_head=True)


def test_overrides_choose_another_scheme_or_none(llama, samples):
    result = quantized(
        llama,
        samples,
        method="rtn",
        layer_overrides={"down_proj": QuantScheme(8, 32), r"layers\.1\..*q_proj": None},
    )
    assert result.layers["model.layers.0.mlp.down_proj"].scheme.bits == 8
    assert "model.layers.1.self_attn.q_proj" in result.skipped
    assert torch.equal(
        result.model.get_parameter("model.layers.1.self_attn.q_proj.weight"),
        llama.get_parameter("model.layers.1.self_attn.q_proj.weight"),
    )


def test_awq_rescaling_does_not_change_the_function_of_the_block(llama, samples):
    exact = quantized(llama, samples, QuantScheme(8, 32), method="awq")
    assert output_error(llama, exact.model, samples) < 1e-2 * float(llama(samples).logits.var())
    norms = [n for n, p in exact.model.named_parameters() if n.endswith("layernorm.weight") and p.std() > 0]
    assert norms  # something did absorb a scale


def test_hidden_states_over_the_budget_are_kept_in_a_file_with_the_same_result(llama, samples, monkeypatch):
    from etude.methods.signround import blockwise

    in_memory = quantized(llama, samples, method="gptq")
    monkeypatch.setattr(blockwise, "CACHE_BUDGET", 1)
    in_file = quantized(llama, samples, method="gptq")
    assert all(torch.equal(in_memory.layers[n].codes, in_file.layers[n].codes) for n in in_memory.layers)
