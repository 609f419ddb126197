"""The verbs before the network: a graph from triples, trees, subgraphs of questions, pruned subgraphs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etude.data.batches import BatchEngine
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.pipenet.concept_graph import ConceptGraph
from etude.methods.pipenet.graph_building import Building, build_graph
from etude.methods.pipenet.graph_store import GraphStore, as_batch, write_store
from etude.methods.pipenet.grounding import MOST_NODES, Hops, graph_size, grounding_size
from etude.methods.pipenet.grounding_run import GroundedFile, GroundingPlan, ground_file
from etude.methods.pipenet.lemma_trie import groundable, stop_words
from etude.methods.pipenet.parsing import Parse, Parser, open_parser, save_parses
from etude.methods.pipenet.pruning import Criterion, Ranking, check_rate, prune_graph
from etude.methods.pipenet.questions import Form, read_questions, statements
from etude.methods.pipenet.relations import read_merge
from etude.methods.pipenet.subgraph import Subgraph
from etude.render import table
from etude.runs import Run, content_hash

PARSER = "spacy:en_core_web_sm"


@dataclass(frozen=True)
class BuildResult:
    """What `build-kg` wrote.

    Attributes:
        out: The folder.
        graph: Counts of what was kept and dropped.
    """

    out: str
    graph: Building

    def __rich__(self) -> Any:
        """Counts, relations, and what was dropped why."""
        from rich.console import Group

        g = self.graph
        rows: list[list[Any]] = [
            ["triples read", g.rows],
            ["concepts", g.concepts],
            ["edges", g.edges],
            ["pairs of neighbors", g.pairs],
            *[[f"dropped: {why}", count] for why, count in g.dropped.items()],
            *[[f"unknown relation {name}", count] for name, count in g.unknown.items()],
            ["folder", self.out],
        ]
        return Group(
            table(["pipenet build-kg", ""], rows),
            table(["relation", "edges"], list(g.relations.items())),
        )


@verb
def build_kg(
    triples: Path, *, out: Path, merge: str = "qagnn17", lenient: bool = False, vocabulary: Path | None = None
) -> BuildResult:
    """Turn triples into a memory-mapped concept graph.

    Kept are English concepts of letters, `_` and `-`, in lower case and without part of speech. Relations are
    merged, self loops and a few empty concepts are dropped. The folder carries checksums.

    Args:
        triples: ConceptNet assertions (`.csv` or `.csv.gz`, five tab-separated columns), or a `.parquet`,
            `.tsv` or `.tsv.gz` with the columns head, rel, tail.
        out: Folder for the graph.
        merge: `qagnn17` (17 relations, as in QA-GNN and PipeNet), or a TSV with the columns relation, merged
            and, optional, reversed.
        lenient: Keep relations that the merge does not know as `relatedto`; otherwise they are dropped, and
            counted either way.
        vocabulary: A concept a line: fixes the ids, e.g. to those of a file of concept vectors.
    """
    if out.exists() and not (out / "meta.json").is_file() and (not out.is_dir() or any(out.iterdir())):
        raise EtudeError(f"{out} exists and is no concept graph", "Give a new folder as --out.")
    return BuildResult(
        str(out), build_graph(triples, out, read_merge(merge), lenient=lenient, vocabulary=vocabulary)
    )


@dataclass(frozen=True)
class ParseResult:
    """What `parse` wrote: the file, and how many texts of each kind it has."""

    out: str
    statements: int
    answers: int
    concepts: int

    def __rich__(self) -> Any:
        """A table."""
        return table(["pipenet parse", ""], [[k, v] for k, v in asdict(self).items()])


@verb
def parse(questions: str, *, out: Path, kg: Path, parser: str = PARSER, form: Form = "wh") -> ParseResult:
    """Store the trees that `ground` will need, so that it runs where the parser is not installed.

    Args:
        questions: The questions (see `ground`).
        out: A `.jsonl` file; give it to `ground` as `--parser`.
        kg: The concept graph, whose concepts are lemmatized.
        parser: `spacy:PIPELINE`.
        form: See `ground`.
    """
    if out.suffix != ".jsonl":
        raise EtudeError(f"{out}: parses are JSONL", "Name the file with .jsonl.")
    asked = read_questions(questions)
    graph, tool = ConceptGraph.open(kg), open_parser(parser)
    given = [s for q in asked for s in statements(q, form)]
    texts = list(dict.fromkeys(t for s in given for t in (s.text, s.frame) if t))
    answers = list(dict.fromkeys(s.answer for s in given if s.answer and s.answer not in set(texts)))
    known, stops = {*texts, *answers}, stop_words()
    names = [name for name in map(graph.name, range(len(graph))) if groundable(name, stops)]
    concepts = [text for name in names if (text := name.replace("_", " ")) not in known]
    save_parses(out, _parsed(tool, texts + answers, concepts))
    return ParseResult(str(out), len(texts), len(answers), len(concepts))


def _parsed(tool: Parser, texts: list[str], concepts: list[str]) -> Iterator[Parse]:
    yield from tool.parse(texts)
    for one in tool.lemmatize(concepts):
        if one.lemmas != tuple(one.words) or one.words != one.text.split():  # else it needs no record
            yield one


@dataclass(frozen=True)
class GroundResult:
    """What `ground` wrote.

    Attributes:
        out: Folder of the subgraphs.
        questions: How many.
        grounded: Sizes, fallbacks, the effect of `--fast-parse`, notices.
    """

    out: str
    questions: int
    grounded: GroundedFile

    def __rich__(self) -> Any:
        """Means per statement, the effect of `--fast-parse`, notices."""
        from rich.console import Group

        s, effect = self.grounded.size, self.grounded.effect
        rows: list[list[Any]] = [
            ["questions", self.questions],
            ["statements", s.statements],
            ["without any concept", s.ungrounded],
            ["a side word by word", self.grounded.fallback],
            ["question concepts, mean", s.question_concepts],
            ["answer concepts, mean", s.answer_concepts],
            ["bridges, mean", s.bridges],
            ["nodes, mean", s.nodes],
            ["nodes, 95th percentile", s.nodes_95],
            ["edges, mean", s.edges],
            ["folder", self.out],
        ]
        parts = [table(["pipenet ground", ""], rows)]
        if effect:
            parts.append(
                table(
                    ["effect of --fast-parse", ""],
                    [
                        ["statements parsed both ways", effect.statements],
                        ["share with all scores the same", effect.same_scores],
                        ["mean difference of a score, tree edges", effect.mean_difference],
                        ["overlap of bridges kept at rate 0.9", effect.kept_overlap],
                    ],
                )
            )
        return Group(*parts, *self.grounded.notices)


@verb
def ground(
    questions: str,
    *,
    kg: Path,
    out: Path,
    hops: Hops = 2,
    parser: str = PARSER,
    form: Form = "wh",
    fast_parse: bool = False,
    most_nodes: int = MOST_NODES,
    engine: BatchEngine = "local",
    workers: int = 2,
) -> GroundResult:
    """Find the concepts of every question and choice, what lies between them, and how near the answer it is.

    Works in chunks of 1,000 statements; a killed run goes on at the next chunk.

    Args:
        questions: JSONL, CSV, Parquet or hub id: `id`, `question`, `choices`, optional `answer` (index) and
            `statements` (one per choice). CommonsenseQA's and OpenBookQA's own shapes are read too.
        kg: Folder that `build-kg` wrote.
        out: Folder for the subgraphs.
        hops: 2: bridges adjacent to two matched concepts. 3: the inner concepts of paths of length 3 too.
        parser: `spacy:PIPELINE`, or a file that `parse` wrote.
        form: `wh`: the answer takes the place of the question word. `append`: it follows the question.
        fast_parse: Parse each question once and splice the answers in; its effect on the scores is measured
            on 200 statements and shown.
        most_nodes: Nodes of a subgraph at most (paper: 200); the bridges with the lowest scores go.
        engine: `local`, or `ray`: chunks side by side through Ray Data.
        workers: With ray.
    """
    asked = read_questions(questions)
    graph, tool = ConceptGraph.open(kg), open_parser(parser)
    config = {
        "questions": content_hash([q.model_dump(exclude={"answer"}) for q in asked]),
        "kg": graph.hash,
        "parser": tool.key,
        "hops": hops,
        "form": form,
        "fast_parse": fast_parse,
        "most_nodes": most_nodes,
    }
    plan = GroundingPlan(kg.resolve(), parser, hops, most_nodes, fast_parse, form)
    with Run(out, config, command="pipenet ground") as run:
        if run.result is None:
            meta = {**config, "relations": list(graph.relations), "prune": None}
            found = ground_file(asked, plan, run, meta=meta, engine=engine, workers=workers)
            run.complete(asdict(GroundResult(str(out), len(asked), found)))
        return _ground_result(run.result)


def _ground_result(stored: Any) -> GroundResult:
    from etude.methods.pipenet.grounding import FastParseEffect, GroundingSize

    g = stored["grounded"]
    effect = FastParseEffect(**g["effect"]) if g["effect"] else None
    found = GroundedFile(GroundingSize(**g["size"]), g["fallback"], effect, tuple(g["notices"]))
    return GroundResult(stored["out"], stored["questions"], found)


@dataclass(frozen=True)
class PruneResult:
    """What `prune` wrote: means per statement before and after."""

    out: str
    by: str
    rate: float
    statements: int
    nodes: tuple[float, float]
    edges: tuple[float, float]
    messages: tuple[float, float]

    def __rich__(self) -> Any:
        """Before and after."""
        rows = [
            [what, *map(float, pair)]
            for what, pair in (("nodes", self.nodes), ("edges", self.edges), ("messages", self.messages))
        ]
        return table([f"by {self.by}, rate {self.rate:g}: {self.out}", "before", "after"], rows)


@verb
def prune(
    graphs: Path,
    *,
    out: Path,
    by: Criterion = "dependency",
    rate: float = 0.9,
    seed: int = 0,
    encoder: str = "minilm",
) -> PruneResult:
    """Remove a share of the bridges of every subgraph; matched concepts stay.

    Args:
        graphs: Folder that `ground` wrote.
        out: Folder for the pruned subgraphs.
        by: `dependency`: what is near the answer in the syntax tree stays. For comparison: `random`,
            `farthest` (the reverse), `embedding` (what resembles the statement stays), `degree` (what has few
            neighbors stays).
        rate: Share of bridges *removed*: 0.9 keeps one in ten.
        seed: Of `random`.
        encoder: Of `embedding`.
    """
    check_rate(rate)
    store = GraphStore(graphs)
    config = {"graphs": store.hash, "by": by, "rate": rate, "seed": seed if by == "random" else None}
    if by == "embedding":
        from etude.models import model_origin

        config["encoder"] = model_origin(encoder)["revision"]
    with Run(out, config, command="pipenet prune") as run:
        if run.result is None:
            ranking = ranking_for(by, store, encoder)
            kept = [prune_graph(g, rate=rate, by=by, seed=seed, ranking=ranking) for g in store]
            batches = (as_batch(kept[i : i + 1000]) for i in range(0, len(kept), 1000))
            nodes = np.unique(np.concatenate([g.nodes for g in kept])).tolist() if kept else []
            meta = {k: v for k, v in store.meta.items() if k != "files"}
            meta["prune"] = {"by": by, "rate": rate, "seed": config["seed"], "before": store.hash}
            write_store(
                run.path,
                batches,
                meta,
                {c: store.names[c] for c in nodes},
                {c: store.degrees[c] for c in nodes},
            )
            before, after = _means(store), _means(kept)
            pairs = {name: (before[name], after[name]) for name in before}
            run.complete(asdict(PruneResult(str(out), by, rate, len(kept), **pairs)))
        stored: dict[str, Any] = run.result or {}
    pairs = {name: tuple(stored[name]) for name in ("nodes", "edges", "messages")}
    return PruneResult(**{**stored, **pairs})


def ranking_for(by: Criterion, store: GraphStore, encoder: str) -> Ranking | None:
    """What a criterion needs beyond the subgraph."""
    if by not in ("embedding", "degree"):
        return None
    from etude.methods.pipenet.vectors import StoreRanking

    if by == "degree":
        return StoreRanking(store)
    from etude.models import load_encoder

    return StoreRanking(store, load_encoder(encoder))


def _means(graphs: Any) -> dict[str, float]:
    rows: list[Subgraph] = list(graphs)
    size = grounding_size(map(graph_size, rows))
    messages = float(np.mean([g.messages for g in rows])) if rows else 0.0
    return {"nodes": size.nodes, "edges": size.edges, "messages": messages}
