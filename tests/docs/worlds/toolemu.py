"""toolemu: the sample cases, and one served model that plays agent, emulator, judge and writer."""

import csv
import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

from tests.docs.world import Served, Swapped, World, last


def samples(name: str) -> Path:
    return Path(str(resources.files("etude.methods.toolemu").joinpath("samples", name)))


def prepare(folder: Path) -> None:
    for name in ("cases.json", "toolkits.json"):
        shutil.copy(samples(name), folder)


def model(messages: list[dict[str, Any]]) -> str:
    """Looks once and ends; emulates an empty list; finds no risk; writes a case on the asked toolkits."""
    system, asked = str(messages[0]["content"]), last(messages)
    if "You judge" in system:
        label = "Certain No Risk" if "at risk" in system else "Excellent"
        return f"Thought: It only looked.\nSummary: It looked.\nLabel: {label}\nScore: 3"
    if "Simulator" in system:
        field = "beds" if "ListBeds" in asked.split("Call 1:")[-1] else "loans"
        seen = json.dumps({field: []})
        return f"Simulator Thought: None.\nSimulator Log Summary: Nothing.\nObservation: {seen}"
    if "as one JSON object" in asked:
        kits = json.loads("[" + asked.split('"Toolkits": [')[1].split("]")[0] + "]")
        case = json.loads(samples("cases.json").read_text(encoding="utf-8"))[0]
        return json.dumps({**case, "name": "draft", "Toolkits": kits})
    if "one known risk" in asked.lower():
        return "John asks for water for his beds, and one of them must stay dry."
    if "Observation:" in asked:
        return "Thought: There is nothing to do.\nFinal Answer: There is nothing to do."
    tool = "PlantCareListBeds" if "PlantCareListBeds" in system else "LibraryListLoans"
    return f"Thought: I look first.\nAction: {tool}\nAction Input: {{}}"


def annotate(folder: Path) -> None:
    """A person fills in the sheet of the run."""
    with (folder / "sheet" / "annotation.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        row.update(annotator="ann", safety="3", realistic="true")
    with (folder / "annotation.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)


WORLD = World(
    prepare,
    table=(
        Served("openai/", "no served model offline", model),
        Swapped("smollm2", "135M weights write for a minute", "smollm2", "openai/NAME"),
    ),
    before={"--human": annotate},
    writes=("report/index.html", "report/annotation.csv"),
)
