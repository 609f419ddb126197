"""The verb `ids`: unique textual ids for any catalogue, resumable batch by batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from etude.data.batches import BatchEngine
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.idgen.candidate_store import CandidateStore
from etude.methods.idgen.generators import Generator
from etude.methods.idgen.items import alike, read_items
from etude.methods.idgen.textual_ids import ids_hash, read_ids, write_ids
from etude.methods.idgen.unique_ids import BATCH, name_all
from etude.models import load_tokenizer
from etude.render import console
from etude.runs import Run, file_hash

if TYPE_CHECKING:
    from rich.console import RenderableType

_SHOWN = 5


@dataclass(frozen=True)
class IdsResult:
    """The ids of a catalogue.

    Args:
        out: The file: item_id, textual_id, method.
        items: How many items have an id.
        new: How many of them were named by this run; the others were known.
        methods: New ids by how they were found.
        mean_words: Words of an id.
        different_words: Words that occur in ids.
        prefixes: Ids that begin with the whole of another one.
        rejected: Candidates that did not survive the tokenizer.
        empty: New items without text.
        identical: New items that share their text with another one.
        written_now: Texts that the generator wrote candidates for in this process.
        hash: What names this set of ids.
        examples: Some titles or ids of items, and their textual ids.
    """

    out: str
    items: int
    new: int
    methods: dict[str, int]
    mean_words: float
    different_words: int
    prefixes: int
    rejected: int
    empty: int
    identical: int
    written_now: int
    hash: str
    examples: list[tuple[str, str]] = field(default_factory=list)

    def __rich__(self) -> RenderableType:
        """Counts, how ids were found, and some of them."""
        from rich.console import Group

        from etude.render import Text, show, table

        counts = [
            ("items", self.items),
            ("named now", self.new),
            ("words of an id, mean", self.mean_words),
            ("different words", self.different_words),
            ("ids that begin with another id", self.prefixes),
            ("candidates rejected by the tokenizer", self.rejected),
            ("items without text", self.empty),
            ("items with the text of another", self.identical),
        ]
        return Group(
            table(("ids", "count"), counts),
            table(("found by", "ids"), list(self.methods.items())),
            table(("item", "textual id"), self.examples),
            show(Text(f"Ids {self.hash[:12]} in {self.out}")),
        )


@verb
def ids(
    items: Path,
    *,
    generator: str = "keywords",
    known: Path | None = None,
    tokenizer: str | None = None,
    seed: int = 0,
    batch_size: int = BATCH,
    engine: BatchEngine = "local",
    workers: int = 2,
    base_url: str | None = None,
    device: str | None = None,
    out: Path = Path("ids.tsv"),
) -> IdsResult:
    """Write a short, unique textual id for every item; a killed run goes on with the texts that are missing.

    Args:
        items: The catalogue: JSONL, CSV, TSV or Parquet with item_id, title, brand?, categories?,
            description?, price?; or IDGenRec's item_plain_text.txt.
        generator: keywords (no model); t5:DIR, a T5 that writes tags or titles, with diverse beams; lm:NAME,
            any chat model that is asked for a name (lm:smollm2, lm:openai/MODEL).
        known: Ids that exist already (item_id, textual_id): these items keep them, and no new id is one of
            them. So new items are named without touching old ones.
        tokenizer: The recommender's, a directory or hub id: ids that it does not give back word for word are
            rejected. Default: that of the T5.
        seed: Of a chat model's samples.
        batch_size: Texts that the generator gets at once.
        engine: local, or ray: candidates are written by Ray Data's map_batches on one or many machines.
        workers: With ray.
        base_url: Address of an OpenAI-compatible server, for lm:openai/MODEL.
        device: For t5: cpu, cuda ...; default: the GPU if there is one.
        out: The ids (.tsv, .csv, .jsonl or .parquet); the state is in the folder .work beside it, from which
            the same command goes on.

    Raises:
        EtudeError: The catalogue is malformed, there is no such generator, or the model gives NaN.
    """
    if known is not None and known.resolve() == out.resolve():
        raise EtudeError(f"{out}: known ids and new ids in one file", "Give another file as --out.")
    catalogue = read_items(items)
    old = {} if known is None else read_ids(known)
    new = [item for item in catalogue if item.item_id not in old]
    made_by = Generator(generator, [item.line for item in catalogue], base_url, seed, device)
    reader = tokenizer or (made_by.model if made_by.kind == "t5" else None)
    config = {
        **made_by.identity,
        "items": file_hash(items),
        "known": None if known is None else file_hash(known),
        "tokenizer": reader,
        "batch_size": batch_size,
    }
    folder = out.with_suffix(".work")
    with (
        Run(folder, config, command="idgen ids") as run,
        CandidateStore(folder / "candidates.sqlite") as store,
    ):
        naming = name_all(
            new,
            made_by.rounds,
            made_by,
            store,
            taken=old.values(),
            tokenizer=None if reader is None else load_tokenizer(reader),
            batch_size=batch_size,
            engine=engine,
            workers=workers,
            progress=console().print,
        )
        mine = {item.item_id for item in catalogue}
        kept = {item: one for item, one in old.items() if item in mine}
        every = dict(sorted({**kept, **naming.ids}.items()))
        write_ids(out, every, {item: naming.methods.get(item, "known") for item in every})
        if run.result is None:
            run.complete({"ids": ids_hash(every), "new": len(naming.ids)})
    methods: dict[str, int] = {}
    for method in naming.methods.values():
        methods[method] = methods.get(method, 0) + 1
    titles = {item.item_id: item.title or item.line[:60] or item.item_id for item in catalogue}
    same = alike({item.item_id: item for item in new})
    return IdsResult(
        out=str(out),
        items=len(every),
        new=len(naming.ids),
        methods=dict(sorted(methods.items(), key=lambda one: -one[1])),
        mean_words=sum(len(one.split()) for one in every.values()) / len(every),
        different_words=len({word for one in every.values() for word in one.split()}),
        prefixes=_prefixes(every.values()),
        rejected=naming.rejected,
        empty=same["empty"],
        identical=same["identical"],
        written_now=naming.written,
        hash=ids_hash(every),
        examples=[(titles[item][:60], every[item]) for item in list(naming.ids or every)[:_SHOWN]],
    )


def _prefixes(found: Iterable[str]) -> int:
    whole = {tuple(one.split()) for one in found}
    return sum(any(one[:end] in whole for end in range(1, len(one))) for one in whole)
