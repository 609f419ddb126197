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
from typing import Any

import torch

from benchmarks._easygen_peer import random_pipeline
from etude.errors import EtudeError
from etude.methods.easygen.bidiffuser import BiDiffuser, load_bidiffuser
from etude.methods.easygen.caption_metrics import exact, word_accuracy
from etude.methods.easygen.demo import SAMPLE
from etude.methods.easygen.noise_schedule import NoiseSchedule
from etude.methods.easygen.pairs import read_pairs
from etude.methods.easygen.pictures import load_pixels, pixel_tensor
from etude.methods.easygen.sampling import sample_text

TOLERANCE = 1e-4


def main(*, quick: bool = False) -> dict[str, Any]:
    """Pictures a second, ours and the pipeline's, the largest difference of their outputs, and steps.

    Args:
        quick: A smaller network, fewer pictures.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            "reading pictures": reading(
                width=256 if quick else 512,
                depth=4 if quick else 12,
                count=4 if quick else 16,
                steps=10 if quick else 20,
            ),
            "fewer steps, emoji model": fewer_steps(limit=24 if quick else 80),
        }
    finally:
        torch.set_num_threads(threads)


def reading(*, width: int, depth: int, count: int, steps: int) -> list[dict[str, Any]]:
    """The same features of the same pictures, by the pipeline one after the other and by us in one batch."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        pipeline = random_pipeline(Path(folder), width=width, depth=depth)
        ours = load_bidiffuser(folder)
        torch.manual_seed(1)
        images = [Image.fromarray((torch.rand(64, 64, 3) * 255).byte().numpy()) for _ in range(count)]
        starts = torch.randn(count, 77, 64)
        rows, caught = [], []
        for guidance in (1.0, 8.0):
            caught = []
            seconds, decoding = _pipeline_seconds(pipeline, images, starts, steps, guidance, caught)
            if guidance == 1.0:
                features, mine = _our_seconds(ours, images, starts, steps)
                different = max(float((a - b).abs().max()) for a, b in zip(features, caught, strict=True))
                if different > TOLERANCE:
                    raise AssertionError(f"outputs differ by {different}")
            rows.append(
                {
                    "pipeline": "no guidance" if guidance == 1.0 else "its default, guidance 8",
                    "its pictures/s": count / seconds,
                    "with its decoding": count / (seconds + decoding),
                    "ours, pictures/s": count / mine,
                    "times as fast": seconds / mine,
                    "with its decoding, times": (seconds + decoding) / mine,
                    "largest difference": different if guidance == 1.0 else None,
                    "its passes a picture": steps * (1 if guidance == 1.0 else 2),
                    "our passes": steps,
                }
            )
        return rows


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


def fewer_steps(*, limit: int) -> list[dict[str, Any]]:
    """Captions of pictures that the packaged model was not trained on, by solver and steps, two draws."""
    default = Path(__file__).parents[2] / "shared" / "data"
    sheet = Path(os.environ.get("ETUDE_TEST_DATA") or default) / "easygen" / "noto_emoji_32.csv"
    model = load_bidiffuser("emoji")
    pairs = read_pairs(sheet, split="test") if sheet.exists() else read_pairs(SAMPLE)
    pairs = [pair for pair in pairs if not model.text.encode(pair.captions).unknown][:limit]
    if not pairs:
        raise EtudeError(f"{sheet}: no caption that the emoji model knows", "Set ETUDE_TEST_DATA.")
    pixels = load_pixels([pair.picture for pair in pairs], model.size)
    rows: list[dict[str, Any]] = []
    for solver, steps in (("dpm++", 50), ("dpm++", 20), ("dpm++", 10), ("dpm++", 5), ("ddim", 12)):
        schedule = replace(model.schedule, solver=solver)
        tried = replace(model, schedule=schedule)
        started, written = time.process_time(), []
        for seed in (0, 1):
            written += tried.captions(pixels, [pair.id for pair in pairs], seed=seed, steps=steps)
        seconds = time.process_time() - started
        both = [*pairs, *pairs]
        scores = [word_accuracy(text, pair.captions) for text, pair in zip(written, both, strict=True)]
        rows.append(
            {
                "solver": solver,
                "steps": steps,
                "pictures": len(pairs),
                "word accuracy": sum(scores) / len(scores),
                "exact": sum(exact(t, p.captions) for t, p in zip(written, both, strict=True)) / len(both),
                "pictures/s": len(both) / seconds,
            }
        )
    for row in rows:
        row["times as fast as 50 steps"] = row["pictures/s"] / rows[0]["pictures/s"]
    return rows
