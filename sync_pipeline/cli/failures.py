"""Where every error ends: one line for people, an object for programs, an exit code."""

from __future__ import annotations

import errno
import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import typer

from sync_pipeline.core.errors import ConfigurationError, SyncPipelineError
from sync_pipeline.engine.telling import error_told, tell
from sync_pipeline.operations.answers import error_answer
from sync_pipeline.redaction import redact

if TYPE_CHECKING:
    from sync_pipeline.cli.invocation import Invocation

FAILED: Final = 1
"""Exit code: something failed, differs, or was stopped."""
WRONG_USAGE: Final = 2
"""Exit code: the command line or the settings have to be changed."""


@contextmanager
def failures_end_here(invocation: Invocation) -> Iterator[None]:
    """Turn whatever a command raises into a message and an exit code."""
    try:
        yield
    except (typer.Exit, typer.Abort, typer.TyperException):
        raise
    except SyncPipelineError as error:
        _tell(invocation, error, message=str(error))
        code = WRONG_USAGE if isinstance(error, ConfigurationError) else FAILED
        raise typer.Exit(code) from error
    except KeyboardInterrupt as interrupt:
        _tell(invocation, interrupt, message="stopped at once; run the same command again")
        raise typer.Exit(FAILED) from interrupt
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise  # the reader of our output has gone; typer ends quietly
        _tell(invocation, error, message=_unexpected(error, debug=invocation.debug))
        raise typer.Exit(FAILED) from error


def _tell(invocation: Invocation, error: BaseException, *, message: str) -> None:
    if invocation.debug:
        invocation.tell(redact("".join(traceback.format_exception(error)).rstrip()))
    if isinstance(error, KeyboardInterrupt):
        tell(logging.WARNING, "command_stopped", "the command was stopped at once")
    else:
        tell(logging.ERROR, "command_failed", "the command failed", error=error_told(error))
    shown = redact(message)
    invocation.tell(f"error: {shown}")
    invocation.answer(error_answer(error, message=shown))


def _unexpected(error: Exception, *, debug: bool) -> str:
    what = " ".join(f"{type(error).__name__}: {error}".split())
    hint = "" if debug else ", run again with --debug for the traceback"
    return f"{what} (this is a bug{hint})"
