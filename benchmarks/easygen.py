"""easygen: reading pictures beside diffusers' UniDiffuserPipeline, and fewer steps at the same captions.

Both read the same random pictures with the same random weights, starting noise and number of steps, on one
thread; processor seconds. The pipeline's text latents are caught before its GPT-2 decodes them, and its
decoding is counted apart. Fewer steps: the packaged emoji model on the sheet's unseen combinations
(ETUDE_TEST_DATA, else the twelve of the package) with DPM-Solver++ at 50, 20, 10 and 5 steps.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks._comparison import Comparison, Figure, in_turn, ratios
from benchmarks._easygen_peer import random_pipeline
from benchmarks._peers import DIFFUSERS
from etude.errors import EtudeError
from etude.methods.easygen.bidiffuser import BiDiffuser, load_bidiffuser
from etude.methods.easygen.caption_metrics import exact, word_accuracy
from etude.methods.easygen.demo import SAMPLE
from etude.methods.easygen.noise_schedule import NoiseSchedule
from etude.methods.easygen.pairs import read_pairs
from etude.methods.easygen.pictures import load_pixels, pixel_tensor
from etude.methods.easygen.sampling import sample_text

PEERS = (DIFFUSERS,)
TOLERANCE = 1e-4
MATRICES = (
    "The larger the network, the more of the time is matrix products, which both must do, and the less "
    "batching can gain on a processor; both run the same number of passes here. On a GPU, where small "
    "batches leave most of it idle, it was not measured. Against the pipeline as it is called by default "
    "the gain is larger."
)


def main(*, full: bool, repetitions: int) -> Comparison:
    """Reading pictures in networks of two sizes, and captions by fewer steps; `full` reads more pictures."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        small, few = reading(256, 4, 8 if full else 4, 10, repetitions)
        large, many = reading(512, 12, 16 if full else 4, 20 if full else 4, repetitions)
        steps, captions = fewer_steps(80 if full else 12, repetitions)
        details = {"small network": few, "large network": many, "fewer steps, emoji model": captions}
        return Comparison([*small, *large, steps], (), details)
    finally:
        torch.set_num_threads(threads)


