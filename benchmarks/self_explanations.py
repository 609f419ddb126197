"""self-explanations: calls and time against a runner that shares nothing, and labels by score against free
text.

The peer asks as the official program is built: one experiment for each explanation type, and within it one
observation after another with three chats in a row; nothing is shared between experiments (the official
program can be told to reuse the classify chats of an earlier experiment; then its number of calls is ours
but for equal third chats). Both ask the same local model (SmolLM2) the same prompts with the same limits.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

from etude.methods.self_explanations.chats import Asker, Chat, Settings
from etude.methods.self_explanations.experiment import explain_and_check, read_explanation
from etude.methods.self_explanations.instruments import as_chat, instrument
from etude.methods.self_explanations.observations import Observation
from etude.methods.self_explanations.samples import snippets
from etude.methods.self_explanations.tasks import Sentiment
from etude.methods.self_explanations.variants import KINDS, Variant, grid

TOKENS, ANSWER_TOKENS = 20, 6
SENTENCES = (
    ("the plot is dull and the cast is lame", "negative"),
    ("a charming film with a clever script", "positive"),
    ("great music , but an awful ending", "negative"),
    ("a superb cast in a touching story", "positive"),
)
"""Short, so that a rewritten one fits into few tokens."""


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of this process, and what the work gave."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


def without_sharing(model: Any, observations: Sequence[Observation]) -> tuple[int, dict[Any, str | None]]:
    """Calls and last answers of the peer."""
    task, calls, last = Sentiment(), 0, {}

    def classify(observation: Observation, variant: Variant, text: str | None = None) -> str:
        nonlocal calls
        calls += 1
        answers = task.scored_answers(observation)
        asked = [{"role": "user", "content": task.classify_prompt(observation, variant, text)}]
        [scores] = model.score([asked], [tuple(answers.values())])
        return max(zip(scores, answers, strict=True))[1]

    for kind in KINDS:
        variant = Variant(kind)
        for observation in observations:
            classify(observation, variant)
            asked = task.explain_prompt(observation, variant, observation.label)
            [reply] = model.generate([[{"role": "user", "content": asked}]], max_tokens=TOKENS)
            calls += 1
            chat = Chat(asked, reply.text, cut=reply.stop_reason == "length")
            explained = read_explanation(observation.text, variant, chat).explain
            again = None if explained is None else classify(observation, variant, explained)
            last[kind, observation.id] = again
    return calls, last


def sharing(quick: bool) -> dict[str, Any]:
    """Three explanation types, no random control: the same chats, shared and batched, or one by one."""
    from etude.models import chat_model

    short = SENTENCES[:2] if quick else SENTENCES
    observations = [Observation(str(i), text, label) for i, (text, label) in enumerate(short)]
    model = chat_model("smollm2", store=None)
    model.generate([[{"role": "user", "content": "warm up"}]], max_tokens=1)  # weights load at the first call

    def ours() -> Any:
        asker = Asker(model, Settings("scored", max_tokens=TOKENS))
        return asker, explain_and_check(
            asker, Sentiment(), observations, grid(KINDS), condition="all", control=False
        )

    taken, (asker, rows) = seconds(ours)
    peer_taken, (calls, last) = seconds(lambda: without_sharing(model, observations))
    same = sum(last[row.variant.kind, row.id] == row.explain_predict for row in rows)
    return {
        "observations": len(observations),
        "peer, calls": calls,
        "etude, calls": asker.calls,
        "calls saved": round(calls / asker.calls, 2),
        "target": 1.2,
        "peer, CPU s": round(peer_taken, 1),
        "etude, CPU s": round(taken, 1),
        "time ratio": round(peer_taken / taken, 2),
        "last answers that are the same": f"{same} of {len(rows)}",
    }


def calls_by_design(quick: bool) -> dict[str, Any]:
    """The same count for models that answer every chat: 9 calls an observation against 7 or fewer."""
    observations = snippets(50 if quick else 200, seed=12)
    found = {}
    for name in ("honest", "random"):
        asker = Asker(as_chat(instrument(name)), Settings())
        rows = explain_and_check(asker, Sentiment(), observations, grid(KINDS), control=False)
        counted = sum(row.counted for row in rows) // len(KINDS)
        nine = 3 * len(observations) + 6 * counted
        found[name] = {
            "peer, calls": nine,
            "etude, calls": asker.calls,
            "ratio": round(nine / asker.calls, 2),
        }
    return found


def label_scoring(quick: bool) -> dict[str, Any]:
    """Classifying texts by log-probabilities of three labels, and by writing at most six tokens."""
    from etude.models import chat_model

    observations = snippets(8 if quick else 16, seed=13)
    model = chat_model("smollm2", store=None)
    model.generate([[{"role": "user", "content": "warm up"}]], max_tokens=1)
    questions = [(observation, Variant("attribution"), None) for observation in observations]
    times, read = {}, {}
    for answers in ("free", "scored"):
        asker = Asker(model, Settings(answers, answer_tokens=ANSWER_TOKENS))
        times[answers], chats = seconds(lambda asker=asker: asker.classify(Sentiment(), questions))
        read[answers] = sum(chat.predict is not None for chat in chats)
    return {
        "texts": len(observations),
        "free text, six tokens, CPU s": round(times["free"], 2),
        "label scores, CPU s": round(times["scored"], 2),
        "ratio": round(times["free"] / times["scored"], 2),
        "free text: labels that can be read": read["free"],
        "label scores: labels": read["scored"],
    }


def main(*, quick: bool = False) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "calls by design": calls_by_design(quick),
        "SmolLM2, three explanation types": sharing(quick),
        "classifying": label_scoring(quick),
        "versions": {"python": platform.python_version(), "torch": version("torch")},
    }
