"""The card of teenytinyllama."""

from etude.catalogue.method_card import Card

CARD = Card(
    name="teenytinyllama",
    purpose="Train a small language model from nothing: tokenizer, plan, pretraining, evaluation, export",
    paper="TeenyTinyLlama: open-source tiny language models trained in Brazilian Portuguese",
    arxiv="2401.16640",
    verbs={
        "tokenizer": "Train a BPE or unigram tokenizer with byte fallback on your text",
        "fertility": "Tokens per word and per byte of several tokenizers on your text, with intervals",
        "plan": "Size model and token budget by a scaling law: loss, hours, money, repetition of data",
        "prepare": "Turn text into memory-mapped token shards: deduplicated, split, with a manifest",
        "pretrain": "Train a small Llama from nothing; resumes bit for bit after a kill",
        "evaluate": "Bits per byte on held-out text, and suites beside their chance and majority rows",
        "finetune": "Fine-tune for chat or for classification, selected on validation data",
        "export": "Write a stock transformers folder or a GGUF file, with a model card from the logs",
        "report": "One page of a run: loss, energy, tokens per second, samples, manifest with licences",
    },
    claim=(
        "For a low-resource language, a native tokenizer and native data beat multilingual ones at "
        "equal compute."
    ),
    data=(
        "a folder with pt_docs_train.jsonl, pt_docs_valid.jsonl (id, source, text), pt_news_train.txt, "
        "pt_news_valid.txt (a sentence a line) and parallel_handbook.jsonl (id and the fields pt, en, "
        "es, fr, de, it): --data DIR"
    ),
    figures=(
        (
            "model",
            "steps",
            "evaluation loss",
            "perplexity",
            "kWh",
            "harness average",
            "Portuguese harness average",
        ),
        ("TTL-160m", "100k", "3.19", "24.52", "3.75", "", ""),
        ("TTL-160m", "400k", "2.79", "16.41", "14.52", "31.16", "28.56"),
        ("TTL-460m", "100k", "3.02", "20.49", "9.40", "", ""),
        ("TTL-460m", "600k", "2.61", "13.61", "57.74", "", ""),
        ("TTL-460m", "1.2M", "2.46", "11.77", "115.69", "33.01", "31.27"),
        ("Pythia-410m", "", "", "", "", "33.26", "25.33"),
        ("Bloom-560m", "", "", "", "", "32.13", ""),
        ("Xglm-564M", "", "", "", "", "31.97", ""),
        ("OPT-350m", "", "", "", "", "31.78", ""),
        ("Pythia-160m", "", "", "", "", "31.16", ""),
        ("GPorTuguese-2", "", "", "", "", "30.22", ""),
        ("TinyLlama-1.1B", "", "", "", "", "", "31.72"),
        ("Qwen-1.8B", "", "", "", "", "", "35.03"),
    ),
    figures_note=(
        "8,192 tokens a step. Harness: ARC, HellaSwag, MMLU, TruthfulQA; many rivals were scored on the "
        "English versions, so not like for like. Portuguese harness: ASSIN2 (2), BLUEX, ENEM, "
        "FaQuAD-NLI, HateBR, OAB; several models sit at the majority class there. Tokens for 7,400 "
        "words: TTL 9,937, GPorTuguese-2 9,959, BERTimbau 11,006, Cabrita 11,488, Llama-2 14,813 (33 % "
        "fewer than Llama-2; the paper's 66 % is the ratio)."
    ),
)
