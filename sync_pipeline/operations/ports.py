"""What operations ask of whoever runs syncs; the Dagster one lives in ``hosting``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, NoReturn, Protocol

if TYPE_CHECKING:
    from sync_pipeline.core.landing.report import LandingReport
    from sync_pipeline.core.ports import Progress, StopSignal
    from sync_pipeline.core.reports import ScopeReport
    from sync_pipeline.core.scope import Scope
    from sync_pipeline.engine.context import RunOptions
    from sync_pipeline.engine.landing.land import LandRequest
    from sync_pipeline.engine.questions.doctor import Finding
    from sync_pipeline.settings import ServiceSettings, Settings


class DagsterProgram(StrEnum):
    """One of Dagster's own programs."""

    WEBSERVER = "webserver"
    """Its user interface."""
    DAEMON = "daemon"
    """What starts queued runs, schedules and sensors, and watches runs."""
    CODE_SERVER = "code-server"
    """What holds our code for both of them."""
    CLI = "cli"
    """Its command line."""


class Queue(StrEnum):
    """What a worker does."""

    RUNS = "runs"
    """Whole runs."""
    STEPS = "steps"
    """Steps of big scopes."""


class RunService(Protocol):
    """Runs the HTTP service until it is stopped."""

    def __call__(
        self, settings: Settings, *, host: str, port: int, on_ready: Callable[[str], None]
    ) -> int:
        """Serve at an address; ``on_ready`` is told it. The exit code.

        Raises:
            ConfigurationError: the address needs authentication that is not set up.
        """


class RunAssistant(Protocol):
    """Answers an AI assistant on standard input and output until it closes them."""

    def __call__(self, settings: Settings, *, scope: Scope, on_ready: Callable[[], None]) -> None:
        """Answer as ``scope``: its own documents and the global ones, and nobody else's.

        Args:
            settings: Of the installation.
            scope: On whose behalf the assistant asks, for good.
            on_ready: Called before the first answer.

        Raises:
            UnknownScopeError: there is no such tenant.
        """


class CreateToken(Protocol):
    """Makes tokens for the service."""

    def __call__(
        self,
        settings: ServiceSettings,
        *,
        subject: str,
        role: str,
        tenant_id: str | None,
        ttl_seconds: float,
    ) -> str:
        """A signed token.

        Raises:
            ConfigurationError: no key to sign with, no such role, or a tenant that does not
                go with it.
        """


class Orchestrator(Protocol):
    """Runs syncs and landings, and keeps their history.

    ``run_scopes`` and ``run_landings`` are called in a thread that is not the main one: the main
    thread listens for signals meanwhile.
    """

    def run_scopes(
        self,
        settings: Settings,
        scopes: Sequence[Scope],
        *,
        options: RunOptions,
        progress: Progress,
        should_stop: StopSignal,
        on_report: Callable[[ScopeReport], None],
    ) -> list[ScopeReport]:
        """Sync scopes one after the other, in the order given.

        A scope that fails does not keep the others from being tried, unless it is
        the second one in a row that met an outage (source or index out of reach, index
        held by another process, no space left): then those not begun are reported as
        skipped, for each would wait for minutes and fail alike. Once ``should_stop``
        says yes, the scope in flight ends after its batch and is reported as failed, with
        ``stopped_reason`` and the counts until then, and those not begun are reported as
        skipped. ``error`` says why.

        Args:
            settings: Of the installation.
            scopes: Each once; scopes without rows are emptied, within the limit.
            options: What this sync is asked for, beyond the settings.
            progress: Told how far the scope in flight is.
            should_stop: Asked between batches.
            on_report: Told of each scope as it ends, in the thread that called.

        Returns:
            One report per scope, in the order given.

        Raises:
            ConfigurationError: settings, source or index are wrong for every scope alike.
            TransientError: a database or the index cannot be reached to begin with.
        """

    def run_landings(
        self,
        settings: Settings,
        names: Sequence[str],
        *,
        request: LandRequest,
        progress: Progress,
        should_stop: StopSignal,
        on_report: Callable[[LandingReport], None],
    ) -> list[LandingReport]:
        """Land records, one landing after the other, in the order given.

        A landing that fails does not keep the others from being tried, unless the database
        failed it: then those not begun are reported as failed too. Once ``should_stop`` says yes,
        the landing in flight ends after its page, and those not begun are reported as stopped.
        ``error`` says why. What was fetched is kept, and the next run goes on there.

        Args:
            settings: Of the installation.
            names: Of landings of the settings, each once.
            request: How each is landed.
            progress: Told how many records have come.
            should_stop: Asked between pages.
            on_report: Told of each landing as it ends, in the thread that called.

        Returns:
            One report per landing, in the order given.

        Raises:
            ConfigurationError: the settings are wrong for every landing alike, or lack one.
            TransientError: a database cannot be reached to begin with.
        """

    def examine_automation(self, settings: Settings) -> Finding:
        """Find schedules and sensors that the settings need and somebody has switched off."""

    def forget_scope(self, settings: Settings, scope: Scope) -> None:
        """Forget a scope that was removed; its finished runs stay in the history.

        Does nothing where it is not known.
        """

    def run_dev(self, settings: Settings, *, host: str, port: int, is_behind_proxy: bool) -> int:
        """Run the user interface and the daemon until stopped.

        Returns:
            Their exit code; 0 where they were stopped by a signal.
        """

    def run_workers(self, settings: Settings, *, queues: Sequence[str], concurrency: int) -> int:
        """Execute what runs and big scopes leave to workers, until stopped.

        Args:
            settings: Of the installation.
            queues: ``runs``, ``steps`` or both.
            concurrency: Tasks at once, of each queue.

        Returns:
            The exit code.

        Raises:
            ConfigurationError: the settings leave nothing to workers.
        """

    def become_dagster(
        self,
        settings: Settings,
        *,
        program: DagsterProgram,
        arguments: Sequence[str],
        is_behind_proxy: bool,
    ) -> NoReturn:
        """Go on as one of Dagster's programs, in the place of this process.

        Everything that it expects to find is made first: folder, settings, tables, variables.

        Args:
            settings: Of the installation.
            program: Which.
            arguments: Its own, handed on as they are.
            is_behind_proxy: Whether something in front of the user interface asks for a password.

        Raises:
            ConfigurationError: the interface, which has no password, would listen where other
                machines reach it.
        """
