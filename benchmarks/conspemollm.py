"""conspemollm and its peers: labels scored in one prefill against `generate`, packed training against TRL.

Classification: SmolLM2, the same prompts; transformers' generate as a careful user calls it (sorted
by length, greedy, `max_new_tokens=16`) and as the release does (file order, sampled; up to 64 tokens here
instead of its 1,024, so the true ratio is larger). Training: `_conspemollm_trainer`, against TRL's SFTTrainer
with packing and completion-only loss. TRL is taken from this environment, or from the interpreter named by
ETUDE_TRL_PYTHON (with etude and trl).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks._comparison import Comparison, Figure, Missing, in_turn, ratios
from benchmarks._peers import TRANSFORMERS, TRL
from etude.errors import EtudeError
from etude.methods.conspemollm.affect_tasks import Instruction
from etude.methods.conspemollm.label_scoring import encoded_answers, label_probabilities
from etude.methods.conspemollm.prompts import encode_prompt
from etude.methods.conspemollm.synthetic import synthetic_builder
from etude.methods.conspemollm.tasks import task_named
from etude.models import load_causal_lm

MODEL = "smollm2"
PEERS = (TRANSFORMERS, TRL)
READING = (
    "On a processor reading costs about as much per token as writing: what is saved is the shared words, "
    "read once, and the 16 answer tokens; a text of 34 tokens has to be read either way. With solved "
    "examples in the prompt more is shared."
)
WAITED = "The aim is one over 1,024 written tokens, of which 64 were waited for."
RELEASED = 8  # texts read with the released settings, which are slow


def main(*, full: bool, repetitions: int) -> Comparison:
    """Texts a second and tokens a second, ours and the peers'; `full` reads 48 texts instead of 16."""
    texts = 48 if full else 16
    figures, details = list[Figure](), dict[str, Any]()
    for shots in (0, 4):
        more, found = labelling(texts, shots, repetitions)
        figures += more
        details[f"labelling, {shots} solved examples"] = found
    if TRL.version() is None and not os.environ.get("ETUDE_TRL_PYTHON"):
        return Comparison(figures, [Missing("training", TRL)], details)
    more, details["training"] = training(8 if full else 2, repetitions)
    return Comparison([*figures, *more], (), details)


def labelling(count: int, shots: int, repetitions: int) -> tuple[list[Figure], dict[str, Any]]:
    """Texts a second by label scoring and by generation; which answers name a class, and the right one.

    Args:
        count: Texts: our synthetic articles, whose class is known, then tweets.
        shots: Solved examples in each prompt (of the articles; here only the time counts).
        repetitions: Times that each way is measured.
    """
    lm = load_causal_lm(MODEL)
    task = task_named("judgment")
    made = synthetic_builder().examples(dev=0, test=0)
    articles = [one for one in made if one.task == "judgment"]
    texts = [one.input for one in (*articles, *(one for one in made if one.task == "intention"))][:count]
    solved = [(one.input, task.answer(one.labels)) for one in articles[:shots]]
    prompts = [
        encode_prompt(lm.tokenizer, Instruction(task.statement(), text, ""), 1024, 16, solved)[0]
        for text in texts
    ]
    answers = encoded_answers(lm, task.classes)
    label_probabilities(lm, prompts[:2], answers)  # warm
    few = prompts[:RELEASED]
    said: dict[str, Any] = {}
    ways: dict[str, Callable[[], Any]] = {
        "labels scored": lambda: label_probabilities(lm, prompts, answers).argmax(1),
        "generate, 16 tokens": lambda: _generate(lm, prompts, 16, sort=True, sample=False),
        "generate as released, 64 of 1,024 tokens": lambda: _generate(lm, few, 64, sort=False, sample=True),
    }
    arms = {way: lambda way=way, work=work: said.__setitem__(way, work()) for way, work in ways.items()}
    seconds = in_turn(arms, repetitions)
    scored, careful, release = ways
    read = {scored: [(int(at),) for at in said[scored]]}
    read |= {way: [task.read(one) for one in said[way]] for way in (careful, release)}

    def row(way: str) -> dict[str, Any]:
        pairs = zip(read[way], articles, strict=False)
        return {
            "way": way,
            "texts/CPU s": len(read[way]) / statistics.median(seconds[way]),
            "name a class": sum(one is not None for one in read[way]) / len(read[way]),
            "right, of the articles": sum(one == true.labels for one, true in pairs)
            / min(len(read[way]), len(articles)),
        }

    work = f"labels of {count} texts" + (f", {shots} solved examples in each prompt" if shots else "")
    slower = [one * len(texts) / len(few) for one in seconds[release]]  # to the same number of texts
    figures = [
        Figure(work, "transformers' generate, 16 tokens", "processor seconds",
               ratios(seconds[careful], seconds[scored]), 5, if_missed=READING),
        Figure(work, "generate as released, 64 of its 1,024 tokens", "processor seconds",
               ratios(slower, seconds[scored]), 30, if_missed=WAITED),
    ]  # fmt: skip
    details = {"tokens of a prompt": sum(map(len, prompts)) / len(prompts), "ways": list(map(row, ways))}
    return figures, details


def _generate(lm: Any, prompts: list[list[int]], tokens: int, *, sort: bool, sample: bool) -> list[str]:
    order = (
        sorted(range(len(prompts)), key=lambda row: -len(prompts[row])) if sort else list(range(len(prompts)))
    )
    said = [""] * len(prompts)
    options: dict[str, Any] = (
        {"do_sample": True, "temperature": 0.9, "repetition_penalty": 1.2} if sample else {"do_sample": False}
    )
    torch.manual_seed(0)
    for start in range(0, len(order), 16):
        rows = order[start : start + 16]
        width = max(len(prompts[row]) for row in rows)
        pads = [width - len(prompts[row]) for row in rows]
        ids = torch.tensor([[0] * pad + prompts[row] for pad, row in zip(pads, rows, strict=True)])
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in pads])
        with torch.inference_mode():
            found = lm.model.generate(
                ids, attention_mask=mask, max_new_tokens=tokens, pad_token_id=0, **options
            )
        for row, one in zip(rows, found, strict=True):
            said[row] = lm.tokenizer.decode(one[width:], skip_special_tokens=True)
    return said


def training(steps: int, repetitions: int) -> tuple[list[Figure], dict[str, Any]]:
    """Tokens a second of both trainers, in turn and each in a process of its own, and their memory."""
    peer = os.environ.get("ETUDE_TRL_PYTHON", sys.executable)
    found: dict[str, list[dict[str, float]]] = {"ours": [], "trl": []}
    for _ in range(repetitions):
        for name, python in (("ours", sys.executable), ("trl", peer)):
            done = subprocess.run(
                [python, "-m", "benchmarks._conspemollm_trainer", name, str(steps)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise EtudeError(f"{name}: {done.stderr[-300:]}", "Check ETUDE_TRL_PYTHON.")
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    columns = {name: {key: [one[key] for one in many] for key in many[0]} for name, many in found.items()}
    mine, theirs = columns["ours"], columns["trl"]
    rate, memory = "tokens/CPU s", "highest memory, MiB"
    work = "training SmolLM2 with LoRA on packs of 512 tokens"
    figures = [
        Figure(work, "TRL with packing", "tokens a processor second", ratios(mine[rate], theirs[rate]), 0.9),
        Figure(work, "TRL with packing", "highest memory", ratios(theirs[memory], mine[memory]), 1),
    ]
    medians = {n: {k: statistics.median(v) for k, v in one.items()} for n, one in columns.items()}
    return figures, medians
