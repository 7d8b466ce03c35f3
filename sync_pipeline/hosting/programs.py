"""Dagster's own programs, each as a process that a service manager or a container looks after.

``dev`` starts them all below itself; a deployment has one of them per unit, per container, per pod.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from sync_pipeline.core.addresses import is_this_machine
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.defs.dagster_private import code_server_program, daemon_program
from sync_pipeline.hosting.instance import prepare_instance
from sync_pipeline.operations.ports import DagsterProgram

if TYPE_CHECKING:
    from sync_pipeline.wiring import Installation

MODULE: Final = "sync_pipeline.definitions"
"""What all of them load, unless their arguments name something else."""

TARGETS: Final = (
    "workspace",
    "empty_workspace",
    "module_name",
    "package_name",
    "python_file",
    "autoload_defs_module_name",
    "grpc_port",
    "grpc_socket",
)
"""Options of Dagster's programs that say what to load, by the names of their parameters."""

HOST_VARIABLES: Final = ("DAGSTER_WEBSERVER_HOST", "DAGIT_HOST")
"""Where the interface looks for its address besides its arguments; it turns the second, older one
into the first."""

_RUN: Final = "run"
"""What ``dagster-daemon`` is told where no other command of it is named."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a program would make of its arguments."""

    words: tuple[str, ...]
    """The arguments, with the program's own command in front."""
    options: Mapping[str, Any]
    """Those that are given, by the names of the program's parameters."""

    @property
    def names_target(self) -> bool:
        """Whether they say what to load."""
        return any(self.options.get(name) for name in TARGETS)


def become(
    program: DagsterProgram,
    arguments: Sequence[str],
    *,
    installation: Installation,
    environment: Mapping[str, str],
    is_behind_proxy: bool = False,
    execute: Callable[[str, list[str], dict[str, str]], NoReturn] = os.execve,
) -> NoReturn:
    """Make what Dagster expects to find, as ``dev`` does, and become one of its programs.

    The process stays the same one, so signals, output and exit code are the program's own.

    Args:
        program: Which.
        arguments: Its own, handed on as they are.
        installation: Its database is running; its folder becomes Dagster's.
        environment: Of this process; the program gets it too, settings included.
        is_behind_proxy: Whether something in front of the interface asks for a password.
        execute: Replaces this process; takes a path, the command line and the environment.

    Raises:
        ConfigurationError: the interface would listen where other machines reach it.
    """
    command = command_line(
        program, arguments, environment=environment, is_behind_proxy=is_behind_proxy
    )
    variables = prepare_instance(installation, environment=environment)
    # What is still in a buffer would be lost.
    sys.stdout.flush()
    sys.stderr.flush()
    execute(sys.executable, [sys.executable, *command], {**environment, **variables})


def command_line(
    program: DagsterProgram,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    is_behind_proxy: bool,
) -> list[str]:
    """What follows the interpreter in the command line of a program.

    Raises:
        ConfigurationError: the interface would listen where other machines reach it.
    """
    match program:
        case DagsterProgram.WEBSERVER:
            asked = _ask_webserver(arguments, environment=environment)
            host = str(asked.options["host"])
            require_password(host, is_behind_proxy=is_behind_proxy)
            # What was judged is what it listens on, whatever else names an address.
            return ["-m", "dagster_webserver", *_with_target(asked), "--host", host]
        case DagsterProgram.DAEMON:
            asked = _ask_daemon(arguments)
            is_running = asked.words[:1] == (_RUN,)
            words = _with_target(asked) if is_running else list(asked.words)
            return ["-m", "dagster._daemon", *words]
        case DagsterProgram.CODE_SERVER:
            return ["-m", "dagster", *_with_target(_ask_code_server(arguments))]
        case DagsterProgram.CLI:
            return ["-m", "dagster", *arguments]


def require_password(host: str, *, is_behind_proxy: bool) -> None:
    """Keep Dagster's user interface to this machine unless something in front asks for a password.

    Raises:
        ConfigurationError: other machines reach ``host``.
    """
    if not is_behind_proxy and not is_this_machine(host):
        raise ConfigurationError(
            f"Dagster's user interface has no password, so it does not listen on {host!r}. Leave "
            "--host out, or put a proxy that asks for one in front of it and say "
            "--behind-auth-proxy."
        )


def _with_target(asked: _Asked) -> list[str]:
    return [*asked.words] if asked.names_target else [*asked.words, "-m", MODULE]


def _ask_webserver(arguments: Sequence[str], *, environment: Mapping[str, str]) -> _Asked:
    from dagster_webserver.cli import (  # noqa: PLC0415 - takes 2 s
        DEFAULT_WEBSERVER_HOST,
        dagster_webserver,
    )

    options = _read(dagster_webserver, arguments)
    named = (environment.get(name) for name in HOST_VARIABLES)
    options.setdefault("host", next(filter(None, named), DEFAULT_WEBSERVER_HOST))
    return _Asked(tuple(arguments), options)


def _ask_daemon(arguments: Sequence[str]) -> _Asked:
    cli, run_command = daemon_program()
    if arguments and arguments[0] in cli.commands and arguments[0] != _RUN:
        return _Asked(tuple(arguments), {})
    own = arguments[1:] if arguments and arguments[0] == _RUN else arguments
    return _Asked((_RUN, *own), _read(run_command, own))


def _ask_code_server(arguments: Sequence[str]) -> _Asked:
    return _Asked(("code-server", "start", *arguments), _read(code_server_program(), arguments))


def _read(command: click.Command, arguments: Sequence[str]) -> dict[str, Any]:
    """Options as they stand in the arguments of a program, by the names of its parameters.

    Its own parser knows all spellings of them. Mistakes are left for the program to tell.
    """
    context = click.Context(command, resilient_parsing=True)
    options, _, _ = command.make_parser(context).parse_args(list(arguments))
    return dict(options)
