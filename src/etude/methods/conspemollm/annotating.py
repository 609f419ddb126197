"""The verb `affect`: affect columns for texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.data import write_records
from etude.data.batches import BatchEngine
from etude.methods import verb
from etude.methods.conspemollm.annotator import AffectAnnotator, AffectSettings, Provider
from etude.methods.conspemollm.sharding import Work, in_shards
from etude.methods.conspemollm.texts_in import TableFormat, read_texts, warnings_of
from etude.methods.conspemollm.vad_head import HeadKind
from etude.methods.conspemollm.wordings import wording_hash
from etude.render import table
from etude.runs import Run, content_hash

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class AffectWork:
    """Makes the annotator in each worker.

    Args:
        settings: Its settings.
        store: Keeps the answers of a chat model that has no store of its own.
    """

    settings: AffectSettings
    store: str

    def __call__(self) -> Work:
        """Affect values of (id, text) pairs; an empty text has none."""
        annotator = AffectAnnotator(self.settings, Path(self.store))

        def values(texts: list[tuple[str, str]]) -> list[dict[str, float | None]]:
            found = iter(annotator.table([text for _, text in texts if text]))
            return [next(found) if text else dict.fromkeys(annotator.columns) for _, text in texts]

        return values


@dataclass(frozen=True)
class AffectResult:
    """Affect of texts.

    Args:
        file: The texts with affect columns.
        texts: How many.
        means: Mean of each column.
        by_label: Label to column to mean, where the texts have labels.
        quality: Pearson's r of the VAD head on held-out EmoBank sentences, if it was used.
        notices: What a reader should know.
    """

    file: str
    texts: int
    means: dict[str, float | None]
    by_label: dict[str, dict[str, float | None]]
    quality: dict[str, float]
    notices: list[str]

    def __rich__(self) -> RenderableType:
        """Means, overall and by label."""
        from rich.console import Group

        names = sorted(self.by_label)
        rows = [(c, mean, *(self.by_label[n][c] for n in names)) for c, mean in self.means.items()]
        parts: list[RenderableType] = [
            table(("affect", "all", *names), rows, title=f"Mean affect of {self.texts} texts")
        ]
        if self.quality:
            said = ", ".join(f"{name} {value:.2f}" for name, value in self.quality.items())
            parts.append(f"Pearson's r of the VAD head on held-out EmoBank sentences: {said}")
        return Group(*parts, *(f"note: {notice}" for notice in self.notices), f"written: {self.file}")


@verb
def affect(
    texts: Path,
    *,
    providers: tuple[Provider, ...] = ("lexicon",),
    emobank: Path | None = None,
    encoder: str = "minilm",
    head: HeadKind = "ridge",
    model: str | None = None,
    base_url: str | None = None,
    accept_nrc_licence: bool = False,
    limit: int | None = None,
    format: TableFormat = "csv",
    engine: BatchEngine = "local",
    workers: int = 2,
    out: Path,
) -> AffectResult:
    """Add affect columns to texts; the same command after a kill goes on where it was.

    Args:
        texts: CSV, JSONL or Parquet with id, text and perhaps label.
        providers: lexicon (VADER), vad (valence, arousal, dominance by a head trained on EmoBank), llm (any
            chat model: four intensities, valence, eleven feelings), nrc (the NRC lexicon, research only).
        emobank: EmoBank's CSV, for vad.
        encoder: What the VAD head reads with.
        head: ridge or mlp.
        model: The chat model of llm: smollm2, a folder, org/name, openai/MODEL, inspect/PROVIDER/MODEL.
        base_url: Address of an OpenAI-compatible server.
        accept_nrc_licence: You have read the terms of the NRC lexicon and they fit your use.
        limit: Only the first texts.
        format: Of the table that is written.
        engine: local, or ray: shards of texts through Ray Data, on one or many machines.
        workers: With ray.
        out: Run folder; the table lies in OUT/affect.FORMAT.

    Raises:
        EtudeError: Bad rows, an unknown provider or one that lacks what it needs.
    """
    rows, counts = read_texts(texts, limit)
    settings = AffectSettings(
        tuple(providers),
        str(emobank) if emobank else None,
        encoder,
        head,
        model,
        base_url,
        accept_nrc_licence,
    )
    annotator = AffectAnnotator(settings, out / "responses.sqlite")
    config = {
        "affect": annotator.identity,
        "texts": content_hash([[row.id, row.text] for row in rows]),
        "wording": wording_hash(),
    }
    build = AffectWork(settings, str(out / "responses.sqlite"))
    with Run(out, config, command="conspemollm affect") as run:
        pairs = [(row.id, row.text) for row in rows]
        values = in_shards(run, pairs, build, engine=engine, workers=workers)
        file = out / f"affect.{format}"
        labels = [{"label": row.label} if row.label is not None else {} for row in rows]
        write_records(
            file,
            (
                {"id": r.id, "text": r.text, **label, **value}
                for r, label, value in zip(rows, labels, values, strict=True)
            ),
        )
        notices = [*annotator.notices, *warnings_of(counts, len(rows))]
        unread = sum(v is None for r, row in zip(rows, values, strict=True) if r.text for v in row.values())
        notices += (
            [f"{unread} values were not readable from the model's answers and stay empty"] if unread else []
        )
        result = AffectResult(
            file=str(file),
            texts=len(rows),
            means=_means(values, annotator.columns),
            by_label={
                name: _means(
                    [v for r, v in zip(rows, values, strict=True) if r.label == name], annotator.columns
                )
                for name in sorted({row.label for row in rows if row.label is not None})
            },
            quality=dict(annotator.head.quality) if annotator.head else {},
            notices=notices,
        )
        if run.result is None:
            run.complete({"texts": len(rows), "means": result.means, "by_label": result.by_label})
    return result


def _means(values: list[dict[str, Any]], columns: tuple[str, ...]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for column in columns:
        there = [value[column] for value in values if value[column] is not None]
        found[column] = sum(there) / len(there) if there else None
    return found
