"""`AffectAnnotator`: affect values of texts by lexicon, by a head trained on EmoBank, or by a chat model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError
from etude.methods.conspemollm.affect_tasks import ordinal, unit
from etude.methods.conspemollm.emobank import DIMENSIONS, read_emobank
from etude.methods.conspemollm.lexicons import (
    NRC_COLUMNS,
    NRC_NOTICE,
    VADER_COLUMNS,
    nrc_rates,
    require_nrc,
    vader_scores,
)
from etude.methods.conspemollm.llm_affect import LLM_COLUMNS, llm_affect
from etude.methods.conspemollm.vad_head import HeadKind, VadHead, vad_head, vad_of
from etude.models import StoredChat
from etude.runs import content_hash, file_hash

Provider: TypeAlias = Literal["lexicon", "vad", "llm", "nrc"]
VAD_COLUMNS = (*DIMENSIONS, "valence_ordinal")
COLUMNS: dict[Provider, tuple[str, ...]] = {
    "lexicon": VADER_COLUMNS,
    "vad": VAD_COLUMNS,
    "llm": LLM_COLUMNS,
    "nrc": NRC_COLUMNS,
}


@dataclass(frozen=True)
class AffectSettings:
    """How affect is found; plain values that travel with a trained detector.

    Args:
        providers: One or more of `lexicon` (VADER), `vad` (a head on EmoBank), `llm`, `nrc`.
        emobank: EmoBank's file, for `vad`.
        encoder: What the VAD head reads with.
        head: `ridge` or `mlp`.
        model: The chat model of `llm`.
        base_url: Of a served model.
        accept_nrc_licence: The terms of the NRC lexicon were read and fit.
        vad_file: A trained head, instead of EmoBank.
    """

    providers: tuple[Provider, ...] = ("lexicon",)
    emobank: str | None = None
    encoder: str = "minilm"
    head: HeadKind = "ridge"
    model: str | None = None
    base_url: str | None = None
    accept_nrc_licence: bool = False
    vad_file: str | None = None


class AffectAnnotator:
    """Affect values of texts.

        annotator = AffectAnnotator(AffectSettings(("lexicon", "vad"), emobank="emobank.csv"))
        annotator.table(["Nobody is safe any more.", "What a lovely day."])

    Args:
        settings: Which providers, and what they need.
        store: File that keeps a chat model's answers, where it has no store of its own.

    Raises:
        EtudeError: An unknown provider, one that lacks what it needs, or the NRC lexicon without its licence.
    """

    def __init__(self, settings: AffectSettings, store: Path | None = None) -> None:
        self.settings = settings
        self.store = store
        self.counts: Counter[str] = Counter()
        self.notices: list[str] = []
        unknown = [name for name in settings.providers if name not in COLUMNS]
        if unknown or not settings.providers:
            raise EtudeError(
                f"no affect provider {', '.join(unknown) or 'was named'}", f"There are {', '.join(COLUMNS)}."
            )
        if "nrc" in settings.providers:
            require_nrc(settings.accept_nrc_licence)
            self.notices.append(NRC_NOTICE)
        if "llm" in settings.providers and not settings.model:
            raise EtudeError(
                "the llm provider needs a chat model", "Give --model, e.g. --model openai/EmoLLaMA."
            )
        self.head: VadHead | None = None
        if "vad" in settings.providers:
            if settings.vad_file:
                self.head = VadHead.load(Path(settings.vad_file))
            else:
                path = Path(settings.emobank) if settings.emobank else None
                self.head = vad_head(read_emobank(path), settings.encoder, settings.head)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the values, in order."""
        return tuple(column for provider in self.settings.providers for column in COLUMNS[provider])

    @property
    def identity(self) -> str:
        """12 hex digits over all that determines the values."""
        known = [list(self.settings.providers), self.settings.model, self.settings.base_url]
        head = [[w.tolist(), b.tolist()] for w, b in self.head.layers] if self.head else None
        return content_hash([known, head, self.head.revision if self.head else None])[:12]

    def table(self, texts: Sequence[str]) -> list[dict[str, float | None]]:
        """The values of each text, by column; an answer that a model did not give is None."""
        rows: list[dict[str, float | None]] = [{} for _ in texts]
        for provider in self.settings.providers:
            for row, values in zip(rows, self._values(provider, texts), strict=True):
                row |= values
        return rows

    def matrix(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The values as features, (texts, columns); what is missing becomes the column's mean."""
        table = self.table(texts)
        found = np.array(
            [[np.nan if row[c] is None else row[c] for c in self.columns] for row in table], dtype=float
        ).reshape(len(texts), len(self.columns))
        counted = (~np.isnan(found)).sum(0)
        means = np.where(counted > 0, np.nansum(found, 0) / np.maximum(counted, 1), 0.0)
        return np.where(np.isnan(found), means, found)

    def _values(self, provider: Provider, texts: Sequence[str]) -> list[dict[str, Any]]:
        if provider == "lexicon":
            return [dict(zip(VADER_COLUMNS, vader_scores(text), strict=True)) for text in texts]
        if provider == "nrc":
            return [dict(zip(NRC_COLUMNS, nrc_rates(text), strict=True)) for text in texts]
        if provider == "vad":
            assert self.head is not None
            return [
                {
                    **dict(zip(DIMENSIONS, map(float, row), strict=True)),
                    "valence_ordinal": float(ordinal(row[0])),
                }
                for row in vad_of(self.head, texts)
            ]
        assert self.settings.model is not None
        chat = keeping_chat(self.settings.model, self.settings.base_url, self.store)
        return list(llm_affect(chat, texts, self.counts))


def keeping_chat(name: str, base_url: str | None, store: Path | None) -> StoredChat:
    """A chat model; one that has no store of its own keeps its answers in `store`."""
    from etude.models import chat_model

    chat = chat_model(name, base_url=base_url)
    if chat.store is None and store is not None and not name.startswith("replay/"):
        return chat_model(name, base_url=base_url, store=store)
    return chat


def verbalize(values: dict[str, float | None]) -> str:
    """Affect values as the line of a prompt: `valence 0.31, arousal 0.52, ...` (route `affect-prompt`)."""
    said = []
    for name, value in values.items():
        if value is None:
            continue
        if name in DIMENSIONS:
            said.append(f"{name} {unit(value):.2f}")
        elif name == "vader_compound":
            said.append(f"tone {value:.2f}")
        elif name in ("anger", "fear", "joy", "sadness"):
            said.append(f"{name} {value:.2f}")
        elif name.startswith("feels_") and value:
            said.append(name.removeprefix("feels_"))
    return ", ".join(said) or "unknown"


def settings_hash(settings: AffectSettings) -> dict[str, Any]:
    """The settings as JSON for a run's configuration: files by their content."""
    shown = {**vars(settings), "providers": list(settings.providers)}
    for name in ("emobank", "vad_file"):
        if shown[name] and Path(shown[name]).is_file():
            shown[name] = file_hash(shown[name])[:16]
    return shown
