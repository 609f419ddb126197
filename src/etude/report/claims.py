"""`etude claim` runs claims; `etude report` gathers the evidence into one page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from etude.catalogue import CARDS, Card, card
from etude.data.batches import BatchEngine
from etude.errors import EtudeError
from etude.evidence import Evidence, Scale, parse_seeds, settle_claim
from etude.evidence.blocks import evidence_sections
from etude.render import Section, TableBlock, Text, save_page, show
from etude.report.claim_jobs import Request, measure_locally, measure_on_ray
from etude.report.side_by_side import affordable_workers
from etude.runs import read_json

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class ClaimsResult:
    """The evidence of one or several claims.

    Args:
        claims: Method to evidence.
        missing: Method to why it could not be run.
    """

    claims: dict[str, Evidence]
    missing: dict[str, str]

    def __rich__(self) -> RenderableType:
        """Each claim's tables and verdicts."""
        from rich.console import Group

        notes = [show(Text(f"{name}: not run: {why}")) for name, why in self.missing.items()]
        return Group(*self.claims.values(), *notes)


@dataclass(frozen=True)
class ReportResult:
    """The page that was written, and the verdicts on it.

    Args:
        page: Path of the HTML file.
        verdicts: Method to part to verdict.
    """

    page: str
    verdicts: dict[str, dict[str, str]]

    def __rich__(self) -> RenderableType:
        """Verdicts, and where the page is."""
        from rich.console import Group

        rows = [(name, part, v) for name, parts in self.verdicts.items() for part, v in parts.items()]
        return Group(
            show(TableBlock(("claim", "part", "verdict"), rows)), show(Text(f"The page: {self.page}"))
        )


def claim(
    *names: str,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: str | None = None,
    model: str | None = None,
    workers: int | None = None,
    engine: BatchEngine = "local",
    out: Path = Path("runs/claims"),
    save: Path | None = None,
) -> Evidence | ClaimsResult:
    """Put a paper's claim to the test: every arm on the same seeds and units, paired statistics, a verdict.

    A finished arm is not run again; a killed claim goes on where it stopped. Several claims are measured side
    by side, the seeds of a single one when `--workers` says so; the evidence is the same either way.

    Args:
        names: Methods, e.g. `signround`.
        all_: Every ready method; `--data` then holds one folder per method.
        scale: `laptop` takes minutes on 2 cores, `slow` up to an hour; `paper` has the paper's own settings.
        data: Folder with the claim's data; `etude show NAME` says what it holds.
        seeds: Seeds, as `0-4` or `7,8,9`; the claim's own by default.
        model: Another model under test, where the claim has one.
        workers: Processes at work, each with an equal share of the cores. By default one for a single claim,
            and as many as cores and memory allow for several.
        engine: `local`, or `ray`: the cluster that `RAY_ADDRESS` names. Data must lie under one path on all
            machines; the evidence is written here.
        out: Folder for measurements and evidence, one subfolder per method.
        save: Also write the evidence as JSON to this file (one claim) or folder (several).

    Raises:
        EtudeError: No such method, data that is missing, or no name given.
    """
    cards = list(CARDS.values()) if all_ else [card(name) for name in names]
    if not cards:
        raise EtudeError("no claim was named", f"Name one of {', '.join(CARDS)}, or give --all.")
    requests = [
        Request(
            name=chosen.name,
            scale=scale,
            data=None if data is None else (data / chosen.name if len(cards) > 1 else data).resolve(),
            seeds=None if seeds is None else parse_seeds(seeds),
            model=model,
        )
        for chosen in cards
    ]
    at_once = workers or (1 if len(cards) == 1 else affordable_workers(len(cards)))
    measure = measure_on_ray if engine == "ray" else measure_locally
    found: dict[str, Evidence] = {}
    missing: dict[str, str] = {}
    for request, outcome in zip(requests, measure(requests, out, workers=at_once).values(), strict=True):
        if isinstance(outcome, EtudeError):
            if len(cards) == 1:
                raise outcome
            missing[request.name] = f"{outcome.problem} {outcome.hint}"
            continue
        found[request.name] = settle_claim(request.claim(), out / request.name, outcome)
        if save is not None:
            found[request.name].save(save if len(cards) == 1 else save / f"{request.name}.json")
    return next(iter(found.values())) if len(cards) == 1 else ClaimsResult(found, missing)


def report(*, claims: Path = Path("runs/claims"), out: Path = Path("runs/report.html")) -> ReportResult:
    """Write one self-contained page of all claims: this machine's evidence, else the recorded one.

    Args:
        claims: Folder that `etude claim` wrote.
        out: The HTML file.
    """
    gathered = [(c, evidence) for c in CARDS.values() if (evidence := _evidence(c, claims)) is not None]
    rows: list[Sequence[Any]] = [
        (e.name, part.name, part.statement, part.verdict) for _, e in gathered for part in e.parts
    ]
    sections = [
        Section(
            "All verdicts", [TableBlock(("method", "part", "statement", "verdict"), rows, "As computed")]
        ),
        *(section for c, e in gathered for section in _sections(c, e)),
    ]
    page = save_page(
        out,
        "etude: the claims",
        sections,
        lead="Every verdict is computed from paired numbers: holds, fails, not shown. No arm is left out.",
    )
    return ReportResult(str(page), {e.name: dict(e.verdicts) for _, e in gathered})


def _evidence(chosen: Card, claims: Path) -> Evidence | None:
    path = claims / chosen.name / "evidence.json"
    found = read_json(path) if path.exists() else chosen.recorded
    return None if found is None else Evidence.from_json(found)


def _sections(chosen: Card, evidence: Evidence) -> list[Section]:
    sections = evidence_sections(evidence)
    if chosen.figures:
        header, *rows = chosen.figures
        table = TableBlock(
            header, rows, f"The paper's figures (arXiv {chosen.arxiv}). {chosen.figures_note}".strip()
        )
        sections.insert(1, Section("In the paper", [table], level=3))
    return sections
