"""Scores of translations (chrF++, BLEU with its signature, WER, COMET) and counts of what went wrong.

Casing and punctuation are kept for translations; WER is over Whisper's normalized words.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from etude.errors import EtudeError
from etude.render import console

METRICS = ("chrf", "bleu", "wer", "comet")
COMET = "Unbabel/wmt22-comet-da"
_TOKENIZERS = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}
_REFUSAL = re.compile(
    r"\b(i('m| am) (sorry|unable|not able)|i (can ?no|can')t|as an ai|as a language model|"
    r"unable to (hear|listen|transcribe|translate)|(no|any) audio (was|is|has|provided))\b",
    re.IGNORECASE,
)
_LOOP = re.compile(r"(\S.{0,40}?)(?:\s*\1){4,}", re.DOTALL)


@dataclass(frozen=True)
class Quality:
    """Scores of one set of outputs.

    Attributes:
        scores: Metric to corpus score (chrF++ and BLEU 0 to 100, WER a share, COMET about 0 to 1).
        per_utterance: Metric to one score per utterance.
        signatures: sacreBLEU's signature of each metric.
        notes: What could not be computed, and why.
    """

    scores: dict[str, float]
    per_utterance: dict[str, list[float]]
    signatures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def is_refusal(text: str) -> bool:
    """Whether a model declines instead of translating."""
    return bool(_REFUSAL.search(text))


def is_looping(text: str) -> bool:
    """Whether something is said five times in a row."""
    return bool(_LOOP.search(text))


def failure_counts(texts: Sequence[str]) -> dict[str, int]:
    """How many outputs are empty, refuse, or loop."""
    return {
        "empty": sum(not text.strip() for text in texts),
        "refusing": sum(is_refusal(text) for text in texts),
        "looping": sum(is_looping(text) for text in texts),
    }


def translation_quality(
    outputs: Sequence[str],
    references: Sequence[str],
    *,
    target_lang: str,
    sources: Sequence[str] | None = None,
    metrics: Sequence[str] = ("chrf", "bleu", "comet"),
) -> Quality:
    """Score translations.

    Args:
        outputs: What was written.
        references: What should have been.
        target_lang: Its code; Chinese, Japanese and Korean have BLEU tokenizers of their own.
        sources: Transcripts, for COMET.
        metrics: Of `chrf`, `bleu`, `comet`.

    Raises:
        EtudeError: An unknown metric, or a package is missing.
    """
    unknown = set(metrics) - set(METRICS)
    if unknown:
        raise EtudeError(f"no metric {', '.join(sorted(unknown))}", f"There are: {', '.join(METRICS)}.")
    made = Quality({}, {})
    for metric in ("chrf", "bleu"):
        if metric in metrics:
            scorer = _sacrebleu(metric, target_lang)
            corpus = scorer.corpus_score(list(outputs), [list(references)])
            made.scores[metric] = float(corpus.score)
            made.signatures[metric] = str(scorer.get_signature())
            made.per_utterance[metric] = [
                float(_sentence(scorer, metric, target_lang, o, r))
                for o, r in zip(outputs, references, strict=True)
            ]
    if "bleu" in metrics and max(len(text.split()) for text in references) < 4:
        made.notes.append("BLEU counts runs of four words, and no reference has as many: read chrF++")
    if "comet" in metrics:
        _add_comet(made, outputs, references, sources)
    return made


def word_error_rate(
    outputs: Sequence[str], references: Sequence[str], language: str | None = "en"
) -> Quality:
    """WER over words normalized as Whisper's paper does (English has its own normalizer).

    Args:
        outputs: What was written.
        references: What was said.
        language: Of both; None compares the words as they are.

    Raises:
        EtudeError: A package is missing.
    """
    _need("jiwer")
    import jiwer

    normalize = _normalizer(language)
    pairs = [(normalize(o), normalize(r)) for o, r in zip(outputs, references, strict=True)]
    kept = [(o, r) for o, r in pairs if r.strip()]
    if not kept:
        raise EtudeError("no transcript has words to compare with", "Check the column `transcript`.")
    each = [float(jiwer.wer(r, o)) if r.strip() else float(bool(o.strip())) for o, r in pairs]
    whole = float(jiwer.wer([r for _, r in kept], [o for o, _ in kept]))
    return Quality({"wer": whole}, {"wer": each})


def _normalizer(language: str | None) -> Callable[[str], str]:
    if language is None:
        return str.strip
    _need("whisper_normalizer")
    if language.lower().startswith("en"):
        from whisper_normalizer.english import EnglishTextNormalizer as Normalizer
    else:
        from whisper_normalizer.basic import BasicTextNormalizer as Normalizer
    made: Callable[[str], str] = Normalizer()
    return made


def character_f(output: str, reference: str) -> float:
    """ChrF of one output, 0 to 100 (characters alone: of single words, chrF++ would count little else)."""
    _need("sacrebleu")
    from sacrebleu.metrics.chrf import CHRF

    return float(CHRF(word_order=0).sentence_score(output, [reference]).score)


def paired_difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float, float]:
    """Mean difference of paired scores with its 95 % bootstrap interval and permutation p-value.

    Args:
        first: Per utterance.
        second: The same utterances.

    Returns:
        Difference, low, high, p.
    """
    from etude.evidence.statistics import mean_interval, sign_flip_p_value

    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    low, high = mean_interval(differences[None])
    return float(differences.mean()), low, high, sign_flip_p_value(differences)


def _sacrebleu(metric: str, target_lang: str, *, sentence: bool = False) -> Any:
    _need("sacrebleu")
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    if metric == "chrf":
        return CHRF(word_order=2)
    tokenizer = _TOKENIZERS.get(target_lang[:2].lower(), "13a")
    try:
        return BLEU(tokenize=tokenizer, effective_order=sentence)
    except (ImportError, RuntimeError) as error:
        raise EtudeError(
            f"BLEU for {target_lang} needs sacreBLEU's tokenizer {tokenizer}",
            f'pip install "sacrebleu[{target_lang[:2].lower()}]", or leave bleu out of --metrics.',
        ) from error


def _sentence(scorer: Any, metric: str, target_lang: str, output: str, reference: str) -> float:
    if metric == "bleu":
        scorer = _sacrebleu("bleu", target_lang, sentence=True)
    return float(scorer.sentence_score(output, [reference]).score)


def _add_comet(
    made: Quality, outputs: Sequence[str], references: Sequence[str], sources: Sequence[str] | None
) -> None:
    if sources is None or not all(sources):
        made.notes.append("COMET needs transcripts; without them it is left out")
        return
    if importlib.util.find_spec("comet") is None:
        made.notes.append("COMET is left out: pip install unbabel-comet, and its model has to be downloaded")
        return
    import comet

    try:
        model = comet.load_from_checkpoint(comet.download_model(COMET))
    except Exception as error:  # no network, no space, gated: the scores beside it stand
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        made.notes.append(f"COMET is left out: its model {COMET} is not at hand ({reason})")
        console().print(made.notes[-1])
        return
    rows = [{"src": s, "mt": o, "ref": r} for s, o, r in zip(sources, outputs, references, strict=True)]
    found = model.predict(rows, batch_size=8, gpus=0, progress_bar=False)
    made.per_utterance["comet"] = [float(value) for value in found.scores]
    made.scores["comet"] = float(found.system_score)


def _need(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise EtudeError(
            f"this score needs {', '.join(missing).replace('_', '-')}", 'pip install "etude[speech]"'
        )
