"""Every command of the documentation is one that the command line takes; its Python names exist."""

from __future__ import annotations

import ast
import contextlib
import importlib

import pytest
from cyclopts.exceptions import MissingArgumentError
from tests.docs.pages import PAGES, commands, mentions, name, python_blocks

from etude.cli import build_app


def parse(tokens: list[str]) -> None:
    """Bind arguments to the command's parameters without running it."""
    own = [token for token in tokens if token != "--json"]  # which every command takes
    build_app(own).parse_args(own, print_error=False, exit_on_error=False)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_command_line_takes_every_command_of_the_page(page):
    for tokens in commands(page):
        parse(tokens)


@pytest.mark.parametrize("page", [page for page in PAGES if mentions(page)], ids=name)
def test_commands_in_running_text_have_verbs_and_options_that_exist(page):
    for tokens in mentions(page):
        with contextlib.suppress(MissingArgumentError):
            parse(tokens)


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=name)
def test_names_that_the_pages_python_imports_exist(page):
    for code in python_blocks(page):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("etude"):
                module = importlib.import_module(node.module)
                missing = [alias.name for alias in node.names if not hasattr(module, alias.name)]
                assert not missing, f"{node.module} has no {', '.join(missing)}"
