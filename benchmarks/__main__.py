"""`python -m benchmarks NAME [--full] [--save DIR]`: run one benchmark, or `all`, and print its ratios.

Every figure is measured five times, ours and the peer in turn. With `--save` the result is kept as
DIR/NAME.json; a result of the same source, versions and options that is there already is not measured again.
A peer that is not installed is named, with how to get it; the rest runs.
"""

import argparse
import importlib
import json
import os
import pkgutil
import platform
import subprocess
import sys
import time
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks._comparison import REPETITIONS, Comparison
from etude.errors import EtudeError
from etude.evidence.evidence import finite
from etude.render import TableBlock, console, show
from etude.runs import content_hash, file_hash, read_json, source_hash, write_json

NAMES = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_"))
BESIDE = ("torch", "transformers", "numpy")


def versions(name: str) -> dict[str, str | None]:
    """Versions of Python, of what all stand on, and of the peers; None for one that is not there."""
    peers = importlib.import_module(f"benchmarks.{name}").PEERS
    found: dict[str, str | None] = {"python": platform.python_version()}
    found |= {package: metadata.version(package) for package in BESIDE}
    return found | {peer.name: peer.version() for peer in peers}


def source(name: str) -> str:
    """A hash of what is measured and of what measures it."""
    method = f"etude.methods.{name}"
    measured = ["etude.models", "etude.training", "etude.data"]
    measured += [method] if importlib.util.find_spec(method) else []
    files = sorted(Path(benchmarks.__path__[0]).glob("*.py"))
    own = [f for f in files if f.stem in (name, "_comparison") or f.stem.startswith(f"_{name}_")]
    return content_hash([*map(source_hash, measured), *map(file_hash, own)])


def record(
    name: str, compared: Comparison, *, full: bool, repetitions: int, seconds: float
) -> dict[str, Any]:
    """What is stored of a benchmark."""
    return {
        "name": name,
        "date": date.today().isoformat(),
        "command": f"python -m benchmarks {name}" + (" --full" if full else ""),
        "full": full,
        "repetitions": repetitions,
        "seconds": round(seconds),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "machine": platform.machine(),
        "versions": versions(name),
        "source": source(name),
        **finite(compared.to_json()),
    }


def still_holds(path: Path, name: str, *, full: bool, repetitions: int) -> bool:
    """Whether the stored result is of the same source, versions and options."""
    if not path.exists():
        return False
    stored = read_json(path)
    now = {"source": source(name), "versions": versions(name), "full": full, "repetitions": repetitions}
    return all(stored.get(key) == value for key, value in now.items())


def tables(stored: dict[str, Any]) -> list[TableBlock]:
    """The headline figures, what is missing, and then the details."""
    rows = [
        (f["what"], f["peer"], f["measure"], f["median"], f"{min(f['values']):.3g} to {max(f['values']):.3g}",
         f["unit"], f["target"], f["met"])
        for f in stored["figures"]
    ]  # fmt: skip
    columns = ("what", "beside", "measure", "median", "lowest to highest", "unit", "target", "met")
    found = [TableBlock(columns, rows, f"{stored['name']}, {stored['repetitions']} repetitions")]
    missing = [(m["what"], m["peer"], m["how"]) for m in stored["missing"]]
    if missing:
        found.append(TableBlock(("left out", "its peer is not there", "how to get it"), missing))
    return found + detail_tables(stored["details"], stored["name"])


def detail_tables(value: Any, caption: str) -> list[TableBlock]:
    """A nested result as tables: scalars first, then each nested mapping or list of rows."""
    scalars = [(k, v) for k, v in value.items() if not isinstance(v, dict | list)]
    found = [TableBlock(("measure", "value"), scalars, caption)] if scalars else []
    for key, nested in value.items():
        if isinstance(nested, dict) and nested:
            found += detail_tables(nested, f"{caption}: {key}")
        elif isinstance(nested, list) and nested and all(isinstance(row, dict) for row in nested):
            columns = list(dict.fromkeys(name for row in nested for name in row))
            cells = [[row.get(c) for c in columns] for row in nested]
            found.append(TableBlock(columns, cells, f"{caption}: {key}"))
        elif isinstance(nested, list) and nested:
            found.append(TableBlock((key,), [(item,) for item in nested], caption))
    return found


def run(name: str, given: argparse.Namespace) -> int:
    """One benchmark in this process; the exit status."""
    path = given.save / f"{name}.json" if given.save else None
    options = {"full": given.full, "repetitions": given.repetitions}
    if path and not given.again and still_holds(path, name, **options):
        console().print(f"benchmark {name}: {path} is of the same source and versions; --again measures anew")
        stored = read_json(path)
    else:
        console().print(f"benchmark {name}")
        started = time.perf_counter()
        try:
            compared = importlib.import_module(f"benchmarks.{name}").main(**options)
        except EtudeError as error:
            print(f"error: {error.problem}\n{error.hint}", file=sys.stderr)
            return 2
        stored = record(name, compared, **options, seconds=time.perf_counter() - started)
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, stored)
    if given.json:
        print(json.dumps(stored))
    else:
        for table in tables(stored):
            console(stderr=False).print(show(table))
    return 0


def main() -> int:
    """Parse the command line; `all` runs each benchmark in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=[*NAMES, "all"])
    parser.add_argument(
        "--full", action="store_true", help="larger work, where a benchmark has it; takes hours"
    )
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help=f"default {REPETITIONS}")
    parser.add_argument("--save", type=Path, metavar="DIR", help="keep each result as DIR/NAME.json")
    parser.add_argument("--again", action="store_true", help="measure also what is kept already")
    parser.add_argument("--json", action="store_true", help="print JSON on stdout, one line a benchmark")
    given = parser.parse_args()
    if given.name != "all":
        return run(given.name, given)
    options = [a for a in sys.argv[1:] if a != "all"]
    failed = [
        name for name in NAMES
        if subprocess.run([sys.executable, "-m", "benchmarks", name, *options], check=False).returncode
    ]  # fmt: skip
    if failed:
        print(f"error: these benchmarks failed: {', '.join(failed)}", file=sys.stderr)
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
