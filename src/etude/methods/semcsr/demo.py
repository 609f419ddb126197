"""One visible use: six sentences of our own, what a small model writes for them, and an encoder from it."""

from __future__ import annotations

from pathlib import Path

from etude.methods.semcsr.generation import TripleGenerator
from etude.methods.semcsr.similarity_scorers import EmbedScorer
from etude.methods.semcsr.sts import unit_vectors
from etude.methods.semcsr.training import TrainConfig, fit_encoder, open_configured
from etude.methods.semcsr.triple_audit import audit_triples
from etude.methods.semcsr.triples import write_triples
from etude.render import Code, Demo, TableBlock, Text

MODEL = "smollm2"
SENTENCES = (
    "A courier leaves a parcel at the back door.",
    "Two children feed ducks at the pond.",
    "The baker takes fresh bread out of the oven.",
    "A woman is repairing her bicycle in the yard.",
    "An old man reads a newspaper on the bench.",
    "The train to the coast is twenty minutes late.",
)
PROBES = (
    ("A courier leaves a parcel at the back door.", "A delivery man puts a package behind the house."),
    ("A courier leaves a parcel at the back door.", "The train to the coast is twenty minutes late."),
)


def demo(out: Path) -> Demo:
    """Write triples with contrastive generation, grade them with MiniLM, train a static encoder.

    Args:
        out: Folder for the files.
    """
    generator = TripleGenerator(MODEL, "nli-4shot", omega=0.3, max_tokens=32)
    triples = [one for one in generator.generate(SENTENCES) if one.status == "ok" and one.hard_neg]
    scorer = EmbedScorer()
    positive = scorer.score([(t.sent0, t.sent1) for t in triples])
    negative = scorer.score([(t.sent0, t.hard_neg) for t in triples])
    scored = [
        one.model_copy(update={"positive_score": a, "negative_score": b})
        for one, a, b in zip(triples, positive, negative, strict=True)
    ]
    write_triples(out / "triples.csv", scored)
    config = TrainConfig(kind="static", steps=30, batch_size=min(4, len(triples)), seed=0)
    encoder = open_configured(MODEL, list(SENTENCES), config, out)
    before = encoder.plain()
    after = fit_encoder(encoder, triples, config).model
    after.save(str(out / "model"), create_model_card=False)
    rows = []
    for one, other in PROBES:
        cosines = []
        for model in (before, after):
            first, second = unit_vectors(model.encode([one, other], show_progress_bar=False))
            cosines.append(float(first @ second))
        rows.append((one, other, *cosines))
    found = audit_triples(scored)
    return Demo(
        headline=(
            f"SmolLM2-135M wrote a positive and a hard negative for {len(triples)} of {len(SENTENCES)} "
            "sentences; "
            f"{found.positive_copies:.0%} of its positives are copies."
        ),
        went_in=[Text("Sentences of our own, one a line:"), Code("\n".join(SENTENCES))],
        came_out=[
            TableBlock(
                ("sentence", "must be true", "MiniLM", "contradicts", "MiniLM"),
                [(t.sent0, t.sent1, t.positive_score, t.hard_neg, t.negative_score) for t in scored],
                "Contrastive generation, omega 0.3; similarity 0 to 5",
            ),
            TableBlock(
                ("sentence", "another one", "cosine before", "after 30 steps"),
                rows,
                "A static encoder made of SmolLM2's token embeddings",
            ),
        ],
        meaning=(
            "Written pairs tell an encoder what must stay the same and what must not. Whether they help is "
            "measured against dropout alone on the same sentences: etude claim semcsr."
        ),
    )
