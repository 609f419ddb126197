"""The command line as a user meets it."""

import importlib
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from etude.catalogue import CARDS
from etude.cli import build_app, main

LIGHT = """
import sys
from etude.cli import main
sys.argv = ["etude", *{arguments!r}]
try:
    main()
except SystemExit:
    pass
heavy = {{"torch", "transformers", "scipy", "matplotlib", "polars", "datasets"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["list"], ["show", "relevance"], ["list", "--json"], ["--version"]]
)
def test_looking_around_imports_nothing_heavy(arguments: list[str]) -> None:
    subprocess.run(
        [sys.executable, "-c", LIGHT.format(arguments=arguments)], check=True, stdout=subprocess.DEVNULL
    )


def test_all_eighteen_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["list", "--json"])
    listed = json.loads(capsys.readouterr().out)["methods"]
    assert [m["name"] for m in listed] == list(CARDS)
    assert len(listed) == 18
    main(["list"])
    assert "speech-translation" in capsys.readouterr().out


@pytest.mark.parametrize("name", list(CARDS))
def test_every_card_can_be_shown(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["show", name])
    shown = capsys.readouterr().out
    assert CARDS[name].arxiv in " ".join(shown.split())


@pytest.mark.parametrize("card", list(CARDS.values()), ids=lambda c: c.name)
def test_every_verb_is_a_documented_function_whatever_was_imported_before(card: object) -> None:
    package = importlib.import_module(card.package)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(module.name)
    for verb, summary in card.verbs.items():
        function = getattr(package, verb.replace("-", "_"))
        assert callable(function), f"{verb} is hidden by a module of the same name"
        assert function.__doc__, verb
        assert summary, verb
    assert card.figures
    for name in ("claim", "demo"):
        assert callable(getattr(importlib.import_module(f"{card.package}.{name}"), name))


@pytest.mark.parametrize("card", list(CARDS.values()), ids=lambda c: c.name)
def test_every_verb_has_a_help_page(card: object, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in card.verbs:
        main([card.name, verb, "--help"])
        assert "Usage:" in capsys.readouterr().out


def test_a_users_mistake_is_two_lines_and_exit_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["show", "sign-round"])
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["error: there is no method 'sign-round'", "Did you mean 'signround'?"]


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etude.report.listing.list_methods", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["list"])


def test_options_come_from_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text(f'out = "{tmp_path / "d.jsonl"}"\nlimit = 3\n')
    main(["data", "pull", "python-docs", "--config", str(tmp_path / "c.toml"), "--json"])
    assert json.loads(capsys.readouterr().out)["rows"] == 3
    assert len((tmp_path / "d.jsonl").read_text().splitlines()) == 3


def test_data_that_does_not_exist_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["data", "pull", "nothing", "--out", str(tmp_path / "x.jsonl")])
    assert "no sample 'nothing'" in capsys.readouterr().err


def test_the_report_page_gathers_recorded_claims(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["report", "--claims", str(tmp_path), "--out", str(tmp_path / "r.html"), "--json"])
    verdicts = json.loads(capsys.readouterr().out)["verdicts"]
    assert set(verdicts) == {c.name for c in CARDS.values() if c.recorded}
    page = (tmp_path / "r.html").read_text()
    for name in verdicts:
        assert name in page


def test_an_option_with_several_values_takes_them_all_before_the_next_option() -> None:
    """Were the second one to go to the positional argument, held-out text would be trained on."""
    line = "teenytinyllama prepare a.jsonl b.txt --tokenizer t --block 8 --validation c.jsonl d.txt --out o"
    _, bound, _ = build_app().parse_args(line.split())[:3]
    assert bound.arguments["files"] == (Path("a.jsonl"), Path("b.txt"))
    assert bound.arguments["validation"] == (Path("c.jsonl"), Path("d.txt"))
