"""Progress bars on a terminal, and nothing anywhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)


class StepBars:
    """A ``Progress``: one bar per step of the scope in flight, and one for the scopes."""

    def __init__(self, bars: Progress, *, scopes: int, called: str = "scopes") -> None:
        self._bars = bars
        self._steps: dict[str, TaskID] = {}
        self._scopes = bars.add_task(called, total=scopes, visible=scopes > 1)

    def advance(self, step: str, *, done: int, total: int | None) -> None:
        """Show how far a step of the scope in flight is."""
        if step not in self._steps:
            self._steps[step] = self._bars.add_task(step, total=total)
        self._bars.update(self._steps[step], completed=done, total=total)

    def finish_scope(self) -> None:
        """Make room for the steps of the next scope."""
        for task in self._steps.values():
            self._bars.remove_task(task)
        self._steps.clear()
        self._bars.advance(self._scopes)


@contextmanager
def open_bars(console: Console, *, scopes: int = 1, called: str = "scopes") -> Iterator[StepBars]:
    """Draw on ``console`` for the length of the ``with``, if it is a terminal.

    Args:
        console: Standard error.
        scopes: How many will be worked on.
        called: What these are.
    """
    columns = (
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        yield StepBars(bars, scopes=scopes, called=called)
