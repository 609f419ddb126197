"""Scores against sacreBLEU and jiwer themselves; counts of what went wrong."""

import numpy as np
import pytest

from etude.errors import EtudeError
from etude.methods.speech_translation.arm_scores import pareto_front
from etude.methods.speech_translation.quality import (
    character_f,
    failure_counts,
    is_looping,
    is_refusal,
    paired_difference,
    translation_quality,
    word_error_rate,
)

OUT = ["Das ist gut.", "Ein Hund läuft", ""]
REF = ["Das ist sehr gut.", "Ein Hund läuft.", "Ja."]


def test_chrf_and_bleu_are_sacrebleus_with_their_signatures() -> None:
    import sacrebleu

    found = translation_quality(OUT, REF, target_lang="de", metrics=("chrf", "bleu"))
    assert found.scores["chrf"] == pytest.approx(sacrebleu.corpus_chrf(OUT, [REF], word_order=2).score)
    assert found.scores["bleu"] == pytest.approx(sacrebleu.corpus_bleu(OUT, [REF]).score)
    assert "nw:2" in found.signatures["chrf"] and "version:" in found.signatures["chrf"]
    assert "tok:13a" in found.signatures["bleu"] and "case:mixed" in found.signatures["bleu"]
    each = [sacrebleu.sentence_chrf(o, [r], word_order=2).score for o, r in zip(OUT, REF, strict=True)]
    assert found.per_utterance["chrf"] == pytest.approx(each)


def test_casing_and_punctuation_count() -> None:
    lower = translation_quality([r.lower() for r in REF], REF, target_lang="de", metrics=("chrf",))
    assert lower.scores["chrf"] < 100


def test_chinese_is_cut_into_characters() -> None:
    found = translation_quality(["你好世界"], ["你好世界"], target_lang="zh", metrics=("bleu",))
    assert "tok:zh" in found.signatures["bleu"] and found.scores["bleu"] == pytest.approx(100)


def test_the_character_score_is_chrf_without_words() -> None:
    import sacrebleu

    assert character_f("dreihundert", "vierhundert") == pytest.approx(
        sacrebleu.sentence_chrf("dreihundert", ["vierhundert"]).score
    )


def test_the_word_error_rate_is_over_normalized_words() -> None:
    import jiwer

    found = word_error_rate(["Mister Smith's twenty dogs!"], ["Mr. Smith's 20 dog"], "en")
    assert found.scores["wer"] == pytest.approx(
        jiwer.wer("mister smiths 20 dog", "mister smiths 20 dogs"), abs=0.1
    )
    assert word_error_rate(["Été"], ["été"], "fr").scores["wer"] == 0.0
    with pytest.raises(EtudeError, match="no transcript has words"):
        word_error_rate(["a"], ["(laughs)"])


def test_an_unknown_metric_is_refused_and_a_missing_comet_is_said() -> None:
    with pytest.raises(EtudeError, match="no metric meteor"):
        translation_quality(OUT, REF, target_lang="de", metrics=("meteor",))
    found = translation_quality(OUT, REF, target_lang="de", metrics=("chrf", "comet"), sources=["a"] * 3)
    assert "comet" in found.scores or "COMET is left out" in found.notes[0]
    assert "chrf" in found.scores


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I cannot transcribe audio.",
        "As an AI, I have no ears",
        "I can't hear it",
        "I am unable to",
    ],
)
def test_refusals_are_recognized(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize("text", ["Das Haus ist groß.", "Nobody can hear the sea", "there was no audience"])
def test_translations_are_no_refusals(text: str) -> None:
    assert not is_refusal(text) and not is_looping(text)


def test_loops_are_five_times_the_same_in_a_row() -> None:
    assert is_looping("the dog the dog the dog the dog the dog")
    assert is_looping("haha" * 5) and not is_looping("very very very good")
    assert failure_counts(["", "the the the the the", "As an AI", "gut"]) == {
        "empty": 1,
        "refusing": 1,
        "looping": 1,
    }


def test_a_paired_difference_is_the_mean_with_an_interval_around_it() -> None:
    draw = np.random.default_rng(0)
    first = draw.normal(1.0, 1.0, 200)
    value, low, high, p = paired_difference(first, np.zeros(200))
    assert value == pytest.approx(first.mean()) and low < value < high
    assert low == pytest.approx(first.mean() - 1.96 * first.std() / 200**0.5, abs=0.03) and p < 0.01
    assert paired_difference([1.0, 2.0], [1.0, 2.0])[3] == 1.0


def test_the_pareto_front_holds_what_nothing_beats_in_both() -> None:
    points = [(10.0, 50.0), (5.0, 60.0), (1.0, 20.0), (5.0, 40.0), (2.0, 20.0), (20.0, 70.0)]
    assert pareto_front(points) == [2, 1, 5]


def test_words_may_be_compared_as_they_are() -> None:
    """Whisper's normalizer writes digits, so that one wrong digit makes a whole number wrong."""
    heard, said = ["three seven two"], ["three seven nine"]
    assert word_error_rate(heard, said).scores["wer"] == 1.0
    assert word_error_rate(heard, said, language=None).scores["wer"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("reference", "noted"), [("dreihundert", True), ("das sind vier Wörter", False)])
def test_bleu_of_references_too_short_for_it_is_noted(reference: str, noted: bool) -> None:
    made = translation_quality([reference], [reference], target_lang="de", metrics=("bleu",))
    assert any("runs of four words" in note for note in made.notes) is noted
