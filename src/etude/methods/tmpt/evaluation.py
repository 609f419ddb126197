"""`evaluate`: a trained model on labeled posts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.tmpt.metrics import Scores, score
from etude.methods.tmpt.model import TMPTModel
from etude.methods.tmpt.posts import label_numbers
from etude.methods.tmpt.prediction import predict_posts
from etude.methods.tmpt.reading import read_data
from etude.methods.tmpt.reporting import scores_blocks
from etude.methods.tmpt.splits import SplitChoice, choose_split
from etude.methods.tmpt.training import find_model
from etude.runs import write_json

MODALITIES = {"both": "label", "text alone": "text_only_label", "picture alone": "image_only_label"}


@dataclass(frozen=True)
class EvaluateResult:
    """Scores of a model.

    Attributes:
        scores: Of its answers, of its text half and of its picture half.
        labels: By number.
        modalities_differ: Share of posts whose halves point to different stances.
        accuracy_where_they_differ: Of the whole model there; None where there are none.
        out: Where metrics.json was written.
    """

    scores: dict[str, Scores]
    labels: tuple[str, ...]
    modalities_differ: float
    accuracy_where_they_differ: float | None
    out: str | None = None

    def __rich__(self) -> Any:
        """Tables."""
        from rich.console import Group

        from etude.render import show

        return Group(
            *(show(block) for block in scores_blocks(self.scores, self.labels)),
            f"Text and picture point to different stances in {100 * self.modalities_differ:.1f} % of "
            "the posts.",
        )


@verb
def evaluate(
    model: Path,
    data: Path,
    *,
    images: Path | None = None,
    targets: Path | None = None,
    split: SplitChoice = "all",
    group_by: str | None = None,
    allow_missing: bool = False,
    out: Path | None = None,
) -> EvaluateResult:
    """Score a trained model on labeled posts, whole and by modality.

    Args:
        model: A model folder, or the --out folder of `etude tmpt train`.
        data: As for `etude tmpt train`.
        images: Folder of the pictures.
        targets: targets.toml.
        split: Which posts, by the data's own split column.
        group_by: Column whose equal values are resampled together.
        allow_missing: Leave out rows without a picture.
        out: Write metrics.json to this file.

    Returns:
        Macro-F1 with its interval, accuracy, each class, the confusion matrix.

    Raises:
        EtudeError: Bad rows, or labels that the model does not know.
    """
    posts = read_data(data, images=images, targets=targets, group_by=group_by, allow_missing=allow_missing)
    posts = choose_split(posts, split)
    models = find_model(model)
    labels = TMPTModel.load(next(iter(models.values()))).labels
    for path in list(models.values())[1:]:
        if set(TMPTModel.load(path).labels) != set(labels):
            raise EtudeError(
                f"{model}: its models have different labels", "Evaluate them one by one: give a model folder."
            )
    truth = label_numbers(posts.examples, labels)
    frame = predict_posts(model, posts)
    groups = [e.group for e in posts.examples]
    given = {
        what: np.array([labels.index(label) for label in frame[column]], dtype=np.int64)
        for what, column in MODALITIES.items()
    }
    differ = frame["modalities_differ"].to_numpy()
    right = given["both"] == truth
    result = EvaluateResult(
        scores={what: score(truth, predicted, labels, groups) for what, predicted in given.items()},
        labels=labels,
        modalities_differ=float(differ.mean()),
        accuracy_where_they_differ=float(right[differ].mean()) if differ.any() else None,
        out=None if out is None else str(out),
    )
    if out is not None:
        write_json(out, asdict(result))
    return result
