"""The claim: choosing among retrieved options with solved cases beats the retriever's own first choice.

Trained on BC5CDR train, tested on its development part; every setting was fixed beforehand (N = 10, k = 5,
p = 0.3, character 2-4-grams). A unit is a different (normalized mention, id) pair with a single id that the
vocabulary has. Abbreviations and composites are left as they are, so that units are the same for every arm.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from etude.data.store import cache_root
from etude.errors import EtudeError
from etude.evidence import Arm, Claim, Measurement, Scale
from etude.methods.bioelqa.case_base import Case, CaseBase
from etude.methods.bioelqa.claim_parts import METRIC, SLICE_UNITS, parts, tables
from etude.methods.bioelqa.feature_selector import FeatureSelector
from etude.methods.bioelqa.generator_training import GeneratorSettings
from etude.methods.bioelqa.linker import BioELQA, prepare_base
from etude.methods.bioelqa.mentions import Preprocessing, training_cases
from etude.methods.bioelqa.ngram_retriever import CharNgram
from etude.methods.bioelqa.normalization import normalize
from etude.methods.bioelqa.pubtator import read_pubtator
from etude.methods.bioelqa.questions import Question
from etude.methods.bioelqa.selectors import answer
from etude.methods.bioelqa.slices import Pair, SliceName, membership
from etude.methods.bioelqa.training_questions import QuestionSettings, make_training_questions
from etude.methods.bioelqa.vocabulary import Vocabulary
from etude.models import model_origin
from etude.runs import content_hash, file_hash, source_hash

TRAIN = "bc5cdr_train.pubtator.txt"
TEST = "bc5cdr_dev.pubtator.txt"
VOCABULARY = "mesh_names.tsv"
N_OPTIONS, N_CLUES, MASK = 10, 5, 0.3
MARKS: tuple[tuple[SliceName, str], ...] = (("unseen-mention", "m"), ("unseen-id", "i"), ("rare", "r"))
"""Slices and the letters that mark them in a unit's name."""


@dataclass(frozen=True)
class Setting:
    """How much is run.

    Args:
        seeds: Of masking, orders and weights.
        questions: Training questions of the causal selector; 0 leaves it out.
        asked: Test pairs it is asked about, drawn by a fixed seed; 0 for all.
        generator: Model of the language-model selector.
        kind: Which selector it is.
    """

    seeds: tuple[int, ...]
    questions: int = 0
    asked: int = 0
    generator: str = "smollm2"
    kind: str = "causal"


SCALES = {
    "laptop": Setting((0, 1, 2, 3, 4)),
    "slow": Setting((0,), 160, 120),
    "paper": Setting((0, 1, 2, 3, 4), 1 << 30, 0, "google-t5/t5-base", "seq2seq"),
}


class World:
    """The data, read once.

    Args:
        data: The folder.
    """

    def __init__(self, data: Path) -> None:
        self.data = data

    @cached_property
    def base(self) -> CaseBase:
        """Vocabulary, solved cases, retriever."""
        vocabulary = Vocabulary.from_mesh_names(self.data / VOCABULARY)
        how = Preprocessing(abbreviations=False, composites=False)
        cases, _ = training_cases(read_pubtator(self.data / TRAIN), vocabulary, how)
        return prepare_base(CharNgram(), vocabulary, cases, learn_names=True)

    @cached_property
    def units(self) -> dict[str, Case]:
        """Unit name to test pair; the name says which slices it is in."""
        pairs = {
            Case(normalize(mention.text), mention.ids[0])
            for document in read_pubtator(self.data / TEST)
            for mention in document.mentions
            if len(mention.ids) == 1 and mention.ids[0] in self.base.vocabulary and normalize(mention.text)
        }
        inside = membership(self.base)
        named = {}
        for case in sorted(pairs, key=lambda case: (case.mention, case.id)):
            pair = Pair((case.mention,), (case.id,))
            marks = "".join(mark if inside[name](pair) else "-" for name, mark in MARKS)
            named[f"{marks}|{case.id}|{case.mention}"] = case
        return named

    def questions(self, names: Sequence[str], n_clues: int) -> list[Question]:
        """The test questions."""
        mentions = [self.units[name].mention for name in names]
        return self.base.questions(mentions, n_options=N_OPTIONS, n_clues=n_clues)


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """The claim of bioelqa.

    Args:
        scale: `laptop`: feature selectors, 5 seeds. `slow`: also a causal language model with LoRA on a small
            part, with one seed. `paper`: also T5-base on everything (one 24 GB GPU).
        data: The folder that `etude show bioelqa` describes.
        seeds: Of masking, orders and weights.
        model: The language model of `slow` and `paper`.

    Raises:
        EtudeError: The data are missing.
    """
    if data is None:
        raise EtudeError("bioelqa: the claim needs data", "Give --data DIR; see: etude show bioelqa.")
    missing = [name for name in (TRAIN, TEST, VOCABULARY) if not (data / name).is_file()]
    if missing:
        raise EtudeError(f"{data}: no {', '.join(missing)}", "See what it holds: etude show bioelqa.")
    setting = SCALES[scale]
    name = model or setting.generator
    world = World(data)
    arms = [
        Arm("retriever top-1", lambda seed: _retriever(world), seeded=False),
        Arm("kNN label copy", lambda seed: _nearest_case(world), seeded=False),
        Arm("oracle@10", lambda seed: _oracle(world), seeded=False),
        _selector_arm(world, "listwise, clues, masking", N_CLUES, MASK, attention=True),
        _selector_arm(world, "listwise, clues, no masking", N_CLUES, 0.0, attention=True),
        _selector_arm(world, "listwise, no clues", 0, MASK, attention=True),
        _selector_arm(world, "pointwise, clues, masking", N_CLUES, MASK, attention=False),
    ]
    generator = None
    if setting.questions:
        generator = f"{setting.kind} {name}"
        arms.append(
            Arm(
                generator,
                lambda seed: _language_model(world, setting, name, seed),
                {"questions": setting.questions, "asked": setting.asked, "model": model_origin(name)},
            )
        )
    return Claim(
        name="bioelqa",
        statement=(
            "Choosing among retrieved options with similar solved cases beats the retriever's first choice."
        ),
        arms=arms,
        parts=parts(generator),
        metrics={METRIC: "higher"},
        seeds=seeds or setting.seeds,
        config={
            "scale": scale,
            "data": {file: file_hash(data / file) for file in (TRAIN, TEST, VOCABULARY)},
            "settings": [N_OPTIONS, N_CLUES, MASK],
        },
        columns=("pairs", "cases", "questions", "dropped", "seconds"),
        notes=(
            "Units are different (normalized mention, id) pairs of the test part whose single id the "
            "vocabulary has; no abbreviations are written out.",
            f"Slices by training mentions: {', '.join(SLICE_UNITS)}; a rare id has at most 2.",
            "Whether a sequence-to-sequence generator helps the long tail, as the paper says, is not settled "
            "here: no T5 was trained at full scale.",
        ),
        blocks=lambda evidence: tables(evidence, generator),
    )


