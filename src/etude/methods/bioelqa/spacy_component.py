"""A spaCy component that links `doc.ents` (extra `[parsing]`).

    nlp.add_pipe("etude_linker", config={"model": "model/"})
    nlp("She took IDM daily.").ents[0]._.kb_id

It sets `span._.kb_id`, `span._.kb_name`, `span._.kb_score` and `span._.kb_options`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span

from etude.methods.bioelqa.linker import BioELQA
from etude.methods.bioelqa.linker_folders import linker_folder, load_linker
from etude.methods.bioelqa.mentions import MentionRow

NAME = "etude_linker"
_ATTRIBUTES = ("kb_id", "kb_name", "kb_score", "kb_options")


class EtudeLinker:
    """Links every entity span of a document; abbreviations that the document defines are written out.

    Args:
        model: What `train` or `index` wrote.
        min_score: Abstain below this probability.
    """

    def __init__(self, model: str, min_score: float) -> None:
        self.model, self.min_score = str(linker_folder(model)), min_score
        for name in _ATTRIBUTES:
            if not Span.has_extension(name):
                Span.set_extension(name, default=None)

    @cached_property
    def linker(self) -> BioELQA:
        """The linker, loaded at the first document."""
        loaded = load_linker(self.model)
        loaded.min_score = max(loaded.min_score, self.min_score)
        return loaded

    def __call__(self, doc: Doc) -> Doc:
        """Link the document's spans."""
        spans = list(doc.ents)
        rows = [MentionRow(mention=span.text, doc="doc", type=span.label_) for span in spans]
        for span, link in zip(spans, self.linker.link_rows(rows, {"doc": doc.text}), strict=True):
            span._.kb_id, span._.kb_name, span._.kb_score = link.id, link.name, link.score
            span._.kb_options = [option.id for option in link.options]
        return doc

    def pipe(self, stream: Any, batch_size: int = 128) -> Any:
        """Link a stream of documents."""
        for doc in stream:
            yield self(doc)


@Language.factory(NAME, default_config={"model": "", "min_score": 0.0}, assigns=["span._.kb_id"])
def make_linker(nlp: Language, name: str, model: str, min_score: float) -> EtudeLinker:
    """The component's factory."""
    return EtudeLinker(model, min_score)
