"""Every command and every Python block of README, guides and methods' pages runs, with its page's files."""

from __future__ import annotations

import importlib
import subprocess
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from tests.docs.pages import ROOT, Command, arguments, processes, python_blocks, shown_commands
from tests.docs.world import Server, Swapped, World, served
from tests.scaling.processes import said_by

from etude.cli import main
from etude.errors import EtudeError
from etude.models import model_directory

WORLDS = {file.stem for file in (Path(__file__).parent / "worlds").glob("*.py")}
GUIDES = [ROOT / "docs" / f"{name}.md" for name in ("quickstart", "recipes", "scaling", "adding-a-method")]
WANTED = [ROOT / "README.md", *GUIDES, *sorted((ROOT / "docs" / "methods").glob("*.md"))]
PAGES = {page.stem: page for page in WANTED if page.stem.replace("-", "_").lower() in WORLDS}
FETCHED = ("models", "wheels", "revisions", "word-vectors")  # of the user's cache; all else is the test's own


def world_of(page: str) -> World:
    """The world of a page, in the module named for it."""
    return importlib.import_module(f"tests.docs.worlds.{page.replace('-', '_').lower()}").WORLD


def pages() -> list:
    """Pages as parameters, slow ones marked."""
    return [pytest.param(page, marks=[pytest.mark.slow] if world_of(page).slow else []) for page in PAGES]


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache of the test's own, in which fetched models are the user's."""
    from etude.data.store import cache_root

    users, own = cache_root(), tmp_path / "cache"

    def share(embedded: tuple[str, ...]) -> None:
        for name in embedded:
            try:
                model_directory(name)
            except EtudeError as error:
                pytest.skip(f"no {name}: {error.problem}")
        own.mkdir()
        for name in FETCHED:
            (users / name).mkdir(parents=True, exist_ok=True)
            (own / name).symlink_to(users / name)
        monkeypatch.setenv("ETUDE_CACHE", str(own))

    return share


@pytest.mark.parametrize("page", pages())
def test_all_that_the_page_says_to_run_runs(page, tmp_path, monkeypatch, capfd, own_cache):
    world = world_of(page)
    for module in world.needs:
        pytest.importorskip(module)
    own_cache(world.embedded)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    world.prepare(work)
    with served() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        for command in shown_commands(PAGES[page]):
            if not world.left(command.line):
                for part, act in world.before.items():
                    if part in command.line:
                        act(work)
                run(command, world, server, capfd)
        assert not server.problems
        names = world.names(work)
        for code in python_blocks(PAGES[page]):
            if not world.left(code):
                code = world.swapped(code, of=code)
                server.answer = world.answer(code)
                exec(compile(code, f"{page}.md", "exec"), names)
        assert not server.problems
    missing = [name for name in world.writes if not Path(name).exists()]
    assert not missing


def run(command: Command, world: World, server: Server, capfd: pytest.CaptureFixture) -> None:
    """Run one command; look at how it ends, what it writes, and whether it says what the page shows."""
    server.answer = world.answer(command.line)
    tokens = arguments(world.swapped(command.line, of=command.line))
    for at, token in enumerate(tokens):
        if token == "--base-url":
            tokens[at + 1] = server.url
    launcher = processes(command.line)
    try:
        if launcher:
            said_by(subprocess.Popen([*launcher, *tokens]))
        else:
            main(tokens)
        status = 0
    except SystemExit as end:
        status = end.code or 0
    said = capfd.readouterr()
    refused = command.shown.startswith("error:")
    assert status == (2 if refused else 0), f"{command.line}\n{said.err}\n{server.problems}"
    if not refused and "--out" in tokens:
        assert Path(tokens[tokens.index("--out") + 1]).exists(), command.line
    if refused:
        expected = [word for word in words(command.shown.splitlines()[0]) if word.isalpha()]
    elif any(part in command.line for part in world.same):
        expected = words(command.shown)
    else:
        expected = titles(command.shown)
    missing = Counter(expected)
    missing.subtract(words(said.out + said.err))
    assert not +missing, f"{command.line} does not print {set(+missing)} (any more):\n{said.out}{said.err}"


def words(text: str) -> list[str]:
    """The words of a text, without rules and dots for what is left out."""
    return [word for word in text.split() if set(word) != {"─"} and word != "..."]


def titles(shown: str) -> list[str]:
    """The words of the column titles of the tables that a page shows, but numbers."""
    heads = [above for above, rule in pairwise(shown.splitlines()) if set(rule.strip()) == {"─"}]
    return [word for head in heads for word in words(head) if not word.isdigit()]


def test_every_page_has_a_world_and_every_world_a_page():
    assert {page.stem.replace("-", "_").lower() for page in WANTED} == WORLDS


@pytest.mark.parametrize("page", PAGES)
def test_no_entry_of_the_table_is_about_what_the_page_does_not_have(page):
    world, lines = world_of(page), [command.line for command in shown_commands(PAGES[page])]
    for entry in world.table:
        meant = [text for text in [*lines, *python_blocks(PAGES[page])] if entry.part in text]
        assert meant, f"no command or block has {entry.part!r}"
        if isinstance(entry, Swapped):
            assert any(entry.old in text for text in meant), f"{entry.part!r} has no {entry.old!r}"
    for part in [*world.before, *world.same]:
        assert any(part in line for line in lines), f"no command has {part!r}"
