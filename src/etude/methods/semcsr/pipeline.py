"""The verb `run`: all three stages and the evaluation, in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from etude.data import write_records
from etude.methods import verb
from etude.methods.semcsr.comparison import evaluate
from etude.methods.semcsr.curation import Curator, refuse_too_few
from etude.methods.semcsr.encoders import Kind
from etude.methods.semcsr.learning import train
from etude.methods.semcsr.making import curate, generate, score
from etude.methods.semcsr.masked_info_nce import PHI
from etude.methods.semcsr.reporting import curation_sections, evaluation_sections
from etude.methods.semcsr.results import RunResult
from etude.methods.semcsr.similarity_scorers import ScorerName
from etude.methods.semcsr.sts import halves, read_sts
from etude.methods.semcsr.triples import read_triples
from etude.render import save_page


@verb
def run(
    sentences: Path,
    *,
    preset: Literal["v1", "v2"] = "v2",
    lm: str = "smollm2",
    encoder: str = "smollm2",
    kind: Kind = "auto",
    sts: Path | None = None,
    prompts: str = "nli-fewshot",
    omega: float | None = None,
    scorer: ScorerName = "expected",
    alpha: float = 3.0,
    beta: float = 3.0,
    gamma: float = 1.0,
    max_copy: float = 1.0,
    reference: str = "simcse",
    phi: float | None = None,
    epochs: float = 3.0,
    steps: int | None = None,
    batch_size: int = 128,
    seed: int = 42,
    seeds: int = 5,
    column: str | None = None,
    allow_overlap: bool = False,
    base_url: str | None = None,
    out: Path = Path("semcsr"),
) -> RunResult:
    """All stages: generate, score, curate, train, evaluate, and a page; the same command resumes it.

    Args:
        sentences: A .txt file with one sentence a line, or a table with --column.
        preset: v2: all three stages; v1 (the paper's first version): no contrast, no mask.
        lm: What writes and grades.
        encoder: What is trained.
        kind: See train.
        sts: An STS file; half of it chooses the checkpoint, the other half is reported.
        prompts: See generate.
        omega: Weight of the opposite instruction; 0.3 in v2, 0 in v1 and for served models.
        scorer: See score.
        alpha: Least score of a positive.
        beta: Greatest score of a hard negative.
        gamma: Least distance between both.
        max_copy: Greatest edit similarity to the sentence.
        reference: See train; simcse is the paper's.
        phi: 0.95 in v2, above 1 (no mask) in v1.
        epochs: Passes over the triples.
        steps: Optimizer steps, in place of epochs.
        batch_size: Triples per step.
        seed: Of prompts, data order and dropout.
        seeds: Trainings of the SimCSE baseline.
        column: Where the sentences are in a table.
        allow_overlap: Keep sentences that the STS file holds.
        base_url: Address of an OpenAI-compatible server.
        out: The folder: triples.jsonl, scored.jsonl, clean.jsonl, model, report.html.

    Raises:
        EtudeError: A stage cannot be done; what is finished is kept.
    """
    first = preset == "v1"
    files = {name: out / f"{name}.jsonl" for name in ("triples", "scored", "clean")}
    generated = generate(
        sentences,
        lm=lm,
        omega=(0.0 if first else 0.3) if omega is None else omega,
        prompts=prompts,
        column=column,
        evaluation=(sts,) if sts else (),
        allow_overlap=allow_overlap,
        seed=seed,
        base_url=base_url,
        out=files["triples"],
    )
    score(files["triples"], scorer=scorer, lm=lm, base_url=base_url, out=files["scored"])
    curated = curate(
        files["scored"], alpha=alpha, beta=beta, gamma=gamma, max_copy=max_copy, out=files["clean"]
    )
    kept, dropped = Curator(alpha, beta, gamma, max_copy).split(read_triples(files["scored"]))
    refuse_too_few(len(kept), dropped, batch_size)
    dev: tuple[Path, ...] = ()
    if sts is not None:
        parts = dict(zip(("dev", "test"), halves(read_sts(sts)), strict=True))
        for name, pairs in parts.items():
            write_records(out / f"{name}.jsonl", pairs)
        dev = (out / "dev.jsonl",)
    trained = train(
        files["clean"],
        encoder=encoder,
        kind=kind,
        reference=reference,
        phi=(2.0 if first else PHI) if phi is None else phi,
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        dev=dev,
        seed=seed,
        allow_overlap=allow_overlap,
        out=out / "model",
    )
    evaluated = None
    if sts is not None:
        evaluated = evaluate(
            trained.model, sts=(out / "test.jsonl",), compare=("raw", "simcse-unsup"), seeds=seeds
        )
    sections: list[Any] = []
    if evaluated is not None:
        sections += evaluation_sections(
            evaluated.sts,
            evaluated.differences,
            evaluated.transfer,
            ["Reported on the half that chose nothing."],
        )
    sections += curation_sections(kept, dropped, curated.before, curated.after)
    save_page(out / "report.html", "A sentence encoder from written pairs", sections)
    return RunResult(str(out), generated, curated, trained, evaluated)
