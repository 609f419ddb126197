"""Local inference of smollm2: ours on transformers (float32), and llama.cpp (Q4_1) through xllamacpp.

The work is what prompted methods do: read a prompt and write 32 tokens; or read it and score answers.
Prompts are English prose, other in each row and repetition. Cells of more than `largest` or fewer than
`smallest` prompt tokens are not run, and say so; the three largest take the better part of an hour:

    python -c "from benchmarks.local_inference import main; print(main(smallest=8001, largest=128_000))"
"""

from __future__ import annotations

import gc
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from itertools import count
from typing import Any

from etude.data import prose
from etude.models import CausalLM, load_causal_lm
from etude.models.embedded import gguf_file
from etude.models.generation import generate_batch, prefill, score_batch
from etude.render import console

NEW = 32  # tokens written per row
LENGTHS, ROWS = (100, 1000, 4000), (1, 8, 32)

Rows = list[list[int]]


def main(*, quick: bool = False, smallest: int = 0, largest: int = 8000) -> dict[str, Any]:
    """Measure both engines, interleaved; see the module's docstring."""
    import torch

    lm = load_causal_lm("smollm2", device="cpu")
    stream = _rows(lm)
    cells = [(length, rows) for length in LENGTHS for rows in ROWS]
    if quick:
        largest = min(largest, 1000)
    generation: list[dict[str, Any]] = []
    scoring: list[dict[str, Any]] = []
    for length, rows in cells:
        if not smallest <= length * rows <= largest:
            note = f"not run: outside {smallest} to {largest} tokens"
            generation.append({"prompt": length, "rows": rows, "note": note})
            continue
        repetitions = 1 if quick or length * rows > 2000 else 3
        server = Llama(rows, length + NEW + 8)
        arms = {
            "ours": lambda batch: sum(len(one.tokens) for one in generate_batch(lm, batch, max_tokens=NEW)),
            "llama.cpp": server.generate,
        }
        generation.append(_cell(length, rows, arms, stream, repetitions))
        console().print(f"local_inference: {generation[-1]}")
        if length * rows <= 1000:
            arms = {"ours": lambda batch: _score(lm, batch), "llama.cpp": server.score}
            scoring.append(_cell(length, rows, arms, stream, repetitions))
        del server, arms
        gc.collect()
    return {
        "generation": generation,
        "scoring": scoring,
        "sharing": _sharing(lm, stream, 1 if quick else 3),
        "one at a time": _one_at_a_time(lm, stream, 1 if quick else 3),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", "xllamacpp")},
    }


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
    length: int,
    rows: int,
    arms: dict[str, Callable[[Rows], int]],
    stream: Iterator[Callable[[int, int], Rows]],
    repetitions: int,
) -> dict[str, Any]:
    """Seconds (wall and CPU) of each arm and their ratio, the peer over ours."""
    wall: dict[str, list[float]] = {name: [] for name in arms}
    cpu: dict[str, list[float]] = {name: [] for name in arms}
    written = {}
    for _ in range(repetitions):
        batch = next(stream)(length, rows)
        for name, work in arms.items():
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            written[name] = work(batch)
            wall[name].append(time.perf_counter() - wall_start)
            cpu[name].append(time.process_time() - cpu_start)
    ours, peer = arms
    ratios = [b / a for a, b in zip(wall[ours], wall[peer], strict=True)]
    return {
        "prompt": length,
        "rows": rows,
        **{f"{name} s": statistics.median(wall[name]) for name in arms},
        **{f"{name} CPU s": statistics.median(cpu[name]) for name in arms},
        f"{peer} / {ours}": statistics.median(ratios),
        "spread": f"{min(ratios):.2f} to {max(ratios):.2f}",
        f"{peer} / {ours}, CPU": statistics.median(cpu[peer]) / statistics.median(cpu[ours]),
        "tokens written": " and ".join(str(written[name]) for name in arms),
        "repetitions": repetitions,
    }


def _sharing(lm: CausalLM, stream: Iterator[Callable[[int, int], Rows]], repetitions: int) -> dict[str, Any]:
    """Eight rows of 500 tokens that share their first 400: read once, against read in each row."""

    def shared(batch: Rows) -> int:
        head = batch[0][:400]
        tails = [row[400:] for row in batch]
        return sum(
            len(one.tokens) for one in generate_batch(lm, tails, prefix=prefill(lm, head), max_tokens=NEW)
        )

    def apart(batch: Rows) -> int:
        rows = [batch[0][:400] + row[400:] for row in batch]
        return sum(len(one.tokens) for one in generate_batch(lm, rows, max_tokens=NEW))

    return _cell(500, 8, {"shared": shared, "apart": apart}, stream, repetitions)


def _one_at_a_time(
    lm: CausalLM, stream: Iterator[Callable[[int, int], Rows]], repetitions: int
) -> dict[str, Any]:
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

    def ours(batch: Rows) -> int:
        return sum(len(one.tokens) for one in generate_batch(lm, batch, max_tokens=NEW))

    return _cell(100, 8, {"ours": ours, "transformers generate": plain}, stream, repetitions)
