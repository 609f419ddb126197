"""From a user's files to everything a training needs: histories, items, split, ids, vocabulary, model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from etude.errors import EtudeError
from etude.methods.idgen.backbones import Backbone, build_backbone
from etude.methods.idgen.generators import Generator
from etude.methods.idgen.histories import Histories, read_histories, require_chronological
from etude.methods.idgen.items import Item, Missing, items_of, read_items
from etude.methods.idgen.leave_one_out import SeqSplit
from etude.methods.idgen.schemes import Catalogue, name_items
from etude.methods.idgen.soft_ids import LONGEST_ID
from etude.methods.idgen.templates import Template, template_words
from etude.methods.idgen.textual_ids import read_ids
from etude.methods.idgen.unique_ids import IdGenerator
from etude.methods.idgen.vocabulary import words_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TEXT_WORDS = 4000
"""Words of items' texts in the vocabulary of a tiny generator; the rarest are left out."""


@dataclass(frozen=True)
class Corpus:
    """Histories and the items in them.

    Args:
        histories: Of users with enough events.
        items: Item id to item, for all items of the catalogue.
        split: Leave-one-out.
        dropped: Events left out because their item has no row.
    """

    histories: Histories
    items: dict[str, Item]
    split: SeqSplit
    dropped: int = 0


def read_corpus(
    sequences: Path,
    items: Path | None = None,
    ids: Path | None = None,
    *,
    missing: Missing = "error",
    i_know: bool = False,
) -> Corpus:
    """Read histories and items and split them.

    Args:
        sequences: Histories, in any layout that `read_histories` knows.
        items: The catalogue; without it the items are those of `ids`, else of the histories.
        ids: Textual ids.
        missing: What to do with items of histories that have no row.
        i_know: Go on with histories that seem sorted by item id.

    Raises:
        EtudeError: A file is malformed, histories are not chronological, or items are missing.
    """
    histories = read_histories(sequences)
    require_chronological(histories, i_know=i_know)
    if items is not None:
        known = read_items(items)
    elif ids is not None:
        known = [Item(item_id=item) for item in read_ids(ids)]
    else:
        known = [Item(item_id=item) for item in histories.items]
    catalogue = items_of(histories.items, known, missing)
    events = sum(len(user.items) for user in histories.users)
    kept = histories.only(catalogue) if missing == "drop" else histories
    if not kept.users:
        raise EtudeError(f"{sequences}: no history is left without the dropped items", "Add their rows.")
    dropped = events - sum(len(user.items) for user in kept.users)
    return Corpus(kept, catalogue, SeqSplit.leave_one_out(kept.users), dropped)


def item_names(
    corpus: Corpus,
    scheme: str,
    *,
    ids: Path | None = None,
    generator: str = "keywords",
    tokenizer: PreTrainedTokenizerBase | None = None,
    seed: int = 0,
) -> dict[str, str]:
    """The ids of a scheme; textual ones from a file, or written by a generator.

    Args:
        corpus: Items and training histories.
        scheme: A name that `name_items` knows.
        ids: Textual ids, for `textual` and `shuffled`.
        generator: What writes them without a file: `keywords`, `t5:DIR`, `lm:NAME`.
        tokenizer: What written ids must survive, where the recommender brings its own.
        seed: Of chance.

    Raises:
        EtudeError: Textual ids are wanted, and there is neither a file nor any text.
    """
    textual: dict[str, str] = {}
    if ids is not None:
        textual = read_ids(ids)
    elif scheme in ("textual", "shuffled"):
        if not any(item.line for item in corpus.items.values()):
            raise EtudeError(
                f"--scheme {scheme} needs the items' texts or ready ids", "Give --items, --ids, or both."
            )
        source = Generator(generator, [item.line for item in corpus.items.values()], seed=seed).source()
        textual = IdGenerator(source, tokenizer).generate(corpus.items.values())
    return name_items(scheme, Catalogue(corpus.items, corpus.split.train, textual, seed))


def recommender_backbone(
    name: str,
    ids: Sequence[str],
    *,
    templates: Sequence[Template] = (),
    dataset: str = "",
    texts: Sequence[str] = (),
    max_history: int = 20,
    dropout: float = 0.2,
    seed: int = 0,
) -> Backbone:
    """A backbone whose vocabulary has the words that it will meet.

    Args:
        name: As in `build_backbone`.
        ids: Textual ids of items and users.
        templates: Wordings, for a model with an encoder.
        dataset: What {dataset} says.
        texts: Items' texts, where a generator shares the vocabulary.
        max_history: The most items that are read.
        dropout: Of a tiny one.
        seed: Of a tiny one's weights.
    """
    # a generator may write longer ids than those of phase 0
    written = LONGEST_ID if texts else 0
    words = [*template_words(templates, dataset), *words_of(ids)] if templates else words_of(ids)
    longest = max([written, *(len(one.split()) for one in ids)]) + 1
    return build_backbone(
        name,
        [*words, *words_of(texts, _TEXT_WORDS)],
        longest=max(64, (max_history + 2) * longest + 2),
        dropout=dropout,
        seed=seed,
    )


def tiny_generator(recommender: Backbone, *, seed: int = 0) -> Backbone:
    """A tiny T5 with the recommender's own tokenizer, untrained."""
    vocabulary = recommender.tokenizer.get_vocab()
    words = sorted(vocabulary, key=vocabulary.__getitem__)
    made = build_backbone("tiny", words, dropout=0.0, seed=seed)
    return replace(made, tokenizer=recommender.tokenizer)
