"""The card of semcsr."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="semcsr",
    purpose="Train a sentence encoder for your domain from pairs that a language model writes and grades",
    paper="Semantic-Aware Contrastive Sentence Representation Learning with Large Language Models",
    arxiv="2310.10962",
    verbs={
        "generate": "Write a positive and a hard negative for each sentence",
        "score": "Grade the similarity of both to their sentence, 0 to 5",
        "curate": "Keep the triples whose grades fit, with reasons and an audit",
        "train": "Train an encoder; writes a sentence-transformers folder",
        "evaluate": "Correlation with human similarity, transfer tasks, differences with intervals",
        "run": "All stages in one folder, with a page",
    },
    claim=(
        "On the same sentences, LLM-written and self-curated pairs beat dropout-only SimCSE, and each"
        " stage adds."
    ),
    data="stsb_train.csv, stsb_dev.csv and triples_smollm2.jsonl or sentences.txt: --data DIR",
    figures=(
        ("encoder", "STS average"),
        ("unsupervised SimCSE, BERT-base", "76.25"),
        ("supervised SimCSE, BERT-base", "81.57"),
        ("unsupervised SimCSE, RoBERTa-base", "76.57"),
        ("supervised SimCSE, RoBERTa-base", "82.52"),
    ),
)
