"""One visible use: synthetic texts in, labels with probabilities and tone out, and whether affect helped."""

from __future__ import annotations

from pathlib import Path

from etude.data import write_records
from etude.methods.conspemollm.building import build
from etude.methods.conspemollm.evaluating import evaluate
from etude.methods.conspemollm.predicting import predict
from etude.methods.conspemollm.probing import probe
from etude.methods.conspemollm.training_runs import train
from etude.render import Demo, TableBlock, Text

TEXTS = (
    ("hidden cure", "A cheap cure was found long ago, and the men who own the clinics buried it."),
    ("report", "The health office published this week's figures and explained how they were counted."),
    (
        "refutation",
        "No, the towers do not make anybody ill: physicists explain why the rumor cannot be true.",
    ),
    ("staged", "The mourners were hired and the script was written before the first siren."),
)


def demo(out: Path) -> Demo:
    """Train on our synthetic articles with affect beside the text, label four new texts.

    Args:
        out: Folder for the runs.
    """
    build(synthetic=True, test=0.25, out=out / "condid")
    train(out / "condid", route="affect-features", out=out / "detector")
    write_records(out / "texts.csv", [{"id": name, "text": text} for name, text in TEXTS])
    predict(str(out / "detector"), out / "texts.csv", format="jsonl", out=out / "labels")
    compared = evaluate(out / "condid", arms=("majority", "minilm", "minilm+lexicon"), folds=4, repeats=3)
    probed = probe(out / "detector", out / "condid", split="train", tone="positive", out=out / "probe")
    from etude.data import read_rows

    said = {str(row["id"]): row for _, row in read_rows(out / "labels" / "predictions.jsonl")}
    rows = [
        (text, said[name]["label"], said[name]["p_conspiracy"], said[name]["vader_compound"])
        for name, text in TEXTS
    ]
    gain = compared.differences["minilm+lexicon"]
    return Demo(
        headline=(
            f"{sum(row[1].startswith('1') for row in rows)} of {len(rows)} texts labelled conspiracy; affect "
            f"added on the synthetic articles: {gain}"
        ),
        went_in=[
            Text("Two dozen synthetic articles to train on (ours, marked as such), and four new texts:"),
            TableBlock(("id", "text"), TEXTS),
        ],
        came_out=[
            TableBlock(
                ("text", "label", "p(conspiracy)", "tone (VADER)"),
                rows,
                "Labels speak of texts, not of people",
            ),
            TableBlock(
                ("arm", "macro-F1", "± folds"),
                [(name, found["macro_f1"], found["spread"]) for name, found in compared.arms.items()],
                "With and without affect on the same folds; synthetic texts settle nothing",
            ),
            TableBlock(
                ("", "before", "after"),
                [
                    ("detected", str(probed.before), str(probed.after)),
                    *((name, value, probed.tone_after[name]) for name, value in probed.tone_before.items()),
                ],
                "The training texts in a friendly tone: the tone changes, does the label?",
            ),
        ],
        meaning=(
            "A detector of conspiracy texts, and the paper's question: does knowing a text's feelings help? "
            "On your own LOCO or COCO files the same commands answer it, by grouped folds and corrected "
            "statistics; where the difference lies inside its noise, they say so."
        ),
    )
