"""geoeval: the answer checker beside math-verify, and the realizer beside FormalGeo."""

from __future__ import annotations

from typing import Any

from benchmarks import _geoeval_checker, _geoeval_realiser


def main(*, quick: bool = False) -> dict[str, Any]:
    """Both measurements; each says at its file's top what its peer needs."""
    return {"checker": _geoeval_checker.main(quick=quick), "realizer": _geoeval_realiser.main(quick=quick)}