def _right(world: World, chosen: dict[str, str | None], **facts: Any) -> Measurement:
    scores = {name: float(chosen[name] == world.units[name].id) for name in chosen}
    return Measurement({METRIC: scores}, {"pairs": len(chosen), "cases": len(world.base.cases), **facts})


def _retriever(world: World) -> Measurement:
    names = list(world.units)
    asked = world.questions(names, 0)
    return _right(
        world, {n: q.options[0].id if q.options else None for n, q in zip(names, asked, strict=True)}
    )


def _nearest_case(world: World) -> Measurement:
    """The id of the most similar training mention."""
    names = list(world.units)
    asked = world.questions(names, N_CLUES)
    return _right(world, {n: q.clues[0].id if q.clues else None for n, q in zip(names, asked, strict=True)})


def _oracle(world: World) -> Measurement:
    names = list(world.units)
    asked = world.questions(names, 0)
    return _right(
        world,
        {
            n: world.units[n].id if world.units[n].id in {o.id for o in q.options} else None
            for n, q in zip(names, asked, strict=True)
        },
    )


def _selector_arm(world: World, label: str, n_clues: int, mask: float, *, attention: bool) -> Arm:
    def measure(seed: int) -> Measurement:
        how = QuestionSettings(n_options=N_OPTIONS, n_clues=n_clues, clue_mask=mask)
        linker = BioELQA(selector=FeatureSelector(attention=attention), **asdict(how))
        return _measured(world, linker, how, seed, list(world.units), None)

    return Arm(label, measure, {"clues": n_clues, "mask": mask, "attention": attention})


def _language_model(world: World, setting: Setting, name: str, seed: int) -> Measurement:
    """A generator trained on a part of the questions and asked about a part of the pairs."""
    how = QuestionSettings(n_options=N_OPTIONS, n_clues=N_CLUES, clue_mask=MASK, variants=2)
    selector = _generator(setting.kind, name)
    names = list(world.units)
    if setting.asked:
        drawn = np.random.default_rng(0).permutation(len(names))[: setting.asked]
        names = [names[i] for i in sorted(drawn)]
    linker = BioELQA(selector=selector, orders=4, **asdict(how))  # letters are not equal to a small model
    return _measured(world, linker, how, seed, names, setting.questions)


@cache
def _generator(kind: str, name: str) -> Any:
    if kind == "seq2seq":
        from etude.methods.bioelqa.seq2seq_selector import Seq2SeqSelector

        return Seq2SeqSelector(name, GeneratorSettings(epochs=3, batch_size=16))
    from etude.methods.bioelqa.causal_selector import CausalSelector

    return CausalSelector(name, GeneratorSettings(epochs=1, batch_size=8, learning_rate=5e-4))


def _measured(
    world: World,
    linker: BioELQA,
    how: QuestionSettings,
    seed: int,
    names: Sequence[str],
    limit: int | None,
) -> Measurement:
    started = time.process_time()
    questions, dropped = make_training_questions(world.base, how, seed=seed)
    if limit is not None:
        kept = np.random.default_rng(seed).permutation(len(questions))[:limit]
        questions = [questions[i] for i in sorted(kept)]
    assert linker.selector is not None
    folder = _checkpoints(linker, world, seed, limit)
    linker.selector.fit(questions, out=folder, seed=seed)
    asked = world.questions(names, how.n_clues)
    shares = answer(linker.selector, asked, orders=linker.orders)
    chosen = {
        name: question.options[int(np.argmax(found))].id if question.options else None
        for name, question, found in zip(names, asked, shares, strict=True)
    }
    shutil.rmtree(folder, ignore_errors=True)
    return _right(
        world,
        chosen,
        questions=len(questions),
        dropped=dropped,
        seconds=round(time.process_time() - started, 1),
    )


def _checkpoints(linker: BioELQA, world: World, seed: int, limit: int | None) -> Path:
    """Where an arm that is killed while it trains goes on; deleted when it is measured."""
    assert linker.selector is not None
    address = content_hash(
        [
            source_hash("etude.methods.bioelqa"),
            file_hash(world.data / TRAIN),
            asdict(linker.settings),
            linker.selector.identity,
            seed,
            limit,
        ]
    )
    return cache_root() / "bioelqa" / address[:24]
