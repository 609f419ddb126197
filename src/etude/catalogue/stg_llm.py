"""The card of stg-llm."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="stg-llm",
    purpose="Forecast a sensor network with a frozen language model, and learn whether the model helps",
    paper="How Can Large Language Models Understand Spatial-Temporal Data?",
    arxiv="2401.14192",
    verbs={
        "train": "Train on a table time x node",
        "forecast": "Forecast the next steps of every node, with plots",
        "evaluate": "Errors against baselines on the same windows",
        "transfer": "Tune a trained model on a new network with few samples",
        "convert": "Turn PEMS, METR-LA and long tables into a panel",
    },
    claim=(
        "(A) STG-LLM beats persistence, averages, ridge and VAR; (B) the pretrained language model "
        "beats a random one."
    ),
    data="metr_la_week_speed.csv, irish_wind_knots.csv, exchange_rate.csv: --data DIR",
    figures=(
        ("data", "STG-LLM MAE / RMSE / MAPE", "compared with"),
        ("PEMS04", "18.14 / - / -", "PDFormer 18.31"),
        ("PEMS07", "19.82 / 33.06 / 8.51 %", "PDFormer 19.83 / 32.87 / 8.53 %"),
        ("PEMS08", "13.78 / - / -", "PDFormer 13.58"),
        ("Electricity", "214.11 (MAE)", "GraphWaveNet 233.72, AGCRN 224.75, STNorm 239.85"),
        ("PEMS04, adapter removed", "19.41", "full 18.14"),
        ("PEMS04, positions removed", "20.51", "full 18.14"),
        ("PEMS04, LM removed", "21.94", "full 18.14"),
        ("PEMS04, tokenizer replaced by patches", "26.91", "full 18.14"),
    ),
    figures_note="MAE in the data's units; cells that were not found are empty.",
)
