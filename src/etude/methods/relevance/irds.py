"""Collections of ir-datasets (TREC Robust 2004, MS MARCO, BEIR ...) as the files that other verbs read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from etude.data import write_records
from etude.errors import EtudeError
from etude.methods import verb
from etude.methods.relevance.collection import Document, Topic
from etude.methods.relevance.trec import write_qrels
from etude.render import console, table


@dataclass(frozen=True)
class BuildResult:
    """The files of a collection.

    Args:
        dataset: Its name in ir-datasets.
        out: The folder.
        documents: Rows of `docs.jsonl`.
        topics: Rows of `topics.jsonl`.
        judgements: Rows of `gold.qrels`.
        grades: Grade to number of judgements.
        absent: Judged documents that the collection does not hold.
    """

    dataset: str
    out: str
    documents: int
    topics: int
    judgements: int
    grades: dict[str, int]
    absent: int

    def __rich__(self) -> RenderableType:
        """Counts, and the next command."""
        from rich.console import Group

        counts = (self.documents, self.topics, self.judgements)
        rows = list(zip(("docs.jsonl", "topics.jsonl", "gold.qrels"), counts, strict=True))
        said = ", ".join(f"{grade}: {count:,}" for grade, count in self.grades.items())
        lines = [f"grades {said}"]
        if self.absent:
            lines.append(f"{self.absent:,} judged documents are not in the collection")
        if any(int(grade) < 0 for grade in self.grades):
            lines.append("codes below 0 are no grades: give --grade-map to the verbs that read gold.qrels")
        made = table(("file", "rows"), rows, title=f"{self.dataset}: {self.out}")
        return Group(made, Text("\n".join(lines)))


@verb
def build(dataset: str, *, all_documents: bool = False, out: Path) -> BuildResult:
    """Write a collection of ir-datasets as docs.jsonl, topics.jsonl and gold.qrels.

    Args:
        dataset: Its name: msmarco-passage/trec-dl-2020/judged, beir/trec-covid, disks45/nocr/trec-robust-2004
            (whose documents need an agreement with NIST) ...; see ir-datasets.com.
        all_documents: Write every document, not only the judged ones.
        out: The folder.

    Raises:
        EtudeError: There is no such collection, it has no judgements, or it cannot be fetched.
    """
    found = _load(dataset)
    console().print(f"{dataset}: judgements, topics, documents (fetched the first time)")
    try:
        judged = [(q.query_id, q.doc_id, int(q.relevance)) for q in found.qrels_iter()]
        topics = [_topic(query) for query in found.queries_iter()]
        absent = {docid for _, docid, _ in judged}
        documents = write_records(out / "docs.jsonl", _documents(found, absent, all_documents))
    except EtudeError:
        raise
    except Exception as error:  # whatever a download or an archive of some publisher raises
        raise EtudeError(
            f"{dataset} cannot be read ({type(error).__name__}: {str(error)[:200]})",
            "Some collections need an agreement or the network: see its page on ir-datasets.com.",
        ) from error
    if not judged:
        raise EtudeError(f"{dataset} has no judgements", "Name a subset that has, e.g. beir/trec-covid.")
    grades: dict[str, int] = {}
    for _, _, grade in judged:
        grades[str(grade)] = grades.get(str(grade), 0) + 1
    return BuildResult(
        dataset,
        str(out),
        documents,
        write_records(out / "topics.jsonl", topics),
        write_qrels(out / "gold.qrels", judged),
        dict(sorted(grades.items(), key=lambda item: int(item[0]))),
        len(absent),
    )


def _load(dataset: str) -> Any:
    try:
        import ir_datasets
    except ImportError as error:
        raise EtudeError(
            "collections come through the package ir-datasets", "pip install 'etude[retrieval]'"
        ) from error
    try:
        found = ir_datasets.load(dataset)
    except KeyError as error:
        raise EtudeError(f"ir-datasets has no {dataset!r}", "See the list on ir-datasets.com.") from error
    lacking = [kind for kind in ("docs", "queries", "qrels") if not found.has(kind)]
    if lacking:
        raise EtudeError(
            f"{dataset} has no {', '.join(lacking)}", "Name a subset with queries and judgements."
        )
    return found


def _topic(query: Any) -> Topic:
    """A topic; the short form of the query where there are several."""
    text = getattr(query, "title", None) or getattr(query, "text", None) or query.default_text()
    known = {name: getattr(query, name, None) or None for name in ("description", "narrative")}
    return Topic(qid=query.query_id, query=text, **known)


def _documents(found: Any, judged: set[str], everything: bool) -> Iterator[Document]:
    """The judged documents, or all, in one pass; what was met is taken out of `judged`."""
    for one in found.docs_iter():
        if everything or one.doc_id in judged:
            judged.discard(one.doc_id)
            title = getattr(one, "title", None) or ""
            text = getattr(one, "text", None) or getattr(one, "body", None) or one.default_text()
            yield Document(docid=one.doc_id, title=title, text=text)
