"""The card of self-explanations."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="self-explanations",
    purpose="Check whether a model's explanations of its own answers are faithful",
    paper="Are self-explanations from Large Language Models faithful?",
    arxiv="2401.07927",
    verbs={
        "run": "Ask a model to classify, to explain, and to classify the explanation; resumable",
        "report": "Rates with intervals, random control, Delta, flips, as a page",
        "show": "The three chats about one observation, side by side",
        "validate": "Self-test with models of known faithfulness",
    },
    claim=("The check measures faithfulness: instruments of known faithfulness get the value they should."),
    data=(
        "a folder with sentence_polarity.jsonl (id, text, label), positive-words.txt and "
        "negative-words.txt (NLTK's sentence_polarity and opinion_lexicon); for --scale paper also "
        "movie_reviews.jsonl, rte3_dev.jsonl and mctest/"
    ),
    figures=(
        ("model, data", "most faithful explanation"),
        ("Llama2, sentiment (IMDB)", "counterfactual"),
        ("Mistral-7B, sentiment (IMDB)", "feature attribution"),
        ("Falcon-40B, sentiment (IMDB)", "redaction"),
        ("Llama2-70B, bAbI-1 and RTE", "feature attribution above counterfactual"),
        ("Llama2-70B, prompt variants", "hardly any difference"),
    ),
    figures_note="The paper gives its rates as points in figures; these are the orderings it states.",
)
