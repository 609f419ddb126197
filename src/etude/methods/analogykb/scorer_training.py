"""`train`: mined questions in, a scorer's folder out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.analogykb.analogy_questions import is_generation, read_items, read_questions
from etude.methods.analogykb.pair_scorer import default_recipe
from etude.methods.analogykb.scorers import ScorerKind, new_scorer, save_scorer
from etude.models import model_directory, model_revision
from etude.runs import Run, atomic_path, file_hash

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class TrainResult:
    """A trained scorer.

    Args:
        out: The run's folder; the scorer lies in its `scorer`.
        scorer: Its kind.
        encoder: What it is built on.
        task: recognition or generation.
        questions: Training questions, the held-out ones included.
        steps: Optimizer steps.
        train_loss: Of the last steps.
        validation_loss: Of the kept weights.
    """

    out: str
    scorer: str
    encoder: str
    task: str
    questions: int
    steps: int
    train_loss: float
    validation_loss: float | None

    def __rich__(self) -> RenderableType:
        """The facts."""
        from rich.console import Group

        from etude.render import TableBlock, Text, show

        rows = [
            ("scorer", f"{self.scorer} on {self.encoder}"),
            ("task", self.task),
            ("questions", self.questions),
            ("steps", self.steps),
            ("training loss", self.train_loss),
            ("validation loss", self.validation_loss),
        ]  # fmt: skip
        return Group(
            show(TableBlock(("", "value"), rows, "analogykb train")),
            show(Text(f"Next: etude analogykb evaluate {self.out} test.jsonl")),
        )


@verb
def train(
    questions: Path,
    *,
    out: Path,
    scorer: ScorerKind = "features",
    encoder: str = "minilm",
    epochs: float | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
) -> TrainResult:
    """Train a scorer on mined questions; the same command after a kill goes on where it was.

    A tenth of the questions is held out; the weights with its lowest loss are kept.

    Args:
        questions: What `etude analogykb questions` wrote; generation items train seq2seq only.
        out: Run folder; the scorer lies in OUT/scorer.
        scorer: features: 14 similarities of frozen word vectors and a small network. encoder: the encoder is
            fine-tuned on one sequence for each choice. seq2seq: T5 or a causal model on lettered choices.
            contrastive and residual are kept as negatives: they lose on public tests.
        encoder: An embedded name, a directory, or a hub id.
        epochs: Passes over the questions (5).
        batch_size: Questions a step (64).
        learning_rate: Peak rate (features 1e-2, encoder 1e-5, seq2seq 1e-4).
        seed: Of weights, order and the held-out tenth.

    Raises:
        EtudeError: Bad questions, or a model of another kind.
    """
    generation = is_generation(questions)
    if generation and scorer != "seq2seq":
        raise EtudeError(
            f"{questions} holds generation items, which {scorer} cannot learn",
            "Give --scorer seq2seq --encoder DIR.",
        )
    given: Any = read_items(questions) if generation else read_questions(questions)
    recipe = default_recipe(scorer, seed)
    asked = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    recipe = replace(recipe, **{name: value for name, value in asked.items() if value is not None})  # type: ignore[arg-type]
    config = {
        "questions": file_hash(questions), "scorer": scorer,
        "encoder": model_revision(model_directory(encoder)),
        "recipe": asdict(recipe),
    }  # fmt: skip
    with Run(out, config, command="analogykb train") as run:
        if run.result is None:
            model = new_scorer(scorer, encoder)
            facts = model.fit(given, recipe, out / "checkpoints")
            with atomic_path(out / "scorer") as temporary:
                save_scorer(model, scorer, encoder, temporary)
            task = "generation" if generation else "recognition"
            run.complete(asdict(TrainResult(str(out), scorer, encoder, task, len(given), **facts)))
        result: Any = run.result
        return TrainResult(**result)
