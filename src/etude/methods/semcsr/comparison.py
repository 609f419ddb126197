"""The verb `evaluate`: correlation with human similarity, transfer tasks, differences between encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.semcsr.encoders import load_sentence_transformer
from etude.methods.semcsr.learning import sampled, training_rows
from etude.methods.semcsr.provenance import needed_provenance, seen_sentences
from etude.methods.semcsr.reporting import evaluation_sections
from etude.methods.semcsr.results import EvaluateResult
from etude.methods.semcsr.sts import (
    RESAMPLES,
    Aggregation,
    STSResult,
    evaluate_sts,
    read_sts,
    resampled_spearman,
    spearman,
    sts_texts,
)
from etude.methods.semcsr.training import TrainConfig, clear_checkpoints, fit_encoder, open_configured
from etude.methods.semcsr.transfer import transfer_eval
from etude.render import console, save_page
from etude.runs import file_hash


@verb
def evaluate(
    model: str,
    *,
    sts: tuple[Path, ...] = (),
    compare: tuple[str, ...] = (),
    seeds: int = 1,
    aggregation: Aggregation = "all",
    transfer: tuple[Path, ...] = (),
    mteb: tuple[str, ...] = (),
    page: Path | None = None,
) -> EvaluateResult:
    """How well an encoder's cosines follow human similarity, and its vectors serve classifiers.

    Args:
        model: A folder written by train, any sentence-transformers folder, an embedded name or a hub id.
        sts: STS files: score,sentence1,sentence2[,genre,year], or the benchmark's seven tab-separated
            columns.
        compare: raw (the encoder before training), simcse-unsup (trained here on the same sentences with the
            same settings), or other models; also as raw,simcse-unsup.
        seeds: Trainings of simcse-unsup, on seeds 0, 1, 2 ...
        aggregation: all: one correlation over all pairs of a file; mean: of its subsets (genre and year).
        transfer: Tasks for logistic regression on frozen vectors: text (or sentence1,sentence2),
            label[,split].
        mteb: Names of MTEB tasks, for the full tables: STS12 STSBenchmark SciFact ... (needs etude[mteb]).
        page: Also write a page (.html).

    Raises:
        EtudeError: Nothing to evaluate on, no such model, or `compare` needs a training that is not known.
    """
    if not sts and not transfer and not mteb:
        raise EtudeError("nothing to evaluate on", "Give --sts FILE, --transfer FILE or --mteb TASK.")
    if seeds < 1:
        raise EtudeError(f"--seeds {seeds}: not a positive number", "Give for example 5.")
    names = listed(compare)
    contenders: dict[str, list[Any]] = {"model": [load_sentence_transformer(model)]}
    for name in names:
        contenders[name] = _contender(name, Path(model), seeds)
    correlations: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    overlap = 0
    for file in sts:
        pairs = read_sts(file)
        overlap += len(seen_sentences(Path(model), sts_texts(pairs)))
        found = {
            name: [evaluate_sts(one, pairs) for one in encoders] for name, encoders in contenders.items()
        }
        correlations += [_sts_row(name, file, results, aggregation) for name, results in found.items()]
        gold = np.array([pair.score for pair in pairs])
        differences += [
            _difference_row(found["model"][0], others, name, file, gold)
            for name, others in found.items()
            if name != "model"
        ]
    tasks = [
        {"model": name, "task": done.task, "accuracy": 100 * done.accuracy, "rows": done.rows,
         "protocol": done.protocol}
        for file in transfer
        for name, encoders in contenders.items()
        for done in [transfer_eval(encoders[0], file)]
    ]  # fmt: skip
    tables: list[Mapping[str, Any]] = []
    if mteb:
        from etude.methods.semcsr.mteb_tables import mteb_rows

        asked = listed(mteb)
        tables = [row for name, encoders in contenders.items() for row in mteb_rows(name, encoders[0], asked)]
    if overlap:
        console().print(f"{overlap} sentences of these files were trained on: the figures are transductive")
    result = EvaluateResult(correlations, differences, tasks, aggregation, overlap, tables)
    if page is not None:
        notes = [f"Spearman x 100, aggregation '{aggregation}'."]
        notes += [f"{overlap} sentences were trained on: the figures are transductive."] if overlap else []
        save_page(page, f"{model}: evaluation", evaluation_sections(correlations, differences, tasks, notes))
        result = replace(result, page=str(page))
    return result


def listed(given: tuple[str, ...] | str) -> list[str]:
    """Names from one text or several, each perhaps with commas."""
    texts = (given,) if isinstance(given, str) else given
    return [name.strip() for text in texts for name in text.split(",") if name.strip()]


def _sts_row(name: str, file: Path, found: Sequence[STSResult], aggregation: Aggregation) -> dict[str, Any]:
    first = found[0]
    return {
        "model": name,
        "file": file.name,
        "pairs": first.pairs,
        "Spearman": 100 * fmean(one.spearman if aggregation == "all" else one.mean for one in found),
        "95 % (all)": f"{100 * first.low:.2f} to {100 * first.high:.2f}",
        "all": 100 * fmean(one.spearman for one in found),
        "mean": 100 * fmean(one.mean for one in found),
        "alignment": first.alignment,
        "uniformity": first.uniformity,
        "seeds": len(found),
    }


def _difference_row(
    ours: STSResult, others: Sequence[STSResult], name: str, file: Path, gold: Any
) -> dict[str, Any]:
    """Paired over pairs; against several seeds, the mean of their correlations in each resample."""
    both = resampled_spearman([ours.cosines, *(other.cosines for other in others)], gold, RESAMPLES)
    low, high = np.nanpercentile(both[0] - both[1:].mean(0), [2.5, 97.5]).tolist()
    by_seed = [spearman(ours.cosines, gold) - other.spearman for other in others]
    return {
        "against": name,
        "file": file.name,
        "difference": 100 * fmean(by_seed),
        "low": 100 * low,
        "high": 100 * high,
        "better on": f"{sum(one > 0 for one in by_seed)} of {len(by_seed)}",
    }


def _contender(name: str, folder: Path, seeds: int) -> list[Any]:
    """Models to compare with: one, or one for each seed."""
    if name not in ("raw", "simcse-unsup"):
        return [load_sentence_transformer(name)]
    facts = needed_provenance(folder, f"--compare {name}")
    config = TrainConfig(**facts["config"])
    source = Path(facts["triples"])
    if not source.is_file() or file_hash(source) != facts["triples_sha256"]:
        raise EtudeError(
            f"{source}: the training set of {folder} is gone or has changed",
            f"--compare {name} needs it; put it back, or train again.",
        )
    rows = training_rows(source, config.objective)
    if facts["sample"] is not None:
        rows = sampled(rows, facts["sample"], config.seed)
    work = folder.with_name(f"{folder.name}.run") / "compare"
    opened = open_configured(facts["encoder"], [row.sent0 for row in rows], config, work)
    if name == "raw":
        return [opened.plain()]
    dev = [pair for file in facts["dev"] if Path(file).is_file() for pair in read_sts(file)]
    found = []
    for seed in range(seeds):
        console().print(f"semcsr evaluate: unsupervised SimCSE, seed {seed}")
        alone = replace(config, objective="simcse", seed=seed)
        found.append(fit_encoder(opened, rows, alone, dev=dev, out=work / f"simcse-{seed}").model)
        clear_checkpoints(work / f"simcse-{seed}")
    return found
