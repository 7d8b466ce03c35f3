"""What a service's headers say about its limits and about when to come again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from sync_pipeline.core.rate_limits import RateLimits, StatedLimits
from sync_pipeline.core.retrying import LONGEST_ASKED_SECONDS, retry_after_seconds

_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_PARAMETER: Final = re.compile(r"(?:^|[;,\s])([a-z]+)=\"?([^;,\"\s]+)")
_FIRST_NUMBER: Final = re.compile(r"\s*(\d+)\s*(?:[;,]|$)")
_LONGEST_RESET_SECONDS: Final = 90.0
"""A limit that takes longer to be whole again is not one per minute."""

Headers = Mapping[str, str]
"""Whatever the case of their names."""


def stated_limits(headers: Headers) -> StatedLimits:
    """Read ``x-ratelimit-*`` as OpenAI sends it, and the fields ``RateLimit`` of the IETF's draft.

    What cannot be read is left out, and so is a limit that is not one per minute.
    """
    requests, requests_left = _of_kind(headers, "requests")
    tokens, tokens_left = _of_kind(headers, "tokens")
    drafted, closed_seconds = _drafted(headers)
    return StatedLimits(
        limits=RateLimits(
            requests_per_minute=drafted if requests is None else requests,
            tokens_per_minute=tokens,
        ),
        requests_left=requests_left,
        tokens_left=tokens_left,
        closed_seconds=closed_seconds,
    )


def asked_to_wait(headers: Headers) -> float | None:
    """Seconds that a refusal asks to wait; None where it does not say.

    ``retry-after-ms``, else ``Retry-After`` in any form (a date is seen from the ``Date`` of the
    answer, whose clock wrote both), else when what is used up is there again.
    """
    milliseconds = duration_seconds(headers.get("retry-after-ms", ""), unit="ms")
    if milliseconds is not None:
        return min(milliseconds, LONGEST_ASKED_SECONDS)
    asked = retry_after_seconds(headers.get("retry-after"), now=_moment(headers.get("date")))
    if asked is not None:
        return asked
    resets = [
        duration_seconds(headers.get(f"x-ratelimit-reset-{kind}", ""))
        for kind in ("requests", "tokens")
        if _number(headers.get(f"x-ratelimit-remaining-{kind}")) == 0
    ]
    found = [reset for reset in resets if reset is not None]
    return min(max(found), LONGEST_ASKED_SECONDS) if found else None


def duration_seconds(text: str, *, unit: str = "s") -> float | None:
    """Read ``6m0s``, ``20ms``, ``1.5s``, or a bare number of ``unit``; None for anything else."""
    word = text.strip()
    if _DURATION.fullmatch(word):
        return sum(float(number) * _UNIT_SECONDS[it] for number, it in _PART.findall(word))
    number = _number(word)
    return None if number is None else number * _UNIT_SECONDS[unit]


def _of_kind(headers: Headers, kind: str) -> tuple[float | None, float | None]:
    """Limit per minute and what is left of it, of requests or of tokens."""
    limit = _number(headers.get(f"x-ratelimit-limit-{kind}"))
    left = _number(headers.get(f"x-ratelimit-remaining-{kind}"))
    reset = duration_seconds(headers.get(f"x-ratelimit-reset-{kind}", ""))
    if not limit or (reset is not None and reset > _LONGEST_RESET_SECONDS):
        return None, None
    return limit, left


def _drafted(headers: Headers) -> tuple[float | None, float]:
    """Requests per minute, and for how long none is answered; of several policies the first.

    Of both forms: ``RateLimit: "x";r=5;t=20`` with ``RateLimit-Policy: "x";q=100;w=60``, and
    ``RateLimit-Limit``, ``RateLimit-Remaining`` and ``RateLimit-Reset``.
    """
    policy = dict(_PARAMETER.findall(headers.get("ratelimit-policy", "").partition(",")[0]))
    state = dict(_PARAMETER.findall(headers.get("ratelimit", "").partition(",")[0]))
    if policy.get("qu", "requests") != "requests":
        return None, 0.0
    quota = _number(policy.get("q")) or _first_number(headers.get("ratelimit-limit"))
    window = _number(policy.get("w"))
    left = _number(state.get("r", headers.get("ratelimit-remaining")))
    reset = _number(state.get("t", headers.get("ratelimit-reset")))
    closed = reset if left == 0 and reset is not None else 0.0
    per_minute = quota * 60 / window if quota and window else None
    return per_minute, min(closed, LONGEST_ASKED_SECONDS)


def _first_number(text: str | None) -> float | None:
    found = _FIRST_NUMBER.match(text or "")
    return float(found[1]) if found else None


def _number(text: str | None) -> float | None:
    word = (text or "").strip()
    is_number = word.replace(".", "", 1).isdigit() and word.isascii()
    return float(word) if is_number else None


def _moment(text: str | None) -> datetime:
    """When an answer was written by its own clock; the present where it does not say."""
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return datetime.now(UTC)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
