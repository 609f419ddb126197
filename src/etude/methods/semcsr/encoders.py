"""Which encoder is trained: `static`, `frozen-lm`, or `full` fine-tuning (the GPU recipe)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, StaticEmbedding
from torch import nn

from etude.errors import EtudeError
from etude.methods.semcsr.frozen_lm import LAYER, FrozenLMEncoder, text_transformer, truncated_lm
from etude.methods.semcsr.static_encoder import DIMENSION, StaticEncoder, static_embedding
from etude.models import load_causal_lm, model_directory
from etude.models.local_lm import default_device
from etude.models.quiet import quiet_transformers
from etude.runs import read_json

Kind: TypeAlias = Literal["auto", "static", "frozen-lm", "full"]
PoolingName: TypeAlias = Literal["cls", "mean"]
TOKEN_DROPOUT = 0.15
STATE_DROPOUT = 0.1


class TrainableEncoder(Protocol):
    """An encoder with a form for training and a plain one."""

    kind: str

    def plain(self) -> SentenceTransformer:
        """The untrained encoder."""

    def training_model(self, texts: Sequence[str], work: Path) -> SentenceTransformer:
        """The encoder in training on these texts."""

    def finished(self, trained: SentenceTransformer) -> SentenceTransformer:
        """The trained encoder, of plain sentence-transformers modules."""


class FullEncoder:
    """A transformer whose weights are all trained; a tanh layer over [CLS] is there in training only.

    Args:
        name: A sentence-transformers folder, a transformer's folder, or a hub id.
        pooling: Where the folder does not say; `cls` gets the training-time layer.
        max_length: Tokens after which a text is cut.
    """

    kind = "full"

    def __init__(self, name: str, pooling: PoolingName, max_length: int) -> None:
        self.name, self.max_length = name, max_length
        self.pooling = pooling

    def plain(self) -> SentenceTransformer:
        """The untrained encoder."""
        return load_sentence_transformer(self.name, pooling=self.pooling, max_length=self.max_length)

    def training_model(self, texts: Sequence[str], work: Path) -> SentenceTransformer:
        """The encoder, with the layer of training."""
        model = self.plain()
        width = model.get_embedding_dimension()
        if self.pooling == "cls" and width is not None:
            model.append(Dense(width, width, activation_function=nn.Tanh()).to(model.device))
        return model

    def finished(self, trained: SentenceTransformer) -> SentenceTransformer:
        """The encoder without the layer of training."""
        modules = list(trained.children())
        if self.pooling == "cls":
            modules = modules[:-1]
        return SentenceTransformer(modules=modules, device=str(trained.device))


def open_encoder(
    name: str,
    corpus: Sequence[str],
    work: Path,
    *,
    kind: Kind = "auto",
    layer: int = LAYER,
    dimension: int = DIMENSION,
    dropout: float | None = None,
    pooling: PoolingName = "cls",
    max_length: int = 32,
) -> TrainableEncoder:
    """An encoder to train.

    Args:
        name: An embedded name, a folder (sentence-transformers or transformers) or a hub id.
        corpus: Sentences of the domain; they center `static` and `frozen-lm`.
        work: Folder for what is computed once.
        kind: `auto`: `static` for a causal language model, else `full` (or what a trained folder already is).
        layer: Of `frozen-lm`.
        dimension: Of the vectors of `static` and `frozen-lm`.
        dropout: In training; 0.15 of the tokens (`static`), 0.1 of the states (`frozen-lm`).
        pooling: Of `full`, where the folder does not say.
        max_length: Tokens after which `full` and `frozen-lm` cut a text.

    Raises:
        EtudeError: There is no such model, or it cannot be trained so.
    """
    if dropout is not None and not 0 <= dropout < 1:
        raise EtudeError(f"dropout {dropout} cannot be", "It is 0 or more and below 1.")
    directory = model_directory(name) if not _is_sentence_transformer(Path(name)) else Path(name)
    if kind == "auto":
        kind = _kind_of(directory)
    if kind == "static":
        share = TOKEN_DROPOUT if dropout is None else dropout
        if _is_sentence_transformer(directory):
            module = load_sentence_transformer(str(directory))[0]
            if not isinstance(module, StaticEmbedding):
                raise EtudeError(f"{name}: not a static encoder", "Use --kind full.")
            return StaticEncoder(module, share)
        return StaticEncoder(static_embedding(load_causal_lm(name), corpus, dimension), share)
    if kind == "frozen-lm":
        layers = truncated_lm(load_causal_lm(name, device="cpu"), layer, max_length)
        layers.to(default_device())
        share = STATE_DROPOUT if dropout is None else dropout
        return FrozenLMEncoder(layers, corpus, share, work, dimension)
    if _is_sentence_transformer(directory):
        pooling = "cls" if _pools_first_token(directory) else "mean"
    return FullEncoder(name, pooling, max_length)


def load_sentence_transformer(
    name: str, *, pooling: PoolingName = "mean", max_length: int | None = None
) -> SentenceTransformer:
    """A sentence-transformers model by name; a plain transformer gets a pooling.

    Raises:
        EtudeError: There is no such model, or it needs code of its own.
    """
    directory = Path(name) if _is_sentence_transformer(Path(name)) else model_directory(name)
    with quiet_transformers(), _quiet_sentence_transformers():
        try:
            if _is_sentence_transformer(directory):
                model = SentenceTransformer(str(directory), device=default_device(), local_files_only=True)
            else:
                transformer = text_transformer(str(directory), max_length)
                pooled = Pooling(transformer.get_embedding_dimension(), pooling)
                model = SentenceTransformer(modules=[transformer, pooled], device=default_device())
        except (ValueError, OSError, KeyError, ImportError, RuntimeError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise EtudeError(
                f"{name}: cannot be loaded as a sentence encoder ({reason})"[:400],
                "Give a sentence-transformers folder, an encoder's folder or a hub id.",
            ) from error
    if max_length is not None and model.max_seq_length and not isinstance(model[0], StaticEmbedding):
        model.max_seq_length = min(max_length, model.max_seq_length)
    return model


def _is_sentence_transformer(directory: Path) -> bool:
    return (directory / "modules.json").is_file()


def _kind_of(directory: Path) -> Literal["static", "frozen-lm", "full"]:
    if _is_sentence_transformer(directory):
        first = read_json(directory / "modules.json")[0]["type"]
        return "static" if first.endswith(".StaticEmbedding") else "full"
    architectures = read_json(directory / "config.json").get("architectures") or []
    return "static" if any("CausalLM" in str(one) for one in architectures) else "full"


def _pools_first_token(directory: Path) -> bool:
    settings: dict[str, Any] = {}
    for path in directory.glob("*_Pooling/config.json"):
        settings = read_json(path)
    return settings.get("pooling_mode") == "cls" or bool(settings.get("pooling_mode_cls_token"))


@contextmanager
def _quiet_sentence_transformers() -> Iterator[None]:
    logger = logging.getLogger("sentence_transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
