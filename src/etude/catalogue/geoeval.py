"""The card of geoeval."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="geoeval",
    purpose="Evaluate models on geometry problems that are certified solvable and unique; build new ones",
    paper="GeoEval: Benchmark for Evaluating LLMs and Multi-Modal Models on Geometry Problem-Solving",
    arxiv="2402.10104",
    verbs={
        "build": "Build backward problems, rewordings or pictures, each certified solvable and unique",
        "solve": "Solve problems from their facts, with a certificate or by forward chaining",
        "check": "Compare two answers: numbers, expressions, coordinates, choices, LaTeX",
        "run": "Ask models or solvers about problems; a killed run goes on where it stopped",
        "score": "Check the answers of a run against the gold answers",
        "report": "Accuracy by subset, source and difficulty, with paired tests, as one page",
        "render": "Draw problems from their facts as SVG or PNG",
    },
    claim="Backward problems are harder because they must be inverted, not because they are broken.",
    data="problems.jsonl with facts and answers: --data DIR",
    figures=(
        ("model", "main (diagram/text)", "backward", "aug", "hard"),
        ("CodeGen2-16B", "28.76/22.06", "5.10", "8.50", "5.66"),
        ("GPT-3.5", "24.71/21.27", "22.66", "41.25", "22.33"),
        ("GPT-4", "27.95/43.86", "26.00", "45.75", "10.10"),
        ("WizardMath-70B", "55.67/34.20", "28.66", "37.75", "6.00"),
        ("WizardMath-7B-V1.1", "54.78/32.76", "32.66", "47.75", "6.00"),
        ("llava-7B-V1.5", "12.80/21.01", "11.33", "20.25", "20.30"),
        ("Qwen-VL", "25.60/25.97", "5.66", "22.25", "21.66"),
        ("mPLUG-Owl2", "37.76/-", "35.33", "38.00", "22.66"),
        ("InstructBLIP (image required)", "52.18/-", "15.66", "35.00", "70.30"),
        ("GPT-4V (with diagram)", "37.22/43.86", "26.00", "45.75", "10.10"),
    ),
    figures_note=(
        "Accuracy in %. Backward and hard figures are multiples of 1/300, aug ones of 1/400: samples. "
        "GPT-4V repeats GPT-4 in three columns. The released scorer accepts every too low number."
    ),
)