def reading(
    width: int, depth: int, count: int, steps: int, repetitions: int
) -> tuple[list[Figure], dict[str, Any]]:
    """The same features of the same pictures, by the pipeline one after the other and by us in one batch."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        pipeline = random_pipeline(Path(folder), width=width, depth=depth)
        ours = load_bidiffuser(folder)
        torch.manual_seed(1)
        images = [Image.fromarray((torch.rand(64, 64, 3) * 255).byte().numpy()) for _ in range(count)]
        starts = torch.randn(count, 77, 64)
        plain, guided, mine = list[tuple[float, float]](), list[tuple[float, float]](), list[float]()
        for _ in range(repetitions):
            caught: list[torch.Tensor] = []
            plain.append(_pipeline_seconds(pipeline, images, starts, steps, 1.0, caught))
            features, seconds = _our_seconds(ours, images, starts, steps)
            mine.append(seconds)
            guided.append(_pipeline_seconds(pipeline, images, starts, steps, 8.0, []))
        different = max(float((a - b).abs().max()) for a, b in zip(features, caught, strict=True))
        if different > TOLERANCE:
            raise AssertionError(f"outputs differ by {different}")
    work = f"latents of {count} pictures in {steps} steps, {width} wide, {depth} + 1 blocks"
    peer = "diffusers' UniDiffuserPipeline"
    figures = [
        Figure(work, f"{peer}, no guidance", "processor seconds", ratios([one for one, _ in plain], mine), 2,
               if_missed=MATRICES),
        Figure(work, f"{peer}, its default guidance", "processor seconds",
               ratios([one for one, _ in guided], mine)),
    ]  # fmt: skip
    return figures, {
        "ours, pictures/s": count / median(mine),
        "with the pipeline's decoding, times as fast": median(ratios([sum(one) for one in plain], mine)),
        "with guidance and decoding, times as fast": median(ratios([sum(one) for one in guided], mine)),
        "largest difference": different,
    }


def _pipeline_seconds(
    pipeline: Any,
    images: list[Any],
    starts: torch.Tensor,
    steps: int,
    guidance: float,
    caught: list[torch.Tensor],
) -> tuple[float, float]:
    decode = type(pipeline).decode_text_latents
    spent = [0.0]

    def catch(latents: torch.Tensor, device: Any) -> list[str]:
        before = time.process_time()
        caught.append(latents[0])
        found: list[str] = decode(pipeline, latents, device)
        spent[0] += time.process_time() - before
        return found

    pipeline.decode_text_latents = catch
    started = time.process_time()
    for number, image in enumerate(images):
        pipeline(
            image=image,
            prompt_latents=starts[number : number + 1],
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=torch.Generator().manual_seed(number),
        )
    return time.process_time() - started - spent[0], spent[0]


def _our_seconds(
    ours: BiDiffuser, images: list[Any], starts: torch.Tensor, steps: int
) -> tuple[torch.Tensor, float]:
    schedule = NoiseSchedule(first_index=0, order=ours.schedule.order)  # the pipeline's times
    shape = (1, 4, 16, 16)
    posterior = torch.cat(
        [torch.randn(shape, generator=torch.Generator().manual_seed(n)) for n in range(len(images))]
    )
    started = time.process_time()
    with torch.inference_mode():
        grid, clip = ours.pictures.encode(torch.stack([pixel_tensor(i, 64) for i in images]), posterior)
        noise = ours.text.decoder.encode_prefix(starts)
        rows = [
            sample_text(
                ours.network, schedule, grid[at : at + 8], clip[at : at + 8], noise[at : at + 8], steps=steps
            )
            for at in range(0, len(images), 8)
        ]
    return torch.cat(rows), time.process_time() - started


def fewer_steps(limit: int, repetitions: int) -> tuple[Figure, list[dict[str, Any]]]:
    """Captions of pictures that the packaged model was not trained on, by solver and steps, two draws."""
    default = Path(__file__).parents[2] / "shared" / "data"
    sheet = Path(os.environ.get("ETUDE_TEST_DATA") or default) / "easygen" / "noto_emoji_32.csv"
    model = load_bidiffuser("emoji")
    pairs = read_pairs(sheet, split="test") if sheet.exists() else read_pairs(SAMPLE)
    pairs = [pair for pair in pairs if not model.text.encode(pair.captions).unknown][:limit]
    if not pairs:
        raise EtudeError(f"{sheet}: no caption that the emoji model knows", "Set ETUDE_TEST_DATA.")
    pixels, ids = load_pixels([pair.picture for pair in pairs], model.size), [pair.id for pair in pairs]
    written: dict[tuple[str, int], list[str]] = {}

    def write(solver: str, steps: int) -> None:
        tried = replace(model, schedule=replace(model.schedule, solver=solver))
        written[solver, steps] = [
            text for seed in (0, 1) for text in tried.captions(pixels, ids, seed=seed, steps=steps)
        ]

    tries = (("dpm++", 50), ("dpm++", 20), ("dpm++", 10), ("dpm++", 5), ("ddim", 12))
    seconds = in_turn({f"{s} {n}": lambda s=s, n=n: write(s, n) for s, n in tries}, repetitions)
    both, rows = [*pairs, *pairs], list[dict[str, Any]]()
    for (solver, steps), texts in written.items():
        scores = [word_accuracy(text, pair.captions) for text, pair in zip(texts, both, strict=True)]
        rows.append(
            {
                "solver": solver,
                "steps": steps,
                "pictures": len(pairs),
                "word accuracy": sum(scores) / len(scores),
                "exact": sum(exact(t, p.captions) for t, p in zip(texts, both, strict=True)) / len(both),
                "pictures/s": len(both) / median(seconds[f"{solver} {steps}"]),
            }
        )
    gain = ratios(seconds["dpm++ 50"], seconds["dpm++ 20"])
    work = "captions by the emoji model, DPM-Solver++ in 20 steps"
    return Figure(work, "ours in 50 steps", "processor seconds", gain, 2), rows
