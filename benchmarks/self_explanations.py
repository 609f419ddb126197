"""self-explanations: calls and time against a runner that shares nothing, and labels by score against free
text.

The peer asks as the official program is built: one experiment for each explanation type, and within it one
observation after another with three chats in a row; nothing is shared between experiments (the official
program can be told to reuse the classify chats of an earlier experiment; then its number of calls is ours
but for equal third chats). Both ask the same local model (SmolLM2) the same prompts with the same limits.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Literal

from benchmarks._comparison import Comparison, Figure, in_turn, ratios
from etude.methods.self_explanations.chats import Asker, Chat, Settings
from etude.methods.self_explanations.experiment import explain_and_check, read_explanation
from etude.methods.self_explanations.instruments import as_chat, instrument
from etude.methods.self_explanations.observations import Observation
from etude.methods.self_explanations.samples import snippets
from etude.methods.self_explanations.tasks import Sentiment
from etude.methods.self_explanations.variants import KINDS, Variant, grid

PEERS = ()
TOKENS, ANSWER_TOKENS = 20, 6
SENTENCES = (
    ("the plot is dull and the cast is lame", "negative"),
    ("a charming film with a clever script", "positive"),
    ("great music , but an awful ending", "negative"),
    ("a superb cast in a touching story", "positive"),
)
"""Short, so that a rewritten one fits into few tokens."""


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


def sharing(full: bool, repetitions: int) -> tuple[list[Figure], dict[str, Any]]:
    """Three explanation types, no random control: the same chats, shared and batched, or one by one."""
    from etude.models import chat_model

    short = SENTENCES if full else SENTENCES[:2]
    observations = [Observation(str(i), text, label) for i, (text, label) in enumerate(short)]
    model = chat_model("smollm2", store=None)
    model.generate([[{"role": "user", "content": "warm up"}]], max_tokens=1)  # weights load at the first call
    found: dict[str, Any] = {}

    def ours() -> None:
        asker = Asker(model, Settings("scored", max_tokens=TOKENS))
        rows = explain_and_check(
            asker, Sentiment(), observations, grid(KINDS), condition="all", control=False
        )
        found["etude"] = asker.calls, rows

    def peer() -> None:
        found["peer"] = without_sharing(model, observations)

    seconds = in_turn({"etude": ours, "peer": peer}, repetitions)
    (calls, rows), (peer_calls, last) = found["etude"], found["peer"]
    same = sum(last[row.variant.kind, row.id] == row.explain_predict for row in rows)
    work, name = f"three explanations of {len(short)} texts, SmolLM2", "a runner that shares nothing"
    figures = [
        Figure(work, name, "calls", (peer_calls / calls,), 1.2),
        Figure(work, name, "processor seconds", ratios(seconds["peer"], seconds["etude"])),
    ]
    return figures, {
        **{f"{who}, CPU s": statistics.median(taken) for who, taken in seconds.items()},
        "last answers that are the same": f"{same} of {len(rows)}",
    }


def calls_by_design() -> tuple[list[Figure], dict[str, Any]]:
    """The same count for models that answer every chat: 9 calls an observation against 7 or fewer."""
    observations = snippets(200, seed=12)
    figures, found = list[Figure](), dict[str, Any]()
    for name in ("honest", "random"):
        asker = Asker(as_chat(instrument(name)), Settings())
        rows = explain_and_check(asker, Sentiment(), observations, grid(KINDS), control=False)
        counted = sum(row.counted for row in rows) // len(KINDS)
        nine = 3 * len(observations) + 6 * counted
        found[name] = {"peer, calls": nine, "etude, calls": asker.calls}
        work = f"three explanations of {len(observations)} texts, the {name} instrument"
        figures.append(Figure(work, "a runner that shares nothing", "calls", (nine / asker.calls,), 1.2))
    return figures, found


def label_scoring(repetitions: int) -> tuple[Figure, dict[str, Any]]:
    """Classifying texts by log-probabilities of three labels, and by writing at most six tokens."""
    from etude.models import chat_model

    observations = snippets(16, seed=13)
    model = chat_model("smollm2", store=None)
    model.generate([[{"role": "user", "content": "warm up"}]], max_tokens=1)
    questions = [(observation, Variant("attribution"), None) for observation in observations]
    read: dict[str, int] = {}

    def classify(answers: Literal["free", "scored"]) -> None:
        asker = Asker(model, Settings(answers, answer_tokens=ANSWER_TOKENS))
        chats = asker.classify(Sentiment(), questions)
        read[answers] = sum(chat.predict is not None for chat in chats)

    seconds = in_turn({"scored": lambda: classify("scored"), "free": lambda: classify("free")}, repetitions)
    figure = Figure(
        f"classifying {len(observations)} texts by label scores, SmolLM2",
        "ours, writing six tokens",
        "processor seconds",
        ratios(seconds["free"], seconds["scored"]),
    )
    return figure, {f"{how}: labels of {len(observations)}": count for how, count in read.items()}


def main(*, full: bool, repetitions: int) -> Comparison:
    """Calls and seconds; `full` explains four texts instead of two."""
    figures, design = calls_by_design()
    shared, model = sharing(full, repetitions)
    labels, classified = label_scoring(repetitions)
    details = {"calls by design": design, "SmolLM2": model, "classifying": classified}
    return Comparison([*figures, *shared, labels], (), details)
