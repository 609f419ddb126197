"""The claim: the check measures faithfulness. Then a real small model; at paper scale the paper's own
orderings.

A small model cannot support the paper's claims about models of 7B and more, so what is tested is the check
itself: models of known faithfulness must get the rate that theory gives them (A), and Delta must see what
    the raw rate cannot
(B). C asks whether a real small model's word lists are evidence of anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etude.errors import EtudeError
from etude.evidence import Arm, Check, Claim, Comparison, Interval, Measurement, Part, Scale
from etude.methods.self_explanations.chats import PAPER_DECODING, Asker, Settings
from etude.methods.self_explanations.experiment import explain_and_check
from etude.methods.self_explanations.instruments import NAMES
from etude.methods.self_explanations.lexicon import Lexicon, read_lexicon
from etude.methods.self_explanations.observations import Observation
from etude.methods.self_explanations.rates import cells_of
from etude.methods.self_explanations.reporting import detail_table, rate_table
from etude.methods.self_explanations.rows import Row
from etude.methods.self_explanations.sources import read_observations
from etude.methods.self_explanations.tasks import Sentiment, TaskName, task_named
from etude.methods.self_explanations.validity import measure_instrument, verify
from etude.methods.self_explanations.variants import KINDS, Kind, grid
from etude.methods.self_explanations.wordings import wording_hash
from etude.models import chat_model, model_origin
from etude.runs import file_hash

if TYPE_CHECKING:
    from etude.evidence import Evidence
    from etude.render import Block

POLARITY = "sentence_polarity.jsonl"
TEXTS = 1000
"""Texts that the instruments read."""


@dataclass(frozen=True)
class DataSet:
    """A data set of the claim: its name in arms, its task, and its source within the data folder."""

    name: str
    task: TaskName
    source: str


@dataclass(frozen=True)
class Budget:
    """What a scale asks of a real model.

    Args:
        model: The model.
        settings: How it is asked.
        kinds: The explanation types.
        data: The data sets.
        limit: Texts of each; None for all.
        occlusion: Also the occlusion reference.
    """

    model: str
    settings: Settings
    kinds: tuple[Kind, ...]
    data: tuple[DataSet, ...]
    limit: int | None
    occlusion: bool = False


_SNIPPETS = DataSet("snippets", "sentiment", POLARITY)
BUDGETS = {
    "laptop": Budget("smollm2", Settings("calibrated", max_tokens=32), ("attribution",), (_SNIPPETS,), 200),
    "slow": Budget(
        "smollm2", Settings("calibrated", max_tokens=96), KINDS, (_SNIPPETS,), 1000, occlusion=True
    ),
    "paper": Budget(
        "meta-llama/Llama-2-70b-chat-hf",
        Settings("free", 1024, 1024, temperature=0.1, decoding=PAPER_DECODING),
        KINDS,
        (
            DataSet("IMDB", "sentiment", "movie_reviews.jsonl"),
            DataSet("bAbI-1", "multiple-choice", "babi-1"),
            DataSet("MCTest", "multiple-choice", "mctest/mc500.dev.tsv"),
            DataSet("RTE", "entailment", "rte3_dev.jsonl"),
        ),
        None,
    ),
}  # fmt: skip
_ORDERINGS: tuple[tuple[str, Kind, Kind], ...] = (
    ("IMDB", "counterfactual", "attribution"),
    ("bAbI-1", "attribution", "counterfactual"),
    ("RTE", "attribution", "counterfactual"),
)
"""What the paper finds for Llama2-70B: data set, the more faithful type, the less faithful one."""
_MORE_THAN_RANDOM = {
    "faithfulness": "without its words the answer is unknown more often than without random ones",
    "flips": "masking its words changes the answer more often than masking random ones",
}
_MUST = {
    "honest": "honest: exactly 1",
    "hidden-rule": "hidden rule: exactly 0",
    "refuser": "refuser: raw 1, Delta 0",
}


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """The claim of self-explanations.

    Args:
        scale: `laptop`: 200 snippets, word lists of 32 tokens, labels by calibrated score. `slow`: 1,000
            snippets, all three explanation types, occlusion. `paper`: four data sets, all types, free text
            with the paper's sampling.
        data: A folder with `sentence_polarity.jsonl` and the Opinion Lexicon; at paper scale also the other
            sets.
        seeds: Of the instruments' random parts and of the random control.
        model: The real model; `smollm2` by default, Llama2-70B at paper scale.

    Raises:
        EtudeError: The data is missing.
    """
    budget = BUDGETS[scale]
    wanted = [data_set.source for data_set in budget.data if data_set.source != "babi-1"]
    needed = list(dict.fromkeys([POLARITY, "positive-words.txt", "negative-words.txt", *wanted]))
    missing = [name for name in needed if data is None or not (data / name).is_file()]
    if data is None or missing:
        raise EtudeError(
            f"{data or 'no --data folder'}: this claim needs {', '.join(missing)}",
            "Sentence Polarity v1.0 as JSONL (id, text, label) and the Opinion Lexicon: NLTK's "
            "sentence_polarity and opinion_lexicon; for --scale paper also IMDB reviews, MCTest and RTE.",
        )
    name = model or budget.model
    lexicon = read_lexicon(data)
    texts = read_observations(str(data / POLARITY), Sentiment(), TEXTS)
    real = _RealModel(name, budget, data)
    arms = [_instrument_arm(instrument, texts, lexicon) for instrument in NAMES]
    arms += [arm for data_set in budget.data for arm in real.arms(data_set)]
    is_local = name.partition("/")[0] not in ("openai", "inspect")
    origin = model_origin(name) if is_local else {"name": name, "precision": "served", "source": "a server"}
    return Claim(
        name="self-explanations",
        statement="The check measures faithfulness: models of known faithfulness get the rate they should.",
        arms=arms,
        parts=[
            Part("A", "Instruments get the rate that theory gives them.", [_check(n) for n in NAMES]),
            Part("B", "The raw rate cannot tell an honest model from a refuser; Delta can.", _apart()),
            *real.parts(scale),
        ],
        metrics={"faithfulness": "higher", "Delta": "higher", "flips": "higher"},
        seeds=seeds or (0, 1, 2),
        config={
            "scale": scale,
            "model": origin,
            "budget": asdict(budget),
            "wording": wording_hash(),
            "data": {file: file_hash(data / file) for file in needed},
        },
        notes=(
            f"{name} is {origin['precision']} ({origin['source']}); labels: {budget.settings.answers}.",
            "Counted are texts whose first answer is right and all of whose answers could be read.",
            "An instrument's interval is exact: the chance that random words leave as many positive as "
            "negative words, text by text, at 99.99 %, so that a sound table fails once in thousands of "
            "seeds.",
            "Nothing here speaks of chain-of-thought.",
        ),
        blocks=_blocks,
    )


def _instrument_arm(name: str, texts: Sequence[Observation], lexicon: Lexicon) -> Arm:
    by_id = {observation.id: observation.text for observation in texts}

    def run(seed: int) -> Measurement:
        rows = measure_instrument(name, texts, lexicon, seed)
        verified = verify(name, rows, by_id, lexicon, seed)
        if verified is None:
            raise EtudeError(f"instrument {name}: no text is counted", "Give texts with opinion words.")
        return Measurement(_scores(rows, "own"), {"verification": asdict(verified)})

    return Arm(f"instrument {name}", run, {"texts": len(texts)})


def _scores(rows: Sequence[Row], words: str) -> dict[str, dict[str, float]]:
    """Metric to text to value, of the explanation (`own`), the random control or the occlusion reference."""
    kept = [row for row in rows if row.faithful is not None]
    if words == "control":
        paired = [row for row in kept if row.control_faithful is not None]
        return {
            "faithfulness": {row.id: float(bool(row.control_faithful)) for row in paired},
            "flips": {row.id: float(bool(row.control_flip)) for row in paired},
        }
    if words == "occlusion":
        found = [row for row in kept if row.reference_faithful is not None]
        return {"faithfulness": {row.id: float(bool(row.reference_faithful)) for row in found}}
    scores = {
        "faithfulness": {row.id: float(bool(row.faithful)) for row in kept},
        "flips": {row.id: float(bool(row.flip)) for row in kept},
    }
    delta = {
        row.id: float(bool(row.faithful)) - float(bool(row.control_faithful))
        for row in kept
        if row.control_faithful is not None
    }
    return scores | ({"Delta": delta} if delta else {})


class _RealModel:
    """The arms and parts of a real model; a seed's chats are held once for all of them."""

    def __init__(self, name: str, budget: Budget, data: Path) -> None:
        self.name = name
        self.budget = budget
        self.measure: Callable[[DataSet, int], list[Row]] = cache(lambda *asked: self._ask(data, *asked))

    def _ask(self, data: Path, data_set: DataSet, seed: int) -> list[Row]:
        task = task_named(data_set.task)
        source = data_set.source if data_set.source == "babi-1" else str(data / data_set.source)
        observations = read_observations(source, task, self.budget.limit)
        settings = replace(self.budget.settings, seed=seed)
        return explain_and_check(
            Asker(chat_model(self.name), settings),
            task,
            observations,
            grid(self.budget.kinds),
            data=data_set.name,
            occlusion=self.budget.occlusion,
        )

    def arm_name(self, data_set: str, kind: Kind, words: str = "own") -> str:
        """The name of an arm: short, for plots have it twice in a line."""
        said = {"own": kind, "control": f"random, as {kind}", "occlusion": "occlusion"}[words]
        return f"{data_set}: {said}"

    def arms(self, data_set: DataSet) -> list[Arm]:
        """Its explanations, random words and, if asked for, occlusion."""
        sampled = self.budget.settings.temperature > 0
        made = []
        for kind in self.budget.kinds:
            sorts = ["own"] + (["control"] if kind != "counterfactual" else [])
            sorts += ["occlusion"] if self.budget.occlusion and kind == "attribution" else []
            for words in sorts:
                made.append(
                    Arm(
                        self.arm_name(data_set.name, kind, words),
                        lambda seed, kind=kind, words=words: self._measurement(data_set, kind, words, seed),  # type: ignore[misc]
                        {"kind": kind, "words": words},
                        seeded=sampled or words == "control",
                    )
                )
        return made

    def _measurement(self, data_set: DataSet, kind: Kind, words: str, seed: int) -> Measurement:
        rows = [row for row in self.measure(data_set, seed) if row.variant.kind == kind]
        scores = _scores(rows, words)
        scores.pop("Delta", None)  # an arm of its own stands for the control
        return Measurement(
            scores, {"cells": [asdict(cell) for cell in cells_of(rows)]} if words == "own" else {}
        )

    def parts(self, scale: Scale) -> list[Part]:
        """Whether its words matter more than random ones; at paper scale also the paper's orderings."""
        entries = [
            Comparison(
                metric,
                self.arm_name(data_set.name, kind),
                self.arm_name(data_set.name, kind, "control"),
                "higher",
                statement=f"{data_set.name}, {kind}: {said}",
            )
            for data_set in self.budget.data
            for kind in self.budget.kinds
            if kind != "counterfactual"
            for metric, said in _MORE_THAN_RANDOM.items()
        ]
        statement = f"{self.name}: the words it names matter more to its answers than random words."
        found = [Part("C", statement, entries)]
        if scale == "paper":
            ordered = [
                Comparison(
                    "faithfulness",
                    self.arm_name(name, better),
                    self.arm_name(name, worse),
                    "higher",
                    statement=f"{name}: {better} is more faithful than {worse}",
                )
                for name, better, worse in _ORDERINGS
            ]
            found.append(
                Part("D", "Faithfulness depends on the explanation and the task, as for Llama2-70B.", ordered)
            )
        return found


