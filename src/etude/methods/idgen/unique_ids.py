"""Unique ids by construction: candidates in rounds, collisions settled in the order of the items.

All items of a round are written together; then each item, in the order of its id, takes its first candidate
that is free and that survives the tokenizer, and only those without one go to the next round. After the last
round an item gets the best candidate it had and one more of its own words, the most telling first, and if all
of these are taken a number. So every item gets an id, and an id that was given is never changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from etude.data.batches import BatchEngine, BatchFunction, map_batches
from etude.errors import EtudeError
from etude.methods.idgen.candidate_store import CandidateStore
from etude.methods.idgen.generators import batch_function
from etude.methods.idgen.items import Item
from etude.methods.idgen.keywords import Informativeness
from etude.methods.idgen.rounds import CandidateSource, Round
from etude.methods.idgen.textual_ids import clean_id, id_key
from etude.methods.idgen.trie import LONGEST, survives

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BATCH = 32
"""Texts that a source gets at once."""


@dataclass
class Naming:
    """The ids that were given, and how.

    Args:
        ids: Item id to textual id, sorted by item id.
        methods: Item id to the round that found its id, or `word` or `counter`.
        rejected: Candidates that did not survive the tokenizer.
        written: Texts that the source wrote candidates for, in this process, over all rounds.
    """

    ids: dict[str, str] = field(default_factory=dict)
    methods: dict[str, str] = field(default_factory=dict)
    rejected: int = 0
    written: int = 0


class IdGenerator:
    """Short unique names for items.

    Args:
        model: A model with whose diverse beams ids are written (T5 or causal), or another source.
        tokenizer: The tokenizer that ids must survive: that of the model, or of the recommender that will
            read them. None with a source whose ids no tokenizer reads yet.
        batch_size: Texts that the model reads at once.

    Raises:
        EtudeError: A model comes without its tokenizer.
    """

    def __init__(
        self,
        model: PreTrainedModel | CandidateSource,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        batch_size: int = BATCH,
    ) -> None:
        if isinstance(model, CandidateSource):
            self.source: CandidateSource = model
        elif tokenizer is None:
            raise EtudeError("a model without its tokenizer", "Give IdGenerator(model, tokenizer).")
        else:
            from etude.methods.idgen.beam_source import BeamSource

            self.source = BeamSource(model, tokenizer)
        self.tokenizer, self.batch_size = tokenizer, batch_size

    def generate(self, items: Iterable[Item], taken: Iterable[str] = ()) -> dict[str, str]:
        """Name items, in the order of their item ids.

        Args:
            items: What to name.
            taken: Ids that are in use already; none of them is given again, in any case of letters.

        Returns:
            Item id to textual id.
        """
        with CandidateStore() as store:
            return name_all(
                items,
                self.source.rounds,
                lambda: batch_function(self.source),
                store,
                taken=taken,
                tokenizer=self.tokenizer,
                batch_size=self.batch_size,
            ).ids


def name_all(
    items: Iterable[Item],
    rounds: Sequence[Round],
    build: Callable[[], BatchFunction],
    store: CandidateStore,
    *,
    taken: Iterable[str] = (),
    tokenizer: PreTrainedTokenizerBase | None = None,
    batch_size: int = BATCH,
    engine: BatchEngine = "local",
    workers: int = 2,
    progress: Callable[[str], None] = lambda _: None,
) -> Naming:
    """Name items; what the store holds is not written again.

    Args:
        items: What to name; they are taken in the order of their item ids.
        rounds: The source's.
        build: Makes the source's function of rows, when it is first needed.
        store: Candidates of finished batches.
        taken: Ids in use already.
        tokenizer: What ids must survive, or None.
        batch_size: Texts at once.
        engine: Where the source works; see `etude.data.batches`.
        workers: With `ray`.
        progress: Told each round, and each tenth of it, in words.

    Returns:
        An id for every item.
    """
    ordered = sorted(items, key=lambda item: item.item_id)
    lines = {item.item_id: item.line for item in ordered}
    naming = Naming()
    used = {id_key(one) for one in taken}
    pending = [item.item_id for item in ordered]
    made: BatchFunction | None = None

    def build_once() -> BatchFunction:
        nonlocal made
        made = made or build()
        return made

    maker = build_once if engine == "local" else build
    for asked in rounds:
        if not pending:
            break
        texts = sorted({lines[item] for item in pending}, key=lambda text: (len(text), text))
        batches = list(_missing(texts, asked, store, batch_size))
        left = sum(map(len, batches))
        progress(f"{asked.name}: {len(pending):,} items without an id, {left:,} texts to write for")
        told, done = max(left // 10, batch_size), 0
        rows = ({"text": text, "round": asked.name} for batch in batches for text in batch)
        results = map_batches(rows, maker, engine=engine, batch_size=batch_size, workers=workers)
        while finished := list(islice(results, batch_size)):
            store.put(asked, {row["text"]: row["candidates"] for row in finished})
            naming.written += len(finished)
            if done // told < (done := done + len(finished)) // told:
                progress(f"{asked.name}: {done:,} of {left:,} texts")
        pending = [
            item
            for item in pending
            if not _take(item, store.get(asked, lines[item]), asked, naming, used, tokenizer)
        ]
    if pending:
        telling = Informativeness(lines.values())
        counters: Counter[str] = Counter()
        for item in pending:
            best = next((one for one in store.get(rounds[0], lines[item]) if _good(one, tokenizer)), "")
            found, method = _lengthened(best, telling.ranked(lines[item]), counters, used, tokenizer)
            _give(item, found, method, naming, used)
    naming.ids = dict(sorted(naming.ids.items()))
    return naming


def _missing(texts: list[str], asked: Round, store: CandidateStore, size: int) -> Iterator[list[str]]:
    """The incomplete ones among a round's batches, so that a resumed batch is what it would have been."""
    for start in range(0, len(texts), size):
        batch = texts[start : start + size]
        if not all(store.has(asked, text) for text in batch):
            yield batch


def _take(
    item: str, candidates: list[str], asked: Round, naming: Naming, used: set[str], tokenizer: Any
) -> bool:
    """Give the item its first candidate that is free and good; whether there was one."""
    for one in candidates:
        if id_key(one) in used:
            continue
        if _good(one, tokenizer):
            _give(item, one, asked.name, naming, used)
            return True
        naming.rejected += 1
    return False


def _give(item: str, found: str, method: str, naming: Naming, used: set[str]) -> None:
    naming.ids[item], naming.methods[item] = found, method
    used.add(id_key(found))


def _good(candidate: str, tokenizer: Any) -> bool:
    if not candidate or candidate != clean_id(candidate):
        return False
    return len(candidate.split()) <= LONGEST if tokenizer is None else survives(candidate, tokenizer)


def _lengthened(
    best: str, words: list[str], counters: Counter[str], used: set[str], tokenizer: Any
) -> tuple[str, str]:
    """The best candidate with one more telling word, or with a number."""
    have = set(best.casefold().split())
    for word in words:
        longer = f"{best} {word}".strip()
        if word not in have and id_key(longer) not in used and _good(longer, tokenizer):
            return longer, "word"
    for base in (best, "item", "") if best else ("item", ""):
        while counters[base] < 10_000_000:
            counters[base] += 1
            longer = f"{base} {counters[base] + 1}".strip()
            if id_key(longer) in used:
                continue
            if _good(longer, tokenizer):
                return longer, "counter"
            break  # a number does not survive here: another beginning
    raise EtudeError(
        f"no id survives the tokenizer, not even {best or 'item'!r} with a number",
        "Give a tokenizer that knows words and digits.",
    )
