"""What the claim's arms share: sentences, triples, scores, curated subsets, encoders, development pairs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from etude.data.store import cache_root
from etude.errors import EtudeError
from etude.methods.semcsr.curation import Curator, with_roles
from etude.methods.semcsr.encoders import Kind, TrainableEncoder, load_sentence_transformer, open_encoder
from etude.methods.semcsr.frozen_lm import FrozenLMEncoder
from etude.methods.semcsr.generation import write_triples_file
from etude.methods.semcsr.learning import sampled
from etude.methods.semcsr.making import score
from etude.methods.semcsr.prompts import prompt_set
from etude.methods.semcsr.sentences import normalized, read_sentences
from etude.methods.semcsr.similarity_scorers import EmbedScorer
from etude.methods.semcsr.sts import STSPair, halves, read_sts, sts_texts
from etude.methods.semcsr.training import Objective, TrainConfig, Training, fit_encoder
from etude.methods.semcsr.triples import Triple, read_triples
from etude.methods.semcsr.writers import Writing
from etude.render import console

TRAIN, DEV, SHARED = "stsb_train.csv", "stsb_dev.csv", "triples_smollm2.jsonl"
HEADLINES = "headlines"
MINILM_RULES = Curator(alpha=3.0, beta=4.0, gamma=0.5, max_copy=0.9)
"""The thresholds for MiniLM's cosines, fixed before any figure of the evaluation was seen."""
PAPER_RULES = Curator(alpha=3.0, beta=3.0, gamma=1.0)


@dataclass(frozen=True)
class Setting:
    """How large the experiment is.

    Args:
        kinds: Encoders to steps (0: three epochs).
        encoder: What is trained; None for the writer itself.
        lm: What writes and grades; None for the claim's model.
        prompts: What it is asked.
        omega: Weight of the opposite instruction.
        sweep: Other weights.
        phis: Other thresholds of the mask.
        batch_size: Triples per step.
        paper_rules: Curate by the paper's thresholds; else keep as many as with MiniLM's scores.
        seeds: Seeds.
    """

    kinds: tuple[tuple[Kind, int], ...] = (("static", 200), ("frozen-lm", 100))
    encoder: str | None = None
    lm: str | None = None
    prompts: str = "nli-4shot"
    omega: float = 0.3
    sweep: tuple[float, ...] = ()
    phis: tuple[float, ...] = ()
    batch_size: int = 64
    paper_rules: bool = False
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)


