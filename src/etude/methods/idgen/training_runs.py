"""The verb `train`: histories and items become a recommender; the same command resumes after a kill."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.idgen.alternation import Alternator, GeneratorTraining, Order, RoundReport
from etude.methods.idgen.constrained_beams import Normalization
from etude.methods.idgen.items import Missing
from etude.methods.idgen.preparation import Corpus, read_corpus
from etude.methods.idgen.rank_metrics import rank_metrics
from etude.methods.idgen.recommender_training import Training, fit_recommender
from etude.methods.idgen.setup import Setup, start_alternation, start_recommender
from etude.methods.idgen.templates import Template, own_templates, read_templates
from etude.methods.idgen.textual_ids import ids_hash, read_ids, write_ids
from etude.methods.idgen.user_ids import Protocol
from etude.render import table
from etude.runs import Run, content_hash, read_json

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class TrainResult:
    """What a training gave.

    Args:
        out: The run's folder.
        scheme: How items are named.
        backbone: The language model.
        users: How many histories.
        items: Size of the catalogue.
        cold: Items without a training event.
        short: Users left out for having fewer than three events.
        dropped: Events left out because their item has no row.
        ids_sha256: Hash of the ids that the recommender knows; it refuses others.
        loss: Its training loss at the end, in nats per token.
        validation: HR and NDCG on the items before the last (full ranking).
        rounds: What each round of alternation changed.
        protocol: `clean`, or `paper`, whose user ids know the test item.
    """

    out: str
    scheme: str
    backbone: str
    users: int
    items: int
    cold: int
    short: int
    dropped: int
    ids_sha256: str
    loss: float
    validation: dict[str, float]
    rounds: list[dict[str, Any]] = field(default_factory=list)
    protocol: Protocol = "clean"

    def __rich__(self) -> RenderableType:
        """The figures, and the rounds."""
        from rich.console import Group

        rows: list[list[Any]] = [
            ["users, items", f"{self.users:,}, {self.items:,} ({self.cold} without a training event)"],
            [
                "left out",
                f"{self.short} users with under 3 events, {self.dropped} events without an item",
            ],
            ["ids", f"{self.scheme}, {self.ids_sha256[:16]}"],
            ["model", self.backbone],
            ["training loss (nats per token)", self.loss],
            *([f"validation {name}", value] for name, value in self.validation.items()),
            ["run", self.out],
        ]
        parts: list[Any] = [table(["idgen train", ""], rows)]
        if self.rounds:
            columns = ["round", "ids changed", "generator loss", "recommender loss", "validation NDCG@10"]
            keys = ("round", "changed", "generator_loss", "recommender_loss")
            shown = [[*(r[key] for key in keys), r["validation"]["NDCG@10"]] for r in self.rounds]
            parts.append(table(columns, shown))
        if self.protocol == "paper":
            parts.append("Protocol paper: user ids are made from whole histories and so know the test item.")
        return Group(*parts)


@verb
def train(
    sequences: Path,
    *,
    out: Path,
    items: Path | None = None,
    ids: Path | None = None,
    scheme: str = "textual",
    generator: str = "keywords",
    backbone: str = "causal-tiny",
    epochs: int = 10,
    batch_size: int = 32,
    learning_rate: float | None = None,
    rounds: int = 0,
    order: Order = "id_first",
    id_learning_rate: float = 1e-5,
    id_histories: int | None = None,
    temperature: float = 1.0,
    straight_through: bool = False,
    templates: Path | None = None,
    user_names: bool = False,
    protocol: Protocol = "clean",
    dataset: str = "",
    max_history: int = 20,
    targets: int = 2,
    wordings: int = 1,
    normalize: Normalization = "allowed",
    missing: Missing = "error",
    i_know: bool = False,
    report_to: str = "none",
    seed: int = 0,
) -> TrainResult:
    """Train a recommender that writes item ids; the same command after a kill goes on where it was.

    The last item of each history is kept for the test and the one before it for validation; nothing else is
    learned from. Start with: etude idgen check SEQUENCES, then: etude idgen ids ITEMS --out ids.tsv

    Args:
        sequences: Histories: JSONL {user_id, items}, interactions with user_id, item_id, timestamp (CSV, TSV,
            Parquet, JSONL, RecBole .inter), or IDGenRec's user_sequence.txt.
        out: Folder to write.
        items: Catalogue: item_id, title, brand?, categories?, description?, price?
        ids: Textual ids, as `etude idgen ids` writes them.
        scheme: textual, shuffled (the control), random, sequential, collaborative, semantic or token.
        generator: What writes textual ids without --ids, and what alternation tunes: keywords, t5:DIR.
        backbone: causal-tiny, tiny (a T5), t5-small, a folder or a hub id.
        epochs: Passes, in each round.
        batch_size: Histories or examples of a batch.
        learning_rate: Peak; 3e-3 for tiny models, 1e-3 for others.
        rounds: Rounds of alternation (paper: 3); 0 keeps the ids as they are.
        order: Who goes first in a round: id_first or rec_first.
        id_learning_rate: Of the generator in alternation.
        id_histories: Histories that tune the generator in a round; all by default.
        temperature: Of the generator's soft ids.
        straight_through: Soft ids are the greedy tokens' embeddings, with the gradient of the soft ones.
        templates: Template file, `task; seen|unseen; input; output` a line; ten of ours by default.
        user_names: Put the user's own id into the templates (models with an encoder).
        protocol: clean makes user ids from training items; paper from whole histories, test item included.
        dataset: What {dataset} says in templates.
        max_history: The most items that are read.
        targets: Positions of each history that an epoch samples for templates; 0 takes all.
        wordings: Templates sampled for each of them (paper: 3).
        normalize: How beams are scored: over the allowed tokens, or the whole vocabulary (paper).
        missing: Items of histories without a row: error, drop, or title-from-id.
        i_know: Go on with histories that are sorted by item id.
        report_to: A tracker that transformers knows, e.g. tensorboard.
        seed: Of weights, order and sampling.

    Raises:
        EtudeError: Anything wrong with the files or the settings.
    """
    if rounds and scheme != "textual":
        raise EtudeError(f"--rounds {rounds} with --scheme {scheme}", "Only textual ids can be rewritten.")
    corpus = read_corpus(sequences, items, ids, missing=missing, i_know=i_know)
    setup = Setup(
        scheme=scheme,
        generator=generator,
        backbone=backbone,
        templates=tuple(read_templates(templates) if templates else own_templates(user_ids=user_names)),
        names_users=user_names,
        protocol=protocol,
        dataset=dataset,
        max_history=max_history,
        normalize=normalize,
        seed=seed,
    )
    rate = learning_rate if learning_rate is not None else 3e-3 if setup.is_tiny else 1e-3
    how = Training(epochs, batch_size, rate, targets=targets, wordings=wordings, seed=seed)
    tune = GeneratorTraining(
        learning_rate=id_learning_rate,
        histories=id_histories,
        temperature=temperature,
        straight_through=straight_through,
    )
    return train_corpus(
        corpus, setup, how, rounds=rounds, order=order, tune=tune, ids=ids, out=out, report_to=report_to
    )


def train_corpus(
    corpus: Corpus,
    setup: Setup,
    how: Training,
    *,
    out: Path,
    rounds: int = 0,
    order: Order = "id_first",
    tune: GeneratorTraining | None = None,
    ids: Path | None = None,
    report_to: str = "none",
) -> TrainResult:
    """`train` for a corpus in memory; the folder keeps all that `evaluate` and further seeds need.

    Args:
        corpus: Histories, items, split.
        setup: Scheme, model, wording.
        how: Training of the recommender.
        out: Folder to write.
        rounds: Of alternation.
        order: Who goes first.
        tune: Training of the generator.
        ids: Textual ids.
        report_to: A tracker.
    """
    tune = tune or GeneratorTraining()
    config = {
        "histories": content_hash([[user.user_id, user.items] for user in corpus.histories.users]),
        "items": content_hash([item.model_dump() for item in corpus.items.values()]),
        "ids": None if ids is None else ids_hash(read_ids(ids)),
        "setup": asdict(setup),
        "training": asdict(how),
        "rounds": rounds,
        "order": order,
        "tune": asdict(tune),
    }
    with Run(out, config, command="idgen train") as run:
        if run.result is not None:
            return TrainResult(**run.result)
        write_records(run.path / "sequences.jsonl", corpus.histories.users)
        write_records(run.path / "items.jsonl", corpus.items.values())
        if ids is not None:
            write_ids(run.path / "given_ids.tsv", read_ids(ids))
        if rounds:
            rec, gen = start_alternation(corpus, setup, out=run.path / "lessons", ids=ids)
        else:
            rec = start_recommender(corpus, setup, ids)
        used = setup.templates if rec.backbone.is_seq2seq else ()
        reports: list[RoundReport] = []
        if rounds:
            alternator = Alternator(gen, rec, corpus.items, corpus.split, used, tune, how)
            reports = alternator.run(run, rounds, order)
            rec = alternator.rec
            loss = reports[-1].recommender_loss
        else:
            fitted = fit_recommender(
                rec, corpus.split.train, how, templates=used, out=run.path / "fit", report_to=report_to
            )
            loss = fitted.loss
        validation = rank_metrics(rec.ranks(corpus.split.validation))
        rec.save(run.path)
        counts = corpus.split.train_counts
        result = TrainResult(
            out=str(out),
            scheme=setup.scheme,
            backbone=setup.backbone,
            users=len(corpus.histories.users),
            items=len(corpus.items),
            cold=sum(counts[item] == 0 for item in corpus.items),
            short=corpus.histories.short,
            dropped=corpus.dropped,
            ids_sha256=ids_hash(rec.ids),
            loss=loss,
            validation=validation,
            rounds=[asdict(report) for report in reports],
            protocol=setup.protocol if setup.names_users else "clean",
        )
        run.complete(asdict(result))
        return result


def corpus_of(run: Path) -> Corpus:
    """The corpus that a finished run was trained on.

    Raises:
        EtudeError: The folder holds no finished run.
    """
    if not (run / "result.json").is_file() or not (run / "recommender.json").is_file():
        raise EtudeError(
            f"{run}: no trained recommender in it", f"Train one: etude idgen train … --out {run}"
        )
    return read_corpus(run / "sequences.jsonl", run / "items.jsonl", i_know=True)


def train_again(run: Path, seed: int) -> Path:
    """The folder of the same training with another seed; trained now, or before."""
    config = read_json(run / "run.json")["config"]
    templates = tuple(Template(**one) for one in config["setup"]["templates"])
    given, folder = run / "given_ids.tsv", run / "seeds" / f"seed-{seed}"
    train_corpus(
        corpus_of(run),
        Setup(**{**config["setup"], "templates": templates, "seed": seed}),
        Training(**{**config["training"], "seed": seed}),
        rounds=config["rounds"],
        order=config["order"],
        tune=GeneratorTraining(**config["tune"]),
        ids=given if given.is_file() else None,
        out=folder,
    )
    return folder
