"""The verbs that label: label itself, and prompts, which compares prompts on gold."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

from etude.data import write_records
from etude.data.batches import BatchEngine
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.relevance.collection import (
    Keep,
    read_documents,
)
from etude.methods.relevance.labelling import (
    LabellerSpec,
    label_missing,
    prepare,
    probe_agreement,
    write_outputs,
)
from etude.methods.relevance.llm_labeller import MOST_WORDS, LLMLabeller, Mode
from etude.methods.relevance.outcomes import LabelResult, PromptsResult
from etude.methods.relevance.paraphrases import prompt_set
from etude.methods.relevance.prompt_study import read_label_matrix, select, study, with_choice
from etude.methods.relevance.sampling import stratified
from etude.methods.relevance.thresholds import split_queries
from etude.methods.relevance.trec import Qrels, parse_grade_map, read_pairs, read_qrels
from etude.methods.relevance.trials import make_pairs, read_thresholds
from etude.methods.relevance.wording import RelevancePrompt, named_prompt
from etude.models import chat_model
from etude.models.engines import DEFAULT_STORE
from etude.runs import Run, file_hash


@verb
def label(
    *,
    docs: Path,
    topics: Path,
    pairs: Path,
    model: str,
    prompt: str = "-----",
    scale: int = 2,
    mode: Mode = "generate",
    thresholds: Path | None = None,
    probes: Path | None = None,
    grade_map: str | None = None,
    max_words: int = MOST_WORDS,
    passages: Keep = "lead",
    drop_missing: bool = False,
    fresh: bool = False,
    engine: BatchEngine = "local",
    workers: int = 2,
    base_url: str | None = None,
    max_connections: int = 8,
    out: Path = Path("labels.qrels"),
) -> LabelResult:
    """Label pairs of queries and documents; a killed labelling goes on with the missing pairs.

    Args:
        docs: Documents (docid, title, text).
        topics: Topics (qid, query, description?, narrative?).
        pairs: What to label: qrels, a run, or lines with qid and docid.
        model: A chat model (smollm2, a folder, openai/MODEL, inspect/PROVIDER/MODEL), or bm25, minilm,
            encoder:NAME, cross-encoder:NAME, or a sum such as minilm+bm25.
        prompt: Five characters out of RDNAM with dashes for parts left out (--prompt=-DNA-), or umbrela.
        scale: The highest grade: 1, 2 or 3.
        mode: generate an answer, or read the grades' log-probabilities in one pass (logprob).
        thresholds: What calibrate wrote, for scorers.
        probes: Gold qrels to mix in: they are labelled first, and a turned scale stops the labelling.
        grade_map: Codes of the probes to ascending grades.
        max_words: Longer documents are cut to whole passages of 100 words.
        passages: The first ones (lead), or those with the most words of the query (best).
        drop_missing: Leave out pairs whose document or topic is missing or empty, instead of stopping.
        fresh: Ask the model again even where the response store knows its answer (to watch a remote model).
        engine: local, or ray: the same labels by Ray Data's map_batches on one or many machines.
        workers: With ray.
        base_url: Address of an OpenAI-compatible server.
        max_connections: Calls under way at once.
        out: The qrels; all records, with raw answers, are in the .jsonl beside it; the state is in the folder
            .work, from which the same command goes on.

    Raises:
        EtudeError: Files are malformed or do not fit together, the model fails, or the probes show that the
            scale is turned round.
    """
    if out.suffix == ".jsonl":
        raise EtudeError(
            f"{out}: these are the qrels", "Name them .qrels; the .jsonl is written beside them."
        )
    if max_words < 1 or max_connections < 1:
        raise EtudeError(f"max words {max_words}, connections {max_connections}", "Both are at least 1.")
    asked = named_prompt(prompt, (0, scale))
    cut = () if thresholds is None else tuple(read_thresholds(thresholds, model))
    gold: Qrels = {}
    if probes is not None:
        gold = read_qrels(probes, None if grade_map is None else parse_grade_map(grade_map))
    folder = out.with_suffix(".work")
    spec = LabellerSpec(
        model, asked, mode, cut, base_url, max_connections, max_words, passages,
        store=str(folder / "responses.sqlite") if fresh else DEFAULT_STORE,
        documents=str(folder / "labels.sqlite"),
    )  # fmt: skip
    if spec.scores and not cut:
        spec.labeller()  # says what is missing before anything is read
    config = {
        "docs": file_hash(docs),
        "topics": file_hash(topics),
        "pairs": file_hash(pairs),
        "probes": None if probes is None else [file_hash(probes), grade_map],
        "model": model,
        "labeller": spec.key,
        "base_url": base_url,
        "fresh": fresh,
    }
    with Run(folder, config, command="relevance label") as run:

        def fill() -> dict[str, int]:
            needs = () if spec.scores else asked.needs
            every = chain(read_pairs(pairs), gold)
            return prepare(folder, docs, topics, every, needs, drop_missing=drop_missing)

        dropped = run.step("collection", fill)
        options: dict[str, Any] = {"engine": engine, "workers": workers}
        checked = None
        if gold:
            label_missing(folder, spec, topics, only=gold, **options)
            checked = probe_agreement(folder, gold, 1)
            if (checked.kappa and checked.kappa.high < 0) or (checked.auc and checked.auc.high < 0.5):
                raise EtudeError(
                    f"on {checked.pairs} gold probes kappa is {checked.kappa}: the labels are turned round",
                    "Check the scale in prompt and gold (--grade-map); nothing else was labelled.",
                )
        added = label_missing(folder, spec, topics, **options)
        records, statuses, sums = write_outputs(folder, out)
        if run.result is None:
            run.complete({"statuses": statuses})
    return LabelResult(
        out=str(out),
        records=str(records),
        model=model,
        prompt="" if spec.scores else asked.name,
        statuses=statuses,
        labelled_now=added,
        left_out=dropped,
        prompt_tokens=sums["prompt_tokens"],
        output_tokens=sums["output_tokens"],
        cut_documents=sums["cut_documents"],
        probes=checked,
    )


@verb
def prompts(
    *,
    gold: Path | None = None,
    docs: Path | None = None,
    topics: Path | None = None,
    model: str = "smollm2",
    variants: str = "all32",
    mode: Mode = "generate",
    budget: int = 5000,
    binarize: int = 1,
    grade_map: str | None = None,
    matrix: Path | None = None,
    gold_column: str = "nist",
    judge: str = "",
    scale: int = 3,
    holdout: float = 0.5,
    seed: int = 0,
    base_url: str | None = None,
    max_connections: int = 8,
    out: Path = Path("prompt-study"),
) -> PromptsResult:
    """Compare prompts by agreement with gold, and choose one on some queries, reported on the others.

    Give gold, docs, topics and a model, or a table of labels that exist already (--matrix).

    Args:
        gold: Qrels.
        docs: Documents.
        topics: Topics.
        model: A chat model.
        variants: all32, paraphrases (42 of -DNA-), umbrela, variants with commas, or a YAML file of prompts.
        mode: generate or logprob (prompts with M are then left out).
        budget: Calls in all: the gold is sampled, the same pairs for every prompt, equally over grades.
        binarize: Grades from here on count as relevant.
        grade_map: Codes of the gold to ascending grades.
        matrix: A CSV with qid, docid, the gold and one column of labels for each model#prompt.
        gold_column: The gold's column in it.
        judge: Only columns that begin with this.
        scale: Highest grade in the table; values outside are left out and counted.
        holdout: Share of queries that the choice is reported on.
        seed: Of the sample and the split.
        base_url: Address of an OpenAI-compatible server.
        max_connections: Calls under way at once.
        out: Folder for each prompt's labels; the same command resumes it.

    Raises:
        EtudeError: Something is missing, or the budget is too small for the prompts.
    """
    codes = None if grade_map is None else parse_grade_map(grade_map)
    outside: dict[str, int] = {}
    if matrix is not None:
        judged, columns, outside = read_label_matrix(matrix, gold_column, (0, scale))
        labels = {name: found for name, found in columns.items() if name.startswith(judge)}
        outside = {name: count for name, count in outside.items() if name in labels}
        if not labels:
            raise EtudeError(
                f"{matrix}: no column begins with {judge!r}", f"There are {', '.join(columns)[:200]}."
            )
    else:
        if gold is None or docs is None or topics is None:
            raise EtudeError("what shall be labelled?", "Give --gold, --docs and --topics, or --matrix.")
        chosen = [p for p in prompt_set(variants, seed) if mode == "generate" or p.judges == 1]
        judged = stratified(read_qrels(gold, codes), budget // max(len(chosen), 1), seed)
        labels = _ask_prompts(out, docs, topics, judged, chosen, model, mode, base_url, max_connections)
    found = study(labels, judged, binarize=binarize)
    _, report = split_queries((qid for qid, _ in judged), 1 - holdout, seed)
    if len(labels) > 1:
        found = with_choice(found, select(labels, judged, report, binarize=binarize))
    return PromptsResult(found, outside)


def _ask_prompts(
    out: Path, docs: Path, topics: Path, judged: Qrels, chosen: list[RelevancePrompt], model: str, mode: Mode,
    base_url: str | None, max_connections: int,
) -> dict[str, dict[tuple[str, str], float]]:  # fmt: skip
    """Every prompt's usable labels of the same pairs; finished prompts are steps of the run."""
    texts = read_documents(docs)
    needs = tuple(dict.fromkeys(need for prompt in chosen for need in prompt.needs))
    pairs = make_pairs(judged, texts, topics, needs)
    chat = chat_model(model, base_url=base_url, max_connections=max_connections)
    config = {
        "docs": file_hash(docs), "topics": file_hash(topics), "pairs": sorted(map(list, judged)),
        "model": model, "mode": mode, "prompts": [prompt.hash for prompt in chosen],
    }  # fmt: skip
    found = {}
    with Run(out, config, command="relevance prompts") as run:
        for prompt in chosen:

            def ask(prompt: RelevancePrompt = prompt) -> list[dict[str, Any]]:
                made = LLMLabeller(chat, prompt, mode).label(pairs)
                return [one.model_dump(mode="json", exclude_none=True) for one in made]

            rows = run.step(prompt.hash, ask)
            found[prompt.name] = {
                (row["qid"], row["docid"]): float(row["O"]) for row in rows if row.get("O") is not None
            }
        write_records(out / "labels.jsonl", (row for prompt in chosen for row in run.record(prompt.hash)))
        if run.result is None:
            run.complete({"prompts": len(chosen), "pairs": len(judged)})
    return {name: grades for name, grades in found.items() if grades}
