"""Training texts of equal bytes in one language, in another, or in six, cut from the same pages.

The pages of one handbook exist in every language, so that only the language differs between the texts. What
is held out stays out in every language: pages are used for training only if their id is among the native
training documents, and no paragraph of a held-out page is kept, wherever else it stands. Paragraphs that
another language shares word for word with the English page were never translated and are left out of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from etude.data import read_rows
from etude.errors import EtudeError
from etude.methods.teenytinyllama.reading import Document, corpus
from etude.runs import content_hash

NATIVE = "pt"
LANGUAGES = (NATIVE, "en", "es", "fr", "de", "it")
DOCS_TRAIN, DOCS_VALID = "pt_docs_train.jsonl", "pt_docs_valid.jsonl"
NEWS_TRAIN, NEWS_VALID = "pt_news_train.txt", "pt_news_valid.txt"
PARALLEL = "parallel_handbook.jsonl"
FILES = (DOCS_TRAIN, DOCS_VALID, NEWS_TRAIN, NEWS_VALID, PARALLEL)
SENTENCES = 40  # of news, one a line, make one document


@dataclass(frozen=True)
class Corpora:
    """Texts by language and use.

    Attributes:
        training: Language to the training pages in it.
        native: All native training documents, of the manuals and of the news.
        manuals, news: Held-out native documents.
        pages: Held-out pages, each in every language.
        removed: Training paragraphs dropped since a held-out page has them.
    """

    training: Mapping[str, Sequence[Document]]
    native: Sequence[Document]
    manuals: Sequence[Document]
    news: Sequence[Document]
    pages: Sequence[Mapping[str, str]]
    removed: int

    @property
    def equal_bytes(self) -> int:
        """The most bytes that every text can have: the native one, the other language's, and six equal
        parts.
        """
        sizes = {language: sum(map(size_of, pages)) for language, pages in self.training.items()}
        return min(sizes[NATIVE], sizes["en"], len(sizes) * min(sizes.values()))

    def text(self, *languages: str, size: int | None = None) -> list[Document]:
        """Pages of some languages in equal parts, `size` bytes together (the equal bytes by default).

        Each language's pages are drawn in an order of their own, so that the parts are not of the same pages.
        """
        total = self.equal_bytes if size is None else size
        return [
            document
            for language in languages
            for document in first_bytes(_shuffled(self.training[language], language), total // len(languages))
        ]


def read_corpora(folder: Path) -> Corpora:
    """Read the claim's files.

    Raises:
        EtudeError: A file is missing, or a page lacks a language.
    """
    train = list(corpus([folder / DOCS_TRAIN]))
    manuals = with_own_ids(list(corpus([folder / DOCS_VALID])))
    known = {document.id for document in train}
    rows = list(read_rows(folder / PARALLEL))
    for number, row in rows:
        missing = [language for language in LANGUAGES if not str(row.get(language) or "").strip()]
        if missing:
            raise EtudeError(
                f"{folder / PARALLEL}:{number}: no text in {missing[0]}", "Give every page in each."
            )
    pages = [row for _, row in rows if row["id"] not in known]
    training: dict[str, list[Document]] = {}
    removed = 0
    for language in LANGUAGES:
        held_out = {line for page in pages for line in paragraphs(page[language])}
        if language == NATIVE:
            held_out |= {line for document in manuals for line in paragraphs(document.text)}
        seen: set[str] = set()
        training[language] = []
        for _, row in rows:
            if row["id"] not in known:
                continue
            lines = paragraphs(row[language])
            removed += sum(line in held_out for line in lines)
            barred = held_out | seen
            if language != "en":
                barred |= set(paragraphs(row["en"]))
            kept = [line for line in dict.fromkeys(lines) if line not in barred]
            seen.update(kept)
            if kept:
                text = "\n".join(kept)
                training[language].append(
                    Document(f"{row['id']}:{language}", text, language, str(row.get("license", "")), language)
                )
    return Corpora(
        training=training,
        native=[*train, *news_documents(folder / NEWS_TRAIN)],
        manuals=manuals,
        news=news_documents(folder / NEWS_VALID),
        pages=[{language: page[language] for language in LANGUAGES} for page in pages],
        removed=removed,
    )


def with_own_ids(documents: Sequence[Document]) -> list[Document]:
    """The documents, those that share an id numbered, since scores are kept by id."""
    ids = Counter(document.id for document in documents)
    seen: Counter[str] = Counter()
    found = []
    for document in documents:
        seen[document.id] += 1
        shared = ids[document.id] > 1
        found.append(replace(document, id=f"{document.id}#{seen[document.id]}") if shared else document)
    return found


def paragraphs(text: str) -> list[str]:
    """The non-empty lines of a text, without spaces around them."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def news_documents(path: Path) -> list[Document]:
    """Consecutive sentences, one a line, in documents of 40, as the splits were drawn."""
    return [replace(document, source="news") for document in corpus([path], lines=SENTENCES)]


def size_of(document: Document) -> int:
    """UTF-8 bytes of a document."""
    return len(document.text.encode())


def first_bytes(documents: Iterable[Document], size: int) -> list[Document]:
    """The first documents of `size` bytes together; the last one is cut, between characters.

    Raises:
        EtudeError: They have fewer bytes.
    """
    kept: list[Document] = []
    for document in documents:
        if size <= 0:
            break
        text = document.text.encode()[:size].decode(errors="ignore")
        if text:
            kept.append(replace(document, text=text))
        size -= size_of(document)
    if size > 0:
        raise EtudeError(f"the training pages lack {size:,} bytes", "Give more text.")
    return kept


def beginnings(documents: Sequence[Document], characters: int | None) -> list[Document]:
    """The first so many characters of every document."""
    return [replace(document, text=document.text[:characters]) for document in documents]


def _shuffled(documents: Sequence[Document], language: str) -> list[Document]:
    return sorted(documents, key=lambda document: content_hash([language, document.id]))
