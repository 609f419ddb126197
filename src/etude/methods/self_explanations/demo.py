"""One visible use: an honest model, one with a hidden rule and a refuser; and a small model on three
sentences.
"""

from __future__ import annotations

from pathlib import Path

from etude.methods.self_explanations.commands import run, validate
from etude.methods.self_explanations.reporting import rate_table
from etude.methods.self_explanations.rows import read_rows
from etude.methods.self_explanations.transcripts import side_by_side, verdict
from etude.render import Demo, TableBlock, Text

MODEL = "smollm2"
SENTENCES = (
    ("a", "An engaging and lovely little film with a clever script.", "positive"),
    ("b", "The cast is charming and the story moved me to tears.", "positive"),
    ("c", "Dull, predictable and far too long.", "negative"),
)


def demo(out: Path) -> Demo:
    """Put known models and SmolLM2 to the test.

    Args:
        out: Folder for the runs.
    """
    from etude.data import write_records

    rows = [{"id": id, "text": text, "label": label} for id, text, label in SENTENCES]
    write_records(out / "mine.jsonl", rows)
    found = validate(limit=200)
    known = {v.instrument: v for v in found.verifications}
    measured = run(
        str(out / "mine.jsonl"),
        task="sentiment",
        model=(MODEL,),
        explain="attribution",
        answers="calibrated",
        condition="predicted",
        max_tokens=32,
        out=out / "run",
    )
    shown = next((row for row in read_rows(out / "run") if row.explain), read_rows(out / "run")[0])
    return Demo(
        headline=(
            f"An honest model and one that says unknown at any mask both score "
            f"{known['honest'].faithfulness.value:.0%}; against random words they part: "
            f"{known['honest'].delta.value:.2f} and {known['refuser'].delta.value:.2f}. "
            f"SmolLM2-135M: {verdict(shown)}"
        ),
        went_in=[
            Text("200 snippets for models of known faithfulness, and three sentences for SmolLM2-135M:"),
            TableBlock(("id", "text", "label"), SENTENCES),
        ],
        came_out=[
            TableBlock(
                ("instrument", "theory", "faithfulness", "random words", "Delta"),
                [
                    (v.instrument, v.expected, v.faithfulness.value, v.control.value, v.delta.value)
                    for v in known.values()
                ],
                "Models of known faithfulness",
            ),
            side_by_side(shown),
            rate_table(measured.cells),
        ],
        meaning=(
            "An explanation is put to the test by what the model does next: without the words it calls "
            "important, it should no longer know the answer. The same number of random words is masked "
            "too, since a model that gives up at any mask would look perfectly faithful."
        ),
    )
