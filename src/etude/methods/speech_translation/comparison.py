"""The verb `compare`: the standard setting (`standard-v1`) over arms.

Every arm has the same utterances, steps, batches, learning-rate schedule, seeds and checkpoint choice. Scores
stand beside speech tokens, trained parameters, real-time factor and memory;
differences are tested by paired bootstrap over utterances, Holm-corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from etude.data import read_rows
from etude.errors import EtudeError
from etude.evidence.statistics import holm
from etude.methods import verb
from etude.methods.speech_translation.arm_scores import SETTING, ArmScore, arms_tables, pareto_figure
from etude.methods.speech_translation.design import Design, Stage
from etude.methods.speech_translation.evaluation import EvaluateResult, evaluate_system
from etude.methods.speech_translation.length_adapters import LENGTH_ADAPTERS
from etude.methods.speech_translation.published_systems import PRESETS
from etude.methods.speech_translation.quality import paired_difference
from etude.methods.speech_translation.staged_training import Schedule
from etude.methods.speech_translation.systems import open_system
from etude.methods.speech_translation.tasks import check_fields
from etude.methods.speech_translation.training_run import (
    LONGEST,
    SHORTEST,
    assembled_design,
    train_design,
)
from etude.methods.speech_translation.utterances import Utterance, read_utterances, within_length
from etude.render import TableBlock, Text, save_page, show, table
from etude.runs import content_hash, write_json

if TYPE_CHECKING:
    from rich.console import RenderableType

BASELINES = ("cascade", "whisper-translate")


@dataclass(frozen=True)
class CompareResult:
    """All arms under one setting.

    Args:
        setting: What was the same for all of them.
        arms: One row each.
        signatures: sacreBLEU's.
        page: The HTML page.
    """

    setting: dict[str, Any]
    arms: list[ArmScore]
    signatures: dict[str, str]
    page: str

    def __rich__(self) -> RenderableType:
        """The table."""
        from rich.console import Group

        notes = sorted({*self.signatures.values(), *(n for a in self.arms for n in a.notes)})
        return Group(
            *(table(block.columns, block.rows, title=block.caption) for block in arms_tables(self.arms)),
            show(Text("\n".join([*notes, f"page: {self.page}"]))),
        )


@verb
def compare(
    data: str,
    *,
    out: Path,
    arms: tuple[str, ...] = ("none", "conv", "stack:k=5", "pool:k=8", "wlq", "ctc", "cif", "cascade"),
    target_lang: str | None = None,
    test: str | None = None,
    dev: str | None = None,
    budget: int = 1000,
    head: int = 200,
    sfm: str = "whisper-base",
    llm: str = "smollm2",
    ma: str = "linear",
    metrics: tuple[str, ...] = ("chrf", "bleu", "wer", "comet"),
    seeds: tuple[int, ...] = (0, 1, 2),
    beams: tuple[int, ...] = (1, 5),
    max_tokens: int = 128,
    batch_size: int = 16,
    learning_rate: float = 1e-3,
) -> CompareResult:
    """Train and score designs under one setting: which length adapter, how much compression, or a cascade?

    The setting (standard-v1): utterances of 0.2 to 30 s, casing and punctuation kept; the same steps,
    batches, cosine schedule with 3 % warm-up and checkpoint choice for every arm; a stage of transcription,
    as long for the fixed-rate arms as the training of the head is for ctc and cif, then the translation.

    Args:
        data: As for `train`. Rows with split dev choose the checkpoint, rows with split test are scored.
        out: Folder for all arms; the same command goes on with it after a kill.
        arms: Length adapters with options (conv:layers=3), presets, cascade, whisper-translate.
        target_lang: Where the rows do not say it.
        test: Data that is scored, in place of the split.
        dev: Data that chooses the checkpoint, in place of the split.
        budget: Optimizer steps of the translation stage.
        head: Steps of the stage before; 0 leaves it out (then ctc trains its head jointly).
        sfm: Speech model of every arm.
        llm: Language model of every arm.
        ma: Modality adapter of length-adapter arms.
        metrics: chrf, bleu, wer (of a system's own transcripts), comet; the first one is tested.
        seeds: Of weights and order.
        beams: Ways of decoding, 1 being greedy; costs, control and tests are those of the first.
        max_tokens: Of an answer.
        batch_size: Examples of a step.
        learning_rate: Peak rate of the adapters.

    Raises:
        EtudeError: Anything wrong with the data, an arm or a setting.
    """
    everything = read_utterances(data)
    if target_lang:
        everything = [_told(u, target_lang) for u in everything]
    learned = [u for u in everything if u.split in (None, "", "train")]
    choosing = [u for u in everything if u.split in ("dev", "validation", "valid")]
    scored = [u for u in everything if u.split == "test"]
    if dev:
        choosing = [_told(u, target_lang) for u in read_utterances(dev)]
    if test:
        scored = [_told(u, target_lang) for u in read_utterances(test)]
    if not beams or not seeds or not arms:
        raise EtudeError("compare needs an arm, a seed and a number of beams", "E.g. --arms conv --seeds 0.")
    check_fields(scored, ("st",))
    scored, _ = within_length(scored, SHORTEST, LONGEST)
    if len(scored) < 2:
        raise EtudeError(
            f"{data}: {len(scored)} utterances to score, and paired differences need at least two",
            "Give --test, or more rows with split test.",
        )
    designs = {
        arm: arm_design(
            arm, sfm=sfm, llm=llm, ma=ma, budget=budget, head=head, learning_rate=learning_rate,
            transcripts=all(u.transcript for u in learned),
        )
        for arm in arms
    }  # fmt: skip
    for design in designs.values():
        for stage in design.stages if design else ():
            check_fields(learned, stage.tasks)
    out.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[EvaluateResult]] = {}
    others: dict[str, dict[str, list[EvaluateResult]]] = {
        arm: {str(beam): [] for beam in beams[1:]} for arm in arms
    }
    trained: dict[str, int] = {}
    for arm, design in designs.items():
        found[arm] = []
        for seed in seeds if design else seeds[:1]:
            folder = out / "arms" / f"{_safe(arm)}-{seed}"
            if design is None:
                system = open_system(arm, sfm=sfm, llm=llm, max_tokens=max_tokens)
                trained[arm] = 0
            else:
                schedule = Schedule(batch_size=batch_size, seed=seed)
                made = train_design(design, learned, choosing, schedule, out=folder / "model", name=arm)
                trained[arm] = made.parameters["trainable"]
                system = open_system(str(folder / "model"), max_tokens=max_tokens)
            for beam in beams:
                first = beam == beams[0]
                asked = metrics if first else tuple(m for m in metrics if m != "wer")
                place = folder / f"beam-{beam}"
                made_of = evaluate_system(system, scored, metrics=asked, beams=beam, control=first, out=place)
                (found[arm] if first else others[arm][str(beam)]).append(made_of)
    scores = _arm_scores(arms, found, others, trained, metrics)
    setting = {
        "name": SETTING,
        "sfm": sfm,
        "llm": llm,
        "training utterances": len(learned),
        "scored utterances": len(scored),
        "steps": [head, budget],
        "batch": batch_size,
        "learning rate": learning_rate,
        "seeds": list(seeds),
        "beams": list(beams),
    }
    signatures = next(iter(found.values()))[0].signatures
    page = save_page(
        out / "compare.html",
        "Designs under one setting",
        [
            ("Scores and costs", [*arms_tables(scores), Text("\n\n".join(signatures.values()))]),
            ("Quality against cost", [pareto_figure(scores, metrics[0])]),
            ("Setting", [TableBlock(("", ""), [[k, str(v)] for k, v in setting.items()])]),
        ],
        lead=f"Differences are to the arm {arms[0]!r}: {metrics[0]} per utterance, paired, Holm-corrected.",
    )
    compared = CompareResult(setting, scores, signatures, str(page))
    write_json(out / "compare.json", asdict(compared))
    return compared


def arm_design(
    arm: str,
    *,
    sfm: str,
    llm: str,
    ma: str = "linear",
    budget: int,
    head: int,
    learning_rate: float = 1e-3,
    transcripts: bool = True,
) -> Design | None:
    """The design of an arm in the standard setting; None for a baseline.

    The arms that learn from transcripts by their own loss spend `head` steps on it, the others as many on
    transcription through the language model, so that every arm has had the same transcripts and steps.

    Raises:
        EtudeError: The arm is neither a length adapter, nor a preset, nor a baseline.
    """
    if arm in BASELINES:
        return None
    kind = arm.partition(":")[0]
    from etude.methods.speech_translation.length_adapters import build_length_adapter

    if kind not in LENGTH_ADAPTERS and kind not in PRESETS:
        build_length_adapter("none", 1, {})  # all kinds register themselves
        if kind not in LENGTH_ADAPTERS:
            raise EtudeError(
                f"no arm {arm!r}",
                f"Length adapters: {', '.join(LENGTH_ADAPTERS)}; presets: {', '.join(PRESETS)}.",
            )
    rates = {"adapter": learning_rate}
    stage = Stage(tasks=("st",), steps=budget, lr=rates)  # type: ignore[arg-type]
    stages = [stage]
    if head and transcripts:
        own = kind in ("ctc", "cif") or "-ctc" in kind or "-cif" in kind
        first = Stage(tasks=("asr",), steps=head, lr=rates, supervise_only=own)  # type: ignore[arg-type]
        stages = [first, stage]
    if kind in LENGTH_ADAPTERS:
        design = assembled_design("base", sfm=sfm, la=arm, ma=ma, llm=llm)
    else:
        design = assembled_design(kind, sfm=sfm, llm=llm)
    return design.model_copy(update={"stages": tuple(stages)})


def _arm_scores(
    arms: Sequence[str],
    found: dict[str, list[EvaluateResult]],
    others: dict[str, dict[str, list[EvaluateResult]]],
    trained: dict[str, int],
    metrics: Sequence[str],
) -> list[ArmScore]:
    each = {arm: _per_utterance(results, metrics[0]) for arm, results in found.items()}
    gaps = {arm: paired_difference(each[arm], each[arms[0]]) for arm in arms[1:]}
    adjusted = dict(zip(gaps, holm([gap[3] for gap in gaps.values()]), strict=True)) if gaps else {}
    made = []
    for arm in arms:
        results = found[arm]
        gap = gaps.get(arm)
        made.append(
            ArmScore(
                arm=arm,
                scores=_means([r.scores for r in results]),
                shuffled=_means([r.shuffled for r in results]),
                speech_tokens=float(np.mean([r.speech_tokens for r in results])),
                trained=trained[arm],
                real_time_factor=float(np.mean([r.real_time_factor for r in results])),
                memory_mb=max(r.memory_mb for r in results),
                failures={k: sum(r.failures[k] for r in results) for k in results[0].failures},
                difference=None
                if gap is None
                else {"value": gap[0], "low": gap[1], "high": gap[2], "p": adjusted[arm]},
                notes=results[0].notes,
                other_beams={
                    beam: _means([r.scores for r in made_of]) for beam, made_of in others[arm].items()
                },
            )
        )
    return made


def _per_utterance(results: Sequence[EvaluateResult], metric: str) -> list[float]:
    rows = []
    for result in results:
        assert result.out is not None
        rows.append([float(row[metric]) for _, row in read_rows(Path(result.out) / "outputs.jsonl")])
    return [float(value) for value in np.mean(rows, axis=0)]


def _means(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}


def _told(utterance: Utterance, target_lang: str | None) -> Utterance:
    if utterance.target_lang or not target_lang:
        return utterance
    return utterance.model_copy(update={"target_lang": target_lang})


def _safe(arm: str) -> str:
    kept = "".join(c if c.isalnum() or c in "-=" else "-" for c in arm)
    return f"{kept[:40]}-{content_hash(arm)[:6]}"
