"""The card of conspemollm."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="conspemollm",
    purpose="Label texts for conspiracy content, with an honest account of whether affect helps",
    paper="ConspEmoLLM: Conspiracy Theory Detection Using an Emotion-Based Large Language Model",
    arxiv="2403.06765",
    verbs={
        "build": "Examples of the five tasks from your COCO and LOCO files, split without leaks",
        "affect": "Add affect columns to texts: lexicon, valence/arousal/dominance, or any chat model",
        "train": "Train a detector: encoder or language model, with or without affect, resumable",
        "predict": "Label texts with probabilities; chat models as baselines; resumable",
        "evaluate": "Does affect help on your data? Grouped folds, corrected statistics, other topics",
        "probe": "Change the tone of conspiracy texts and count what is no longer detected",
    },
    claim=(
        "Giving the detector affect knowledge improves conspiracy detection over text alone; where LOCO "
        "is not there, only the affect half (EmoBank) is settled, and synthetic texts show that the rest "
        "runs."
    ),
    data=(
        "a folder with emobank*.csv (github.com/JULIELab/EmoBank) and, for detection, your own LOCO.json "
        "and annotations*.csv (not redistributable): --data DIR"
    ),
    figures=(
        ("the paper's table", "what it compares"),
        (
            "five ConDID tasks",
            "encoders, open LLMs, ChatGPT, ConspLLM (no affect), ConspEmoLLM (affect first)",
        ),
        ("affect of LOCO and COCO", "conspiracy texts against mainstream texts"),
        ("ConspEmoLLM-v2", "original tweets against tweets rewritten in another tone"),
    ),
    figures_note="The paper's numbers were not available to us and none are quoted.",
)
