"""The eighteen methods, one package each; none imports another."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def lazy(
    package: str, exports: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Module-level `__getattr__`, `__dir__` and `__all__` that import a submodule on first use (PEP 562).

    A method's `__init__` stays free of torch, so that `etude --help` answers at once.

    Args:
        package: `__name__` of the method's package.
        exports: Public name to the submodule that defines it.
    """

    def get(name: str) -> Any:
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{exports[name]}"), name)
        setattr(sys.modules[package], name, value)  # a verb may share its submodule's name: the verb wins
        return value

    return get, lambda: sorted(exports), sorted(exports)


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """A public verb: from Python, paths may be given as text, as they are on the command line.

    Args:
        function: A verb; texts given for its parameters annotated `Path`, `Path | None` or
            `tuple[Path, ...]` become paths.
    """

    @functools.cache
    def signature() -> inspect.Signature:  # at the first call, when all it names is imported
        return inspect.signature(function, eval_str=True)

    def as_path(value: Any) -> Any:
        return Path(value) if isinstance(value, str) else value

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature().bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            annotation = signature().parameters[name].annotation
            if annotation in (Path, Path | None):
                bound.arguments[name] = as_path(value)
            elif annotation == tuple[Path, ...]:
                values = (value,) if isinstance(value, str | Path) else value
                bound.arguments[name] = tuple(as_path(one) for one in values)
        return function(*bound.args, **bound.kwargs)

    return call
