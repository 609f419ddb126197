"""The card written beside every detector: what it is, how it was made, and what it must not be used for."""

from __future__ import annotations

from pathlib import Path

from etude.methods.conspemollm.detector import ConspEmo, FitReport
from etude.methods.conspemollm.settings import Settings
from etude.methods.conspemollm.wordings import wording_hash
from etude.runs import write_text

MISUSE = (
    "This detector labels **texts**, not people. That a text is labelled conspiracy does not say that its "
    "author believes it, still less anything about the author's health, honesty or intentions: people quote, "
    "mock, report and refute. Do not use it to profile, rank, report or punish persons, to remove content "
    "without a person who reads it, or to decide about employment, credit, borders or policing. Its labels "
    "come from few annotators who disagree with each other (LOCO: a single annotator or a majority, with "
    "cases marked uncertain; COCO: the maximum over categories), from a few events, from one language and "
    "from the years 2012 to 2021. Scores on other topics fall sharply, and a text on a real scandal can look "
    "like one on an invented one. State the error rates on your own annotated sample beside every figure "
    "that you publish with it."
)


def write_card(folder: Path, detector: ConspEmo, report: FitReport) -> Path:
    """Write `README.md` into a detector's folder.

    Args:
        folder: The detector's folder.
        detector: The detector.
        report: How it was fitted.
    """
    s = detector.settings
    lines = [
        "# Conspiracy detector",
        "",
        "Made by `etude conspemollm train` after ConspEmoLLM (arXiv 2403.06765).",
        "",
        f"- base model: `{s.model}` ({detector.family}), tuned: {s.tuning}",
        f"- tasks: {', '.join(detector.tasks)}",
        f"- affect route: {route_in_words(s)}",
        f"- examples: {report.examples}; seed {s.seed}",
        f"- wording {wording_hash()}; weights {detector.revision}",
        *(
            f"- {name}: {stage.rows} rows, {stage.steps} steps, "
            f"loss {stage.first_loss:.3f} to {stage.last_loss:.3f}"
            for name, stage in (("stage A", report.stage_a), ("stage B", report.stage_b))
            if stage is not None
        ),
        "",
        "## Misuse and label noise",
        "",
        MISUSE,
        "",
        "## Licences",
        "",
        "EmoBank is CC BY-SA 4.0 (Buechel & Hahn 2017): a detector of route affect-base, or with VAD "
        "features, is trained on it. LOCO's and COCO's texts may not be passed on; neither may files that "
        "hold them.",
    ]
    path = folder / "README.md"
    write_text(path, "\n".join(lines) + "\n")
    return path


def route_in_words(settings: Settings) -> str:
    """The affect route of a detector, controls named as such."""
    said = {
        "none": "none: text alone",
        "affect-base": "R1 affect-base: tuned on affect first (stage A), on detection after (stage B)",
        "affect-features": "R2 affect-features: affect values beside the text vector",
        "affect-prompt": "R3 affect-prompt: affect values written into the prompt",
    }[settings.route]
    return f"{said}; control: affect of other texts (shuffled)" if settings.shuffle_affect else said
