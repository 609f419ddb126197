"""The claim: the benchmark measures what it says. Then, as an illustration, a small model.

A 135M model cannot support the paper's claims about large models, so what is tested is the benchmark itself:
models of known quality must get the score that theory gives them (A), and the depth statistic must speak when
the middle is lost and be silent when it is not (B). C shows what a real small model recalls.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from etude.errors import EtudeError
from etude.evidence import Arm, Check, Claim, Comparison, Measurement, Part, Scale
from etude.methods.counting_stars.builder import build_cells
from etude.methods.counting_stars.grid import StarGrid
from etude.methods.counting_stars.haystacks import Haystack, load_haystack
from etude.methods.counting_stars.official import OFFICIAL_LENGTHS
from etude.methods.counting_stars.recall import StarRecall, recall_stars
from etude.methods.counting_stars.validity import ask_directly, build_settings, verify_instruments
from etude.models import model_origin

if TYPE_CHECKING:
    from etude.evidence import Evidence
    from etude.render import Block


@dataclass(frozen=True)
class Setting:
    """How large the illustration is: stars in each context, context lengths, seeds."""

    stars: int
    lengths: tuple[int, ...]
    seeds: tuple[int, ...]


SCALES = {
    "laptop": Setting(4, (256, 512, 1024, 2048), tuple(range(10))),
    "slow": Setting(8, (512, 1024, 2048, 4096), tuple(range(10))),
    "paper": Setting(32, OFFICIAL_LENGTHS, tuple(range(5))),
}
INSTRUMENT_SEEDS = 5


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """The claim of counting-stars.

    Args:
        scale: `laptop`: 4 stars in up to 2k tokens. `slow`: 8 stars in up to 4k. `paper`: 32 stars in 32
            lengths up to 128k.
        data: A folder with `haystack_en_inaugural.txt` for the illustration; the embedded excerpt by default.
        seeds: Seeds of the illustration; the instruments use the first five.
        model: Local language model of the illustration; `smollm2` by default.

    Raises:
        EtudeError: The folder does not hold the haystack.
    """
    setting = SCALES[scale]
    chosen, name = seeds or setting.seeds, model or "smollm2"
    first = chosen[:INSTRUMENT_SEEDS]
    haystack = _haystack(data)
    origin = model_origin(name)
    measure = _recall(name, setting, haystack)
    arms = [
        Arm("instruments", lambda seed: _instruments(first, name), {"tokenizer": name}, seeded=False),
        Arm(name, lambda seed: _right(measure(seed)), {"model": name}),
        Arm("a wrong number", lambda seed: _wrong(measure(seed)), {"model": name}),
        Arm("chance", lambda seed: _chance(setting, measure(seed)), {"model": name}),
    ]
    illustration = Part(
        "C",
        f"{name} (illustration): a star's number is likelier than a wrong one, and recalled above chance.",
        [
            Comparison(
                "log-probability",
                name,
                "a wrong number",
                "higher",
                statement="the true number is likelier than a wrong one with as many digits",
            ),
            Comparison("recall", name, "chance", "higher", statement="stars are recalled above chance"),
        ],
    )
    return Claim(
        name="counting-stars",
        statement="The benchmark measures what it says: models of known quality get the score they should.",
        arms=arms,
        parts=[
            Part(
                "A", "Instruments of known quality get the score that theory gives them.", _validity_checks()
            ),
            Part("B", "The depth statistic speaks when depth matters, and only then.", _depth_checks()),
            illustration,
        ],
        metrics={"log-probability": "higher", "recall": "higher"},
        seeds=chosen,
        config={
            "scale": scale,
            "stars": setting.stars,
            "lengths": list(setting.lengths),
            "haystack": haystack.sha256,
            "model": origin,
            "instrument_seeds": list(first),
        },
        columns=("path",),
        notes=(
            f"{name} is {origin['precision']} ({origin['source']}).",
            "Instruments answer through all of Inspect (task, provider, scorer, log) if it is installed, "
            "else through the rebuilt prompts.",
            "both-reader gets 0.25 by the published rule, which cuts the list at M items, and 0.5 by ours.",
            "Recall is teacher-forced: the right list is put in the model's mouth, one prompt is read once, "
            f"nothing is written. Chance is one in {_highest(setting)} numbers.",
        ),
        blocks=_blocks,
    )


def _haystack(data: Path | None) -> Haystack:
    if data is None:
        return load_haystack("en-inaugural")
    path = data / "haystack_en_inaugural.txt"
    if not path.is_file():
        raise EtudeError(
            f"{data}: no haystack_en_inaugural.txt",
            "Put the inaugural addresses there as one text file (NLTK's `inaugural`), or leave --data out.",
        )
    return Haystack("en-inaugural", load_haystack(path).text)


def _instruments(seeds: tuple[int, ...], tokenizer_name: str) -> Measurement:
    """Every instrument on every setting, through Inspect where it is installed."""
    from etude.models import load_tokenizer

    tokenizer = load_tokenizer(tokenizer_name)
    settings = build_settings(seeds, tokenizer, tokenizer_name)
    inspect = importlib.util.find_spec("inspect_ai") is not None
    with tempfile.TemporaryDirectory(prefix="etude-inspect-") as logs:

        def through_inspect(name: str, cells: Any) -> list[str]:
            from etude.methods.counting_stars.inspect_task import ask_inspect

            return ask_inspect(
                name, cells, tokenizer_name if name.startswith("window-") else None, Path(logs)
            )

        ask = through_inspect if inspect else ask_directly(tokenizer)
        found = verify_instruments(seeds, tokenizer, ask=ask, settings=settings)
    units = {f"{v.instrument} on {v.setting}, {v.rule}": float(v.passed) for v in found}
    return Measurement(
        {"as expected": units},
        {"verifications": [asdict(v) for v in found], "path": "Inspect" if inspect else "rebuilt prompts"},
    )


def _recall(model: str, setting: Setting, haystack: Haystack) -> Callable[[int], list[StarRecall]]:
    """Recall of one seed's cells; the model is loaded once, and each seed is read once for all arms."""

    @cache
    def loaded() -> Any:
        from etude.models import load_causal_lm

        return load_causal_lm(model)

    @cache
    def measure(seed: int) -> list[StarRecall]:
        lm = loaded()
        grid = StarGrid(setting.lengths, setting.stars, (seed,))
        return recall_stars(lm, list(build_cells(grid, haystack, lm.tokenizer, model)), haystack)

    return measure


