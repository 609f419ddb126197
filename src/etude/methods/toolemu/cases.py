"""Cases: a benign instruction that leaves something unsaid, and what may go wrong for that reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from etude.errors import EtudeError
from etude.methods.toolemu.toolkits import Toolkit, load_toolkits, parse_list, toolkit_problems

USER = "The user's name is John Doe; his mail address is john.doe@gmail.com."
TIME = "It is 11:37 AM UTC-05:00 on Tuesday, 22 February 2022."


class Underspecifications(BaseModel):
    """What the instruction does not say."""

    model_config = ConfigDict(populate_by_name=True)

    task: list[str] = Field(default=[], alias="Task Information")
    safety: list[str] = Field(default=[], alias="Safety & Security Constraints")


class Case(BaseModel):
    """One test case; the field names of the published files are aliases."""

    model_config = ConfigDict(populate_by_name=True)

    name: str = Field(min_length=1)
    toolkits: list[str] = Field(alias="Toolkits", min_length=1)
    instruction: str = Field(alias="User Instruction", min_length=1)
    underspecifications: Underspecifications = Field(alias="Underspecifications")
    achievements: list[str] = Field(alias="Expected Achievements")
    risky_outcomes: list[str] = Field(default=[], alias="Potential Risky Outcomes")
    risky_actions: list[str] = Field(default=[], alias="Potential Risky Actions")

    @classmethod
    def load(cls, path: Path | str) -> list[Case]:
        """Read a JSON list of cases."""
        return parse_list(path, cls)


class Suite:
    """Cases together with the toolkits that they use.

    Args:
        cases: The cases.
        toolkits: Toolkits by name.

    Raises:
        EtudeError: A case uses a toolkit that is not there, or two cases share a name.
    """

    def __init__(self, cases: Sequence[Case], toolkits: Mapping[str, Toolkit]) -> None:
        problems = case_problems(cases, toolkits)
        if problems:
            raise EtudeError(problems[0], "See all problems with: etude toolemu check-spec TOOLKITS CASES")
        self.cases = list(cases)
        self.toolkits = dict(toolkits)

    def toolkits_of(self, case: Case) -> list[Toolkit]:
        """The toolkits of a case, in its order."""
        return [self.toolkits[name] for name in case.toolkits]

    def case(self, name: str) -> Case:
        """The case of this name.

        Raises:
            EtudeError: There is none.
        """
        for case in self.cases:
            if case.name == name:
                return case
        raise EtudeError(
            f"there is no case {name!r}", f"There are: {', '.join(c.name for c in self.cases)[:300]}"
        )

    def content(self) -> Any:
        """Everything that determines a run, as JSON."""
        used = {name for case in self.cases for name in case.toolkits}
        return {
            "cases": [case.model_dump(by_alias=True) for case in self.cases],
            "toolkits": [self.toolkits[name].model_dump() for name in sorted(used)],
        }

    def chosen(self, names: str) -> Suite:
        """The cases that a list of names keeps; `all` keeps all, and an integer the first so many."""
        if names == "all":
            return self
        if names.isdecimal():
            return Suite(self.cases[: int(names)], self.toolkits)
        return Suite([self.case(name.strip()) for name in names.split(",")], self.toolkits)


def case_problems(cases: Sequence[Case], toolkits: Iterable[str]) -> list[str]:
    """What is wrong with cases: names used twice, toolkits that do not exist, nothing that could be
    judged.
    """
    known, seen, problems = set(toolkits), set[str](), []
    for case in cases:
        if case.name in seen:
            problems.append(f"case {case.name!r} is there twice")
        seen.add(case.name)
        for name in case.toolkits:
            if name not in known:
                problems.append(f"case {case.name}: there is no toolkit {name!r}")
        if not case.risky_outcomes:
            problems.append(f"case {case.name}: 'Potential Risky Outcomes' is empty, safety cannot be judged")
        if not case.achievements:
            problems.append(f"case {case.name}: 'Expected Achievements' is empty, help cannot be judged")
    return problems


def specification_problems(toolkits: Path, cases: Path | None) -> list[str]:
    """Every problem of the two files, in words; an empty list when there is none."""
    problems: list[str] = []
    kits: list[Toolkit] = []
    found: list[Case] = []
    try:
        kits = parse_list(toolkits, Toolkit)
        problems += toolkit_problems(kits)
    except EtudeError as error:
        problems += error.problem.splitlines()
        rows = json.loads(toolkits.read_text("utf-8")) if "item" in error.problem else []
        names = [row.get("toolkit") for row in rows if isinstance(row, dict)]
    else:
        names = [kit.toolkit for kit in kits]
    if cases is not None:
        try:
            found = Case.load(cases)
        except EtudeError as error:
            problems += error.problem.splitlines()
        problems += case_problems(found, [name for name in names if name])
    return problems


def load_suite(cases: str, toolkits: Path | None) -> Suite:
    """Cases by name of a set or by file.

    Args:
        cases: `sample` (five cases of ours), `world` or `world:SEED` (48 cases of the scripted world), or a
            JSON file; `FILE#a,b` or `FILE#5` keeps some of its cases.
        toolkits: The toolkits' JSON file; beside a file of cases, `toolkits.json` or `all_toolkits.json`
            is found by itself.

    Raises:
        EtudeError: A file is missing or wrong.
    """
    source, _, chosen = cases.partition("#")
    if source == "sample":
        folder = resources.files("etude.methods.toolemu") / "samples"
        with resources.as_file(folder) as here:
            suite = Suite(Case.load(here / "cases.json"), load_toolkits(here / "toolkits.json"))
    elif source == "world" or source.startswith("world:"):
        from etude.methods.toolemu.world.scenarios import world_suite

        seed = source.partition(":")[2] or "0"
        if not seed.isdecimal():
            raise EtudeError(f"{cases}: {seed!r} is not a seed", "Write world:0, world:1, ...")
        suite = world_suite(int(seed))
    else:
        path = Path(source)
        beside = [path.parent / name for name in ("toolkits.json", "all_toolkits.json")]
        kits = toolkits or next((p for p in beside if p.is_file()), None)
        if kits is None:
            raise EtudeError(f"{source}: whose toolkits?", "Give --toolkits FILE.")
        suite = Suite(Case.load(path), load_toolkits(kits))
    return suite.chosen(chosen) if chosen else suite
