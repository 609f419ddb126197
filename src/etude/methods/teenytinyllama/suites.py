"""Suites: multiple-choice and classification sets, each answer scored by its log-probability.

A row asks something and has answers to choose from; the model's choice is the most likely one, by the sum of
its tokens' log-probabilities, and once more per UTF-8 byte, so that long answers are not at a disadvantage.
Every suite is reported beside chance and beside the most frequent answer: at this size most models sit there
(on FaQuAD-NLI and HateBR the paper's own table does).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from etude.data import read_rows
from etude.errors import EtudeError
from etude.methods.teenytinyllama.bits_per_byte import encode_text, start_token
from etude.methods.teenytinyllama.classification import macro_f1, majority
from etude.models import CausalLM

PROMPT = ("prompt", "question", "query", "enunciado", "ctx", "context", "input")
CHOICES = ("choices", "options", "alternatives", "endings")
ANSWER = ("answer", "answerKey", "label", "gold", "target")
TEXT = ("text", "sentence", "instagram_comments", "comment")


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        prompt: What is read first.
        choices: Answers to choose from.
        answer: Number of the right one.
    """

    prompt: str
    choices: tuple[str, ...]
    answer: int


@dataclass(frozen=True)
class Suite:
    """A set of questions.

    Attributes:
        name: Of the file or hub id.
        kind: `multiple-choice`, each question with its own answers, or `classification`, all with the same.
        items: The questions.
    """

    name: str
    kind: str
    items: Sequence[Item]


@dataclass(frozen=True)
class Row:
    """One line of a suite's table.

    Attributes:
        suite, scored_by: What was asked, and who or what answers.
        accuracy, macro_f1: Shares; the F1 is over labels (classification) or answer positions.
        low, high: 95 % interval of the accuracy (bootstrap over questions; none for baselines).
        items: Questions.
        shortened: Questions whose beginning was cut off to fit the context.
    """

    suite: str
    scored_by: str
    accuracy: float
    macro_f1: float
    items: int
    low: float | None = None
    high: float | None = None
    shortened: int = 0


def read_suite(source: str, *, prompt: str | None = None, labels: Sequence[str] = ()) -> Suite:
    r"""Read a suite from JSONL, CSV, Parquet, a saved dataset, or the hub (`org/name:split`).

    Multiple choice: a prompt, `choices` (texts, or `{"text": [...], "label": [...]}` as ARC has them) and
    `answer` (a number from 0, a letter, a label, or the text). Classification: `text` (and `pair`) and
    `label`, or a prompt and label without choices.

    Args:
        source: Where the rows are.
        prompt: For classification, the text around `{text}`, e.g. `"{text}\nSentimento:"`.
        labels: What to write for the labels, in the order of their sorted values; the labels themselves by
            default.

    Raises:
        EtudeError: No row, a field is missing, an answer is none of the choices, labels that do not match.
            The message names the row.
    """
    rows = list(read_rows(source))
    if not rows:
        raise EtudeError(f"{source}: holds no question", "Give a file with at least one row.")
    name = Path(source).stem if Path(source).exists() else source
    if _field(rows[0][1], CHOICES) is not None:
        return Suite(name, "multiple-choice", [_choice_item(source, number, row) for number, row in rows])
    return Suite(name, "classification", _label_items(source, rows, prompt, labels))


def _field(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if row.get(name) is not None), None)


def _value(source: str, number: int, row: Mapping[str, Any], names: Sequence[str]) -> Any:
    name = _field(row, names)
    if name is None:
        raise EtudeError(
            f"{source}:{number}: none of the fields {', '.join(names)}",
            f"The row has {', '.join(map(str, row)) or 'nothing'}.",
        )
    return row[name]


def _choice_item(source: str, number: int, row: Mapping[str, Any]) -> Item:
    given: Any = _value(source, number, row, CHOICES)
    labels: Any = None
    if isinstance(given, Mapping):
        given, labels = given.get("text"), given.get("label")
    if (
        not isinstance(given, list | tuple)
        or len(given) < 2
        or not all(str(choice).strip() for choice in given)
    ):
        raise EtudeError(
            f"{source}:{number}: choices: two or more non-empty texts were expected", "Mend the row."
        )
    choices = [str(choice) for choice in given]
    letters = [str(label) for label in labels] if labels else [chr(ord("A") + i) for i in range(len(choices))]
    answer = _value(source, number, row, ANSWER)
    if isinstance(answer, str) and answer in letters:
        place = letters.index(answer)
    elif isinstance(answer, str) and answer in choices:
        place = choices.index(answer)
    elif str(answer).isdecimal() and int(answer) < len(choices):
        place = int(answer)
    else:
        raise EtudeError(
            f"{source}:{number}: answer {answer!r} is none of the {len(choices)} choices",
            "Give a number from 0, a letter from A, or the text of a choice.",
        )
    return Item(str(_value(source, number, row, PROMPT)), tuple(choices), place)


