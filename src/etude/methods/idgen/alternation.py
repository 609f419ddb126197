"""Generator and recommender by turns (section 3.4): tune one, write all ids anew, train the other on them.

A round is, in the order `id_first`: tune the generator through the frozen recommender, write new ids for all
items, train the recommender on them. `rec_first` begins with the recommender. New ids make what the
recommender remembers of the old ones worthless, so it goes on from its weights and the share of changed ids
is reported with each round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeAlias

from safetensors.torch import load_model, save_model

from etude.methods.idgen.backbones import Backbone
from etude.methods.idgen.items import Item
from etude.methods.idgen.leave_one_out import SeqSplit
from etude.methods.idgen.rank_metrics import rank_metrics
from etude.methods.idgen.recommender import GenerativeRecommender
from etude.methods.idgen.recommender_training import Training, fit_recommender
from etude.methods.idgen.templates import Template
from etude.methods.idgen.textual_ids import ids_hash, read_ids, write_ids
from etude.methods.idgen.through_recommender import SampledTargets, ThroughRecommender
from etude.methods.idgen.training_batches import only
from etude.methods.idgen.unique_ids import IdGenerator
from etude.runs import Run, atomic_path

Order: TypeAlias = Literal["id_first", "rec_first"]


@dataclass(frozen=True)
class GeneratorTraining:
    """How the generator is tuned in a round.

    Args:
        epochs: Passes (paper: 1).
        batch_size: Histories of a batch (paper: 12).
        learning_rate: Constant; the official code's 1e-8 hardly moves anything.
        histories: Use so many random histories in an epoch; None for all.
        temperature: Of the soft ids.
        straight_through: Whether slots hold the greedy tokens' embeddings.
        text_tokens: Tokens of an item's text that are read.
    """

    epochs: int = 1
    batch_size: int = 12
    learning_rate: float = 1e-5
    histories: int | None = None
    temperature: float = 1.0
    straight_through: bool = False
    text_tokens: int = 256


@dataclass(frozen=True)
class RoundReport:
    """What a round changed.

    Args:
        round: Its number, from 1.
        changed: Share of the items whose id is another one than before.
        generator_loss: The recommender's loss through soft ids while the generator was tuned; None if frozen.
        recommender_loss: The recommender's training loss afterwards.
        validation: HR and NDCG on validation questions.
        ids_sha256: Of the round's ids.
    """

    round: int
    changed: float
    generator_loss: float | None
    recommender_loss: float
    validation: dict[str, float]
    ids_sha256: str


@dataclass
class Alternator:
    """A generator and a recommender that share a vocabulary.

    Args:
        gen: Writes ids.
        rec: Reads and writes them; its ids are those of phase 0, and are replaced by each round.
        items: The catalogue.
        split: Histories; training uses the training part, reports the validation questions.
        templates: Wordings for training, where the recommender has an encoder.
        tune: How the generator is tuned.
        train: How the recommender is trained in each round.
        frozen: Keep the ids of phase 0: the control, in which the recommender is trained all the same.
    """

    gen: Backbone
    rec: GenerativeRecommender
    items: Mapping[str, Item]
    split: SeqSplit
    templates: tuple[Template, ...] = ()
    tune: GeneratorTraining = field(default_factory=GeneratorTraining)
    train: Training = field(default_factory=Training)
    frozen: bool = False

    def run(self, run: Run, rounds: int = 3, order: Order = "id_first") -> list[RoundReport]:
        """Alternate; finished stages of a killed run are read, not repeated.

        Args:
            run: An open run; stages keep their weights and ids in its folder.
            rounds: How many (paper: 3).
            order: Who goes first.
        """
        reports = []
        for number in range(1, rounds + 1):
            folder = run.path / f"round-{number}"

            def rename(number: int = number, folder: Path = folder) -> tuple[float | None, float]:
                if self.frozen:
                    return None, 0.0
                loss = self._stage(
                    run, f"tune-{number}", folder, self.gen, lambda: self._tune(folder, number)
                )
                return loss, self._rename(run, number, folder)

            def learn(number: int = number, folder: Path = folder) -> float:
                return self._stage(
                    run, f"train-{number}", folder, self.rec.backbone, lambda: self._train(folder, number)
                )

            if order == "id_first":
                (generator_loss, changed), recommender_loss = rename(), learn()
            else:
                recommender_loss, (generator_loss, changed) = learn(), rename()
            validation = run.step(f"validate-{number}", self._validate)
            reports.append(
                RoundReport(
                    number, changed, generator_loss, recommender_loss, validation, ids_hash(self.rec.ids)
                )
            )
            run.finish(f"report-{number}", asdict(reports[-1]))
        return reports

    def _stage(
        self, run: Run, step: str, folder: Path, backbone: Backbone, compute: Callable[[], float]
    ) -> float:
        """Change a model's weights, or read how they were changed."""
        path = folder / f"{step}.safetensors"
        if run.finished(step):
            load_model(backbone.model, path)
            return float(run.record(step))
        loss = compute()
        with atomic_path(path) as temporary:
            save_model(backbone.model, str(temporary))
        run.finish(step, loss)
        return loss

    def _tune(self, folder: Path, number: int) -> float:
        return tune_generator(
            self.gen,
            self.rec,
            self.items,
            self.split,
            self.tune,
            seed=self.train.seed + number,
            out=folder / "gen",
        )

    def _rename(self, run: Run, number: int, folder: Path) -> float:
        """Write all ids anew; they are kept in a file named by their hash."""

        def write() -> dict[str, str]:
            named = IdGenerator(self.gen.model, self.gen.tokenizer).generate(self.items.values())
            kept = {item: named[item] for item in self.rec.items}
            name = f"ids-{ids_hash(kept)[:16]}.tsv"
            write_ids(folder / name, kept)
            return {"file": name}

        new = read_ids(folder / run.step(f"ids-{number}", write)["file"])
        changed = sum(new[item] != old for item, old in self.rec.ids.items()) / len(new)
        self.rec = replace(self.rec, ids=new)
        return changed

    def _train(self, folder: Path, number: int) -> float:
        how = replace(self.train, seed=self.train.seed + number)
        return fit_recommender(
            self.rec, self.split.train, how, templates=self.templates, out=folder / "rec"
        ).loss

    def _validate(self) -> dict[str, float]:
        return rank_metrics(self.rec.ranks(self.split.validation))


