"""Asks models about items. Every answer is a finished step of the run: a killed run goes on with the missing
ones.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from etude.errors import EtudeError
from etude.methods.geoeval.baselines import PREFIX, solver
from etude.methods.geoeval.extraction import extract_answer
from etude.methods.geoeval.items import Item
from etude.methods.geoeval.prompts import Input, Method, Wrapper, conversation, extraction_conversation
from etude.methods.geoeval.sandbox import find_program, run_program
from etude.models import Reply, StoredChat, chat_model
from etude.render import console
from etude.runs import Run

_SERVED = ("openai/", "inspect/", "scripted/", "replay/")
_EXTRACTION_TOKENS = 64


@dataclass(frozen=True)
class Arm:
    """One way of answering.

    Args:
        model: A chat model's name, or `solver/NAME`.
        input: What is shown.
        method: How it shall be answered.
        wrapper: The form of the prompt.
    """

    model: str
    input: Input
    method: Method
    wrapper: Wrapper = "chat"


@dataclass(frozen=True)
class Response:
    """What came back for one item.

    Args:
        text: The model's text.
        stop_reason: `stop`, `length` or `refused`.
        prompt_tokens: As the model or its server counted them.
        output_tokens: Tokens of the text.
        seconds: Wall time, with the program's.
        program: For program of thought, how the program ended (see `ProgramResult`) or `missing`.
        output: What the program printed last.
        graded: The answer that a second model found in the text, where the rules found none.
    """

    text: str
    stop_reason: str
    prompt_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0
    program: str | None = None
    output: str | None = None
    graded: str | None = None


@dataclass(frozen=True)
class Settings:
    """How models are asked.

    Args:
        max_tokens: Output limit.
        base_url: Of a served model.
        max_connections: Prompts in flight at once.
        extractor: A model that is asked for the answer where the rules find none.
        seed: Of the random solver.
    """

    max_tokens: int = 1024
    base_url: str | None = None
    max_connections: int = 8
    extractor: str | None = None
    seed: int = 0


def step_name(arm: Arm, item: Item) -> str:
    """The name of a step of the run."""
    return f"{arm.model}\n{arm.input}\n{arm.method}\n{item.id}"


def ask_model(run: Run, arm: Arm, items: Sequence[Item], settings: Settings) -> list[str]:
    """Ask one arm about all items that the run has no answer to yet.

    Returns:
        The errors of items that could not be answered; the next run asks them again.

    Raises:
        EtudeError: A picture cannot be read, the model cannot see or cannot be reached.
    """
    missing = [item for item in items if not run.finished(step_name(arm, item))]
    failures = []
    for number, (item, response, error) in enumerate(_responses(arm, missing, settings), start=1):
        if error:
            failures.append(f"{arm.model}: {item.id}: {error}")
            continue
        record = {**asdict(arm), "item": item.id, **asdict(response)}
        run.finish(step_name(arm, item), record)
        if number % 50 == 0:
            console().print(f"{arm.model}, {arm.input}: {number} of {len(missing)}")
    return failures


def _responses(arm: Arm, items: Sequence[Item], settings: Settings) -> Iterator[tuple[Item, Response, str]]:
    if not items:
        return
    if arm.model.startswith(PREFIX):
        yield from _solved(arm.model, items, settings.seed)
        return
    chat = chat_model(arm.model, base_url=settings.base_url if arm.model.startswith(_SERVED) else None,
                      max_connections=settings.max_connections)  # fmt: skip
    extractor = _extractor(settings)
    for start in range(0, len(items), settings.max_connections):
        part = items[start : start + settings.max_connections]
        asked = [conversation(item, arm.input, arm.method, arm.wrapper) for item in part]
        replies = chat.generate(asked, max_tokens=settings.max_tokens, temperature=0.0)
        for item, reply in zip(part, replies, strict=True):
            if reply.stop_reason == "error":
                yield item, Response("", "error"), str(reply.error or "no answer")
                continue
            yield item, _finished(item, arm, reply, extractor), ""


def _finished(item: Item, arm: Arm, reply: Reply, extractor: StoredChat | None) -> Response:
    """The reply with what its program printed, and with a second model's reading where the rules fail."""
    program = output = graded = None
    seconds = reply.seconds
    if arm.method == "pot":
        source = find_program(reply.text)
        if source is None:
            program = "missing"
        else:
            result = run_program(source)
            program, output, seconds = result.status, result.answer or result.error, seconds + result.seconds
    elif extractor is not None:
        found = extract_answer(reply.text, options=item.options, stop_reason=reply.stop_reason)
        if found.status == "none":
            [said] = extractor.generate(
                [extraction_conversation(item, reply.text)], max_tokens=_EXTRACTION_TOKENS, temperature=0.0
            )
            if said.stop_reason == "error":
                raise EtudeError(
                    f"{extractor.name} could not read the answer to {item.id} ({said.error})",
                    "Repeat the command: only the missing answers are asked for.",
                )
            graded = said.text.strip()
    return Response(
        reply.text, reply.stop_reason, reply.prompt_tokens, reply.output_tokens, round(seconds, 4),
        program, output, graded,
    )  # fmt: skip


def _extractor(settings: Settings) -> StoredChat | None:
    if settings.extractor is None:
        return None
    base_url = settings.base_url if settings.extractor.startswith(_SERVED) else None
    return chat_model(settings.extractor, base_url=base_url, max_connections=settings.max_connections)


def _solved(name: str, items: Sequence[Item], seed: int) -> Iterator[tuple[Item, Response, str]]:
    answer = solver(name, seed)
    for item in items:
        started = time.perf_counter()
        text = answer(item)
        yield item, Response(text, "stop", seconds=round(time.perf_counter() - started, 4)), ""
