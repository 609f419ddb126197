"""The verbs that try a labeller before it labels everything: calibrate, attack, and cost, asking none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.relevance.adversarial import AttackResult, attack_labeller, probe_pairs
from etude.methods.relevance.agreement import agreement
from etude.methods.relevance.collection import (
    Keep,
    Pair,
    lacking,
    read_documents,
    read_topics,
)
from etude.methods.relevance.labelling import (
    LabellerSpec,
    is_scorer,
    scorer_by_name,
)
from etude.methods.relevance.llm_labeller import MOST_WORDS, Mode
from etude.methods.relevance.outcomes import CalibrateResult
from etude.methods.relevance.pricing import GOLD_SECONDS, CostResult, estimate_cost, parse_prices
from etude.methods.relevance.sampling import stratified
from etude.methods.relevance.thresholds import fit_thresholds, split_queries
from etude.methods.relevance.trec import Qrels, parse_grade_map, read_pairs, read_qrels
from etude.methods.relevance.wording import named_prompt
from etude.runs import read_json, write_json


@verb
def calibrate(
    *,
    docs: Path,
    topics: Path,
    gold: Path,
    model: str = "minilm",
    grade_map: str | None = None,
    share: float = 0.5,
    seed: int = 0,
    out: Path = Path("thresholds.json"),
) -> CalibrateResult:
    """Fit the thresholds that cut a scorer's scores into grades, on some queries; report on the others.

    Args:
        docs: Documents; BM25 indexes all of them.
        topics: Topics.
        gold: Qrels with grades from 0 to at most 3.
        model: bm25, minilm, encoder:NAME, cross-encoder:NAME, or a sum such as minilm+bm25.
        grade_map: Codes of the gold to ascending grades.
        share: Of the queries that thresholds are fitted on.
        seed: Which queries.
        out: The thresholds' file, for label --thresholds.

    Raises:
        EtudeError: The model is no scorer, or the gold has one grade or one query only.
    """
    if not is_scorer(model):
        raise EtudeError(
            f"{model} is no scorer", "Calibrate bm25, minilm, encoder:NAME or cross-encoder:NAME."
        )
    judged = read_qrels(gold, None if grade_map is None else parse_grade_map(grade_map))
    texts = read_documents(docs)
    pairs = make_pairs(judged, texts, topics)
    fit, test = split_queries((pair.qid for pair in pairs), share, seed)
    scores = scorer_by_name(model, texts).scores(pairs)
    grades = np.array([judged[pair.qid, pair.docid] for pair in pairs])
    dev = np.array([pair.qid in fit for pair in pairs])
    cut = fit_thresholds(scores[dev], grades[dev].tolist(), int(grades.max()))
    held_out = {
        (pair.qid, pair.docid): float(np.searchsorted(cut, score, side="right"))
        for pair, score in zip(pairs, scores, strict=True)
        if pair.qid in test
    }
    write_json(out, {"model": model, "thresholds": cut, "fitted_on": sorted(fit)})
    return CalibrateResult(
        str(out), model, cut, len(fit), agreement({p: judged[p] for p in held_out}, held_out)
    )


@verb
def attack(
    *,
    docs: Path,
    topics: Path,
    gold: Path,
    model: str,
    prompt: str = "-----",
    scale: int = 2,
    mode: Mode = "generate",
    thresholds: Path | None = None,
    grade_map: str | None = None,
    probes: int = 50,
    seed: int = 0,
    base_url: str | None = None,
    out: Path = Path("attack"),
) -> AttackResult:
    """Try a labeller on irrelevant documents with injected instructions, stuffed keywords, copied queries.

    Args:
        docs: Documents.
        topics: Topics.
        gold: Qrels; pairs of grade 0 become probes.
        model: As for label.
        prompt: As for label.
        scale: The highest grade.
        mode: As for label.
        thresholds: For scorers.
        grade_map: Codes of the gold to ascending grades.
        probes: How many documents.
        seed: Which.
        base_url: Address of an OpenAI-compatible server.
        out: Folder for the probe set (probes.jsonl), which any other labeller can be tried on.

    Raises:
        EtudeError: The gold has no pair of grade 0, or files do not fit together.
    """
    judged = read_qrels(gold, None if grade_map is None else parse_grade_map(grade_map))
    irrelevant = stratified({pair: grade for pair, grade in judged.items() if grade == 0}, probes, seed)
    texts = read_documents(docs)
    pairs = [pair for pair in make_pairs(irrelevant, texts, topics) if pair.text]
    spec = LabellerSpec(
        model,
        named_prompt(prompt, (0, scale)),
        mode,
        () if thresholds is None else tuple(read_thresholds(thresholds, model)),
        base_url,
    )
    made = [
        {"attack": name, "qid": p.qid, "docid": p.docid, "query": p.query, "text": p.text, "gold": 0}
        for name, altered in probe_pairs(pairs, scale).items()
        for p in altered
    ]
    write_records(out / "probes.jsonl", made)
    if spec.scores and "bm25" in spec.model:
        raise EtudeError("BM25 scores documents of its index alone", "Try an encoder or a chat model.")
    return replace(attack_labeller(spec.labeller(), pairs, scale), out=str(out / "probes.jsonl"))


@verb
def cost(
    *,
    docs: Path,
    topics: Path,
    pairs: Path,
    prompt: str = "-----",
    scale: int = 2,
    mode: Mode = "generate",
    tokenizer: str | None = None,
    prices: str = "",
    rate: float | None = None,
    gold_seconds: float = GOLD_SECONDS,
    max_words: int = MOST_WORDS,
    passages: Keep = "lead",
) -> CostResult:
    """Count pairs, tokens, money and hours of a labelling before anything is asked.

    Args:
        docs: Documents.
        topics: Topics.
        pairs: Qrels, a run, or lines with qid and docid.
        prompt: As for label.
        scale: The highest grade.
        mode: generate or logprob.
        tokenizer: The model whose tokens are counted; by default a token is four characters.
        prices: Per million tokens: NAME=IN/OUT,NAME=IN/OUT.
        rate: Pairs a second, as measured on a sample.
        gold_seconds: A person's seconds for one judgement.
        max_words: As for label.
        passages: As for label.

    Raises:
        EtudeError: Files are malformed or do not fit together.
    """
    asked = named_prompt(prompt, (0, scale))
    wanted = sorted(set(read_pairs(pairs)))
    found = make_pairs(dict.fromkeys(wanted, 0), read_documents(docs), topics, asked.needs)
    count = None
    if tokenizer is not None:
        from etude.models import load_tokenizer

        loaded = load_tokenizer(tokenizer)
        count = lambda text: len(loaded.encode(text, add_special_tokens=False))  # noqa: E731
    listed = parse_prices(prices) if prices else []
    return estimate_cost(
        found, asked, mode, count, listed, most_words=max_words, keep=passages, rate=rate,
        gold_seconds=gold_seconds,
    )  # fmt: skip


def make_pairs(judged: Qrels, texts: dict[str, str], topics: Path, needs: tuple[str, ...] = ()) -> list[Pair]:
    """The pairs with their texts, query by query.

    Raises:
        EtudeError: A document or topic is missing, or a topic lacks what is needed.
    """
    known = read_topics(topics)
    wrong = {
        "no such document": sorted({docid for _, docid in judged} - texts.keys()),
        "no such topic": sorted({qid for qid, _ in judged} - known.keys()),
        **lacking((known[qid] for qid in sorted({q for q, _ in judged} & known.keys())), needs),
    }
    for problem, ids in wrong.items():
        if ids:
            raise EtudeError(f"{problem}: {', '.join(ids[:10])} ({len(ids)} in all)", "Mend the files.")
    return [
        Pair(qid, docid, known[qid].query, texts[docid], known[qid].description, known[qid].narrative)
        for qid, docid in sorted(judged)
    ]


def read_thresholds(path: Path, model: str) -> list[float]:
    """Thresholds of a model that calibrate wrote.

    Raises:
        EtudeError: The file is none, or was made for another model.
    """
    found = read_json(path)
    if not isinstance(found, dict) or not isinstance(found.get("thresholds"), list):
        raise EtudeError(f"{path}: no thresholds", "Give a file that etude relevance calibrate wrote.")
    if found.get("model") != model:
        raise EtudeError(f"{path} was fitted for {found.get('model')}, not {model}", "Calibrate this model.")
    return [float(value) for value in found["thresholds"]]