def _label_items(
    source: str, rows: Sequence[tuple[int, Mapping[str, Any]]], prompt: str | None, labels: Sequence[str]
) -> list[Item]:
    found = [
        (_whole(str(_value(source, n, row, (*TEXT, *PROMPT))), row), str(_value(source, n, row, ANSWER)))
        for n, row in rows
    ]
    names = sorted({label for _, label in found})
    if len(names) < 2:
        raise EtudeError(f"{source}: the only label is {names[0]!r}", "A classification set has two or more.")
    if labels and len(labels) != len(names):
        raise EtudeError(
            f"{len(labels)} names for the {len(names)} labels {', '.join(names)}", "Give one name per label."
        )
    if prompt is not None and "{text}" not in prompt:
        raise EtudeError(f"the prompt {prompt!r} has no place for the text", "Write {text} where it belongs.")
    around = prompt if prompt is not None else "{text}\n"
    choices = tuple(labels or names)
    return [Item(around.replace("{text}", text), choices, names.index(label)) for text, label in found]


def _whole(text: str, row: Mapping[str, Any]) -> str:
    """A text, and the other text of a pair on the next line."""
    return f"{text}\n{row['pair']}" if row.get("pair") else text


def continuation(tokenizer: Any, prompt: str, answer: str) -> tuple[list[int], list[int]]:
    """Token ids read first and token ids scored, for an answer behind a prompt.

    Prompt and answer are tokenized together, as they stand in running text; scored are all tokens from the
    first one in which the whole differs from the prompt alone.
    """
    joined = prompt + answer if not prompt or prompt[-1].isspace() else f"{prompt} {answer}"
    whole, alone = encode_text(tokenizer, joined), encode_text(tokenizer, prompt)
    shared = 0
    while shared < min(len(whole) - 1, len(alone)) and whole[shared] == alone[shared]:
        shared += 1
    return whole[:shared], whole[shared:]


def score_items(lm: CausalLM, items: Sequence[Item]) -> tuple[list[np.ndarray], int]:
    """Log-probabilities (nats) of every answer of every question, and how many questions had to be
    shortened.
    """
    from etude.models.generation import score_batch

    start, limit = start_token(lm.tokenizer), lm.context_length
    contexts: list[list[int]] = []
    options: list[list[list[int]]] = []
    owner: list[tuple[int, list[int]]] = []
    shortened = 0
    for number, item in enumerate(items):
        pairs = [continuation(lm.tokenizer, item.prompt, choice) for choice in item.choices]
        groups: dict[tuple[int, ...], list[int]] = {}
        cut = False
        for place, (read, answer) in enumerate(pairs):
            context = [start, *read]
            if limit is not None and len(context) + len(answer) > limit:
                if len(answer) >= limit:
                    raise EtudeError(
                        f"question {number}: an answer has {len(answer)} tokens, {lm.name} reads {limit}",
                        "Use a model with a longer context.",
                    )
                context, cut = context[-(limit - len(answer)) :], True
            groups.setdefault(tuple(context), []).append(place)
        shortened += cut
        for read_first, places in groups.items():
            contexts.append(list(read_first))
            options.append([pairs[place][1] for place in places])
            owner.append((number, places))
    found = [np.zeros(len(item.choices)) for item in items]
    for (number, places), scored in zip(owner, score_batch(lm, contexts, options), strict=True):
        found[number][places] = [one.total for one in scored]
    return found, shortened


def suite_rows(lm: CausalLM, suite: Suite, *, seed: int = 0) -> list[Row]:
    """The model's rows and the two baselines' of a suite."""
    scores, shortened = score_items(lm, suite.items)
    truth = np.array([item.answer for item in suite.items])
    sizes = [np.array([len(choice.encode()) for choice in item.choices]) for item in suite.items]
    most_likely = np.array([int(s.argmax()) for s in scores])
    per_byte = np.array([int((s / size).argmax()) for s, size in zip(scores, sizes, strict=True)])
    drawn = np.random.default_rng(seed).integers(len(truth), size=(2000, len(truth)))

    def row(by: str, chosen: np.ndarray, *, interval: bool) -> Row:
        right = (chosen == truth).astype(float)
        low, high = np.percentile(right[drawn].mean(1), (2.5, 97.5)) if interval else (None, None)
        score = macro_f1(truth, chosen)
        return Row(suite.name, by, float(right.mean()), score, len(truth), low, high, shortened * interval)

    return [
        row(lm.name, most_likely, interval=True),
        row(f"{lm.name}, per byte", per_byte, interval=True),
        row("most frequent answer", np.full_like(truth, majority(truth)), interval=False),
        _chance(suite),
    ]


def _chance(suite: Suite) -> Row:
    """Guessing evenly: expected accuracy, and the macro-F1 it tends to (precision = share, recall =
    1/choices).
    """
    even = float(np.mean([1 / len(item.choices) for item in suite.items]))
    counts = Counter(item.answer for item in suite.items)
    shares = [count / len(suite.items) for count in counts.values()]
    f1 = float(np.mean([2 * share * even / (share + even) for share in shares]))
    return Row(suite.name, "chance", even, f1, len(suite.items))