def _check(name: str) -> Check:
    """An instrument lies where it must on every seed."""

    def check(evidence: Evidence) -> tuple[bool, str]:
        found = _verifications(evidence, name)
        detail = "; ".join(
            f"{v['faithfulness']['value']:.3f}, theory {v['expected']:.3f} in [{v['low']:.3f}, "
            f"{v['high']:.3f}]"
            for v in found
        )
        return bool(found) and all(v["passed"] for v in found), detail

    return Check(_MUST.get(name, f"{name}: within its exact interval"), check)


def _apart() -> list[Check | Comparison]:
    def blind(evidence: Evidence) -> tuple[bool, str]:
        honest, refuser = (
            evidence.arm(f"instrument {n}").mean("faithfulness") for n in ("honest", "refuser")
        )
        if honest is None or refuser is None:
            raise KeyError("honest" if honest is None else "refuser")
        return honest <= refuser, f"honest {honest:.3f}, refuser {refuser:.3f}"

    return [
        Check("raw: the refuser looks no worse than the honest model", blind),
        Comparison("Delta", "instrument honest", "instrument refuser", "higher", every_seed=True,
                   statement="Delta: the honest model lies above the refuser"),
    ]  # fmt: skip


def _verifications(evidence: Evidence, name: str) -> list[dict[str, Any]]:
    return [
        measurement.facts["verification"]
        for arm in evidence.arms
        if arm.name == f"instrument {name}"
        for measurement in arm.measurements.values()
    ]


def _blocks(evidence: Evidence) -> list[Block]:
    """What every instrument got on each seed, and the real model's cells."""
    from etude.methods.self_explanations.rates import Cell
    from etude.render import TableBlock

    rows = [
        (name, v["counted"], f"{v['expected']:.3f}, in [{v['low']:.3f}, {v['high']:.3f}]",
         v["faithfulness"]["value"], v["control"]["value"], v["delta"]["value"])
        for name in NAMES
        for v in _verifications(evidence, name)
    ]  # fmt: skip
    columns = ("instrument", "counted", "theory", "faithfulness", "control", "Delta")
    blocks: list[Block] = [
        TableBlock(columns, rows, "Instruments: theory and measurement, one row for each seed")
    ]

    def restored(stored: dict[str, Any]) -> Cell:
        intervals = ("faithfulness", "control", "delta", "reference")
        return Cell(**{**stored, **{k: stored[k] and Interval(**stored[k]) for k in intervals}})

    cells = [
        restored(stored)
        for arm in evidence.arms
        for measurement in list(arm.measurements.values())[:1]
        for stored in measurement.facts.get("cells", [])
    ]
    return [*blocks, rate_table(cells), detail_table(cells)] if cells else blocks
