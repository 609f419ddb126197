"""Rewordings by a language model, kept only if they say the same.

A rewording must keep every number and every point name. With `round_trip`, the model also translates its own
rewording into the fact language, and the realizer must find the old answer from that translation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from etude.errors import EtudeError
from etude.methods.geoeval.cdl import mend_cdl, parse_cdl
from etude.methods.geoeval.problems import Problem
from etude.methods.geoeval.realiser import Realiser
from etude.models import ChatModel, Conversation

VERSION = 1
_REWORD = (
    "Say the following geometry problem in other words. Keep its meaning, every number, every unit and every "
    "name of a point, line or unknown exactly as they are. Add nothing, solve nothing. Reply with the new "
    "wording alone.\n\n{question}"
)
_TRANSLATE = (
    "Write what this geometry problem states as one fact a line, and what it asks as the last line, in this "
    "notation: Equal(LengthOfLine(AB),7), Equal(MeasureOfAngle(ABC),2*x+5), PerpendicularBetweenLine(AB,CB), "
    "ParallelBetweenLine(AB,CD), IsMidpointOfLine(M,AB), Parallelogram(ABCD), Equal(RadiusOfCircle(O),3), "
    "Value(LengthOfLine(AB)). Reply with these lines alone.\n\n{question}"
)
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_NAME = re.compile(r"(?<![A-Za-z])[A-Z]+(?![a-z])")


@dataclass(frozen=True)
class ModelRewording:
    """What a model made of a problem.

    Args:
        problem: The reworded problem, or None if it was rejected.
        text: What the model wrote.
        reason: Why it was rejected; empty if it was kept.
    """

    problem: Problem | None
    text: str
    reason: str = ""


def reword(
    chat: ChatModel, problems: Sequence[Problem], *, max_tokens: int = 400, round_trip: bool = False
) -> list[ModelRewording]:
    """Let a model reword the questions of problems.

    Args:
        chat: The model.
        problems: With a question.
        max_tokens: Output limit.
        round_trip: Also demand that the model's own translation back to facts has the same answer.
    """
    asked = [_asking(_REWORD, problem.problem_text_en) for problem in problems]
    replies = chat.generate(asked, max_tokens=max_tokens)
    found = []
    for problem, reply in zip(problems, replies, strict=True):
        text = reply.text.strip()
        reason = (
            f"no answer ({reply.stop_reason})"
            if reply.stop_reason != "stop"
            else what_changed(problem.problem_text_en, text)
        )
        found.append(ModelRewording(None if reason else _reworded(problem, text), text, reason))
    if not round_trip:
        return found
    kept = [one for one in found if one.problem is not None]
    translations = chat.generate([_asking(_TRANSLATE, one.text) for one in kept], max_tokens=max_tokens)
    reasons = {
        one.problem.problem_id: _round_trip(one.problem, reply.text)
        for one, reply in zip(kept, translations, strict=True)
        if one.problem is not None
    }
    return [
        one
        if one.problem is None or not reasons[one.problem.problem_id]
        else ModelRewording(None, one.text, reasons[one.problem.problem_id])
        for one in found
    ]


def what_changed(question: str, rewording: str) -> str:
    """What a rewording lost or added, in words; empty if numbers and names are the same.

    Args:
        question: The old wording.
        rewording: The new one.
    """
    if not rewording:
        return "it is empty"
    if rewording.split() == question.split():
        return "it is the old wording"
    old, new = Counter(_NUMBER.findall(question)), Counter(_NUMBER.findall(rewording))
    if old != new:
        missing, added = old - new, new - old
        return f"numbers changed: {', '.join(missing) or 'none'} lost, {', '.join(added) or 'none'} added"
    lost = names_of(question) - names_of(rewording)
    if lost:
        return f"names lost: {', '.join(sorted(lost))}"
    added_names = names_of(rewording) - names_of(question)
    return f"names added: {', '.join(sorted(added_names))}" if added_names else ""


def names_of(text: str) -> set[str]:
    """Point letters that a text names (`A B C`, `ABC`); the article `A` before a word is none."""
    text = re.sub(r"\bA (?=[a-z])", "", text)
    return {letter for name in _NAME.findall(text) for letter in name}


def _asking(template: str, question: str) -> Conversation:
    return [{"role": "user", "content": template.replace("{question}", question)}]


def _reworded(problem: Problem, text: str) -> Problem:
    return problem.changed(
        problem_id=f"{problem.problem_id}-model",
        subset="aug",
        problem_text_en=text,
        parent_id=problem.problem_id,
        parent_hash=problem.content,
    )


def _round_trip(problem: Problem, translation: str) -> str:
    """Why the facts a model read out of its rewording do not have the old answer; empty if they have."""
    try:
        lines = [parse_cdl(mend_cdl(line)) for line in translation.splitlines() if line.strip()]
        if not lines or lines[-1].name != "Value":
            return "the translation asks for no value"
        texts = [line.strip() for line in translation.splitlines() if line.strip()]
        read = problem.changed(text_cdl=tuple(texts[:-1]), goal_cdl=texts[-1])
        old, new = Realiser(problem).solve(), Realiser(read).solve()
    except EtudeError as error:
        return f"the translation cannot be read: {error.problem}"
    if old.value is None or new.value is None:
        return "the translation has no certified answer"
    same = abs(old.value - new.value) <= 1e-6 * max(1.0, abs(old.value))
    return "" if same else f"the translation's answer is {new.value:.6g}"
