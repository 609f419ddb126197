"""The verb `train`."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from etude.data import read_rows
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.semcsr.encoders import Kind, PoolingName, load_sentence_transformer
from etude.methods.semcsr.frozen_lm import LAYER, states_file
from etude.methods.semcsr.masked_info_nce import PHI, TAU, Variant
from etude.methods.semcsr.provenance import (
    read_provenance,
    write_provenance,
)
from etude.methods.semcsr.results import TrainResult
from etude.methods.semcsr.sentences import normalized, read_sentences
from etude.methods.semcsr.static_encoder import DIMENSION
from etude.methods.semcsr.sts import (
    STSPair,
    read_sts,
    sts_texts,
)
from etude.methods.semcsr.training import (
    Objective,
    TrainConfig,
    clear_checkpoints,
    config_json,
    fit_encoder,
    open_configured,
)
from etude.methods.semcsr.triples import Triple, read_triples
from etude.models import model_directory, model_revision
from etude.render import console
from etude.runs import Run, atomic_path, file_hash


@verb
def train(
    triples: Path,
    *,
    encoder: str = "smollm2",
    kind: Kind = "auto",
    objective: Objective = "triples",
    reference: str = "self",
    phi: float = PHI,
    tau: float = TAU,
    loss: Variant = "masked",
    epochs: float = 3.0,
    steps: int | None = None,
    batch_size: int = 128,
    learning_rate: float | None = None,
    max_length: int = 32,
    dev: tuple[Path, ...] = (),
    eval_every: int = 25,
    patience: int | None = None,
    allow_overlap: bool = False,
    seed: int = 42,
    layer: int = LAYER,
    dimension: int = DIMENSION,
    dropout: float | None = None,
    pooling: PoolingName = "cls",
    mini_batch_size: int | None = None,
    sample: int | None = None,
    out: Path = Path("model"),
) -> TrainResult:
    """Stage 3: train a sentence encoder on triples, pairs, or sentences alone (unsupervised SimCSE).

    Writes an ordinary sentence-transformers folder. A killed training goes on from its last checkpoint.

    Args:
        triples: sent0,sent1[,hard_neg] as .jsonl or .csv; a .txt of sentences with --objective simcse.
        encoder: smollm2, a transformer's or sentence-transformers folder, or org/name.
        kind: static (token embeddings) or frozen-lm (a language model's lower layers under attention pooling)
            train on a CPU; full fine-tunes all weights; auto: static for a causal language model, else full.
        objective: triples; positives (hard negatives left out); simcse (each sentence with itself).
        reference: The frozen reference encoder of the mask: self (the encoder before training), simcse (the
            same encoder after unsupervised SimCSE on these sentences, as in the paper), or a model.
        phi: Candidates with a reference cosine above phi are no negatives; above 1 for no mask.
        tau: Temperature.
        loss: masked, or official: the released code's loss, to compare.
        epochs: Passes over the triples.
        steps: Optimizer steps, in place of epochs.
        batch_size: Triples per step, over all processes.
        learning_rate: Peak rate; by default 5e-5 (full), 3e-4 (frozen-lm), 2e-3 (static).
        max_length: Tokens after which a text is cut (not for static).
        dev: STS files by whose correlation the best checkpoint is chosen.
        eval_every: Steps between evaluations and checkpoints.
        patience: Stop after this many evaluations without a better one.
        allow_overlap: Allow development sentences among the training sentences.
        seed: Of data order and dropout.
        layer: Of frozen-lm.
        dimension: Length of the vectors of static and frozen-lm.
        dropout: Share of tokens (static) or values (frozen-lm) left out in training.
        pooling: Of full, where the folder does not say; cls trains under a tanh layer that is dropped after.
        mini_batch_size: GradCache: rows embedded at once, for batches that do not fit.
        sample: Train on so many rows, drawn by the seed: what curation must beat.
        out: The model's folder; checkpoints and settings lie in OUT.run.

    Raises:
        EtudeError: Too few rows, mixed rows, leaking development pairs, a loss that is not finite, or a
            collapsed encoder.
    """
    config = TrainConfig(
        kind=kind, objective=objective, tau=tau, phi=phi, loss=loss, epochs=epochs, steps=steps,
        batch_size=batch_size, learning_rate=learning_rate, eval_every=eval_every, patience=patience,
        layer=layer, dimension=dimension, dropout=dropout, pooling=pooling, max_length=max_length,
        mini_batch_size=mini_batch_size, seed=seed,
    )  # fmt: skip
    rows = training_rows(triples, objective)
    if sample is not None:
        rows = sampled(rows, sample, seed)
    pairs = [pair for file in dev for pair in read_sts(file)]
    refuse_leak(rows, pairs, allow=allow_overlap)
    facts = {
        "encoder": encoder,
        "revision": _revision(encoder),
        "reference": reference,
        "triples": str(triples.resolve()),
        "triples_sha256": file_hash(triples) if triples.is_file() else str(triples),
        "dev": [str(file.resolve()) for file in dev],
        "dev_sha256": [file_hash(file) for file in dev],
        "sample": sample,
        "config": config_json(config),
    }
    work = out.with_name(f"{out.name}.run")
    if out.exists() and not (read_provenance(out) and (work / "run.json").exists()):
        raise EtudeError(f"{out} exists and was not written by this command", "Give a new folder as --out.")
    hidden = ("triples", "dev")  # where a file lies does not change what is trained
    asked = {name: value for name, value in facts.items() if name not in hidden}
    with Run(work, asked, command="semcsr train") as running:
        if running.result is None or not out.exists():
            result = _train(encoder, rows, config, pairs, reference, facts, work, out)
            running.complete(vars(result) | {"model": out.name})
        return TrainResult(**{**(running.result or {}), "model": str(out)})


def _train(
    encoder: str,
    rows: Sequence[Triple],
    config: TrainConfig,
    dev: Sequence[STSPair],
    reference: str,
    facts: dict[str, Any],
    work: Path,
    out: Path,
) -> TrainResult:
    anchors = [row.sent0 for row in rows]
    opened = open_configured(encoder, anchors, config, work / "states")
    frozen: Any = None
    if config.phi < 1 and config.objective != "simcse":
        if reference == "self":
            frozen = opened.plain()
        elif reference == "simcse":
            alone = replace(config, objective="simcse", mini_batch_size=None)
            frozen = fit_encoder(opened, rows, alone, dev=dev, out=work / "simcse").model
        else:
            frozen = load_sentence_transformer(reference)
    done = fit_encoder(opened, rows, config, dev=dev, reference=frozen, out=work / "fit")
    with atomic_path(out) as folder:
        folder.mkdir()
        done.model.save(str(folder), create_model_card=False)
        (folder / "README.md").write_text(_card(facts, done.rows, opened.kind), encoding="utf-8")
        seen = [text for row in rows for text in (row.sent0, row.sent1, row.hard_neg) if text]
        write_provenance(folder, facts, seen)
    for part in ("fit", "simcse"):
        clear_checkpoints(work / part)
    states_file(work / "states").unlink(missing_ok=True)
    return TrainResult(
        str(out), opened.kind, done.rows, done.steps, done.best_step, done.best_spearman, done.masked
    )


def _card(facts: Mapping[str, Any], rows: int, kind: str) -> str:
    """The model card: what it is and how it was made."""
    config = facts["config"]
    return (
        "---\nlibrary_name: sentence-transformers\n"
        "tags: [sentence-transformers, sentence-similarity]\n---\n\n"
        f"# A sentence encoder from {Path(facts['encoder']).name}\n\n"
        f"A `{kind}` encoder, trained by `etude semcsr train` on {rows:,} rows "
        f"(objective `{config['objective']}`, tau {config['tau']}, phi {config['phi']}, "
        f"seed {config['seed']}). "
        "All settings are in `semcsr.json`.\n\n"
        "```python\nfrom sentence_transformers import SentenceTransformer\n\n"
        'SentenceTransformer("this-folder").encode(["a sentence"])\n```\n'
    )


def training_rows(source: Path, objective: Objective) -> list[Triple]:
    """Rows that can be trained on: written ones, or sentences alone for `simcse`.

    Raises:
        EtudeError: There is none.
    """
    if objective == "simcse" and (source.suffix == ".txt" or not _has_column(source, "sent1")):
        column = "sent0" if source.suffix != ".txt" and _has_column(source, "sent0") else None
        return [
            Triple(id=str(i), sent0=text)
            for i, text in enumerate(read_sentences(source, column=column).texts)
        ]
    rows = read_triples(source)
    good = [row for row in rows if row.status == "ok" and (row.sent1 or objective == "simcse")]
    if len(good) < len(rows):
        console().print(f"{source}: {len(rows) - len(good)} rows that were not written are left out")
    if not good:
        raise EtudeError(
            f"{source}: no row can be trained on", "Its rows were not written; see their status."
        )
    return good


def _has_column(source: Path, name: str) -> bool:
    return any(name in row for _, row in zip(range(1), (row for _, row in read_rows(source)), strict=False))


def sampled(rows: Sequence[Triple], count: int, seed: int) -> list[Triple]:
    """A random subset in the rows' order.

    Raises:
        EtudeError: There are fewer rows.
    """
    if not 0 < count <= len(rows):
        raise EtudeError(f"--sample {count}: there are {len(rows)} rows", "Give a smaller number.")
    return [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), count))]


def refuse_leak(rows: Sequence[Triple], pairs: Sequence[STSPair], *, allow: bool) -> None:
    """Refuse training sentences that the development pairs hold.

    Raises:
        EtudeError: There are some and `allow` is false.
    """
    held = {normalized(text) for text in sts_texts(pairs)}
    shared = [row.sent0 for row in rows if normalized(row.sent0) in held]
    if shared and not allow:
        raise EtudeError(
            f"{len(shared)} of {len(rows)} training sentences are in the development file, e.g. "
            f"{shared[0][:60]!r}",
            "Remove them (generate --evaluation FILE refuses them), or say --allow-overlap.",
        )


def _revision(encoder: str) -> str:
    directory = Path(encoder) if (Path(encoder) / "modules.json").is_file() else model_directory(encoder)
    return model_revision(directory)
