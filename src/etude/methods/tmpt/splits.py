"""Protocols: in-target (70/10/20 of one target), zero-shot (one target held out), pooled; and their leaks."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from etude.errors import EtudeError
from etude.methods.tmpt.posts import StanceDataset, StanceExample, image_key

Setting: TypeAlias = Literal["in-target", "zero-shot", "pooled"]
_FEWEST = 20


@dataclass(frozen=True)
class Task:
    """One model's work: what it is trained, selected and tested on.

    Attributes:
        name: The target, `zero-shot TARGET`, or `pooled`.
        train: Posts.
        valid: Posts on which the epoch is chosen.
        test: Posts that are looked at once.
        labels: Fixed for all three.
        notices: Leaks that were found and let pass.
    """

    name: str
    train: tuple[StanceExample, ...]
    valid: tuple[StanceExample, ...]
    test: tuple[StanceExample, ...]
    labels: tuple[str, ...]
    notices: tuple[str, ...] = ()


def make_tasks(
    data: StanceDataset,
    setting: Setting,
    *,
    hold_out: str | None = None,
    seed: int = 42,
    strict: bool = False,
) -> list[Task]:
    """The tasks of a protocol.

    Args:
        data: Posts; their own splits are kept where every post has one.
        setting: `in-target`: a task for each target. `zero-shot`: train on all other targets, test on every
            post of `hold_out`. `pooled`: one model for all targets.
        hold_out: The target that zero-shot tests on.
        seed: Of the split.
        strict: Refuse what is otherwise only said: the same id or picture in two splits.

    Raises:
        EtudeError: Too few posts, a class that training lacks, or a leak.
    """
    if (hold_out is not None) != (setting == "zero-shot"):
        raise EtudeError(
            "--hold-out and --setting zero-shot belong together",
            "Give both or neither; --hold-out names a target.",
        )
    if setting == "zero-shot":
        assert hold_out is not None
        return [_checked(_zero_shot(data, hold_out, seed), strict)]
    if setting == "pooled":
        return [_checked(_task("pooled", data, data.labels(), seed), strict)]
    tasks = []
    for name in data.targets:
        own = data.only(e for e in data.examples if e.target == name)
        tasks.append(_checked(_task(name, own, data.labels(name), seed), strict))
    return tasks


def split_posts(examples: Sequence[StanceExample], seed: int) -> dict[str, list[StanceExample]]:
    """70 % train, 10 % valid, 20 % test, by label as far as groups allow; a group is never cut.

    Raises:
        EtudeError: Too few posts or groups.
    """
    groups = [e.group for e in examples]
    if len(set(groups)) < _FEWEST:
        raise EtudeError(
            f"{len(examples)} posts in {len(set(groups))} groups are too few to split 70/10/20",
            f"Give {_FEWEST} or more, or a split column (train, valid, test).",
        )
    fold = _folds(examples, 10, seed)
    names = ["train"] * 7 + ["valid"] + ["test"] * 2
    found: dict[str, list[StanceExample]] = {"train": [], "valid": [], "test": []}
    for example, number in zip(examples, fold, strict=True):
        found[names[number]].append(example)
    return found


def _folds(examples: Sequence[StanceExample], count: int, seed: int) -> list[int]:
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    fold = [0] * len(examples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class with fewer members than folds
        places = splitter.split(
            np.zeros(len(examples)), [e.label for e in examples], [e.group for e in examples]
        )
        for number, (_, chosen) in enumerate(places):
            for row in chosen:
                fold[row] = number
    return fold


def _task(name: str, data: StanceDataset, labels: tuple[str, ...], seed: int) -> Task:
    given = {e.split for e in data.examples}
    if None in given and len(given) > 1:
        raise EtudeError(
            f"{name}: some posts have a split and some have none", "Fill the split column, or leave it out."
        )
    if None in given:
        parts = split_posts(data.examples, seed)
    else:
        parts = {s: [e for e in data.examples if e.split == s] for s in ("train", "valid", "test")}
        empty = [s for s, found in parts.items() if not found]
        if empty:
            raise EtudeError(
                f"{name}: no post is in {', '.join(empty)}", "Give rows of train, valid and test."
            )
    return Task(name, tuple(parts["train"]), tuple(parts["valid"]), tuple(parts["test"]), labels)


def _zero_shot(data: StanceDataset, hold_out: str, seed: int) -> Task:
    if hold_out not in data.targets:
        raise EtudeError(f"no post is about {hold_out!r}", f"Targets: {', '.join(map(repr, data.targets))}.")
    if not data.targets[hold_out].zero_shot:
        raise EtudeError(
            f"{hold_out!r} is never held out in this data set",
            "Its entry says zero_shot = false; hold out another.",
        )
    held = [e for e in data.examples if e.target == hold_out]
    leaked = [e for e in held if e.split in ("train", "valid")]
    if leaked:
        raise EtudeError(
            f"{leaked[0].where}: split: the held-out target {hold_out!r} is in {leaked[0].split} "
            f"({len(leaked)} posts): a leak",
            "Mark its posts as test, or leave the split column out.",
        )
    others = [e for e in data.examples if e.target != hold_out and e.split != "test"]
    phrase = data.targets[hold_out].phrase.casefold()
    same = [e for e in others if data.targets[e.target].phrase.casefold() == phrase]
    if same:
        raise EtudeError(
            f"{same[0].where}: target: {same[0].target!r} is the held-out {hold_out!r} in another "
            "spelling: a leak",
            "Spell the target alike in all rows.",
        )
    if not others:
        raise EtudeError("zero-shot needs posts about another target to train on", "Give more targets.")
    if all(e.split for e in others):
        train = [e for e in others if e.split == "train"]
        valid = [e for e in others if e.split == "valid"]
    else:
        fold = _folds(others, 8, seed)
        train = [e for e, number in zip(others, fold, strict=True) if number]
        valid = [e for e, number in zip(others, fold, strict=True) if not number]
    labels = data.only(others + held).labels()
    return Task(f"zero-shot {hold_out}", tuple(train), tuple(valid), tuple(held), labels)


def _checked(task: Task, strict: bool) -> Task:
    if len(task.train) < 2 or not task.valid or not task.test:
        raise EtudeError(
            f"{task.name}: {len(task.train)} posts to train on, {len(task.valid)} to select, "
            f"{len(task.test)} to test",
            "Each split needs posts.",
        )
    if len(task.labels) < 2:
        raise EtudeError(
            f"{task.name}: one label only, {', '.join(task.labels)}", "Stance needs two or more."
        )
    have = {s: Counter(e.label for e in part) for s, part in _parts(task)}
    lacking = [label for label in task.labels if not have["train"][label]]
    if lacking:
        elsewhere = [s for s in ("valid", "test") if any(have[s][label] for label in lacking)]
        raise EtudeError(
            f"{task.name}: the training posts have no {', '.join(map(repr, lacking))}"
            + (f", but {' and '.join(elsewhere)} have" if elsewhere else ""),
            "Label sets must agree: add posts of that label, or remove it from the targets file.",
        )
    found = list(_leaks(task))
    if found and strict:
        raise EtudeError(
            f"{task.name}: {found[0]}", "Remove one of the two (without --strict it is only said)."
        )
    return Task(task.name, task.train, task.valid, task.test, task.labels, tuple(found))


def _leaks(task: Task) -> Iterator[str]:
    """Ids, groups and pictures that lie in two splits."""
    for what, key in (("id", _id), ("group", _group), ("picture", _picture)):
        seen: dict[str, tuple[str, str]] = {}
        shared: dict[str, tuple[str, str, str]] = {}
        for name, part in _parts(task):
            for example in part:
                mark = key(example)
                if mark is None:
                    continue
                before = seen.setdefault(mark, (name, example.id))
                if before[0] != name:
                    shared.setdefault(mark, (before[1], before[0], name))
        if shared:
            example_id, one, other = next(iter(shared.values()))
            yield (
                f"{len(shared)} times the same {what} lies in two splits, "
                f"e.g. {example_id!r} in {one} and {other}"
            )


def _parts(task: Task) -> tuple[tuple[str, tuple[StanceExample, ...]], ...]:
    return ("train", task.train), ("valid", task.valid), ("test", task.test)


def _id(example: StanceExample) -> str | None:
    return example.id


def _group(example: StanceExample) -> str | None:
    return None if example.group == example.id else example.group


def _picture(example: StanceExample) -> str | None:
    return None if example.image is None else image_key(example.image)


def dataset_digest(data: StanceDataset) -> str:
    """What a data set holds, as SHA-256: rows, pictures and phrases."""
    digest = hashlib.sha256()
    for e in data.examples:
        digest.update(
            repr((e.id, e.text, e.target, e.label, e.split, e.rationale, e.group, _picture(e))).encode()
        )
    digest.update(repr(sorted((t.name, t.phrase, t.labels) for t in data.targets.values())).encode())
    return digest.hexdigest()


SplitChoice: TypeAlias = Literal["all", "train", "valid", "test"]


def choose_split(data: StanceDataset, split: SplitChoice) -> StanceDataset:
    """The posts of one split, by the data's own column.

    Raises:
        EtudeError: No post is in it.
    """
    if split == "all":
        return data
    chosen = [e for e in data.examples if e.split == split]
    if not chosen:
        raise EtudeError(f"no post is in the split {split}", "Leave --split out, or fill the column split.")
    return data.only(chosen)
