"""What a person watching a training sees: loss, tokens a second, time left; as a bar or as lines."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any

from etude.render import console

_SECONDS_BETWEEN_LINES = 30.0


class TrainingProgress:
    """Progress on stderr: a bar on a terminal, a line now and then elsewhere.

    Args:
        steps: Of the whole run.
        done: Made by earlier processes.
        shown: Whether to show anything (only the leading process does).
    """

    def __init__(self, steps: int, done: int, *, shown: bool) -> None:
        self.steps, self.done, self.shown = steps, done, shown
        self._bar: Any = None
        self._began = self._printed = time.monotonic()

    def __enter__(self) -> TrainingProgress:
        """Draw the bar."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if self.shown and console().is_terminal:
            columns = (TextColumn("pretrain"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(
                *columns, TextColumn("{task.fields[text]}"), console=console(), transient=True
            )
            self._task = self._bar.add_task("pretrain", total=self.steps, completed=self.done, text="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, step: int, loss: float, tokens_per_second: float) -> None:
        """Say where the training is.

        Args:
            step: Steps made.
            loss: Of the last step, nats.
            tokens_per_second: Of late.
        """
        if not self.shown:
            return
        text = f"loss {loss:.4f}  {tokens_per_second:,.0f} tokens/s"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, text=text)
        elif time.monotonic() - self._printed > _SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            left = (self._printed - self._began) / max(1, step - self.done) * (self.steps - step)
            console().print(f"step {step:,}/{self.steps:,}  {text}  {left / 60:.1f} min left")
