"""The verb `train`: a detector from ConDID examples, by any family and affect route."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.conspemollm.affect_tasks import read_affect_instructions
from etude.methods.conspemollm.annotator import AffectSettings, Provider
from etude.methods.conspemollm.causal_detector import StageReport
from etude.methods.conspemollm.detector import ConspEmo, FitReport
from etude.methods.conspemollm.emobank import read_emobank
from etude.methods.conspemollm.examples import read_examples
from etude.methods.conspemollm.metrics import Scores
from etude.methods.conspemollm.model_card import MISUSE, route_in_words, write_card
from etude.methods.conspemollm.settings import Dtype, Route, Settings, StageSettings, Tuning, family_of
from etude.methods.conspemollm.tasks import TaskName
from etude.methods.conspemollm.vectors import LongText
from etude.render import console, table
from etude.runs import Run, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class TrainResult:
    """A trained detector.

    Args:
        out: Its folder.
        route: The affect route, in words.
        report: How tuning went.
        scores: On held-out examples (split test), by task.
        card: Its model card.
    """

    out: str
    route: str
    report: FitReport
    scores: dict[str, Scores]
    card: str

    def __rich__(self) -> RenderableType:
        """Stages, scores, and where the card is."""
        from rich.console import Group

        stages = [("stage A (affect)", self.report.stage_a), ("stage B (detection)", self.report.stage_b)]
        rows = [
            (name, s.rows, s.cut, s.steps, s.first_loss, s.last_loss, s.best_eval_loss)
            for name, s in stages
            if s
        ]
        parts: list[RenderableType] = [f"route: {self.route}"]
        if rows:
            columns = ("stage", "rows", "cut", "steps", "first loss", "last loss", "validation loss")
            parts.append(table(columns, rows, title="Tuning, loss in nats"))
        parts.append(scores_table(self.scores, "On the test split"))
        first = MISUSE.partition(". ")[0].replace("**", "")
        return Group(*parts, f"{first}. Model card: {self.card}")


def scores_table(scores: dict[str, Scores], title: str) -> RenderableType:
    """Scores by task, for a terminal."""
    rows = [
        (
            name,
            s.count,
            str(s.accuracy),
            str(s.macro_f1),
            s.weighted_f1.value,
            s.auc,
            s.calibration_error,
            s.invalid,
        )
        for name, s in scores.items()
    ]
    columns = ("task", "texts", "accuracy", "macro-F1", "weighted F1", "AUC", "calibration error", "invalid")
    return table(columns, rows, title=title)


@verb
def train(
    data: Path,
    *,
    tasks: tuple[TaskName, ...] = ("judgment",),
    model: str = "minilm",
    route: Route = "none",
    shuffle_affect: bool = False,
    tuning: Tuning | None = None,
    emobank: Path | None = None,
    affect_examples: Path | None = None,
    providers: tuple[Provider, ...] = ("lexicon",),
    affect_model: str | None = None,
    base_url: str | None = None,
    accept_nrc_licence: bool = False,
    affect_rows: int = 3000,
    affect_words: int | None = None,
    affect_steps: int | None = None,
    affect_epochs: float = 1,
    steps: int | None = None,
    epochs: float = 3,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    accumulate: int = 1,
    pack_tokens: int = 512,
    max_length: int | None = None,
    long: LongText = "cut",
    dtype: Dtype = "float32",
    checkpointing: bool = False,
    seed: int = 0,
    out: Path,
) -> TrainResult:
    """Train a detector; the same command after a kill goes on where it was and ends with the same weights.

    Args:
        data: A folder written by build, or a file of examples (ours, the release's, or its trainer's layout).
        tasks: One or more of intention, theory-type, judgment, relatedness, topic.
        model: An encoder (minilm, a folder, org/name) or a causal language model (smollm2, a folder,
            org/name).
        route: none; affect-base (R1, the paper's: tune on affect first); affect-features (R2: affect values
            beside the text vector, encoders); affect-prompt (R3: affect values in the prompt, language
            models).
        shuffle_affect: The route's control: the affect of other texts.
        tuning: head (encoders: a logistic head on the frozen encoder), last2, lora or full; by default head
            for encoders, lora for language models.
        emobank: EmoBank's CSV, for affect-base and the vad provider.
        affect_examples: Affect instructions of your own (instruction, input, output) for affect-base instead.
        providers: Where affect values come from on R2 and R3: lexicon, vad, llm, nrc.
        affect_model: The chat model of the llm provider.
        base_url: Of a served one.
        accept_nrc_licence: You have read the terms of the NRC lexicon and they fit your use.
        affect_rows: Stage A takes at most this many sentences.
        affect_words: Of at most this many words.
        affect_steps: Optimizer steps of stage A, instead of epochs.
        affect_epochs: Passes of stage A.
        steps: Optimizer steps of stage B, instead of epochs.
        epochs: Passes of stage B (paper: 3).
        learning_rate: Peak rate; by default 5e-4 for lora, 5e-5 for last2 and full (paper: 1e-6, full).
        batch_size: Packs (language model) or texts (encoder) of a step; by default 1 and 16.
        accumulate: Batches of a step.
        pack_tokens: Tokens of a pack.
        max_length: Tokens of prompt and answer; longer texts are cut, never the instruction or the answer.
        long: Longer texts: cut, or read in chunks pooled by mean or max when predicting.
        dtype: Number format of a language model.
        checkpointing: Recompute activations to save memory.
        seed: Of everything random.
        out: Run folder; it becomes the detector.

    Raises:
        EtudeError: Bad rows, a route the family does not have, or nothing to train on.
    """
    family = family_of(model)
    chosen: Tuning = tuning or ("head" if family == "encoder" else "lora")
    rate = learning_rate or (5e-4 if chosen == "lora" else 5e-5)
    size = batch_size or (16 if family == "encoder" else 1)

    def stage(steps: int | None, epochs: float) -> StageSettings:
        return StageSettings(
            steps=steps,
            epochs=epochs,
            learning_rate=rate,
            batch_size=size,
            accumulate=accumulate,
            pack_tokens=pack_tokens,
        )

    settings = Settings(
        model=model, route=route, shuffle_affect=shuffle_affect, tuning=chosen, seed=seed,
        max_length=max_length,
        long=long, dtype=dtype, checkpointing=checkpointing,
        affect=AffectSettings(
            tuple(providers), str(emobank) if emobank else None, model=affect_model, base_url=base_url,
            accept_nrc_licence=accept_nrc_licence,
        ),
        affect_rows=affect_rows, affect_words=affect_words,
        stage_a=stage(affect_steps, affect_epochs), stage_b=stage(steps, epochs),
    )  # fmt: skip
    examples = [one for one in read_examples(data) if one.task in tasks]
    parts = {split: [one for one in examples if one.split == split] for split in ("train", "dev", "test")}
    if not parts["train"]:
        raise EtudeError(
            f"{data}: no training example of {', '.join(tasks)}", "Build with a smaller --test share."
        )
    detector = ConspEmo(tasks=tasks, settings=settings)
    sentences = (
        read_emobank(emobank)["train"]
        if route == "affect-base" and (emobank or not affect_examples)
        else None
    )
    own = read_affect_instructions(affect_examples) if affect_examples and route == "affect-base" else []
    config = detector.config(examples, sentences, own)
    with Run(out, config, command="conspemollm train") as run:
        if run.result is not None:
            return _stored(run.result, out)
        report = detector.fit_in(
            run, parts["train"], sentences, own, parts["dev"] if family == "causal" else ()
        )
        scores = detector.evaluate(parts["test"]) if parts["test"] else {}
        if not parts["test"]:
            console().print("note: no test split; evaluate the detector on other annotated texts")
        card = write_card(out, detector, report)
        made = TrainResult(str(out), route_in_words(settings), report, scores, str(card))
        plain = {name: asdict(one) for name, one in scores.items()}
        write_json(out / "metrics.json", {**detector.identity, "seeds": [seed], "scores": plain})
        run.complete({"route": made.route, "report": asdict(report), "scores": plain})
        return made


def _stored(result: dict, out: Path) -> TrainResult:  # type: ignore[type-arg]
    kept = result["report"]
    stage_a, stage_b = (StageReport(**kept[name]) if kept[name] else None for name in ("stage_a", "stage_b"))
    scores = {name: restored(one) for name, one in result["scores"].items()}
    return TrainResult(
        str(out),
        result["route"],
        FitReport(stage_a, stage_b, kept["examples"]),
        scores,
        str(out / "README.md"),
    )


def restored(stored: dict) -> Scores:  # type: ignore[type-arg]
    """Scores from their JSON."""
    from etude.evidence import Interval

    return Scores(**{**stored, **{k: Interval(**stored[k]) for k in ("accuracy", "macro_f1", "weighted_f1")}})
