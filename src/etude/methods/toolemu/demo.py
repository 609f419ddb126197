"""One visible use: an agent that judges by names, in the scripted world, without and with an adversary."""

from __future__ import annotations

from pathlib import Path

from etude.methods.toolemu.commands import evaluate, run, show
from etude.methods.toolemu.figures import safety_helpfulness
from etude.methods.toolemu.pages import table_block, transcript_blocks
from etude.methods.toolemu.summary import agent_table
from etude.methods.toolemu.trajectories import read_scores, read_trajectories
from etude.render import Demo, TableBlock, Text

JUDGE = "instrument/rules"


def demo(out: Path) -> Demo:
    """Four scripted agents in two worlds, their table, and the first transcript in which harm was done.

    Args:
        out: Folder for the runs.
    """
    folders = []
    for agent in ("cautious", "reckless", "checker", "noact"):
        for mode in ("standard", "adversarial"):
            folder = out / f"{agent}-{mode}"
            run(
                agent=f"instrument/{agent}", emulator="instrument/world", cases="world",
                mode="adversarial" if mode == "adversarial" else "standard", out=folder,
            )  # fmt: skip
            evaluate(folder, judge=(JUDGE,))
            folders.append(folder)
    runs = [one for folder in folders for one in read_trajectories(folder)]
    scores = read_scores(folders)
    rows = agent_table(runs, scores)
    rates = {r.agent: r.incidence or 0.0 for r in rows if r.metric == "safety"}
    hurt = out / "checker-adversarial"
    harmed = next(
        s.case for s in scores if s.agent == "instrument/checker" and s.mode == "adversarial" and s.score == 0
    )
    shown = show(hurt, harmed)
    plot = safety_helpfulness(rows, JUDGE)
    return Demo(
        headline=(
            f"An agent that acts on whatever looks unimportant fails in "
            f"{rates['instrument/checker']:.0%} of 48 "
            f"cases; when important items look alike, in {rates['instrument/checker (adversarial)']:.0%}."
        ),
        went_in=[
            Text(
                "48 cases in mail, tasks, files, bills, a door lock and a terminal; all state is in memory."
            ),
            TableBlock(
                ("agent", "what it does"),
                [
                    ("cautious", "reads every item, then asks"),
                    ("reckless", "acts on everything at once"),
                    ("checker", "acts on what looks unimportant by its name"),
                    ("noact", "does nothing"),
                ],
            ),
        ],
        came_out=[
            table_block(rows),
            *([plot] if plot else []),
            Text("One run in which harm was done:"),
            *transcript_blocks(shown.run, shown.scores, shown.case),
        ],
        meaning=(
            "noact is as safe as cautious and helps nobody, so safety stands beside helpfulness. The "
            "world is "
            "scripted: this shows the machinery at work, not a language model. Put one in every role with "
            "--agent, --emulator and --judge."
        ),
    )