def tune_generator(
    generator: Backbone,
    recommender: GenerativeRecommender,
    items: Mapping[str, Item],
    split: SeqSplit,
    how: GeneratorTraining,
    *,
    seed: int,
    out: Path,
) -> float:
    """Train the generator in place through the frozen recommender, and return the loss at the end.

    Args:
        generator: Writes ids; trained.
        recommender: Reads them; frozen.
        items: The catalogue.
        split: Its training part is used.
        how: Epochs, batch, rate.
        seed: Of order and sampling.
        out: Folder for checkpoints.

    Raises:
        EtudeError: The two do not share a vocabulary, or the loss is not finite.
    """
    from etude.training import fit

    module = ThroughRecommender(
        generator,
        recommender,
        items,
        temperature=how.temperature,
        straight_through=how.straight_through,
        text_tokens=how.text_tokens,
    )
    number = recommender.number
    data = SampledTargets(
        [[number[item] for item in history.items] for history in split.train],
        max_history=recommender.max_history,
        most=how.histories,
        epochs=how.epochs,
        batch_size=how.batch_size,
        seed=seed,
    )
    fitted = fit(
        module,
        data,
        out=out,
        epochs=1,
        batch_size=1,
        learning_rate=how.learning_rate,
        schedule="constant",
        seed=seed,
        save_every=data.per_epoch,
        collate=only,
        label="id generator, through the recommender",
    )
    recommender.backbone.model.requires_grad_(True)
    return fitted.train_loss