class World:
    """Everything the arms have in common; each thing is made when it is first needed.

    Args:
        data: The folder with the STS files.
        setting: Sizes.
        model: The language model.
    """

    def __init__(self, data: Path, setting: Setting, model: str) -> None:
        self.data, self.setting = data, setting
        self.lm = setting.lm or model
        self.encoder_name = setting.encoder or model
        self.work = Path(tempfile.mkdtemp(prefix="etude-semcsr-claim-"))

    @cached_property
    def dev(self) -> list[STSPair]:
        """All development pairs."""
        return read_sts(self.data / DEV)

    @cached_property
    def stopping(self) -> list[STSPair]:
        """The half that chooses the checkpoint: captions and SNLI."""
        return [pair for pair in halves(self.dev)[0] if pair.genre != HEADLINES]

    @cached_property
    def reported(self) -> list[STSPair]:
        """The half that is reported."""
        return halves(self.dev)[1]

    @cached_property
    def evaluation_texts(self) -> set[str]:
        """What no training sentence may be."""
        return {normalized(text) for text in sts_texts(self.dev)}

    @cached_property
    def sentences(self) -> list[str]:
        """The anchors: distinct sentences that the development pairs do not hold."""
        own = self.data / "sentences.txt"
        if own.is_file():
            texts = read_sentences(own).texts
        elif (self.data / SHARED).is_file():
            texts = [" ".join(row.sent0.split()) for row in read_triples(self.data / SHARED)]
        else:
            pairs = [pair for pair in read_sts(self.data / TRAIN) if pair.genre == "images"]
            texts = sts_texts(pairs)
        distinct = {normalized(text): text for text in reversed(texts)}
        kept = [text for text in texts if distinct.pop(normalized(text), None) is not None]
        return [text for text in kept if normalized(text) not in self.evaluation_texts]

    def triples_path(self, omega: float) -> Path:
        """The file of triples with an ω: in the data folder, the recorded one, or made now (resumable)."""
        name = f"scored_omega_{omega:g}.jsonl"
        recorded = Path(__file__).resolve().parents[4] / "docs" / "artifacts" / "semcsr"
        if self.lm == "smollm2":
            for folder in (self.data, recorded):
                for path in (folder / name, folder / f"{name}.gz"):
                    if path.is_file():
                        return path
        writing = Writing(self.lm, prompt_set(self.setting.prompts), omega)
        folder = cache_root() / "semcsr" / f"{self.lm.replace('/', '-')}-{self.setting.prompts}"
        console().print(
            f"semcsr claim: writing triples with omega {omega:g} into {folder} (kept for next time)"
        )
        write_triples_file(folder / f"triples_omega_{omega:g}.jsonl", self.sentences, writing)
        score(folder / f"triples_omega_{omega:g}.jsonl", lm=self.lm, out=folder / name)
        return folder / name

    @cache  # noqa: B019
    def written(self, omega: float) -> dict[str, Triple]:
        """Whole triples by their sentence, in the order of the sentences."""
        rows = {row.sent0: row for row in read_triples(self.triples_path(omega))}
        good = {text: rows[text] for text in self.sentences if text in rows}
        return {text: row for text, row in good.items() if row.status == "ok" and row.hard_neg}

    def triples(self, omega: float) -> list[Triple]:
        """Triples of the sentences that every ω of the setting has a triple for."""
        weights = (0.0, self.setting.omega, *self.setting.sweep)
        shared = set.intersection(*(set(self.written(one)) for one in weights))
        if not shared:
            raise EtudeError(
                f"{self.data}: the recorded triples have none of its sentences",
                "Give the folder that they were made from, or another --model to write new ones.",
            )
        return [row for text, row in self.written(omega).items() if text in shared]

    @cached_property
    def minilm_curated(self) -> list[Triple]:
        """The triples that MiniLM's cosines keep."""
        rows = self.triples(self.setting.omega)
        scores = EmbedScorer("minilm").score(
            [(r.sent0, r.sent1) for r in rows] + [(r.sent0, r.hard_neg) for r in rows]
        )
        scored = [
            row.model_copy(update={"positive_score": a, "negative_score": b})
            for row, a, b in zip(rows, scores[: len(rows)], scores[len(rows) :], strict=True)
        ]
        return MINILM_RULES.split(scored)[0]

    def self_curated(self, omega: float) -> list[Triple]:
        """The triples that the writer's own grades keep: by the paper's rules, or as many as MiniLM's."""
        rows = self.triples(omega)
        if self.setting.paper_rules:
            return PAPER_RULES.split(rows)[0]
        count = len(self.minilm_curated)
        passing = Curator(0, 5, 0, MINILM_RULES.max_copy).split(rows)[0]
        gaps = sorted((gap(row) for row in passing), reverse=True)
        least = gaps[min(count, len(gaps)) - 1]
        return Curator(0, 5, max(0.0, least), MINILM_RULES.max_copy).split(rows)[0]

    def random_subset(self, seed: int) -> list[Triple]:
        """As many uncurated triples as the writer's own grades keep, drawn by the seed."""
        return sampled(self.triples(self.setting.omega), len(self.self_curated(self.setting.omega)), seed)

    @cached_property
    def shared_file(self) -> list[Triple]:
        """The data folder's own triples of the same sentences."""
        kept = {normalized(row.sent0) for row in self.triples(self.setting.omega)}
        return [row for row in read_triples(self.data / SHARED) if normalized(row.sent0) in kept]

    @cached_property
    def human(self) -> list[Triple]:
        """Training pairs that people scored 4 or more, without sentences of the development pairs."""
        pairs = [pair for pair in read_sts(self.data / TRAIN) if pair.score >= 4 and pair.genre == "images"]
        clean = [
            pair for pair in pairs
            if not {normalized(pair.sentence1), normalized(pair.sentence2)} & self.evaluation_texts
        ]  # fmt: skip
        return [Triple(id=str(i), sent0=pair.sentence1, sent1=pair.sentence2) for i, pair in enumerate(clean)]

    @cache  # noqa: B019
    def encoder(self, kind: Kind) -> TrainableEncoder:
        """The encoder to train; its center and axes are those of the sentences."""
        opened = open_encoder(self.encoder_name, self.sentences, self.work / str(kind), kind=kind)
        if isinstance(opened, FrozenLMEncoder):  # at once: a text's states then hang on no arm's order
            opened.known.remember(self.all_texts)
        return opened

    @cached_property
    def all_texts(self) -> list[str]:
        """Every text that some arm trains on or is scored with."""
        weights = (0.0, self.setting.omega, *self.setting.sweep)
        rows = [row for one in weights for row in self.triples(one)] + self.human
        if (self.data / SHARED).is_file():
            rows += self.shared_file
        texts = [text for row in rows for text in (row.sent0, row.sent1, row.hard_neg) if text]
        return [*texts, *sts_texts(self.dev)]

    def looking_up(self, kind: Kind, model: Any) -> Any:
        """The trained encoder; `frozen-lm` without computing the frozen states again."""
        opened = self.encoder(kind)
        return opened.looking_up(model) if isinstance(opened, FrozenLMEncoder) else model

    @cache  # noqa: B019
    def simcse(self, kind: Kind, seed: int) -> Training:
        """Unsupervised SimCSE on the same sentences."""
        return self.train(kind, self.triples(self.setting.omega), seed, objective="simcse")

    def train(
        self,
        kind: Kind,
        rows: Sequence[Triple],
        seed: int,
        *,
        objective: Objective = "triples",
        reference: Any = None,
        phi: float = 2.0,
    ) -> Training:
        """Train on rows with the settings that all arms share; φ above 1 masks nothing."""
        steps = dict(self.setting.kinds)[kind]
        config = TrainConfig(
            kind=kind,
            objective=objective,
            phi=phi,
            steps=steps or None,
            batch_size=self.setting.batch_size,
            seed=seed,
        )
        return fit_encoder(self.encoder(kind), rows, config, dev=self.stopping, reference=reference)

    @cache  # noqa: B019
    def minilm(self) -> Any:
        """The ceiling."""
        return load_sentence_transformer("minilm")


def gap(row: Triple) -> float:
    """A - b once the roles are right."""
    row = with_roles(row)
    return (row.positive_score or 0.0) - (row.negative_score or 0.0)
