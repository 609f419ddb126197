"""`PairScorer`: is C : D like A : B? Trained on mined questions, or not trained at all."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etude.errors import EtudeError
from etude.methods.analogykb.analogy_questions import AnalogyQuestion, Pair, read_questions
from etude.methods.analogykb.scorers import (
    KINDS,
    RECIPES,
    SETTINGS,
    CosineScorer,
    Recipe,
    Scorer,
    ScorerKind,
    load_scorer,
    new_scorer,
    save_scorer,
)

if TYPE_CHECKING:
    from etude.methods.analogykb.grouped_accuracy import Accuracy


class PairScorer:
    """A scorer of pairs.

    Args:
        encoder: Whose word vectors (features, contrastive, residual), or the model that is trained (encoder,
            seq2seq): an embedded name, a directory, or a hub id.
        kind: features (14 similarities, a small network), encoder (fine-tuned, one sequence for each choice),
            seq2seq (T5 or causal: lettered choices); contrastive and residual are negative presets.
    """

    def __init__(self, encoder: str = "minilm", *, kind: ScorerKind = "features") -> None:
        if kind not in KINDS:
            raise EtudeError(f"there is no scorer {kind!r}", f"There are: {', '.join(KINDS)}.")
        self.encoder, self.kind = encoder, kind
        self._scorer: Scorer | None = None

    @classmethod
    def load(cls, folder: Path | str) -> PairScorer:
        """A trained scorer from the folder that `save` or `etude analogykb train` wrote.

        Raises:
            EtudeError: There is none.
        """
        place = next((p for p in (Path(folder), Path(folder) / "scorer") if (p / SETTINGS).is_file()), None)
        if place is None:
            raise EtudeError(
                f"{folder}: no trained scorer, it has no {SETTINGS}", "Make one: etude analogykb train."
            )
        scorer, kind, encoder = load_scorer(place)
        loaded = cls(encoder, kind=kind)
        loaded._scorer = scorer
        return loaded

    def fit(
        self, questions: Sequence[AnalogyQuestion] | Path | str, *, recipe: Recipe | None = None,
        out: Path | None = None,
    ) -> PairScorer:  # fmt: skip
        """Train on questions (or a file of them); returns itself.

        Args:
            questions: Recognition questions.
            recipe: How; each kind has its own by default.
            out: Folder for checkpoints; a temporary one by default.
        """
        given = read_questions(questions) if isinstance(questions, str | Path) else list(questions)
        if not given:
            raise EtudeError("there is no question to train on", "Give at least one.")
        self._scorer = new_scorer(self.kind, self.encoder)
        with tempfile.TemporaryDirectory(prefix="etude-fit-") as scratch:
            self._scorer.fit(given, recipe or default_recipe(self.kind), out or Path(scratch))
        return self

    def score(self, stem: Pair, choices: Sequence[Pair]) -> list[float]:
        """Scores of the choices; the larger, the more like the stem. Untrained: cosines of differences."""
        return [float(x) for x in self.scorer.choice_scores([stem], [list(choices)])[0]]

    def evaluate(self, source: Path | str) -> Accuracy:
        """Accuracy on a file of questions."""
        from etude.methods.analogykb.grouped_accuracy import accuracy_of, answers

        questions = read_questions(source)
        return accuracy_of(str(source), questions, answers(self.scorer, questions))

    def save(self, folder: Path | str) -> Path:
        """Write the trained scorer as a folder."""
        if self._scorer is None:
            raise EtudeError("this scorer was not trained", "Call fit first.")
        save_scorer(self._scorer, self.kind, self.encoder, Path(folder))
        return Path(folder)

    @property
    def scorer(self) -> Scorer | CosineScorer:
        """What scores: the trained one, else cosines."""
        return self._scorer or CosineScorer(self.encoder)


def default_recipe(kind: ScorerKind, seed: int = 0) -> Recipe:
    """The recipe of a kind."""
    epochs, batch_size, rate = RECIPES[kind]
    return Recipe(epochs, batch_size, rate, seed=seed)
