"""What the claim's arms do: train a tokenizer and a model on some of the corpora, and score held-out
documents.

Every arm of a comparison has the same model, steps and tokens a step, so the same compute; or, in the
equal-bytes version, as many steps as it takes to read as many bytes as the native arm reads.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from etude.data.store import cache_root
from etude.evidence import Measurement
from etude.methods.teenytinyllama.bits_per_byte import document_bits
from etude.methods.teenytinyllama.configs import ModelConfig
from etude.methods.teenytinyllama.parallel_corpora import (
    LANGUAGES,
    NATIVE,
    Corpora,
    beginnings,
    read_corpora,
    size_of,
)
from etude.methods.teenytinyllama.pretraining import train
from etude.methods.teenytinyllama.reading import Document
from etude.methods.teenytinyllama.settings import TrainSettings
from etude.methods.teenytinyllama.shard_writing import write_shards
from etude.methods.teenytinyllama.shards import TokenShards
from etude.methods.teenytinyllama.tokenizer_training import train_tokenizer
from etude.models import load_causal_lm
from etude.runs import content_hash, source_hash

SETS = ("manuals", "news")
TEXTS: dict[str, tuple[str, ...]] = {"native": (NATIVE,), "multilingual": LANGUAGES, "English": ("en",)}
ALL = "all native"  # manuals and news, for the scaling picture


@dataclass(frozen=True)
class Contender:
    """One way to train.

    Attributes:
        tokenizer, text: What the tokenizer and the model are trained on: native, multilingual, English, all
            native.
        model: The shape, by name of `Setting.models`.
        bytes_of: Read as many bytes as this contender reads in the setting's steps, rather than as many
            tokens.
    """

    tokenizer: str
    text: str
    model: str
    bytes_of: Contender | None = None


@dataclass(frozen=True)
class Setting:
    """A scale of the claim.

    Attributes:
        models: Shapes by name.
        vocabulary: Of the pretraining arms' tokenizers.
        training: Of every arm, but steps and seed.
        steps: Optimizer steps at equal compute.
        characters: Held-out documents are cut to so many; None keeps them whole.
        stride: Of evaluation windows; None is the context: every token is read once.
    """

    models: Mapping[str, ModelConfig]
    vocabulary: int
    training: TrainSettings
    steps: int
    characters: int | None = None
    stride: int | None = None


@dataclass(frozen=True)
class Laboratory:
    """The corpora in a folder under one setting; tokenizers, shards and trained models are kept in the cache.

    Attributes:
        folder: The data.
        setting: The scale.
        digests: File to SHA-256, for the names in the cache.
    """

    folder: Path
    setting: Setting
    digests: Mapping[str, str]

    @cached_property
    def corpora(self) -> Corpora:
        """The texts."""
        return read_corpora(self.folder)

    @cached_property
    def held_out(self) -> dict[str, list[Document]]:
        """Held-out documents by set."""
        sets = {"manuals": self.corpora.manuals, "news": self.corpora.news}
        return {name: beginnings(documents, self.setting.characters) for name, documents in sets.items()}

    def text(self, name: str) -> list[Document]:
        """Training documents of equal bytes; or all native ones, whatever their bytes."""
        return list(self.corpora.native) if name == ALL else self.corpora.text(*TEXTS[name])

    def tokenizer(self, name: str, vocabulary: int) -> Tokenizer:
        """A tokenizer trained on a text."""
        return train_tokenizer((d.text for d in self.text(name)), vocab_size=vocabulary)

    def shards(self, tokenizer: str, text: str, block: int) -> TokenShards:
        """A text in a tokenizer's tokens."""
        size = self.setting.vocabulary
        folder = self._place("shards", tokenizer=tokenizer, vocabulary=size, text=text, block=block)
        if not (folder / "manifest.json").is_file():
            write_shards(self.text(text), self.tokenizer(tokenizer, size), folder, block=block)
        return TokenShards.open(folder)

    def steps(self, contender: Contender) -> int:
        """Optimizer steps of a contender."""
        if contender.bytes_of is None:
            return self.setting.steps
        ours, theirs = self.bytes_per_token(contender), self.bytes_per_token(contender.bytes_of)
        return round(self.setting.steps * theirs / ours)

    def bytes_per_token(self, contender: Contender) -> float:
        """UTF-8 bytes that a token of the contender's training text stands for."""
        shards = self.shards(
            contender.tokenizer, contender.text, self.setting.models[contender.model].context
        )
        totals = shards.manifest.splits["train"]
        return totals.bytes / totals.tokens

    def trained(self, contender: Contender, seed: int) -> tuple[Path, dict[str, Any]]:
        """Folder of the trained model, and what its training read; trained once, a killed one goes on."""
        config = replace(self.setting.models[contender.model], vocab_size=self.setting.vocabulary)
        shards = self.shards(contender.tokenizer, contender.text, config.context)
        settings = replace(self.setting.training, steps=self.steps(contender), seed=seed)
        out = self._place(
            "models", contender=asdict(contender), model=asdict(config), training=asdict(settings),
            source=source_hash("etude.methods.teenytinyllama"),
        )  # fmt: skip
        made = train(config, shards, settings, out, quiet=True)
        shutil.rmtree(out / "checkpoints", ignore_errors=True)  # the cache keeps finished models alone
        return Path(made.model), {
            "parameters": made.parameters,
            "steps": made.steps,
            "tokens read": made.tokens,
            "MB read": round(made.tokens * self.bytes_per_token(contender) / 1e6, 3),
            "epochs": round(made.epochs, 2),
            "seconds": round(made.seconds, 1),
        }

    def measure_model(self, contender: Contender, seed: int) -> Measurement:
        """Train, then score every held-out document."""
        folder, facts = self.trained(contender, seed)
        lm = load_causal_lm(str(folder), device="cpu")
        stride = self.setting.stride or lm.context_length
        scores = {}
        for name, documents in self.held_out.items():
            found = document_bits(lm, documents, stride=stride)
            scores[bits_metric(name)] = {score.id: score.bits_per_byte for score in found}
            facts[f"{name}, all bytes"] = sum(s.bits for s in found) / sum(s.utf8_bytes for s in found)
        return Measurement(scores, facts)

    def measure_tokenizer(self, name: str, vocabulary: int) -> Measurement:
        """Tokens a word on every held-out document, and tokens a page in every language."""
        trained = self.tokenizer(name, vocabulary)
        sets = {"manuals": self.corpora.manuals, "news": self.corpora.news}
        facts: dict[str, Any] = {"training bytes": sum(map(size_of, self.text(name)))}
        for language in LANGUAGES:
            pages = [page[language] for page in self.corpora.pages]
            facts[f"tokens/page {language}"] = count_tokens(trained, pages) / len(pages)
        scores = {}
        for held, documents in sets.items():
            scores[fertility_metric(held)] = {
                d.id: count_tokens(trained, [d.text]) / len(d.text.split()) for d in documents
            }
            texts = [d.text for d in documents]
            facts[f"{held}, all words"] = count_tokens(trained, texts) / sum(len(t.split()) for t in texts)
        return Measurement(scores, facts)

    def _place(self, kind: str, **address: Any) -> Path:
        key = content_hash({"data": dict(self.digests), **address})[:24]
        return cache_root() / "teenytinyllama" / kind / key


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> int:
    """Tokens of some texts together."""
    return sum(
        len(encoding.ids) for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)
    )


def bits_metric(name: str) -> str:
    """Name of the metric on a held-out set."""
    return f"bits/byte {name}"


def fertility_metric(name: str) -> str:
    """Name of the metric on a held-out set."""
    return f"tokens/word {name}"
