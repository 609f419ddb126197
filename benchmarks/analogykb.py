"""analogykb: mining 2,000,000 generated triples, beside a plain dictionary script; the same pairs come out.

There is no official code, so the yardstick is the script one would write first: a dictionary of sets, a
counter of degrees, a sort for each relation. `python -m benchmarks.analogykb --large DIR` mines 100,000,000
triples once, in a process of its own, and prints seconds and peak memory (it needs some 30 GB in DIR).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks._peak import peak_mb
from etude.methods.analogykb import AnalogyKB
from etude.methods.analogykb.graph_shapes import graph_shape
from etude.methods.analogykb.mining import Machine, mine_graph
from etude.methods.analogykb.pair_selection import Selection

RELATIONS = 813
PIECE = 5_000_000
SELECTION = Selection(per_relation=2000, min_pairs=20, min_degree=3)


def generate(folder: Path, triples: int, entities: int) -> None:
    """Write Zipf-distributed relations between skewed entities as Parquet, in pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    weights = 1 / np.arange(1, RELATIONS + 1)
    relations = pa.array([f"relation {i:03}" for i in range(RELATIONS)])
    for piece in range(0, triples, PIECE):
        size = min(PIECE, triples - piece)
        rel = pa.array(generator.choice(RELATIONS, size=size, p=weights / weights.sum()))
        columns = {"rel": relations.take(rel)}
        for column in ("head", "tail"):
            number = (entities * generator.random(size) ** 2).astype(np.int64)
            scattered = number * 2654435761 % entities  # so that popular entities are not first by text
            columns[column] = pa.array(np.char.add("entity ", np.char.zfill(scattered.astype("U8"), 8)))
        pq.write_table(pa.table(columns), folder / f"{piece // PIECE:03}.parquet")


def rows_of(path: Path) -> Any:
    """Triples of a Parquet or tab-separated file."""
    if path.suffix == ".tsv":
        with open(path, encoding="utf-8") as handle:
            next(handle)
            for line in handle:
                yield line.rstrip("\n").split("\t")
        return
    for batch in pq.ParquetFile(path).iter_batches():
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def plain_script(path: Path, chosen: Selection = SELECTION) -> list[tuple[str, str, str, int]]:
    """The yardstick: dictionaries, sets and sorts."""
    edges: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for rel, head, tail in rows_of(path):
        if head != tail:
            edges[rel].add((head, tail))
    degrees: Counter[str] = Counter()
    for pairs in edges.values():
        for head, tail in pairs:
            degrees[head] += 1
            degrees[tail] += 1
    out = []
    for rel in sorted(edges):
        known = [
            (min(degrees[head], degrees[tail]), head, tail)
            for head, tail in edges[rel]
            if degrees[head] >= chosen.min_degree and degrees[tail] >= chosen.min_degree
        ]
        if len(known) < chosen.min_pairs:
            continue
        known.sort(key=lambda pair: (-pair[0], pair[1], pair[2]))
        out += [(rel, head, tail, score) for score, head, tail in known[: chosen.per_relation]]
    return out


def timed(function: Callable[[], Any]) -> tuple[float, float, Any]:
    """Wall seconds, processor seconds, and the result."""
    started, before = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - started, time.process_time() - before, result


