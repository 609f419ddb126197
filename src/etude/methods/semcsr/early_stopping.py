"""What a training watches: correlation on development pairs, and whether the encoder has collapsed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from transformers import TrainerCallback

from etude.errors import EtudeError
from etude.methods.semcsr.sts import STSPair, evaluate_sts, sts_texts, unit_vectors
from etude.render import console

COLLAPSED = 0.99


class STSDevelopment(SentenceEvaluator):  # type: ignore[misc]
    """Spearman on development pairs; a collapsed encoder ends the training.

    Args:
        pairs: The pairs.
    """

    def __init__(self, pairs: Sequence[STSPair]) -> None:
        super().__init__()
        self.pairs = list(pairs)
        self.primary_metric = "spearman"

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: float = -1, steps: int = -1
    ) -> dict[str, float]:
        """The correlation of the model as it is now."""
        texts = sts_texts(self.pairs)
        vectors = model.encode(texts, batch_size=256, show_progress_bar=False)
        refuse_collapsed(vectors, steps)
        found = evaluate_sts(_Encoded(vectors), self.pairs, resamples=0)
        return {"spearman": found.spearman, "uniformity": found.uniformity}


class _Encoded:
    """The vectors that an evaluation has already."""

    def __init__(self, vectors: Any) -> None:
        self.vectors = vectors

    def encode(self, sentences: Any, *, batch_size: int = 64) -> Any:
        return self.vectors


def refuse_collapsed(vectors: Any, step: int) -> None:
    """End a training whose encoder gives every sentence the same vector.

    Raises:
        EtudeError: All cosines between distinct sentences are above 0.99.
    """
    unit = unit_vectors(vectors)
    cosines = (unit @ unit.T)[np.triu_indices(len(unit), 1)]
    if len(cosines) and float(cosines.min()) > COLLAPSED:
        raise EtudeError(
            f"step {step}: the encoder has collapsed: all cosines are above {COLLAPSED} "
            f"(least {cosines.min():.4f}, uniformity near 0)",
            "Lower --learning-rate, raise --batch-size, and look at the triples with curate's report.",
        )


class ReportProgress(TrainerCallback):
    """One line on stderr for each evaluation."""

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Print it where a person is watching."""
        if metrics and "eval_spearman" in metrics and state.is_world_process_zero and console().is_terminal:
            console().print(
                f"step {state.global_step} of {state.max_steps}: dev Spearman "
                f"{100 * metrics['eval_spearman']:.2f}, uniformity {metrics['eval_uniformity']:.2f}"
            )
