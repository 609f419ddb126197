"""The verbs that make a training set: `generate`, `score`, `curate`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.data import write_records
from etude.data.batches import BatchEngine, Row, map_batches
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.semcsr.curation import Curator, Dropped, reasons
from etude.methods.semcsr.generation import BATCH, write_triples_file
from etude.methods.semcsr.journal import Journal
from etude.methods.semcsr.prompts import prompt_set
from etude.methods.semcsr.reporting import write_curation_page
from etude.methods.semcsr.results import CurateResult, GenerateResult, ScoreResult
from etude.methods.semcsr.sentences import MOST_WORDS, read_sentences, without_overlap
from etude.methods.semcsr.similarity_scorers import ScorerName, load_scorer
from etude.methods.semcsr.sts import read_sts, sts_texts
from etude.methods.semcsr.triple_audit import audit_triples, histogram
from etude.methods.semcsr.triples import Triple, read_triples, write_triples
from etude.methods.semcsr.writers import Writing
from etude.render import console
from etude.runs import content_hash

_EXAMPLES = 5


@verb
def generate(
    sentences: Path,
    *,
    lm: str = "smollm2",
    omega: float = 0.3,
    prompts: str = "nli-fewshot",
    column: str | None = None,
    evaluation: tuple[Path, ...] = (),
    allow_overlap: bool = False,
    plausibility: float = 0.1,
    max_tokens: int = 64,
    max_words: int = MOST_WORDS,
    seed: int = 0,
    base_url: str | None = None,
    max_connections: int = 8,
    batch_size: int = BATCH,
    engine: BatchEngine = "local",
    workers: int = 2,
    out: Path = Path("triples.jsonl"),
) -> GenerateResult:
    """Stage 1: a language model writes, for each sentence, one that must be true and one that contradicts it.

    A killed run goes on where it stopped: repeat the command.

    Args:
        sentences: A .txt file with one sentence a line, or .csv/.jsonl/.parquet with --column.
        lm: A causal model or encoder-decoder (smollm2, a folder, org/name), or openai/MODEL with --omega 0.
        omega: Weight of the opposite instruction in contrastive generation; 0 for plain greedy decoding.
        prompts: nli-fewshot (two demonstrations), nli-4shot, zero-shot (a pool of four), or a .json file.
        column: Where the sentences are in a table.
        evaluation: STS files; sentences that they hold are refused, so that nothing is trained on test data.
        allow_overlap: Keep such sentences all the same.
        plausibility: Only tokens with this share of the likeliest one's probability compete.
        max_tokens: The most tokens of a written sentence (the paper: 256).
        max_words: Longer input sentences are cut.
        seed: Of the choice from a pool of prompts.
        base_url: Address of an OpenAI-compatible server.
        max_connections: Requests in flight at once, for served models.
        batch_size: Sentences written together.
        engine: local, or ray: Ray Data's workers.
        workers: With ray.
        out: The triples (.jsonl), one row for each sentence.

    Raises:
        EtudeError: The file holds no sentences, the model gives no logits for omega above 0, or the provider
            is gone (finished rows are kept).
    """
    writing = Writing(
        lm, prompt_set(prompts), omega, plausibility, max_tokens, seed, base_url, max_connections
    )
    found = read_sentences(sentences, column=column, most_words=max_words)
    held = [text for file in evaluation for text in sts_texts(read_sts(file))]
    found = without_overlap(found, held, allow=allow_overlap, source=sentences)
    rows = write_triples_file(
        out, found.texts, writing, batch_size=batch_size, engine=engine, workers=workers
    )
    good = [row for row in rows if row.status == "ok"]
    return GenerateResult(
        out=str(out),
        triples=len(good),
        failed=dict(Counter(str(row.status) for row in rows if row.status != "ok")),
        duplicates=found.duplicates,
        truncated=found.truncated,
        overlapping=found.overlapping,
        audit=audit_triples(rows),
        examples=[(row.sent0, row.sent1, row.hard_neg) for row in good[:_EXAMPLES]],
    )


@verb
def score(
    triples: Path,
    *,
    scorer: ScorerName = "expected",
    lm: str = "smollm2",
    encoder: str = "minilm",
    base_url: str | None = None,
    max_connections: int = 8,
    batch_size: int = 64,
    engine: BatchEngine = "local",
    workers: int = 2,
    out: Path = Path("scored.jsonl"),
) -> ScoreResult:
    """Stage 2a: the similarity of each sentence to its positive and to its hard negative, from 0 to 5.

    A killed run goes on where it stopped: repeat the command.

    Args:
        triples: A file written by generate, or one with sent0,sent1[,hard_neg].
        scorer: expected (mean grade under the model's distribution over the digits), text (the model writes a
            number), nli (a classifier as --lm), embed (cosines of --encoder).
        lm: The language model that grades, or the NLI classifier.
        encoder: The sentence encoder of embed.
        base_url: Address of an OpenAI-compatible server.
        max_connections: Requests in flight at once, for served models.
        batch_size: Rows scored together.
        engine: local, or ray: Ray Data's workers.
        workers: With ray.
        out: The same rows with positive_score and negative_score (.jsonl).

    Raises:
        EtudeError: The rows are no triples, or the model cannot score.
    """
    rows = read_triples(triples)
    written = [row for row in rows if row.status == "ok" and row.sent1]
    if not written:
        raise EtudeError(f"{triples}: no row holds a positive", "Look at its status: nothing was written.")
    name = lm if scorer != "embed" else encoder
    scored_by = _Scoring(scorer, lm, encoder, base_url, max_connections)
    ids = [content_hash([row.id, row.sent0, row.sent1, row.hard_neg, scorer, name])[:24] for row in written]
    with Journal(out, ids) as journal:
        waiting = [
            {"key": key, "row": row.model_dump(mode="json")}
            for key, row in zip(ids, written, strict=True)
            if key not in journal.rows
        ]
        done = 0
        for result in map_batches(waiting, scored_by, engine=engine, batch_size=batch_size, workers=workers):
            journal.add(result["rows"])
            done += len(result["rows"])
            console().print(f"semcsr score: {done:,} of {len(waiting):,} rows")
        final = [Triple.model_validate(row) for row in journal.finish()]
    scores = [
        s
        for row in final
        for s in ((row.positive_score, row.negative_score) if row.hard_neg else (row.positive_score,))
    ]
    missing = sum(one is None for one in scores)
    if missing == len(scores):
        raise EtudeError(
            f"{name}: none of {missing} answers is one number from 0 to 5",
            "Use --scorer expected, nli or embed, or a stronger --lm.",
        )
    return ScoreResult(
        out=str(out),
        scorer=f"{scorer} ({name})",
        scored=sum(
            row.positive_score is not None and (not row.hard_neg or row.negative_score is not None)
            for row in final
        ),
        unreadable=missing,
        positive_histogram=histogram([row.positive_score for row in final]),
        negative_histogram=histogram([row.negative_score for row in final]),
    )


@dataclass(frozen=True)
class _Scoring:
    """Makes the scoring function of one worker."""

    scorer: ScorerName
    lm: str
    encoder: str
    base_url: str | None
    max_connections: int

    def __call__(self) -> Any:
        scorer = load_scorer(
            self.scorer,
            lm=self.lm,
            encoder=self.encoder,
            base_url=self.base_url,
            max_connections=self.max_connections,
        )

        def work(rows: list[Row]) -> list[Row]:
            given = [(row["key"], Triple.model_validate(row["row"])) for row in rows]
            pairs = [(t.sent0, t.sent1) for _, t in given]
            pairs += [(t.sent0, t.hard_neg) for _, t in given if t.hard_neg]
            found = scorer.score(pairs)
            negatives = iter(found[len(given) :])
            return [{"rows": [
                triple.model_copy(
                    update={
                        "id": key,
                        "positive_score": _rounded(positive),
                        "negative_score": _rounded(next(negatives)) if triple.hard_neg else None,
                    }
                ).model_dump(mode="json")
                for (key, triple), positive in zip(given, found, strict=False)
            ]}]  # fmt: skip

        return work


def _rounded(score: float | None) -> float | None:
    return None if score is None else round(score, 4)


@verb
def curate(
    scored: Path,
    *,
    alpha: float = 3.0,
    beta: float = 3.0,
    gamma: float = 1.0,
    max_copy: float = 1.0,
    dropped: Path | None = None,
    report: Path | None = None,
    out: Path = Path("clean.jsonl"),
) -> CurateResult:
    """Stage 2b: keep the triples whose scores say what they should, and say why the others go.

    With a and b the scores of positive and negative, roles are swapped where b > a, and a triple stays iff
    a >= alpha, b <= beta and a >= b + gamma.

    Args:
        scored: A file written by score.
        alpha: Least score of a positive.
        beta: Greatest score of a hard negative.
        gamma: Least distance between both.
        max_copy: Greatest edit similarity of a sentence to either one, e.g. 0.9; 1 for any.
        dropped: Also write what was dropped, with its reason (.jsonl).
        report: Also write a page with the audit, histograms and examples (.html).
        out: The kept triples (.jsonl or .csv).

    Raises:
        EtudeError: There are no scores, all of them are the same, or nothing is left.
    """
    rows = read_triples(scored)
    kept, gone = Curator(alpha, beta, gamma, max_copy).split(rows)
    if not kept:
        why = reasons(gone)
        most = next(iter(why))
        raise EtudeError(
            f"{scored}: nothing is left of {len(rows)} rows; most were dropped because: {most} ({why[most]})",
            "Loosen that rule; score's histogram shows where the scores are.",
        )
    write_triples(out, kept)
    if dropped is not None:
        write_records(dropped, [{**one.triple.model_dump(mode="json"), "reason": one.reason} for one in gone])
    before, after = audit_triples(rows), audit_triples(kept)
    if report is not None:
        write_curation_page(report, rows, kept, gone, before, after)
    return CurateResult(
        out=str(out),
        kept=len(kept),
        dropped=reasons(gone),
        swapped=_swapped(rows, kept),
        before=before,
        after=after,
        report=None if report is None else str(report),
    )


def _swapped(rows: Sequence[Triple], kept: Sequence[Triple]) -> int:
    first = {row.id: row.sent1 for row in rows}
    return sum(first[row.id] != row.sent1 for row in kept)


__all__ = ["Dropped", "curate", "generate", "score"]
