"""`evaluate`: bits per byte on held-out text, and suites beside their baselines, for any causal language
model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.teenytinyllama.bits_per_byte import DocumentBits, document_bits, embeddings, summarize
from etude.methods.teenytinyllama.harness import harness_rows
from etude.methods.teenytinyllama.held_out import check_held_out, held_out_file
from etude.methods.teenytinyllama.model_folders import load_model, run_folder
from etude.methods.teenytinyllama.reading import Document, corpus
from etude.methods.teenytinyllama.suites import Row, Suite, read_suite, suite_rows
from etude.models import CausalLM
from etude.render import console, table
from etude.runs import write_json


@dataclass(frozen=True)
class EvaluateResult:
    """What a model is worth on text and on suites.

    Attributes:
        model: Its name.
        parameters: Of the model, tied embeddings once.
        vocabulary: Tokens of its tokenizer.
        texts: File to figures, see `bits_per_byte.summarize`; a file with several sources has one entry per
            source, and one for all.
        suites: Rows of the suites' tables, baselines included.
        notices: What a reader should know.
        out: Where the figures were written.
    """

    model: str
    parameters: int
    vocabulary: int
    texts: dict[str, dict[str, Any]] = dataclasses.field(default_factory=dict)
    suites: tuple[Row, ...] = ()
    notices: tuple[str, ...] = ()
    out: str | None = None

    def __rich__(self) -> Any:
        """One table of texts, one of suites."""
        from rich.console import Group

        head = f"{self.model}: {self.parameters:,} parameters, {self.vocabulary:,} tokens"
        parts: list[Any] = []
        if self.texts:
            rows = [
                (
                    name,
                    x["bits_per_byte"],
                    f"{x['bits_per_byte_ci'][0]:.4g} – {x['bits_per_byte_ci'][1]:.4g}",
                    x["chance"],
                    x["documents"],
                    x["bytes"],
                    x["tokens"] / max(1, x["words"]),
                    x["perplexity"],
                )
                for name, x in self.texts.items()
            ]
            columns = (
                "text",
                "bits/byte",
                "95 % CI",
                "chance",
                "documents",
                "bytes",
                "tokens/word",
                "perplexity*",
            )
            parts.append(table(columns, rows, title=head))
            parts.append(
                "* a token, so not to be compared across tokenizers. Chance: all tokens equally likely."
            )
        if self.suites:
            lines = [
                (r.suite, r.scored_by, r.accuracy, _interval(r), r.macro_f1, r.items) for r in self.suites
            ]
            asked = ("suite", "scored by", "accuracy", "95 % CI", "macro-F1", "questions")
            parts.append(table(asked, lines, title=head))
        return Group(*parts, *(f"note: {notice}" for notice in self.notices))


def _interval(row: Row) -> str | None:
    return None if row.low is None or row.high is None else f"{row.low:.3f} – {row.high:.3f}"


@verb
def evaluate(
    model: str,
    *,
    texts: tuple[Path, ...] = (),
    field: str = "text",
    lines: int | None = None,
    suites: tuple[str, ...] = (),
    harness: tuple[str, ...] = (),
    tasks: Path | None = None,
    shots: int = 0,
    prompt: str | None = None,
    labels: tuple[str, ...] = (),
    context: int | None = None,
    stride: int | None = None,
    limit: int | None = None,
    force: bool = False,
    device: str | None = None,
    out: Path | None = None,
) -> EvaluateResult:
    """Evaluate a model: bits per UTF-8 byte on held-out text, and suites by log-probability.

    Args:
        model: A run's folder, an exported or other transformers directory, an embedded name, or a hub id.
        texts: Held-out documents (.txt, .jsonl, .parquet with text, hub ids). For a run, its own held-out
            documents when nothing else is asked for.
        field: Field of a record that holds the text.
        lines: A document of a .txt file is so many lines; blank lines part them when left out.
        suites: Multiple-choice or classification sets: files or hub ids (`org/name:split`).
        harness: Tasks of EleutherAI's lm-eval, e.g. `assin2_rte`; needs the package `lm-eval`.
        tasks: Folder with lm-eval task files of your own.
        shots: Solved examples before each question of a harness task.
        prompt: For classification suites, the text around {text}.
        labels: What to write for the labels of classification suites, in their sorted order.
        context: Tokens of a window; the model's own by default, at most 2,048.
        stride: Tokens by which windows advance; half the context by default.
        limit: Only so many documents per file and questions per suite, from the first.
        force: Evaluate although the text is among what the run was trained on.
        device: cpu, cuda ...; the GPU if there is one.
        out: Write the figures, and those of every document, to this JSON file.

    Raises:
        EtudeError: Nothing to evaluate on, text that the run was trained on, tokenizer and model that do not
            belong together, bad rows.
    """
    run = run_folder(model)
    if limit is not None and limit < 1:
        raise EtudeError(f"limit = {limit}", "Give at least 1.")
    if not (texts or suites or harness):
        texts = (held_out_file(model, run),)
    lm = load_model(model, device=device)
    notices: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    every: dict[str, list[DocumentBits]] = {}
    for path in texts:
        documents = _documents(path, field, lines, limit)
        notices += check_held_out(lm, run, path, documents, force=force)
        console().print(f"bits per byte on {path}: {len(documents):,} documents")
        name = _distinct(path, texts)
        every[name] = document_bits(lm, documents, context=context, stride=stride)
        found |= _figures(name, every[name], embeddings(lm))
    rows = [row for source in suites for row in _suite(lm, source, prompt, labels, limit)]
    rows += harness_rows(lm, harness, shots=shots, limit=limit, include=tasks)
    result = EvaluateResult(
        model=model,
        parameters=sum(p.numel() for p in lm.model.parameters()),
        vocabulary=embeddings(lm),
        texts=found,
        suites=tuple(rows),
        notices=tuple(notices),
        out=None if out is None else str(out),
    )
    if out is not None:
        documents_out = {name: [asdict(score) for score in scores] for name, scores in every.items()}
        write_json(out, {**asdict(result), "documents": documents_out})
    return result


def _suite(
    lm: CausalLM, source: str, prompt: str | None, labels: Sequence[str], limit: int | None
) -> list[Row]:
    suite = read_suite(source, prompt=prompt, labels=labels)
    items = suite.items[:limit]
    console().print(f"{suite.name}: {len(items):,} questions")
    return suite_rows(lm, Suite(suite.name, suite.kind, items))


def _documents(path: Path, field: str, lines: int | None, limit: int | None) -> list[Document]:
    """The documents of a file that hold text; those of one file alone have no source."""
    kept = (d for d in corpus([path], field=field, lines=lines) if d.text.strip())
    found = [
        dataclasses.replace(d, source="" if d.source == d.file else d.source) for d in islice(kept, limit)
    ]
    if not found:
        raise EtudeError(f"{path}: holds no document", "Give a file with at least one non-empty document.")
    return found


def _distinct(path: Path, texts: Sequence[Path]) -> str:
    """A file's name, or its path where two files share the name."""
    return path.name if [other.name for other in texts].count(path.name) == 1 else str(path)


def _figures(name: str, scores: Sequence[DocumentBits], vocabulary: int) -> dict[str, dict[str, Any]]:
    """All documents of a file, and those of each source where there are several."""
    sources = sorted({score.source for score in scores})
    found = {name: summarize(scores, vocabulary)}
    if len(sources) > 1:
        for source in sources:
            group = [score for score in scores if score.source == source]
            found[f"{name}, {Path(source).name or 'no source'}"] = summarize(group, vocabulary)
    return found
