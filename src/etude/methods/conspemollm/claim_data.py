"""What the claim is measured on: the user's LOCO if it is there, else our synthetic articles; and EmoBank."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from etude.errors import EtudeError
from etude.methods.conspemollm.builder import ConDIDBuilder
from etude.methods.conspemollm.emobank import HOW_TO_GET, EmoBank, emobank_in, read_emobank
from etude.methods.conspemollm.examples import Example
from etude.methods.conspemollm.synthetic import synthetic_builder
from etude.runs import file_hash

MOST_WORDS = 400


@dataclass(frozen=True)
class ClaimData:
    """The claim's data.

    Args:
        emobank: EmoBank's file.
        sentences: EmoBank by split.
        articles: LOCO's judgment examples, or the synthetic ones.
        real: Whether they are LOCO's.
        hashes: Of the files.
    """

    emobank: Path
    sentences: dict[str, EmoBank]
    articles: tuple[Example, ...]
    real: bool
    hashes: dict[str, str]


def read_claim_data(folder: Path | None, most_articles: int | None) -> ClaimData:
    """Read a claim's data folder: `emobank*.csv`, and if there, `LOCO.json` with `annotations*`.

    Articles are cut at 400 words, as in the public replication.

    Raises:
        EtudeError: EmoBank is missing, or LOCO lacks its annotations.
    """
    emobank = emobank_in(folder)
    if folder is None or emobank is None:
        raise EtudeError(
            f"{folder or 'no --data folder'}: this claim needs emobank*.csv",
            f"{HOW_TO_GET} For detection add your own LOCO.json and annotations*.csv (https://osf.io/snpcg).",
        )
    loco = folder / "LOCO.json"
    files = [emobank]
    if loco.is_file():
        annotations = sorted([*folder.glob("annotations*.csv"), *folder.glob("annotations*.xlsx")])
        if not annotations:
            raise EtudeError(
                f"{folder}: LOCO.json without annotations*.csv", "Put LOCO's annotation table beside it."
            )
        files += [loco, annotations[0]]
        made = ConDIDBuilder().from_loco(loco, annotations[0]).examples(dev=0, test=0)
    else:
        made = synthetic_builder().examples(dev=0, test=0)
    articles = [_cut(one) for one in made if one.task == "judgment"]
    return ClaimData(
        emobank,
        read_emobank(emobank),
        tuple(articles if most_articles is None else _spread(articles, most_articles)),
        loco.is_file(),
        {file.name: file_hash(file) for file in files},
    )


def _cut(example: Example) -> Example:
    words = example.input.split()
    return example.model_copy(update={"input": " ".join(words[:MOST_WORDS])})


def _spread(articles: list[Example], count: int) -> list[Example]:
    """At most `count` articles, taken evenly over the file."""
    if len(articles) <= count:
        return articles
    return [articles[at * len(articles) // count] for at in range(count)]
