"""Relevance labelling as an Inspect task, on your own documents, topics and gold.

    inspect eval etude/relevance --model openai/gpt-4o -T docs=d.jsonl -T topics=t.jsonl -T gold=g.qrels

A sample is one pair. The score is 1 where the label has the gold's class (relevant or not); an answer without
a clear grade is no label: it scores 0 under `mean` and is counted by `unusable`, and `kappa` leaves it out.
"""

from __future__ import annotations

from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import (
    Metric,
    SampleScore,
    Score,
    Scorer,
    Target,
    mean,
    metric,
    scorer,
)
from inspect_ai.solver import TaskState, generate

from etude.methods.relevance.agreement import kappa as cohen_kappa
from etude.methods.relevance.collection import cut_document, read_documents
from etude.methods.relevance.llm_labeller import MOST_WORDS, TOKENS_A_GRADE
from etude.methods.relevance.trec import parse_grade_map, read_qrels
from etude.methods.relevance.trials import make_pairs
from etude.methods.relevance.wording import RelevancePrompt, named_prompt


@task
def relevance(
    docs: str,
    topics: str,
    gold: str,
    prompt: str = "-----",
    scale: int = 2,
    grade_map: str | None = None,
    binarize: int = 1,
    max_words: int = MOST_WORDS,
) -> Task:
    """Does the model grade search results as people do?

    Args:
        docs: Documents (docid, title, text).
        topics: Topics (qid, query, description?, narrative?).
        gold: Qrels.
        prompt: Five characters out of RDNAM with dashes, or `umbrela`.
        scale: The highest grade.
        grade_map: Codes of the gold to ascending grades.
        binarize: Grades from here on count as relevant.
        max_words: Longer documents are cut to whole passages.
    """
    asked = named_prompt(prompt, (0, scale))
    judged = read_qrels(Path(gold), None if grade_map is None else parse_grade_map(grade_map))
    samples = [
        Sample(
            id=f"{pair.qid}|{pair.docid}",
            input=asked.render(
                pair.query,
                cut_document(pair.text, pair.query, max_words)[0],
                pair.description,
                pair.narrative,
            ),
            target=str(judged[pair.qid, pair.docid]),
        )
        for pair in make_pairs(judged, read_documents(Path(docs)), Path(topics), asked.needs)
    ]
    return Task(
        dataset=MemoryDataset(samples, name="relevance"),
        solver=generate(),
        scorer=relevance_scorer(prompt, scale, binarize),
        config=GenerateConfig(
            temperature=0.0,
            top_p=1.0,
            frequency_penalty=0.5,
            presence_penalty=0.0,
            max_tokens=16 + TOKENS_A_GRADE * asked.judges * (1 + len(asked.asked_aspects)),
        ),
        name="relevance",
    )


@metric
def kappa() -> Metric:
    """Cohen's kappa of relevant or not, over usable labels; 0 where it is undefined."""

    def compute(scores: list[SampleScore]) -> float:
        found = [s.score.metadata or {} for s in scores]
        usable = [(m["gold"], m["found"]) for m in found if m.get("found") is not None]
        value = cohen_kappa([g for g, _ in usable], [f for _, f in usable]) if usable else float("nan")
        return value if value == value else 0.0

    return compute


@metric
def unusable() -> Metric:
    """Share of answers without a clear grade."""

    def compute(scores: list[SampleScore]) -> float:
        return sum((s.score.metadata or {}).get("found") is None for s in scores) / max(len(scores), 1)

    return compute


@scorer(metrics=[mean(), kappa(), unusable()])
def relevance_scorer(prompt: str = "-----", scale: int = 2, binarize: int = 1) -> Scorer:
    """Whether the label has the gold's class; the grade, aspects and status are in the metadata."""
    asked: RelevancePrompt = named_prompt(prompt, (0, scale))
    stops = {"max_tokens": "length", "model_length": "length", "content_filter": "refused"}

    async def score(state: TaskState, target: Target) -> Score:
        parsed = asked.parse(state.output.completion, stops.get(str(state.output.stop_reason), "stop"))
        gold = int(int(target.text) >= binarize)
        found = None if parsed.O is None else int(int(parsed.O + 0.5) >= binarize)
        return Score(
            value=float(found == gold),
            answer=None if parsed.O is None else str(parsed.O),
            explanation=f"answer {parsed.status}",
            metadata={"gold": gold, "found": found, "status": parsed.status, "aspects": parsed.aspects},
        )

    return score
