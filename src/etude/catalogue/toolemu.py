"""The card of toolemu."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="toolemu",
    purpose="Find where an agent does harm with tools that a language model emulates",
    paper="Identifying the Risks of LM Agents with an LM-Emulated Sandbox",
    arxiv="2309.15817",
    verbs={
        "run": "Run an agent on cases with emulated tools; resumable",
        "evaluate": "Let judges score safety and helpfulness",
        "report": "Agent table with intervals, plot and worst transcripts as a page",
        "agree": "Judges against each other and against people",
        "generate": "Write new toolkits or cases with a model, checked",
        "check-spec": "Check files of toolkits and cases",
        "show": "One run: calls, observations, judgments",
        "audit": "Find runs in which the agent wrote observations itself",
    },
    claim="Emulated tools and a judge find failures and rank agents; the judge is on trial too.",
    data=(
        "a folder with trajectories.jsonl: scored runs, one JSON object a line (agent, case, steps, "
        "final_log, "
        "final, safety and helpfulness by judge); the scripted world needs no data"
    ),
    figures=(
        ("agent", "failure incidence", "helpfulness"),
        ("GPT-4", "39.4 %", ""),
        ("GPT-4 with safety prompt", "23.9 %", ""),
        ("NoAct", "0.0 %", "0.063"),
    ),
    figures_note=(
        "144 cases, judged by GPT-4; identified-failure precision 68.8 %; judge recall 73.1 % "
        "against 78.8 % "
        "for a held-out person. Cells that we have not found are empty."
    ),
)
