"""Demo: a small shop gets ids in words, learns from its users, and recommends after a raw text."""

from __future__ import annotations

import random
from pathlib import Path

from etude.data import write_records
from etude.methods.idgen.evaluation import evaluate
from etude.methods.idgen.recommending import recommend
from etude.methods.idgen.textual_ids import read_ids
from etude.methods.idgen.training_runs import train
from etude.render import Demo, TableBlock, Text

SHOP = {
    "camping": ("tent", "stove", "lantern", "mattress", "hammock", "kettle", "compass", "rope"),
    "painting": ("easel", "canvas", "brush", "palette", "varnish", "apron", "charcoal", "frame"),
    "baking": ("whisk", "tin", "sieve", "scale", "spatula", "cutter", "bowl", "thermometer"),
    "cycling": ("pump", "helmet", "saddle", "chain", "lock", "bottle", "bell", "glove"),
    "fishing": ("rod", "reel", "hook", "float", "net", "line", "lure", "wader"),
    "gardening": ("spade", "rake", "hose", "trowel", "shears", "bucket", "seeds", "hoe"),
}
"""Hobbies and their things: a made-up catalogue of ours."""
UNSEEN = "folding chair for camping"
_USERS, _EVENTS = 160, 7


def demo(out: Path) -> Demo:
    """Train with ids in words and with the same ids shuffled, and recommend.

    Args:
        out: Folder for the catalogue, the histories and the two runs.
    """
    sequences, items = _write_shop(out)
    found = {}
    for scheme in ("textual", "shuffled"):
        train(sequences, items=items, scheme=scheme, epochs=8, learning_rate=1e-2, out=out / scheme)
        found[scheme] = evaluate(out / scheme, against="pop" if scheme == "textual" else "none", k="5,10")
    ids = read_ids(next((out / "textual").glob("ids-*.tsv")))
    history = ["camping-tent", "camping-rope"]
    known = recommend(out / "textual", history=",".join(history), k=5, filter_seen=True)
    unseen = recommend(out / "textual", history=UNSEEN, k=5)
    arms = [
        ("textual ids", found["textual"].arms["idgen"]),
        ("the same ids, shuffled over the items", found["shuffled"].arms["idgen"]),
        ("popularity", found["textual"].arms["pop"]),
    ]
    textual, shuffled = (arm["HR@5"] for _, arm in arms[:2])
    return Demo(
        headline=f"HR@5 is {textual:.2f} with ids that mean something and {shuffled:.2f} with the same ids "
        "on the wrong items",
        went_in=[
            Text(
                f"A made-up shop: {len(ids)} items of {len(SHOP)} hobbies, {_USERS} users who stay with one "
                f"hobby for {_EVENTS} events. Items got ids of their own telling words:"
            ),
            TableBlock(("item", "textual id"), list(ids.items())[::7], "Some items"),
        ],
        came_out=[
            TableBlock(
                ("after " + ", ".join(history), "textual id", "log-probability"),
                [(one.item_id, one.textual_id, one.logprob) for one in known.lists[0].items],
                "Recommended for a history",
            ),
            TableBlock(
                (f"after the raw text {UNSEEN!r}", "textual id", "log-probability"),
                [(one.item_id, one.textual_id, one.logprob) for one in unseen.lists[0].items],
                f"Recommended after an item that the shop does not have, read as {unseen.read_as[UNSEEN]!r}",
            ),
            TableBlock(
                ("last item of each user", "HR@5", "HR@10", "NDCG@10"),
                [(name, arm["HR@5"], arm["HR@10"], arm["NDCG@10"]) for name, arm in arms],
                "Leave-one-out, all items ranked",
            ),
        ],
        meaning="A language model of 2 layers, trained here, reads a history as ids and writes the next one, "
        "inside the tree of all ids. Words that items share carry what is learned about one to the other; "
        "shuffled, the strings are the same and that help is gone.",
    )


def _write_shop(out: Path) -> tuple[Path, Path]:
    generator = random.Random(0)
    items = [
        {"item_id": f"{hobby}-{thing}", "title": f"{thing} for {hobby}"}
        for hobby, things in SHOP.items()
        for thing in things
    ]
    histories = []
    for user in range(_USERS):
        hobby = generator.choice(list(SHOP))
        chosen = generator.sample(SHOP[hobby], _EVENTS)
        histories.append({"user_id": f"user-{user:03d}", "items": [f"{hobby}-{thing}" for thing in chosen]})
    write_records(out / "items.jsonl", items)
    write_records(out / "sequences.jsonl", histories)
    return out / "sequences.jsonl", out / "items.jsonl"
