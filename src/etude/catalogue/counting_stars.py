"""The card of counting-stars."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="counting-stars",
    purpose="Test whether a model collects every fact from a long text: length x evidence heat maps",
    paper=(
        "Counting-Stars: A Multi-evidence, Position-aware, and Scalable Benchmark for Evaluating "
        "Long-Context LLMs"
    ),
    arxiv="2403.11802",
    verbs={
        "build": "Build the cells of a grid: which stars lie where in which text",
        "run": "Ask a model about every cell; resumable",
        "score": "Score the answers by the published rule or ours",
        "report": "Heat maps, depth curves and tables as a page",
        "check": "Self-test with instruments of known quality",
    },
    claim=("The benchmark measures what it says: models of known quality get exactly the score they should."),
    data=(
        "a folder with the haystacks and official_star_counts.json (the embedded excerpts serve otherwise)"
    ),
    figures=(
        ("model", "search ZH", "search EN", "reason ZH", "reason EN", "average"),
        ("Gemini 1.5 Pro", ".775", ".833", ".575", ".371", ".639"),
        ("GPT-4 Turbo 1106", ".697", ".718", ".473", ".651", ".635"),
        ("Claude 3 Opus", ".807", ".705", ".488", ".374", ".594"),
        ("GPT-4 Turbo 0125", ".663", ".662", ".386", ".610", ".580"),
        ("Moonshot-v1 200K", ".606", ".559", ".344", ".460", ".492"),
        ("GLM-4 128K", ".682", ".389", ".475", ".179", ".431"),
    ),
    figures_note=(
        "128K tokens, 32 stars, 32 lengths; the published counts, which are the same in every prompt."
    ),
)
