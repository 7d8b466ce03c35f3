"""How fast a service may be asked: numbers and moments in, moments out; no clock in here.

The generic cell rate algorithm: an account has a moment from which the next request may be sent,
and each request moves it on by what it costs of the allowance. So requests spread evenly, those
that come at once are queued in order, and no count of the past is kept. ``database.rate_limits``
says the same in SQL.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

SHARE_USED: Final = 0.98
"""Of what a service allows; clocks and ways differ a little, and being refused costs more."""
BURST_SECONDS: Final = 1.0
"""Allowance of so much time may be caught up with; in no minute it is more than all of it."""
MAX_QUEUE_SECONDS: Final = 60.0
"""No request is queued for longer; who comes then is told to come again."""
UNSTATED_BLOCK_SECONDS: Final = 2.0
"""How long nobody asks a service that refused and did not say for how long."""

_MINUTE: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What a service allows in a minute; None where it does not say."""

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def within(self, other: RateLimits) -> RateLimits:
        """The smaller of both, each."""
        return RateLimits(
            requests_per_minute=_smaller(self.requests_per_minute, other.requests_per_minute),
            tokens_per_minute=_smaller(self.tokens_per_minute, other.tokens_per_minute),
        )

    def or_those_of(self, other: RateLimits) -> RateLimits:
        """Each of these, or the other where there is none."""
        return RateLimits(
            requests_per_minute=self.requests_per_minute or other.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute or other.tokens_per_minute,
        )

    @property
    def seconds_per_request(self) -> float:
        """What a request costs of the allowance of requests, in time."""
        return _seconds_per(self.requests_per_minute)

    @property
    def seconds_per_token(self) -> float:
        """Likewise of tokens."""
        return _seconds_per(self.tokens_per_minute)


NO_LIMITS: Final = RateLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedLimits:
    """What an answer says about the limits of its account."""

    limits: RateLimits = NO_LIMITS
    requests_left: float | None = None
    tokens_left: float | None = None
    closed_seconds: float = 0.0
    """For how long nothing more is answered."""


NOTHING_STATED: Final = StatedLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How far an account's allowance is used; moments in seconds of whatever clock is used."""

    requests_at: float = float("-inf")
    """From when on one more request is within the limit of requests."""
    tokens_at: float = float("-inf")
    """Likewise of tokens."""
    blocked_until: float = float("-inf")
    """Until when the service asked everybody to wait."""
    stated: RateLimits = NO_LIMITS
    """The limits that it stated last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """When a request may be sent."""

    wait_seconds: float
    """From now; 0: at once."""
    is_taken: bool
    """Whether it has its place; if not, ask again later."""
    blocked_seconds: float
    """For how much of that the service asked everybody to wait."""


def take_turn(
    pace: Pace, *, limits: RateLimits, tokens: float, now: float, goes_ahead: bool = False
) -> tuple[Pace, Turn]:
    """Find a request its place behind those that have one.

    Args:
        pace: Of the account.
        limits: Of the settings; what the service stated counts where it is less.
        tokens: That the request is expected to take.
        now: The present.
        goes_ahead: It does not wait for others, only until the service takes requests again.

    Returns:
        The pace after it, and its turn.
    """
    both = limits.within(pace.stated)
    earliest = max(now - BURST_SECONDS, pace.blocked_until)
    requests_from = max(pace.requests_at, earliest)
    tokens_from = max(pace.tokens_at, earliest)
    queued = now if goes_ahead else max(requests_from, tokens_from)
    wait_seconds = max(now, pace.blocked_until, queued) - now
    turn = Turn(
        wait_seconds=wait_seconds,
        is_taken=wait_seconds <= MAX_QUEUE_SECONDS,
        blocked_seconds=max(0.0, pace.blocked_until - now),
    )
    if not turn.is_taken:
        return pace, turn
    return replace(
        pace,
        requests_at=requests_from + both.seconds_per_request,
        tokens_at=tokens_from + tokens * both.seconds_per_token,
    ), turn


def settle_turn(
    pace: Pace,
    *,
    limits: RateLimits,
    expected: float,
    taken: float,
    stated: StatedLimits,
    now: float,
) -> Pace:
    """Correct what was expected of a request by what it took, and note what its answer states.

    Where less is left than such a request takes, somebody else uses the account too: what it
    lacks is waited for.
    """
    known = stated.limits.or_those_of(pace.stated)
    both = limits.within(known)
    tokens_at = pace.tokens_at + (taken - expected) * both.seconds_per_token
    requests_at = pace.requests_at
    if stated.tokens_left is not None and stated.tokens_left < taken:
        tokens_at = max(tokens_at, now + (taken - stated.tokens_left) * both.seconds_per_token)
    if stated.requests_left is not None and stated.requests_left < 1:
        requests_at = max(requests_at, now + both.seconds_per_request)
    return Pace(
        requests_at=requests_at,
        tokens_at=tokens_at,
        blocked_until=_blocked(pace, seconds=stated.closed_seconds, now=now),
        stated=known,
    )


def _blocked(pace: Pace, *, seconds: float, now: float) -> float:
    return max(pace.blocked_until, now + seconds) if seconds > 0 else pace.blocked_until


def _smaller(one: float | None, other: float | None) -> float | None:
    found = [limit for limit in (one, other) if limit is not None]
    return min(found, default=None)


def _seconds_per(limit: float | None) -> float:
    return 0.0 if limit is None else _MINUTE / (limit * SHARE_USED)
