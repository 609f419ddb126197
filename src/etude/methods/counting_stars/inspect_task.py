"""The same benchmark as an Inspect task, and the instruments as an Inspect model provider.

    inspect eval etude/counting_stars --model openai/gpt-4o -T cells=cells.jsonl
    inspect eval etude/counting_stars --model etude-instrument/window-2000 -T lengths=1000,4000 -T stars=16

A sample holds its cell; the prompt is rebuilt when the sample runs. `inspect view` shows prompts and answers,
`epochs` repeats them, `inspect eval-retry` resumes, `inspect score --scorer etude/star_scorer` scores again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from inspect_ai import Task as InspectTask
from inspect_ai import task as inspect_task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageUser, GenerateConfig, ModelAPI, ModelOutput, modelapi
from inspect_ai.scorer import Score, Scorer, Target, grouped, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, generate, solver
from inspect_ai.tool import ToolChoice, ToolInfo

from etude.evidence.claim import parse_seeds
from etude.methods.counting_stars.answers import parse_answer
from etude.methods.counting_stars.builder import build_cells
from etude.methods.counting_stars.cells import Cell, read_cells, rebuild
from etude.methods.counting_stars.grid import Boundary, CountMode, Placement, StarGrid, parse_lengths
from etude.methods.counting_stars.haystacks import load_haystack
from etude.methods.counting_stars.instruments import Instrument
from etude.methods.counting_stars.runner import output_limit
from etude.methods.counting_stars.scoring import Rule, score_answer
from etude.methods.counting_stars.templates import Lang, Task

_haystack = cache(load_haystack)


@inspect_task
def counting_stars(
    cells: str | None = None,
    haystack: str = "en-inaugural",
    lengths: str = "1000,2000,4000",
    stars: int = 16,
    task: Task = "search",
    lang: Lang = "en",
    tokenizer: str | None = None,
    placement: Placement = "relative",
    counts: CountMode = "random",
    boundary: Boundary = "exact",
    seeds: str | int = "0",
    rule: Rule = "official",
) -> InspectTask:
    """Counting-Stars: does the model collect all M numbers from a long text?

    Args:
        cells: A file written by `etude counting-stars build`; the other arguments of the grid are then not
            used.
        haystack: As for `build`; with `cells`, where its haystack lies if it has moved.
        lengths: Context lengths, first:last:step or a list.
        stars: Stars in each context.
        task: `search` or `reason`.
        lang: `en` or `zh`.
        tokenizer: The model whose tokens are counted; without it, words as the paper counts them.
        placement: `relative`, `centred`, `random` or `nested`.
        counts: `random` or `official`.
        boundary: `exact` or `sentence`.
        seeds: One prompt for each length and seed.
        rule: `official` or `ours`.
    """
    if cells is not None:
        return cells_task(read_cells(Path(cells)), rule, None if haystack == "en-inaugural" else haystack)
    grid = StarGrid(
        lengths=parse_lengths(_listed(lengths)),
        stars=stars,
        seeds=parse_seeds(_listed(seeds)),
        task=task,
        lang=lang,
        placement=placement,
        counts=counts,
        boundary=boundary,
        unit="official" if tokenizer is None else "tokens",
    )
    counter = None
    if tokenizer is not None:
        from etude.models import load_tokenizer

        counter = load_tokenizer(tokenizer)
    return cells_task(list(build_cells(grid, load_haystack(haystack), counter, tokenizer)), rule)


def cells_task(cells: Sequence[Cell], rule: Rule = "official", haystack: str | None = None) -> InspectTask:
    """The task of given cells.

    Args:
        cells: What to ask.
        rule: How to score.
        haystack: Where the haystack lies, if it has moved.
    """
    return InspectTask(
        dataset=MemoryDataset([sample(cell) for cell in cells], name="counting_stars"),
        solver=[read_context(haystack), generate()],
        scorer=star_scorer(rule),
        config=GenerateConfig(temperature=0.0, max_tokens=max(output_limit(cell, None) for cell in cells)),
        name="counting_stars",
    )


def _listed(argument: Any) -> str:
    """A task argument as it was typed: Inspect reads `1000,2000` as a list and `1000` as a number."""
    return ",".join(map(str, argument)) if isinstance(argument, list) else str(argument)


def sample(cell: Cell) -> Sample:
    """A cell as a sample: its input is a placeholder, its prompt is rebuilt by the solver."""
    return Sample(
        id=cell.id,
        input=f"{cell.id}: the prompt is rebuilt from the haystack when the sample runs",
        target=json.dumps(cell.counts),
        metadata={
            "length": cell.length,
            "seed": cell.seed,
            "task": cell.task,
            "cell": cell.model_dump(mode="json"),
        },
    )


@solver
def read_context(haystack: str | None = None) -> Solver:
    """Put the cell's prompt, rebuilt and checked by its hash, in place of the sample's input."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        cell = Cell.model_validate(state.metadata["cell"])
        state.messages = [ChatMessageUser(content=rebuild(cell, _haystack(haystack or cell.haystack)).text)]
        return state

    return solve


