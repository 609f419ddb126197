"""Id generators by name: `keywords`, `t5:DIR`, `lm:NAME`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from etude.data.batches import BatchFunction, Row
from etude.errors import EtudeError
from etude.methods.idgen.rounds import ASKED_ROUNDS, BEAM_ROUNDS, KEYWORD_ROUNDS, CandidateSource, Round


@dataclass(frozen=True)
class Generator:
    """An id generator by its options; every worker makes its own source from it.

    Args:
        name: `t5:DIR` (a sequence-to-sequence model), `lm:NAME` (any chat model), or `keywords`.
        texts: The catalogue's texts, by which keywords are weighed.
        base_url: Address of a served model.
        seed: Of a chat model's samples.
        device: For `t5:`; default: the GPU if there is one.

    Raises:
        EtudeError: There is no such generator.
    """

    name: str
    texts: Sequence[str] = ()
    base_url: str | None = None
    seed: int = 0
    device: str | None = None

    def __post_init__(self) -> None:
        if not (self.name == "keywords" or (self.kind in ("t5", "lm") and self.model)):
            raise EtudeError(
                f"there is no id generator {self.name!r}",
                "Give keywords, t5:DIR (a T5 that writes tags or titles) or lm:NAME (smollm2, openai/MODEL).",
            )

    @property
    def kind(self) -> str:
        """What stands before the colon."""
        return self.name.partition(":")[0]

    @property
    def model(self) -> str:
        """The model's name; empty for keywords."""
        return self.name.partition(":")[2]

    @property
    def rounds(self) -> tuple[Round, ...]:
        """Its source's rounds, known without loading anything."""
        return {"keywords": KEYWORD_ROUNDS, "t5": BEAM_ROUNDS, "lm": ASKED_ROUNDS}[self.kind]

    @property
    def identity(self) -> dict[str, Any]:
        """What determines its candidates, beside the texts."""
        from etude.models import model_directory, model_revision

        if self.kind == "t5":
            return {"generator": self.name, "revision": model_revision(model_directory(self.model))}
        return {"generator": self.name, "base_url": self.base_url, "seed": self.seed}

    def source(self) -> CandidateSource:
        """The source, with its model.

        Raises:
            EtudeError: There is no such model, or it is of another kind.
        """
        if self.kind == "t5":
            from etude.methods.idgen.beam_source import BeamSource, load_seq2seq

            return BeamSource(*load_seq2seq(self.model, self.device))
        if self.kind == "lm":
            from etude.methods.idgen.asking import AskedSource
            from etude.models import chat_model

            return AskedSource(chat_model(self.model, base_url=self.base_url), self.seed)
        from etude.methods.idgen.keywords import KeywordSource

        return KeywordSource(self.texts)

    def __call__(self) -> BatchFunction:
        """The source as a function of rows."""
        return batch_function(self.source())


def batch_function(source: CandidateSource) -> BatchFunction:
    """A source as a function of rows {text, round}, all of one round."""
    rounds = {one.name: one for one in source.rounds}

    def write(rows: list[Row]) -> list[Row]:
        found = source.candidates([row["text"] for row in rows], rounds[rows[0]["round"]])
        return [{**row, "candidates": one} for row, one in zip(rows, found, strict=True)]

    return write
