"""Asks models about cells. Every answer is a finished step of the run: a killed run goes on with the missing
cells.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias

from etude.errors import EtudeError
from etude.methods.counting_stars.cells import Cell, Haystacks, Prompt
from etude.methods.counting_stars.instruments import PREFIX, Instrument, needs_tokenizer
from etude.methods.counting_stars.tables import Answer
from etude.models.templates import templated
from etude.runs import Run

Engine: TypeAlias = Literal["auto", "chat", "nested"]
TEMPLATE_ROOM = 64
"""Tokens left for a chat template that cannot be measured."""
_NOT_LOCAL = ("openai/", "inspect/", "scripted/", "replay/", PREFIX)


def ask_model(
    run: Run,
    model: str,
    cells: Sequence[Cell],
    haystacks: Haystacks,
    *,
    engine: Engine = "auto",
    base_url: str | None = None,
    max_connections: int = 8,
    max_tokens: int | None = None,
    context_length: int | None = None,
) -> list[str]:
    """Ask one model about all cells that the run has no answer to yet.

    Args:
        run: Keeps the answers.
        model: Any chat model's name, or `instrument/NAME`.
        cells: What to ask.
        haystacks: Where the texts are.
        engine: `nested` reads what prompts share once (local models); `auto` does so for nested cells.
        base_url: Of a served model.
        max_connections: Prompts in flight at once.
        max_tokens: Output limit; default 8 for each star and 64 more.
        context_length: The model's context, if neither its config nor its server says.

    Returns:
        The errors of cells that could not be answered; they are asked again by the next run.

    Raises:
        EtudeError: A cell does not fit the model, or the output limit is too low; nothing has been asked
            then.
    """
    missing = [cell for cell in cells if not run.finished(_step(model, cell))]
    if not missing:
        return []
    limits = {cell.id: output_limit(cell, max_tokens) for cell in missing}
    missing.sort(
        key=lambda cell: (cell.haystack, cell.lang, cell.task, cell.seed, cell.haystack_offset, cell.length)
    )
    nested = engine == "nested" or (
        engine == "auto"
        and not model.startswith(_NOT_LOCAL)
        and all(cell.placement == "nested" for cell in cells)
    )
    answers: Iterator[tuple[Cell, Answer, str]]
    if nested:
        answers = _ask_nested(model, missing, haystacks, limits, context_length)
    else:
        answers = _ask_chat(model, missing, haystacks, limits, context_length, base_url, max_connections)
    failures = []
    for cell, answer, error in answers:
        if answer.stop_reason == "error":
            failures.append(f"{cell.id}: {error}")
        else:
            run.finish(_step(model, cell), {"model": model, "cell": cell.id, **vars(answer)})
    return failures


def output_limit(cell: Cell, asked: int | None) -> int:
    """The output limit of a cell; at least 8 tokens for each star.

    Raises:
        EtudeError: The limit asked for is lower.
    """
    if asked is not None and asked < cell.least_output:
        raise EtudeError(
            f"--max-tokens {asked} would cut off the answer to {cell.stars} stars",
            f"Give at least {cell.least_output} (8 for each star).",
        )
    return asked if asked is not None else cell.least_output + 64


def refuse_too_long(
    cell: Cell, prompt_tokens: int, limit: int, context_length: int | None, model: str
) -> None:
    """Refuse a cell that does not fit the model's context with its answer; nothing is ever cut off
    silently.
    """
    needed = prompt_tokens + limit
    if context_length is not None and needed > context_length:
        raise EtudeError(
            f"cell {cell.id} needs {needed:,} tokens (prompt {prompt_tokens:,}, answer {limit:,}); "
            f"{model} reads {context_length:,}",
            f"Build lengths up to {max(context_length - needed + cell.length, 0):,}, or take another model.",
        )


def chat_rows(tokenizer: Any, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Token ids of the prompts in the model's chat template, ready for its answer.

    Raises:
        EtudeError: The template does not leave the question right behind the context.
    """
    refuse_moved_question(tokenizer)
    rows = []
    for prompt in prompts:
        text = render_chat(tokenizer, prompt.text)
        rows.append(list(tokenizer(text, add_special_tokens=False)["input_ids"]))
    return rows


def render_chat(tokenizer: Any, message: str) -> str:
    """A user's message in the tokenizer's chat template, or as it is when there is no template."""
    if not getattr(tokenizer, "chat_template", None):
        return message
    return templated(tokenizer, [{"role": "user", "content": message}])


