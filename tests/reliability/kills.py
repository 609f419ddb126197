"""`kill -9` at a random moment, then the same command again: the result is that of an uninterrupted run."""

from __future__ import annotations

import random

from tests.reliability.checks import Found, same_as_uninterrupted
from tests.reliability.site import Site
from tests.reliability.table import Command


def kill_and_resume(site: Site, command: Command, trial: int) -> Found:
    """Kill a run once at a moment drawn over its length, then run it to the end."""
    verb = command.verb
    moment = random.Random(f"{verb} {trial}").random() * site.told(verb)["seconds"]
    site.restore(verb)
    killed = site.run(command, kill_after=moment)
    ended = site.run(command)
    problems = same_as_uninterrupted(site, verb, ended)
    return Found(verb, "kill", str(trial), problems, round(killed.seconds + ended.seconds, 2))
