"""The card of idgen."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="idgen",
    purpose="Recommend with textual item ids that a language model writes and reads",
    paper="IDGenRec: LLM-RecSys Alignment with Textual ID Learning",
    arxiv="2403.19021",
    verbs={
        "ids": "Write a short, unique textual id for every item of a catalogue; resumable",
        "train": "Train a recommender that reads histories and writes ids as words",
        "evaluate": "Rank every item for every user, against SASRec, popularity and item-kNN",
        "recommend": "Recommend for a history of item ids or of raw texts of unseen items",
        "zeroshot": "Use a trained recommender on a catalogue that it never saw",
        "check": "Check histories: order of time, leaks, duplicates, sparsity, texts",
    },
    claim=(
        "With the same backbone and data, ids that mean something beat meaningless ids: textual ids "
        "above the same strings shuffled over the items, and above random numbers."
    ),
    data=(
        "a folder with beauty_core/ (sequences.jsonl: user_id, items, oldest first; textual_ids.tsv: "
        "item_id, textual_id) and industrial/ (sequences.jsonl; items.jsonl: item_id, title, brand, "
        "description): --data DIR"
    ),
    figures=(
        ("model", "Sports", "Beauty", "Toys", "Yelp"),
        (
            "IDGenRec",
            ".0429/.0326/.0574/.0372",
            ".0618/.0486/.0814/.0541",
            ".0655/.0481/.0870/.0551",
            ".0468/.0368/.0578/.0404",
        ),
        (
            "TIGER",
            ".0264/.0181/.0400/.0225",
            ".0454/.0321/.0648/.0384",
            ".0521/.0371/.0712/.0432",
            "",
        ),
        ("SASRec, as quoted there", "", ".0387/.0249/.0605/.0318", "", ""),
        ("SASRec, full cross-entropy, others' runs", "", "-/-/about .085/-", "", ""),
        ("IDGenRec, official code, others' runs", "", ".0634/-/.0832/-", "", ""),
    ),
    figures_note=(
        "HR@5/NDCG@5/HR@10/NDCG@10, leave-one-out, every item ranked. In the official data the Sports "
        "and Toys histories are sorted by item code, and user ids hold the test item; without it the "
        "Beauty figures fall."
    ),
)
