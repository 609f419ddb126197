"""Tables and the page of a training: every arm, every class, the gate, what to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from etude.methods.tmpt.metrics import Scores
from etude.render import Block, Figure, Section, TableBlock, Text, new_figure, save_page

MOST_POSTS, MOST_LETTERS = 20, 200


def arms_table(name: str, task: Mapping[str, Any]) -> TableBlock:
    """Every arm of a task over its seeds."""
    rows = []
    for arm, found in task["arms"].items():
        f1, low_high = found["macro_f1"], found["ci95"]
        rows.append(
            [
                arm,
                100 * f1["mean"],
                None if f1["std"] is None else 100 * f1["std"],
                "–" if low_high is None else f"{100 * low_high[0]:.1f} to {100 * low_high[1]:.1f}",
                100 * found["weighted_f1"]["mean"],
                100 * found["accuracy"]["mean"],
                found["trainable_params"],
                found["gate"],
            ]
        )
    counts = task["rows"]
    columns = ("arm", "macro-F1", "std", "95 % (kept seed)", "weighted F1", "accuracy", "trained", "gate")
    caption = f"{name}: {counts['train']} train, {counts['valid']} valid, {counts['test']} test posts"
    return TableBlock(columns, rows, caption)


def class_table(found: Mapping[str, Any], caption: str) -> TableBlock:
    """Each class with precision, recall, F1 and where its posts went."""
    labels = list(found["per_class"])
    rows = []
    for i, label in enumerate(labels):
        own = found["per_class"][label]
        rows.append(
            [label, own["precision"], own["recall"], own["f1"], own["support"], *found["confusion"][i]]
        )
    return TableBlock(
        ("label", "precision", "recall", "F1", "posts", *(f"→ {label}" for label in labels)), rows, caption
    )


def scores_blocks(scores: Mapping[str, Scores], labels: Sequence[str]) -> list[Block]:
    """Whole model and halves, and the classes of the whole."""
    rows = [
        [
            what,
            s.macro_f1,
            "–" if s.ci95 is None else f"{s.ci95[0]:.3f} to {s.ci95[1]:.3f}",
            s.weighted_f1,
            s.accuracy,
        ]
        for what, s in scores.items()
    ]
    whole = scores["both"]
    return [
        TableBlock(("reading", "macro-F1", "95 %", "weighted F1", "accuracy"), rows, f"{whole.rows} posts"),
        class_table({"per_class": whole.per_class, "confusion": whole.confusion}, "By label"),
    ]


def differing_table(rows: Sequence[Mapping[str, Any]]) -> TableBlock:
    """The first test posts whose text and picture point to different stances: those a person should see."""
    columns = ("id", "target", "text", "label", "text_only_label", "image_only_label", "true_label")
    return TableBlock(
        ("post", "target", "text", "answer", "text alone", "picture alone", "truth"),
        [[str(row[c])[:MOST_LETTERS] for c in columns] for row in rows[:MOST_POSTS]],
        f"tmpt: text and picture point to different stances in {len(rows)} test posts"
        + (f"; the first {MOST_POSTS}" if len(rows) > MOST_POSTS else ""),
    )


def write_page(
    path: Path,
    tasks: Mapping[str, Any],
    notices: Sequence[str],
    differing: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Path:
    """The page of a training run.

    Args:
        path: The HTML file.
        tasks: Task to its arms.
        notices: About the data.
        differing: Task to the test posts whose text and picture point to different stances.
    """
    sections: list[Section | tuple[str, Sequence[Block]]] = []
    for name, task in tasks.items():
        blocks: list[Block] = [arms_table(name, task), _bars(name, task)]
        blocks += [
            class_table(found, f"{arm}, by label") for arm, found in task["arms"].items() if arm == "tmpt"
        ]
        blocks.append(differing_table(differing[name]))
        sections.append((name, blocks))
    if notices:
        sections.append(("Notes on the data", [Text("\n\n".join(notices))]))
    return save_page(
        path, "Stance of posts", sections, lead="Every arm on the same posts, epochs and selection."
    )


def _bars(name: str, task: Mapping[str, Any]) -> Figure:
    figure, axes = new_figure(5.6, 0.5 + 0.4 * len(task["arms"]))
    arms = list(task["arms"])
    means = [100 * task["arms"][arm]["macro_f1"]["mean"] for arm in arms]
    spread = [100 * (task["arms"][arm]["macro_f1"]["std"] or 0.0) for arm in arms]
    axes.barh(arms, means, xerr=spread, height=0.6)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("macro-F1 on the test posts")
    return Figure(
        figure, f"Macro-F1 of each arm for {name}", "Bars: mean over seeds; lines: standard deviation."
    )
