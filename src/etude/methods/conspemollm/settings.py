"""How a detector is made: family, affect route, tuning; the release's settings beside small ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

from etude.errors import EtudeError
from etude.methods.conspemollm.annotator import AffectSettings, settings_hash
from etude.methods.conspemollm.vectors import LongText
from etude.models import model_directory
from etude.runs import read_json

Family: TypeAlias = Literal["encoder", "causal"]
Route: TypeAlias = Literal["none", "affect-base", "affect-features", "affect-prompt"]
Tuning: TypeAlias = Literal["head", "last2", "lora", "full"]
Dtype: TypeAlias = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class StageSettings:
    """One stage of tuning.

    Args:
        steps: Optimizer steps; None for `epochs` passes.
        epochs: Passes over the rows.
        learning_rate: Peak rate.
        weight_decay: AdamW's.
        warmup: Share of the steps over which the rate rises.
        batch_size: Packs (causal) or texts (encoder) of a step.
        accumulate: Batches of a step.
        pack_tokens: Tokens of a pack (causal).
    """

    steps: int | None = None
    epochs: float = 3.0
    learning_rate: float = 5e-4
    weight_decay: float = 1e-5
    warmup: float = 0.03
    batch_size: int = 1
    accumulate: int = 1
    pack_tokens: int = 512


@dataclass(frozen=True)
class Settings:
    """A detector's settings.

    Args:
        model: An encoder or a causal language model, by name.
        route: `none`, `affect-base` (R1: stage A on affect tasks, then stage B), `affect-features` (R2:
            affect values beside the text vector) or `affect-prompt` (R3: affect values in the prompt).
        shuffle_affect: The control of the route: affect examples (R1) or values (R2, R3) of other texts.
        tuning: What is trained: `head` alone (encoder), the `last2` layers (encoder), `lora` or `full`.
        seed: Of everything random.
        max_length: Tokens of prompt and answer, or of a text; the model's own limit by default.
        long: What happens to longer texts: `cut`, or chunks pooled by `mean` or `max`.
        dtype: Number format of a causal model.
        checkpointing: Recompute activations to save memory (causal).
        affect: How affect values are found (R2, R3).
        affect_rows: Stage A's examples at most (R1).
        affect_words: Stage A takes sentences of at most this many words.
        stage_a: Tuning on affect tasks.
        stage_b: Tuning on the detection tasks.
    """

    model: str = "minilm"
    route: Route = "none"
    shuffle_affect: bool = False
    tuning: Tuning = "head"
    seed: int = 0
    max_length: int | None = None
    long: LongText = "cut"
    dtype: Dtype = "float32"
    checkpointing: bool = False
    affect: AffectSettings = field(default_factory=AffectSettings)
    affect_rows: int = 3000
    affect_words: int | None = None
    stage_a: StageSettings = field(default_factory=StageSettings)
    stage_b: StageSettings = field(default_factory=StageSettings)

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON, files by their content."""
        return {**asdict(self), "affect": settings_hash(self.affect)}


def family_of(model: str) -> Family:
    """Whether a name means an encoder or a causal language model, by its files.

    Raises:
        EtudeError: There is no such model.
    """
    config = read_json(model_directory(model) / "config.json")
    kinds = config.get("architectures") or []
    return (
        "causal" if any(str(kind).endswith(("ForCausalLM", "LMHeadModel")) for kind in kinds) else "encoder"
    )


def check_family(settings: Settings, family: Family) -> None:
    """Refuse routes and tunings that a family does not have.

    Raises:
        EtudeError: It says which family has them.
    """
    if settings.route == "affect-features" and family == "causal":
        raise EtudeError(
            "route affect-features needs an encoder: it puts affect values beside the text vector",
            "Use --route affect-prompt with a language model, or --model minilm.",
        )
    if settings.route == "affect-prompt" and family == "encoder":
        raise EtudeError(
            "route affect-prompt needs a language model: it writes affect values into the prompt",
            "Use --route affect-features with an encoder, or --model smollm2.",
        )
    if family == "causal" and settings.tuning in ("head", "last2"):
        raise EtudeError(f"tuning {settings.tuning} is for encoders", "Use --tuning lora or full.")
    if settings.shuffle_affect and settings.route == "none":
        raise EtudeError(
            "there is no affect to shuffle on route none", "Name a --route, or drop --shuffle-affect."
        )
