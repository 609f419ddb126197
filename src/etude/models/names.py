"""One grammar of model names: an embedded name, a directory, a GGUF file, or a hub id `org/name`."""

from __future__ import annotations

import difflib
import hashlib
from pathlib import Path

from etude.data.store import cache_root, locked
from etude.errors import EtudeError
from etude.models.embedded import EMBEDDED, prepare, prepared
from etude.models.gguf import CONVERSION, convert_gguf
from etude.models.hub import hub_snapshot
from etude.runs import content_hash, file_hash, read_json, write_json

_CONTENT = ("*.safetensors", "*.json", "*.jinja", "*.txt", "*.model", "*/config.json")
_NOT_CONTENT = {"source.json", "README.md"}
MODULES = "modules.json"
"""What lists the modules of a sentence-transformers folder."""


def model_directory(name: str) -> Path:
    """The local Hugging Face directory of a model; fetched and converted on first use.

    Args:
        name: An embedded name (`smollm2`, `minilm`), a directory, a `.gguf` file, or a hub id `org/name`.

    Returns:
        A directory with `config.json` (sentence-transformers: `modules.json`), safetensors weights and the
        tokenizer.

    Raises:
        EtudeError: There is no such model; the hint names the closest ones.
    """
    if name in EMBEDDED:
        return Path(prepare(name).directory)
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists() and not (path / MODULES).exists():
            raise EtudeError(
                f"{path}: not a model directory, it has no config.json",
                "Give the folder that save_pretrained wrote.",
            )
        return path
    if path.suffix == ".gguf":
        return _converted(path)
    if _looks_like_hub_id(name):
        return hub_snapshot(name)
    raise EtudeError(f"no model {name!r}: no embedded name, no directory, no hub id", _suggestion(name))


def model_origin(name: str) -> dict[str, str]:
    """What a measurement must say about the model it used: name, content, where it came from, its precision.

    Args:
        name: As for `model_directory`.

    Returns:
        `name`, `revision` (see `model_revision`), `source` and `precision`, as JSON for a claim's config.
    """
    directory = model_directory(name)
    found = prepared(name) if name in EMBEDDED else None
    return {
        "name": name,
        "revision": model_revision(directory),
        "source": found.source if found else "the user's own",
        "precision": found.precision if found else "as given",
    }


def model_revision(directory: Path) -> str:
    """What identifies the content of a model directory: 16 hex digits over its weights, config and tokenizer.

    The same files give the same revision on every machine. It is kept in the cache while the files' sizes and
    times are unchanged.
    """
    patterns = (*_CONTENT, "*/*.safetensors") if (directory / MODULES).exists() else _CONTENT
    files = sorted(
        {file for pattern in patterns for file in directory.glob(pattern) if file.name not in _NOT_CONTENT}
    )
    stamps = {
        str(file.relative_to(directory)): [file.stat().st_size, file.stat().st_mtime_ns] for file in files
    }
    note = cache_root() / "revisions" / f"{content_hash(str(directory.resolve()))[:24]}.json"
    if note.exists():
        known = read_json(note)
        if known["stamps"] == stamps:
            return str(known["revision"])
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(directory)}\0{file_hash(file)}\n".encode())
    revision = digest.hexdigest()[:16]
    write_json(note, {"directory": str(directory), "stamps": stamps, "revision": revision})
    return revision


def _converted(gguf: Path) -> Path:
    if not gguf.is_file():
        raise EtudeError(f"{gguf}: no such file", "Check the path.")
    directory = cache_root() / "models" / f"gguf-{file_hash(gguf)[:16]}-{CONVERSION}"
    with locked(directory.name):
        if not directory.is_dir():
            convert_gguf(gguf, directory)
    return directory


def _looks_like_hub_id(name: str) -> bool:
    parts = name.split("/")
    return len(parts) == 2 and all(parts) and not name.startswith((".", "~"))


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), EMBEDDED, n=2, cutoff=0.5)
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"Embedded models: {', '.join(EMBEDDED)}. A directory must exist; a hub id looks like org/name."
