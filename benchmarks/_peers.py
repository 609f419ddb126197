"""The peers that a benchmark asks for, and how a user gets them.

Some are importable beside etude; those that pin other versions live in an environment of their own, whose
python an environment variable names.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from importlib import metadata

_VERSION = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


@dataclass(frozen=True)
class Peer:
    """A program that ours is measured beside.

    Args:
        name: As it is known.
        package: Its distribution.
        install: The command that installs it; E is the environment of its own, where it has one.
        variable: The environment variable that names its python; empty if it is imported beside etude.
        needs: Other environment variables that must be set, and what they name.
    """

    name: str
    package: str
    install: str
    variable: str = ""
    needs: tuple[tuple[str, str], ...] = ()

    def python(self) -> str | None:
        """The interpreter that has it, if it is set and all else it needs."""
        if any(not os.environ.get(name) for name, _ in self.needs):
            return None
        return os.environ.get(self.variable) if self.variable else None

    def version(self) -> str | None:
        """The version that is there; None if it is not."""
        if not self.variable:
            try:
                return metadata.version(self.package)
            except metadata.PackageNotFoundError:
                return None
        python = self.python()
        if not python:
            return None
        asked = [python, "-c", _VERSION, self.package]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        return done.stdout.strip() or None

    def how(self) -> str:
        """What a user does to have it."""
        if not self.variable:
            return f"`{self.install}`"
        more = "".join(f"; set {name} to {what}" for name, what in self.needs)
        return f"`python -m venv E; {self.install}`; set {self.variable} to E/bin/python{more}"


AUTOROUND = Peer(
    "auto-round",
    "auto-round",
    "E/bin/pip install --only-binary=:all: torch transformers accelerate datasets py-cpuinfo; "
    "E/bin/pip install --no-deps --only-binary=:all: auto-round==0.16.1",
    "ETUDE_AUTOROUND_PYTHON",
)
LITGPT = Peer(
    "litgpt", "litgpt", 'E/bin/pip install litgpt==0.5.13 "torch>=2.10,<2.14" numpy', "ETUDE_LITGPT_PYTHON"
)
RAGELO = Peer("ragelo", "ragelo", "E/bin/pip install ragelo", "ETUDE_RAGELO_PYTHON")
FORMALGEO = Peer(
    "FormalGeo",
    "formalgeo",
    "E/bin/pip install formalgeo==0.0.6",
    "ETUDE_FORMALGEO_PYTHON",
    (("ETUDE_FORMALGEO_GDL", "a folder with predicate_GDL.json and theorem_GDL.json of FormalGeo7k v1"),),
)
GROUP_BEAMS = Peer(
    "transformers 4.46, the last with group beams",
    "transformers",
    "E/bin/pip install torch transformers==4.46.3",
    "ETUDE_GROUP_BEAMS_PYTHON",
)
SCISPACY = Peer(
    "scispacy",
    "scispacy",
    "E/bin/pip install nmslib-metabrainz scikit-learn conllu pysbd requests joblib spacy; "
    "E/bin/pip install --no-deps scispacy",
    "ETUDE_SCISPACY_PYTHON",
)
TRL = Peer("TRL", "trl", "pip install trl")
FASTER_WHISPER = Peer("faster-whisper", "faster-whisper", "pip install faster-whisper")
LLAMA_CPP = Peer("llama.cpp", "xllamacpp", "pip install xllamacpp")
MATH_VERIFY = Peer("math-verify", "math-verify", "pip install math-verify")
TRANSFORMERS = Peer("transformers", "transformers", "pip install transformers")
PEFT = Peer("peft", "peft", "pip install peft")
SENTENCE_TRANSFORMERS = Peer(
    "sentence-transformers", "sentence-transformers", "pip install sentence-transformers"
)
DIFFUSERS = Peer("diffusers", "diffusers", "pip install diffusers")
NETWORKX = Peer("networkx", "networkx", "pip install networkx")
SKLEARN = Peer("scipy and scikit-learn", "scikit-learn", "pip install scikit-learn")

PEERS = (
    AUTOROUND, LITGPT, RAGELO, FORMALGEO, GROUP_BEAMS, SCISPACY, TRL, FASTER_WHISPER, LLAMA_CPP, MATH_VERIFY,
    TRANSFORMERS, PEFT, SENTENCE_TRANSFORMERS, DIFFUSERS, NETWORKX, SKLEARN,
)  # fmt: skip