@scorer(metrics=[mean(), stderr(), grouped(mean(), "length", all=False)])
def star_scorer(rule: Rule = "official") -> Scorer:
    """Mean credit of a cell's stars; hits, precision and order are in the score's metadata."""

    async def score(state: TaskState, target: Target) -> Score:
        cell = Cell.model_validate(state.metadata["cell"])
        return star_score(cell, state.output.completion, stop_reason(state.output.stop_reason), rule)

    return score


def star_score(cell: Cell, text: str, stopped: str, rule: Rule) -> Score:
    """An answer's score in Inspect's form."""
    parsed = parse_answer(text, cell.lang, stopped)
    scored = score_answer(cell, parsed, rule)
    return Score(
        value=scored.score,
        answer=json.dumps(list(parsed.numbers)),
        explanation=f"{int(scored.hits.sum())} of {cell.stars} numbers found; answer {parsed.status}",
        metadata={
            "hits": scored.hits.astype(int).tolist(),
            "wrong_hits": scored.wrong_hits.astype(int).tolist(),
            "stars": scored.stars.tolist(),
            "depths": [round(float(depth), 4) for depth in cell.depths],
            "precision": scored.precision,
            "f1": scored.f1,
            "order": scored.order,
            "exact": scored.exact,
            "parse_status": parsed.status,
        },
    )


def stop_reason(inspect_reason: str | None) -> str:
    """Inspect's stop reasons in ours."""
    reasons = {"max_tokens": "length", "model_length": "length", "content_filter": "refused"}
    return reasons.get(str(inspect_reason), "stop")


@modelapi(name="etude-instrument")
def etude_instrument() -> type[ModelAPI]:
    """Provider of the instruments: `etude-instrument/oracle`, `etude-instrument/window-2000`, ..."""

    class InstrumentAPI(ModelAPI):
        def __init__(
            self,
            model_name: str,
            base_url: str | None = None,
            api_key: str | None = None,
            config: GenerateConfig | None = None,
            tokenizer: str | None = None,
        ) -> None:
            super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
            counter = None
            if tokenizer is not None:
                from etude.models import load_tokenizer

                counter = load_tokenizer(tokenizer)
            self.instrument = Instrument(model_name.removeprefix("etude-instrument/"), counter)

        async def generate(
            self,
            input: list[ChatMessage],
            tools: list[ToolInfo],
            tool_choice: ToolChoice,
            config: GenerateConfig,
        ) -> ModelOutput:
            return ModelOutput.from_content(self.model_name, self.instrument.answer(input[-1].text))

    return InstrumentAPI


def ask_inspect(name: str, cells: Sequence[Cell], tokenizer: str | None, log_dir: Path) -> list[str]:
    """Answers of an instrument through the whole of Inspect: task, provider, scorer, log.

    Args:
        name: The instrument.
        cells: What to ask.
        tokenizer: What `window-k` counts tokens with.
        log_dir: Where Inspect writes its log.

    Returns:
        The answers, in the order of the cells.
    """
    from inspect_ai import eval as inspect_eval
    from inspect_ai.model import get_model

    arguments: dict[str, Any] = {} if tokenizer is None else {"tokenizer": tokenizer}
    model = get_model(f"etude-instrument/{name}", memoize=False, **arguments)
    [log] = inspect_eval(
        cells_task(cells), model=model, log_dir=str(log_dir), display="none", log_samples=True, max_tasks=1
    )
    if log.status != "success" or log.samples is None:
        raise RuntimeError(f"Inspect stopped with {log.status}: {log.error}")
    answers = {str(done.id): done.output.completion for done in log.samples}
    return [answers[cell.id] for cell in cells]
