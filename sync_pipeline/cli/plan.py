"""``plan``: what a sync would do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import Mode, ModeOption, Scopes
from sync_pipeline.cli.plan_file import write_plan_file
from sync_pipeline.cli.progress import open_bars
from sync_pipeline.cli.scopes import choose_scopes, read_choice
from sync_pipeline.cli.signals import run_stoppable

if TYPE_CHECKING:
    from sync_pipeline.core.ports import StopSignal
    from sync_pipeline.engine.questions.plan import ScopePlan

app = typer.Typer()


@command(app, "plan")
def plan(
    invocation: Invocation,
    *,
    scopes: Scopes,
    mode: ModeOption = Mode.FULL,
    out: Annotated[
        Path | None, typer.Option(help="Save the plan to this file, for `sync --plan`.")
    ] = None,
) -> None:
    """Show what a sync would write, delete and embed, and what that would take; writes nothing."""
    from sync_pipeline.engine.questions.plan import plan_scope

    chosen = choose_scopes(read_choice(scopes), known_scopes=invocation)
    with open_bars(invocation.err, scopes=len(chosen)) as bars:

        def work(should_stop: StopSignal) -> list[ScopePlan]:
            sync = replace(invocation.installation.sync, progress=bars, should_stop=should_stop)
            plans = []
            for scope in chosen:
                plans.append(plan_scope(sync, scope=scope, mode=mode.value))
                bars.finish_scope()
            return plans

        plans = run_stoppable(work, tell=invocation.tell)
    if out is not None:
        write_plan_file(out, invocation, plans=plans)
    invocation.answer({"ok": True, "mode": mode.value, "scopes": plans})
    invocation.show(render.plan_table(plans))
    for remark in render.plan_remarks(plans):
        invocation.say(remark)
    if out is not None:
        invocation.say(f"Saved. To do exactly this: `sync-pipeline sync ... --plan {out}`.")
