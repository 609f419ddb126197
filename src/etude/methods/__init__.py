"""The eighteen methods, one package each; none imports another."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any


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
