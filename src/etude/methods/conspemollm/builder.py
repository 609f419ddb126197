"""`ConDIDBuilder`: instruction examples of the five tasks from COCO and LOCO files, split without leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from etude.errors import EtudeError
from etude.methods.conspemollm.cleaning import clean
from etude.methods.conspemollm.coco import Tweet, read_tweets
from etude.methods.conspemollm.examples import Example, Split
from etude.methods.conspemollm.label_policies import LabelPolicy
from etude.methods.conspemollm.loco import Annotation, Missing, read_annotations, read_documents
from etude.methods.conspemollm.near_duplicates import THRESHOLD, group_texts
from etude.methods.conspemollm.tasks import THEORIES, TaskName, task_named

_TOPIC_CLASS = {name: number for number, name in enumerate(THEORIES)}


class ConDIDBuilder:
    """Collects examples; `examples()` groups and splits them.

        builder = ConDIDBuilder(LabelPolicy(uncertain="lean")).from_coco("coco.csv")
        builder.from_loco("LOCO.json", "annotations.csv").examples()

    Args:
        policy: What to do with doubtful labels.
        missing: An annotated document that LOCO.json lacks: leave it out and count it, or refuse.
    """

    def __init__(self, policy: LabelPolicy | None = None, missing: Missing = "drop") -> None:
        self.policy = policy or LabelPolicy()
        self.missing = missing
        self.counts: Counter[str] = Counter()
        self._collected: list[Example] = []
        self._ids: set[tuple[str, str, str]] = set()

    def from_coco(self, path: Path | str) -> ConDIDBuilder:
        """Add a COCO file's tweets: intention and theory-type."""
        return self.add_tweets(read_tweets(Path(path)))

    def from_loco(self, documents: Path | str, annotations: Path | str) -> ConDIDBuilder:
        """Add LOCO's annotated documents: judgment, relatedness and topic."""
        found = read_annotations(Path(annotations))
        texts = read_documents(Path(documents), {one.document for one in found})
        return self.add_documents(found, texts, str(documents))

    def add_tweets(self, tweets: Sequence[Tweet], source: str = "coco") -> ConDIDBuilder:
        """Add tweets; those without text are counted and left out."""
        for tweet in tweets:
            text = clean(tweet.text, self.counts)
            if not text:
                continue
            self._add("intention", tweet.id, text, (tweet.intention,), source, "coronavirus")
            self._add("theory-type", tweet.id, text, tweet.theories, source, "coronavirus")
        return self

    def add_documents(
        self, annotations: Sequence[Annotation], texts: dict[str, str], where: str, source: str = "loco"
    ) -> ConDIDBuilder:
        """Add annotated documents.

        Raises:
            EtudeError: A document has no text and `missing` is `error`, or none has.
        """
        absent = [one.document for one in annotations if one.document not in texts]
        if absent and (self.missing == "error" or len(absent) == len(annotations)):
            raise EtudeError(
                f"{where}: lacks {len(absent)} of {len(annotations)} annotated documents, e.g. {absent[0]!r}",
                "Check that both files are of one version of LOCO, or leave them out with --missing drop.",
            )
        self.counts["document not in LOCO.json"] += len(absent)
        for one in annotations:
            if one.document not in texts:
                continue
            text = clean(texts[one.document], self.counts)
            if not text:
                continue
            judged = self.policy.judgment(one.judgment, self.counts)
            if judged is not None:
                self._add("judgment", one.document, text, (judged,), source, one.topic)
            related = self.policy.relatedness(one.relatedness, self.counts)
            if related is not None:
                self._add("relatedness", one.document, text, (related,), source, one.topic)
            if one.topic in _TOPIC_CLASS and related is not None:
                topics = (_TOPIC_CLASS[one.topic],) if related else ()
                self._add("topic", one.document, text, topics, source, one.topic)
        return self

    def examples(
        self, *, dev: float = 0.1, test: float = 0.2, seed: int = 0, threshold: float = THRESHOLD
    ) -> list[Example]:
        """All examples, grouped by document and near-duplicate text, and split by group.

        Args:
            dev: Share of the groups for validation.
            test: Share of the groups held out.
            seed: Of the split.
            threshold: Least Jaccard similarity of near duplicates.

        Raises:
            EtudeError: Nothing was collected.
        """
        if not self._collected:
            raise EtudeError("no example could be built", "Give --coco, or --loco with --annotations.")
        if dev < 0 or test < 0 or dev + test >= 1:
            raise EtudeError(f"dev {dev} and test {test} leave nothing to train on", "Their sum is below 1.")
        rows = self._collected
        named = [f"{row.source}/{row.id.partition('#')[0]}" for row in rows]
        groups = group_texts([row.input for row in rows], named, threshold)
        order = np.random.default_rng(seed).permutation(max(groups) + 1)
        share = {int(group): place / len(order) for place, group in enumerate(order)}
        made = []
        for row, group in zip(rows, groups, strict=True):
            at = share[group]
            split: Split = "test" if at < test else "dev" if at < test + dev else "train"
            made.append(row.model_copy(update={"group": group, "split": split}))
        self.counts["near duplicates grouped"] = len(set(named)) - len(set(groups))
        return made

    def _add(
        self, task: TaskName, id: str, text: str, labels: tuple[int, ...], source: str, topic: str
    ) -> None:
        asked = task_named(task)
        if (task, source, id) in self._ids:  # a document that was judged for both events
            id = f"{id}#{topic}"
        self._ids.add((task, source, id))
        self._collected.append(
            Example(
                id=id,
                task=task,
                instruction=asked.statement(topic or None),
                input=text,
                output=asked.answer(labels),
                source=source,
                topic=topic,
            )
        )
