"""`predict`: stances of posts without labels, with what each modality says alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.tmpt.model import TMPTModel
from etude.methods.tmpt.posts import StanceDataset
from etude.methods.tmpt.reading import read_data
from etude.methods.tmpt.training import find_model
from etude.render import table

if TYPE_CHECKING:
    import polars as pl

Combine: TypeAlias = Literal["none", "mean", "max"]
_SHOWN = 10


@dataclass(frozen=True)
class PredictResult:
    """Predictions.

    Attributes:
        rows: One for each post (or picture of a post).
        out: Where they were written.
        modalities_differ: Posts whose text and picture point to different stances.
        notices: What was noticed.
    """

    rows: list[dict[str, Any]]
    out: str | None
    modalities_differ: int
    notices: tuple[str, ...] = ()

    def __rich__(self) -> Any:
        """The first rows and the counts."""
        from rich.console import Group

        columns = list(self.rows[0]) if self.rows else []
        shown = [[row[c] for c in columns] for row in self.rows[:_SHOWN]]
        lines = [f"{len(self.rows):,} predictions" + (f" in {self.out}" if self.out else "")]
        lines.append(
            f"Text and picture point to different stances in {self.modalities_differ}: look at those."
        )
        return Group(table(columns, shown), *lines, *(f"note: {n}" for n in self.notices))


@verb
def predict(
    model: Path,
    data: Path,
    *,
    images: Path | None = None,
    targets: Path | None = None,
    combine: Combine = "none",
    allow_missing: bool = False,
    out: Path | None = None,
) -> PredictResult:
    """Predict the stance of posts, also towards a target that the model never saw (zero-shot).

    Args:
        model: A model folder, or the --out folder of `etude tmpt train`.
        data: A table with id, text, image, target; labels are not needed.
        images: Folder of the pictures; default: the table's folder.
        targets: targets.toml with the prompt phrases of new targets.
        combine: Posts with several rows (a column `post` or `tweet_id`): one answer for each post, from the
            mean or the largest of its rows' probabilities; none: one for each row.
        allow_missing: Leave out rows without a picture.
        out: Write the predictions (.csv, .parquet, .jsonl).

    Returns:
        `id, target, label, p_<class>, text_only_label, image_only_label, modalities_differ`.

    Raises:
        EtudeError: Bad rows, or a run with a model for each target has none for a target of the data.
    """
    import polars as pl

    find_model(model)
    posts = read_data(data, images=images, targets=targets, labeled=False, allow_missing=allow_missing)
    frame = predict_posts(model, posts)
    if combine != "none":
        groups = pl.Series("post", [e.group for e in posts.examples])
        frame = combine_rows(frame.with_columns(groups), combine)
    if out is not None:
        write_frame(frame, out)
    differ = int(frame["modalities_differ"].sum()) if "modalities_differ" in frame.columns else 0
    return PredictResult(frame.to_dicts(), None if out is None else str(out), differ, posts.notices)


def predict_posts(model: Path, posts: StanceDataset) -> pl.DataFrame:
    """Predictions of one model, or of the models of a run by target; in the order of the posts."""
    import polars as pl

    models = find_model(model)
    if len(models) == 1:
        return _with_targets(TMPTModel.load(next(iter(models.values()))), posts).predict(posts.examples)
    lacking = [name for name in posts.targets if name not in models]
    if lacking:
        raise EtudeError(
            f"{model} has a model for each target, and none for {', '.join(map(repr, lacking))}",
            f"It has: {', '.join(map(repr, models))}; for new targets train with --setting zero-shot "
            "or pooled.",
        )
    parts = []
    for name in posts.targets:
        places = [i for i, e in enumerate(posts.examples) if e.target == name]
        own = _with_targets(TMPTModel.load(models[name]), posts).predict([posts.examples[i] for i in places])
        parts.append(own.with_columns(pl.Series("place", places)))
    return pl.concat(parts, how="diagonal").sort("place").drop("place")


def combine_rows(frame: pl.DataFrame, how: Literal["mean", "max"]) -> pl.DataFrame:
    """One row for each post and target: mean or largest probabilities, renormalized.

    Args:
        frame: Predictions with a column `post`.
        how: Which.
    """
    import polars as pl

    names = [c.removeprefix("p_") for c in frame.columns if c.startswith("p_")]
    shares = [getattr(pl.col(f"p_{name}"), how)() for name in names]
    merged = frame.group_by("post", "target", maintain_order=True).agg(*shares, pl.len().alias("rows"))
    total = pl.sum_horizontal(*(f"p_{name}" for name in names))
    merged = merged.with_columns(*(pl.col(f"p_{name}") / total for name in names))
    places = pl.concat_list(*(f"p_{name}" for name in names)).list.arg_max()
    label = places.replace_strict(dict(enumerate(names)), return_dtype=pl.String).alias("label")
    return merged.with_columns(label).select("post", "target", "label", *(f"p_{n}" for n in names), "rows")


def write_frame(frame: pl.DataFrame, out: Path) -> None:
    """Write predictions by the suffix of the file, in one step."""
    from etude.data.records import write_records

    write_records(out, frame.iter_rows(named=True))


def _with_targets(model: TMPTModel, posts: StanceDataset) -> TMPTModel:
    """The model with the phrases of the posts' targets; those it was trained with stay."""
    model.targets = {**posts.targets, **model.targets}
    return model
