"""Local inference of smollm2: ours on transformers (float32), and llama.cpp (Q4_1) through xllamacpp.

The work is what prompted methods do: read a prompt and write 32 tokens; or read it and score answers.
Prompts are English prose, other in each row and repetition. The three
largest cells, of more than 8,000 prompt tokens, take the better part of an hour a repetition:

  python -c "from benchmarks.local_inference import measure; print(measure(1, smallest=8001, largest=9**9))"
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

from benchmarks._comparison import Comparison, Figure, Missing, ratios
from benchmarks._peers import LLAMA_CPP, TRANSFORMERS
from etude.data import prose
from etude.models import CausalLM, load_causal_lm
from etude.models.embedded import gguf_file
from etude.models.generation import generate_batch, prefill, score_batch
from etude.render import console

PEERS = (LLAMA_CPP, TRANSFORMERS)
NEW = 32  # tokens written per row
LENGTHS, ROWS = (100, 1000, 4000), (1, 8, 32)

Rows = list[list[int]]


def main(*, full: bool, repetitions: int) -> Comparison:
    """Measure both engines in turn; by default up to 1,000 prompt tokens, with `full` up to 8,000."""
    return measure(repetitions, largest=8000 if full else 1000)


def measure(repetitions: int, *, smallest: int = 0, largest: int) -> Comparison:
    """Cells of at least `smallest` and at most `largest` prompt tokens."""
    lm = load_causal_lm("smollm2", device="cpu")
    stream = _rows(lm)
    there = LLAMA_CPP.version() is not None
    figures, cells = list[Figure](), list[dict[str, Any]]()
    for length in LENGTHS:
        for rows in ROWS if there else ():
            if not smallest <= length * rows <= largest:
                continue
            server = Llama(rows, length + NEW + 8)
            work = {f"writing {NEW} tokens": (lambda batch: _written(lm, batch), server.generate)}
            if length * rows <= 1000:
                work["scoring four answers"] = (lambda batch: _score(lm, batch), server.score)
            for name, (ours, theirs) in work.items():
                arms = {"ours": ours, "llama.cpp": theirs}
                what = f"{name} after {rows} x {length} tokens, SmolLM2"
                figure, cell = _cell(what, "llama.cpp, Q4_1", length, rows, arms, stream, repetitions)
                figures.append(figure)
                cells.append(cell)
                console().print(f"local_inference: {cell}")
            del server
            gc.collect()
    for more in (_sharing, _one_at_a_time):
        figure, cell = more(lm, stream, repetitions)
        figures.append(figure)
        cells.append(cell)
    missing = [] if there else [Missing("writing and scoring by SmolLM2", LLAMA_CPP)]
    return Comparison(figures, missing, {"cells": cells})


class Llama:
    """llama.cpp's server in this process, on the GGUF file as it was published."""

    def __init__(self, rows: int, columns: int) -> None:
        import torch
        import xllamacpp

        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(gguf_file("smollm2"))
        parameters.n_parallel = rows
        parameters.n_ctx = rows * columns
        parameters.verbosity = 0
        parameters.warmup = True
        for pool in (parameters.cpuparams, parameters.cpuparams_batch):
            pool.n_threads = torch.get_num_threads()
        self.server = xllamacpp.Server(parameters)

    def generate(self, batch: Rows) -> int:
        """Continue all rows; the number of tokens written."""
        return int(self._ask(batch, n_predict=NEW)["usage"]["completion_tokens"]) * len(batch)

    def score(self, batch: Rows) -> int:
        """Read all rows and give the four most likely next tokens."""
        self._ask(batch, n_predict=1, n_probs=4)
        return 0

    def _ask(self, batch: Rows, **options: int) -> Any:
        prompt = batch if len(batch) > 1 else batch[0]
        answer = self.server.handle_completions(
            {"prompt": prompt, "temperature": 0, "cache_prompt": False, **options}
        )
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


def _score(lm: CausalLM, batch: Rows) -> int:
    score_batch(lm, batch, [[[28], [33], [38], [43]]] * len(batch))
    return 0


def _rows(lm: CausalLM) -> Iterator[Callable[[int, int], Rows]]:
    """Again and again, a function that gives `rows` rows of `length` tokens of prose not given before."""
    tokens: list[int] = lm.tokenizer.encode(prose(), add_special_tokens=False)
    for start in count(0, 7919):  # a prime step through the text, round and round
        places = [(start + i * 4001) % (len(tokens) - 4001) for i in range(max(ROWS))]
        yield lambda length, rows, places=places: [tokens[at : at + length] for at in places[:rows]]


def _cell(
    what: str,
    peer: str,
    length: int,
    rows: int,
    arms: dict[str, Callable[[Rows], int]],
    stream: Iterator[Callable[[int, int], Rows]],
    repetitions: int,
) -> tuple[Figure, dict[str, Any]]:
    """Wall seconds of each arm, and their ratio, the second over the first; also processor seconds."""
    wall: dict[str, list[float]] = {name: [] for name in arms}
    cpu: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(repetitions):
        batch = next(stream)(length, rows)
        for name, work in arms.items():
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            work(batch)
            wall[name].append(time.perf_counter() - wall_start)
            cpu[name].append(time.process_time() - cpu_start)
    first, second = arms
    found = {
        "work": what,
        **{f"{name} s": statistics.median(wall[name]) for name in arms},
        **{f"{name} CPU s": statistics.median(cpu[name]) for name in arms},
    }
    return Figure(what, peer, "wall seconds", ratios(wall[second], wall[first])), found


def _written(lm: CausalLM, batch: Rows) -> int:
    return sum(len(one.tokens) for one in generate_batch(lm, batch, max_tokens=NEW))


def _sharing(
    lm: CausalLM, stream: Iterator[Callable[[int, int], Rows]], repetitions: int
) -> tuple[Figure, dict[str, Any]]:
    """Eight rows of 500 tokens that share their first 400: read once, against read in each row."""

    def shared(batch: Rows) -> int:
        tails, prefix = [row[400:] for row in batch], prefill(lm, batch[0][:400])
        return sum(len(one.tokens) for one in generate_batch(lm, tails, prefix=prefix, max_tokens=NEW))

    def apart(batch: Rows) -> int:
        return _written(lm, [batch[0][:400] + row[400:] for row in batch])

    what = f"writing {NEW} tokens after 8 x 500 tokens, 400 of them shared"
    arms = {"shared": shared, "apart": apart}
    return _cell(what, "ours, the shared tokens read in each row", 500, 8, arms, stream, repetitions)


def _one_at_a_time(
    lm: CausalLM, stream: Iterator[Callable[[int, int], Rows]], repetitions: int
) -> tuple[Figure, dict[str, Any]]:
    """Eight rows of 100 tokens: ours against the `generate` of transformers, one row after the other."""
    import torch

    def plain(batch: Rows) -> int:
        written = 0
        for row in batch:
            ids = torch.tensor([row])
            made = lm.model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False
            )
            written += int(made.shape[1]) - len(row)
        return written

    arms = {"ours": lambda batch: _written(lm, batch), "transformers": plain}
    peer = "transformers' generate, one row after the other"
    return _cell(f"writing {NEW} tokens after 8 x 100 tokens", peer, 100, 8, arms, stream, repetitions)
