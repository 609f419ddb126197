"""The noise network, its times and its objectives."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.easygen.noise_schedule import NoiseSchedule
from etude.methods.easygen.objectives import Latents, LossWeights, diffusion_loss, draw_times
from etude.methods.easygen.sampling import noise_of, sample_image, sample_text
from etude.methods.easygen.uvit import UViT, UViTConfig, patches, unpatch

CONFIG = UViTConfig(16, 3, patch=4, text_tokens=3, text_dim=8, width=16, depth=2, heads=2)


def test_a_size_that_the_patch_does_not_divide_is_refused() -> None:
    with pytest.raises(EtudeError, match="30 cells cannot be cut into patches of 8"):
        UViTConfig(30, patch=8)


def test_patches_and_their_inverse_agree_up_to_the_order_of_features() -> None:
    image = torch.randn(2, 3, 16, 16)
    cut = patches(image, 4)  # features run channel, row, column
    reordered = cut.view(2, 16, 3, 16).transpose(2, 3).reshape(2, 16, 48)
    assert torch.equal(unpatch(reordered, CONFIG), image)


def test_time_zero_is_exactly_clean_and_the_last_time_is_almost_noise() -> None:
    schedule = NoiseSchedule(predicts="sample", betas="cosine", solver="ddim")
    clean, noise = torch.randn(2, 5), torch.randn(2, 5)
    assert torch.equal(schedule.noised(clean, noise, torch.tensor([0, 0])), clean)
    assert torch.allclose(schedule.noised(clean, noise, torch.tensor([1000, 1000])), noise, atol=1e-3)
    assert torch.all(schedule.signal(torch.tensor([1])) < 1)


def test_the_schedule_is_unidiffusers_closed_form() -> None:
    betas = np.linspace(0.00085**0.5, 0.0120**0.5, 1000, dtype=np.float64) ** 2
    expected = np.concatenate([[1.0], np.cumprod(1 - betas)])
    found = NoiseSchedule().signal(torch.arange(1001)).numpy()
    assert np.abs(found - expected).max() < 1e-5


def test_the_network_is_told_times_one_above_the_schedulers_index() -> None:
    """An off-by-one here would tell it that the smallest noise is clean."""
    told: list[int] = []

    class Spy(UViT):
        def forward(self, image, clip, text, t_image, t_text, **rest):  # type: ignore[no-untyped-def,override]
            told.append(int(t_text[0]))
            assert int(t_image[0]) == 0
            return super().forward(image, clip, text, t_image, t_text, **rest)

    schedule = NoiseSchedule(predicts="sample", betas="cosine", solver="ddim")
    sample_text(
        Spy(CONFIG).eval(), schedule, torch.zeros(1, 3, 16, 16), None, torch.randn(1, 3, 8), steps=1000
    )
    assert told == list(range(1000, 0, -1))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.sampled_from(["joint", "bi", "i2t", "t2i"]), st.floats(0, 1), st.floats(1, 6))
def test_times_say_which_side_is_clean(batch: int, objective: str, mix: float, power: float) -> None:
    t_image, t_text = draw_times(batch, 1000, objective, mix, power)  # type: ignore[arg-type]
    assert int(t_image.max()) <= 1000 and int(t_text.max()) <= 1000
    clean_text = int((t_text == 0).sum())
    assert bool(((t_image == 0) & (t_text == 0)).sum() == 0)
    if objective == "joint":
        assert clean_text == 0 and bool((t_image > 0).all())
    else:
        share = {"bi": mix, "i2t": 0.0, "t2i": 1.0}[objective]
        assert clean_text == round(share * batch)
        assert int((t_image == 0).sum()) == batch - clean_text


def test_a_preference_for_high_noise_raises_the_mean_time_as_its_law_says() -> None:
    torch.manual_seed(0)
    t, _ = draw_times(20000, 1000, "t2i", 0.5, 4.0)
    assert abs(float(t.double().mean()) - 1000 * 4 / 5) < 5  # E[u^(1/4)] = 4/5


class Oracle(UViT):
    """Says what the schedule asks for: its loss must be zero."""

    def __init__(self, clean: Latents) -> None:
        super().__init__(CONFIG)
        self.clean = clean

    def forward(self, image, clip, text, t_image, t_text, **rest):  # type: ignore[no-untyped-def,override]
        from etude.methods.easygen.uvit import Estimate

        return Estimate(self.clean.image, None, self.clean.text)


@pytest.mark.parametrize("objective", ["joint", "bi", "i2t", "t2i"])
def test_an_oracle_has_no_loss_under_any_objective(objective: str) -> None:
    clean = Latents(torch.randn(6, 3, 16, 16), None, torch.randn(6, 3, 8))
    schedule = NoiseSchedule(predicts="sample", betas="cosine", solver="ddim")
    loss = diffusion_loss(Oracle(clean), schedule, clean, objective, weights=LossWeights(clean_side=1.0))  # type: ignore[arg-type]
    assert float(loss) == 0.0


def test_the_bidiffuser_loss_is_the_sum_of_the_two_conditional_errors() -> None:
    """For a network that says 0: |x|^2 over rows from text + alpha |y|^2 over rows from pictures."""

    class Zero(UViT):
        def forward(self, image, clip, text, t_image, t_text, **rest):  # type: ignore[no-untyped-def,override]
            from etude.methods.easygen.uvit import Estimate

            return Estimate(torch.zeros_like(image), None, torch.zeros_like(text))

    clean = Latents(torch.randn(8, 3, 16, 16), None, torch.randn(8, 3, 8))
    schedule = NoiseSchedule(predicts="sample", betas="cosine", solver="ddim")
    loss = diffusion_loss(
        Zero(CONFIG), schedule, clean, "bi", weights=LossWeights(alpha=3.0), direction_mix=0.25
    )
    expected = (clean.image[:2] ** 2).mean() + 3.0 * (clean.text[2:] ** 2).mean()
    assert float(loss) == pytest.approx(float(expected), rel=1e-5)


def test_predicting_noise_the_clean_sides_target_is_zero() -> None:
    noise = torch.randn(2, 4)
    target = NoiseSchedule().target(torch.randn(2, 4), noise, torch.tensor([0, 5]))
    assert torch.equal(target[0], torch.zeros(4)) and torch.equal(target[1], noise[1])


@pytest.mark.parametrize("solver", ["ddim", "dpm++"])
def test_an_oracle_network_is_sampled_back_to_the_clean_latents(solver: str) -> None:
    clean = Latents(torch.randn(4, 3, 16, 16), None, torch.randn(4, 3, 8))
    schedule = NoiseSchedule(predicts="sample", betas="cosine", solver=solver)  # type: ignore[arg-type]
    network = Oracle(clean)
    text = sample_text(network, schedule, clean.image, None, torch.randn(4, 3, 8), steps=10)
    noise = Latents(torch.randn(4, 3, 16, 16), None, torch.empty(0))
    image = sample_image(network, schedule, clean.text, noise, steps=10)
    assert torch.allclose(text, clean.text, atol=0.05) and torch.allclose(image, clean.image, atol=0.05)


def test_noise_belongs_to_its_key_not_to_the_batch() -> None:
    alone = noise_of(["b"], 3, (2, 2))
    assert torch.equal(noise_of(["a", "b", "c"], 3, (2, 2))[1:2], alone)
    assert not torch.equal(noise_of(["b"], 4, (2, 2)), alone)


def test_a_network_that_says_nan_is_clamped_and_reported(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(UViT):
        def forward(self, image, clip, text, t_image, t_text, **rest):  # type: ignore[no-untyped-def,override]
            from etude.methods.easygen.uvit import Estimate

            return Estimate(None, None, torch.full_like(text, float("nan")))

    from etude.render import console

    with console().capture() as said:
        found = sample_text(
            Broken(CONFIG), NoiseSchedule(), torch.zeros(1, 3, 16, 16), None, torch.randn(1, 3, 8), steps=4
        )
    assert torch.isfinite(found).all()
    assert "96 values of the network's estimates were not finite" in said.get()


def test_guidance_zero_makes_one_pass_and_more_makes_two() -> None:
    passes = []

    class Counting(UViT):
        def forward(self, *inputs, **rest):  # type: ignore[no-untyped-def,override]
            passes.append(1)
            return super().forward(*inputs, **rest)

    network = Counting(CONFIG).eval()
    image, noise = torch.zeros(1, 3, 16, 16), torch.randn(1, 3, 8)
    sample_text(network, NoiseSchedule(), image, None, noise, steps=5)
    assert len(passes) == 5
    absent = Latents(torch.randn(1, 3, 16, 16), None, torch.empty(0))
    sample_text(network, NoiseSchedule(), image, None, noise, steps=5, guidance=2.0, absent=absent)
    assert len(passes) == 15


def test_a_schedule_comes_back_from_its_folder(tmp_path: Path) -> None:
    schedule = NoiseSchedule(predicts="sample", betas="cosine", solver="ddim", steps=100)
    schedule.save(tmp_path)
    assert NoiseSchedule.load(tmp_path) == schedule
