"""What `inspect eval etude/NAME` finds: every method's Inspect task, imported once (entry point group
`inspect_ai`).
"""

from __future__ import annotations

import importlib
import pkgutil

import etude.methods

for _method in pkgutil.iter_modules(etude.methods.__path__, "etude.methods."):
    try:
        importlib.import_module(f"{_method.name}.inspect_task")
    except ModuleNotFoundError as _error:
        if _error.name != f"{_method.name}.inspect_task":
            raise
