"""The network: the paper's equations, its parameter counts, and every arm."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from etude.errors import EtudeError
from etude.methods.stg_llm.adapter import STGAdapter
from etude.methods.stg_llm.backbones import FrozenLM, frozen_fingerprint
from etude.methods.stg_llm.claim import matched_attention
from etude.methods.stg_llm.forecaster import Settings, STGForecaster, audit, build_forecaster
from etude.methods.stg_llm.tokenizer import STGTokenizer

NODES = 5
WORDS = torch.tensor([3, 5, 9, 11])


def build(model: str, words: torch.Tensor | None = None, **changes: object) -> STGForecaster:
    settings = Settings(nodes=NODES, model=model, layers=2, history=4, horizon=3, slots_per_day=24)
    return build_forecaster(replace(settings, **changes), words)  # type: ignore[arg-type]


def inputs(batch: int = 3, nodes: int = NODES, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "window": torch.randn(batch, 4, nodes, 1, generator=generator),
        "slot": torch.arange(batch),
        "weekday": torch.arange(batch),
    }


def predict(network: STGForecaster, **more: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(**{**inputs(), **more})["prediction"]


def test_the_papers_parameter_counts_come_out_exactly(tmp_path: Path) -> None:
    from transformers import GPT2Config

    GPT2Config().save_pretrained(tmp_path)
    settings = Settings(nodes=883, model=str(tmp_path), layers=3, backbone="random", slots_per_day=288)
    network = build_forecaster(settings)
    found = audit(network, settings)
    assert found.trained_parts == {
        "tokenizer": 18_880,
        "adapter": 217_640,
        "positions": 786_432,
        "norms": 10_752,
    }
    assert (found.trained, found.total) == (1_033_704, 60_885_480)
    assert found.in_memory == found.total - 50_257 * 768  # no row of the vocabulary is kept
    assert network.node_table is None  # positions are the node identities


def test_a_token_is_the_window_and_the_time_of_its_last_step() -> None:
    tokenizer = STGTokenizer(history=4, features=2, slots_per_day=24)
    window = torch.randn(2, 4, 5, 2)
    tokens = tokenizer(window, torch.tensor([3, 7]), torch.tensor([0, 6]))
    assert tokens.shape == (2, 5, 4 * 2 + 128) and tokenizer.width == 136
    torch.testing.assert_close(tokens[1, 2, :8], window[1, :, 2].reshape(-1))
    torch.testing.assert_close(tokens[1, 2, 8:72], tokenizer.time_of_day.weight[7])
    torch.testing.assert_close(tokens[1, 2, 72:], tokenizer.day_of_week.weight[6])


def test_the_decoder_adds_the_token_back_between_its_two_maps() -> None:
    adapter = STGAdapter(10, 6, 3).double()
    states, tokens = torch.randn(2, 5, 6).double(), torch.randn(2, 5, 10).double()
    w2, b2, w3, b3 = adapter.decoder.weight, adapter.decoder.bias, adapter.output.weight, adapter.output.bias
    torch.testing.assert_close(adapter.decode(states, tokens), ((states @ w2.T + b2) + tokens) @ w3.T + b3)
    torch.testing.assert_close(
        adapter.encode(tokens), tokens @ adapter.encoder.weight.T + adapter.encoder.bias
    )


def test_only_positions_and_norms_of_the_language_model_are_trained(
    gpt2_model: str, llama_model: str
) -> None:
    for model, allowed in ((gpt2_model, ("wpe", "ln_")), (llama_model, ("norm",))):
        network = build(model)
        assert isinstance(network.backbone, FrozenLM)
        trained = [n for n, p in network.backbone.named_parameters() if p.requires_grad]
        assert trained and all(any(a in name for a in allowed) for name in trained)
        network(**inputs(), target=torch.zeros(3, 3, NODES))["loss"].backward()
        assert all(
            (p.grad is not None) == p.requires_grad for p in network.backbone.lm.parameters() if p.numel()
        )
    frozen = build(llama_model, freeze_norms=True)
    assert not any(p.requires_grad for p in frozen.backbone.parameters())


def test_the_network_equals_the_model_run_by_hand(gpt2_model: str) -> None:
    from transformers import GPT2Model

    network = build(gpt2_model)
    reference = GPT2Model.from_pretrained(gpt2_model).eval()
    reference.h = reference.h[:2]
    tokens = network.tokenizer(**inputs())
    with torch.inference_mode():
        states = reference(inputs_embeds=network.adapter.encode(tokens)).last_hidden_state
        expected = network.adapter.decode(states, tokens).transpose(1, 2)
    torch.testing.assert_close(predict(network), expected, atol=1e-5, rtol=1e-5)


def test_without_a_node_table_a_rotary_model_cannot_tell_equal_windows_apart(llama_model: str) -> None:
    network = build(llama_model, attention="full")
    same = inputs()["window"][:, :, :1].expand(-1, -1, NODES, -1)
    assert network.node_table is not None
    apart = predict(network, window=same)
    assert (apart - apart[:, :, :1]).abs().max() > 1e-4
    with torch.no_grad():
        network.node_table.zero_()
    alike = predict(network, window=same)
    torch.testing.assert_close(alike, alike[:, :, :1].expand_as(alike), atol=1e-6, rtol=1e-5)


def test_causal_nodes_see_only_those_before_them_and_full_ones_see_all(
    llama_model: str, gpt2_model: str
) -> None:
    for model in (llama_model, gpt2_model):
        for backbone in ("pretrained", "attention"):
            for attention, expected in (("causal", False), ("full", True)):
                network = build(model, attention=attention, backbone=backbone)
                changed = inputs()["window"].clone()
                changed[:, :, -1] += 1
                moved = (predict(network, window=changed) - predict(network)).abs().amax(dim=(0, 1))
                assert bool(moved[:-1].max() > 1e-6) is expected and moved[-1] > 1e-6


def test_a_shared_prompt_run_once_equals_the_same_prompt_in_every_window(
    gpt2_model: str, llama_model: str
) -> None:
    for model in (gpt2_model, llama_model):
        for attention in ("causal", "full"):
            network = build(model, WORDS, prompt_length=3, attention=attention)
            shared = torch.tensor([3, 9, 5])
            once = predict(network, prompt_ids=shared)
            torch.testing.assert_close(
                once, predict(network, prompt_ids=shared.expand(3, 3)), atol=1e-5, rtol=1e-5
            )
            assert (once - predict(network, prompt_ids=torch.tensor([3, 9, 11]))).abs().max() > 1e-6


def test_gradients_flow_through_the_shared_prompt(gpt2_model: str) -> None:
    gradients = []
    for prompt in (torch.tensor([3, 9, 5]), torch.tensor([3, 9, 5]).expand(3, 3)):
        network = build(gpt2_model, WORDS, prompt_length=3)
        network(**inputs(), prompt_ids=prompt, target=torch.zeros(3, 3, NODES))["loss"].backward()
        gradients.append({n: p.grad for n, p in network.named_parameters() if p.requires_grad})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-6, rtol=1e-4)


def test_padding_on_the_left_changes_nothing_for_a_rotary_model(llama_model: str) -> None:
    network = build(llama_model, WORDS, prompt_length=4)
    short = torch.tensor([[3, 9, 5]]).expand(3, 3)
    padded = torch.cat([torch.full((3, 1), -1), short], dim=1)
    torch.testing.assert_close(
        predict(network, prompt_ids=padded), predict(network, prompt_ids=short), atol=1e-5, rtol=1e-5
    )


def test_a_prompt_token_without_an_embedding_is_an_error(gpt2_model: str) -> None:
    with pytest.raises(ValueError, match="not kept"):
        predict(build(gpt2_model, WORDS, prompt_length=1), prompt_ids=torch.tensor([4]))


def test_blocks_of_nodes_do_not_meet_and_one_large_block_changes_nothing(llama_model: str) -> None:
    for attention in ("causal", "full"):
        whole = predict(build(llama_model, attention=attention))
        network = build(llama_model, attention=attention, nodes_per_block=NODES)
        torch.testing.assert_close(predict(network), whole)
        network = build(llama_model, attention=attention, nodes_per_block=2)
        changed = inputs()["window"].clone()
        changed[:, :, 2] += 1  # nodes 2 and 3 share a block
        moved = (predict(network, window=changed) - predict(network)).abs().amax(dim=(0, 1))
        assert moved[[0, 1, 4]].max() < 1e-6 and moved[2] > 1e-6
        alone = build(llama_model, attention=attention, nodes=2)
        assert network.node_table is not None and alone.node_table is not None
        with torch.no_grad():
            alone.node_table.copy_(network.node_table[2:4])
        torch.testing.assert_close(
            predict(alone, window=inputs()["window"][:, :, 2:4]),
            predict(network)[:, :, 2:4],
            atol=1e-5,
            rtol=1e-5,
        )


def test_missing_targets_are_left_out_of_the_loss(llama_model: str) -> None:
    network = build(llama_model).eval()
    target = torch.randn(3, 3, NODES)
    target[0, 1, 2] = float("nan")
    out = network(**inputs(), target=target)
    known = torch.isfinite(target)
    expected = torch.nn.functional.huber_loss(out["prediction"][known], target[known])
    torch.testing.assert_close(out["loss"], expected)
    out["loss"].backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    nothing = network(**inputs(), target=torch.full((3, 3, NODES), float("nan")))["loss"]
    assert nothing == 0


def test_every_arm_trains_what_it_says(llama_model: str) -> None:
    counts = {}
    for backbone in ("pretrained", "random", "scratch", "lora", "attention", "none"):
        settings = Settings(nodes=NODES, model=llama_model, layers=2, backbone=backbone, slots_per_day=24)  # type: ignore[arg-type]
        counts[backbone] = audit(build_forecaster(settings), settings)
    assert counts["pretrained"].trained == counts["random"].trained
    assert counts["scratch"].trained == counts["random"].trained + counts["random"].frozen - 100 * 32
    assert counts["lora"].trained_parts["lora"] > 0
    assert counts["none"].trained < counts["pretrained"].trained < counts["attention"].trained
    small = matched_attention(Settings(nodes=NODES, model=llama_model, layers=2, slots_per_day=24))
    assert (
        small.backbone == "attention"
        and audit(build_forecaster(small), small).trained <= counts["random"].trained
    )


def test_lora_starts_as_the_pretrained_model(llama_model: str, gpt2_model: str) -> None:
    for model in (llama_model, gpt2_model):
        torch.testing.assert_close(
            predict(build(model, backbone="lora")), predict(build(model)), atol=1e-6, rtol=1e-5
        )


def test_arms_of_one_seed_start_from_the_same_trained_parts_and_random_ones_repeat(llama_model: str) -> None:
    pretrained, random, again = (
        build(llama_model),
        build(llama_model, backbone="random"),
        build(llama_model, backbone="random"),
    )
    torch.testing.assert_close(pretrained.adapter.encoder.weight, random.adapter.encoder.weight)
    assert frozen_fingerprint(random.backbone) == frozen_fingerprint(again.backbone)
    assert frozen_fingerprint(random.backbone) != frozen_fingerprint(pretrained.backbone)
    assert frozen_fingerprint(random.backbone) != frozen_fingerprint(
        build(llama_model, backbone="random", seed=1).backbone
    )


def test_dropout_stays_off_in_training_mode(gpt2_model: str) -> None:
    network = build(gpt2_model).train()
    first, second = (network(**inputs())["prediction"] for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_more_nodes_and_prompt_than_positions_are_refused_with_the_room_left(gpt2_model: str) -> None:
    with pytest.raises(
        EtudeError, match=r"90 nodes and 10 prompt tokens exceed the 96 positions .* \(6 are left"
    ):
        build(gpt2_model, nodes=90, prompt_length=10)
    assert build(gpt2_model, nodes=90, prompt_length=10, nodes_per_block=40).node_table is not None


def test_models_and_layers_that_are_not_there_say_so(gpt2_model: str, tmp_path: Path) -> None:
    with pytest.raises(EtudeError, match="has 3 blocks, 9 asked for"):
        build(gpt2_model, layers=9)
    with pytest.raises(EtudeError, match="no model"):
        build("nowhere")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EtudeError, match=r"no readable config\.json"):
        build(str(tmp_path))


def test_bfloat16_changes_forecasts_only_slightly_and_trains(gpt2_model: str, llama_model: str) -> None:
    for model in (gpt2_model, llama_model):
        exact, rounded = predict(build(model)), build(model, precision="bfloat16")
        assert 0 < (predict(rounded) - exact).abs().max() < 0.05
        loss = rounded(**inputs(), target=torch.zeros(3, 3, NODES))["loss"]
        loss.backward()
        assert loss.dtype == torch.float32
        assert all(torch.isfinite(p.grad).all() for p in rounded.parameters() if p.grad is not None)
