"""`python -m benchmarks NAME [--quick] [--json]`: run one benchmark, or `all`, and print its ratios."""

import argparse
import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

import benchmarks
from etude.errors import EtudeError
from etude.evidence.evidence import finite
from etude.render import TableBlock, console, show

NAMES = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_"))


def blocks(value: Any, caption: str) -> list[TableBlock]:
    """A benchmark's result as tables: scalars first, then each nested mapping or list of rows."""
    scalars = [(k, v) for k, v in value.items() if not isinstance(v, dict | list)]
    tables = [TableBlock(("measure", "value"), scalars, caption)] if scalars else []
    for key, nested in value.items():
        if isinstance(nested, dict) and nested:
            tables += blocks(nested, f"{caption}: {key}")
        elif isinstance(nested, list) and nested and all(isinstance(row, dict) for row in nested):
            columns = list(dict.fromkeys(name for row in nested for name in row))
            tables.append(
                TableBlock(columns, [[row.get(c) for c in columns] for row in nested], f"{caption}: {key}")
            )
        elif isinstance(nested, list) and nested:
            tables.append(TableBlock((key,), [(item,) for item in nested], caption))
    return tables


def main() -> None:
    """Parse the command line, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=[*NAMES, "all"])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions and smaller work")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout")
    parser.add_argument(
        "--save", type=Path, help="also write the JSON to this folder, one file per benchmark"
    )
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    for name in NAMES if arguments.name == "all" else [arguments.name]:
        console().print(f"benchmark {name}")
        try:
            results[name] = finite(importlib.import_module(f"benchmarks.{name}").main(quick=arguments.quick))
        except EtudeError as error:
            print(f"error: {error.problem}\n{error.hint}", file=sys.stderr)
            sys.exit(2)
        if arguments.save:
            arguments.save.mkdir(parents=True, exist_ok=True)
            (arguments.save / f"{name}.json").write_text(json.dumps(results[name], indent=1) + "\n")
    if arguments.json:
        print(json.dumps(results))
        return
    for name, result in results.items():
        for block in blocks(result, name):
            console(stderr=False).print(show(block))


if __name__ == "__main__":
    main()
