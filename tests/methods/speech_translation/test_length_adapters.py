"""Every length adapter: lengths carried, padding without influence, and its closed form."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.speech_translation.ctc_compression import CTCCompression, characters_of
from etude.methods.speech_translation.integrate_and_fire import IntegrateAndFire, integrate_and_fire
from etude.methods.speech_translation.length_adapters import (
    LENGTH_ADAPTERS,
    LengthAdapter,
    build_length_adapter,
    register_length_adapter,
)
from etude.methods.speech_translation.lengths import pad_rows
from etude.methods.speech_translation.modality_adapters import build_modality_adapter

WIDTH = 8
KINDS = {
    "none": {},
    "conv": {"layers": 3},
    "stack": {"k": 5},
    "pool": {"k": 4},
    "wlq": {"window": 6, "queries": 2, "hidden": 16, "heads": 2},
    "ctc": {"mode": "average"},
    "cif": {},
}


def built(kind: str, **options: object) -> LengthAdapter:
    torch.manual_seed(0)
    return build_length_adapter(kind, WIDTH, {**KINDS[kind], **options}).eval()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.sampled_from(sorted(KINDS)))
def test_a_row_in_a_batch_gives_what_it_gives_alone(lengths: list[int], kind: str) -> None:
    adapter = built(kind)
    generator = torch.Generator().manual_seed(1)
    rows = [torch.randn(n, WIDTH, generator=generator) for n in lengths]
    x, sizes = pad_rows(rows)
    garbage = x + 5.0 * (torch.arange(x.shape[1])[None, :, None] >= sizes[:, None, None])
    with torch.no_grad():
        y, made = adapter(garbage, sizes)
        for b, row in enumerate(rows):
            alone, (n,) = adapter(row[None], sizes[b : b + 1])
            assert int(made[b]) == int(n) >= 1
            torch.testing.assert_close(y[b, : int(n)], alone[0, : int(n)], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("mode", ["average", "remove_blank"])
def test_ctc_is_independent_of_padding_in_both_modes(mode: str) -> None:
    adapter = built("ctc", mode=mode)
    rows = [torch.randn(n, WIDTH) for n in (3, 17, 30)]
    x, sizes = pad_rows(rows)
    y, made = adapter(x, sizes)
    for b, row in enumerate(rows):
        alone, (n,) = adapter(row[None], sizes[b : b + 1])
        assert int(n) == int(made[b])
        torch.testing.assert_close(y[b, : int(n)], alone[0, : int(n)], atol=1e-5, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200))
def test_lengths_follow_the_strides(n: int) -> None:
    x, lengths = torch.zeros(1, n, WIDTH), torch.tensor([n])
    expected = {
        "none": n,
        "conv": math.ceil(math.ceil(math.ceil(n / 2) / 2) / 2),
        "stack": math.ceil(n / 5),
        "pool": math.ceil(n / 4),
        "wlq": math.ceil(n / 6) * 2,
    }
    for kind, size in expected.items():
        y, made = built(kind)(x, lengths)
        assert y.shape[1] == int(made) == size, kind


def test_whisper_frames_of_30_s_give_89_windows_of_17() -> None:
    y, lengths = build_length_adapter("wlq", WIDTH, {"hidden": 16, "heads": 2})(
        torch.zeros(1, 1500, WIDTH), torch.tensor([1500])
    )
    assert y.shape[1] == int(lengths) == 89  # the 89th has 4 frames: without it 88


def test_pooling_is_the_mean_of_the_frames_that_are_there() -> None:
    x = torch.arange(6.0).reshape(1, 6, 1).expand(1, 6, WIDTH)
    y, lengths = built("pool")(x, torch.tensor([6]))
    assert int(lengths) == 2
    assert y[0, :, 0].tolist() == [1.5, 4.5]


def test_stacking_puts_neighbours_side_by_side() -> None:
    adapter = build_length_adapter("stack", 2, {"k": 3, "hidden": 6})
    with torch.no_grad():
        adapter.linear.weight.copy_(torch.eye(6))
        adapter.linear.bias.zero_()
        y, lengths = adapter(torch.arange(8.0).reshape(1, 4, 2), torch.tensor([4]))
    assert y.tolist() == [[[0, 1, 2, 3, 4, 5], [6, 7, 0, 0, 0, 0]]]
    assert int(lengths) == 2


def test_a_window_of_the_q_former_sees_its_own_frames_only() -> None:
    adapter = built("wlq")
    x = torch.randn(1, 18, WIDTH)
    changed = x.clone()
    changed[:, 6:12] += 1.0
    before, _ = adapter(x, torch.tensor([18]))
    after, _ = adapter(changed, torch.tensor([18]))
    same = (before - after).abs().amax(-1)[0] < 1e-6
    assert same.tolist() == [True, True, False, False, True, True]


def labelled(labels: list[int], mode: str) -> tuple[CTCCompression, torch.Tensor]:
    """A head that reads the label off the features, and features that hold it."""
    adapter = CTCCompression(4, mode, vocabulary="abc")
    with torch.no_grad():
        adapter.head.weight.copy_(torch.eye(4))
        adapter.head.bias.zero_()
    x = 10 * torch.nn.functional.one_hot(torch.tensor(labels), 4).float()
    x += torch.arange(len(labels))[:, None] * 0.1
    return adapter, x[None]


def test_ctc_averages_runs_and_drops_blanks() -> None:
    labels = [0, 1, 1, 0, 2, 2, 2]
    adapter, x = labelled(labels, "average")
    y, lengths = adapter(x, torch.tensor([7]))
    assert int(lengths) == 4
    runs = [[0], [1, 2], [3], [4, 5, 6]]
    torch.testing.assert_close(y[0], torch.stack([x[0, run].mean(0) for run in runs]))
    adapter, x = labelled(labels, "remove_blank")
    y, lengths = adapter(x, torch.tensor([7]))
    torch.testing.assert_close(y[0], x[0, [1, 2, 4, 5, 6]])
    assert adapter.transcribe(x, torch.tensor([7])) == ["ab"]


@pytest.mark.parametrize("mode", ["average", "remove_blank"])
def test_an_all_blank_path_keeps_one_mean_vector_and_is_counted(mode: str) -> None:
    adapter, x = labelled([0, 0, 0], mode)
    y, lengths = adapter(x, torch.tensor([3]))
    assert int(lengths) == 1 and adapter.all_blank == 1
    torch.testing.assert_close(y[0, 0], x[0].mean(0))


def test_the_ctc_loss_is_the_sum_over_all_paths() -> None:
    """Two frames, target `a`: the paths aa, a-, -a (Graves et al. 2006)."""
    adapter = CTCCompression(WIDTH, vocabulary="a", weight=1.0)
    x = torch.randn(1, 2, WIDTH)
    p = adapter.head(x).softmax(-1)[0]
    total = p[0, 1] * p[1, 1] + p[0, 1] * p[1, 0] + p[0, 0] * p[1, 1]
    assert float(adapter.loss(x, torch.tensor([2]), ["a"])) == pytest.approx(
        -math.log(float(total)), rel=1e-5
    )


def test_the_vocabulary_is_the_characters_of_the_transcripts() -> None:
    assert characters_of(["ba", "cab"]) == "abc"


def naive_cif(x: np.ndarray, alpha: np.ndarray) -> list[np.ndarray]:
    """The recurrence of Dong & Xu (2020), frame by frame."""
    fired, state, total = [], np.zeros(x.shape[1]), 0.0
    for frame, weight in zip(x, alpha, strict=True):
        while total + weight >= 1.0:
            used = 1.0 - total
            fired.append(state + used * frame)
            state, total, weight = np.zeros(x.shape[1]), 0.0, weight - used
        state, total = state + weight * frame, total + weight
    return fired


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 25), st.integers(0, 1000))
def test_integrate_and_fire_is_the_recurrence(n: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    x, alpha = draw.normal(size=(n, 3)), draw.uniform(0, 1, n)
    expected = naive_cif(x, alpha)
    if not expected:
        return
    made = integrate_and_fire(
        torch.from_numpy(x)[None], torch.from_numpy(alpha)[None], torch.tensor([len(expected)])
    )
    np.testing.assert_allclose(made[0].numpy(), np.array(expected), atol=1e-9)


def test_cif_fires_as_many_vectors_as_units_in_training_and_tells_the_rest_in_its_loss() -> None:
    adapter = IntegrateAndFire(WIDTH, weight=1.0)
    x, lengths = torch.randn(2, 20, WIDTH), torch.tensor([20, 11])
    y, counts, loss = adapter.supervised(x, lengths, ["abcd", "ab"])
    assert counts.tolist() == [4, 2] and y.shape == (2, 4, WIDTH)
    totals = adapter.weights(x, lengths).sum(1)
    assert float(loss) == pytest.approx(float(((totals - counts).abs() / counts).mean()), rel=1e-6)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_short_audio_gives_at_least_one_vector(kind: str) -> None:
    y, lengths = built(kind)(torch.randn(1, 1, WIDTH), torch.tensor([1]))
    assert int(lengths) >= 1 and torch.isfinite(y).all()


@pytest.mark.parametrize("kind", ["linear", "mlp", "transformer", "conformer"])
def test_modality_adapters_do_not_look_behind_the_length(kind: str) -> None:
    torch.manual_seed(0)
    options = {"heads": 2} if kind in ("transformer", "conformer") else {}
    adapter = build_modality_adapter(kind, WIDTH, 12, options).eval()
    rows = [torch.randn(n, WIDTH) for n in (3, 9)]
    x, sizes = pad_rows(rows)
    x[0, 3:] = 7.0
    with torch.no_grad():
        y, lengths = adapter(x, sizes)
        assert y.shape[-1] == 12 and lengths.tolist() == [3, 9]
        torch.testing.assert_close(y[0, :3], adapter(rows[0][None], sizes[:1])[0][0], atol=1e-5, rtol=1e-4)


def test_unknown_kinds_and_options_are_refused_with_what_there_is() -> None:
    with pytest.raises(EtudeError, match="no length adapter 'convolution'"):
        build_length_adapter("convolution", WIDTH, {})
    with pytest.raises(EtudeError, match="no option 'depth'") as caught:
        build_length_adapter("conv", WIDTH, {"depth": 3})
    assert "layers" in caught.value.hint
    with pytest.raises(EtudeError, match="must be the language model's 12"):
        build_modality_adapter("none", WIDTH, 12, {})


@pytest.fixture
def every_other() -> str:
    @register_length_adapter("every-other")
    class EveryOther(LengthAdapter):
        def forward(self, x, lengths):
            return x[:, ::2], (lengths + 1) // 2

    yield "every-other"
    del LENGTH_ADAPTERS["every-other"]


def test_a_new_length_adapter_of_ten_lines_trains_and_translates(
    every_other: str, whisper_folder: str, llm_folder: str, data_folder, tmp_path
) -> None:
    from etude.methods.speech_translation import train, translate

    made = train(
        str(data_folder / "data.tsv"),
        la=every_other,
        ma="linear",
        sfm=whisper_folder,
        llm=llm_folder,
        steps=2,
        out=tmp_path / "m",
        features=tmp_path / "f",
    )
    assert made.adapters == "every-other > linear"
    (output, *_) = translate(str(data_folder / "data.tsv"), model=str(tmp_path / "m"), max_tokens=4).outputs
    assert output.n_speech_tokens == math.ceil(output.n_frames / 2)
