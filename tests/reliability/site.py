"""Where a command runs: working directory, cache, home and scratch folder of its own, kept as snapshots.

A method's page is run through once; before each command that stands for a verb the folders are copied away.
From then on every check starts from that copy, at the same path.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.docs.world import Answer, Server, served
from tests.reliability.table import Command, script, world_of
from tests.reliability.zygote import Outcome, Zygote

from etude.data.store import cache_root

FETCHED = ("models", "wheels", "word-vectors")  # of the user's cache, shared; the rest is the site's own
PARTS = ("work", "cache", "home", "scratch")


@dataclass
class Site:
    """A method's place.

    Args:
        method: Its name.
        root: Folder of all sites and snapshots.
        zygote: Runs the commands.
        server: Plays the served models.
    """

    method: str
    root: Path
    zygote: Zygote
    server: Server

    @property
    def place(self) -> Path:
        """Where commands run."""
        return self.root / "site" / self.method

    @property
    def work(self) -> Path:
        """The working directory."""
        return self.place / "work"

    @property
    def kept(self) -> Path:
        """Where the snapshots lie."""
        return self.root / "kept" / self.method

    def environment(self) -> dict[str, str]:
        """What the command finds in its environment."""
        return {
            "HOME": str(self.place / "home"),
            "TMPDIR": str(self.place / "scratch"),
            "ETUDE_CACHE": str(self.place / "cache"),
            "HF_HOME": str(self.place / "cache" / "hf"),
            "IR_DATASETS_HOME": str(self.place / "cache" / "irds"),
            "MPLCONFIGDIR": str(self.place / "cache" / "matplotlib"),
            "XDG_DATA_HOME": str(self.place / "cache" / "share"),
            "OPENAI_BASE_URL": self.server.url,
        }

    def run(
        self,
        command: Command,
        *,
        inner: tuple[str, ...] = ("--json",),
        answer: Answer | None = None,
        **options: Any,
    ) -> Outcome:
        """Run a command as it stands, its result printed as JSON; `answer` speaks for the served model."""
        tokens = [*command.tokens]
        for at, token in enumerate(tokens):
            if token == "--base-url":
                tokens[at + 1] = self.server.url
        self.server.answer = answer or world_of(self.method).answer(command.line)
        return self.zygote.run(
            [*tokens, *inner], self.work, environment=self.environment(), before=command.inside, **options
        )

    def restore(self, verb: str) -> None:
        """Everything as it was before the verb's command."""
        clear(self.place)
        copy(self.kept / verb.replace(" ", "-"), self.place)

    def told(self, verb: str) -> dict[str, Any]:
        """What is known of the uninterrupted run: `seconds`, `asked`, `out`, `files`."""
        held: dict[str, Any] = json.loads((self.kept / f"{verb.replace(' ', '-')}.json").read_text())
        return held

    def build(self, note: Callable[[Site, Outcome], dict[str, Any]]) -> None:
        """Run the page through, keeping a snapshot before and `note` after each verb's command."""
        if (self.kept / "complete").exists():
            return
        shutil.rmtree(self.kept, ignore_errors=True)
        self.kept.mkdir(parents=True)
        self.place.mkdir(parents=True, exist_ok=True)
        clear(self.place)
        for part in PARTS:
            (self.place / part).mkdir(parents=True)
        for name in FETCHED:
            (cache_root() / name).mkdir(parents=True, exist_ok=True)
            (self.place / "cache" / name).symlink_to(cache_root() / name)
        self._prepare()
        for command in script(self.method):
            for act in command.before:
                act(self.work)
            slug = command.verb.replace(" ", "-")
            if slug:
                copy(self.place, self.kept / slug)
            self.server.asked, self.server.problems = 0, []
            ended = self.run(command)
            if ended.status != 0:
                raise RuntimeError(f"{' '.join(command.tokens)}: {ended.err}\n{self.server.problems}")
            if slug:
                found = {"seconds": ended.seconds, "asked": self.server.asked, **note(self, ended)}
                (self.kept / f"{slug}.json").write_text(json.dumps(found))
        (self.kept / "complete").touch()

    def _prepare(self) -> None:
        """The world's files, made in a process of its own: some worlds train what their page starts from."""
        made = self.zygote.run(
            ["list", "--json"], self.work, before="tests.reliability.site:prepare_world",
            environment={**self.environment(), "METHOD": self.method},
        )  # fmt: skip
        if made.status != 0:
            raise RuntimeError(f"{self.method}: {made.err}")


def prepare_world() -> None:
    """Write a world's files into the working directory."""
    import os

    world_of(os.environ["METHOD"]).prepare(Path.cwd())


def clear(place: Path) -> None:
    """Delete what is in a folder, which stays (it may be a mount)."""
    place.mkdir(parents=True, exist_ok=True)
    for inner in place.iterdir():
        if inner.is_dir() and not inner.is_symlink():
            shutil.rmtree(inner)
        else:
            inner.unlink()


def copy(source: Path, target: Path) -> None:
    """Copy a tree; links stay links."""
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)


@contextmanager
def sites(root: Path, port: int = 18080) -> Iterator[Callable[[str], Site]]:
    """A zygote and a server, and sites on them. The port is fixed: it is part of what a run depends on."""
    zygote = Zygote()
    with served(port) as server:
        yield lambda method: Site(method, root, zygote, server)
        assert threading.active_count() < 100
    zygote.close()
