"""The paper's claim: a native tokenizer and native data beat multilingual ones at equal compute.

Two questions at laptop scale, on one handbook that exists in six languages, so that language alone differs.
How many tokens does a tokenizer of equal size, trained on equal bytes, need for a word? And what does a
model of equal shape, steps and tokens a step reach in bits per byte of held-out native text, with A native
tokenizer and text, B a multilingual tokenizer on native text, C a multilingual tokenizer on text in six
languages, D an English tokenizer on native text? A token of a multilingual tokenizer stands for fewer bytes,
so at equal compute B reads less; the equal-bytes arms read as much as A does. The slow scale adds the
scaling picture and a downstream task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from etude.errors import EtudeError
from etude.evidence import Arm, Claim, Comparison, Contrast, Evidence, Measurement, Part, Scale
from etude.methods.teenytinyllama.arms import (
    ALL,
    SETS,
    Contender,
    Laboratory,
    Setting,
    bits_metric,
    fertility_metric,
)
from etude.methods.teenytinyllama.configs import PRESETS, RECIPES, ModelConfig, preset_named
from etude.methods.teenytinyllama.downstream import TASK, article_of, downstream_arms, downstream_part
from etude.methods.teenytinyllama.parallel_corpora import FILES, LANGUAGES
from etude.methods.teenytinyllama.settings import TrainSettings
from etude.render import Block, Figure, TableBlock
from etude.runs import file_hash

TOKENIZERS = ("native", "multilingual", "English")
PICO = ModelConfig(48, 192, 2, 4, context=128, vocab_size=4096, tied=True)
COLUMNS = ("steps", "epochs", "MB read", "manuals, all bytes", "news, all bytes")
NOTES = (
    "Arms are named tokenizer/text: A native/native, and so on; `equal bytes` reads as many bytes as A does.",
    "Tokenizers and arms are trained on equal bytes of one handbook's pages; held-out pages stay out in "
    "every language, and paragraphs that were left in English stay out of the other languages. The news are "
    "a second, harder set: no training text is like them.",
    "At equal compute arm C also sees only a sixth as much native text: the result is about equal compute, "
    "not about multilingual models in general.",
    "Metrics are means over documents; `all bytes` weighs documents by their bytes.",
)
FAQUAD = "faquad_train.jsonl"


def claim(
    *,
    scale: Scale = "laptop",
    data: Path | None = None,
    seeds: tuple[int, ...] | None = None,
    model: str | None = None,
) -> Claim:
    """The claim at one of its scales.

    Args:
        scale: laptop: nano, 150 steps of 1,024 tokens. slow: 450 steps (four epochs of the handbook), whole
            held-out documents, equal-bytes versions of every arm, nano, micro and mini on all the text, and
            sentence selection from FaQuAD. paper: the 160m model, 458,000 steps of 8,192 tokens, 32,000
            entries, on files of the same names in your folder.
        data: Folder with the files that `etude show teenytinyllama` names.
        seeds: Of weights and data order; three by default, one at paper scale.
        model: Another preset for the arms.

    Raises:
        EtudeError: Data is missing, or there is no such preset.
    """
    needed = (*FILES, FAQUAD) if scale == "slow" else FILES
    absent = [name for name in needed if data is None or not (data / name).is_file()]
    if data is None or absent:
        raise EtudeError(
            f"the teenytinyllama claim needs {', '.join(absent)} in --data"
            + ("" if data is None else f" {data}"),
            "documents (id, source, text), news (a sentence a line), and the same pages in six languages",
        )
    preset = model or ("160m" if scale == "paper" else "nano")
    setting = setting_of(scale, preset)
    digests = {name: file_hash(data / name) for name in needed}
    return claim_on(
        Laboratory(data, setting, digests), preset, scale, seeds or ((0,) if scale == "paper" else (0, 1, 2))
    )


def setting_of(scale: Scale, preset: str) -> Setting:
    """Shapes and budget of a scale; learning rate and tokens a step are the preset's own."""
    shape, recipe = preset_named(preset), RECIPES[preset]
    training = TrainSettings(
        tokens_per_step=recipe.tokens_per_step,
        learning_rate=recipe.learning_rate,
        eval_every=0,
        sample_tokens=0,
        keep=1,
    )
    if scale == "paper":
        training = replace(training, warmup=recipe.warmup)
        return Setting({preset: shape}, shape.vocab_size, training, recipe.steps or 458_000)
    if scale == "slow":
        models = {name: PRESETS[name] for name in dict.fromkeys((preset, "nano", "micro", "mini"))}
        return Setting(models, 4096, training, 450)
    return Setting({preset: shape, "pico": PICO}, 4096, training, 150, characters=2000)


