"""What a recommender is before its first step: scheme, model, wording, and for alternation a generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from etude.errors import EtudeError
from etude.methods.idgen.backbones import TINY, Backbone, load_backbone
from etude.methods.idgen.constrained_beams import Normalization
from etude.methods.idgen.generator_training import teach_ids
from etude.methods.idgen.generators import Generator
from etude.methods.idgen.preparation import Corpus, item_names, recommender_backbone, tiny_generator
from etude.methods.idgen.recommender import GenerativeRecommender
from etude.methods.idgen.soft_ids import require_shared_vocabulary
from etude.methods.idgen.templates import Template
from etude.methods.idgen.unique_ids import IdGenerator
from etude.methods.idgen.user_ids import Protocol, user_ids

TAUGHT_EPOCHS = 20
"""Passes in which a tiny generator learns the keyword ids."""


@dataclass(frozen=True)
class Setup:
    """The choices of a recommender.

    Args:
        scheme: How items are named.
        generator: What writes textual ids where there is no file of them.
        backbone: The language model, by name.
        templates: Wordings, for a model with an encoder.
        names_users: Whether templates get the user's own id.
        protocol: What user ids are made from.
        dataset: What {dataset} says.
        max_history: The most items that are read.
        normalize: How beams are scored.
        dropout: Of tiny models.
        seed: Of weights and schemes.
        taught_epochs: Passes of a tiny generator's lessons.
        text_tokens: Tokens of an item's text that a generator reads.
    """

    scheme: str = "textual"
    generator: str = "keywords"
    backbone: str = "causal-tiny"
    templates: tuple[Template, ...] = ()
    names_users: bool = False
    protocol: Protocol = "clean"
    dataset: str = ""
    max_history: int = 20
    normalize: Normalization = "allowed"
    dropout: float = 0.2
    seed: int = 0
    taught_epochs: int = TAUGHT_EPOCHS
    text_tokens: int = 256

    @property
    def is_tiny(self) -> bool:
        """Whether the model is drawn here, not loaded."""
        return self.backbone in TINY


def start_recommender(corpus: Corpus, setup: Setup, ids: Path | None = None) -> GenerativeRecommender:
    """An untrained recommender on fixed ids.

    Args:
        corpus: Histories and items.
        setup: The choices.
        ids: Textual ids; without them the generator writes some.

    Raises:
        EtudeError: Ids are missing or do not survive the model's tokenizer.
    """
    loaded = None if setup.is_tiny else load_backbone(setup.backbone)
    tokenizer = None if loaded is None else loaded.tokenizer
    names = item_names(
        corpus, setup.scheme, ids=ids, generator=setup.generator, tokenizer=tokenizer, seed=setup.seed
    )
    return assemble(corpus, setup, names, loaded)


def assemble(
    corpus: Corpus,
    setup: Setup,
    ids: dict[str, str],
    loaded: Backbone | None = None,
    *,
    texts: Sequence[str] = (),
) -> GenerativeRecommender:
    """A recommender from ids that are there.

    Args:
        corpus: Histories and items.
        setup: The choices.
        ids: Item id to textual id.
        loaded: The model, where it is not a tiny one.
        texts: Items' texts, whose words a tiny vocabulary shall have too.
    """
    users: dict[str, str] = {}
    if setup.names_users:
        joined = [" ".join(ids[item] for item in user.items) for user in corpus.split.train]
        source = Generator(
            "keywords" if setup.generator.startswith("lm:") else setup.generator, joined
        ).source()
        name = IdGenerator(source, None if loaded is None else loaded.tokenizer).generate
        users = user_ids(corpus.histories.users, ids, name, setup.protocol)
    backbone = loaded or recommender_backbone(
        setup.backbone,
        [*ids.values(), *users.values()],
        templates=setup.templates if setup.backbone == "tiny" else (),
        dataset=setup.dataset,
        texts=texts,
        max_history=setup.max_history,
        dropout=setup.dropout,
        seed=setup.seed,
    )
    if setup.names_users and not backbone.is_seq2seq:
        raise EtudeError(
            f"user names with {setup.backbone}, which reads a bare stream of ids",
            "Give a model with an encoder (tiny, t5-small), or leave out --user-names.",
        )
    seen = [one for one in setup.templates if one.seen]
    unseen = [one for one in setup.templates if not one.seen]
    return GenerativeRecommender(
        backbone=backbone,
        ids=ids,
        max_history=setup.max_history,
        template=seen[0] if backbone.is_seq2seq else None,
        held_back=unseen[0] if backbone.is_seq2seq and unseen else None,
        dataset=setup.dataset,
        user_ids=users,
        normalize=setup.normalize,
    )


def start_alternation(
    corpus: Corpus, setup: Setup, *, out: Path, ids: Path | None = None
) -> tuple[GenerativeRecommender, Backbone]:
    """A recommender on the ids of phase 0, and the generator that wrote them.

    With `t5:DIR` the generator is that model, and recommender and generator must share its vocabulary. With
    `keywords` a tiny T5 first learns to write the keyword ids (or those of `ids`), then writes its own.

    Args:
        corpus: Histories, and items with texts.
        setup: The choices.
        out: Folder for the checkpoints of a tiny generator's lessons.
        ids: What a tiny generator learns to write.

    Raises:
        EtudeError: Items have no texts, or the two do not share a vocabulary.
    """
    if not any(item.line for item in corpus.items.values()):
        raise EtudeError("alternation needs the items' texts", "Give --items.")
    kind, _, place = setup.generator.partition(":")
    if kind == "t5":
        loaded = None if setup.is_tiny else load_backbone(setup.backbone)
        if loaded is None:
            raise EtudeError(
                f"{setup.generator} and {setup.backbone}, which has a vocabulary of its own, do not match",
                "Give a --backbone with the generator's vocabulary, or leave out --generator.",
            )
        gen = load_backbone(place)
        require_shared_vocabulary(gen, loaded)
        named = IdGenerator(gen.model, gen.tokenizer).generate(corpus.items.values())
        return assemble(corpus, setup, dict(sorted(named.items())), loaded), gen
    if kind != "keywords" or not setup.is_tiny:
        raise EtudeError(
            f"no gradient can flow between {setup.generator} and {setup.backbone}",
            "Give --generator t5:DIR with a T5 --backbone, or keywords with a tiny one.",
        )
    lessons = item_names(corpus, "textual", ids=ids, generator=setup.generator)
    texts = [item.line for item in corpus.items.values()]
    rec = assemble(corpus, setup, lessons, texts=texts)
    gen = tiny_generator(rec.backbone, seed=setup.seed)
    teach_ids(
        gen,
        corpus.items,
        lessons,
        epochs=setup.taught_epochs,
        text_tokens=setup.text_tokens,
        seed=setup.seed,
        out=out,
    )
    named = IdGenerator(gen.model, gen.tokenizer).generate(corpus.items.values())
    return replace(rec, ids=dict(sorted(named.items()))), gen
