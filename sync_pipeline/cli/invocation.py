"""One call of the program: what was asked of it, and how a command reaches the rest."""

from __future__ import annotations

import os
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from sync_pipeline.cli.json_output import as_json
from sync_pipeline.cli.logs import tell_of_loading
from sync_pipeline.cli.report_file import require_writable, write_report
from sync_pipeline.operations.scopes import InstalledScopes
from sync_pipeline.tuning import tune_process

if TYPE_CHECKING:
    from rich.table import Table

    from sync_pipeline.operations.ports import (
        CreateToken,
        Orchestrator,
        RunAssistant,
        RunService,
    )
    from sync_pipeline.settings import Settings
    from sync_pipeline.wiring import Installation

WIDTH_WITHOUT_TERMINAL = 100
"""Columns of tables that go to a file or a pipe."""


def read_settings(config: Path | None) -> Settings:
    """Load the settings of this process.

    Raises:
        SettingsError: naming every mistake.
    """
    from sync_pipeline.settings import load_settings

    return load_settings(config=config)


def open_here(settings: Settings) -> Installation:
    """Open the installation, starting what is embedded."""
    from sync_pipeline.wiring import open_installation

    tune_process()
    return open_installation(settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What commands work with, each made when first asked for; tests pass their own."""

    orchestrator: Callable[[], Orchestrator]
    service: Callable[[], RunService]
    assistant: Callable[[], RunAssistant]
    tokens: Callable[[], CreateToken]
    environment: MutableMapping[str, str] = field(default_factory=lambda: os.environ)
    """What programs that a command starts are given."""
    settings: Callable[[Path | None], Settings] = read_settings
    installation: Callable[[Settings], Installation] = open_here


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """Options that every command has, and what it works with."""

    surroundings: Surroundings
    config: Path | None = None
    wants_json: bool = False
    debug: bool = False
    log_file: Path | None = None
    """Where the log goes instead of where the settings say."""
    metrics_file: Path | None = None
    """Where the answer is left besides."""

    def with_options(
        self,
        *,
        config: Path | None,
        wants_json: bool,
        debug: bool,
        log_file: Path | None = None,
        metrics_file: Path | None = None,
    ) -> Invocation:
        """Add options given after the command to those given before it."""
        return replace(
            self,
            config=config or self.config,
            wants_json=wants_json or self.wants_json,
            debug=debug or self.debug,
            log_file=log_file or self.log_file,
            metrics_file=metrics_file or self.metrics_file,
        )

    def prepare(self) -> None:
        """Open the log, and find out before the work whether the answer can be left where asked.

        Raises:
            ConfigurationError: a file cannot be written.
        """
        if self.log_file is not None:
            self._log_to(self.log_file)
        if self.metrics_file is not None:
            require_writable(self.metrics_file)

    def _log_to(self, path: Path) -> None:
        """Log to a file from now on, and have everything that this process starts do so."""
        from sync_pipeline.log_file import log_to_file
        from sync_pipeline.settings.keys import LOG_FILE

        log_to_file(path)
        self.surroundings.environment[LOG_FILE] = str(path.absolute())

    @cached_property
    def settings(self) -> Settings:
        """The settings, loaded once; the log goes where they say from then on.

        Raises:
            ConfigurationError: they are wrong, or name a log that cannot be written.
        """
        settings = self.surroundings.settings(self.config)
        file = self.log_file or settings.logging.file
        if file is not None:
            from sync_pipeline.log_file import log_to_file

            log_to_file(file, level=settings.logging.level)
        return settings

    @cached_property
    def installation(self) -> Installation:
        """The installation, opened once."""
        if self.err.is_terminal and not self.wants_json:
            tell_of_loading(self.tell)
        return self.surroundings.installation(self.settings)

    @cached_property
    def orchestrator(self) -> Orchestrator:
        """Whoever runs syncs."""
        return self.surroundings.orchestrator()

    @cached_property
    def out(self) -> Console:
        """Where results go."""
        return _console(is_stderr=False)

    @cached_property
    def err(self) -> Console:
        """Where everything else goes."""
        return _console(is_stderr=True)

    @property
    def scopes(self) -> InstalledScopes:
        """The scopes that there are, as they are from now on."""
        return InstalledScopes(self.installation.sync)

    def say(self, line: str) -> None:
        """Print one line of a result for people; nothing with ``--json``."""
        if not self.wants_json:
            self.out.print(line, soft_wrap=True)

    def show(self, table: Table) -> None:
        """Print a table for people; nothing with ``--json``."""
        if not self.wants_json:
            self.out.print(table)

    def answer(self, value: object) -> None:
        """Give the result to programs, one JSON object: where ``--json`` and files ask for it."""
        if self.metrics_file is None and not self.wants_json:
            return
        text = as_json(value)
        if self.metrics_file is not None:
            # First: printing ends the program where whoever reads has gone.
            why_not = write_report(self.metrics_file, text)
            if why_not is not None:
                self.tell(why_not)
        if self.wants_json:
            print(text)  # noqa: T201 - rich would wrap long lines

    def tell(self, line: str) -> None:
        """Print one line that is no result to standard error."""
        self.err.print(line, soft_wrap=True)


def _console(*, is_stderr: bool) -> Console:
    """A console that shows texts as they are: no markup, no emoji codes."""
    console = Console(stderr=is_stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_WITHOUT_TERMINAL
    return console
