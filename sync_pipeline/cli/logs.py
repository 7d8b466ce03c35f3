"""Warnings of our own code, one line each; other libraries only when something is wrong."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from sync_pipeline.redaction import redact_logs

if TYPE_CHECKING:
    from stamina.instrumentation import RetryDetails

NOISY: Final = ("alembic", "dagster", "httpx", "sentence_transformers", "transformers")
"""Libraries that tell about their everyday work."""

_log = logging.getLogger(__name__)


def configure_logging() -> None:
    """Send log records to standard error; called once, by ``main``."""
    redact_logs()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)


def log_retries() -> None:
    """Have waiting for a retry logged like everything else.

    Where structlog is installed (Dagster brings it) stamina 25 prints to standard
    output, which belongs to results.
    """
    from stamina.instrumentation import set_on_retry_hooks

    set_on_retry_hooks([_log_retry])


def _log_retry(details: RetryDetails) -> None:
    cause = " ".join(str(details.caused_by).split())
    _log.warning("trying again in %.0f s: %s", details.wait_for, cause)
