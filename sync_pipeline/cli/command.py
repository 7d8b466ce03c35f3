"""Registers commands with the options that all of them have, and ends their errors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

import typer
from typer.core import TyperCommand

from sync_pipeline.cli.failures import failures_end_here
from sync_pipeline.cli.invocation import Invocation
from sync_pipeline.cli.options import Config, Debug, Env, Json, LogFile, MetricsFile

Command = Callable[..., None]
"""Takes the invocation, then its own arguments and options by keyword."""


def _option(name: str, annotation: object, default: object = None) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


_COMMON = (
    _option("config", Config),
    _option("environment", Env),
    _option("wants_json", Json, default=False),
    _option("debug", Debug, default=False),
    _option("log_file", LogFile),
)
_OF_REPORTS = (_option("metrics_file", MetricsFile),)
"""Of commands whose answer says how things stand, so that programs collect it."""


_WORDS: Final = "sync_pipeline.words"
"""Where a call keeps the words that followed its command."""


class TakesDashes(TyperCommand):
    """A command whose arguments may begin with a dash, as tenant ``-1`` does.

    No command has options of one letter, so such a word is no misspelt option. One
    that begins with two dashes still is; an id like that is written after ``--``.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words after the command's name."""
        known_options = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        ctx.meta[_WORDS] = tuple(args)
        misspelt = unknown_options(args, known_options=known_options)
        ctx.ignore_unknown_options = not misspelt
        # First, so that it is the one that is named.
        return super().parse_args(ctx, [*misspelt[:1], *args])


class HandsOn(TyperCommand):
    """A command that hands what follows its first argument on to another program."""

    allow_interspersed_args = False


def unknown_options(words: Sequence[str], *, known_options: AbstractSet[str]) -> list[str]:
    """Words before ``--`` that look like a long option, or like -h, and are none."""
    before = takewhile(lambda word: word != "--", words)
    looks = (word for word in before if word.startswith("--") or word == "-h")
    return [word for word in looks if word.partition("=")[0] not in known_options]


def command(
    app: typer.Typer,
    name: str,
    *,
    cls: type[TyperCommand] = TakesDashes,
    reports: bool = False,
) -> Callable[[Command], Command]:
    """Register a function as a command that also takes the options that all of them have.

    Typer builds options from a function's signature; the one it is given has the
    function's own parameters and the common ones.

    Args:
        app: Where to.
        name: What it is called.
        cls: How its words are read.
        reports: Whether its answer can be left in a file too.
    """
    more = _OF_REPORTS if reports else ()

    def register(function: Command) -> Command:
        app.command(name, cls=cls, help=inspect.getdoc(function))(_runner(function, more=more))
        return function

    return register


def group_command(app: typer.Typer) -> Callable[[Command], Command]:
    """Register what a group does when no command of it is named.

    The common options may stand before a command of the group too.
    """

    def register(function: Command) -> Command:
        app.callback(invoke_without_command=True, help=inspect.getdoc(function))(_runner(function))
        return function

    return register


def _words(context: typer.Context) -> tuple[str, ...]:
    """The command with what followed it, as it was typed."""
    names: list[str] = []
    level: Any = context
    while level.parent is not None:
        names.insert(0, str(level.info_name))
        level = level.parent
    return (*names, *context.meta.get(_WORDS, ()))


def _runner(function: Command, *, more: Sequence[inspect.Parameter] = ()) -> Callable[..., None]:
    """What Typer calls: the function, with the common options added to its own."""
    _, *own = inspect.signature(function, eval_str=True).parameters.values()

    def run(
        context: typer.Context,
        *,
        config: Path | None,
        environment: str | None,
        wants_json: bool,
        debug: bool,
        log_file: Path | None,
        metrics_file: Path | None = None,
        **arguments: Any,
    ) -> None:
        before: Invocation = context.obj
        invocation = before.with_options(
            config=config,
            environment=environment,
            wants_json=wants_json,
            debug=debug,
            words=_words(context),
            log_file=log_file,
            metrics_file=metrics_file,
        )
        if context.invoked_subcommand is not None:
            context.obj = invocation
            return
        with failures_end_here(invocation):
            invocation.prepare()
            function(invocation, **arguments)

    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    parameters = [context, *own, *_COMMON, *more]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # read by inspect
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
