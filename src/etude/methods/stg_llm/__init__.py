# ruff: noqa: F401
"""STG-LLM: forecasting on sensor networks with a frozen language model.

Liu, Yu, Wang, Ma, Shen, "How Can Large Language Models Understand Spatial-Temporal Data?", arXiv 2401.14192.
Every node's window of values is one token; a small adapter carries the tokens into a pretrained language
model and back; of the model only positions and norms are trained. Controls that question the model (random
weights, one attention layer, nothing) are arms like any other.

    from etude.methods.stg_llm import train, evaluate, forecast
    train("la.csv", model="smollm2", layers=3, out="runs/la")
    print(evaluate("runs/la", "la.csv", baselines="all"))
    forecast("runs/la", "la.csv", out="next.csv")
"""

from typing import TYPE_CHECKING

from etude.methods import lazy

if TYPE_CHECKING:
    from etude.methods.stg_llm.adapter import STGAdapter
    from etude.methods.stg_llm.conversion import convert
    from etude.methods.stg_llm.evaluation import evaluate
    from etude.methods.stg_llm.forecaster import Settings, STGForecaster, audit, build_forecaster
    from etude.methods.stg_llm.forecasting import forecast
    from etude.methods.stg_llm.panel import SensorPanel
    from etude.methods.stg_llm.panel_reader import read_panel
    from etude.methods.stg_llm.prompts import build_prompt
    from etude.methods.stg_llm.tokenizer import STGTokenizer
    from etude.methods.stg_llm.training import Training, train, train_panel
    from etude.methods.stg_llm.transfer_learning import transfer

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "STGAdapter": "adapter",
        "STGForecaster": "forecaster",
        "STGTokenizer": "tokenizer",
        "SensorPanel": "panel",
        "Settings": "forecaster",
        "Training": "training",
        "audit": "forecaster",
        "build_forecaster": "forecaster",
        "build_prompt": "prompts",
        "convert": "conversion",
        "evaluate": "evaluation",
        "forecast": "forecasting",
        "read_panel": "panel_reader",
        "train": "training",
        "train_panel": "training",
        "transfer": "transfer_learning",
    },
)
