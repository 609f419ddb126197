"""Every instrument gets the score theory gives it, directly and through Inspect."""

from __future__ import annotations

import pytest

from etude.errors import EtudeError
from etude.methods.counting_stars.commands import check
from etude.methods.counting_stars.instruments import Instrument, known_instruments
from etude.methods.counting_stars.validity import build_settings, verify_instruments


def test_the_self_test_passes_with_words():
    result = check(seeds="0-4")
    assert [c for c in result.checks if not c.passed] == []


def test_a_windowed_model_scores_the_exact_expected_curve(tokenizer):
    checks = verify_instruments((0, 1, 2), tokenizer)
    assert [c for c in checks if not c.passed] == []
    [window] = [c for c in checks if c.instrument == "instrument/window-2000" and c.rule == "official"]
    assert window.expected == window.measured == "1, 1, 0.5, 0.25, 0.125"


def test_instruments_get_the_same_through_the_whole_of_inspect(tmp_path):
    pytest.importorskip("inspect_ai")
    from etude.methods.counting_stars.inspect_task import ask_inspect

    settings = build_settings((0,))
    checks = verify_instruments(
        (0,), ask=lambda name, cells: ask_inspect(name, cells, None, tmp_path), settings=settings
    )
    assert [c for c in checks if not c.passed and c.rule != "depth"] == []


def test_a_broken_path_is_noticed():
    checks = verify_instruments((0,), ask=lambda name, cells: ["[]"] * len(cells))
    assert not any(c.passed for c in checks if c.instrument == "instrument/oracle" and c.rule != "depth")


@pytest.mark.parametrize("name", ["nobody", "window", "window-", "lossy-1.5", "guesser-32", "memoriser-31"])
def test_an_unknown_instrument_is_refused(name):
    with pytest.raises(EtudeError):
        Instrument(name)


def test_every_listed_instrument_exists():
    for name in known_instruments():
        assert Instrument(name).answer("nothing here\n\n\n\nquestion").startswith('{"little_penguin"')
