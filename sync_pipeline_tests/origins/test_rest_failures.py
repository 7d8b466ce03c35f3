"""A REST system that fails: what is tried again, what is waited for, and what is told."""

from __future__ import annotations

import logging
import ssl
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sync_pipeline.core.errors import (
    OriginConfigurationError,
    OriginUnavailableError,
    RateLimitedError,
    StoppedError,
    UnusableProxyError,
)
from sync_pipeline.core.landing.origin_options import ByKey, ByOffset, RestConnection
from sync_pipeline.core.waiting import stoppable
from sync_pipeline.origins.rest.origin import RestOrigin
from sync_pipeline_tests.embedding.limiting import SetClock
from sync_pipeline_tests.origins.rest_server import (
    CUT,
    EMPTY,
    HTML,
    RESET,
    Catalogue,
    Erp,
    Reply,
    product_of,
    refusal,
    running_erp,
)
from sync_pipeline_tests.origins.rest_support import (
    LANDING,
    ids_of,
    opened,
    read,
    request_of,
)

pytestmark = pytest.mark.process

_JITTER_SECONDS = 1.0
_NOT_JSON = Reply(body=b"well: no", headers={"Content-Type": "text/plain"})


@pytest.fixture
def erp() -> Iterator[Erp]:
    with running_erp(Catalogue.of(120)) as running:
        yield running


def _traceback(error: BaseException) -> str:
    """As a log shows it, with what it came from."""
    return "".join(traceback.format_exception(error))


def _in(seconds: float) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("7", 7.0), ("0.25", 0.25), ("  12 ", 12.0), ("date", 60.0)],
    ids=["seconds", "a fraction", "with spaces", "a date"],
)
def test_a_wait_that_is_asked_for_is_kept_in_every_form(
    erp: Erp, status: int, retry_after: str, seconds: float
) -> None:
    told = _in(seconds) if retry_after == "date" else retry_after
    erp.faults.script = [refusal(status, retry_after=told)]
    clock = SetClock()
    with opened(erp, clock=clock) as origin:
        pages = read(origin)

    assert ids_of(pages)[0] == "00000000"
    assert seconds - 1.5 <= sum(clock.slept) <= seconds + _JITTER_SECONDS
    assert sum(page.waited_seconds for page in pages) == pytest.approx(sum(clock.slept))


def test_a_wait_is_kept_by_all_workers(erp: Erp) -> None:
    clock = SetClock()
    served_at: list[float] = []
    erp.before_each_page = lambda *_: served_at.append(clock())
    erp.catalogue = Catalogue.of(600)
    erp.faults.at_request = {4: refusal(429, retry_after="30")}
    erp.latency_seconds = 0.01
    with opened(erp, clock=clock) as origin:
        pages = read(origin)

    # Those under way when it was refused are answered; all later ones waited.
    assert set(ids_of(pages)) == set(erp.catalogue.ids())
    assert sum(moment < 1030 for moment in served_at) <= 4 + 2
    assert sum(moment >= 1030 for moment in served_at) >= 6


def test_a_longer_wait_than_allowed_defers_the_pass_with_the_time_that_was_asked_for(
    erp: Erp,
) -> None:
    erp.faults.script = [refusal(429, retry_after="1000")]
    clock = SetClock()
    with (
        opened(erp, clock=clock) as origin,
        pytest.raises(RateLimitedError, match="asks to wait for 1000 s") as caught,
    ):
        read(origin)

    assert caught.value.retry_after_seconds == 1000
    assert not clock.slept
    assert erp.requests["data/products"] == 1


def test_pages_that_came_before_a_refusal_are_given_before_it_is_raised(erp: Erp) -> None:
    erp.faults.at_request = {2: refusal(429, retry_after="1000")}
    with opened(erp, concurrent_requests=1) as origin:
        pages = origin.pages(since=None, start=None)

        assert [len(next(pages).records) for _ in range(2)] == [50, 50]
        with pytest.raises(RateLimitedError):
            next(pages)


def test_a_refusal_that_does_not_say_for_how_long_is_waited_for_longer_each_time(
    erp: Erp,
) -> None:
    erp.faults.script = [refusal(429)] * 3
    clock = SetClock()
    with opened(erp, clock=clock) as origin:
        read(origin)

    assert 2 + 4 + 8 <= sum(clock.slept) <= 2 + 4 + 8 + 3 * _JITTER_SECONDS


