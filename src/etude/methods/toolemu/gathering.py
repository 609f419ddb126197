"""What lies in runs' folders: trajectories, scores, and the cases they were made with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from etude.errors import EtudeError
from etude.methods.toolemu.cases import Case, Suite, load_suite
from etude.methods.toolemu.toolkits import Toolkit
from etude.methods.toolemu.trajectories import Score, Trajectory, read_scores, read_trajectories
from etude.runs import read_json


def suite_of(source: Path, cases: str | None, toolkits: Path | None) -> Suite:
    """The cases and toolkits of runs: named, or those that the run wrote down."""
    if cases is not None:
        return load_suite(cases, toolkits)
    if not source.is_dir():
        raise EtudeError(f"{source}: which cases are these runs of?", "Give --cases FILE --toolkits FILE.")
    held = read_json(source / "suite.json")
    return Suite(
        [Case.model_validate(one) for one in held["cases"]],
        {one["toolkit"]: Toolkit.model_validate(one) for one in held["toolkits"]},
    )


def cases_of(source: Path) -> dict[str, Case]:
    """The cases of a run's folder, or those beside a file."""
    if source.is_dir():
        return {case.name: case for case in suite_of(source, None, None).cases}
    beside = source.parent / "all_cases.json"
    return {case.name: case for case in Case.load(beside)} if beside.is_file() else {}


def gathered(sources: Sequence[Path]) -> tuple[list[Trajectory], list[Score], dict[str, Case]]:
    """Runs, scores and known cases of several sources."""
    runs: dict[str, Trajectory] = {}
    known: dict[str, Case] = {}
    for source in sources:
        for one in read_trajectories(source):
            if one.key in runs:
                raise EtudeError(
                    f"{source}: {one.key} is in another of these folders too", "Give each run once."
                )
            runs[one.key] = one
        known.update(cases_of(source))
    return list(runs.values()), read_scores(sources), known
