"""The verbs of an evaluation: compare two answers, run models over problems, score and report what came
back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.geoeval.equivalence import Check, Kind, check_answer
from etude.methods.geoeval.items import Item, duplicates, read_picture
from etude.methods.geoeval.prompts import VERSION, Input, Method, Wrapper
from etude.methods.geoeval.readers import Format, read_items
from etude.methods.geoeval.reporting import summary_tables, write_report
from etude.methods.geoeval.runner import Arm, Settings, ask_model
from etude.methods.geoeval.summary import ArmSummary, PairedTest, Rule, paired_tests, summarize
from etude.methods.geoeval.tables import (
    RESULTS,
    read_logs,
    responses_of,
    result_table,
    write_items,
    write_results,
)
from etude.render import Text, console, show, table
from etude.runs import Run, content_hash

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class CheckResult:
    """What the comparison of two answers found.

    Args:
        correct: Whether they say the same.
        method: What decided.
        pred: The prediction as it was compared.
        gold: The gold answer as it was compared.
        note: What else should be known.
    """

    correct: bool
    method: str
    pred: str
    gold: str
    note: str

    def __rich__(self) -> RenderableType:
        """One row."""
        row = ("yes" if self.correct else "no", self.pred, self.gold, self.method, self.note)
        return table(("correct", "prediction", "gold", "decided by", "note"), [row])


@dataclass(frozen=True)
class RunResult:
    """What came back.

    Args:
        out: The run's folder: `items.jsonl`, `results.parquet`.
        items: How many problems each arm was asked.
        summaries: One for each arm.
        exports: Inspect logs, if asked for.
    """

    out: str
    items: int
    summaries: list[ArmSummary]
    exports: list[str] = field(default_factory=list)

    def __rich__(self) -> RenderableType:
        """Accuracies, and where the table is."""
        from rich.console import Group

        where = f"{self.out}/{RESULTS}; page: etude geoeval report {self.out} --out report"
        lines = [where, *(f"inspect view --log-dir {Path(path).parent}" for path in self.exports[:1])]
        return Group(*summary_tables(self.summaries), *(show(Text(line)) for line in lines))


@dataclass(frozen=True)
class ScoreResult:
    """Scores of finished runs.

    Args:
        rule: The scorer.
        summaries: One for each arm.
        tests: Paired tests between arms, and between subsets and their parents.
    """

    rule: Rule
    summaries: list[ArmSummary]
    tests: list[PairedTest]

    def __rich__(self) -> RenderableType:
        """Accuracies by group, and the tests."""
        from rich.console import Group

        return Group(*summary_tables(self.summaries, self.tests, groups=True))


@dataclass(frozen=True)
class ReportResult:
    """Where the report is.

    Args:
        page: The HTML page.
        summaries: What it shows.
    """

    page: str
    summaries: list[ArmSummary]

    def __rich__(self) -> RenderableType:
        """Accuracies and where the page is."""
        from rich.console import Group

        return Group(*summary_tables(self.summaries), show(Text(f"page: {self.page}")))


def check(pred: str, gold: str, *, kind: Kind = "auto", option: tuple[str, ...] = ()) -> CheckResult:
    """Compare an answer with the right one: numbers, LaTeX, units, ratios, coordinates, choices.

    Args:
        pred: The answer, e.g. "3/2*sqrt(3)".
        gold: The right answer, e.g. "2.598".
        kind: exact (1e-6 relative), rounded (1e-3 or 0.5 %), choice, or auto: rounded if gold has decimals.
        option: The choices, in order; a letter stands for its option.
    """
    found: Check = check_answer(pred, gold, kind, options=option)
    return CheckResult(found.correct, found.method, found.pred, found.gold, found.note)


@verb
def run(
    problems: tuple[Path, ...],
    *,
    model: tuple[str, ...],
    input: tuple[Input, ...] = ("text+facts",),
    method: Method = "cot",
    subset: str | None = None,
    format: Format = "auto",
    wrapper: Wrapper = "chat",
    limit: int | None = None,
    max_tokens: int = 1024,
    base_url: str | None = None,
    max_connections: int = 8,
    extractor: str | None = None,
    seed: int = 0,
    export: Literal["inspect"] | None = None,
    out: Path = Path("logs"),
) -> RunResult:
    """Ask models about geometry problems; a killed run goes on with the missing answers.

    Args:
        problems: Files or folders: our problems.jsonl, the official GeoEval JSON, Geometry3K or FormalGeo7k
            folders, a table with columns question, answer and perhaps options, image, facts, subset, or
            samples.
        model: A chat model (smollm2, a folder, org/name, openai/MODEL, inspect/PROVIDER/MODEL) or
            solver/constant, random-choice, realiser, forward-chain; may be given more than once.
        input: What is shown: text, text+facts, text+diagram (the picture), all; may be given more than once.
        method: cot reasons in words, pot writes a program that is run in a sandbox, choice-letter asks for a
            letter.
        subset: Only these, by commas: main,backward,aug,hard or names of your own.
        format: What the files are, where that cannot be seen.
        wrapper: Prompts for base models: instruct, llama2 or plain; chat leaves it to the model's template.
        limit: Only the first so many problems.
        max_tokens: Output limit.
        base_url: Address of an OpenAI-compatible server.
        max_connections: Prompts in flight at once.
        extractor: A chat model that is asked for the answer, at temperature 0, where the rules find none.
        seed: Of solver/random-choice.
        export: Also write Inspect logs (inspect), to be opened with inspect view.
        out: The run's folder; the same command resumes it.

    Raises:
        EtudeError: Problems that cannot be put, a picture that cannot be read, a model that cannot see, or a
            provider that failed for some problems.
    """
    if not model:
        raise EtudeError("no model was named", "Give --model, e.g. --model smollm2.")
    for name, value in (("max-connections", max_connections), ("max-tokens", max_tokens), ("limit", limit)):
        if value is not None and value < 1:
            raise EtudeError(f"--{name} {value}: not a positive number", "Give for example 8.")
    items = _items(problems, format, subset)[:limit]
    if method == "choice-letter" and any(not item.options for item in items):
        missing = [item.id for item in items if not item.options]
        raise EtudeError(
            f"{len(missing)} problems have no choices ({', '.join(missing[:5])}), so no letter can be "
            f"asked for",
            "Use --method cot, or give the choices.",
        )
    shows = any(given in ("text+diagram", "all") for given in input)
    pictures = [sha256(read_picture(item)).hexdigest() for item in items if shows and item.image is not None]
    if shows and not pictures:
        raise EtudeError("none of the problems has a picture", "Use --input text or text+facts.")
    arms = [Arm(name, given, method, wrapper) for name in model for given in input]
    settings = Settings(max_tokens, base_url, max_connections, extractor, seed)
    config: dict[str, Any] = {
        "models": list(model), "input": list(input), "method": method, "wrapper": wrapper, "prompts": VERSION,
        "items": content_hash([item.model_dump(mode="json", exclude={"problem", "image"}) for item in items]),
        "pictures": content_hash(pictures), "max_tokens": max_tokens, "base_url": base_url,
        "extractor": extractor, "seed": seed,
    }  # fmt: skip
    with Run(out, config, command="geoeval run") as running:
        if running.result is None:
            write_items(out, items)
            failures = [failure for arm in arms for failure in ask_model(running, arm, items, settings)]
            write_results(out, items, responses_of(out))
            if failures:
                raise EtudeError(
                    f"{len(failures)} of {len(items) * len(arms)} answers are missing; {failures[0]}"[:600],
                    "Run the same command again: it asks for the missing ones only.",
                )
            running.complete({"answers": len(items) * len(arms)})
        responses = responses_of(out)
        exports = []
        if export == "inspect":
            from etude.methods.geoeval.inspect_log import write_inspect_logs

            exports = write_inspect_logs(out / "inspect", items, responses)
    return RunResult(
        str(out), len(items), summarize(result_table(items, responses)), [str(path) for path in exports]
    )


@verb
def score(logs: tuple[Path, ...], *, rule: Rule = "symmetric") -> ScoreResult:
    """Score the answers of one or more runs again, by groups of problems, with paired tests.

    Args:
        logs: Folders written by run.
        rule: symmetric, or released: the published script's one-sided comparison, which any small enough
            number passes.

    Raises:
        EtudeError: A folder holds no answers.
    """
    results = result_table(*read_logs(logs))
    return ScoreResult(rule, summarize(results, rule), paired_tests(results, rule))


@verb
def report(logs: tuple[Path, ...], *, out: Path, rule: Rule = "symmetric") -> ReportResult:
    """Write accuracies by subset, source and complexity, paired tests and answers as a page, with a CSV file.

    Args:
        logs: Folders written by run.
        out: Folder for index.html and results.csv.
        rule: symmetric, or released: the published script's one-sided comparison.

    Raises:
        EtudeError: A folder holds no answers.
    """
    items, responses = read_logs(logs)
    return ReportResult(str(out / "index.html"), write_report(items, responses, out, rule))


def _items(paths: tuple[Path, ...], format: Format, subset: str | None) -> list[Item]:
    """The items of all files; ids must be unique over them, and doubles are named."""
    if not paths:
        raise EtudeError("no problems were named", "Give a file or folder, e.g. problems.jsonl.")
    wanted = tuple(name.strip() for name in subset.split(",") if name.strip()) if subset else ()
    items: list[Item] = []
    seen: dict[str, Path] = {}
    for path in paths:
        for item in read_items(path, format=format, subsets=wanted):
            if item.id in seen:
                raise EtudeError(
                    f"{path}: {item.id}: {seen[item.id]} has a problem of this id too", "Rename one of them."
                )
            seen[item.id] = path
            items.append(item)
    if doubles := duplicates(items):
        named = ", ".join(f"{a} = {b}" for a, b in doubles[:5])
        console().print(f"{len(doubles)} problems are there twice under different ids ({named})")
    return items
