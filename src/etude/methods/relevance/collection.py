"""Documents, topics, and the pairs of them that shall be labelled, as the labellers read them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from etude.data import read_records
from etude.errors import EtudeError

Keep: TypeAlias = Literal["lead", "best"]
PASSAGE = 100
"""Words of a passage, the unit by which long documents are cut."""


class Document(BaseModel):
    """A document."""

    model_config = ConfigDict(coerce_numbers_to_str=True)
    docid: str = Field(min_length=1)
    title: str = ""
    text: str = ""

    @property
    def content(self) -> str:
        """Title and text; the title once where the text begins with it."""
        title, text = self.title.strip(), self.text.strip()
        return text if text.startswith(title) else f"{title}\n{text}".strip()


class Topic(BaseModel):
    """A query with what else is known about its need."""

    model_config = ConfigDict(coerce_numbers_to_str=True)
    qid: str = Field(min_length=1)
    query: str
    description: str | None = None
    narrative: str | None = None


@dataclass(frozen=True)
class Pair:
    """A query and a document to be labelled.

    Args:
        qid: Query.
        docid: Document.
        query: The query's text.
        text: The document's text.
        description: The topic's description, if any.
        narrative: The topic's narrative, if any.
    """

    qid: str
    docid: str
    query: str
    text: str
    description: str | None = None
    narrative: str | None = None


def read_topics(path: Path) -> dict[str, Topic]:
    """Topics by qid.

    Raises:
        EtudeError: A row is bad, or a qid comes twice.
    """
    topics: dict[str, Topic] = {}
    for topic in read_records(path, Topic):
        if topic.qid in topics:
            raise EtudeError(f"{path}: topic {topic.qid} comes twice", "Keep one of them.")
        topics[topic.qid] = topic
    return topics


def read_documents(path: Path) -> dict[str, str]:
    """Content of each document by docid, all in memory.

    Raises:
        EtudeError: A row is bad, or a docid comes twice.
    """
    documents: dict[str, str] = {}
    for document in read_records(path, Document):
        if document.docid in documents:
            raise EtudeError(f"{path}: document {document.docid} comes twice", "Keep one of them.")
        documents[document.docid] = document.content
    return documents


def lacking(topics: Iterable[Topic], needs: Iterable[str]) -> dict[str, list[str]]:
    """What a prompt shows and topics do not have: field to the ids that lack it."""
    wanted = ("query", *needs)
    found: dict[str, list[str]] = {}
    for topic in topics:
        for name in wanted:
            if not (getattr(topic, name) or "").strip():
                found.setdefault(name, []).append(topic.qid)
    return found


def cut_document(text: str, query: str, most: int, keep: Keep = "lead") -> tuple[str, int]:
    """A document cut to whole passages of 100 words.

    Args:
        text: The document.
        query: The query, for `best`.
        most: Words that are kept at most; texts up to there stay as they are.
        keep: `lead`: the first passages. `best`: those that hold the most different words of the query
            (earlier ones where equal), in the order of the text.

    Returns:
        The text that is left, and how many words were left out.
    """
    words = text.split()
    if len(words) <= most:
        return text, 0
    if most < PASSAGE:
        return " ".join(words[:most]), len(words) - most
    passages = [words[i : i + PASSAGE] for i in range(0, len(words), PASSAGE)]
    chosen = list(range(most // PASSAGE))
    if keep == "best":
        wanted = set(_terms(query))
        hits = [len(wanted & set(_terms(" ".join(passage)))) for passage in passages]
        order = sorted(range(len(passages)), key=lambda i: (-hits[i], i))
        chosen = sorted(order[: most // PASSAGE])
    left = [word for i in chosen for word in passages[i]]
    return " ".join(left), len(words) - len(left)


def _terms(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
