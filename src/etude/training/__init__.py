"""One face over the Hugging Face Trainer: seeds, exact resume, best checkpoint, progress.

result = fit(model, train, evaluation, out=Path("fit"), steps=100, learning_rate=2e-3)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etude.training.fitting import FitResult as FitResult
    from etude.training.fitting import fit as fit

__all__ = ["FitResult", "fit"]


def __getattr__(name: str) -> object:
    """Import the Trainer only when it is used: it takes seconds."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from etude.training import fitting

    return getattr(fitting, name)