def mined_pairs(path: Path) -> list[tuple[str, str, str, int]]:
    """What the library wrote, in its order."""
    table = pq.read_table(path, columns=["rel", "head", "tail", "score"])
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def mining(folder: Path, triples: int, rounds: int) -> dict[str, Any]:
    """Both sides on Parquet and on text, alternating; every round's output is compared."""
    generate(folder / "graph", triples, triples * 3 // 20)
    parquet, text = folder / "triples.parquet", folder / "triples.tsv"
    table = pq.read_table(folder / "graph")
    pq.write_table(table, parquet)
    with open(text, "w", encoding="utf-8") as handle:
        handle.write("rel\thead\ttail\n")
        handle.writelines(
            "\t".join(row) + "\n" for row in zip(*(c.to_pylist() for c in table.columns), strict=True)
        )
    del table
    found: dict[str, Any] = {"triples": triples}
    for kind, path in (("Parquet", parquet), ("text", text)):
        ours: list[tuple[float, float]] = []
        plain: list[tuple[float, float]] = []
        for _ in range(rounds):
            wall, cpu, expected = timed(lambda path=path: plain_script(path))
            plain.append((wall, cpu))
            kb = folder / f"kb-{kind}"
            wall, cpu, _ = timed(lambda path=path, kb=kb: mine_graph(graph_shape(path), kb, SELECTION))
            ours.append((wall, cpu))
            same = mined_pairs(kb / "pairs.parquet") == expected
            found[f"{kind}: same {len(expected):,} pairs in the same order"] = same
            del expected
        walls = [statistics.median(w for w, _ in side) for side in (plain, ours)]
        found |= {
            f"{kind}: dictionary script, s": round(walls[0], 2),
            f"{kind}: etude, s": round(walls[1], 2),
            f"{kind}: ratio": round(walls[0] / walls[1], 1),
            f"{kind}: ratio, lowest to highest": _range(
                [p[0] / o[0] for p, o in zip(plain, ours, strict=True)]
            ),
            f"{kind}: ratio of processor seconds": round(
                statistics.median(p[1] / o[1] for p, o in zip(plain, ours, strict=True)), 1
            ),
            f"{kind}: target": 10 if kind == "Parquet" else 6,
        }
    return found


def sampling(folder: Path, rounds: int) -> dict[str, Any]:
    """6,000 recognition questions from the mined knowledge base, once its pairs are in memory."""
    kb = AnalogyKB.open(folder / "kb-Parquet")
    kb.questions(n=10)  # reads pairs and facts
    seconds = [timed(lambda: kb.questions(n=6000, seed=1))[0] for _ in range(rounds)]
    return {"questions": 6000, "seconds": round(statistics.median(seconds), 3), "target, s": 0.2}


def large(folder: Path, triples: int) -> dict[str, Any]:
    """The big graph: generated in pieces, mined in a process of its own, deleted."""
    graph, out = folder / "large-graph", folder / "large-kb"
    try:
        wall, _, _ = timed(lambda: generate(graph, triples, triples // 10))
        size = sum(file.stat().st_size for file in graph.iterdir())
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.analogykb", "--mine", str(graph), "--out", str(out)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        report = json.loads(done.stdout.strip().splitlines()[-1])
        return {"triples": triples, "Parquet, MB": size >> 20, "generating, s": round(wall), **report}
    finally:
        shutil.rmtree(graph, ignore_errors=True)
        shutil.rmtree(out, ignore_errors=True)


def mine_once(graph: Path, out: Path) -> dict[str, Any]:
    """Mine in this process and say what it took."""
    machine = Machine(memory="5GB", threads=1, partitions=8)
    wall, cpu, mined = timed(lambda: mine_graph(graph_shape(graph), out, SELECTION, machine=machine))
    peak = peak_mb()
    kept = sum(row.kept > 0 for row in mined.relations)
    return {
        "pairs": mined.pairs,
        "relations kept": kept,
        "threads": machine.threads,
        "DuckDB memory limit": machine.memory,
        "partitions": machine.partitions,
        "mining, s": round(wall),
        "processor seconds": round(cpu),
        "peak memory of the process, MB": round(peak),
        "target, MB": 8192,
    }


def _range(values: list[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"


def main(*, quick: bool = False) -> dict[str, Any]:
    """Mining from Parquet and text, and sampling of questions."""
    with tempfile.TemporaryDirectory(prefix="etude-analogykb-") as scratch:
        folder = Path(scratch)
        rounds = 1 if quick else 3
        mined = mining(folder, 200_000 if quick else 2_000_000, rounds)
        return {"mining": mined, "sampling": sampling(folder, rounds)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=Path, metavar="DIR", help="generate and mine the big graph there")
    parser.add_argument("--triples", type=int, default=100_000_000)
    parser.add_argument("--mine", type=Path, help="mine this graph in this process")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.mine:
        print(json.dumps(mine_once(given.mine, given.out)))
    else:
        print(json.dumps(large(given.large, given.triples), indent=1))
