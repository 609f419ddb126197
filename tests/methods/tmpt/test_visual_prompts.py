"""Visual prompts against the ViT's own forward, a block written the long way, and closed forms."""

import math

import pytest
import torch
from torch.nn import functional as F

from etude.errors import EtudeError
from etude.methods.tmpt.settings import TMPTConfig
from etude.methods.tmpt.visual_prompts import (
    GridAdapter,
    PlainImage,
    PromptedViT,
    VisualPrompts,
    image_branch,
    run_block,
    vit_blocks,
    vit_prefix,
    vit_vector,
)
from etude.models import load_vision


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.randint(
        0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def test_the_prefix_and_all_blocks_are_the_vit_itself(tiny_vit: str, pixels: torch.Tensor) -> None:
    vision = load_vision(tiny_vit)
    with torch.no_grad():
        expected = vision.model(pixel_values=vision.scale(pixels)).last_hidden_state
    assert torch.allclose(vit_vector(vision, pixels), expected[:, 0], atol=1e-5)


def test_prompts_enter_after_cls_and_are_read_as_their_mean(tiny_vit: str, pixels: torch.Tensor) -> None:
    vision = load_vision(tiny_vit)
    prompts = VisualPrompts(4, 24)
    branch = PromptedViT(vision.model, prompts).eval()
    states = vit_prefix(vision, pixels, 1).clone()
    x = torch.cat([states[:, :1], prompts.vectors[0].expand(3, -1, -1), states[:, 1:]], dim=1)
    for block in vit_blocks(vision.model):
        x = run_block(block, x)
    assert torch.allclose(branch(states), vision.model.layernorm(x)[:, 1:5].mean(1), atol=1e-6)


def test_deep_prompts_replace_those_of_the_block_before(tiny_vit: str, pixels: torch.Tensor) -> None:
    vision = load_vision(tiny_vit)
    prompts = VisualPrompts(2, 24, blocks=3)
    branch = PromptedViT(vision.model, prompts).eval()
    x = vit_prefix(vision, pixels, 1).clone()
    for number, block in enumerate(vit_blocks(vision.model)):
        rest = x[:, 1:] if number == 0 else x[:, 3:]
        x = run_block(block, torch.cat([x[:, :1], prompts.vectors[number].expand(3, -1, -1), rest], dim=1))
    assert torch.allclose(
        branch(vit_prefix(vision, pixels, 1).clone()), vision.model.layernorm(x)[:, 1:3].mean(1)
    )


def test_prompts_that_enter_late_see_the_stored_prefix(tiny_vit: str, pixels: torch.Tensor) -> None:
    vision = load_vision(tiny_vit)
    late = image_branch(TMPTConfig(visual_prompt_start=3, visual_prompt_depth="deep"), vision, 8)
    assert isinstance(late, PromptedViT)
    assert late.prompts.vectors.shape[0] == 1, "one prompted block is left"
    with torch.no_grad():
        before = vision.model.embeddings(vision.scale(pixels))
        for block in vit_blocks(vision.model)[:2]:
            before = run_block(block, before)
    assert torch.allclose(vit_prefix(vision, pixels, 3), before, atol=1e-6)


def test_the_start_of_prompts_is_uniform_in_the_papers_bound() -> None:
    vectors = VisualPrompts(64, 96).vectors.detach()
    bound = math.sqrt(6 / (2 * 96))
    assert vectors.abs().max() <= bound
    assert vectors.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05)


def test_the_grid_adapter_equals_the_whole_block_read_at_the_prompts() -> None:
    torch.manual_seed(0)
    adapter = GridAdapter(12, 16, 4, VisualPrompts(3, 16)).eval()
    cells = torch.randn(5, 6, 12)
    tokens = torch.cat(
        [adapter.cls.expand(5, -1, -1), adapter.prompts.vectors[0].expand(5, -1, -1), adapter.project(cells)],
        dim=1,
    )
    normed = adapter.before_attention(tokens)
    weights = torch.cat([adapter.query.weight, adapter.key_value.weight])
    biases = torch.cat([adapter.query.bias, adapter.key_value.bias])
    mixed, _ = F.multi_head_attention_forward(
        *(normed.transpose(0, 1),) * 3, 16, 4, weights, biases, None, None, False, 0.0,
        adapter.attended.weight, adapter.attended.bias, training=False,
    )  # fmt: skip
    x = tokens + mixed.transpose(0, 1)
    x = adapter.final(x + adapter.mlp(adapter.before_mlp(x)))
    assert torch.allclose(adapter(cells), x[:, 1:4].mean(1), atol=1e-5)


def test_prompts_see_the_target_only_when_told_to(tiny_cnn: str) -> None:
    vision = load_vision(tiny_cnn)
    cells, one, other = torch.randn(2, 4, 16), torch.randn(2, 8), torch.randn(2, 8)
    blind = image_branch(TMPTConfig(), vision, 8).eval()
    assert torch.equal(blind(cells, one), blind(cells, other))
    seeing = image_branch(TMPTConfig(visual_prompt_target=True), vision, 8).eval()
    assert torch.equal(seeing(cells, one), seeing(cells, other)), "the map starts at zero"
    torch.nn.init.normal_(seeing.prompts.from_target.weight)
    assert not torch.allclose(seeing(cells, one), seeing(cells, other))


def test_prompt_dropout_acts_in_training_alone() -> None:
    prompts = VisualPrompts(4, 32, dropout=0.5)
    assert (prompts(0, 2) == 0).any()
    assert torch.equal(prompts.eval()(0, 2)[0], prompts.vectors[0])


def test_what_cannot_be_prompted_is_refused(tiny_cnn: str, tiny_vit: str) -> None:
    grid, vit = load_vision(tiny_cnn), load_vision(tiny_vit)
    with pytest.raises(EtudeError, match="no transformer blocks"):
        image_branch(TMPTConfig(visual_prompt_depth="deep"), grid, 8)
    with pytest.raises(EtudeError, match="has 3"):
        image_branch(TMPTConfig(visual_prompt_start=4), vit, 8)
    assert isinstance(image_branch(TMPTConfig(visual_prompts=0), vit, 8), PlainImage)
    with pytest.raises(EtudeError, match="at least 0"):
        TMPTConfig(visual_prompts=-1)
