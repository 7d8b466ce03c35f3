"""``plan``: what a sync would do."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import Mode, ModeOption, NoScopesOrSome
from sync_pipeline.cli.plan_file import write_plan_file
from sync_pipeline.cli.progress import open_bars
from sync_pipeline.cli.scale import conclusions, limits_table, needs_table
from sync_pipeline.cli.signals import run_stoppable
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.scaling import Scale, plan_scale, read_scale
from sync_pipeline.operations.asking import iter_plans, landing_ages
from sync_pipeline.operations.costing import budget_answer, watched_budgets
from sync_pipeline.operations.plans import known_scale, saved_plan
from sync_pipeline.operations.scopes import choose_scopes, read_choice

if TYPE_CHECKING:
    from sync_pipeline.core.ports import StopSignal
    from sync_pipeline.engine.questions.plan import ScopePlan

app = typer.Typer()


@command(app, "plan", reports=True)
def plan(
    invocation: Invocation,
    *,
    scopes: NoScopesOrSome = None,
    mode: ModeOption = Mode.FULL,
    out: Annotated[
        Path | None, typer.Option(help="Save the plan to this file, for `sync --plan`.")
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=NUMBER,...",
            help="Instead: what an installation of another size would take, by what was measured. "
            f"Keys: {', '.join(field.name for field in fields(Scale))}.",
        ),
    ] = None,
) -> None:
    """Show what a sync would write, delete and embed, and what that would take; writes nothing."""
    if scale is not None:
        if scopes or out is not None:
            raise ConfigurationError("`plan --scale` is about no scopes and makes no plan to save.")
        _plan_scale(invocation, scale)
        return
    if not scopes:
        raise ConfigurationError("plan needs SCOPES: all, global, tenants, tenant ID or tenant:ID.")
    chosen = choose_scopes(read_choice(scopes), among=invocation.scopes)
    with open_bars(invocation.err, scopes=len(chosen)) as bars:

        def work(should_stop: StopSignal) -> list[ScopePlan]:
            sync = replace(invocation.installation.sync, progress=bars, should_stop=should_stop)
            made = []
            for scope_plan in iter_plans(sync, chosen, mode=mode.value):
                made.append(scope_plan)
                bars.finish_scope()
            return made

        plans = run_stoppable(work, tell=invocation.tell)
    if out is not None:
        write_plan_file(out, saved_plan(invocation.installation.sync, plans=plans))
    budgets = watched_budgets(invocation.installation.sync)
    ages = landing_ages(invocation.installation.sync)
    beside = {"budgets": [budget_answer(state) for state in budgets], "landings": ages}
    told = {name: value for name, value in beside.items() if value}
    invocation.answer({"ok": True, "mode": mode.value, "scopes": plans, **told})
    invocation.show(render.plan_table(plans))
    spent = [f"{state.told()}." for state in budgets]
    for remark in (*render.plan_remarks(plans), *render.landing_remarks(ages), *spent):
        invocation.say(remark)
    if out is not None:
        invocation.say(f"Saved. To do exactly this: `sync-pipeline sync ... --plan {out}`.")


def _plan_scale(invocation: Invocation, scale: str) -> None:
    """Arithmetic; the installation is asked what it knows of itself where there is one."""
    read_scale(scale)  # its mistakes before anything is opened
    known, remark = known_scale(invocation.settings, lambda: invocation.installation)
    planned = plan_scale(read_scale(scale, defaults=known))
    first = planned.first_to_give_way
    invocation.answer(
        {"ok": True, **asdict(planned), "first_to_give_way": None if first is None else first.part}
    )
    invocation.show(needs_table(planned))
    invocation.say("")
    invocation.show(limits_table(planned))
    for line in (*conclusions(planned), remark):
        invocation.say(line)
