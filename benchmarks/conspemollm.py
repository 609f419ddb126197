"""conspemollm and its peers: labels scored in one prefill against `generate`, packed training against TRL.

Classification: 48 texts, SmolLM2, the same prompts; transformers' generate as a careful user calls it (sorted
by length, greedy, `max_new_tokens=16`) and as the release does (file order, sampled; up to 64 tokens here
instead of its 1,024, so the true ratio is larger). Training: `_conspemollm_trainer`, against TRL's SFTTrainer
with packing and completion-only loss; ours and TRL in turn, the quickest round of each. TRL is taken from
this environment, or from the interpreter named by ETUDE_TRL_PYTHON (with etude and trl).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from etude.errors import EtudeError
from etude.methods.conspemollm.affect_tasks import Instruction
from etude.methods.conspemollm.label_scoring import encoded_answers, label_probabilities
from etude.methods.conspemollm.prompts import encode_prompt
from etude.methods.conspemollm.synthetic import synthetic_builder
from etude.methods.conspemollm.tasks import task_named
from etude.models import load_causal_lm

MODEL = "smollm2"
RELEASED = 8  # texts read with the released settings, which are slow


def main(*, quick: bool) -> dict[str, Any]:
    """Texts a second and tokens a second, ours and the peers'.

    Args:
        quick: Fewer texts and steps, one round.
    """
    return {
        "threads": torch.get_num_threads(),
        "labelling": labelling(12 if quick else 48, 0),
        "labelling with solved examples": labelling(12 if quick else 48, 4),
        "training": training(3 if quick else 8, 1 if quick else 2),
    }


def labelling(count: int, shots: int) -> dict[str, Any]:
    """Texts a second by label scoring and by generation; which answers name a class, and the right one.

    Args:
        count: Texts: our synthetic articles, whose class is known, then tweets.
        shots: Solved examples in each prompt (of the articles; here only the time counts).
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
    ours = _timed(lambda: label_probabilities(lm, prompts, answers).argmax(1))
    careful = _timed(lambda: _generate(lm, prompts, 16, sort=True, sample=False))
    few = prompts[:RELEASED]
    release = _timed(lambda: _generate(lm, few, 64, sort=False, sample=True))

    def row(timed: Timed, said: list[tuple[int, ...] | None]) -> dict[str, float]:
        pairs = zip(said, articles, strict=False)
        return {
            "texts/s": len(said) / timed.wall,
            "texts/CPU s": len(said) / timed.cpu,
            "name a class": sum(one is not None for one in said) / len(said),
            "right, of the articles": sum(one == true.labels for one, true in pairs)
            / min(len(said), len(articles)),
        }

    return {
        "texts": len(texts),
        "tokens of a prompt": sum(map(len, prompts)) / len(prompts),
        "ways": [
            {"way": "labels scored", **row(ours, [(int(at),) for at in ours.result])},
            {"way": "generate, 16 tokens", **row(careful, [task.read(one) for one in careful.result])},
            {
                "way": "generate as released, 64 of 1,024 tokens",
                **row(release, [task.read(one) for one in release.result]),
            },
        ],
        "ratio to generate": {"wall": careful.wall / ours.wall, "CPU": careful.cpu / ours.cpu},
        "ratio to the released settings": {
            "wall": release.wall / len(few) / (ours.wall / len(texts)),
            "CPU": release.cpu / len(few) / (ours.cpu / len(texts)),
        },
    }


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


def training(steps: int, rounds: int) -> dict[str, Any]:
    """Tokens a second of both trainers, in turn and each in a process of its own, and their memory."""
    peer = os.environ.get("ETUDE_TRL_PYTHON", sys.executable)
    found: dict[str, list[dict[str, float]]] = {"ours": [], "trl": []}
    for _ in range(rounds):
        for name, python in (("ours", sys.executable), ("trl", peer)):
            done = subprocess.run(
                [python, "-m", "benchmarks._conspemollm_trainer", name, str(steps)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode and "No module named 'trl'" in done.stderr:
                return {**_best(found["ours"]), "TRL": "not installed; see the head of this file"}
            if done.returncode:
                raise EtudeError(f"{name}: {done.stderr[-300:]}", "Check ETUDE_TRL_PYTHON.")
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    ours, theirs = _best(found["ours"]), _best(found["trl"])
    return {
        "ours": ours,
        "TRL with packing": theirs,
        "ratio": {name: ours[name] / theirs[name] for name in ours if name != "tokens"},
    }


def _best(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The quickest round: what else runs on the machine only ever makes it slower."""
    return max(rounds, key=lambda one: one["tokens/CPU s"])


@dataclass(frozen=True)
class Timed:
    """What some work gave and took.

    Args:
        result: What it gave.
        wall: Seconds on the clock.
        cpu: Seconds of this process on all cores: fair on a machine that does other things, too.
    """

    result: Any
    wall: float
    cpu: float


def _timed(work: Callable[[], Any]) -> Timed:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return Timed(result, time.perf_counter() - wall, time.process_time() - cpu)
