"""semcsr: sixteen sentences of a delivery service, and a few pairs with scores."""

from pathlib import Path
from typing import Any

from tests.docs.world import World, write

WHO = ("The delivery driver", "Our neighbor", "The cook", "A tourist")
DID = (
    "lost the keys this morning",
    "called the support line this morning",
    "repaired an old bicycle",
    "waited for the last bus",
)
PAIRS = (
    ("A woman is reading a letter.", "A woman reads a letter.", 4.8),
    ("The shop is closed on Sunday.", "On Sundays the shop does not open.", 4.5),
    ("Two boys play chess.", "Two children play a board game.", 3.4),
    ("A cat sits on the wall.", "A dog lies under the table.", 1.6),
    ("The train was late.", "She bought three apples.", 0.1),
    ("He paints the fence.", "The fence is being painted.", 4.2),
)


def prepare(folder: Path) -> None:
    sentences = [f"{who} {did}." for who in WHO for did in DID]
    rows = [f'{score},"{one}","{other}"' for one, other, score in PAIRS]
    write(folder, sentences_txt="\n".join(sentences) + "\n")
    write(folder, dev_csv="\n".join(["score,sentence1,sentence2", *rows]) + "\n")


def names(folder: Path) -> dict[str, Any]:
    """The encoder that the commands trained, four pairs with their numbers, and the vectors of both sides."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer("model", device="cpu")
    one, other = [pair[0] for pair in PAIRS[:4]], [pair[1] for pair in PAIRS[:4]]
    dataset = Dataset.from_dict({"anchor": one, "positive": other, "label": [0, 1, 2, 3]})
    return {"model": model, "dataset": dataset, "vectors": [model.encode(one), model.encode(other)]}


WORLD = World(
    prepare, names=names, writes=("curate.html",), embedded=("smollm2", "minilm"), slow=True
)  # smollm2 itself: the thresholds of the page need sentences, not random words