def claim_on(laboratory: Laboratory, preset: str, scale: Scale, seeds: tuple[int, ...]) -> Claim:
    """Both questions on any folder and setting."""
    native = Contender("native", "native", preset)
    contenders = {
        "A native/native": native,
        "B multilingual/native": Contender("multilingual", "native", preset),
        "C multilingual/six languages": Contender("multilingual", "multilingual", preset),
        "D English/native": Contender("English", "native", preset),
    }
    a, b, c, d = contenders
    again = (b,) if scale == "laptop" else (b, c, d)
    equal_bytes = {f"{name}, equal bytes": replace(contenders[name], bytes_of=native) for name in again}
    sizes = _sizes(preset, scale)
    vocabularies = sorted({laboratory.setting.vocabulary, 2 * laboratory.setting.vocabulary})
    arms = [
        Arm(
            _tokenizer_arm(name, size),
            partial(_measure_tokenizer, laboratory, name, size),
            {"tokenizer": name, "vocabulary": size},
            seeded=False,
        )
        for size in vocabularies
        for name in TOKENIZERS
    ]
    arms += [
        Arm(name, partial(laboratory.measure_model, contender), {"contender": asdict(contender)})
        for name, contender in (contenders | equal_bytes).items()
    ]
    arms += [
        Arm(
            name, partial(laboratory.measure_model, contender), {"contender": asdict(contender)}, seeded=False
        )
        for name, contender in sizes.items()
    ]
    parts = [_fertility_part(vocabularies)]
    parts.append(
        _pair("A < C", "the native model beats the multilingual one at equal compute", a, c, strict=True)
    )
    parts.append(_pair("A < B", "the native tokenizer alone helps at equal compute", a, b))
    parts.append(_pair("A < D", "the native tokenizer beats the English one at equal compute", a, d))
    parts.append(_shrinking_part(b))
    parts += [
        _pair(
            f"A < {name[0]}, equal bytes",
            f"A still beats {name[0]} when both read as many bytes",
            a,
            f"{name}, equal bytes",
        )
        for name in again
    ]
    if sizes:
        parts.append(_scaling_part(list(sizes)))
    metrics = dict.fromkeys([*map(fertility_metric, SETS), *map(bits_metric, SETS)], "lower")
    if scale == "slow":
        arms += downstream_arms(laboratory, {"A": native, "C": contenders[c]}, laboratory.folder / FAQUAD)
        parts.append(downstream_part())
        metrics[TASK] = "higher"
    return Claim(
        name="teenytinyllama",
        statement=(
            "For a low-resource language, a native tokenizer and native data beat multilingual ones at "
            "equal compute."
        ),
        arms=arms,
        parts=parts,
        metrics=metrics,  # type: ignore[arg-type]
        seeds=seeds,
        config={"scale": scale, "data": dict(laboratory.digests), "setting": asdict(laboratory.setting)},
        columns=(*COLUMNS, *(("macro-F1", "accuracy") if scale == "slow" else ())),
        clusters=article_of if scale == "slow" else None,
        notes=NOTES,
        blocks=partial(_blocks, sizes=sizes, vocabularies=vocabularies),
    )


