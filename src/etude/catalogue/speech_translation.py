"""The card of speech-translation."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="speech-translation",
    purpose="Join a speech encoder to a language model: any published design as one config",
    paper=(
        "Speech Translation with Speech Foundation Models and Large Language Models: What is There "
        "and What is Missing?"
    ),
    arxiv="2402.12025",
    verbs={
        "presets": "Print the published systems: blocks, tasks, reported scores",
        "build": "Make data from parallel sentences, spoken by espeak-ng (synthetic speech)",
        "train": "Join a speech encoder to a language model by adapters",
        "translate": "Translate recordings of any length",
        "evaluate": "Score a translator or a baseline, beside exchanged audio",
        "compare": "Train and score designs under one setting",
        "show": "A training example token by token, with what is learned",
    },
    claim=(
        "Under one setting: does the length adapter matter, does compression cost, does end-to-end "
        "beat the cascade?"
    ),
    data=(
        "fsdd_segments.csv and recordings of the Free Spoken Digit Dataset (CC BY-SA 4.0), joined per "
        "speaker: --data DIR"
    ),
    figures=(
        ("what 2409.17044 reports (7B models, 5 directions)", "figure"),
        ("changing the speech model", "more than 2 COMET and about 1 WER on average"),
        ("changing the language model", "under 0.2 COMET"),
        ("the best length adapter", "none wins everywhere; none and wlq are competitive"),
        ("ctc and cif", "behind the others throughout"),
        ("mean compression, Whisper features", "cif 25:1, wlq 16:1, ctc 13:1"),
        ("mean compression, Seamless features", "cif 3:1, ctc 2:1, wlq 2:1"),
    ),
    figures_note=(
        "The survey itself (2402.12025) reports no new scores; scores of single systems are in "
        "`etude speech-translation presets`."
    ),
)
