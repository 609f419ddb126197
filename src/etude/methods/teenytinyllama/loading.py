"""Anybody's tokenizer, as fertility and preparation need it: text to ids, and no text taken for a token."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from etude.errors import EtudeError
from etude.methods.teenytinyllama.llama_tokenizer import END, SPECIAL, UNKNOWN, save_tokenizer
from etude.models import load_tokenizer
from etude.models.quiet import quiet_transformers
from etude.runs import atomic_path, read_json

_COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "training.json",
    "chat_template.jinja",
)
_USUAL_ENDS = ("</s>", "<|endoftext|>", "<eos>", "<|end_of_text|>", "[SEP]")


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer that reads text as text: a document that contains `</s>` does not get an end token.

    Args:
        name: What it was asked for by.
        tokenizer: The tokenizer itself.
        end_token: Id of the token after each document, or None when it has none.
        unknown_token: Id of the unknown token, or None.
        folder: The folder of its files, if it came from one.
    """

    name: str
    tokenizer: Tokenizer
    end_token: int | None
    unknown_token: int | None
    folder: Path | None = None

    @property
    def vocab_size(self) -> int:
        """One more than the largest token id."""
        return int(max(self.tokenizer.get_vocab(with_added_tokens=True).values())) + 1

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without begin and end tokens, on all cores."""
        batch = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in batch]

    def training(self) -> dict[str, Any] | None:
        """What it was trained on (`training.json`), when `tokenizer` wrote it."""
        path = self.folder / "training.json" if self.folder else None
        return dict(read_json(path)) if path and path.is_file() else None

    def save(self, folder: Path) -> None:
        """Write its files, in one step, for `transformers.AutoTokenizer.from_pretrained`."""
        if self.folder is not None:
            with atomic_path(folder) as temporary:
                temporary.mkdir()
                for name in _COPIED:
                    if (self.folder / name).is_file():
                        shutil.copyfile(self.folder / name, temporary / name)
        elif self.end_token == END and self.tokenizer.id_to_token(UNKNOWN) == SPECIAL[UNKNOWN]:
            save_tokenizer(self.tokenizer, folder)
        else:
            from transformers import PreTrainedTokenizerFast

            named = {"eos_token": self.end_token, "unk_token": self.unknown_token}
            tokens = {k: self.tokenizer.id_to_token(v) for k, v in named.items() if v is not None}
            with atomic_path(folder) as temporary:
                wrapper: Any = PreTrainedTokenizerFast
                wrapper(tokenizer_object=self.tokenizer, **tokens).save_pretrained(temporary)


def wrap_tokenizer(tokenizer: Tokenizer, name: str = "") -> LoadedTokenizer:
    """A tokenizer of the `tokenizers` library; its end and unknown token are found by their usual names."""
    return _loaded(name, tokenizer, None, None)


def load_any_tokenizer(name: Path | str) -> LoadedTokenizer:
    """Load a tokenizer by name.

    Args:
        name: A folder with `tokenizer.json`, such a file, a model's directory, an embedded model's name, or a
            hub id (only tokenizer files are fetched).

    Raises:
        EtudeError: There is none, or it is not one of the `tokenizers` library.
    """
    path = Path(name).expanduser()
    if path.is_file() or (path / "tokenizer.json").is_file():
        file = path if path.is_file() else path / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises its own bare Exception
            raise EtudeError(
                f"{file}: not a tokenizer ({error})"[:400],
                "Give the tokenizer.json of the tokenizers library.",
            ) from error
        if path.is_file():
            return _loaded(str(name), tokenizer, None, None)
        return _loaded(
            str(name), tokenizer, path, {key: _stated(path, key) for key in ("eos_token", "unk_token")}
        )
    found = _from_hub(str(name)) if _is_hub_id(str(name)) else load_tokenizer(str(name))
    backend = getattr(found, "backend_tokenizer", None)
    if backend is None:
        raise EtudeError(
            f"{name}: its tokenizer is not one of the tokenizers library ({type(found).__name__})",
            "Give a model that has a tokenizer.json.",
        )
    stated = {"eos_token": found.eos_token, "unk_token": found.unk_token}
    return _loaded(str(name), backend, None, stated)


def _loaded(
    name: str, tokenizer: Tokenizer, folder: Path | None, stated: dict[str, Any] | None
) -> LoadedTokenizer:
    own = Tokenizer.from_str(tokenizer.to_str())  # the caller's keeps its settings
    own.encode_special_tokens = True
    own.no_truncation()
    own.no_padding()
    stated = stated or {}
    end = stated.get("eos_token") or next((e for e in _USUAL_ENDS if own.token_to_id(e) is not None), None)
    unknown = stated.get("unk_token") or getattr(own.model, "unk_token", None) or SPECIAL[UNKNOWN]
    return LoadedTokenizer(
        name, own, None if end is None else own.token_to_id(end), own.token_to_id(unknown), folder
    )


def _stated(folder: Path, key: str) -> str | None:
    """A special token by the folder's configuration files: text, or a record with `content`."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        if (folder / name).is_file():
            value = read_json(folder / name).get(key)
            value = value.get("content") if isinstance(value, dict) else value
            if isinstance(value, str):
                return value
    return None


def _is_hub_id(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 and all(parts) and not name.startswith((".", "~")) and not Path(name).exists()


def _from_hub(name: str) -> Any:
    from transformers import AutoTokenizer

    with quiet_transformers():
        try:
            return AutoTokenizer.from_pretrained(name)
        except Exception as error:  # the many ways of having no network, no such model, no tokenizer
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise EtudeError(
                f"{name}: no such folder, and no tokenizer of that name on the hub ({reason})"[:400],
                "Check the path or the hub id, and that you are online.",
            ) from error