def _measure_tokenizer(laboratory: Laboratory, name: str, vocabulary: int, seed: int) -> Measurement:
    return laboratory.measure_tokenizer(name, vocabulary)


def _tokenizer_arm(name: str, vocabulary: int) -> str:
    return f"{name} tokenizer, {vocabulary:,}"


def _sizes(preset: str, scale: Scale) -> dict[str, Contender]:
    """The scaling picture: one tokenizer, one text, one number of tokens, growing models."""
    if scale == "laptop":
        return {f"scaling: {name}": Contender("native", "native", name) for name in ("pico", preset)}
    if scale == "slow":
        return {f"scaling: {name}": Contender(ALL, ALL, name) for name in ("nano", "micro", "mini")}
    return {}


def _pair(name: str, statement: str, arm: str, baseline: str, *, strict: bool = False) -> Part:
    return Part(name, statement, [Comparison(bits_metric(s), arm, baseline, every_seed=strict) for s in SETS])


def _fertility_part(vocabularies: Sequence[int]) -> Part:
    return Part(
        "fertility",
        "at equal vocabulary and training bytes, a native tokenizer needs fewer tokens a word than a "
        "multilingual one, and that fewer than an English one",
        [
            Comparison(fertility_metric(s), _tokenizer_arm(better, size), _tokenizer_arm(worse, size))
            for size in vocabularies
            for s in SETS
            for better, worse in pairwise(TOKENIZERS)
        ],
    )


def _shrinking_part(arm: str) -> Part:
    """The gap of B to A is smaller at equal bytes: (B - A) - (B' - A) = B - B' > 0."""
    again = f"{arm}, equal bytes"

    def shrinkage(means: Mapping[str, np.ndarray]) -> float:
        return float(means[arm].mean() - means[again].mean())

    title = "gap of B to A at equal compute minus at equal bytes"
    return Part(
        "gap shrinks",
        "part of the native tokenizer's gain is that its tokens hold more bytes: at equal bytes the gap "
        "shrinks",
        [Contrast(f"{title}, {name}", bits_metric(name), (arm, again), shrinkage) for name in SETS],
    )


def _scaling_part(names: Sequence[str]) -> Part:
    return Part(
        "scaling",
        "at equal tokens a larger model has fewer bits per byte",
        [Comparison(bits_metric(s), larger, smaller) for smaller, larger in pairwise(names) for s in SETS],
    )


def _blocks(evidence: Evidence, sizes: Mapping[str, Contender], vocabularies: Sequence[int]) -> list[Block]:
    """Tokens a page across languages, and the scaling picture."""
    arms = {arm.name: arm for arm in evidence.arms}
    rows = [
        [name, *(arms[name].fact(f"tokens/page {language}") for language in LANGUAGES)]
        for size in vocabularies
        for name in (_tokenizer_arm(tokenizer, size) for tokenizer in TOKENIZERS)
    ]
    blocks: list[Block] = [
        TableBlock(
            ("tokenizer", *LANGUAGES),
            rows,
            "Tokens a page on held-out pages, the same pages in each language",
        )
    ]
    found = [
        (arms[name].fact("parameters"), [arms[name].mean(bits_metric(s)) for s in SETS]) for name in sizes
    ]
    if len(found) > 1 and all(parameters is not None for parameters, _ in found):
        blocks.append(_scaling_figure(found))
    return blocks


def _scaling_figure(found: Sequence[tuple[int, list[float | None]]]) -> Figure:
    from etude.render import new_figure

    figure, axes = new_figure()
    for index, name in enumerate(SETS):
        axes.plot([p for p, _ in found], [values[index] for _, values in found], marker="o", label=name)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("parameters")
    axes.set_ylabel("bits per byte")
    axes.legend()
    return Figure(figure, "Bits per byte against parameters", "Equal tokens, growing models, first seed")
