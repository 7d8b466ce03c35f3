"""``migrate``, ``database``, ``doctor``, ``dev``, ``worker``, ``dagster``: what all stands on."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from sync_pipeline.cli import render
from sync_pipeline.cli.command import HandsOn, command
from sync_pipeline.cli.failures import FAILED
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.operations.ports import DagsterProgram, Queue

app = typer.Typer()
database_app = typer.Typer(help="The database in use.", no_args_is_help=True)


@command(app, "migrate")
def migrate(invocation: Invocation) -> None:
    """Bring the pipeline's own tables up to date; every command does so before it starts."""
    applied = invocation.installation.migrate()
    invocation.answer({"ok": True, "applied": applied})
    if applied:
        invocation.say(f"Applied: {', '.join(applied)}.")
    else:
        invocation.say("The tables are up to date.")


@command(database_app, "url")
def url(invocation: Invocation) -> None:
    """Print the address of the source database, with its password.

    For example: `psql "$(sync-pipeline database url)"`.
    """
    address = invocation.installation.database_url
    invocation.answer({"url": address})
    invocation.say(address)


@command(database_app, "stop")
def stop(invocation: Invocation) -> None:
    """Stop the embedded PostgreSQL; the next command starts it again."""
    from sync_pipeline.wiring import stop_embedded_services

    is_embedded = stop_embedded_services(invocation.settings)
    invocation.answer({"ok": True, "is_embedded": is_embedded})
    invocation.say(
        "The embedded PostgreSQL does not run any more."
        if is_embedded
        else "The settings name a database of your own; it is left alone."
    )


@command(app, "doctor")
def doctor(invocation: Invocation) -> None:
    """Look whether the installation is sound; exit code 1 where it is not."""
    findings = invocation.installation.doctor()
    if invocation.installation.has_switched_off():
        findings = [*findings, invocation.orchestrator.examine_automation(invocation.settings)]
    is_sound = all(finding.ok for finding in findings)
    invocation.answer({"ok": is_sound, "findings": findings})
    invocation.show(render.findings_table(findings))
    if not is_sound:
        raise typer.Exit(FAILED)


@command(app, "dev")
def dev(
    invocation: Invocation,
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 3000,
    behind_auth_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-auth-proxy",
            help="Allow another host: something in front of it asks for a password.",
        ),
    ] = False,
) -> None:
    """Run Dagster's user interface and daemon, the HTTP service, and all that is embedded."""
    _let_children_find_settings(invocation)
    service = invocation.settings.service
    invocation.tell(
        f"Dagster comes up at http://{host}:{port}, the operations page and the API at "
        f"http://{service.host}:{service.port}; stop all with Ctrl-C."
    )
    code = invocation.orchestrator.run_dev(
        invocation.settings, host=host, port=port, is_behind_proxy=behind_auth_proxy
    )
    raise typer.Exit(code)


@command(app, "dagster", cls=HandsOn)
def dagster(
    invocation: Invocation,
    *,
    program: Annotated[
        DagsterProgram,
        typer.Argument(
            metavar="PROGRAM",
            help="webserver (the user interface), daemon, code-server, or cli: `dagster` itself.",
        ),
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="ARGS", help="Handed on to the program as they are."),
    ] = None,
    behind_auth_proxy: Annotated[
        bool,
        typer.Option(
            "--behind-auth-proxy",
            help="Let the user interface listen on another host than this one: something in "
            "front of it asks for a password.",
        ),
    ] = False,
) -> None:
    """Become one of Dagster's own programs, with everything that it expects to find.

    For service managers, containers and scheduled jobs: folder, settings, tables and variables are
    made as `dev` makes them, then this process is the program. Options of ours stand before
    PROGRAM; all that follows is the program's own. It loads this pipeline unless ARGS name
    something else (`-w workspace.yaml`). `daemon` runs unless ARGS name another of its commands
    (`liveness-check`).
    """
    _let_children_find_settings(invocation)
    invocation.orchestrator.become_dagster(
        invocation.settings,
        program=program,
        arguments=arguments or [],
        is_behind_proxy=behind_auth_proxy,
    )


@command(app, "worker")
def worker(
    invocation: Invocation,
    *,
    queue: Annotated[
        list[Queue] | None,
        typer.Option(
            help="runs: whole runs; steps: parts of big scopes. May be given twice; all by default."
        ),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(help="Tasks at once, of each queue.", min=1, max=1024)
    ] = 1,
) -> None:
    """Execute runs on this machine, as a Celery worker; the model stays loaded.

    Needs `scale.executor: celery` and `pip install 'sync-pipeline[celery]'`. Stopped once, it
    finishes the tasks that have begun; stopped twice, other workers do them again.
    """
    _let_children_find_settings(invocation)
    queues = list(dict.fromkeys(queue or Queue))
    invocation.tell(f"Working on {' and '.join(queues)}; stop with Ctrl-C.")
    code = invocation.orchestrator.run_workers(
        invocation.settings, queues=queues, concurrency=concurrency
    )
    raise typer.Exit(code)


def _let_children_find_settings(invocation: Invocation) -> None:
    """Dagster's processes load the settings themselves; what they inherit says which."""
    if invocation.config is not None:
        os.environ["SYNC_PIPELINE_CONFIG"] = str(invocation.config.absolute())
    if invocation.environment is not None:
        os.environ["SYNC_PIPELINE_ENV"] = invocation.environment
