"""Every verb of the catalogue with one small command that runs offline.

Most are the first command that the method's page shows, in the page's world (`tests/docs/worlds`): its files
are there, made by the page's earlier commands. `MORE` has those that no page shows.
"""

from __future__ import annotations

import importlib
import shlex
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.docs.pages import ROOT, arguments, shown_commands
from tests.docs.world import World, write

from etude.catalogue import CARDS


@dataclass(frozen=True)
class Command:
    """One command of a page, and whether it is the one by which its verb is checked.

    Args:
        tokens: Its arguments.
        line: The line of the page, by which the world knows who answers.
        before: What people do by hand first.
        inside: `module:function` that the command's own process calls first.
        verb: `METHOD VERB` when it stands for its verb, else empty.
    """

    tokens: tuple[str, ...]
    line: str
    before: tuple[Callable[[Path], None], ...] = ()
    inside: str = ""
    verb: str = ""


def _pairs(folder: Path) -> None:
    write(folder, pairs_tsv="en\tfr\nhe sees the boat\til voit le bateau\nshe buys a letter\telle achète\n")


def _served_collection(folder: Path) -> None:
    write(folder, docs_tsv="d1\tthe wind\nd2\ta tower\nd3\tnobody judged this\n")
    write(folder, queries_tsv="q1\twind\nq2\ttowers\n", qrels_txt="q1 0 d1 2\nq1 0 d2 0\nq2 0 d2 1\n")


def register_collection() -> None:
    """Make the files of the working directory a collection that ir-datasets knows."""
    with suppress(OSError):  # where its folder cannot be written the verb has to say so
        import ir_datasets

        files = {"docs_tsv": "docs.tsv", "queries_tsv": "queries.tsv", "qrels_trec": "qrels.txt"}
        ir_datasets.registry.register("etude-test/three", ir_datasets.create_dataset(**files))


GRAPHS = "questions.jsonl --graphs pruned-0.5"
JUDGED = "--docs d.jsonl --topics t.jsonl"
MORE: dict[str, tuple[str, ...]] = {
    "analogykb": ("browse kb",),
    "bioelqa": (
        "index vocabulary.tsv --out index",
        "train train.pubtator --vocab vocabulary.tsv --options 5 --out linker",
        "evaluate linker/model test.pubtator --out scores",
    ),
    "conspemollm": ("affect texts.csv --providers lexicon vad --emobank emobank.csv --out affect",),
    "idgen": ("zeroshot run --items items.jsonl --sequences sequences.jsonl --k 1,3 --out zero",),
    "pipenet": (
        "parse questions.jsonl --kg kg --out stored.jsonl",
        f"predict {GRAPHS} --model model --out answers.jsonl",
        "sweep questions.jsonl --graphs graphs --rates 0,0.5 --sample 4 --out sweep",
    ),
    "relevance": (
        "build etude-test/three --out three",
        f"calibrate {JUDGED} --gold gold.qrels --model bm25",
        "ensemble week1.jsonl week2.jsonl labels.jsonl --out joined.qrels",
        f"attack {JUDGED} --gold gold.qrels --model openai/MODEL --probes 4",
    ),
    "self-explanations": ("report run",),
    "semcsr": (
        "evaluate model --sts dev.csv --page page.html",
        "run sentences.txt --sts dev.csv --scorer embed --alpha 2.5 --beta 4.5 --gamma 0.2 --batch-size 8 "
        "--steps 10 --seeds 1 --out all",
    ),
    "speech-translation": ("build pairs.tsv --source-lang en --target-lang fr --out spoken",),
}
BY_HAND: dict[str, Callable[[Path], None]] = {
    "speech-translation build": _pairs,
    "relevance build": _served_collection,
}
INSIDE = {"relevance build": "tests.reliability.table:register_collection"}


def world_of(method: str) -> World:
    """The world of a method's page."""
    world: World = importlib.import_module(f"tests.docs.worlds.{method.replace('-', '_')}").WORLD
    return world


@cache
def script(method: str) -> tuple[Command, ...]:
    """A method's commands in an order in which each finds its inputs, to the last that stands for a verb."""
    world, commands, seen = world_of(method), [], set()
    wanted = {f"{method} {verb}" for verb in CARDS[method].verbs}
    for line, tokens in _lines(method, world):
        verb = " ".join(tokens[:2])
        stands = verb in wanted and verb not in seen
        seen |= {verb} if stands else set()
        before = [act for part, act in world.before.items() if part in line]
        before += [BY_HAND[verb]] if verb in BY_HAND else []
        inside = INSIDE.get(verb, "")
        commands.append(Command(tuple(tokens), line, tuple(before), inside, verb if stands else ""))
    while commands and not commands[-1].verb:
        commands.pop()
    return tuple(commands)


def _lines(method: str, world: World) -> Iterator[tuple[str, list[str]]]:
    for shown in shown_commands(ROOT / "docs" / "methods" / f"{method}.md"):
        if not world.left(shown.line) and not shown.shown.startswith("error:"):
            yield shown.line, arguments(world.swapped(shown.line, of=shown.line))
    for line in MORE.get(method, ()):
        yield f"etude {method} {line}", [method, *shlex.split(line)]


def table() -> dict[str, Command]:
    """`METHOD VERB` to its command."""
    return {command.verb: command for method in CARDS for command in script(method) if command.verb}
