"""The card of word-sensitivity."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="word-sensitivity",
    purpose="Measure how far one word can move a layer's output, and how that scales with length",
    paper="Towards Understanding the Word Sensitivity of Attention Layers: A Study via Random Features",
    arxiv="2402.02969",
    verbs={
        "curve": "Draw sensitivity along n, d, k or depth for random maps, with its exponent",
        "measure": "Measure the layers and heads of a transformer under real words or the worst vector",
        "words": "Shade each word of a text by how far it moves a layer; name the worst replacement",
        "modify": "Test whether a learner on these features sees that one word was changed",
    },
    claim=(
        "Random features forget a word as 1/sqrt(n); attention features do not: RF's exponent lies in "
        "[-0.6, -0.4], RAF's above -0.15, and they differ by more than 0.3."
    ),
    data="movie_reviews_700x2.jsonl (id, label, text of 256 tokens or more): --data DIR",
    figures=(
        ("quantity", "theorem", "setting of the published scripts"),
        ("RF sensitivity against n", "O(1/sqrt(n))", "n 90 to 150, d 192, 384, 768, k = D"),
        ("DRF sensitivity against n", "O(C^L/sqrt(n))", "n 50 to 80, d 768, L 2, 4, 8, k = D"),
        ("RAF sensitivity against n", "Omega(1) for d large against n", "n 10 to 250, d 192, 384, 768"),
        ("ReLU-RAF sensitivity against n", "the proof needs softmax", "n 10 to 250, d 192, 384, 768"),
        ("context modification, RF", "Err >= (2 - gamma)^2", "n 40, d 768, N 1100 to 1300"),
        ("context modification, RAF", "Err can reach 0", "n 40 and 120, d 768, N 1100 to 1300"),
    ),
    figures_note="BERT-Base embeddings of IMDb reviews; the paper shows curves, not tables of numbers.",
)
