"""From files to labels: one labelling with its folder, its labeller in each worker, and its outputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from etude.data.batches import BatchEngine, BatchFunction, Row, map_batches
from etude.errors import EtudeError
from etude.methods.relevance.agreement import Agreement, agreement
from etude.methods.relevance.collection import Keep, Pair, lacking, read_topics
from etude.methods.relevance.label_store import LabelStore
from etude.methods.relevance.labels import Label, Labeller, grades_of
from etude.methods.relevance.llm_labeller import MOST_WORDS, LLMLabeller, Mode
from etude.methods.relevance.score_labellers import (
    BM25Scorer,
    CrossEncoderScorer,
    EncoderScorer,
    ScoreLabeller,
    Scorer,
    SummedScorer,
)
from etude.methods.relevance.trec import Qrels, write_qrels
from etude.methods.relevance.wording import RelevancePrompt
from etude.models import chat_model
from etude.models.embedded import EMBEDDED
from etude.models.engines import DEFAULT_STORE
from etude.render import console
from etude.runs import atomic_path

DATABASE = "labels.sqlite"
_SCORERS = ("bm25", "encoder:", "cross-encoder:")


@dataclass(frozen=True)
class LabellerSpec:
    """A labeller by its options; every worker makes its own from it.

    Args:
        model: A chat model's name; or `bm25`, `minilm`, `encoder:NAME`, `cross-encoder:NAME`, or several of
            these with plus signs.
        prompt: For chat models.
        mode: For chat models.
        thresholds: For scorers.
        base_url: Of a served model.
        max_connections: Calls under way at once.
        most_words: Of a document.
        keep: Which passages of longer ones.
        store: The response store.
        documents: The labelling's database, which BM25 indexes.
    """

    model: str
    prompt: RelevancePrompt = field(default_factory=RelevancePrompt)
    mode: Mode = "generate"
    thresholds: tuple[float, ...] = ()
    base_url: str | None = None
    max_connections: int = 8
    most_words: int = MOST_WORDS
    keep: Keep = "lead"
    store: str | None = DEFAULT_STORE
    documents: str | None = None

    @property
    def scores(self) -> bool:
        """Whether the model is a scorer and not a chat model."""
        return is_scorer(self.model)

    @property
    def key(self) -> str:
        """The prompt's part of a label's key."""
        if self.scores:
            return "thresholds " + ",".join(map(str, self.thresholds))
        return f"{self.prompt.hash} {self.mode} {self.most_words} {self.keep}"

    def labeller(self) -> Labeller:
        """The labeller, with its model.

        Raises:
            EtudeError: There is no such model, or a scorer has no thresholds.
        """
        if self.scores:
            if not self.thresholds:
                raise EtudeError(
                    f"{self.model} gives scores, and nothing says where grades begin",
                    "Fit thresholds on gold first (etude relevance calibrate), then give --thresholds FILE.",
                )
            store = None if self.documents is None else LabelStore(Path(self.documents))
            return ScoreLabeller(
                scorer_by_name(self.model, store.documents() if store else {}), self.thresholds
            )
        chat = chat_model(
            self.model, base_url=self.base_url, max_connections=self.max_connections, store=self.store
        )
        return LLMLabeller(chat, self.prompt, self.mode, most_words=self.most_words, keep=self.keep)

    def __call__(self) -> BatchFunction:
        """The labeller as a function of rows."""
        labeller = self.labeller()

        def label(rows: list[Row]) -> list[Row]:
            return [one.model_dump(mode="json") for one in labeller.label([Pair(**row) for row in rows])]

        return label


def is_scorer(model: str) -> bool:
    """Whether a name means BM25, an encoder, a cross-encoder or a sum of them."""
    if model.startswith(("openai/", "inspect/", "scripted/", "replay/")):
        return False
    return all(
        part.startswith(_SCORERS) or (part in EMBEDDED and EMBEDDED[part].kind != "chat")
        for part in model.split("+")
    )


def scorer_by_name(model: str, documents: dict[str, str]) -> Scorer:
    """The scorer of a name."""
    made: list[Scorer] = []
    for part in model.split("+"):
        if part == "bm25":
            made.append(BM25Scorer(documents))
        elif part.startswith("cross-encoder:"):
            made.append(CrossEncoderScorer(part.removeprefix("cross-encoder:")))
        else:
            made.append(EncoderScorer(part.removeprefix("encoder:")))
    return made[0] if len(made) == 1 else SummedScorer(made)


def prepare(
    folder: Path,
    documents: Path,
    topics: Path,
    pairs: Iterable[tuple[str, str]],
    needs: tuple[str, ...],
    *,
    drop_missing: bool,
) -> dict[str, int]:
    """Fill a labelling's database, afresh; see `LabelStore.drop_unusable` for what is returned and raised."""
    for left in folder.glob(f"{DATABASE}*"):  # of a filling that was killed
        left.unlink()
    store = LabelStore(folder / DATABASE)
    try:
        store.fill(documents, pairs)
        known = read_topics(topics)
        return store.drop_unusable(known, lacking(known.values(), needs), drop=drop_missing)
    finally:
        store.close()


