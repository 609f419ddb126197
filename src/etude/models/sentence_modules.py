"""Folders of sentence-transformers: which modules they have, and those before the pooling as one model.

`modules.json` lists a folder's modules. A transformer and its pooling need nothing more than the pooling's
name; a table of token embeddings (`StaticEmbedding`) and layers on the token states (`Dense`) are run by
sentence-transformers' own modules, behind the face that the encoders of transformers have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput

from etude.errors import EtudeError
from etude.models.encoder import Pooling
from etude.models.names import MODULES
from etude.runs import read_json

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_OURS = "sentence_transformers."
_LAYERS = {"Dense", "Dropout"}
_AFTER = {"Normalize", "Dropout"}
_STATIC = "StaticEmbedding"


@dataclass(frozen=True)
class SentenceFolder:
    """What a folder's `modules.json` says.

    Args:
        kinds: Class names of the modules before the pooling.
        pooling: How token states become one vector.
        plain: Whether a transformer at the folder's top and its pooling are all there is.
    """

    kinds: tuple[str, ...]
    pooling: Pooling
    plain: bool


def read_sentence_folder(directory: Path) -> SentenceFolder | None:
    """The modules of a sentence-transformers folder; None where the folder is no such.

    Raises:
        EtudeError: It has a module, an order or a pooling that is not known here.
    """
    if not (directory / MODULES).is_file():
        return None
    listed = read_json(directory / MODULES)
    kinds = [str(one["type"]).rpartition(".")[2] for one in listed]
    at = kinds.index("Pooling") if "Pooling" in kinds else 1  # a table of embeddings is its own pooling
    before, after = kinds[:at], kinds[at + ("Pooling" in kinds) :]
    foreign = [one["type"] for one in listed if not str(one["type"]).startswith(_OURS)]
    starts = bool(before) and (before[0] == "Transformer" or before == [_STATIC])
    if foreign or not starts or set(before[1:]) - _LAYERS or set(after) - _AFTER:
        raise EtudeError(
            f"{directory}: an encoder of the modules {', '.join(foreign or kinds)}",
            "Give one of a transformer (or token embeddings), layers on its token states, and a pooling.",
        )
    told = directory / listed[0]["path"] / "sentence_bert_config.json"
    if "message" in ((read_json(told) if told.exists() else {}).get("modality_config") or {}):
        raise EtudeError(
            f"{directory}: an encoder that reads a text as a chat message, inside its chat template",
            "Here texts are read as they are: train it from a tokenizer without a chat template.",
        )
    pooling = "mean" if before == [_STATIC] else _pooling(directory / listed[at]["path"])
    return SentenceFolder(tuple(before), pooling, before == ["Transformer"] and not listed[0]["path"])


def _pooling(folder: Path) -> Pooling:
    """The pooling of a folder, as sentence-transformers 6 writes it, or as those before."""
    path = folder / "config.json"
    stored = read_json(path) if path.exists() else {}
    modes = stored.get("pooling_mode") or [
        name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for name, chosen in stored.items()
        if name.startswith("pooling_mode_") and chosen is True
    ]
    names = [modes] if isinstance(modes, str) else list(modes or ["mean"])
    if names == ["cls"]:
        return "cls"
    if names == ["mean"]:
        return "mean"
    raise EtudeError(
        f"{folder.parent}: its pooling is {' and '.join(map(str, names))}",
        "Encoders are pooled by mean or cls here.",
    )


class TokenStates(nn.Module):
    """The modules before the pooling, with the face of a transformers encoder.

    Args:
        modules: A `Transformer` or a `StaticEmbedding`, then layers on the token states.
        pooling: Written beside them by `save_pretrained`.
        width: Length of a state after the last module.
    """

    def __init__(self, modules: list[nn.Module], pooling: Pooling, width: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)
        self.pooling = pooling
        first: Any = modules[0]
        kept = {} if self.is_static else first.auto_model.config.to_dict()
        self.config = PretrainedConfig.from_dict({**kept, "hidden_size": width})

    @property
    def is_static(self) -> bool:
        """Whether token states are rows of a table."""
        return type(self.parts[0]).__name__ == _STATIC

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **others: Any) -> BaseModelOutput:
        """Token ids (batch, tokens) to states (batch, tokens, dimension)."""
        first: Any = self.parts[0]
        if self.is_static:
            states = nn.functional.embedding(input_ids, first.embedding.weight)
        else:
            states = first.auto_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        features: dict[str, Tensor] = {"token_embeddings": states, "attention_mask": attention_mask}
        for part in list(self.parts)[1:]:
            features = part(features)
        return BaseModelOutput(last_hidden_state=features["token_embeddings"])

    def save_pretrained(self, folder: Path | str) -> None:
        """Write a sentence-transformers folder again."""
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule

        modules: list[Any] = list(self.parts)
        if not self.is_static:
            modules.append(PoolingModule(self.config.hidden_size, self.pooling))
        SentenceTransformer(modules=modules, device="cpu").save(str(folder), create_model_card=False)


def load_token_states(
    directory: Path, found: SentenceFolder
) -> tuple[TokenStates, PreTrainedTokenizerBase, int]:
    """The modules before the pooling, their tokenizer, and the tokens after which a text is cut.

    Raises:
        EtudeError: Its tokenizer cannot pad.
        ValueError, OSError, KeyError, ImportError: What sentence-transformers says of a broken folder.
    """
    from sentence_transformers import SentenceTransformer

    if found.kinds[0] == _STATIC and not (directory / "model.safetensors").is_file():
        raise OSError("no model.safetensors")
    loaded: SentenceTransformer = SentenceTransformer(
        str(directory),
        device="cpu",
        local_files_only=True,
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
    )
    parts = list(loaded.children())[: len(found.kinds)]
    states = TokenStates(parts, found.pooling, int(loaded.get_embedding_dimension() or 0))
    first: Any = parts[0]
    if states.is_static:
        return states, _static_tokenizer(directory), 1_000_000
    length = first.max_seq_length
    return states, first.tokenizer, 512 if length is None or math.isinf(length) else int(length)


def _static_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a table of embeddings: no special tokens around a text; one of them pads."""
    from tokenizers import Tokenizer, processors

    pieces = Tokenizer.from_file(str(directory / "tokenizer.json"))
    pieces.no_truncation()
    pieces.no_padding()
    pieces.post_processor = processors.Sequence([])
    special = [
        token.content for _, token in sorted(pieces.get_added_tokens_decoder().items()) if token.special
    ]
    if not special:
        raise EtudeError(
            f"{directory}: its tokenizer has no special token to fill batches with",
            "Add one, e.g. [PAD], to its tokenizer.json.",
        )
    pad = next((name for name in special if "pad" in name.lower()), special[0])
    made: Any = PreTrainedTokenizerFast
    tokenizer: PreTrainedTokenizerBase = made(tokenizer_object=pieces, pad_token=pad)
    return tokenizer
