"""MCTest's own files: a TSV of stories with four questions each, and the letters of the right answers beside
it.
"""

from __future__ import annotations

from pathlib import Path

from etude.data.records import read_lines
from etude.errors import EtudeError
from etude.methods.self_explanations.observations import Observation

_COLUMNS = 3 + 4 * 5
"""id, properties, story, then four times a question and its four options."""


def read_mctest(path: Path) -> list[Observation]:
    """Read a file of MCTest (Richardson et al. 2013), e.g. `mc160.dev.tsv`, with `mc160.dev.ans` beside it.

    Raises:
        EtudeError: The answers are missing, or a line has not the form of the data set.
    """
    answers_path = path.with_suffix(".ans")
    if not answers_path.is_file():
        raise EtudeError(f"{path}: no {answers_path.name} beside it", "Put the file of right answers there.")
    answers = [line.split() for line in read_lines(answers_path) if line.strip()]
    found = []
    lines = [line.rstrip("\r\n") for line in read_lines(path)]
    stories = [(number, line) for number, line in enumerate(lines, start=1) if line]
    if len(stories) != len(answers):
        raise EtudeError(
            f"{path}: {len(stories)} stories, {len(answers)} lines of answers in {answers_path.name}",
            "Both must come from the same release.",
        )
    for (number, line), letters in zip(stories, answers, strict=True):
        cells = [cell.replace(r"\newline", "\n").replace(r"\tab", "\t") for cell in line.split("\t")]
        if len(cells) != _COLUMNS or len(letters) != 4 or not set(letters) <= set("ABCD"):
            raise EtudeError(
                f"{path}:{number}: {len(cells)} columns and {len(letters)} answers",
                f"A story has {_COLUMNS} columns and four letters from A to D.",
            )
        for question, letter in enumerate(letters):
            asked, *choices = cells[3 + 5 * question : 8 + 5 * question]
            found.append(
                Observation(
                    f"{cells[0]}-{question}",
                    cells[2],
                    choices["ABCD".index(letter)],
                    asked.partition(": ")[2] or asked,
                    tuple(choices),
                )
            )
    return found