def test_a_system_that_is_obeyed_may_ask_to_wait_more_often_than_it_may_fail(erp: Erp) -> None:
    erp.faults.script = [refusal(429, retry_after="1")] * 12
    with opened(erp) as origin:
        assert set(ids_of(read(origin))) == set(erp.catalogue.ids())


@pytest.mark.parametrize(
    "reply",
    [refusal(500), refusal(502), refusal(503), refusal(408), RESET, CUT, HTML, _NOT_JSON,
     Reply(cuts_json=True), Reply(body=b"", status=200), Reply(body=b"\xff\xfe\xfa")],
    ids=["500", "502", "503", "408", "reset", "cut body", "html", "no json", "half of a json",
         "nothing", "no text"],
)  # fmt: skip
def test_what_can_be_better_the_next_time_is_tried_again(erp: Erp, reply: Reply) -> None:
    erp.faults.script = [reply, reply]
    with opened(erp) as origin:
        pages = read(origin)

    assert set(ids_of(pages)) == set(erp.catalogue.ids())
    assert pages[0].requests == 3


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (refusal(500), r"GET http://\S+/api/v1/data/products answered 500\."),
        (RESET, r"got no answer \(RemoteProtocolError\)"),
        (CUT, r"got no answer \(RemoteProtocolError\)"),
        (HTML, r"answered 200 with HTML or XML instead of JSON \(content type: text/html\)"),
        (_NOT_JSON, r"answered 200 with no whole JSON in 8 bytes \(content type: text/plain\)"),
    ],
    ids=["500", "reset", "cut body", "html", "no json"],
)
def test_after_the_last_attempt_it_is_told_what_came(erp: Erp, reply: Reply, told: str) -> None:
    erp.faults.script = [reply] * 3
    with (
        opened(erp, attempts=3) as origin,
        pytest.raises(OriginUnavailableError, match=told) as caught,
    ):
        read(origin)

    assert erp.requests["data/products"] == 3
    assert "sign in" not in str(caught.value)


def test_a_system_that_is_not_there_is_told() -> None:
    with running_erp() as erp:
        pass
    with (
        opened(erp, attempts=2) as origin,
        pytest.raises(OriginUnavailableError, match=r"got no answer \(ConnectError\)"),
    ):
        read(origin)


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(hangs_seconds=0.6), r"within 0.2 s \(ReadTimeout\)"),
        (Reply(drip_seconds=0.05), "was still being answered after 0.4 s"),
    ],
    ids=["no answer", "a slow drip"],
)
def test_an_answer_that_takes_for_ever_is_given_up(erp: Erp, reply: Reply, told: str) -> None:
    erp.faults.script = [reply]
    began = time.monotonic()
    with (
        opened(erp, attempts=1, timeout_seconds=0.2) as origin,
        pytest.raises(OriginUnavailableError, match=told),
    ):
        read(origin)

    assert time.monotonic() - began < 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 422])
def test_what_no_attempt_can_help_is_told_at_once_without_parameters(erp: Erp, status: int) -> None:
    erp.faults.script = [refusal(status)]
    with (
        opened(erp, request_of(params={"filter": "of-the-landing"})) as origin,
        pytest.raises(
            OriginConfigurationError, match=rf"data/products answered {status}\."
        ) as caught,
    ):
        read(origin)

    assert erp.requests["data/products"] == 1
    assert "of-the-landing" not in str(caught.value)


def test_an_answer_without_records_is_told_with_the_keys_that_are_there(erp: Erp) -> None:
    body = b'{"status": "ok", "result": {"rows": 3, "page": null}}'
    erp.faults.script = [Reply(body=body)]
    with (
        opened(erp, request_of(records=("result", "items"))) as origin,
        pytest.raises(
            OriginConfigurationError,
            match=r"no list at `result.items`; at `result` there is an object with page, rows",
        ),
    ):
        read(origin)


def test_an_answer_that_is_too_long_is_refused_before_it_is_held(erp: Erp) -> None:
    with (
        opened(erp, max_answer_bytes=1_000) as origin,
        pytest.raises(OriginConfigurationError, match="more than 1,000 bytes"),
    ):
        read(origin)