def _unit(one: StarRecall) -> str:
    return f"{one.length} tokens, star {one.star + 1}"


def _right(found: list[StarRecall]) -> Measurement:
    return Measurement(
        {
            "log-probability": {_unit(one): one.right for one in found},
            "recall": {_unit(one): float(one.recalled) for one in found},
        }
    )


def _wrong(found: list[StarRecall]) -> Measurement:
    return Measurement({"log-probability": {_unit(one): one.wrong for one in found}})


def _chance(setting: Setting, found: list[StarRecall]) -> Measurement:
    return Measurement({"recall": {_unit(one): 1 / _highest(setting) for one in found}})


def _highest(setting: Setting) -> int:
    return StarGrid(setting.lengths, setting.stars).number_range[1]


def _checked(statement: str, chosen: Callable[[dict[str, Any]], bool]) -> Check:
    """All verifications that are chosen must have passed, and there must be some."""

    def check(evidence: Evidence) -> tuple[bool, str]:
        verified = [v for v in _verifications(evidence) if chosen(v)]
        detail = "; ".join(f"{v['setting']}, {v['rule']}: {v['measured']}" for v in verified)
        return bool(verified) and all(v["passed"] for v in verified), detail

    return Check(statement, check)


def _validity_checks() -> list[Check]:
    def of(statement: str, name: str, setting: str = "") -> Check:
        def chosen(v: dict[str, Any]) -> bool:
            named = v["instrument"].startswith(f"instrument/{name}")
            return named and v["rule"] != "depth" and setting in v["setting"]

        return _checked(statement, chosen)

    return [
        of("oracle: 1.000 in every cell, both tasks, both languages, both rules", "oracle"),
        of("window-2000: exactly 1, 1, 0.5, 0.25, 0.125 at 1k, 2k, 4k, 8k, 16k tokens", "window"),
        of("middle-loss: exactly the stars outside depth 0.4 to 0.6", "middle-loss"),
        of("lossy-0.7: within the 99 % binomial interval of 0.7", "lossy"),
        of("distractor-reader: 0.25 by the published rule, 0 by ours", "distractor-reader"),
        of("both-reader: 0.25 by the published rule (the list is cut at M), 0.5 by ours", "both-reader"),
        of("guesser: chance", "guesser"),
        of("memoriser: 1.000 on the published counts without reading", "memoriser", "published"),
        of("memoriser: chance on random counts", "memoriser", "random"),
    ]


def _depth_checks() -> list[Check]:
    def of(statement: str, name: str) -> Check:
        chosen = f"instrument/{name}"
        return _checked(statement, lambda v: v["rule"] == "depth" and v["instrument"].startswith(chosen))

    return [
        of("middle-loss is found to be lost in the middle", "middle-loss"),
        of("a window is found to favor the end (recency)", "window"),
        of("silent for the oracle", "oracle"),
        of("silent for stars lost at random", "lossy"),
    ]


def _verifications(evidence: Evidence) -> list[dict[str, Any]]:
    for arm in evidence.arms:
        if arm.name == "instruments" and arm.measurements:
            found: list[dict[str, Any]] = next(iter(arm.measurements.values())).facts["verifications"]
            return found
    return []


def _blocks(evidence: Evidence) -> list[Block]:
    """What every instrument got, and the model's recall by length."""
    from etude.render import TableBlock

    rows = [
        (v["instrument"].removeprefix("instrument/"), v["setting"], v["rule"], v["expected"], v["measured"])
        for v in _verifications(evidence)
    ]
    columns = ("instrument", "cells", "rule", "expected", "measured")
    blocks: list[Block] = [TableBlock(columns, rows, "Instruments: what theory gives and what came out")]
    by_length: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for arm in evidence.arms:
        for measurement in arm.measurements.values():
            for metric in ("log-probability", "recall"):
                for unit, value in measurement.scores.get(metric, {}).items():
                    by_length[int(unit.split()[0])][f"{metric}: {arm.name}"].append(value)
    names = list(dict.fromkeys(name for values in by_length.values() for name in values))
    if names:
        table = [(n, *(fmean(by_length[n][name]) for name in names)) for n in sorted(by_length)]
        blocks.append(
            TableBlock(("tokens", *names), table, "The model by length: means over seeds and stars")
        )
    return blocks
