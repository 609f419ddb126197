"""Stage 1: triples from sentences, row by row into a file that a killed run goes on with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any

from etude.data.batches import BatchEngine, Row, map_batches
from etude.methods.semcsr.contrast import OMEGA
from etude.methods.semcsr.journal import Journal
from etude.methods.semcsr.prompts import PromptSet, prompt_set
from etude.methods.semcsr.triples import Triple
from etude.methods.semcsr.writers import Writer, Writing, is_served, load_writer
from etude.models import model_directory, model_revision
from etude.render import console
from etude.runs import content_hash

BATCH = 32


class TripleGenerator:
    """Writes triples.

    Args:
        lm: A causal model or encoder-decoder (embedded name, folder, hub id) or a chat model's name.
        prompts: A set's name, a JSON file, or a set.
        omega: Weight of the opposite instruction.
        **options: More of `Writing`.

    Example:
        `for triple in TripleGenerator("smollm2", "nli-fewshot", 0.3).generate(sentences): ...`
    """

    def __init__(
        self, lm: str, prompts: str | PromptSet = "nli-fewshot", omega: float = OMEGA, **options: Any
    ) -> None:
        chosen = prompt_set(prompts) if isinstance(prompts, str) else prompts
        self.writing = Writing(lm, chosen, omega, **options)
        self._writer: Writer | None = None

    @classmethod
    def of(cls, writing: Writing) -> TripleGenerator:
        """The generator with given settings."""
        options = {field.name: getattr(writing, field.name) for field in fields(writing)}
        return cls(**options)

    def generate(self, sentences: Iterable[str], *, batch_size: int = BATCH) -> Iterator[Triple]:
        """Yield a triple for each sentence, in order.

        Raises:
            EtudeError: There is no such model, or its provider is gone.
        """
        self._writer = self._writer or load_writer(self.writing)
        identity, waiting = model_identity(self.writing.lm), iter(sentences)
        while batch := list(islice(waiting, batch_size)):
            for sentence, written in zip(batch, self._writer.write(batch), strict=True):
                writing = self.writing
                yield Triple(
                    id=row_id(sentence, writing, identity),
                    sent0=sentence,
                    sent1=written.sent1,
                    hard_neg=written.hard_neg,
                    model=identity,
                    prompt_id=f"{writing.prompts.name}-{writing.prompts.hash}/{written.place}",
                    omega=writing.omega,
                    seed=writing.seed,
                    status=written.status,
                )


def model_identity(name: str) -> str:
    """A model's name, with the revision of its files where they are here."""
    return name if is_served(name) else f"{Path(name).name}@{model_revision(model_directory(name))}"


def row_id(sentence: str, writing: Writing, identity: str) -> str:
    """What a row depends on: sentence, prompts, model, ω (with its mask), length limit and seed."""
    mask = writing.plausibility if writing.omega else None
    how = [writing.prompts.hash, identity, writing.omega, mask, writing.max_tokens, writing.seed]
    return content_hash([sentence, *how])[:24]


@dataclass(frozen=True)
class _BuildGenerator:
    """Makes the function of one worker."""

    writing: Writing

    def __call__(self) -> Any:
        generator = TripleGenerator.of(self.writing)

        def write(rows: list[Row]) -> list[Row]:
            made = generator.generate((row["sentence"] for row in rows), batch_size=len(rows))
            return [{"rows": [triple.model_dump(mode="json") for triple in made]}]

        return write


def write_triples_file(
    out: Path,
    sentences: Sequence[str],
    writing: Writing,
    *,
    batch_size: int = BATCH,
    engine: BatchEngine = "local",
    workers: int = 2,
) -> list[Triple]:
    """Write the triples of all sentences to a file; rows that are there are kept, failed ones tried again.

    A batch always holds the same sentences, so that a resumed file equals an uninterrupted one.

    Args:
        out: The `.jsonl` file.
        sentences: Distinct sentences.
        writing: How they are written.
        batch_size: Sentences written together.
        engine: `local`, or `ray`.
        workers: With `ray`.

    Returns:
        One triple for each sentence, in order.
    """
    identity = model_identity(writing.lm)
    ids = [row_id(sentence, writing, identity) for sentence in sentences]
    with Journal(out, ids) as journal:
        done = {one for one, row in journal.rows.items() if row["status"] != "failed"}
        batches = [
            range(start, min(start + batch_size, len(ids))) for start in range(0, len(ids), batch_size)
        ]
        open_batches = [batch for batch in batches if any(ids[i] not in done for i in batch)]
        waiting = [{"sentence": sentences[i]} for batch in open_batches for i in batch]
        made, total = 0, sum(ids[i] not in done for batch in open_batches for i in batch)
        for result in map_batches(
            waiting, _BuildGenerator(writing), engine=engine, batch_size=batch_size, workers=workers
        ):
            new = [row for row in result["rows"] if row["id"] not in done]
            journal.add(new)
            made += len(new)
            console().print(f"semcsr generate: {made:,} of {total:,} sentences")
        return [Triple.model_validate(row) for row in journal.finish()]
