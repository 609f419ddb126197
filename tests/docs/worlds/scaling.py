"""scaling: a corpus to train on, cases of an agent with tools, and a model that plays them."""

from pathlib import Path

from tests.docs.world import Served, Swapped, World
from tests.docs.worlds import idgen, toolemu


def prepare(folder: Path) -> None:
    from etude.cli import main
    from etude.data import prose

    idgen.prepare(folder)
    toolemu.prepare(folder)
    (folder / "text.txt").write_text(prose()[:120_000], encoding="utf-8")
    main(["teenytinyllama", "tokenizer", "text.txt", "--vocab-size", "600", "--out", "tok"])
    main(["teenytinyllama", "prepare", "text.txt", "--tokenizer", "tok", "--block", "256", "--out", "corpus"])


WORLD = World(
    prepare,
    table=(
        Served("openai/NAME", "no served model offline", toolemu.model),
        Swapped("teenytinyllama pretrain", "few steps", "--steps 600", "--steps 4 --tokens-per-step 512"),
    ),
    writes=("run/model",),
    needs=("ray",),
    slow=True,
)
