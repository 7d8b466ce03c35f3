"""``verify``: prove that scopes are in step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import command
from sync_pipeline.cli.failures import FAILED
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import ConfirmEnv, MaxDeletedFraction, Scopes
from sync_pipeline.cli.progress import open_bars
from sync_pipeline.cli.signals import run_stoppable
from sync_pipeline.cli.sync import run_sync
from sync_pipeline.operations.answers import verification_answer
from sync_pipeline.operations.asking import iter_verifications
from sync_pipeline.operations.protection import lifts_limit
from sync_pipeline.operations.scopes import choose_scopes, read_choice

if TYPE_CHECKING:
    from sync_pipeline.core.ports import StopSignal
    from sync_pipeline.core.reports import ScopeReport
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.questions.verify import Verification

app = typer.Typer()


@command(app, "verify", reports=True)
def verify(
    invocation: Invocation,
    *,
    scopes: Scopes,
    repair: Annotated[
        bool, typer.Option("--repair", help="Sync the scopes that differ, then compare again.")
    ] = False,
    max_deleted_fraction: MaxDeletedFraction = None,
    confirm_env: ConfirmEnv = None,
) -> None:
    """Compare source, record and index document by document; exit code 1 if they differ.

    Without --repair nothing is written.
    """
    from sync_pipeline.engine.context import RunOptions

    options = RunOptions(max_deleted_fraction=max_deleted_fraction)
    if repair and lifts_limit(options, invocation.settings):
        invocation.confirm("deleting more than the settings allow", said=confirm_env)
    choice = read_choice(scopes)
    chosen = choose_scopes(choice, among=invocation.scopes)
    verified = _verify_each(invocation, chosen)
    differing = [scope for scope in chosen if not verified[scope].is_clean]
    repaired: list[ScopeReport] = []
    if repair and differing:
        repaired = run_sync(invocation, differing, options)
        verified |= _verify_each(invocation, differing)
    results = list(verified.values())
    is_clean = all(result.is_clean for result in results)
    extra = {"repaired": repaired} if repair else {}
    invocation.answer({"ok": is_clean, "scopes": list(map(verification_answer, results)), **extra})
    _show(invocation, results, repaired=repaired)
    if not is_clean:
        raise typer.Exit(FAILED)


def _verify_each(invocation: Invocation, scopes: Sequence[Scope]) -> dict[Scope, Verification]:
    with open_bars(invocation.err, scopes=len(scopes)) as bars:

        def work(should_stop: StopSignal) -> dict[Scope, Verification]:
            sync = replace(invocation.installation.sync, progress=bars, should_stop=should_stop)
            verified = {}
            for scope, verification in zip(scopes, iter_verifications(sync, scopes), strict=True):
                verified[scope] = verification
                bars.finish_scope()
            return verified

        return run_stoppable(work, tell=invocation.tell)


def _show(
    invocation: Invocation, results: Sequence[Verification], *, repaired: Sequence[ScopeReport]
) -> None:
    invocation.show(render.verification_table(results))
    for line in render.verification_examples(results):
        invocation.say(line)
    for report in repaired:
        invocation.say(f"{report.scope_key}: repair: {report.error or report.status}")
    if all(result.is_clean for result in results):
        invocation.say("Source, record and index agree.")
    elif not repaired:
        invocation.say("They differ. `--repair` syncs the scopes concerned.")
