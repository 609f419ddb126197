"""`pretrain`: a prepared corpus becomes a Llama model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.teenytinyllama.checkpoints import checkpoints, load_weights
from etude.methods.teenytinyllama.configs import RECIPES, ModelConfig, preset_named
from etude.methods.teenytinyllama.distributed import join_team
from etude.methods.teenytinyllama.energy import EnergySettings
from etude.methods.teenytinyllama.llama_folder import read_llama_folder
from etude.methods.teenytinyllama.network import Decoder, llama_state
from etude.methods.teenytinyllama.settings import Dtype, OnNan, TrainSettings, resolve_dtype, with_compiler
from etude.methods.teenytinyllama.shards import TokenShards
from etude.methods.teenytinyllama.trained_model import CHECKPOINTS, MODEL
from etude.methods.teenytinyllama.trained_model import TrainedModel as TrainedModel
from etude.methods.teenytinyllama.training_loop import train as train
from etude.render import table
from etude.runs import read_json

Preset = Literal["nano", "micro", "mini", "160m", "460m"]


@dataclass(frozen=True)
class PretrainResult(TrainedModel):
    """What a pretraining gave: see `TrainedModel`."""

    def __rich__(self) -> Any:
        """A table and the notices."""
        from rich.console import Group

        used = self.consumption
        rows: list[list[Any]] = [
            ["parameters", self.parameters],
            ["steps", self.steps],
            ["tokens, epochs", f"{self.tokens:,}, {self.epochs:.2f}"],
            ["training loss (nats a token)", self.train_loss],
        ]
        if self.evaluation:
            rows += [
                ["held-out loss (nats a token)", self.evaluation["loss"]],
                ["held-out perplexity", self.evaluation["perplexity"]],
                ["held-out bits per byte", self.evaluation["bits_per_byte"]],
            ]
        rows += [
            ["tokens a second", round(self.tokens_per_second)],
            ["share of the matrix rate (MFU)", f"{100 * self.mfu:.1f} %"],
            ["seconds", round(self.seconds, 1)],
            ["energy", f"{used['kwh']:.3g} kWh, {used['kg']:.3g} kg CO2eq"],
            ["  found by", used["method"]],
            *([["steps skipped, loss not finite", self.skipped]] if self.skipped else []),
            ["model", self.model],
        ]
        return Group(table(["teenytinyllama pretrain", ""], rows), *(f"note: {n}" for n in self.notices))


@verb
def pretrain(
    data: Path,
    *,
    out: Path,
    preset: Preset = "nano",
    hidden: int | None = None,
    mlp: int | None = None,
    layers: int | None = None,
    heads: int | None = None,
    kv_heads: int | None = None,
    context: int | None = None,
    vocab_size: int | None = None,
    tied: bool | None = None,
    rope_theta: float | None = None,
    norm_eps: float | None = None,
    init: str | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    tokens: int | None = None,
    tokens_per_step: int | None = None,
    micro_batch: int | None = None,
    learning_rate: float | None = None,
    warmup: int | None = None,
    weight_decay: float = 0.01,
    clip: float | None = None,
    seed: int = 42,
    dtype: Dtype | None = None,
    compile: bool | None = None,
    document_mask: bool = False,
    on_nan: OnNan = "stop",
    eval_every: int | None = None,
    eval_tokens: int = 65_536,
    checkpoint_every: int | None = None,
    keep: int | None = None,
    sample_tokens: int = 32,
    device: str | None = None,
    energy: Literal["auto", "codecarbon", "estimate"] = "auto",
    country: str | None = None,
    kg_per_kwh: float = 0.475,
    watts_per_core: float = 10.0,
) -> PretrainResult:
    """Pretrain a Llama model on a prepared corpus; the same command after a kill goes on where it was.

    Several processes: torchrun --nproc-per-node N -m etude.cli teenytinyllama pretrain ...

    Args:
        data: Folder that `prepare` wrote.
        out: The run's folder: logs, checkpoints, and the model in OUT/model.
        preset: Shape and recipe: nano, micro, mini, or the paper's 160m, 460m.
        hidden: Width of the model, instead of the preset's.
        mlp: Width of the feed-forward layers.
        layers: Blocks.
        heads: Attention heads.
        kv_heads: Heads of keys and values.
        context: Tokens of a sequence.
        vocab_size: Tokens of the vocabulary; the tokenizer's when left out.
        tied: Whether the output projection is the embedding table.
        rope_theta: Base of the rotary frequencies.
        norm_eps: Added to the mean square in RMSNorm.
        init: Start from this model: a run's folder, one of its checkpoints, or a Llama directory.
        steps: Optimizer steps. Without any length, 160m and 460m take the paper's, the others one epoch.
        epochs: Passes over the corpus, instead of steps.
        tokens: Tokens to see, instead of steps.
        tokens_per_step: Tokens of an optimizer step, over all processes.
        micro_batch: Sequences held at a time; the rest of a step is accumulated.
        learning_rate: Peak.
        warmup: Steps of rising rate.
        weight_decay: Of matrices; vectors do not decay.
        clip: Largest gradient norm; nothing is clipped when left out (as in the paper's code).
        seed: Of fresh weights and the order of the data.
        dtype: float32 or bfloat16 products; bfloat16 on a GPU that has it, float32 elsewhere.
        compile: Fuse the network by torch.compile; on a GPU with Triton, for 20 M parameters and more.
        document_mask: Let a token only look within its own document.
        on_nan: stop, or skip the step, when a loss is not finite.
        eval_every: Steps between evaluations on held-out text; 0 for none.
        eval_tokens: Most tokens of an evaluation.
        checkpoint_every: Steps between checkpoints.
        keep: Checkpoints kept; 0 for all.
        sample_tokens: Tokens of the samples written at each evaluation; 0 for none.
        device: cpu, cuda, cuda:1 ...; the GPU if there is one.
        energy: codecarbon (needs the package), estimate, or auto.
        country: Three letters for CodeCarbon's factor, e.g. BRA.
        kg_per_kwh: kg CO2eq a kWh otherwise.
        watts_per_core: Power of a busy core in estimates.

    Raises:
        EtudeError: For anything wrong with data, shape or settings.
    """
    corpus = TokenShards.open(data)
    wishes = {
        "hidden": hidden,
        "mlp": mlp,
        "layers": layers,
        "heads": heads,
        "kv_heads": kv_heads,
        "context": context,
        "tied": tied,
        "rope_theta": rope_theta,
        "norm_eps": norm_eps,
    }
    config, weights = _model(preset, wishes, vocab_size or corpus.manifest.vocab_size, init)
    recipe = RECIPES[preset]
    if steps is None and epochs is None and tokens is None:
        steps, epochs = recipe.steps, None if recipe.steps else 1.0
    per_step = tokens_per_step or recipe.tokens_per_step
    is_papers = steps is not None and steps == recipe.steps
    settings = TrainSettings(
        steps=steps,
        epochs=epochs,
        tokens=tokens,
        tokens_per_step=per_step,
        micro_batch=micro_batch or _papers_micro_batch(preset, per_step, config),
        learning_rate=recipe.learning_rate if learning_rate is None else learning_rate,
        warmup=recipe.warmup if warmup is None and is_papers else warmup,
        weight_decay=weight_decay,
        clip=clip,
        seed=seed,
        document_mask=document_mask,
        on_nan=on_nan,
        eval_every=recipe.eval_every if eval_every is None and is_papers else eval_every,
        eval_tokens=eval_tokens,
        checkpoint_every=recipe.checkpoint_every
        if checkpoint_every is None and is_papers
        else checkpoint_every,
        keep=recipe.keep if keep is None else keep,
        sample_tokens=sample_tokens,
    )
    with join_team(device) as team:
        settings = replace(settings, dtype=resolve_dtype(dtype, team.device))
        if compile is None:
            settings = with_compiler(settings, config, team.device)
        else:
            settings = replace(settings, compile=compile)
        how = EnergySettings(energy, country, kg_per_kwh, watts_per_core)
        result = train(config, corpus, settings, out, init=weights, energy=how, device=str(team.device))
    return PretrainResult(**{name: getattr(result, name) for name in TrainedModel.__dataclass_fields__})


def initial_weights(source: str) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Shape and weights of a run, one of its checkpoints, or a Llama directory.

    Args:
        source: A run's folder (its model, or while it is unfinished its last checkpoint),
            `RUN/checkpoints/step_N`, or what names a model elsewhere: a directory or a hub id.
    """
    path = Path(source)
    if (path / MODEL / "config.json").is_file():
        return read_llama_folder(path / MODEL)
    unfinished = checkpoints(path / CHECKPOINTS)
    if unfinished:
        path = unfinished[-1]
    if (path / "weights.safetensors").is_file():
        stored = read_json(path.parent.parent / "run.json")["config"]["model"]
        network = Decoder(ModelConfig(**stored))
        network.load_state_dict(load_weights(path))
        return network.config, llama_state(network)
    from etude.models import model_directory

    return read_llama_folder(Path(model_directory(source)))


def _model(
    preset: str, wishes: dict[str, Any], vocab_size: int, init: str | None
) -> tuple[ModelConfig, dict[str, Tensor] | None]:
    given = {name: value for name, value in wishes.items() if value is not None}
    if init is None:
        return replace(preset_named(preset), vocab_size=vocab_size, **given), None
    config, weights = initial_weights(init)
    fixed = {
        name: value for name, value in given.items() if name not in ("context", "rope_theta", "norm_eps")
    }
    if fixed:
        raise EtudeError(
            f"--init brings its own shape, and {', '.join(f'--{n}' for n in fixed)} would change it",
            "Leave that out, or leave --init out.",
        )
    return replace(config, **given), weights


def _papers_micro_batch(preset: str, tokens_per_step: int, config: ModelConfig) -> int | None:
    """The paper splits a step of its larger model into two batches."""
    recipe = RECIPES[preset]
    sequences = tokens_per_step // config.context
    if recipe.accumulate == 1 or sequences % recipe.accumulate:
        return None
    return max(1, sequences // recipe.accumulate)
