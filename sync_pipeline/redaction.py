"""Keeps passwords and keys out of every log line of this process.

Messages of our own carry none (see ``core.errors``). This is for what libraries
log: a driver that names its URL, a client that shows its headers, a traceback.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

MASK: Final = "***"

MIN_SECRET_CHARACTERS: Final = 5
"""Shorter ones are hidden by their place only: masking every ``a`` would leave no log."""

_PATTERNS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    # Up to the last @ of the word: a password that was not percent-encoded may hold one itself.
    (re.compile(r"(postgres\w*(?:\+\w+)?://[^\s:/@'\"]*):[^\s'\"<>]*@", re.IGNORECASE), r"\1:***@"),
    (
        re.compile(r"(?<![\w+.-])((?!postgres)[a-z][\w+.-]*://)[^\s'\"<>/]*@", re.IGNORECASE),
        r"\1***@",
    ),
    (re.compile(r"(https://hooks\.slack\.com/)[^\s'\"<>]+", re.IGNORECASE), r"\1***"),
    (re.compile(r"\b(bearer|basic)\s+[a-z0-9._~+/=-]{5,}", re.IGNORECASE), r"\1 ***"),
    (
        re.compile(
            # From the beginning of a word: tried at each of its letters, one of 20,000 took 11 s.
            r"(\b\w*(?:passw(?:or)?d|api[_-]?key|token|secret|sig(?:nature)?)"
            r"['\"]?\s*[=:]\s*)(?:'[^']*'|\"[^\"]*\"|[^\s,;&'\"}\])]+)",
            re.IGNORECASE,
        ),
        r"\1***",
    ),
    (re.compile(r"\bsk-[a-z0-9_-]{8,}", re.IGNORECASE), "sk-***"),
)

_known: set[str] = set()
"""Secrets of the settings in use, to be found wherever they stand."""


def hide(secrets: Iterable[str]) -> None:
    """Mask these texts from now on, in whatever context they appear."""
    _known.update(secret for secret in secrets if len(secret) >= MIN_SECRET_CHARACTERS)


def redact(text: str) -> str:
    """The text without passwords and keys."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


def redact_logs(*, secrets: Iterable[str] = ()) -> None:
    """Redact messages and tracebacks of every record logged from now on, by any library.

    Done where records are made, not by a filter: filters of a logger are not asked
    about records of those below it, and libraries bring handlers of their own.
    Calling it again only adds ``secrets``.
    """
    hide(secrets)
    make = logging.getLogRecordFactory()
    if not getattr(make, "redacts", False):
        logging.setLogRecordFactory(_redacting(make))


def _redacting(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    def make_redacted(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            # Wrong arguments for its format; logging itself complains about that.
            return record
        record.msg, record.args = redact(message), None
        if record.exc_info and record.exc_info[0] is not None:
            # Formatters use this text instead of making their own.
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
        return record

    make_redacted.redacts = True  # type: ignore[attr-defined]  # recognised by redact_logs
    return make_redacted
