from __future__ import annotations

from io import StringIO

from rich.console import Console
from rich.progress import Progress

from sync_pipeline.cli.progress import StepBars, open_bars


def test_nothing_is_drawn_where_there_is_no_terminal() -> None:
    file = StringIO()

    with open_bars(Console(file=file), scopes=3) as bars:
        bars.advance("export", done=5, total=10)

    assert file.getvalue() == ""


def test_a_terminal_shows_a_bar_per_step() -> None:
    file = StringIO()

    with open_bars(Console(file=file, force_terminal=True, width=80), scopes=3) as bars:
        bars.advance("export", done=5, total=10)
        bars.advance("embed", done=1, total=4)

    assert "export" in file.getvalue()
    assert "5/10" in file.getvalue()


def test_each_scope_starts_with_fresh_bars() -> None:
    progress = Progress(disable=True)
    bars = StepBars(progress, scopes=2)
    bars.advance("export", done=10, total=10)

    bars.finish_scope()
    bars.advance("export", done=1, total=99)

    shown = {task.description: (task.completed, task.total) for task in progress.tasks}
    assert shown == {"scopes": (1, 2), "export": (1, 99)}
