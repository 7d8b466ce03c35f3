"""What our own code logs as lines of JSON in a file, for programs that collect files.

Records of libraries are left out: their messages may quote rows, requests and addresses. Ours
never hold a text of a document or a query, and passwords and keys are masked here once more.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, Final

from sync_pipeline import __version__
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.engine.telling import EVENTS, error_told, whereabouts
from sync_pipeline.redaction import redact, redact_logs

OWNER_ALONE: Final = 0o600
"""Who may read the file: it names tenants and ids of rows."""

_OURS: Final = ("sync_pipeline", EVENTS)
"""Loggers whose records it gets, with all below them; events stay out of the first."""
_REMEDY: Final = (
    "Name a file in a folder that exists and that you may write, as --log-file or `logging.file`, "
    "or do without for this command: `SYNC_PIPELINE__LOGGING__FILE=null`."
)

_log: Final = logging.getLogger(__name__)


def log_to_file(path: Path, *, level: str = "info", environment: str | None = None) -> None:
    """Write what is logged from now on to a file too, and to no other.

    Several processes may write to one file: each line is appended in one piece. A file that
    is moved away is made again, so `logrotate` needs no signal. Once it is open no trouble
    with it ends anything: the first line that is lost is told on standard error.

    Args:
        path: Where to.
        level: Records below it are left out; a name of ``logging`` in lower case.
        environment: Of the settings, named in every line; None leaves it as it is.

    Raises:
        ConfigurationError: the file cannot be written.
    """
    redact_logs()
    number = logging.getLevelNamesMapping()[level.upper()]
    handler = _current()
    if handler is None or handler.path != path.absolute():
        handler = _opened(path)
        stop_logging_to_file()
    handler.setLevel(number)
    handler.environment = environment or handler.environment
    for name in _OURS:
        logger = logging.getLogger(name)
        # Warnings of ours are shown to people whatever the file gets.
        logger.setLevel(min(number, logging.WARNING))
        logger.addHandler(handler)
    root = logging.getLogger()
    if not root.handlers and logging.lastResort is not None:
        # Python shows warnings of ours only where nobody else takes them.
        root.addHandler(logging.lastResort)


def _opened(path: Path) -> LogFile:
    try:
        return LogFile(path)
    except OSError as error:
        raise ConfigurationError(
            f"the log cannot be written to {path}: {error.strerror}.", remedy=_REMEDY
        ) from error


def stop_logging_to_file() -> None:
    """Close the file, where there is one."""
    handler = _current()
    if handler is None:
        return
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    handler.close()


def _current() -> LogFile | None:
    handlers = logging.getLogger(EVENTS).handlers
    return next((handler for handler in handlers if isinstance(handler, LogFile)), None)


class LogFile(WatchedFileHandler):
    """Appends each record as one line in one write, and never raises.

    Raises:
        OSError: it cannot be opened or written to begin with.
    """

    def __init__(self, path: Path) -> None:
        self._is_torn = False
        """Whether the last line is lacking its end."""
        super().__init__(path, encoding="utf-8")
        self.path = path.absolute()
        self.environment: str | None = None
        """Of the settings; in every line once it is known."""
        self._has_told = False
        try:
            self._append(as_line(_opening_record()))
        except OSError:
            self.close()
            raise

    def emit(self, record: logging.LogRecord) -> None:
        """Append a record."""
        try:
            self.reopenIfNeeded()
            self._append(as_line(record, environment=self.environment))
        except Exception as error:  # noqa: BLE001 - whatever it is, the work goes on
            self._tell_once(error)

    def _open(self) -> Any:
        self._is_torn = False
        # Not buffered: a line that is cut into several writes could be mixed with another's.
        return open(self.baseFilename, "ab", buffering=0, opener=_open_for_owner)

    def _append(self, line: str) -> None:
        if self.stream is None:
            # A file that was moved away could not be made again the last time.
            self.stream = self._open()
            self._statstream()
        data = f"{line}\n".encode()
        written = os.write(self.stream.fileno(), b"\n" + data if self._is_torn else data)
        expected = len(data) + self._is_torn
        self._is_torn = written != expected
        if self._is_torn:
            raise OSError(None, "the disk or a quota is full")

    def _tell_once(self, error: Exception) -> None:
        if self._has_told:
            return
        self._has_told = True
        why = error.strerror if isinstance(error, OSError) else type(error).__name__
        _log.warning("lines of the log %s are lost, the work goes on: %s", self.path, why)


def as_line(record: logging.LogRecord, *, environment: str | None = None) -> str:
    """A record as one JSON object: in ASCII, so that no character of it can end the line."""
    moment = datetime.fromtimestamp(record.created, tz=UTC)
    where = whereabouts()
    error = record.exc_info[1] if record.exc_info else None
    told: dict[str, Any] = {
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": getattr(record, "event", None),
        "message": record.getMessage(),
        "run_id": where and where.run_id,
        "scope": where and where.scope,
        "step": where and where.step,
        "environment": environment,
        "host": socket.gethostname(),
        "process": record.process,
        "error": error_told(error) if error is not None else None,
        **getattr(record, "fields", {}),
    }
    present = {name: value for name, value in told.items() if value is not None}
    return json.dumps(_masked(present), default=str)


def _masked(value: Any) -> Any:
    """The same without passwords and keys; seconds to the millisecond."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {name: _masked(it) for name, it in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(it) for it in value]
    return value


def _opening_record() -> logging.LogRecord:
    """The first line of a process, which finds out whether there is room for any."""
    said = f"sync-pipeline {__version__} logs to this file"
    fields = {"event": "log_opened", "fields": {"version": __version__}}
    logger = logging.getLogger(EVENTS)
    return logger.makeRecord(EVENTS, logging.INFO, __file__, 0, said, (), None, extra=fields)


def _open_for_owner(path: str, flags: int) -> int:
    # A pipe that nobody reads is an error then, and one that is full loses lines and no time.
    return os.open(path, flags | os.O_NONBLOCK, OWNER_ALONE)
