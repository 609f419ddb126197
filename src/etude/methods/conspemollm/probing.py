"""The verb `probe`: does a detector still see the claim when its tone changes (ConspEmoLLM-v2's question)?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from etude.data import write_records
from etude.errors import EtudeError
from etude.evidence import Interval, mcnemar_p_value, wilson_interval
from etude.methods import verb
from etude.methods.conspemollm.annotator import AffectAnnotator, AffectSettings, keeping_chat
from etude.methods.conspemollm.detector import ConspEmo
from etude.methods.conspemollm.examples import Example, Split, read_examples
from etude.methods.conspemollm.lexicons import vader_scores
from etude.methods.conspemollm.tasks import TaskName, short_name, task_named
from etude.methods.conspemollm.tone_shift import Shifted, Tone, rewrite, swap_words
from etude.methods.conspemollm.wordings import wording_hash
from etude.models import ChatModel
from etude.render import table
from etude.runs import Run, content_hash, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType

Kind = Literal["lexicon-swap", "rewrite"]
_LEAST = 10


@dataclass(frozen=True)
class ProbeResult:
    """Detection before and after the tone changed.

    Args:
        kind: lexicon-swap or rewrite.
        tone: The new tone.
        texts: Conspiracy texts that were probed.
        before: Share of them detected, Wilson's interval.
        after: The same in the new tone.
        lost: Detected before and not after.
        won: The other way round.
        p_value: McNemar's, of lost against won.
        probability_change: Mean change of the probability of conspiracy.
        tone_before: Mean VADER compound (and valence, if a VAD head is there) before.
        tone_after: The same after: the proof that the tone did change.
        left_out: Texts without a rewrite, or whose meaning changed by the judge.
        file: Both versions of each text, side by side.
    """

    kind: Kind
    tone: Tone
    texts: int
    before: Interval | None
    after: Interval | None
    lost: int
    won: int
    p_value: float
    probability_change: float
    tone_before: dict[str, float]
    tone_after: dict[str, float]
    left_out: int
    file: str

    def __rich__(self) -> RenderableType:
        """Detection and tone, before and after."""
        from rich.console import Group

        rows: list[tuple[Any, ...]] = [("detected", str(self.before), str(self.after))]
        rows += [(name, f"{v:.3f}", f"{self.tone_after[name]:.3f}") for name, v in self.tone_before.items()]
        title = f"{self.texts} conspiracy texts made {self.tone} by {self.kind}"
        lines = [
            f"{self.lost} lost, {self.won} won, McNemar p = {self.p_value:.3g}; probability of conspiracy "
            f"{self.probability_change:+.3f} on average; {self.left_out} texts left out"
        ]
        if self.texts < _LEAST:
            lines.append(f"note: fewer than {_LEAST} texts say little")
        return Group(table(("", "before", "after"), rows, title=title), *lines, f"written: {self.file}")


@verb
def probe(
    detector: Path,
    data: Path,
    *,
    task: TaskName = "judgment",
    split: Split = "test",
    kind: Kind = "lexicon-swap",
    tone: Tone = "neutral",
    rewriter: str | None = None,
    judge: str | None = None,
    base_url: str | None = None,
    emobank: Path | None = None,
    limit: int | None = None,
    out: Path,
) -> ProbeResult:
    """Change the tone of conspiracy texts, keep what they claim, and count what the detector no longer sees.

    Args:
        detector: A folder written by train.
        data: Examples: a folder written by build, or a file.
        task: judgment or intention; its conspiracy class is probed.
        split: Which examples.
        kind: lexicon-swap (charged words are swapped, no model needed) or rewrite (a chat model rewrites).
        tone: neutral or positive.
        rewriter: The chat model that rewrites.
        judge: A chat model that checks whether the meaning stayed; rewrites that it rejects are left out.
        base_url: Of served models.
        emobank: EmoBank's CSV: then valence by the VAD head confirms the shift beside VADER.
        limit: Only the first texts.
        out: Run folder; both versions lie in OUT/probe.jsonl.

    Raises:
        EtudeError: No conspiracy text there, or no rewriter was named.
    """
    asked = task_named(task)
    target = len(asked.classes) - 1
    if task not in ("judgment", "intention"):
        raise EtudeError(f"{task} has no conspiracy class to probe", "Use judgment or intention.")
    if kind == "rewrite" and not rewriter:
        raise EtudeError(
            "rewriting needs a chat model", "Give --rewriter openai/MODEL, or use --kind lexicon-swap."
        )
    trained = ConspEmo.load(detector)
    examples = [
        one for one in read_examples(data, task) if one.split == split and one.labels == (target,)
    ][:limit]  # fmt: skip
    if not examples:
        raise EtudeError(f"{data}: no conspiracy text in split {split}", "Name another --split.")
    config = {
        "detector": trained.identity, "kind": kind, "tone": tone, "task": task, "rewriter": rewriter,
        "judge": judge,
        "texts": content_hash([[one.id, one.input] for one in examples]), "wording": wording_hash(),
    }  # fmt: skip
    with Run(out, config, command="conspemollm probe") as run:
        texts = [one.input for one in examples]
        shifted = [
            Shifted(**one)
            for one in run.step(
                "shift",
                lambda: [vars(s) for s in _shift(texts, kind, tone, rewriter, judge, base_url, out)],
            )
        ]
        result = _compare(trained, examples, shifted, kind, tone, target, emobank, out)
        write_json(out / "metrics.json", {**trained.identity, **asdict(result), "file": None})
        if run.result is None:
            run.complete({"after": asdict(result)["after"]})
    return result


def _shift(
    texts: list[str],
    kind: Kind,
    tone: Tone,
    rewriter: str | None,
    judge: str | None,
    base_url: str | None,
    out: Path,
) -> list[Shifted]:
    if kind == "lexicon-swap":
        return [swap_words(text, tone) for text in texts]
    assert rewriter is not None
    checker: ChatModel | None = keeping_chat(judge, base_url, out / "responses.sqlite") if judge else None
    return rewrite(keeping_chat(rewriter, base_url, out / "responses.sqlite"), texts, tone, checker)


def _compare(
    trained: ConspEmo,
    examples: list[Example],
    shifted: list[Shifted],
    kind: Kind,
    tone: Tone,
    target: int,
    emobank: Path | None,
    out: Path,
) -> ProbeResult:
    kept = [
        (one, s) for one, s in zip(examples, shifted, strict=True) if s.text and s.same_meaning is not False
    ]
    if not kept:
        raise EtudeError(
            "no text was left to compare", "The rewriter gave nothing usable: look at its answers."
        )
    task = examples[0].conspiracy_task
    pair = [[one.input for one, _ in kept], [str(s.text) for _, s in kept]]
    said = [trained.probabilities(texts, task.name) for texts in pair]
    hit = [np.array([label == (target,) for label in labels]) for labels, _ in said]
    chance = [each[:, target] for _, each in said]
    tones = [{"VADER compound": float(np.mean([vader_scores(text)[3] for text in texts]))} for texts in pair]
    if emobank is not None:
        annotator = AffectAnnotator(AffectSettings(("vad",), emobank=str(emobank)))
        for found, texts in zip(tones, pair, strict=True):
            found["valence (1-5)"] = float(annotator.matrix(texts)[:, 0].mean())
    lost, won = int((hit[0] & ~hit[1]).sum()), int((~hit[0] & hit[1]).sum())
    column = f"p_{short_name(task.classes[target])}"
    file = out / "probe.jsonl"
    write_records(
        file,
        (
            {"id": one.id, "before": one.input, "after": s.text, f"{column}_before": float(chance[0][row]),
             f"{column}_after": float(chance[1][row]), "words_swapped": s.changed}
            for row, (one, s) in enumerate(kept)
        ),
    )  # fmt: skip
    return ProbeResult(
        kind=kind, tone=tone, texts=len(kept), before=wilson_interval(int(hit[0].sum()), len(kept)),
        after=wilson_interval(int(hit[1].sum()), len(kept)), lost=lost, won=won,
        p_value=mcnemar_p_value(lost, won),
        probability_change=float((chance[1] - chance[0]).mean()), tone_before=tones[0], tone_after=tones[1],
        left_out=len(examples) - len(kept), file=str(file),
    )  # fmt: skip
