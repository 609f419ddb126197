"""The card of relevance."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="relevance",
    purpose="Label search results with a language model, and learn whether the labels can be trusted",
    paper="Large language models can accurately predict searcher preferences",
    arxiv="2309.10621",
    verbs={
        "label": "Label pairs of queries and documents with a model; resumes after a kill",
        "agree": "Agreement of labels with gold: kappa with prevalence, AUC, MAE, intervals",
        "rank": "Rank systems with gold and with labels: tau, RBO, and which run the labels favor",
        "prompts": "Compare prompts by agreement with gold, and choose one on held-out queries",
        "calibrate": "Fit the thresholds that cut a scorer's scores into grades",
        "ensemble": "Join the labels of several models or prompts",
        "attack": "Try a labeller on injected instructions, stuffed keywords, copied queries",
        "monitor": "Watch a labeller by gold probes in every batch; alarm on drift",
        "cost": "Count pairs, tokens, money and hours before anything is asked",
        "build": "Write a collection of ir-datasets as documents, topics and gold",
    },
    claim="Labels that agree with people only moderately still rank systems as people do.",
    data=(
        "a folder with cranfield_docs.jsonl, cranfield_topics.jsonl, cranfield.qrels (codes 1-4 and -1, "
        "lower is better) and dl20_llm_labels.csv (qid, docid, nist, one column for each judge#prompt): "
        "--data DIR"
    ),
    figures=(
        ("what", "kappa", "other"),
        ("32 variants", "0.20 to 0.64", ""),
        ("best variant, -DNA-", "0.64 ± 0.02", "AUC 0.85 ± 0.01"),
        ("bare prompt, -----", "0.38", ""),
        ("several judges in one answer alone, ----M", "0.22", ""),
        ("42 paraphrases of the best", "0.50 to 0.72", "95 %: 0.50 to 0.71"),
        ("110 runs, Kendall tau", "", "0.77 (MAP@100) to 0.86 (P@10)"),
        ("two trained groups of people", "0.52", ""),
        ("people, TREC-Robust: crowd; laboratory", "0.24 to 0.52; 0.58", ""),
        ("UMBRELA, DL 2019-2023 (four grades)", "0.308 to 0.373", "tau 0.873 to 0.944"),
        ("Judging the Judges, 42 label sets", "0.06 to 0.29", "tau 0.85 to 0.95"),
    ),
    figures_note="TREC-Robust 2004, GPT-4, relevant or not, except the last two rows.",
)