def test_a_redirect_within_the_system_is_followed_with_its_credentials(erp: Erp) -> None:
    target = "/api/v1/data/products?offset=0&limit=50"
    erp.faults.script = [Reply(status=307, headers={"Location": target})]
    with opened(erp, headers={"X-Key": "key"}, params={"k": "key-in-address"}) as origin:
        pages = read(origin)

    assert set(ids_of(pages)) == set(erp.catalogue.ids())
    assert erp.targets[1] == f"{target}&k=key-in-address"
    assert erp.headers[1]["x-key"] == "key"


def test_a_redirect_to_another_host_is_not_followed(erp: Erp) -> None:
    with running_erp(erp.catalogue, address="127.0.0.2") as other:
        erp.faults.script = [
            Reply(status=302, headers={"Location": f"{other.url}/data/products?k=1"})
        ]
        with (
            opened(erp, headers={"X-Key": "key"}) as origin,
            pytest.raises(
                OriginConfigurationError,
                match=r"redirects to http://127\.0\.0\.2:\d+, which is not",
            ),
        ):
            read(origin)

        assert not other.targets


def test_redirects_in_a_circle_are_told(erp: Erp) -> None:
    target = "/api/v1/data/products"
    erp.faults.script = [Reply(status=307, headers={"Location": target})] * 6
    with (
        opened(erp) as origin,
        pytest.raises(OriginConfigurationError, match="redirected in a circle"),
    ):
        read(origin)


def test_many_pages_come_whole_through_all_kinds_of_faults() -> None:
    with running_erp(Catalogue.of(4_000)) as erp:
        faults = erp.faults
        faults.rate_429 = faults.rate_500 = faults.rate_reset = 0.05
        faults.rate_cut = faults.rate_html = 0.05
        with opened(erp) as origin:
            pages = read(origin)

        assert list(dict.fromkeys(ids_of(pages))) == erp.catalogue.ids()
        assert set(faults.counted) == {"429", "500", "reset", "cut", "html"}
        assert sum(page.requests for page in pages) == erp.requests["data/products"]


def test_a_wait_ends_when_somebody_asks_to_stop(erp: Erp) -> None:
    erp.faults.script = [refusal(429, retry_after="600")]
    stop = threading.Event()

    def sleep(seconds: float) -> None:
        del seconds
        stop.set()

    with (
        opened(erp, sleep=sleep) as origin,
        stoppable(stop.is_set),
        pytest.raises(StoppedError, match="stopped while waiting"),
    ):
        read(origin)

    assert erp.requests["data/products"] == 1


def test_a_reader_that_stops_ends_waits_of_pages_that_nobody_wants_any_more(erp: Erp) -> None:
    erp.faults.at_request = {1: refusal(429, retry_after="600")}
    asleep = threading.Event()

    def sleep(seconds: float) -> None:
        asleep.set()
        time.sleep(min(seconds, 0.01))

    before = set(threading.enumerate())
    with opened(erp, sleep=sleep) as origin:
        pages = origin.pages(since=None, start=None)
        next(pages)
        assert asleep.wait(5)
        pages.close()  # a generator
        left = [it for it in threading.enumerate() if it.name.startswith("rest-page")]
        for thread in set(left) - before:
            thread.join(timeout=5)
            assert not thread.is_alive()


def test_an_empty_page_by_key_far_before_the_total_ends_the_pass(erp: Erp) -> None:
    erp.faults.at_request = {1: EMPTY, 2: EMPTY}
    with (
        opened(erp, request_of(ByKey(size=50, key=("ID",), sort="ID"))) as origin,
        pytest.raises(OriginUnavailableError, match="an empty page at 50 of 120 records"),
    ):
        read(origin)


def test_an_empty_page_by_key_near_the_total_is_looked_at_from_before(erp: Erp) -> None:
    erp.faults.at_request = {2: EMPTY, 3: EMPTY}
    with opened(erp, request_of(ByKey(size=50, key=("ID",), sort="ID"))) as origin:
        assert set(ids_of(read(origin))) == set(erp.catalogue.ids())


def test_credentials_do_not_cross_a_network_in_the_clear_unless_that_is_allowed() -> None:
    def origin(**options: object) -> RestOrigin:
        connection = RestConnection(name="erp", base_url="http://erp.example.com/api", **options)  # type: ignore[arg-type]
        return RestOrigin(LANDING, connection=connection, request=request_of())

    for secret in (
        {"headers": {"X-Key": "k"}},
        {"params": {"key": "k"}},
        {"basic": ("user", "password")},
    ):
        with pytest.raises(OriginConfigurationError, match=r"to erp\.example\.com unencrypted"):
            origin(**secret)
        origin(**secret, allows_plain_http=True).close()
    origin().close()