def refuse_moved_question(tokenizer: Any) -> None:
    """Refuse a chat template that alters a message: the question must stay last, right behind the context."""
    probe = "First line of the context.\n\n\n\nLast line, the question?"
    rendered = render_chat(tokenizer, probe)
    if probe not in rendered or len(rendered) - rendered.index(probe) - len(probe) > 200:
        raise EtudeError(
            "the model's chat template moves or alters the question, so depths would not mean what they say",
            "Use a tokenizer whose template keeps a user's message whole and puts nothing long behind it.",
        )


def _ask_nested(
    model: str,
    cells: Sequence[Cell],
    haystacks: Haystacks,
    limits: dict[str, int],
    context_length: int | None,
) -> Iterator[tuple[Cell, Answer, str]]:
    if model.startswith(_NOT_LOCAL):
        raise EtudeError(
            f"{model}: the nested engine reads with a local model", "Use --engine chat for any other."
        )
    from etude.methods.counting_stars.nested import answer_rows
    from etude.models import load_causal_lm

    lm = load_causal_lm(model)
    rows = chat_rows(lm.tokenizer, [haystacks.prompt(cell) for cell in cells])
    for cell, row in zip(cells, rows, strict=True):
        refuse_too_long(cell, len(row), limits[cell.id], context_length or lm.context_length, model)
    most = max(limits.values())
    for index, written, cached, seconds in answer_rows(lm, rows, most):
        yield (
            cells[index],
            Answer(written.text, written.stop_reason, len(rows[index]), cached, len(written.tokens), seconds),
            "",
        )


def _ask_chat(
    model: str,
    cells: Sequence[Cell],
    haystacks: Haystacks,
    limits: dict[str, int],
    context_length: int | None,
    base_url: str | None,
    max_connections: int,
) -> Iterator[tuple[Cell, Answer, str]]:
    if model.startswith(PREFIX):
        yield from _ask_instrument(model, cells, haystacks)
        return
    from etude.models import chat_model, load_tokenizer

    chat = chat_model(model, base_url=base_url, max_connections=max_connections)
    tokenizer = None if model.startswith(_NOT_LOCAL) else load_tokenizer(model)
    if tokenizer is not None:
        refuse_moved_question(tokenizer)
    for cell in cells:
        limit = context_length or chat.context_length
        refuse_too_long(
            cell, _prompt_tokens(cell, haystacks, tokenizer, limit), limits[cell.id], limit, model
        )
    most = max(limits.values())
    for start in range(0, len(cells), max_connections):
        part = cells[start : start + max_connections]
        conversations: list[Any] = [
            [{"role": "user", "content": haystacks.prompt(cell).text}] for cell in part
        ]
        replies = chat.generate(conversations, max_tokens=most, temperature=0.0)
        for cell, reply in zip(part, replies, strict=True):
            answer = Answer(
                reply.text or "",
                reply.stop_reason,
                reply.prompt_tokens,
                reply.cached_tokens,
                reply.output_tokens,
                reply.seconds,
            )
            yield cell, answer, str(reply.error or "")


def _prompt_tokens(cell: Cell, haystacks: Haystacks, tokenizer: Any, limit: int | None) -> int:
    """Tokens of a cell's prompt in the model's template: counted where the tokenizer is at hand, else
    estimated.
    """
    if tokenizer is not None and limit is not None:
        return len(chat_rows(tokenizer, [haystacks.prompt(cell)])[0])
    return (cell.prompt_tokens or cell.length_tokens) + TEMPLATE_ROOM


def _ask_instrument(
    model: str, cells: Sequence[Cell], haystacks: Haystacks
) -> Iterator[tuple[Cell, Answer, str]]:
    tokenizers: dict[str, Any] = {}
    for cell in cells:
        name = cell.tokenizer if needs_tokenizer(model) else None
        if name is not None and name not in tokenizers:
            from etude.models import load_tokenizer

            tokenizers[name] = load_tokenizer(name)
        started = time.perf_counter()
        text = Instrument(model, tokenizers.get(name or "")).answer(haystacks.prompt(cell).text)
        yield cell, Answer(text, "stop", cell.prompt_tokens, 0, None, time.perf_counter() - started), ""


def _step(model: str, cell: Cell) -> str:
    return f"{model}\n{cell.id}"