def label_missing(
    folder: Path,
    spec: LabellerSpec,
    topics: Path,
    *,
    engine: BatchEngine = "local",
    workers: int = 2,
    batch_size: int = 64,
    only: Qrels | None = None,
) -> int:
    """Label the pairs that have no label yet, and return how many were labelled.

    Args:
        folder: Holds the database.
        spec: The labeller.
        topics: The topics' file.
        engine: Where batches run.
        workers: With ray.
        batch_size: Pairs asked at once; each batch is durable when it is done.
        only: Label only these pairs (the gold probes).
    """
    store = LabelStore(folder / DATABASE)
    known = read_topics(topics)
    model = spec.model if spec.scores else chat_name(spec)
    total, done = store.count("pairs"), store.count("labels")

    def rows() -> Iterator[Row]:
        for pair in store.missing(known, spec.key, model):
            if only is None or (pair.qid, pair.docid) in only:
                yield asdict(pair)

    added = 0
    try:
        waiting: list[Label] = []
        size = min(batch_size, spec.max_connections * 4) if not spec.scores else batch_size
        for row in map_batches(rows(), spec, engine=engine, batch_size=size, workers=workers):
            waiting.append(Label.model_validate(row))
            if len(waiting) == size:
                store.add(waiting, spec.key)
                added += len(waiting)
                waiting = []
                if added // 1000 != (added - size) // 1000:
                    console().print(f"labelled {done + added:,} of {total:,} pairs")
        store.add(waiting, spec.key)
        return added + len(waiting)
    finally:
        store.close()


def chat_name(spec: LabellerSpec) -> str:
    """The model's name as its labels say it."""
    return chat_model(spec.model, base_url=spec.base_url, store=None).name


def probe_agreement(folder: Path, gold: Qrels, binarize: int) -> Agreement:
    """Agreement of the labels that are there with the gold probes.

    Raises:
        EtudeError: No probe has a usable label.
    """
    store = LabelStore(folder / DATABASE)
    try:
        found = grades_of(one for one in store.labels() if (one.qid, one.docid) in gold)
    finally:
        store.close()
    if not found:
        raise EtudeError(
            "none of the gold probes got a usable label", "Look at raw answers of this model and prompt."
        )
    probes = {pair: grade for pair, grade in gold.items() if pair in found}
    return agreement(probes, found, binarize=binarize)


def write_outputs(folder: Path, out: Path) -> tuple[Path, dict[str, int], dict[str, int]]:
    """Write the usable labels as qrels and all of them as JSONL beside it.

    Returns:
        The JSONL's path, the number of labels by status, and sums of tokens and cut documents.
    """
    store = LabelStore(folder / DATABASE)
    records = out.with_suffix(".jsonl")
    statuses: dict[str, int] = {}
    sums = {"prompt_tokens": 0, "output_tokens": 0, "cut_documents": 0}
    try:
        with atomic_path(records) as temporary, open(temporary, "w", encoding="utf-8") as handle:
            for one in store.labels():
                statuses[one.status] = statuses.get(one.status, 0) + 1
                sums["prompt_tokens"] += one.prompt_tokens
                sums["output_tokens"] += one.output_tokens
                sums["cut_documents"] += one.words_left_out > 0
                row: dict[str, Any] = one.model_dump(mode="json", exclude_none=True)
                handle.write(json.dumps(row, ensure_ascii=False) + "\n")
        write_qrels(out, ((one.qid, one.docid, one.grade) for one in store.labels() if one.usable))
    finally:
        store.close()
    return records, dict(sorted(statuses.items())), sums