@pytest.mark.parametrize(
    ("base_url", "told"),
    [
        ("ftp://erp.example.com", "no http:// or https:// address"),
        ("erp.example.com", "no http:// or https:// address"),
        ("https://me:secret@erp.example.com", "holds a user name or password"),
        ("https://erp.example.com/api?key=secret", r"has a \? or # part"),
        ("https://[::1", "no address"),
    ],
)
def test_an_address_that_cannot_be_asked_is_told_without_its_secrets(
    base_url: str, told: str
) -> None:
    with pytest.raises(OriginConfigurationError, match=told) as caught:
        RestOrigin(
            LANDING,
            connection=RestConnection(name="erp", base_url=base_url),
            request=request_of(),
        )

    assert "secret" not in str(caught.value)


def test_a_header_that_cannot_be_sent_is_named_without_its_value() -> None:
    connection = RestConnection(
        name="erp", base_url="https://erp.example.com", headers={"X-Key": "sécret\n"}
    )
    with pytest.raises(OriginConfigurationError, match="the header 'X-Key'") as caught:
        RestOrigin(LANDING, connection=connection, request=request_of())

    assert "cret\n" not in str(caught.value)


@pytest.mark.parametrize(
    "faults",
    [[refusal(500)] * 9, [refusal(404)], [HTML] * 9, [CUT] * 9, [Reply(body=b'{"a": 1}')],
     [refusal(429, retry_after="5000")]],
    ids=["500", "404", "html", "cut", "no records", "429"],
)  # fmt: skip
def test_secrets_are_in_no_message_log_or_repr(
    erp: Erp, faults: list[Reply], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secrets: dict[str, Any] = {
        "headers": {"X-Api-Key": "header-that-nobody-may-see"},
        "params": {"api_key": "param-that-nobody-may-see"},
        "basic": ("somebody", "password-that-nobody-may-see"),
    }
    erp.faults.script = faults
    with opened(erp, **secrets) as origin:
        with pytest.raises(
            (OriginUnavailableError, OriginConfigurationError, RateLimitedError)
        ) as e:
            read(origin)
        shown = f"{e.value!r} {_traceback(e.value)} {origin!r} {caplog.text}"

    assert "somebody" not in shown
    assert "api_key" not in shown
    assert "nobody-may-see" not in shown
    assert erp.headers[0]["x-api-key"] == "header-that-nobody-may-see"
    assert erp.headers[0]["authorization"].startswith("Basic ")


def _own_certificate(folder: Path) -> ssl.SSLContext:
    """Of a server that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def test_a_certificate_that_nobody_vouches_for_is_told_at_once(tmp_path: Path) -> None:
    with (
        running_erp(tls=_own_certificate(tmp_path)) as erp,
        opened(erp) as origin,
        pytest.raises(
            OriginConfigurationError, match=r"certificate of 127\.0\.0\.1 is not trusted"
        ),
    ):
        read(origin)


def test_a_proxy_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "gopher://proxy.example.com")
    connection = RestConnection(name="erp", base_url="https://erp.example.com")
    origin = RestOrigin(LANDING, connection=connection, request=request_of())

    with pytest.raises(UnusableProxyError, match=r"on the way to erp\.example\.com"):
        read(origin)


def test_a_proxy_sees_nothing_that_goes_to_this_machine(
    erp: Erp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with opened(erp) as origin:
        assert set(ids_of(read(origin))) == set(erp.catalogue.ids())


def test_a_product_that_is_there_in_windows_letters_is_read(erp: Erp) -> None:
    body = '{"data": [{"ID": "1", "Nazev": "Žluťoučký kůň"}], "total": 1}'.encode("windows-1250")
    erp.faults.script = [
        Reply(body=body, headers={"Content-Type": "application/json; charset=windows-1250"})
    ]
    with opened(erp) as origin:
        assert read(origin)[0].records == [{"ID": "1", "Nazev": "Žluťoučký kůň"}]


def test_a_large_page_is_read(erp: Erp) -> None:
    erp.catalogue = Catalogue([product_of(1, Popis="x" * 20_000_000)])
    with opened(erp, request_of(ByOffset(size=50))) as origin:
        assert len(read(origin)[0].records) == 1
