"""The network against transformers' LlamaForCausalLM: same function, same gradients, same counts."""

from dataclasses import replace

import pytest
import torch
from transformers import LlamaForCausalLM

from etude.errors import EtudeError
from etude.methods.teenytinyllama.configs import (
    PRESETS,
    ModelConfig,
    from_transformers,
    parameters,
    to_transformers,
)
from etude.methods.teenytinyllama.network import Decoder, document_mask, llama_state, load_llama_state

SMALL = ModelConfig(32, 64, 2, 4, context=24, vocab_size=300)


def pair(config: ModelConfig) -> tuple[Decoder, LlamaForCausalLM]:
    torch.manual_seed(1)
    network = Decoder(config, seed=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(8) if parameter.dim() > 1 else parameter.normal_(1, 0.2)
    llama = LlamaForCausalLM(to_transformers(config))
    missing, unexpected = llama.load_state_dict(llama_state(network), strict=False)
    assert unexpected == [] and missing in ([], ["lm_head.weight"])
    llama.tie_weights()
    return network, llama


@pytest.mark.parametrize("name", PRESETS)
def test_parameters_are_counted_as_transformers_counts_them(name: str) -> None:
    with torch.device("meta"):
        llama = LlamaForCausalLM(to_transformers(PRESETS[name]))
    assert parameters(PRESETS[name]) == llama.num_parameters()


def test_the_papers_models_have_exactly_its_parameters() -> None:
    assert parameters(PRESETS["160m"]) == 162_417_408
    assert parameters(PRESETS["460m"]) == 468_239_360


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [None, 2])
def test_logits_and_gradients_equal_those_of_llama(tied: bool, kv_heads: int | None) -> None:
    network, llama = pair(replace(SMALL, tied=tied, kv_heads=kv_heads))
    ids = torch.randint(4, 300, (3, 21))  # transformers gives the padding token, 3, no gradient
    assert torch.allclose(network.logits(ids), llama(ids).logits, atol=2e-5)
    loss = network(ids[:, :-1], ids[:, 1:])
    expected = llama(ids, labels=ids).loss
    assert torch.allclose(loss, expected, atol=1e-5)
    loss.backward()
    expected.backward()
    graded = Decoder(network.config)
    with torch.no_grad():
        for mine, source in zip(graded.parameters(), network.parameters(), strict=True):
            mine.copy_(source.grad)
    names = dict(llama.named_parameters())
    for name, gradient in llama_state(graded).items():
        wanted = names[name].grad
        assert (gradient - wanted).abs().max() < 2e-5 * max(1e-3, wanted.abs().max()), name


def test_weights_survive_the_way_to_transformers_names_and_back() -> None:
    network, _ = pair(replace(SMALL, kv_heads=2))
    other = Decoder(network.config, seed=9)
    load_llama_state(other, llama_state(network))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))
    assert from_transformers(to_transformers(network.config)) == network.config


def test_with_a_document_mask_a_document_is_read_as_if_it_were_alone() -> None:
    network, _ = pair(SMALL)
    first, second = [5, 6, 7, 2], [9, 8, 7, 6, 5]
    ids = torch.tensor([first + second])
    masked = network.logits(ids, document_mask(ids, 2))
    assert torch.allclose(masked[:, 4:], network.logits(torch.tensor([second])), atol=1e-5)
    assert torch.allclose(masked[:, :4], network.logits(torch.tensor([first])), atol=1e-5)
    assert not torch.allclose(network.logits(ids)[:, 4:], masked[:, 4:], atol=1e-2)


def test_greedy_text_is_that_of_transformers() -> None:
    network, llama = pair(SMALL)
    made = llama.generate(torch.tensor([[7, 8, 9]]), max_new_tokens=10, do_sample=False, eos_token_id=2)
    wanted = [t for t in made[0, 3:].tolist() if t != 2]
    assert network.greedy([7, 8, 9], 10, end=2) == wanted


@pytest.mark.slow
def test_the_compiled_network_learns_the_same() -> None:
    network, _ = pair(SMALL)
    ids = torch.randint(0, 300, (2, 17))
    plain = network(ids[:, :-1], ids[:, 1:])
    plain.backward()
    gradients = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    network.compiled = True
    fused = torch.compile(network)(ids[:, :-1], ids[:, 1:])
    fused.backward()
    assert torch.allclose(plain, fused, atol=1e-5)
    for mine, wanted in zip(network.parameters(), gradients, strict=True):
        assert torch.allclose(mine.grad, wanted, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"heads": 5}, "5 heads do not divide hidden = 32"),
        ({"heads": 32}, "is odd"),
        ({"kv_heads": 3}, "3 heads of keys and values do not divide"),
        ({"layers": 0}, "layers is 0"),
    ],
)
def test_impossible_shapes_are_refused_with_what_would_do(change, words) -> None:
    with pytest.raises(EtudeError, match=words):
        replace(SMALL, **change)
