"""What Inspect loads for `etude/...`: the tasks of every method that has some.

Inspect knows one module for each package. Importing this one registers each method's `inspect_task`; a
method whose own dependencies are missing is left out, so that the others' tasks stay usable.
"""

from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec

from etude.catalogue import CARDS

for _card in CARDS.values():
    if find_spec(f"{_card.package}.inspect_task") is not None:
        with suppress(ImportError):
            import_module(f"{_card.package}.inspect_task")
