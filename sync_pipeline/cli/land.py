"""``land``: bring records of other systems into their tables."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from sync_pipeline.cli import landing_tables
from sync_pipeline.cli.command import command
from sync_pipeline.cli.failures import FAILED
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.json_output import as_json
from sync_pipeline.cli.options import ConfirmEnv, Mode
from sync_pipeline.cli.progress import open_bars
from sync_pipeline.cli.signals import run_stoppable
from sync_pipeline.operations import landing as landing_work

if TYPE_CHECKING:
    from sync_pipeline.core.landing.report import LandingReport
    from sync_pipeline.core.ports import StopSignal
    from sync_pipeline.core.reports import ScopeReport
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.landing.land import LandRequest

RUN: Final = "run"
"""The command that ``land NAME`` means."""


class NamesOrCommands(TyperGroup):
    """A group where names stand in the place of a command: then ``run`` is meant.

    The settings refuse landings that are called like one of the commands.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front of names, and of options that are its own."""
        is_help = args[:1] == ["--help"]
        if args and not is_help and not any(word in self.commands for word in args):
            args = [RUN, *args]
        return super().parse_args(ctx, args)


land_app = typer.Typer(
    cls=NamesOrCommands,
    help="Records of other systems, in tables of the source: `land NAME` fetches them.",
    no_args_is_help=True,
    subcommand_metavar="NAME|COMMAND [ARGS]...",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A landing of the settings.")]


@command(land_app, RUN, reports=True)
def run(
    invocation: Invocation,
    *,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME|all", help="Landings of the settings, or all of them."),
    ],
    mode: Annotated[
        Mode,
        typer.Option(
            "--mode",
            help="full fetches every record; incremental those that changed since, and becomes "
            "full where that is not enough.",
        ),
    ] = Mode.FULL,
    max_deleted_fraction: Annotated[
        float | None,
        typer.Option(
            "--max-deleted-fraction",
            metavar="F",
            min=0,
            max=1,
            help="How much of a table may be deleted, 0 to 1; 1 lets it be emptied. Otherwise "
            "deletes.max_deleted_fraction of the landing.",
        ),
    ] = None,
    approve_deletions: Annotated[
        int | None,
        typer.Option(
            "--approve-deletions",
            metavar="N",
            min=1,
            help="Delete exactly N rows beyond that limit, as a refused run of this one landing "
            "asks for; another number is refused again.",
        ),
    ] = None,
    confirm_env: ConfirmEnv = None,
) -> None:
    """Fetch records, and make their table what they say: what `land NAME` does.

    Each landing is one run in Dagster's history. What was fetched is kept: a run that was stopped
    or failed is gone on with by the next one. A landing that fails does not keep the others from
    being tried; the exit code is 1 then.
    """
    from sync_pipeline.engine.landing.land import LandRequest

    sync = invocation.installation.sync
    chosen = landing_work.choose_landings(sync, names)
    request = LandRequest(
        mode=mode.value,
        max_deleted_fraction=max_deleted_fraction,
        approve_deletions=approve_deletions,
    )
    landing_work.require_one_landing(chosen, request)
    if landing_work.lifts_landing_limit(sync, chosen, request):
        invocation.confirm("deleting more than the settings allow", said=confirm_env)
    began = time.perf_counter()
    reports = run_landings(invocation, chosen, request)
    duration_seconds = time.perf_counter() - began
    invocation.answer(landing_work.landing_summary(reports, duration_seconds=duration_seconds))
    invocation.show(landing_tables.reports_table(reports))
    for line in landing_tables.report_remarks(reports, duration_seconds=duration_seconds):
        invocation.say(line)
    if not landing_work.all_landed(reports):
        raise typer.Exit(FAILED)


def run_landings(
    invocation: Invocation, names: Sequence[str], request: LandRequest
) -> list[LandingReport]:
    """Have the orchestrator land records, with a progress bar, until done or asked to stop."""
    settings, orchestrator = invocation.settings, invocation.orchestrator
    with open_bars(invocation.err, scopes=len(names), called="landings") as bars:
        return run_stoppable(
            lambda should_stop: orchestrator.run_landings(
                settings,
                names,
                request=request,
                progress=bars,
                should_stop=should_stop,
                on_report=lambda _report: bars.finish_scope(),
            ),
            tell=invocation.tell,
            stopping="stopping after the page in flight ... press again to stop at once",
        )


@command(land_app, "status", reports=True)
def status(invocation: Invocation) -> None:
    """Show per landing how old its table is, what could not be used, and what is under way."""
    sync = invocation.installation.sync
    kinds = _kinds(invocation)
    invocation.answer({"landings": landing_work.landing_statuses(sync, kinds)})
    ages = landing_work.landing_ages(sync)
    invocation.show(landing_tables.statuses_table(ages, kinds=kinds))
    for line in landing_tables.status_remarks(ages):
        invocation.say(line)


@command(land_app, "rejected")
def rejected(
    invocation: Invocation,
    *,
    name: Name,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most of them.")] = None,
) -> None:
    """Print what was wrong with records, as JSON lines, oldest first.

    Of the last full pass that was landed, and since. Each line is one thing that was wrong with
    one record: where it stood, its id, the field and the reason.
    """
    for it in landing_work.iter_rejected(invocation.installation.sync, name, limit=limit):
        print(as_json(landing_work.rejected_answer(it)))  # noqa: T201 - rich would wrap long lines


@command(land_app, "follow")
def follow(
    invocation: Invocation,
    *,
    name: Name,
    syncs: Annotated[
        bool,
        typer.Option(
            "--sync", help="Also bring what changed in step at once; needs `feed install`."
        ),
    ] = False,
) -> None:
    """Land changes as an origin tells of them, until stopped; only MongoDB does.

    Where only a full pass helps it is one run in Dagster's history, and following goes on after
    it. Scheduled passes of the same landing run beside it. What fails and may pass is tried again.
    """
    from sync_pipeline.engine.landing.land import LandRequest

    sync = invocation.installation.sync

    def follower(should_stop: StopSignal) -> landing_work.Follower:
        return landing_work.Follower(
            name=name,
            sync=sync,
            land=lambda: _land_once(invocation, name, LandRequest(mode="incremental"), should_stop),
            sync_scopes=(lambda scopes: _sync(invocation, scopes, should_stop)) if syncs else None,
            on_report=lambda report: invocation.tell(landing_tables.followed(report)),
            tell=invocation.tell,
            should_stop=should_stop,
        )

    landing_work.check_follower(follower(lambda: False))
    invocation.tell(f"Following the changes of {name}; stop with Ctrl-C.")
    batches = run_stoppable(
        lambda should_stop: landing_work.follow_landing(follower(should_stop)),
        tell=invocation.tell,
    )
    invocation.answer({"ok": True, "batches": batches})


def _land_once(
    invocation: Invocation, name: str, request: LandRequest, should_stop: StopSignal
) -> LandingReport:
    from sync_pipeline.engine.context import SilentProgress

    (report,) = invocation.orchestrator.run_landings(
        invocation.settings,
        [name],
        request=request,
        progress=SilentProgress(),
        should_stop=should_stop,
        on_report=lambda _report: None,
    )
    return report


def _sync(
    invocation: Invocation, scopes: Sequence[Scope], should_stop: StopSignal
) -> list[ScopeReport]:
    from sync_pipeline.cli import render
    from sync_pipeline.engine.context import RunOptions, SilentProgress

    return invocation.orchestrator.run_scopes(
        invocation.settings,
        scopes,
        options=RunOptions(mode="incremental"),
        progress=SilentProgress(),
        should_stop=should_stop,
        on_report=lambda report: invocation.tell(render.followed(report)),
    )


def _kinds(invocation: Invocation) -> dict[str, str]:
    """Of what kind the origin of each landing is."""
    return {landing.name: landing.kind for landing in invocation.settings.landings}
