"""The card of pipenet."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="pipenet",
    purpose="Answer multiple-choice questions over a knowledge graph pruned by syntax",
    paper="PipeNet: Question Answering with Semantic Pruning over Knowledge Graphs",
    arxiv="2401.17536",
    verbs={
        "build-kg": "Turn triples (ConceptNet, Parquet, TSV) into a memory-mapped concept graph",
        "parse": "Store dependency trees, to ground where the parser is not installed",
        "ground": "Find concepts and bridges of every question and choice; resumes after a kill",
        "prune": "Remove a share of the bridges: by dependency, random, farthest, embedding, degree",
        "train": "Train the graph attention network with a frozen or a tuned encoder; resumes exactly",
        "predict": "Answer questions: a probability for every choice",
        "evaluate": "Accuracy of a trained network beside a structural scorer and chance",
        "explain": "A page about one answer: kept and pruned concepts, attention, triples for a prompt",
        "sweep": "Size, cost and accuracy for every criterion at every pruning rate",
    },
    claim=(
        "Pruning grounded subgraphs by dependency distance saves most of the cost and keeps the accuracy."
    ),
    data=(
        "a folder with csqa_train.jsonl, csqa_dev_a.jsonl (id, question, choices, answer) and kg.parquet "
        "(head, rel, tail) or ConceptNet's assertions: --data DIR"
    ),
    figures=(
        ("what the paper reports", "the paper's figure"),
        ("accuracy on CommonsenseQA, in-house split, and OpenBookQA beside ten baselines", "not at hand"),
        ("accuracy against the prune rate, 2 and 3 hops", "not at hand"),
        ("memory and time of a batch against the prune rate", "about 40 % lower, by an index"),
        ("accuracy of pruning by dependency and at random", "not at hand"),
    ),
    figures_note=(
        "The tables of the paper were not at hand; their figures are left out rather than guessed. For "
        "orientation, QA-GNN's paper has 68.7 for RoBERTa-large and 73.4 for QA-GNN on CommonsenseQA's "
        "in-house test."
    ),
)
