"""One call of the program: what was asked of it, and how a command reaches the rest."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from sync_pipeline.cli.json_output import as_json
from sync_pipeline.cli.logs import name_environment, tell_of_loading
from sync_pipeline.cli.report_file import require_writable, write_report
from sync_pipeline.core.environment import needs_name
from sync_pipeline.operations.protection import require_named
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

_SHOWN_COMMAND: Final = re.compile(r"(?<=`)sync-pipeline (?!--env )")
"""How a command begins that a message shows."""

WIDTH_WITHOUT_TERMINAL = 100
"""Columns of tables that go to a file or a pipe."""


def read_settings(
    config: Path | None, *, environment: str | None = None, database: str | None = None
) -> Settings:
    """Load the settings of this process, or those of an environment of its file.

    Args:
        config: The file; None for the usual one.
        environment: Which of its environments; None for the one that a variable names.
        database: The source, whatever the settings say.

    Raises:
        SettingsError: naming every mistake.
    """
    from sync_pipeline.settings import load_settings

    overrides = None if database is None else {"source": {"url": database}}
    return load_settings(config=config, environment=environment, overrides=overrides)


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
    settings: Callable[..., Settings] = read_settings
    """Takes the file, and where one was asked for the ``environment``."""
    installation: Callable[[Settings], Installation] = open_here


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """Options that every command has, and what it works with."""

    surroundings: Surroundings
    config: Path | None = None
    environment: str | None = None
    wants_json: bool = False
    debug: bool = False
    words: tuple[str, ...] = ()
    """The command as it was typed, after the options before it."""
    log_file: Path | None = None
    """Where the log goes instead of where the settings say."""
    metrics_file: Path | None = None
    """Where the answer is left besides."""

    def with_options(
        self,
        *,
        config: Path | None,
        environment: str | None,
        wants_json: bool,
        debug: bool,
        words: tuple[str, ...],
        log_file: Path | None = None,
        metrics_file: Path | None = None,
    ) -> Invocation:
        """Add options given after the command to those given before it."""
        return replace(
            self,
            words=words,
            config=config or self.config,
            environment=environment or self.environment,
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
        """The settings, loaded once; people are told of which environment, and the log opens.

        Raises:
            ConfigurationError: they are wrong, or name a log that cannot be written.
        """
        settings = self._loaded()
        if settings.environment is not None:
            name_environment(settings.environment)
            if not self.wants_json:
                self.tell(f"environment {settings.environment}")
        file = self.log_file or settings.logging.file
        if file is not None:
            from sync_pipeline.log_file import log_to_file

            named = None if settings.environment is None else settings.environment.name
            log_to_file(file, level=settings.logging.level, environment=named)
        return settings

    def settings_of(self, *, database: str | None) -> Settings:
        """The settings with another source; None for the one that they name."""
        return self.settings if database is None else self._loaded(database=database)

    def _loaded(self, **more: str) -> Settings:
        asked = {} if self.environment is None else {"environment": self.environment}
        settings: Settings = self.surroundings.settings(self.config, **asked, **more)
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
            self.out.print(self._with_environment(line), soft_wrap=True)

    def show(self, table: Table) -> None:
        """Print a table for people; nothing with ``--json``."""
        if not self.wants_json:
            self.out.print(table)

    def answer(self, value: object) -> None:
        """Give the result to programs, one JSON object: where ``--json`` and files ask for it.

        Where an environment is chosen it names it: what it is about must not be guessed.
        """
        if self.metrics_file is None and not self.wants_json:
            return
        settings: Settings | None = self.__dict__.get("settings")
        environment = None if settings is None else settings.environment
        if environment is not None and isinstance(value, Mapping):
            value = {**value, "environment": environment.name}
            if isinstance(value.get("next_step"), str):
                value["next_step"] = self._with_environment(f"`{value['next_step']}`").strip("`")
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
        self.err.print(self._with_environment(line), soft_wrap=True)

    def _with_environment(self, line: str) -> str:
        """Commands that are shown are about the environment that the option chose, too."""
        if self.environment is None:
            return line
        return _SHOWN_COMMAND.sub(f"sync-pipeline --env {self.environment} ", line)

    def confirm(self, doing: str, *, said: str | None) -> None:
        """Have the name of a protected environment said before something is deleted there.

        Args:
            doing: As in ``removing tenant acme``.
            said: What ``--confirm-env`` says.

        Raises:
            EnvironmentNotNamedError: it was not said, or another one.
        """
        environment = self.settings.environment
        if environment is None:
            require_named(None, said=said, doing=doing, how="Leave --confirm-env out.")
            return
        if said is None and needs_name(environment, said=None) and self.can_ask:
            self.tell(f"{doing[:1].upper()}{doing[1:]} in the environment {environment}.")
            said = self.ask("Its name, to go on: ")
        require_named(
            environment,
            said=said,
            doing=doing,
            how=f"To go on: `{self._command_with(environment.name)}`",
        )

    def _command_with(self, name: str) -> str:
        """This command, with the name of the environment that it is confirmed by."""
        words = _without_confirmation(self.words)
        # What follows a bare -- is no option.
        end = words.index("--") if "--" in words else len(words)
        words[end:end] = ["--confirm-env", name]
        options = {"--config": self.config, "--env": name}
        before = [
            part
            for option, value in options.items()
            if value is not None and not any(word.partition("=")[0] == option for word in words)
            for part in (option, str(value))
        ]
        return shlex.join(["sync-pipeline", *before, *words])

    def ask(self, prompt: str) -> str:
        """Have somebody type a line; nothing where the input has ended."""
        try:
            return self.err.input(prompt).strip()
        except EOFError:
            return ""

    @property
    def can_ask(self) -> bool:
        """Whether somebody sits at a terminal and expects questions."""
        return not self.wants_json and self.err.is_terminal and sys.stdin.isatty()


def _without_confirmation(words: tuple[str, ...]) -> list[str]:
    """The words of a command without a name that was said already."""
    kept: list[str] = []
    is_name = False
    for word in words:
        if is_name or word.startswith("--confirm-env="):
            is_name = False
            continue
        is_name = word == "--confirm-env"
        if not is_name:
            kept.append(word)
    return kept


def _console(*, is_stderr: bool) -> Console:
    """A console that shows texts as they are: no markup, no emoji codes."""
    console = Console(stderr=is_stderr, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_WITHOUT_TERMINAL
    return console
