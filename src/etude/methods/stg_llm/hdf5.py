"""Wide data frames in HDF5 as pandas' "fixed" layout writes them (METR-LA and PEMS-BAY travel so), read
without pickle.

The layout: a group with `axis0` (column names), `axis1` (the index, integers with the attribute `kind`), and
blocks `block0_items`, `block0_values` ... of plain numbers. Object blocks, which pandas pickles, are refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from etude.errors import EtudeError


def read_wide_frame(path: Path) -> tuple[NDArray[Any], list[str], NDArray[np.float64]]:
    """Times, node names and values (T, N, 1) of the one frame in an HDF5 file.

    Raises:
        EtudeError: Without h5py, without a frame in the fixed layout, or with object blocks.
    """
    try:
        import h5py
    except ImportError:
        raise EtudeError(
            f"{path}: reading HDF5 needs h5py", "pip install 'etude[hdf5]', or give CSV or Parquet"
        ) from None
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise EtudeError(f"{path}: not an HDF5 file ({error})", "give the file as it was published") from None
    with file:
        found: list[Any] = []
        file.visititems(
            lambda _, item: (
                found.append(item) if isinstance(item, h5py.Group) and "block0_values" in item else None
            )
        )
        if len(found) != 1:
            raise EtudeError(
                f"{path}: {len(found)} data frames in pandas' fixed layout, expected one",
                "write one frame with format='fixed'",
            )
        frame = found[0]
        columns = _names(frame["axis0"])
        times = _index(path, frame["axis1"])
        values = np.full((len(times), len(columns)), np.nan)
        place = {c: i for i, c in enumerate(columns)}
        block = 0
        while f"block{block}_values" in frame:
            numbers = frame[f"block{block}_values"]
            if numbers.dtype.kind not in "fiu" or numbers.ndim != 2:
                raise EtudeError(
                    f"{path}: block {block} holds objects, not numbers", "keep only numeric columns"
                )
            items = _names(frame[f"block{block}_items"])
            values[:, [place[i] for i in items]] = numbers[()]
            block += 1
    return times, columns, values[:, :, None]


def _names(dataset: Any) -> list[str]:
    return [c.decode() if isinstance(c, bytes) else str(c) for c in dataset[()]]


def _index(path: Path, dataset: Any) -> NDArray[Any]:
    kind = dataset.attrs.get("kind", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    raw = dataset[()]
    if kind.startswith("datetime64"):
        unit = kind[len("datetime64[") : -1] or "ns"
        return np.asarray(raw.astype(f"datetime64[{unit}]").astype("datetime64[s]"))
    if kind == "integer":
        return np.asarray(raw.astype(np.int64))
    raise EtudeError(f"{path}: the index is of kind {kind!r}", "use a datetime or an integer index")
