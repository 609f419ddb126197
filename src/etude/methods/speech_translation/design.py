"""A translator's design: five blocks and the stages that train it, as one config (TOML, YAML or a preset)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from etude.errors import EtudeError

State: TypeAlias = Literal["frozen", "lora", "full"]
Task: TypeAlias = Literal["asr", "st", "chain", "qa", "continuation"]
Position: TypeAlias = Literal["before", "after", "around"]
BLOCKS = ("sfm", "adapter", "llm")
RATES = {"sfm": 1e-5, "adapter": 1e-3, "llm": 1e-4}
"""Learning rates where none is given: one for all of them diverges once the encoder is trained."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lora(_Part):
    """Low-rank updates (Hu et al. 2021): rank, scale and the linear layers they are added to."""

    r: int = Field(default=8, ge=1)
    alpha: float = Field(default=16.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = ("q_proj", "v_proj")


class SpeechBlock(_Part):
    """Block 1: which speech foundation model, on true-length or padded audio, which layer's output."""

    name: str = "whisper-base"
    window: Literal["true", "padded"] = "true"
    layer: int | None = None
    lora: Lora = Lora()


class AdapterBlock(_Part):
    """Block 2 or 3: a registered kind and its options."""

    kind: str
    options: dict[str, Any] = {}

    @classmethod
    def parse(cls, text: str) -> AdapterBlock:
        """From `kind` or `kind:option=value,option=value`.

        Raises:
            EtudeError: A piece is not `option=value`.
        """
        kind, _, rest = text.partition(":")
        options: dict[str, Any] = {}
        for piece in filter(None, rest.split(",")):
            name, equals, value = piece.partition("=")
            if not equals:
                raise EtudeError(f"{text!r}: {piece!r} is not option=value", "Write conv:layers=3.")
            options[name.strip()] = _value(value.strip())
        return cls(kind=kind.strip(), options=options)


class MixerBlock(_Part):
    """Block 4: how prompt and speech are put together.

    Attributes:
        kind: `fixed`, one prompt per task; `sampled`, one of several in training; `tags`, task and language
            tokens; `none`, speech alone.
        position: The prompt stands before the speech, after it, or around it.
        templates: Task to prompts of the user's own, each with one `{speech}`.
        chat: Use the language model's chat template if it has one.
    """

    kind: Literal["fixed", "sampled", "tags", "none"] = "fixed"
    position: Position = "after"
    templates: dict[str, tuple[str, ...]] = {}
    chat: bool = True

    @field_validator("templates", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {key: (text,) if isinstance(text, str) else text for key, text in value.items()}


class LanguageBlock(_Part):
    """Block 5: which language model."""

    name: str = "smollm2"
    lora: Lora = Lora()


class Stage(_Part):
    """One stage of training.

    Attributes:
        tasks: What is learned; every utterance gives one example per task.
        steps: Optimizer steps.
        trainable: Block (`sfm`, `adapter`, `llm`) to frozen, lora or full.
        lr: Peak learning rate per block.
        data: Another data file than the one given to `train`.
        supervise_only: Train only the length adapter's own loss (its CTC head), not the language model's.
        until_wer: With ctc and `supervise_only`: end the stage as soon as the head's word error rate on the
            development data (without any: on 64 training utterances) is at most this share; `steps` is then
            the most.
    """

    tasks: tuple[Task, ...] = ("st",)
    steps: int = Field(default=1000, ge=1)
    trainable: dict[Literal["sfm", "adapter", "llm"], State] = {}
    lr: dict[Literal["sfm", "adapter", "llm"], float] = {}
    data: str | None = None
    supervise_only: bool = False
    until_wer: float | None = Field(default=None, ge=0)

    def state(self, block: str) -> State:
        """What happens to a block; the adapter is trained and the rest frozen unless said otherwise."""
        states: dict[str, State] = {"sfm": "frozen", "adapter": "full", "llm": "frozen"}
        states.update(dict(self.trainable.items()))
        return states[block]

    def rate(self, block: str) -> float:
        """A block's peak learning rate."""
        given: dict[str, float] = dict(self.lr.items())
        return given.get(block, RATES[block])

    @classmethod
    def parse(cls, text: str) -> Stage:
        """From `asr+st@300`: tasks and steps.

        Raises:
            EtudeError: It is not.
        """
        tasks, _, steps = text.partition("@")
        try:
            return cls.model_validate({"tasks": tasks.split("+"), "steps": int(steps)})
        except (ValueError, ValidationError) as error:
            raise EtudeError(
                f"--stages {text!r} is no stage",
                "Write asr@300,st@600 or asr+st@900; tasks: asr, st, chain, qa, continuation.",
            ) from error


class Design(_Part):
    """Five blocks and their training."""

    sfm: SpeechBlock = SpeechBlock()
    length_adapter: AdapterBlock = AdapterBlock(kind="none")
    modality_adapter: AdapterBlock = AdapterBlock(kind="linear")
    mixer: MixerBlock = MixerBlock()
    llm: LanguageBlock = LanguageBlock()
    stages: tuple[Stage, ...] = (Stage(),)

    def uses(self, block: str, state: State) -> bool:
        """Whether any stage has a block in this state."""
        return block in BLOCKS and any(stage.state(block) == state for stage in self.stages)


def read_design(path: Path) -> Design:
    """A design from a TOML or YAML file; its keys are the fields of `Design`.

    Raises:
        EtudeError: The file is missing or malformed, or a key is unknown; the key is named.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise EtudeError(f"{path}: cannot be read ({error})", "Check the path; text is UTF-8.") from error
    import yaml  # type: ignore[import-untyped]

    try:
        value = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (tomllib.TOMLDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        raise EtudeError(f"{path}: not valid ({error})"[:400], "Mend the file.") from error
    return design_from(value, str(path))


def design_from(value: Any, where: str) -> Design:
    """A design from a JSON value.

    Raises:
        EtudeError: A field is unknown or wrong; it is named.
    """
    try:
        return Design.model_validate(value)
    except ValidationError as error:
        bad = [f"{where}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:20]]
        raise EtudeError("\n".join(bad), f"The keys are {', '.join(Design.model_fields)}.") from error


def _value(text: str) -> Any:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
