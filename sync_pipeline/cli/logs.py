"""Warnings of our own code, one line each; other libraries only when something is wrong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from sync_pipeline.redaction import redact_logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from sync_pipeline.core.environment import NamedEnvironment


FORMAT: Final = "%(levelname)s %(name)s: %(message)s"
NOISY: Final = (
    "alembic", "dagster", "httpx", "httpx2", "openai", "sentence_transformers", "transformers",
)  # fmt: skip
"""Libraries that tell about their everyday work."""

_log = logging.getLogger(__name__)


def configure_logging() -> None:
    """Send log records to standard error; called once, by ``main``."""
    redact_logs()
    logging.basicConfig(level=logging.WARNING, format=FORMAT)
    for handler in logging.getLogger().handlers:
        # By itself: a log file may ask loggers for more.
        handler.setLevel(logging.WARNING)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)


def name_environment(environment: NamedEnvironment) -> None:
    """Have every line of the log name the environment, after its level."""
    named = FORMAT.replace(" ", f" [{environment.name}] ", 1)
    for handler in logging.getLogger().handlers:
        # Others' handlers, as a test's, have a format of their own.
        if getattr(handler.formatter, "_fmt", None) == FORMAT:
            handler.setFormatter(logging.Formatter(named))


def tell_of_loading(tell: Callable[[str], None]) -> None:
    """Have somebody who waits told that a model is being loaded, which takes seconds."""
    loading = logging.getLogger("sync_pipeline.embedding.loading")
    # For other programs it is an everyday record; here it is a line of its own.
    loading.propagate = False
    loading.setLevel(logging.INFO)
    loading.handlers = [_Telling(tell)]


class _Telling(logging.Handler):
    """Passes each record on as one line."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        """Pass it on, as a sentence that goes on."""
        message = record.getMessage()
        self._tell(f"{message[:1].upper()}{message[1:]} ...")
