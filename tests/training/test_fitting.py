"""`fit` against a closed form, a frozen parameter, bad input, and a kill in the middle."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import TrainerCallback, TrainerState

from etude.errors import EtudeError
from etude.training import fit


class Regression(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": ((self.linear(x).squeeze(-1) * self.frozen - y) ** 2).mean()}


class Points(torch.utils.data.Dataset):
    def __init__(self, count: int = 64, scale: float = 1.0) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(count, 3, generator=generator)
        self.y = scale * (self.x @ torch.tensor([1.0, -2.0, 0.5]) + 0.25)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": self.x[index], "y": self.y[index]}


def test_least_squares_are_found_and_frozen_parameters_stay(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Regression()
    result = fit(
        model, Points(), Points(16), out=tmp_path, steps=300, learning_rate=0.05, schedule="onecycle"
    )
    assert torch.allclose(model.linear.weight, torch.tensor([[1.0, -2.0, 0.5]]), atol=1e-2)
    assert model.linear.bias.item() == pytest.approx(0.25, abs=1e-2)
    assert model.frozen.item() == 1.0
    assert result.steps == 300
    assert result.best_eval_loss is not None
    assert result.best_eval_loss < 1e-3
    stored = load_file(tmp_path / "checkpoint-300" / "trained.safetensors")
    assert set(stored) == {"linear.weight", "linear.bias"}


def test_the_best_weights_come_back_and_patience_stops(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Regression()
    opposite = Points(16, scale=-1.0)  # the better the fit, the worse this evaluation
    result = fit(
        model, Points(), opposite, out=tmp_path, steps=200, learning_rate=0.05, save_every=10, patience=2,
        schedule="constant",
    )  # fmt: skip
    assert result.steps < 200
    assert result.best_step is not None
    assert result.best_step < result.steps
    losses = [entry["eval_loss"] for entry in result.history if "eval_loss" in entry]
    batch = {"x": opposite.x, "y": opposite.y}
    assert model(**batch)["loss"].item() == pytest.approx(min(losses), rel=1e-4)


class Interrupted(TrainerCallback):
    def __init__(self, at: int) -> None:
        self.at = at

    def on_step_end(self, args: object, state: TrainerState, *rest: object, **kwargs: object) -> None:
        if state.global_step == self.at:
            raise InterruptedError


def test_patience_counts_on_after_an_interruption(tmp_path: Path) -> None:
    def stopped(out: Path, *callbacks: TrainerCallback) -> tuple[int, int | None, list[float]]:
        torch.manual_seed(0)
        model = Regression()
        opposite = Points(16, scale=-1.0)
        result = fit(
            model, Points(), opposite, out=out, steps=200, learning_rate=0.05, save_every=10, patience=4,
            schedule="constant", callbacks=callbacks,
        )  # fmt: skip
        return result.steps, result.best_step, model.linear.weight.tolist()

    whole = stopped(tmp_path / "whole")
    assert whole[0] < 200
    with pytest.raises(InterruptedError):
        stopped(tmp_path / "cut", Interrupted(whole[0] - 5))  # three evaluations without a better one
    assert stopped(tmp_path / "cut") == whole


@pytest.mark.parametrize("patience", [None, 2])
def test_a_training_that_is_over_takes_no_further_step(tmp_path: Path, patience: int | None) -> None:
    def finished() -> tuple[int, list[float]]:
        torch.manual_seed(0)
        model = Regression()
        result = fit(
            model, Points(), Points(16, scale=-1.0) if patience else None, out=tmp_path, steps=35,
            learning_rate=0.05, save_every=5, patience=patience,
        )  # fmt: skip
        return result.steps, model.linear.weight.tolist()

    first = finished()  # ends within an epoch of 8 steps
    assert finished() == first


@pytest.mark.parametrize("arguments", [{}, {"steps": 1, "epochs": 1.0}])
def test_steps_and_epochs_are_one_choice(tmp_path: Path, arguments: dict) -> None:
    with pytest.raises(EtudeError, match="either steps or epochs"):
        fit(Regression(), Points(), out=tmp_path, **arguments)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    class Exploding(Regression):
        calls = 0

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
            self.calls += 1
            return {"loss": super().forward(x, y)["loss"] * (float("nan") if self.calls > 25 else 1.0)}

    with pytest.raises(EtudeError, match="step 26"):
        fit(Exploding(), Points(), out=tmp_path, steps=50, save_every=10)
    assert (tmp_path / "checkpoint-20" / "trained.safetensors").exists()


def test_nothing_to_train_is_said(tmp_path: Path) -> None:
    model = Regression()
    model.linear.requires_grad_(False)
    with pytest.raises(EtudeError, match="no parameter"):
        fit(model, Points(), out=tmp_path, steps=1)
    with pytest.raises(EtudeError, match="no training example"):
        fit(Regression(), Points(0), out=tmp_path, steps=1)


SCRIPT = textwrap.dedent(
    """
    import sys, time, torch
    from pathlib import Path
    from torch import nn
    from etude.training import fit

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 16), nn.Dropout(0.3), nn.Tanh(), nn.Linear(16, 1))
        def forward(self, x, y):
            time.sleep(float(sys.argv[2]))
            return {"loss": ((self.layers(x).squeeze(-1) - y) ** 2).mean()}

    class Points(torch.utils.data.Dataset):
        def __init__(self):
            g = torch.Generator().manual_seed(0)
            self.x = torch.randn(50, 3, generator=g)
        def __len__(self): return 50
        def __getitem__(self, i): return {"x": self.x[i], "y": self.x[i].sum()}

    torch.manual_seed(1)
    model = Model()
    result = fit(model, Points(), out=Path(sys.argv[1]), steps=60, save_every=10, learning_rate=0.01)
    torch.set_printoptions(precision=10)
    print(result.resumed_from)
    print([p.detach().double().sum().item().hex() for p in model.parameters()])
    """
)


def test_a_killed_training_resumes_to_the_same_bits(
    tmp_path: Path, run_here: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    def finish(out: str) -> list[str]:
        run_here(SCRIPT, tmp_path / out, "0")
        return capsys.readouterr().out.splitlines()[-2:]

    whole = finish("whole")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed"), "0.05"]
    victim = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while not (tmp_path / "killed" / "checkpoint-30" / "complete").exists():
        assert victim.poll() is None
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    cut = tmp_path / "killed" / "checkpoint-55"  # a checkpoint that was being written when the process died
    cut.mkdir()
    (cut / "trained.safetensors").write_bytes(b"half")
    resumed = finish("killed")
    assert whole[0] == "None"
    assert int(resumed[0]) >= 30
    assert resumed[1] == whole[1]


def test_the_weights_of_the_best_score_are_kept(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Regression()
    asked: list[float] = []

    def score(scored: torch.nn.Module) -> float:
        assert not scored.training
        asked.append(-abs(scored.linear.weight[0, 0].item() - 0.3))  # type: ignore[union-attr,index,operator]
        return asked[-1]

    result = fit(
        model,
        Points(),
        out=tmp_path,
        steps=40,
        learning_rate=0.05,
        schedule="constant",
        save_every=4,
        score=score,
    )
    assert len(asked) == 10
    assert asked.index(max(asked)) < 9
    assert result.best_eval_loss is None
    assert result.best_score == pytest.approx(max(asked))
    assert -abs(model.linear.weight[0, 0].item() - 0.3) == pytest.approx(max(asked))


def test_without_shuffling_the_items_come_in_their_own_order(tmp_path: Path) -> None:
    seen: list[int] = []

    class Numbers(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 12

        def __getitem__(self, index: int) -> int:
            seen.append(index)
            return index

    def collate(items: list[int]) -> dict[str, torch.Tensor]:
        return {"x": torch.ones(len(items), 3), "y": torch.zeros(len(items))}

    fit(Regression(), Numbers(), out=tmp_path, steps=12, batch_size=1, shuffle=False, collate=collate)
    assert seen == list(range(12))
