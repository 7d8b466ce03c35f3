"""What headers say about limits, in all their forms."""

from __future__ import annotations

import pytest

from sync_pipeline.core.rate_limits import NOTHING_STATED, RateLimits, StatedLimits
from sync_pipeline.embedding.stated_limits import (
    asked_to_wait,
    duration_seconds,
    stated_limits,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("1s", 1, id="a second"),
        pytest.param("20ms", 0.02, id="milliseconds"),
        pytest.param("6m0s", 360, id="minutes and seconds"),
        pytest.param("1h2m3.5s", 3723.5, id="hours and a fraction"),
        pytest.param("2d", 172_800, id="days"),
        pytest.param("7", 7, id="a bare number"),
        pytest.param("0.25", 0.25, id="a bare fraction"),
        pytest.param(" 3s ", 3, id="spaces"),
        pytest.param("", None, id="nothing"),
        pytest.param("soon", None, id="a word"),
        pytest.param("-1s", None, id="negative"),
        pytest.param("5w", None, id="another unit"),
        pytest.param("٣", None, id="digits of another script"),
    ],
)
def test_a_duration_is_read_in_every_form(text: str, seconds: float | None) -> None:
    assert duration_seconds(text) == seconds


def test_openai_s_headers_are_read() -> None:
    found = stated_limits(
        {
            "x-ratelimit-limit-requests": "3000",
            "x-ratelimit-remaining-requests": "2999",
            "x-ratelimit-reset-requests": "20ms",
            "x-ratelimit-limit-tokens": "1000000",
            "x-ratelimit-remaining-tokens": "999500",
            "x-ratelimit-reset-tokens": "30ms",
        }
    )

    assert found == StatedLimits(
        limits=RateLimits(requests_per_minute=3000, tokens_per_minute=1_000_000),
        requests_left=2999,
        tokens_left=999_500,
    )


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none"),
        pytest.param({"x-ratelimit-limit-requests": "many"}, id="words"),
        pytest.param({"x-ratelimit-limit-requests": "0"}, id="nothing allowed"),
        pytest.param(
            {
                "x-ratelimit-limit-requests": "200",
                "x-ratelimit-remaining-requests": "199",
                "x-ratelimit-reset-requests": "7m12s",
            },
            id="a limit per day",
        ),
        pytest.param(
            {"ratelimit-policy": '"bytes";q=65535;qu="content-bytes";w=10'}, id="of bytes"
        ),
        pytest.param({"ratelimit-limit": "100"}, id="without its window"),
    ],
)
def test_what_says_nothing_of_a_minute_is_left_out(headers: dict[str, str]) -> None:
    assert stated_limits(headers) == NOTHING_STATED


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(
            {"ratelimit-policy": '"default";q=50;w=30', "ratelimit": '"default";r=0;t=12'},
            id="of today",
        ),
        pytest.param(
            {
                "ratelimit-limit": "50",
                "ratelimit-policy": "50;w=30",
                "ratelimit-remaining": "0",
                "ratelimit-reset": "12",
            },
            id="of before",
        ),
    ],
)
def test_the_fields_of_the_draft_are_read(headers: dict[str, str]) -> None:
    assert stated_limits(headers) == StatedLimits(
        limits=RateLimits(requests_per_minute=100), closed_seconds=12
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({"retry-after": "7"}, 7, id="seconds"),
        pytest.param({"retry-after": "0.5"}, 0.5, id="a fraction"),
        pytest.param({"retry-after-ms": "250", "retry-after": "7"}, 0.25, id="milliseconds"),
        pytest.param({"retry-after-ms": "soon", "retry-after": "7"}, 7, id="odd milliseconds"),
        pytest.param(
            {
                "date": "Fri, 20 Nov 2026 12:00:00 GMT",
                "retry-after": "Fri, 20 Nov 2026 12:00:30 GMT",
            },
            30,
            id="a date, by the clock that wrote it",
        ),
        pytest.param(
            {
                "date": "Fri, 20 Nov 2026 12:00:00 GMT",
                "retry-after": "Friday, 20-Nov-26 12:00:30 GMT",
            },
            30,
            id="an old date",
        ),
        pytest.param(
            {"date": "Fri, 20 Nov 2026 12:00:00 GMT", "retry-after": "Fri Nov 20 12:00:30 2026"},
            30,
            id="asctime",
        ),
        pytest.param({"date": "today", "retry-after": "3"}, 3, id="an odd date of the answer"),
        pytest.param({"retry-after": "Sun, 06 Nov 1994 08:49:37 GMT"}, 0, id="long ago"),
        pytest.param({"retry-after-ms": "1e9"}, None, id="no number of milliseconds"),
        pytest.param({"retry-after-ms": "999999999999"}, 86_400, id="absurd"),
        pytest.param(
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "12s",
                "x-ratelimit-remaining-tokens": "10",
                "x-ratelimit-reset-tokens": "40s",
            },
            12,
            id="when what is used up is there again",
        ),
        pytest.param(
            {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "?"},
            None,
            id="an odd reset",
        ),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_when_to_come_again_is_read_in_every_form(
    headers: dict[str, str], seconds: float | None
) -> None:
    assert asked_to_wait(headers) == seconds
