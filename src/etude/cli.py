"""The command line, assembled from the catalogue; holds no logic."""

from __future__ import annotations

import dataclasses
import json as json_module
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import cyclopts
from cyclopts import App, Group, Parameter

from etude import __version__
from etude.catalogue import CARDS
from etude.errors import EtudeError
from etude.runs.launcher import leads, part

_GENERAL = Group("General", sort_key=0)
_METHODS = Group("Methods (etude METHOD --help shows its verbs)", sort_key=1)
_EVERYWHERE = Group("Everywhere", sort_key=2)


def build_app(arguments: Sequence[str] = ()) -> App:
    """Every command by import path; a module is imported when its command runs or shows its help.

    Args:
        arguments: The command line. A command named in it shows its own docstring as help; the others their
            one-line summary, for which nothing need be imported.
    """

    def add(parent: App, target: str, name: str, summary: str, **options: Any) -> None:
        parent.command(target, name=name, **options, **({} if name in arguments else {"help": summary}))

    app = App(
        name="etude",
        help="Every method in the paper, on your model and your data.",
        version=__version__,
        help_epilogue="Anywhere: --json prints JSON on stdout, --config FILE.toml reads options from a file.",
        result_action="return_value",
        # `--validation a b` gives it both; without this, b would silently go to the positional argument
        default_parameter=Parameter(consume_multiple=True, negative_iterable=()),
    )
    for name, target, summary in (
        ("list", "listing:list_methods", "The eighteen methods, one line each"),
        (
            "show",
            "listing:show_method",
            "A method's paper, verbs, claim, figures, and what was measured here",
        ),
        ("demo", "demos:demo", "Run every method once on embedded inputs and write a page"),
        ("claim", "claims:claim", "Put a paper's claim to the test against its baselines"),
        ("report", "claims:report", "Write the page of all claims: verdicts, plots, tables"),
    ):
        add(app, f"etude.report.{target}", name, summary, group=_GENERAL)
    models = App(name="models", help="Embedded models: where they come from, checked by hash", group=_GENERAL)
    add(models, "etude.models.commands:list_models", "list", "The embedded models")
    add(models, "etude.models.commands:pull", "pull", "Fetch an embedded model into the cache")
    app.command(models)
    data = App(name="data", help="Data sets: where they come from", group=_GENERAL)
    add(data, "etude.data.commands:list_data", "list", "The embedded samples")
    add(data, "etude.data.commands:pull", "pull", "Write an embedded sample or a hub data set to a file")
    app.command(data)
    for card in CARDS.values():
        method = App(name=card.name, help=f"{card.purpose} (arXiv {card.arxiv}).", group=_METHODS)
        for verb, summary in card.verbs.items():
            add(method, f"{card.package}:{verb.replace('-', '_')}", verb, summary)
        app.command(method)

    @app.meta.default
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        json: Annotated[
            bool, Parameter(group=_EVERYWHERE, negative="", help="Print the result as JSON on stdout.")
        ] = False,
        config: Annotated[
            str | None, Parameter(group=_EVERYWHERE, help="Read options of the command from this TOML file.")
        ] = None,
    ) -> None:
        if config is not None:
            app.config = cyclopts.config.Toml(config, must_exist=True, use_commands_as_keys=False)
        result = app(tokens, result_action="return_value")
        if result is not None:
            _print(result, json)

    return app


def main(arguments: list[str] | None = None) -> None:
    """Entry point: a user's mistake or trouble with a file is two lines and exit status 2."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        build_app(arguments).meta(arguments, result_action="return_value")
        part()
    except EtudeError as error:
        _end(error)
    except BrokenPipeError:
        sys.exit(141)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        from etude.runs import file_trouble

        trouble = file_trouble(error)
        if trouble is None:
            raise
        _end(trouble)


def _end(error: EtudeError) -> None:
    from etude.render.terminal import plain

    print(plain(f"error: {error.problem}\n{error.hint}"), file=sys.stderr)  # it may quote data
    sys.exit(2)


def _print(result: Any, as_json: bool) -> None:
    if not leads():
        return
    if as_json:
        print(json_module.dumps(_plain(result), ensure_ascii=False, default=str))
        return
    from etude.render import console

    console(stderr=False).print(result)


def _plain(result: Any) -> Any:
    from etude.evidence.evidence import finite

    is_result = dataclasses.is_dataclass(result) and not isinstance(result, type)
    return finite(dataclasses.asdict(result) if is_result else result)


if __name__ == "__main__":
    main()
