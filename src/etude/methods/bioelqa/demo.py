"""One visible use: a linker trained on sixteen short texts of our own, on mentions it has never seen."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from etude.methods.bioelqa.feature_selector import FeatureSelector
from etude.methods.bioelqa.linker import BioELQA
from etude.methods.bioelqa.mentions import corpus_rows
from etude.methods.bioelqa.pubtator import read_pubtator
from etude.methods.bioelqa.scoring import judge
from etude.methods.bioelqa.vocabulary import Vocabulary
from etude.methods.bioelqa.wording import question_text
from etude.render import Code, Demo, TableBlock, Text


def sample(name: str) -> Path:
    """A file of the packaged sample: `vocabulary.tsv`, `train.pubtator`, `test.pubtator`."""
    return Path(str(files("etude.methods.bioelqa") / "samples" / name))


def demo(out: Path) -> Demo:
    """Train on sixteen texts and link the mentions of five others.

    Args:
        out: Folder for checkpoints.
    """
    vocabulary = Vocabulary.from_tsv(sample("vocabulary.tsv"))
    train, test = read_pubtator(sample("train.pubtator")), read_pubtator(sample("test.pubtator"))
    linker = BioELQA(selector=FeatureSelector(epochs=6), n_options=5, n_clues=3)
    linker.fit(train, vocabulary, out=out / "checkpoints")
    texts = {document.id: document.text for document in test}
    rows = list(corpus_rows(test))
    judged = judge(linker, rows, texts)
    links = linker.link_rows(rows, texts)

    def named(ids: tuple[str, ...]) -> str:
        return " + ".join(vocabulary[id].name for id in ids) or "–"

    table = [
        (
            one.row.mention,
            named(one.gold),
            named(one.first),
            named(one.linked),
            link.score,
            "; ".join(f"{clue.mention} → {clue.name}" for clue in link.clues[:2]),
        )
        for one, link in zip(judged, links, strict=True)
    ]
    right = sum(set(one.linked) == set(one.gold) for one in judged)
    first = sum(set(one.first) == set(one.gold) for one in judged)
    shown = linker.questions([judged[0].names[0]])[0]
    return Demo(
        headline=(
            f"Of {len(judged)} mentions in new texts the linker gets {right} right, its retriever's first "
            f"choice {first}; {len(vocabulary)} ids, {len(linker.base.cases if linker.base else ())} cases."
        ),
        went_in=[
            Text("A mention becomes a question with lettered options and the most similar solved cases:"),
            Code(question_text(shown)),
        ],
        came_out=[
            TableBlock(
                ("mention", "gold", "retriever", "linker", "score", "nearest solved cases"),
                table,
                "Vocabulary, texts and gold are our own; ketoacidosis is not in the vocabulary",
            )
        ],
        meaning=(
            "Any vocabulary can be linked to, with a score to threshold and the cases behind each choice. "
            "Whether the choice beats the retriever is for `evaluate` to say, slice by slice."
        ),
    )
