"""Items that a trained recommender has not seen: an id from their text, in words that it knows where it can.

A model with a word-level vocabulary gets a new token for each unknown word of a new catalogue, with the mean
embedding of the known ones: it says nothing, but the ids stay whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from etude.errors import EtudeError
from etude.methods.idgen.backbones import Backbone
from etude.methods.idgen.generators import Generator
from etude.methods.idgen.items import Item
from etude.methods.idgen.keywords import Informativeness
from etude.methods.idgen.recommender import GenerativeRecommender
from etude.methods.idgen.trie import survives
from etude.methods.idgen.unique_ids import IdGenerator
from etude.methods.idgen.vocabulary import END, PAD, UNKNOWN, word_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_WORDS = 6
"""Words of the id of a raw text."""


@dataclass(frozen=True)
class NewNames:
    """Ids of new items, and a model that can read them.

    Args:
        backbone: The model, with the new words in its vocabulary.
        ids: Item id to textual id.
        known_words: Share of the ids' words that the vocabulary had before.
    """

    backbone: Backbone
    ids: dict[str, str]
    known_words: float


def describe(text: str, recommender: GenerativeRecommender, texts: Sequence[str]) -> str:
    """An id for a raw text that stands in a history: its most telling words that the recommender knows.

    Args:
        text: What is known of the item.
        recommender: Its ids' words are preferred; their case is taken over.
        texts: The catalogue's texts, by which words are weighed; its ids where it has none.

    Raises:
        EtudeError: None of the words is known.
    """
    weights = Informativeness(texts or list(recommender.ids.values()))
    spelled = {word.casefold(): word for one in recommender.ids.values() for word in one.split()}
    tokenizer = recommender.backbone.tokenizer
    ranked = [spelled.get(word, word) for word in weights.ranked(text)]
    known = [word for word in ranked if word in spelled.values() or survives(word, tokenizer)]
    if not known:
        raise EtudeError(
            f"no word of {text[:60]!r} is known to the recommender",
            "Describe the item in words of the catalogue, or give an item id.",
        )
    return " ".join(known[:_WORDS])


def name_catalogue(
    items: Mapping[str, Item],
    backbone: Backbone,
    *,
    ids: Mapping[str, str] | None = None,
    taken: Sequence[str] = (),
    generator: str = "keywords",
) -> NewNames:
    """Ids for a catalogue that the recommender never saw.

    Args:
        items: What to name.
        backbone: The recommender's model; a word-level one is given the new words.
        ids: Ready ids; without them the generator writes some.
        taken: Ids that are in use.
        generator: `keywords`, `t5:DIR` or `lm:NAME`.

    Raises:
        EtudeError: An item has no id, or no text to make one from.
    """
    words_only = is_word_level(backbone.tokenizer)
    if ids is None:
        source = Generator(generator, [item.line for item in items.values()]).source()
        named = IdGenerator(source, None if words_only else backbone.tokenizer).generate(
            items.values(), taken
        )
    else:
        lacking = sorted(set(items) - set(ids))
        if lacking:
            raise EtudeError(
                f"{len(lacking)} items have no id: {', '.join(lacking[:5])}", "Write ids for all items."
            )
        named = {item: ids[item] for item in sorted(items)}
    words = [word for one in named.values() for word in one.split()]
    known = sum(survives(word, backbone.tokenizer) for word in words) / len(words)
    return NewNames(with_words(backbone, words) if words_only else backbone, named, known)


def is_word_level(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer is one of `word_tokenizer`, which knows whole words only."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and type(backend.model).__name__ == "WordLevel"


def with_words(backbone: Backbone, words: Sequence[str]) -> Backbone:
    """A word-level model with more words; each new one has the mean embedding of the known ones."""
    vocabulary = backbone.tokenizer.get_vocab()
    old = [word for word in sorted(vocabulary, key=vocabulary.__getitem__) if word not in (PAD, END, UNKNOWN)]
    tokenizer = word_tokenizer([*old, *words])
    model: Any = backbone.model
    rows = len(vocabulary)
    if len(tokenizer) > rows:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():
            for table in {model.get_input_embeddings().weight, model.get_output_embeddings().weight}:
                table[rows:] = table[3:rows].mean(0)
    return replace(backbone, tokenizer=tokenizer)
