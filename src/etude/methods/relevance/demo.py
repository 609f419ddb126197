"""One visible use: five documents of our own for one query, graded by a small model, then by MiniLM."""

from __future__ import annotations

from pathlib import Path

from etude.data import write_records
from etude.methods.relevance.agreement import auc
from etude.methods.relevance.answers import parse_label
from etude.methods.relevance.labels import read_labels
from etude.methods.relevance.making import label
from etude.methods.relevance.score_labellers import EncoderScorer
from etude.methods.relevance.trials import make_pairs
from etude.methods.relevance.wording import RelevancePrompt
from etude.render import Code, Demo, TableBlock, Text

MODEL = "smollm2"
QUERY = "how to keep sourdough starter alive"
DOCUMENTS = (
    (
        "feeding",
        2,
        "Feed a sourdough starter with equal weights of flour and water once a day, or once a week if it "
        "stays in the refrigerator. Throw half away first, and stir until no dry flour is left.",
    ),
    (
        "revival",
        2,
        "A neglected starter with gray liquid on top is seldom dead. Pour the liquid off, keep a spoonful, "
        "and feed it twice a day in a warm place until it rises again.",
    ),
    (
        "history",
        1,
        "Bakers have raised bread with sourdough for thousands of years; many bakeries keep one starter for "
        "generations and pass it on.",
    ),
    ("yeast", 0, "Instant yeast is sold in small packets and can be mixed straight into a cake's flour."),
    ("tires", 0, "Check the pressure of your bicycle tires once a month, and before every long ride."),
)
TRAPS = (
    '{"M": 2, "T": 1, "O": 2}',
    "The O grade is from 0 to 2.",
    "I'm sorry, I cannot judge this.",
    '{"O": 7}',
)


def demo(out: Path) -> Demo:
    """Grade five documents by log-probability with SmolLM2 and by cosine with MiniLM, against our own gold.

    Args:
        out: Folder for the files.
    """
    out.mkdir(parents=True, exist_ok=True)
    docs, topics, gold = out / "docs.jsonl", out / "topics.jsonl", out / "gold.qrels"
    write_records(docs, [{"docid": name, "title": "", "text": text} for name, _, text in DOCUMENTS])
    write_records(topics, [{"qid": "q1", "query": QUERY}])
    gold.write_text("".join(f"q1 0 {name} {grade}\n" for name, grade, _ in DOCUMENTS), encoding="utf-8")
    made = label(
        docs=docs, topics=topics, pairs=gold, model=MODEL, mode="logprob", out=out / f"{MODEL}.qrels"
    )
    by_id = {one.docid: one for one in read_labels(Path(made.records))}
    judged = {("q1", name): grade for name, grade, _ in DOCUMENTS}
    texts = {name: text for name, _, text in DOCUMENTS}
    pairs = make_pairs(judged, texts, topics)
    cosines = dict(zip((p.docid for p in pairs), EncoderScorer().scores(pairs).tolist(), strict=True))
    grades = [grade for _, grade, _ in DOCUMENTS]
    small = auc(grades, [by_id[name].score or 0.0 for name, *_ in DOCUMENTS])
    encoder = auc(grades, [cosines[name] for name, *_ in DOCUMENTS])
    rows = [
        (name, grade, by_id[name].O, by_id[name].score, cosines[name], text[:60] + "…")
        for name, grade, text in DOCUMENTS
    ]
    prompt = RelevancePrompt("---A-")
    traps = [(text, parsed.status, parsed.O) for text in TRAPS for parsed in [parse_label(text)]]
    return Demo(
        headline=(
            f"On five documents MiniLM prefers the better of two in {encoder:.0%} of the cases, "
            f"SmolLM2-135M in {small:.0%}: agreement with gold decides who may label."
        ),
        went_in=[
            Text(f"The query: {QUERY}. A prompt of the grammar (variant ---A-), for the first document:"),
            Code(prompt.render(QUERY, DOCUMENTS[0][2])),
        ],
        came_out=[
            TableBlock(
                ("document", "gold", "SmolLM2 grade", "its expected grade", "MiniLM cosine", "text"),
                rows,
                "The gold and the documents are our own",
            ),
            TableBlock(
                ("an answer", "status", "grade"), traps, "How answers are read: none is 0 by accident"
            ),
        ],
        meaning=(
            "A model may grade search results only where it was checked against people. A few gold labels "
            "tell a judge from a guesser, and an answer that says no grade is counted, not scored."
        ),
    )
