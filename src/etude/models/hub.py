"""Models on the Hugging Face hub: only the files a model needs, from the local cache when they are there."""

from __future__ import annotations

import os
from pathlib import Path

from etude.errors import EtudeError

_WANTED = ["*.json", "*.safetensors", "*.txt", "*.jinja", "*.model", "1_Pooling/*"]
_UNWANTED = ["onnx/*", "openvino/*", "*.onnx", "runs/*", "original/*"]


def is_offline() -> bool:
    """Whether the user told the Hugging Face libraries to stay offline (`HF_HUB_OFFLINE` ...)."""
    asked = (os.environ.get(name, "") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))
    return any(value.upper() in {"1", "ON", "YES", "TRUE"} for value in asked)


def hub_snapshot(hub_id: str) -> Path:
    """The directory of a hub model: from the local Hugging Face cache if complete, else downloaded.

    Args:
        hub_id: `org/name`.

    Returns:
        The snapshot's directory, named after its commit.

    Raises:
        EtudeError: The model does not exist, is gated, or the hub cannot be reached.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        local = Path(
            snapshot_download(
                hub_id, local_files_only=True, allow_patterns=_WANTED, ignore_patterns=_UNWANTED
            )
        )
        if (local / "config.json").exists() and any(local.glob("*.safetensors")):
            return local
    except HFValidationError as error:
        raise EtudeError(
            f"{hub_id!r} is not a hub id ({error})"[:300], "A hub id looks like org/name."
        ) from error
    except LocalEntryNotFoundError:
        pass
    try:
        return Path(snapshot_download(hub_id, allow_patterns=_WANTED, ignore_patterns=_UNWANTED))
    except GatedRepoError as error:
        raise EtudeError(
            f"{hub_id} is gated",
            f"Accept its terms on https://huggingface.co/{hub_id}, then `hf auth login`.",
        ) from error
    except RepositoryNotFoundError as error:
        raise EtudeError(
            f"the hub has no model {hub_id} (or it is private)",
            "Check the id; for a private one, `hf auth login`.",
        ) from error
    except Exception as error:  # the many ways of having no network
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise EtudeError(
            f"{hub_id} could not be fetched from the Hugging Face hub ({reason})"[:400],
            "Go online, or give a directory; embedded models also work offline.",
        ) from error
