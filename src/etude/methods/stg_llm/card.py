"""The method's card for the catalogue."""

from etude.methods import Card

CARD = Card(
    name="stg-llm",
    title="How Can Large Language Models Understand Spatial-Temporal Data?",
    arxiv="2401.14192",
    purpose="forecast every node of a sensor network with a frozen language model, one token a node",
    verbs=("train", "forecast", "evaluate", "transfer", "convert"),
    claim="A frozen pretrained language model behind a small trained adapter forecasts sensor networks "
    "better than classical baselines (A), and it is the pretraining that helps (B).",
    figures="""\
| data | STG-LLM MAE / RMSE / MAPE | compared with |
| --- | --- | --- |
| PEMS04 | 18.14 / - / - | PDFormer 18.31 |
| PEMS07 | 19.82 / 33.06 / 8.51 % | PDFormer 19.83 / 32.87 / 8.53 % |
| PEMS08 | 13.78 / - / - | PDFormer 13.58 |
| Electricity | 214.11 (MAE) | GraphWaveNet 233.72, AGCRN 224.75, STNorm 239.85 |
| PEMS04 without adapter, positions, LM | 19.41, 20.51, 21.94 | full 18.14 |
""",
    data="one folder (--data DIR): metr_la_week_speed.csv (a week of METR-LA, repository lehaifeng/T-GCN), "
    "irish_wind_knots.csv (R package gstat, data set wind) and exchange_rate.csv "
    "(repository laiguokun/multivariate-time-series-data)",
)
