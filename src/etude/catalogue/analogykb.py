"""The card of analogykb."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="analogykb",
    purpose="Mine analogies from a knowledge graph; make tests and training sets from them",
    paper=(
        "ANALOGYKB: Unlocking Analogical Reasoning of Language Models with A Million-scale Knowledge Base"
    ),
    arxiv="2305.05994",
    verbs={
        "mine": "Mine a graph: the best-known pairs of every relation that has structure",
        "relate": "Find analogous relations with a language model and two filters",
        "review": "Let people accept them, with kappa; audit mined analogies",
        "questions": "Make recognition or generation sets without the tests' pairs",
        "train": "Train a scorer on mined questions",
        "evaluate": "Measure a scorer or a chat model on analogy tests, by group",
        "query": "Find pairs that are to each other as two words are",
        "browse": "Write the HTML page of a knowledge base",
    },
    claim=(
        "A model trained on mined analogies recognizes analogies better, because of the graph's relations."
    ),
    data="triples.parquet and google_, bats_ _a.jsonl and _valid.jsonl (analogy questions): --data DIR",
    figures=(
        ("source", "term pairs", "relations", "human accuracy"),
        ("same relation, ConceptNet", "75,019", "27", "98.5 %"),
        ("same relation, Wikidata", "563,024", "813", "98.0 %"),
        ("analogous relations, ConceptNet", "11,829", "5", "95.5 %"),
        ("analogous relations, Wikidata", "382,168", "98", "96.0 %"),
        ("total", "1,032,040", "943", "97.0 %"),
    ),
    figures_note=(
        "The knowledge base of the paper. Recognition accuracy that a public index gives for its "
        "best model "
        "(not named): SAT 60.78, U2 88.32, U4 76.15, Google 98.80, BATS 92.42; Hit@k of "
        "generation: E-KAR 75, "
        "U4 92, BATS 96."
    ),
)
