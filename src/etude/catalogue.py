"""Eighteen cards, one per method: what it is for, its paper, its verbs, its claim. Plain data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from etude.errors import EtudeError


@dataclass(frozen=True)
class Card:
    """What a person sees of a method before using it.

    Args:
        name: Its name on the command line: the package's name with hyphens.
        purpose: What it is for, in one line.
        paper: Title of the paper.
        arxiv: Its arXiv number.
        verbs: Verb to its one-line summary; each is a public function (hyphens for underscores).
        claim: The paper's claim, made testable, in one sentence.
        data: What its claim needs and where to get it.
        figures: The paper's figures: a header row, then rows.
        figures_note: How to read them.
    """

    name: str
    purpose: str
    paper: str
    arxiv: str
    verbs: Mapping[str, str]
    claim: str
    data: str
    figures: tuple[tuple[str, ...], ...] = ()
    figures_note: str = ""

    @property
    def package(self) -> str:
        """Import path of the method."""
        return f"etude.methods.{self.name.replace('-', '_')}"

    @property
    def recorded(self) -> dict[str, Any] | None:
        """The recorded evidence of the claim (`docs/results/NAME.json`), or None when there is none."""
        here = Path(__file__).resolve().parent
        for folder in (here / "recorded", here.parents[1] / "docs" / "results"):
            path = folder / f"{self.name}.json"
            if path.exists():
                found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
                return found
        return None


def card(name: str) -> Card:
    """The card of a method.

    Raises:
        EtudeError: There is no such method; the hint names the nearest.
    """
    if name in CARDS:
        return CARDS[name]
    import difflib

    near = difflib.get_close_matches(name.replace("_", "-"), CARDS, n=1)
    raise EtudeError(
        f"there is no method {name!r}",
        f"Did you mean {near[0]!r}?" if near else "See the list with: etude list",
    )


_ALL = (
    Card(
        name="signround",
        purpose="Quantize a language model's weights to 2-8 bits, with a report of what was lost",
        paper="Optimize Weight Rounding via Signed Gradient Descent for the Quantization of LLMs",
        arxiv="2309.05516",
        verbs={
            "quantize": "Quantize a model and write it in formats other runtimes load",
            "compare": "Quantize with several schemes and methods and compare what is lost",
            "evaluate": "Measure a quantized model against its reference on your text",
            "inspect": "Show a quantized checkpoint: bits per weight, sizes, skipped layers",
        },
        claim=(
            "At the same format SignRound keeps more of the reference model than round-to-nearest, the "
            "more so the fewer the bits, and it beats or matches GPTQ and AWQ at 2 bits."
        ),
        data="a folder with one calib*.jsonl and one eval*.jsonl (id, source, text): --data DIR",
        figures=(
            ("model", "format", "RTN", "GPTQ", "AWQ", "HQQ", "OmniQuant", "SignRound"),
            ("Mistral-7B (63.30)", "W4G-1", "58.84", "61.37", "61.36", "58.40", "60.52", "62.33"),
            ("Mistral-7B (63.30)", "W4G128", "62.36", "62.32", "62.16", "62.75", "62.18", "62.62"),
            ("Mistral-7B (63.30)", "W3G128", "58.20", "59.91", "59.96", "59.33", "58.53", "60.43"),
            ("Mistral-7B (63.30)", "W2G128", "30.52", "39.61", "30.06", "31.41", "32.17", "52.71"),
            ("Llama-2-7B (57.98)", "W4G128", "56.92", "56.85", "57.35", "57.41", "57.30", "57.57"),
            ("Llama-2-7B (57.98)", "W3G128", "53.81", "54.14", "55.21", "54.31", "54.72", "56.68"),
            ("Llama-2-7B (57.98)", "W2G128", "29.94", "35.37", "30.10", "29.87", "40.74", "48.64"),
            ("Llama-2-13B (61.42)", "W2G128", "33.51", "42.46", "32.16", "35.28", "46.55", "53.46"),
            ("Llama-2-70B (66.12)", "W2G128", "38.14", "28.47", "32.23", "37.42", "51.31", "61.69"),
        ),
        figures_note=(
            "Average accuracy (%) over 11 zero-shot tasks; in brackets the 16-bit model. SignRound is not "
            "best everywhere: Llama-2-13B W4G128 GPTQ 61.00 against 60.85, Mistral-7B W4G128 HQQ."
        ),
    ),
    Card(
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
    ),
    Card(
        name="idgen",
        purpose="Recommend with textual item ids that a language model writes and reads",
        paper="IDGenRec: LLM-RecSys Alignment with Textual ID Learning",
        arxiv="2403.19021",
        verbs={
            "ids": "Write a short, unique textual id for every item of a catalogue; resumable",
            "train": "Train a recommender that reads histories and writes ids as words",
            "evaluate": "Rank every item for every user, against SASRec, popularity and item-kNN",
            "recommend": "Recommend for a history of item ids or of raw texts of unseen items",
            "zeroshot": "Use a trained recommender on a catalogue that it never saw",
            "check": "Check histories: order of time, leaks, duplicates, sparsity, texts",
        },
        claim=(
            "With the same backbone and data, ids that mean something beat meaningless ids: textual ids "
            "above the same strings shuffled over the items, and above random numbers."
        ),
        data=(
            "a folder with beauty_core/ (sequences.jsonl: user_id, items, oldest first; textual_ids.tsv: "
            "item_id, textual_id) and industrial/ (sequences.jsonl; items.jsonl: item_id, title, brand, "
            "description): --data DIR"
        ),
        figures=(
            ("model", "Sports", "Beauty", "Toys", "Yelp"),
            (
                "IDGenRec",
                ".0429/.0326/.0574/.0372",
                ".0618/.0486/.0814/.0541",
                ".0655/.0481/.0870/.0551",
                ".0468/.0368/.0578/.0404",
            ),
            (
                "TIGER",
                ".0264/.0181/.0400/.0225",
                ".0454/.0321/.0648/.0384",
                ".0521/.0371/.0712/.0432",
                "",
            ),
            ("SASRec, as quoted there", "", ".0387/.0249/.0605/.0318", "", ""),
            ("SASRec, full cross-entropy, others' runs", "", "-/-/about .085/-", "", ""),
            ("IDGenRec, official code, others' runs", "", ".0634/-/.0832/-", "", ""),
        ),
        figures_note=(
            "HR@5/NDCG@5/HR@10/NDCG@10, leave-one-out, every item ranked. In the official data the Sports "
            "and Toys histories are sorted by item code, and user ids hold the test item; without it the "
            "Beauty figures fall."
        ),
    ),
    Card(
        name="semcsr",
        purpose="Train a sentence encoder for your domain from pairs that a language model writes and grades",
        paper="Semantic-Aware Contrastive Sentence Representation Learning with Large Language Models",
        arxiv="2310.10962",
        verbs={
            "generate": "Write a positive and a hard negative for each sentence",
            "score": "Grade the similarity of both to their sentence, 0 to 5",
            "curate": "Keep the triples whose grades fit, with reasons and an audit",
            "train": "Train an encoder; writes a sentence-transformers folder",
            "evaluate": "Correlation with human similarity, transfer tasks, differences with intervals",
            "run": "All stages in one folder, with a page",
        },
        claim=(
            "On the same sentences, LLM-written and self-curated pairs beat dropout-only SimCSE, and each"
            " stage adds."
        ),
        data="stsb_train.csv, stsb_dev.csv and triples_smollm2.jsonl or sentences.txt: --data DIR",
        figures=(
            ("encoder", "STS average"),
            ("unsupervised SimCSE, BERT-base", "76.25"),
            ("supervised SimCSE, BERT-base", "81.57"),
            ("unsupervised SimCSE, RoBERTa-base", "76.57"),
            ("supervised SimCSE, RoBERTa-base", "82.52"),
        ),
    ),
    Card(
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
        claim=(
            "The benchmark measures what it says: models of known quality get exactly the score they should."
        ),
        data=(
            "a folder with the haystacks and official_star_counts.json (the embedded excerpts serve "
            "otherwise)"
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
    ),
    Card(
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
    ),
    Card(
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
    ),
    Card(
        name="tmpt",
        purpose="Predict the stance of a post with text and image towards a named target",
        paper="Multi-modal Stance Detection: New Datasets and Model",
        arxiv="2402.14298",
        verbs={
            "train": "Train on posts, beside text alone, picture alone and plain fusion on the same split",
            "predict": "Stances of new posts, also towards unseen targets, and what each modality says alone",
            "evaluate": "Score a trained model on labeled posts, whole and by modality",
            "rationale": "Add a column of a vision chat model's analysis; a killed run asks only for "
            "the rest",
            "hydrate-check": "Tell which rows of MMSD lack their text or picture",
        },
        claim="With few trained parameters, target-prompted text and image beat text alone and image alone.",
        data=(
            "a folder with multiclimate_train.parquet and multiclimate_dev.parquet (id, video, frame, "
            "target, text, label, image; from github.com/werywjw/MultiClimate, CC0): --data DIR"
        ),
        figures=(
            (
                "model",
                "DT",
                "JB",
                "CQ",
                "CVS_AET",
                "CI_ESRX",
                "ANTM_CI",
                "AET_HUM",
                "DIS_FOXA",
                "RUS",
                "UKR",
                "MOC",
                "TOC",
            ),
            (
                "BERT",
                "48.25",
                "52.04",
                "66.57",
                "75.62",
                "60.85",
                "63.05",
                "59.24",
                "81.53",
                "41.25",
                "46.80",
                "57.77",
                "45.91",
            ),
            (
                "RoBERTa",
                "58.39",
                "60.79",
                "66.57",
                "69.56",
                "65.03",
                "69.74",
                "67.99",
                "79.21",
                "39.52",
                "57.66",
                "55.22",
                "48.88",
            ),
            (
                "ViT",
                "40.48",
                "40.42",
                "46.64",
                "46.63",
                "50.00",
                "40.16",
                "46.32",
                "50.86",
                "33.31",
                "39.87",
                "38.63",
                "35.53",
            ),
            (
                "BERT+ViT",
                "41.86",
                "45.82",
                "61.32",
                "63.20",
                "44.71",
                "56.45",
                "46.85",
                "73.71",
                "39.28",
                "48.41",
                "47.47",
                "40.86",
            ),
            (
                "CLIP",
                "53.22",
                "65.83",
                "63.65",
                "70.93",
                "67.17",
                "67.43",
                "70.86",
                "79.06",
                "44.99",
                "59.86",
                "55.29",
                "40.98",
            ),
            (
                "GPT4-Vision",
                "70.46",
                "72.82",
                "61.63",
                "44.59",
                "57.47",
                "57.49",
                "57.47",
                "59.37",
                "44.83",
                "56.40",
                "66.72",
                "56.90",
            ),
            (
                "TMPT",
                "55.41",
                "61.61",
                "67.67",
                "76.60",
                "63.19",
                "67.25",
                "62.92",
                "81.19",
                "43.56",
                "59.24",
                "55.68",
                "46.82",
            ),
            (
                "TMPT+CoT",
                "66.61",
                "68.75",
                "71.79",
                "74.40",
                "69.96",
                "68.43",
                "63.00",
                "82.71",
                "45.04",
                "60.52",
                "68.95",
                "59.87",
            ),
            (
                "TMPT, zero-shot",
                "31.69",
                "32.65",
                "",
                "66.36",
                "66.30",
                "66.39",
                "64.87",
                "",
                "23.87",
                "24.71",
                "32.18",
                "26.48",
            ),
            (
                "GPT4-Vision, zero-shot",
                "72.68",
                "71.28",
                "",
                "42.23",
                "45.92",
                "54.59",
                "53.19",
                "",
                "42.09",
                "47.00",
                "65.00",
                "52.36",
            ),
            (
                "TMPT+CoT, zero-shot",
                "54.30",
                "58.46",
                "",
                "67.28",
                "63.73",
                "64.87",
                "54.26",
                "",
                "48.99",
                "51.75",
                "45.32",
                "43.70",
            ),
        ),
        figures_note=(
            "Macro-F1 x 100, in-target unless said. DT Donald Trump, JB Joe Biden, CQ chloroquine, then five "
            "mergers, Russia, Ukraine, mainland China, Taiwan. As listed again in T-MAD (EMNLP 2025), which "
            "reports 71.12 for DT, 75.05 for CQ and 0.755 on MultiClimate; MLLM-SD is later work too. On "
            "MultiClimate (weighted F1): BERT 0.705, ViT 0.462, BERT+ViT 0.749."
        ),
    ),
    Card(
        name="bioelqa",
        purpose="Link names in text to the ids of any vocabulary, as multiple choice with solved examples",
        paper="Biomedical Entity Linking as Multiple Choice Question Answering",
        arxiv="2402.15189",
        verbs={
            "index": "Make a vocabulary searchable: TSV, JSONL, OBO or HPO",
            "train": "Train retriever and selector on PubTator files; resumes after a kill",
            "link": "Link mentions to ids, with scores, options and solved cases; resumes after a kill",
            "evaluate": "Score links by slice, beside the retriever's own first choice",
            "run": "Train, evaluate, and write a page",
        },
        claim=(
            "Choosing among retrieved options with similar solved cases beats the retriever's first choice."
        ),
        data=(
            "a folder with bc5cdr_train.pubtator.txt, bc5cdr_dev.pubtator.txt (BioCreative V CDR) and "
            "mesh_names.tsv (id, preferred name; no header): --data DIR"
        ),
        figures=(
            ("what", "paper"),
            ("Acc@1 on NCBI-Disease, BC5CDR, COMETA, AAP (Table 1)", ""),
            ("without kNN module", ""),
            ("without augmentation and shuffling", ""),
            ("without retriever training", ""),
            ("by frequency of the entity, by N, by k, by size of the generator", ""),
        ),
        figures_note=(
            "The paper's exact values were not available to us: the cells are for you to fill in. It reports "
            "the best accuracy on all sets, and the largest gains on rare entities."
        ),
    ),
    Card(
        name="pipenet",
        purpose="Answer multiple-choice questions over a knowledge graph pruned by syntax",
        paper="PipeNet: Question Answering with Semantic Pruning over Knowledge Graphs",
        arxiv="2401.17536",
        verbs={
            "build-kg": "Turn triples (ConceptNet, Parquet, TSV) into a memory-mapped concept graph",
            "parse": "Store dependency trees, to ground where the parser is not installed",
            "ground": "Find concepts and bridges of every question and choice; resumes after a kill",
            "prune": "Remove a share of the bridges: by dependency, random, farthest, embedding, degree",
            "train": "Train the graph attention network with a frozen or a tuned encoder; resumes exactly",
            "predict": "Answer questions: a probability for every choice",
            "evaluate": "Accuracy of a trained network beside a structural scorer and chance",
            "explain": "A page about one answer: kept and pruned concepts, attention, triples for a prompt",
            "sweep": "Size, cost and accuracy for every criterion at every pruning rate",
        },
        claim=(
            "Pruning grounded subgraphs by dependency distance saves most of the cost and keeps the accuracy."
        ),
        data=(
            "a folder with csqa_train.jsonl, csqa_dev_a.jsonl (id, question, choices, answer) and kg.parquet "
            "(head, rel, tail) or ConceptNet's assertions: --data DIR"
        ),
        figures=(
            ("what the paper reports", "the paper's figure"),
            ("accuracy on CommonsenseQA, in-house split, and OpenBookQA beside ten baselines", "not at hand"),
            ("accuracy against the prune rate, 2 and 3 hops", "not at hand"),
            ("memory and time of a batch against the prune rate", "about 40 % lower, by an index"),
            ("accuracy of pruning by dependency and at random", "not at hand"),
        ),
        figures_note=(
            "The tables of the paper were not at hand; their figures are left out rather than guessed. For "
            "orientation, QA-GNN's paper has 68.7 for RoBERTa-large and 73.4 for QA-GNN on CommonsenseQA's "
            "in-house test."
        ),
    ),
    Card(
        name="analogykb",
        purpose="Mine analogies from a knowledge graph; make tests and training sets from them",
        paper=(
            "ANALOGYKB: Unlocking Analogical Reasoning of Language Models with A Million-scale Knowledge Base"
        ),
        arxiv="2305.05994",
        verbs={
            "mine": "Mine a graph: the best-known pairs of every relation that has structure",
            "relate": "Find analogous relations with a language model and two filters",
            "review": "Let people accept them, with kappa; audit mined analogies",
            "questions": "Make recognition or generation sets without the tests' pairs",
            "train": "Train a scorer on mined questions",
            "evaluate": "Measure a scorer or a chat model on analogy tests, by group",
            "query": "Find pairs that are to each other as two words are",
            "browse": "Write the HTML page of a knowledge base",
        },
        claim=(
            "A model trained on mined analogies recognizes analogies better, because of the graph's "
            "relations."
        ),
        data="triples.parquet and google_, bats_ _a.jsonl and _valid.jsonl (analogy questions): --data DIR",
        figures=(
            ("source", "term pairs", "relations", "human accuracy"),
            ("same relation, ConceptNet", "75,019", "27", "98.5 %"),
            ("same relation, Wikidata", "563,024", "813", "98.0 %"),
            ("analogous relations, ConceptNet", "11,829", "5", "95.5 %"),
            ("analogous relations, Wikidata", "382,168", "98", "96.0 %"),
            ("total", "1,032,040", "943", "97.0 %"),
        ),
        figures_note=(
            "The knowledge base of the paper. Recognition accuracy that a public index gives for its "
            "best model "
            "(not named): SAT 60.78, U2 88.32, U4 76.15, Google 98.80, BATS 92.42; Hit@k of "
            "generation: E-KAR 75, "
            "U4 92, BATS 96."
        ),
    ),
    Card(
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
    ),
    Card(
        name="easygen",
        purpose=(
            "Describe pictures and answer with pictures: one two-way diffusion model joined to a language"
            " model"
        ),
        paper="EasyGen: Easing Multimodal Generation with BiDiffuser and LLMs",
        arxiv="2310.08949",
        verbs={
            "train-bidiffuser": "Train a two-way diffusion model on pictures with captions; resumable",
            "encode": "Read pictures once with it and store what it says, for training",
            "align": "Train a projection that lets a language model read them, on captions",
            "tune": "Instruction-tune on dialogs with pictures (LoRA or whole)",
            "adapt": "Let the language model's knowledge shape what is drawn",
            "caption": "Describe pictures",
            "answer": "Answer a question about a picture",
            "draw": "Draw pictures from words",
            "chat": "Reply with text and pictures, as parts and as a page",
            "evaluate": "Captions, answers, pictures, dialogs against references; resumes after a kill",
        },
        claim=(
            "Specializing a joint diffusion model to its two clean conditionals beats joint training both "
            "ways, replaces two one-way models, and gives a language model a head start on captions."
        ),
        data=(
            "a folder with noto_emoji_32.png and .csv (row, col, caption, base_codepoints, skin_tone, "
            "split): --data DIR"
        ),
        figures=(
            ("table", "EasyGen", "others"),
            (
                "COCO Karpathy CIDEr",
                "145.7 (v1, 173K images); 144.6, BLEU-4 42.4 (ACL, Vicuna-7B)",
                "BLIP-2 145.2 (129M images), InstructBLIP 140.7 (16M), Emu 117.7 (2B), LLaVA 30.0 (753K)",
            ),
            ("NoCaps CIDEr", "121.8", ""),
            (
                "VQA accuracy",
                "OK-VQA 45.2, GQA 44.6; with CLIP: VQAv2 79.4 to 80.5, TextVQA 61.5",
                "LLaVA-1.5 + BiDiffuser: MMBench 69.2",
            ),
            ("COCO FID (256), zero-shot / fine-tuned", "9.16 / 7.68", "UniDiffuser 9.71 / 8.12"),
            ("PhotoChat", "FID 9.72, BLEU-1 23.6", ""),
            ("reconstruction in text space", "cosine loss 0.0128, MSE 0.0338", "Emu MSE 0.4062"),
            ("training, BiDiffuser (952M)", "120 A100 hours, 83K images", ""),
            ("training, projection and frozen T5-XL (4M)", "20 RTX 3090 hours, 163K pairs", ""),
            ("training, Vicuna-7B, whole / LoRA (23M)", "72 / 13 A100 hours, 173K", ""),
            ("drawing a picture, 50 steps", "4.96 s on an A100", ""),
        ),
        figures_note=(
            "The CIDEr differs between the paper's versions. BiDiffuser starts from UniDiffuser, which has "
            "seen billions of web pairs; the numbers of training images do not count them."
        ),
    ),
    Card(
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
    ),
    Card(
        name="word-sensitivity",
        purpose="Measure how far one word can move a layer's output, and how that scales with length",
        paper="Towards Understanding the Word Sensitivity of Attention Layers: A Study via Random Features",
        arxiv="2402.02969",
        verbs={
            "curve": "Draw sensitivity along n, d, k or depth for random maps, with its exponent",
            "measure": "Measure the layers and heads of a transformer under real words or the worst vector",
            "words": "Shade each word of a text by how far it moves a layer; name the worst replacement",
            "modify": "Test whether a learner on these features sees that one word was changed",
        },
        claim=(
            "Random features forget a word as 1/sqrt(n); attention features do not: RF's exponent lies in "
            "[-0.6, -0.4], RAF's above -0.15, and they differ by more than 0.3."
        ),
        data="movie_reviews_700x2.jsonl (id, label, text of 256 tokens or more): --data DIR",
        figures=(
            ("quantity", "theorem", "setting of the published scripts"),
            ("RF sensitivity against n", "O(1/sqrt(n))", "n 90 to 150, d 192, 384, 768, k = D"),
            ("DRF sensitivity against n", "O(C^L/sqrt(n))", "n 50 to 80, d 768, L 2, 4, 8, k = D"),
            ("RAF sensitivity against n", "Omega(1) for d large against n", "n 10 to 250, d 192, 384, 768"),
            ("ReLU-RAF sensitivity against n", "the proof needs softmax", "n 10 to 250, d 192, 384, 768"),
            ("context modification, RF", "Err >= (2 - gamma)^2", "n 40, d 768, N 1100 to 1300"),
            ("context modification, RAF", "Err can reach 0", "n 40 and 120, d 768, N 1100 to 1300"),
        ),
        figures_note="BERT-Base embeddings of IMDb reviews; the paper shows curves, not tables of numbers.",
    ),
    Card(
        name="self-explanations",
        purpose="Check whether a model's explanations of its own answers are faithful",
        paper="Are self-explanations from Large Language Models faithful?",
        arxiv="2401.07927",
        verbs={
            "run": "Ask a model to classify, to explain, and to classify the explanation; resumable",
            "report": "Rates with intervals, random control, Delta, flips, as a page",
            "show": "The three chats about one observation, side by side",
            "validate": "Self-test with models of known faithfulness",
        },
        claim=(
            "The check measures faithfulness: instruments of known faithfulness get the value they should."
        ),
        data=(
            "a folder with sentence_polarity.jsonl (id, text, label), positive-words.txt and "
            "negative-words.txt (NLTK's sentence_polarity and opinion_lexicon); for --scale paper also "
            "movie_reviews.jsonl, rte3_dev.jsonl and mctest/"
        ),
        figures=(
            ("model, data", "most faithful explanation"),
            ("Llama2, sentiment (IMDB)", "counterfactual"),
            ("Mistral-7B, sentiment (IMDB)", "feature attribution"),
            ("Falcon-40B, sentiment (IMDB)", "redaction"),
            ("Llama2-70B, bAbI-1 and RTE", "feature attribution above counterfactual"),
            ("Llama2-70B, prompt variants", "hardly any difference"),
        ),
        figures_note="The paper gives its rates as points in figures; these are the orderings it states.",
    ),
    Card(
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
    ),
    Card(
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
    ),
)

CARDS: Mapping[str, Card] = {c.name: c for c in _ALL}
"""Method name to card, in the order in which they are listed."""
