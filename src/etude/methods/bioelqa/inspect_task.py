"""Entity linking as an Inspect task, on your own corpus, with the retriever and cases of a trained linker.

    inspect eval etude/bioelqa --model openai/gpt-4o -T linker=model/ -T corpus=test.pubtator

A sample is one different question. An answer that is no symbol scores 0 and is counted by `unreadable`.
"""

from __future__ import annotations

from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, mean, metric, scorer
from inspect_ai.solver import TaskState, generate

from etude.errors import EtudeError
from etude.methods.bioelqa.linker_folders import load_linker
from etude.methods.bioelqa.mentions import read_mentions
from etude.methods.bioelqa.prompted_selector import INSTRUCTION, parse_symbol
from etude.methods.bioelqa.questions import Question, symbols_for, with_gold
from etude.methods.bioelqa.scoring import check_leak
from etude.methods.bioelqa.wording import question_text


@task
def bioelqa(linker: str, corpus: str, limit: int | None = None) -> Task:
    """Does the model choose the right entry among a retriever's candidates?

    Args:
        linker: What `etude bioelqa train` wrote (its selector is not used), or `index`.
        corpus: A PubTator file, or rows with mention and id.
        limit: At most so many questions.
    """
    loaded = load_linker(linker)
    rows, texts = read_mentions(Path(corpus))
    check_leak(loaded, rows)
    asked: dict[tuple[str, str], Question] = {}
    for row in rows:
        names = loaded.preprocessing.names(row, texts.get(row.doc, row.context))
        for name, gold in zip(names, row.gold or (), strict=False):
            if len(names) == len(row.gold or ()) and (name, gold) not in asked:
                question = with_gold(loaded.questions([name])[0], gold)
                if question.gold is not None:
                    asked[name, gold] = question
    samples = [
        Sample(
            id=f"{name}|{gold}",
            input=[
                ChatMessageSystem(content=INSTRUCTION),
                ChatMessageUser(content=question_text(question)),
            ],
            target=symbols_for(len(question.options))[question.gold or 0],
            metadata={"options": len(question.options), "first": question.gold == 0},
        )
        for (name, gold), question in list(asked.items())[:limit]
    ]
    if not samples:
        raise EtudeError(f"{corpus}: no gold id is among the candidates", "Check ids and vocabulary.")
    return Task(
        dataset=MemoryDataset(samples, name="bioelqa"),
        solver=generate(),
        scorer=symbol_scorer(),
        config=GenerateConfig(temperature=0.0, max_tokens=8),
        name="bioelqa",
    )


@metric
def unreadable() -> Metric:
    """Share of answers that are no symbol."""

    def compute(scores: list[SampleScore]) -> float:
        return sum(s.score.answer is None for s in scores) / max(len(scores), 1)

    return compute


@metric
def retriever() -> Metric:
    """Accuracy of the retriever's first choice on the same questions."""

    def compute(scores: list[SampleScore]) -> float:
        return sum(bool((s.score.metadata or {}).get("first")) for s in scores) / max(len(scores), 1)

    return compute


@scorer(metrics=[mean(), retriever(), unreadable()])
def symbol_scorer() -> Scorer:
    """1 where the symbol is the right one."""

    async def score(state: TaskState, target: Target) -> Score:
        symbols = symbols_for(int(state.metadata["options"]))
        chosen = parse_symbol(state.output.completion, symbols)
        answer = None if chosen is None else symbols[chosen]
        return Score(
            value=float(answer == target.text), answer=answer, metadata={"first": state.metadata["first"]}
        )

    return score
