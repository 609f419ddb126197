"""The reliability sweep: `python -m tests.reliability` checks every verb; `--help` says what can be chosen.

A finished trial is not run again: `trials.jsonl` in the folder holds them, and the table is drawn from it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tests.reliability.checks import Found, note
from tests.reliability.cuts import cut_files
from tests.reliability.fuzzed import fuzz_all, readers_table
from tests.reliability.hostile import ANSWERS, NAMES, hostile_model, hostile_names
from tests.reliability.kills import kill_and_resume
from tests.reliability.outside import writes_elsewhere
from tests.reliability.site import Site, sites
from tests.reliability.space import can_mount, full_disk, read_only, with_own_mounts
from tests.reliability.table import Command, script

from etude.catalogue import CARDS

CHECKS = ("full", "read-only", "kill", "model", "names", "outside", "cut")
SHARES = (0.0, 0.5)


def main(arguments: list[str] | None = None) -> int:
    """Run what is chosen and not yet done, print the table; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/reliability"), help="sites and trials")
    parser.add_argument("--methods", nargs="+", choices=CARDS, default=list(CARDS), metavar="METHOD")
    parser.add_argument("--checks", nargs="+", choices=("read", *CHECKS), default=["read", *CHECKS])
    parser.add_argument("--kills", type=int, default=10, help="moments per verb")
    parser.add_argument("--records", type=int, default=10_000, help="damaged files per reader")
    parser.add_argument("--files", type=int, default=12, help="files per verb that are cut")
    parser.add_argument(
        "--longest", type=float, default=1e9, help="leave out verbs that run longer (seconds)"
    )
    parser.add_argument("--port", type=int, default=18080, help="of the served model")
    parser.add_argument("--again", action="store_true", help="repeat the trials that had problems")
    parser.add_argument("--table", action="store_true", help="only print the table")
    chosen = parser.parse_args(arguments)
    if not can_mount() and not chosen.table:
        again = [
            sys.executable,
            "-m",
            "tests.reliability",
            *(sys.argv[1:] if arguments is None else arguments),
        ]
        os.execvp("unshare", with_own_mounts(again))
    trials = Trials(chosen.folder.resolve() / "trials.jsonl", again=chosen.again)
    if not chosen.table and set(chosen.checks) - {"read"}:
        sweep(chosen, trials)
    print(trials.table(chosen.methods))
    readers = fuzz_all(
        trials.path.parent, 0 if chosen.table or "read" not in chosen.checks else chosen.records
    )
    print("\n" + readers_table(readers))
    return int(any(one.problems for one in trials.found.values()) or any(one.bugs for one in readers))


def sweep(chosen: argparse.Namespace, trials: Trials) -> None:
    """Run the trials that are missing, method by method."""
    with sites(chosen.folder.resolve(), chosen.port) as at:
        for method in chosen.methods:
            site = at(method)
            try:
                site.build(note)
            except RuntimeError as error:
                print(f"{method}: its page does not run through: {error}"[-800:], file=sys.stderr)
                continue
            for check in [one for one in CHECKS if one in chosen.checks]:
                for command in script(method):
                    if command.verb and site.told(command.verb)["seconds"] <= chosen.longest:
                        for found in run(check, site, command, trials, chosen):
                            trials.add(found)


def run(
    check: str, site: Site, command: Command, trials: Trials, chosen: argparse.Namespace
) -> Iterator[Found]:
    """The trials of one check of one verb that are missing."""
    if check == "cut":
        yield from cut_files(site, command, trials.done(command.verb, "cut"), chosen.files)
        return
    asked = site.told(command.verb)["asked"]
    one: dict[str, dict[str, Callable[[], Found]]] = {
        "kill": {str(at): partial(kill_and_resume, site, command, at) for at in range(chosen.kills)},
        "full": {f"{share:g}": partial(full_disk, site, command, share) for share in SHARES},
        "read-only": {"0": partial(read_only, site, command)},
        "model": {name: partial(hostile_model, site, command, name) for name in ANSWERS if asked},
        "names": {name: partial(hostile_names, site, command, name) for name in NAMES},
        "outside": {"0": partial(writes_elsewhere, site, command)},
    }
    for trial, act in one[check].items():
        if trial not in trials.done(command.verb, check):
            yield act()


class Trials:
    """The trials that were run, in a file.

    Args:
        path: The file.
        again: Forget those that had problems.
    """

    def __init__(self, path: Path, *, again: bool = False) -> None:
        self.path = path
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        held = [Found(**row) for row in rows]
        self.found = {(one.verb, one.check, one.trial): one for one in held}
        self._again = {key for key, one in self.found.items() if one.problems} if again else set()

    def done(self, verb: str, check: str) -> set[str]:
        """The trials of a check of a verb that are not to be run."""
        return {key[2] for key in self.found if key[:2] == (verb, check) and key not in self._again}

    def add(self, found: Found) -> None:
        """Keep a trial and say so."""
        key = (found.verb, found.check, found.trial)
        self.found[key] = found
        self._again.discard(key)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(asdict(found), ensure_ascii=False) + "\n")
        problems = found.problems
        print(
            f"{found.verb} {found.check} {found.trial} {found.seconds:.1f} s: {problems or 'as it should'}",
            file=sys.stderr, flush=True,
        )  # fmt: skip

    def table(self, methods: list[str]) -> str:
        """A row per method: of each check of its verbs how many trials went as they should, of how many."""
        lines = ["| method | verbs | " + " | ".join(CHECKS) + " |", "|---" * (len(CHECKS) + 2) + "|"]
        rows = {method: [f"{method} {verb}" for verb in CARDS[method].verbs] for method in methods}
        rows["all"] = [verb for verbs in rows.values() for verb in verbs]
        for name, verbs in rows.items():
            found = [one for one in self.found.values() if one.verb in verbs]
            cells = [_of([one for one in found if one.check == check]) for check in CHECKS]
            seen = len({one.verb for one in found})
            lines.append(f"| {name} | {seen} of {len(verbs)} | {' | '.join(cells)} |")
        return "\n".join(lines)


def _of(found: list[Found]) -> str:
    return f"{sum(not one.problems for one in found)} of {len(found)}" if found else ""


if __name__ == "__main__":
    sys.exit(main())
