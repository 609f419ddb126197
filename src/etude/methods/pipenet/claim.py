"""The paper's claim in three parts on the same subgraphs: cost, a scorer without parameters, a network.

Pruning bridges by dependency distance shall save most of the cost (A) and keep the accuracy, of a structural
scorer (B) and of the trained reasoner (C), and it shall be better than random pruning at the same rate.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from etude.data import write_records
from etude.data.store import cache_root
from etude.errors import EtudeError
from etude.evidence import Arm, Check, Claim, Comparison, Contrast, Evidence, Measurement, Part, Scale
from etude.methods.pipenet.attention_layer import Attention
from etude.methods.pipenet.costs import step_cost
from etude.methods.pipenet.graph_building import build_graph
from etude.methods.pipenet.graph_store import GraphStore
from etude.methods.pipenet.network import PipeNet
from etude.methods.pipenet.parsing import open_parser
from etude.methods.pipenet.preparing import PARSER, ground
from etude.methods.pipenet.pruned_view import PrunedView
from etude.methods.pipenet.pruning import Criterion
from etude.methods.pipenet.pruning_sweep import DRAWS, structural_accuracy
from etude.methods.pipenet.questions import Question, read_questions
from etude.methods.pipenet.relations import qagnn17
from etude.methods.pipenet.training import Training, fit_network
from etude.methods.pipenet.vectors import ConceptVectors, StoreRanking
from etude.models import Encoder, load_encoder, model_origin
from etude.runs import content_hash, file_hash

RATES = (0.5, 0.7, 0.9)
MARGIN = 0.02  # a loss of accuracy that the claim does not allow
_GROUNDING = 1  # raise it when grounding changes, so that what is cached is not used
_KG, _TRAIN, _TEST = "kg.parquet", "csqa_train.jsonl", "csqa_dev_a.jsonl"
_CONCEPTNET = "conceptnet-assertions-5.6.0.csv.gz"


@dataclass(frozen=True)
class Budget:
    """What the trained arms get: the same.

    Attributes:
        train: The first so many training questions.
        test: The last so many training questions (the in-house test), None for the development file.
        dim, layers: Of the reasoner.
        tune: Train the encoder too.
        training: Epochs, batch, rates.
    """

    train: int
    test: int | None
    dim: int
    layers: int
    tune: bool
    training: Training


LAPTOP = Budget(1500, None, 64, 2, False, Training(epochs=2, batch_size=8))
SLOW = Budget(5000, None, 64, 2, False, Training(epochs=6, batch_size=8))
PAPER = Budget(8500, 1241, 200, 5, True, Training(epochs=15, batch_size=64, mini_batch=2))


@dataclass(frozen=True, eq=False)
class World:
    """Questions, their subgraphs and vectors, shared by all arms."""

    train: list[Question]
    test: list[Question]
    train_store: GraphStore
    test_store: GraphStore
    encoder: Encoder

    @cache  # noqa: B019 - a world lives as long as the process
    def vectors(self) -> ConceptVectors:
        """Vectors of all concepts that occur."""
        return ConceptVectors.encoded([self.train_store, self.test_store], self.encoder)


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """Cost and accuracy at pruning rates 0, 0.5, 0.7 and 0.9, by dependency and by other criteria.

    Args:
        scale: laptop: 1,500 training questions, 2 epochs, frozen MiniLM, d = 64, 2 layers. slow: 5,000 and 6
            epochs. paper: 8,500 questions, 1,241 for the test, RoBERTa-large tuned, d = 200, 5 layers, 15
            epochs, over ConceptNet 5.6 if the folder has it.
        data: Folder with kg.parquet (or ConceptNet's assertions), csqa_train.jsonl and csqa_dev_a.jsonl.
        seeds: Of training; three by default.
        model: Another encoder.

    Raises:
        EtudeError: Without the data, or without the parser.
    """
    budget = {"laptop": LAPTOP, "slow": SLOW, "paper": PAPER}[scale]
    encoder = model or ("FacebookAI/roberta-large" if scale == "paper" else "minilm")
    folder = _require(data, budget)
    graph = _graph_file(folder, scale)
    parser = open_parser(PARSER).key

    def world() -> World:
        return _prepare(folder, graph, budget.train, budget.test, encoder, parser)

    arms = [_cost_arm(rate, budget, world) for rate in (0.0, *RATES)]
    arms += [_scorer_arm(by, rate, world) for by, rate in _CELLS]
    arms += [_network_arm(by, rate, budget, world, "target") for by, rate in reversed(_TRAINED)]
    arms.append(_network_arm("dependency", 0.9, budget, world, "source"))
    arms.append(_network_arm(None, 0.0, budget, world, "target"))
    return Claim(
        name="pipenet",
        statement="Pruning grounded subgraphs by dependency distance saves most of the cost (A) and keeps "
        "the accuracy, better than random pruning does (B, C).",
        arms=tuple(arms),
        parts=_parts(),
        metrics={"messages": "lower", "step seconds": "lower", _SCORER: "higher", _NETWORK: "higher"},
        seeds=seeds or (0, 1, 2),
        config={
            "scale": scale,
            "encoder": model_origin(encoder),
            "parser": parser,
            "budget": asdict(budget),
            "graph": file_hash(graph),
            "train": file_hash(folder / _TRAIN),
            "test": file_hash(folder / _TEST) if budget.test is None else "the last of train",
        },
        columns=("nodes", "nodes 95 %", "edges", "messages per graph", "memory MB"),
        notes=(
            "A: a training step of the reasoner (d = 200, 5 layers) on 6 batches of 20 subgraphs, each rate "
            "in a process of its own; processor time of one thread; memory: the peak over what was held.",
            "B: the structural scorer was fixed beforehand; ties are shared; random pruning is the mean of "
            f"{DRAWS} draws. C: {budget.train:,} training questions, {budget.training.epochs:g} epochs, "
            f"d = {budget.dim}, {budget.layers} layers, encoder {'tuned' if budget.tune else 'frozen'}; no "
            "setting was chosen on the test questions; random pruning is drawn anew with each seed.",
            f"Accuracy is kept where the 95 % interval of the difference lies above -{MARGIN}.",
            "CommonsenseQA was written from ConceptNet, so the graph knows about its answers. OpenBookQA is "
            "not among the data.",
        ),
    )


_SCORER, _NETWORK = "scorer accuracy", "network accuracy"
_CELLS: tuple[tuple[Criterion, float], ...] = (
    ("dependency", 0.0),
    *((by, rate) for by in ("dependency", "random", "farthest", "embedding") for rate in RATES),
)
_TRAINED: tuple[tuple[Criterion, float], ...] = (
    ("dependency", 0.0),
    *((by, rate) for rate in RATES for by in ("dependency", "random")),
    ("farthest", 0.9),
)


def _name(kind: str, by: str, rate: float) -> str:
    return f"{kind}, {by} {rate:g}" if rate else f"{kind}, no pruning"


def _parts() -> tuple[Part, ...]:
    cheap, full = "cost, rate 0.9", "cost, rate 0"

    def ratio(metric: str) -> Contrast:
        return Contrast(
            f"{metric} at rate 0 over {metric} at 0.9 is above 2",
            metric,
            (full, cheap),
            lambda v: float(v[full].mean() / v[cheap].mean()),
            null=2.0,
        )

    parts = [
        Part(
            "A, cost",
            "removing 90 % of the bridges saves more than half of messages, time and memory of a step",
            (
                ratio("messages"),
                ratio("step seconds"),
                Check("memory at rate 0 over memory at 0.9 is above 2", _memory),
            ),
        )
    ]
    for letter, kind, metric in (("B", "scorer", _SCORER), ("C", "network", _NETWORK)):
        none = _name(kind, "", 0)
        parts.append(
            Part(
                f"{letter}, kept",
                f"the {kind} loses less than {MARGIN:.0%} of accuracy by dependency pruning",
                tuple(_kept(metric, _name(kind, "dependency", rate), none) for rate in RATES),
            )
        )
        parts.append(
            Part(
                f"{letter}, dependency",
                f"for the {kind}, dependency pruning beats random pruning at the same rate",
                tuple(
                    Comparison(metric, _name(kind, "dependency", rate), _name(kind, "random", rate), "higher")
                    for rate in RATES
                ),
            )
        )
    parts.append(
        Part(
            "C, graph",
            "the network beats the encoder alone",
            tuple(
                Comparison(_NETWORK, _name("network", "dependency", rate), "encoder alone", "higher")
                for rate in (0.0, 0.9)
            ),
        )
    )
    return tuple(parts)


def _kept(metric: str, arm: str, none: str) -> Contrast:
    return Contrast(
        f"{metric} of {arm} minus that of {none} is above -{MARGIN}",
        metric,
        (arm, none),
        lambda v: float((v[arm] - v[none]).mean()),
        null=-MARGIN,
    )


def _memory(evidence: Evidence) -> tuple[bool | None, str]:
    full, cheap = (evidence.arm(f"cost, rate {rate:g}").fact("memory MB") for rate in (0, 0.9))
    if not full or not cheap:
        return None, "not measured"
    return full / cheap > 2, f"{full:.0f} MB / {cheap:.0f} MB = {full / cheap:.1f}"


def _cost_arm(rate: float, budget: Budget, world: Any) -> Arm:
    def run(seed: int) -> Measurement:
        w: World = world()
        places = np.linspace(0, len(w.test_store) - 1, 120).astype(int).reshape(20, 6).T.tolist()
        cost = step_cost(w.test_store.folder, places, rate=rate)
        units = [f"batch {i}" for i in range(len(places))]
        return Measurement(
            {
                "messages": dict(zip(units, map(float, cost.messages), strict=True)),
                "step seconds": dict(zip(units, cost.seconds, strict=True)),
            },
            {"memory MB": cost.memory_mb},
        )

    return Arm(f"cost, rate {rate:g}", run, {"rate": rate}, seeded=False)


def _scorer_arm(by: Criterion, rate: float, world: Any) -> Arm:
    def run(seed: int) -> Measurement:
        w: World = world()
        ranking = StoreRanking(w.test_store, w.encoder) if by == "embedding" else None
        scored, size = structural_accuracy(
            w.test, w.test_store, rate=rate, by=by, seeds=range(DRAWS), ranking=ranking
        )
        return Measurement(
            {_SCORER: scored},
            {
                "nodes": size.nodes,
                "nodes 95 %": size.nodes_95,
                "edges": size.edges,
                "messages per graph": size.messages,
            },
        )

    return Arm(_name("scorer", by, rate), run, {"by": by, "rate": rate}, seeded=False)


def _network_arm(by: Criterion | None, rate: float, budget: Budget, world: Any, attention: Attention) -> Arm:
    """A trained network; without a criterion, the encoder alone."""

    def run(seed: int) -> Measurement:
        import torch

        w: World = world()
        views = [
            PrunedView(store, rate=rate, by=by or "dependency", seed=seed)
            for store in (w.train_store, w.test_store)
        ]
        torch.manual_seed(seed)
        network = PipeNet(
            w.encoder,
            dim=budget.dim,
            layers=budget.layers if by else 0,
            attention=attention,
            relations=len(w.train_store.relations),
            tune=budget.tune,
        )
        how = Training(**{**asdict(budget.training), "seed": seed})
        with tempfile.TemporaryDirectory() as scratch:
            fitted = fit_network(network, w.train, views[0], w.vectors(), how, out=Path(scratch))
        found = network.predict(w.test, views[1], vectors=w.vectors())
        right = {q.id: float(r.choice == q.answer) for q, r in zip(w.test, found, strict=True)}
        losses = [entry["loss"] for entry in fitted.history if "loss" in entry]
        return Measurement({_NETWORK: right}, {"first loss": losses[0], "last loss": losses[-1]})

    name = _name("network", by, rate) if by else "encoder alone"
    if attention == "source":
        name += ", attention by source"
    return Arm(name, run, {"by": by, "rate": rate, "attention": attention})


def _require(data: Path | None, budget: Budget) -> Path:
    needed = [_TRAIN, *([_TEST] if budget.test is None else [])]
    absent = needed if data is None else [name for name in needed if not (data / name).is_file()]
    graphs = () if data is None else [name for name in (_KG, _CONCEPTNET) if (data / name).is_file()]
    if data is None or absent or not graphs:
        where = "no --data folder" if data is None else f"{data} lacks {', '.join(absent) or _KG}"
        raise EtudeError(
            f"{where}: this claim needs {', '.join(needed)} and {_KG} or {_CONCEPTNET}",
            "CommonsenseQA: hub tau/commonsense_qa, as JSONL with id, question, choices, answer. Graph: "
            "ConceptNet's assertions from conceptnet.io, or Parquet with head, rel, tail.",
        )
    return data


def _graph_file(folder: Path, scale: str) -> Path:
    whole = folder / _CONCEPTNET
    return whole if whole.is_file() and (scale == "paper" or not (folder / _KG).is_file()) else folder / _KG


@cache
def _prepare(folder: Path, graph: Path, train: int, test: int | None, encoder: str, parser: str) -> World:
    """Ground the questions once; the subgraphs stay in the cache."""
    everything = read_questions(folder / _TRAIN, answered=True)
    learned = everything[:train]
    asked = read_questions(folder / _TEST, answered=True) if test is None else everything[train:][-test:]
    key = content_hash(
        [_GROUNDING, parser, file_hash(graph), [[q.model_dump() for q in part] for part in (learned, asked)]]
    )[:24]
    place = cache_root() / "pipenet" / "claim" / key
    if not (place / "kg" / "meta.json").is_file():
        shutil.rmtree(place / "kg", ignore_errors=True)
        build_graph(graph, place / "kg", qagnn17(), lenient=True)
    stores = []
    for name, part in (("train", learned), ("test", asked)):
        write_records(place / f"{name}.jsonl", part)
        ground(str(place / f"{name}.jsonl"), kg=place / "kg", out=place / name)
        stores.append(GraphStore(place / name))
    return World(learned, asked, stores[0], stores[1], load_encoder(encoder))
