"""A service that speaks OpenAI's interface, and everything that can go wrong with it."""

from __future__ import annotations

import json
import logging
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from sync_pipeline.core.errors import (
    ConfigurationError,
    InvalidVectorError,
    PermanentError,
    RateLimitedError,
    StoppedError,
    TransientError,
    UnusableProxyError,
)
from sync_pipeline.core.rate_limits import RateLimits, StatedLimits
from sync_pipeline.core.retrying import Retries
from sync_pipeline.core.waiting import stoppable
from sync_pipeline.embedding.openai import OpenAIEmbedder
from sync_pipeline.embedding.openai_interface import read_tokens, read_vectors
from sync_pipeline.embedding.rate_limits import LocalRateLimiter
from sync_pipeline_tests.embedding.limiting import SetClock
from sync_pipeline_tests.embedding.service import (
    DIMENSION,
    Answer,
    EmbeddingService,
    ServiceLimits,
    running_service,
    tokens_of,
)
from sync_pipeline_tests.fakes.embedder import FakeEmbedder

pytestmark = pytest.mark.process

TEXTS = ["Штукатурка", "Gypsum plaster", "Цемент М500"]
UNREACHABLE = "http://127.0.0.1:9/v1"


def client_of(
    service: EmbeddingService, *, clock: SetClock | None = None, timeout_seconds: float = 10
) -> OpenAIEmbedder:
    """One for which waiting takes no time."""
    clock = clock or SetClock()
    return OpenAIEmbedder(
        model="stub",
        base_url=service.url,
        api_key="k3y",
        dimension=DIMENSION,
        timeout_seconds=timeout_seconds,
        limiter=LocalRateLimiter(clock=clock),
        retries=Retries(sleep=clock.sleep),
    )


def answer_of(*embeddings: object) -> bytes:
    data = [{"index": place, "embedding": values} for place, values in enumerate(embeddings)]
    return json.dumps({"data": data}).encode()


def test_vectors_come_in_the_order_asked_whatever_the_answer_s_order() -> None:
    with running_service() as service:
        vectors = client_of(service).embed(TEXTS).vectors

    fake = FakeEmbedder(dimension=DIMENSION)
    assert np.allclose(vectors, fake.embed(TEXTS).vectors, atol=1e-6)


def test_the_request_names_model_and_key_and_goes_to_the_embeddings_path() -> None:
    with running_service() as service:
        client_of(service).embed(TEXTS)

    assert service.paths == ["/v1/embeddings"]
    assert service.keys == ["Bearer k3y"]
    assert service.requests == [{"model": "stub", "input": TEXTS, "encoding_format": "float"}]


def test_without_a_key_none_is_sent() -> None:
    with running_service() as service:
        OpenAIEmbedder(model="stub", base_url=service.url, dimension=DIMENSION).embed(TEXTS)

    assert service.keys == [None]


def test_shorter_vectors_are_asked_for_where_wanted() -> None:
    with running_service() as service:
        client = OpenAIEmbedder(
            model="stub", base_url=service.url, dimension=DIMENSION, shorten=True
        )
        client.embed(TEXTS)

    assert service.requests[0]["dimensions"] == DIMENSION


def test_requests_are_cut_by_count_and_by_bytes() -> None:
    with running_service() as service:
        client = OpenAIEmbedder(
            model="stub", base_url=service.url, dimension=DIMENSION, max_batch=3
        )
        texts = ["a", "b", "c", "d", "ж" * 100_000, "y" * 200_000]
        client.embed(texts)

    assert [len(request["input"]) for request in service.requests] == [3, 2, 1]  # type: ignore[arg-type]  # a list by construction
    assert service.texts() == texts


def test_prompts_are_put_before_documents_and_queries() -> None:
    with running_service() as service:
        client = OpenAIEmbedder(
            model="stub",
            base_url=service.url,
            dimension=DIMENSION,
            query_prompt="query: ",
            document_prompt="passage: ",
        )
        client.embed(["a"])
        client.embed_queries(["b"])

    assert service.texts() == ["passage: a", "query: b"]


def test_an_unknown_dimension_is_found_out_once_and_a_known_one_never_asked_for() -> None:
    with running_service() as service:
        client = OpenAIEmbedder(model="stub", base_url=service.url)
        found = [client.dimension, client.dimension]

    assert found == [DIMENSION, DIMENSION]
    assert len(service.requests) == 1
    assert OpenAIEmbedder(model="text-embedding-3-small").dimension == 1536


def test_what_finding_out_the_dimension_took_is_told_with_the_next_answer() -> None:
    with running_service() as service:
        client = OpenAIEmbedder(model="stub", base_url=service.url)
        assert client.dimension == DIMENSION
        bound = client.most_tokens(["a"])
        answers = [client.embed(["a"]), client.embed_queries(["b"])]

    assert [answer.calls for answer in answers] == [2, 1]
    assert sum(answer.tokens for answer in answers) == service.tokens
    assert answers[0].tokens <= bound


def test_the_id_changes_with_model_dimension_revision_and_document_prompt() -> None:
    def id_of(
        *,
        model: str = "a",
        base_url: str = "https://one.example/v1",
        dimension: int = 16,
        revision: str | None = None,
        document_prompt: str | None = None,
        query_prompt: str | None = None,
    ) -> str:
        return OpenAIEmbedder(
            model=model,
            base_url=base_url,
            dimension=dimension,
            revision=revision,
            document_prompt=document_prompt,
            query_prompt=query_prompt,
        ).model_id

    same = {id_of(), id_of(base_url="https://two.example/v1"), id_of(query_prompt="q: ")}
    others = {
        id_of(model="b"),
        id_of(dimension=32),
        id_of(revision="2"),
        id_of(document_prompt="d: "),
    }

    assert len(same) == 1
    assert len(others - same) == 4


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(Answer(status=500), id="500"),
        pytest.param(Answer(status=503, body=b"<html>"), id="503 with a page"),
        pytest.param(Answer(status=408), id="408"),
        pytest.param(Answer(status=429, headers={"Retry-After": "0.1"}), id="429"),
        pytest.param(Answer(breaks=True), id="broken connection"),
    ],
)
def test_one_transient_failure_is_not_noticed(answer: Answer) -> None:
    with running_service(answer) as service:
        vectors = client_of(service).embed(TEXTS).vectors

    assert vectors.shape == (3, DIMENSION)
    assert len(service.requests) == 2


def test_an_outage_is_transient_after_five_attempts() -> None:
    clock = SetClock()
    with (
        running_service(*[Answer(status=503)] * 9) as service,
        pytest.raises(TransientError, match=r"/v1/embeddings answered 503 for 'stub'"),
    ):
        client_of(service, clock=clock).embed(TEXTS)

    assert len(service.requests) == 5
    assert sum(clock.slept) >= 2 + 4 + 8 + 16


def test_a_rate_limit_is_waited_for_as_asked() -> None:
    clock = SetClock()
    with running_service(Answer(status=429, headers={"Retry-After": "33"})) as service:
        client_of(service, clock=clock).embed(TEXTS)

    assert 33 <= sum(clock.slept) <= 34


def test_a_long_rate_limit_is_handed_to_the_caller_at_once() -> None:
    with (
        running_service(Answer(status=429, headers={"Retry-After": "3600"})) as service,
        pytest.raises(RateLimitedError, match="asks to wait") as caught,
    ):
        client_of(service).embed(TEXTS)

    assert caught.value.retry_after_seconds == 3600
    assert len(service.requests) == 1


def test_nobody_answering_is_transient() -> None:
    client = OpenAIEmbedder(
        model="stub",
        base_url=UNREACHABLE,
        dimension=DIMENSION,
        retries=Retries(sleep=lambda _: None),
    )

    with pytest.raises(TransientError, match=r"did not answer \(ConnectError\)"):
        client.embed(TEXTS)


@pytest.mark.parametrize(
    ("answer", "kind", "match"),
    [
        pytest.param(
            Answer(status=401), ConfigurationError, r"401 .*does not accept the key", id="401"
        ),
        pytest.param(Answer(status=403), ConfigurationError, "may not use this model", id="403"),
        pytest.param(Answer(status=404), ConfigurationError, "no such model", id="404"),
        pytest.param(Answer(status=405), ConfigurationError, "takes no embeddings", id="405"),
        pytest.param(Answer(status=400), PermanentError, "refuses a text", id="400"),
        pytest.param(Answer(status=413), PermanentError, "embedding.batch_size", id="413"),
        pytest.param(Answer(status=422), PermanentError, "refuses a text", id="422"),
        pytest.param(
            Answer(status=200, body=b"<html>"), ConfigurationError, "without JSON", id="a page"
        ),
        pytest.param(
            Answer(status=429, body=b'{"error": {"code": "insufficient_quota"}}'),
            ConfigurationError,
            "no credit left",
            id="no credit",
        ),
    ],
)
def test_lasting_refusals_are_named_and_not_retried(
    answer: Answer, kind: type[Exception], match: str
) -> None:
    with running_service(answer) as service, pytest.raises(kind, match=match):
        client_of(service).embed(TEXTS)

    assert len(service.requests) == 1


def test_a_redirect_is_not_followed() -> None:
    with running_service() as other:
        answer = Answer(status=307, headers={"Location": f"{other.url}/embeddings"})
        with (
            running_service(answer) as service,
            pytest.raises(ConfigurationError, match="a redirect, which is not followed"),
        ):
            client_of(service).embed(TEXTS)

    assert other.requests == []


def test_errors_quote_neither_texts_nor_keys() -> None:
    body = json.dumps({"error": {"code": TEXTS[0], "message": f"bad input {TEXTS[0]}"}}).encode()
    with (
        running_service(Answer(status=400, body=body)) as service,
        pytest.raises(PermanentError, match="answered 400 for 'stub'") as caught,
    ):
        client_of(service).embed(TEXTS)

    assert TEXTS[0] not in str(caught.value)
    assert "k3y" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "kind", "match"),
    [
        pytest.param(answer_of([1.0] * DIMENSION), PermanentError, "1 vectors for 3", id="too few"),
        pytest.param(
            answer_of(*[[1.0] * DIMENSION] * 4), PermanentError, "4 vectors for 3", id="too many"
        ),
        pytest.param(
            answer_of(*[[1.0] * 8] * 3), InvalidVectorError, r"shape \(3, 8\)", id="too short"
        ),
        pytest.param(
            answer_of(*[[float("nan")] * DIMENSION] * 3),
            InvalidVectorError,
            "NaN or infinity",
            id="NaN",
        ),
        pytest.param(
            answer_of(*[[None] * DIMENSION] * 3), InvalidVectorError, "NaN or infinity", id="null"
        ),
        pytest.param(
            answer_of(*[[0.0] * DIMENSION] * 3), InvalidVectorError, "not of length 1", id="zeros"
        ),
    ],
)
def test_wrong_vectors_are_refused(body: bytes, kind: type[Exception], match: str) -> None:
    with running_service(Answer(body=body)) as service, pytest.raises(kind, match=match):
        client_of(service).embed(TEXTS)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({}, id="no data"),
        pytest.param([], id="a list"),
        pytest.param(None, id="null"),
        pytest.param({"data": [{"embedding": [1.0]}]}, id="no index"),
        pytest.param({"data": [{"index": 1, "embedding": [1.0]}]}, id="index of another text"),
        pytest.param({"data": [{"index": 0, "embedding": 1.0}]}, id="a number"),
        pytest.param({"data": [{"index": 0, "embedding": "AACAPw=="}]}, id="base64"),
        pytest.param({"data": ["x"]}, id="strings"),
    ],
)
def test_an_answer_of_another_shape_is_refused(answer: object) -> None:
    with pytest.raises(PermanentError, match="not one list of numbers per text"):
        read_vectors(answer, count=1)


def test_two_vectors_for_one_index_are_refused() -> None:
    answer = {"data": [{"index": 0, "embedding": [1.0]}, {"index": 0, "embedding": [2.0]}]}

    with pytest.raises(PermanentError, match="each with its index"):
        read_vectors(answer, count=2)


@pytest.mark.parametrize(
    ("url", "match"),
    [
        pytest.param("http://embeddings.example/v1", "unencrypted", id="key over http"),
        pytest.param("https://user:pw@host.example/v1", "user name or password", id="password"),
        pytest.param("http://169.254.169.254/v1", "machine credentials", id="cloud metadata"),
        pytest.param("http://[fe80::1]/v1", "machine credentials", id="IPv6 link-local"),
        pytest.param("file:///etc/passwd", "must be http", id="file"),
        pytest.param("host.example/v1", "must be http", id="no scheme"),
        pytest.param("https://host.example:port/v1", "not an address", id="odd port"),
    ],
)
def test_unsafe_addresses_are_refused_before_anything_is_sent(url: str, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        OpenAIEmbedder(model="stub", base_url=url, api_key="k3y", dimension=DIMENSION)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_a_key_may_go_to_this_machine_unencrypted(host: str) -> None:
    client = OpenAIEmbedder(
        model="stub", base_url=f"http://{host}:11434/v1", api_key="k3y", dimension=DIMENSION
    )

    assert client.dimension == DIMENSION


def test_without_a_key_plain_http_is_allowed() -> None:
    client = OpenAIEmbedder(
        model="stub", base_url="http://tei.internal:8080/v1/", dimension=DIMENSION
    )

    assert client.model_id.startswith("openai:stub:16:")


def test_a_closed_client_opens_again() -> None:
    with running_service() as service:
        client = client_of(service)
        client.close()
        client.embed(TEXTS)
        client.close()
        client.close()

        assert client.embed_queries(["a"]).vectors[0].shape == (DIMENSION,)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "socks4://127.0.0.1:9", "ftp://x"])
def test_s67_a_proxy_that_cannot_be_used_is_named(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is at fault, and says so with the variables' names."""
    monkeypatch.setenv("ALL_PROXY", proxy)
    client = OpenAIEmbedder(
        model="stub", base_url="https://embeddings.invalid/v1", dimension=DIMENSION
    )

    with pytest.raises(
        UnusableProxyError, match=r"(?s)on the way to embeddings\.invalid.*HTTP_PROXY"
    ):
        client.embed(TEXTS)


def test_s67_a_proxy_of_the_environment_is_not_used_to_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service on loopback is asked directly."""
    for name in ("ALL_PROXY", "HTTP_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")

    with running_service() as service:
        assert client_of(service).embed(TEXTS).vectors.shape == (len(TEXTS), DIMENSION)


def test_an_answer_says_what_it_took_as_the_service_charges_it() -> None:
    with running_service() as service:
        answer = client_of(service).embed(TEXTS)

    assert answer.provider == "127.0.0.1"
    assert (answer.calls, answer.unanswered_calls) == (service.calls, 0) == (1, 0)
    assert answer.stated_tokens == answer.tokens == service.tokens == tokens_of(TEXTS)


def test_without_usage_it_says_what_was_counted() -> None:
    with running_service() as service:
        service.states_usage = False
        answer = client_of(service).embed(TEXTS)

    assert answer.stated_tokens is None
    assert answer.tokens == sum(count.tokens for count in answer.counts)


@pytest.mark.parametrize(
    "usage",
    [
        pytest.param(None, id="null"),
        pytest.param([], id="a list"),
        pytest.param({}, id="empty"),
        pytest.param({"total_tokens": -5}, id="negative"),
        pytest.param({"total_tokens": 0}, id="nothing"),
        pytest.param({"total_tokens": True, "prompt_tokens": "7"}, id="other types"),
        pytest.param({"total_tokens": 10**9}, id="more than there are bytes"),
        pytest.param({"total_tokens": 3.5}, id="a fraction"),
    ],
)
def test_nonsense_about_tokens_is_not_believed(usage: object) -> None:
    assert read_tokens({"usage": usage}, texts=["ab", "cd"]) is None


def test_tokens_of_the_prompt_are_believed_where_no_others_are_stated() -> None:
    assert read_tokens({"usage": {"prompt_tokens": 4}}, texts=["ab", "cd"]) == 4
    assert read_tokens([], texts=["ab"]) is None


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Answer(breaks=True), id="a broken connection"),
        pytest.param(Answer(hangs_seconds=1.5), id="a timeout"),
        pytest.param(Answer(cuts_at=100), id="a body that ends early"),
        pytest.param(Answer(cuts_json=True), id="a JSON that breaks off"),
    ],
)
def test_what_may_have_been_charged_is_counted_and_tried_again(fault: Answer) -> None:
    with running_service(fault, fault) as service:
        answer = client_of(service, timeout_seconds=0.4).embed(TEXTS)

    assert np.allclose(answer.vectors, FakeEmbedder(dimension=DIMENSION).embed(TEXTS).vectors)
    assert (answer.calls, answer.unanswered_calls) == (1, 2)
    assert service.calls == 3


def test_what_a_service_refused_is_not_counted() -> None:
    refusals = [Answer(status=429), Answer(status=500), Answer(status=503)]
    with running_service(*refusals) as service:
        answer = client_of(service).embed(TEXTS)

    assert (answer.calls, answer.unanswered_calls) == (service.calls, 0) == (1, 0)


def test_a_call_that_failed_for_good_says_what_may_have_been_charged() -> None:
    """Two attempts of the second request, and the first request, whose vectors are lost with it."""
    faults = [Answer(), Answer(breaks=True), Answer(breaks=True), *[Answer(status=503)] * 3]
    clock = SetClock()
    with running_service(*faults) as service:
        client = OpenAIEmbedder(
            model="stub",
            base_url=service.url,
            dimension=DIMENSION,
            max_batch=2,
            limiter=LocalRateLimiter(clock=clock),
            retries=Retries(sleep=clock.sleep),
        )
        with pytest.raises(TransientError, match="answered 503") as caught:
            client.embed(TEXTS)

    assert caught.value.unanswered_calls == service.calls == 3


def test_what_was_never_sent_is_not_counted() -> None:
    clock = SetClock()
    client = OpenAIEmbedder(
        model="stub",
        base_url=UNREACHABLE,
        dimension=DIMENSION,
        limiter=LocalRateLimiter(clock=clock),
        retries=Retries(sleep=clock.sleep),
    )

    with pytest.raises(TransientError, match="did not answer") as caught:
        client.embed(TEXTS)

    assert caught.value.unanswered_calls == 0


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_s_failure_may_hide_work_that_was_done(status: int) -> None:
    with running_service(Answer(status=status)) as service:
        answer = client_of(service).embed(TEXTS)

    assert answer.unanswered_calls == 1


def in_http(moment: datetime, form: str) -> str:
    """A date in one of the three forms of RFC 9110; English names whatever the locale."""
    days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    day, month = days[moment.weekday()], months[moment.month - 1]
    return form.format(day=day, short=day[:3], month=month, at=moment)


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("{short}, {at:%d} {month} {at:%Y %H:%M:%S} GMT", id="IMF-fixdate"),
        pytest.param("{day}, {at:%d}-{month}-{at:%y %H:%M:%S} GMT", id="RFC 850"),
        pytest.param("{short} {month} {at.day:2d} {at:%H:%M:%S %Y}", id="asctime"),
    ],
)
def test_a_service_s_date_is_waited_for(form: str) -> None:
    clock = SetClock()
    until = datetime.now(UTC) + timedelta(seconds=30)
    refused = Answer(status=429, headers={"Retry-After": in_http(until, form)})
    with running_service(refused) as service:
        client_of(service, clock=clock).embed(TEXTS)

    assert 28 <= sum(clock.slept) <= 32


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        pytest.param({"Retry-After": "2.5"}, 2.5, id="a fraction"),
        pytest.param({"retry-after-ms": "1500"}, 1.5, id="milliseconds"),
        pytest.param({"retry-after-ms": "1500", "Retry-After": "40"}, 1.5, id="both"),
        pytest.param({"Retry-After": "0"}, 0, id="nothing"),
    ],
)
def test_every_form_of_asking_to_wait_is_understood(
    headers: dict[str, str], seconds: float
) -> None:
    clock = SetClock()
    with running_service(Answer(status=429, headers=headers)) as service:
        client_of(service, clock=clock).embed(TEXTS)

    assert seconds <= sum(clock.slept) <= seconds + 1


def test_while_one_was_asked_to_wait_nobody_asks() -> None:
    clock = SetClock()
    limiter = LocalRateLimiter(clock=clock)

    with running_service(Answer(status=429, headers={"Retry-After": "3600"})) as service:
        first, second = (
            OpenAIEmbedder(model="stub", base_url=service.url, dimension=DIMENSION, limiter=limiter)
            for _ in range(2)
        )
        with pytest.raises(RateLimitedError, match="asks to wait"):
            first.embed(TEXTS)
        with pytest.raises(RateLimitedError, match="takes no request for another 3600 s") as caught:
            second.embed(TEXTS)

        clock.seconds += 3600
        second.embed(TEXTS)

    assert caught.value.retry_after_seconds == pytest.approx(3600)
    assert len(service.requests) == 2


def test_a_service_that_closed_while_one_waited_for_its_turn_is_not_asked() -> None:
    clock = SetClock()
    limiter = LocalRateLimiter(limits=RateLimits(requests_per_minute=6), clock=clock)
    limiter.take(tokens=1)

    def sleep(seconds: float) -> None:
        if not clock.slept:
            limiter.settle(expected=0, taken=0, stated=StatedLimits(closed_seconds=50))
        clock.sleep(seconds)

    with running_service() as service:
        OpenAIEmbedder(
            model="stub",
            base_url=service.url,
            dimension=DIMENSION,
            limiter=limiter,
            retries=Retries(sleep=sleep),
        ).embed(TEXTS)

    assert sum(clock.slept) >= 50
    assert len(service.requests) == 1


def test_a_stop_ends_a_long_wait() -> None:
    clock = SetClock()
    with (
        running_service(Answer(status=429, headers={"Retry-After": "50"})) as service,
        stoppable(lambda: sum(clock.slept) > 3),
        pytest.raises(StoppedError, match="stopped while waiting"),
    ):
        client_of(service, clock=clock).embed(TEXTS)

    assert sum(clock.slept) < 4


def test_requests_in_several_threads_get_their_own_answers() -> None:
    texts = [[f"text {thread} {place}" for place in range(5)] for thread in range(8)]
    fake = FakeEmbedder(dimension=DIMENSION)
    found: dict[int, bool] = {}

    with running_service() as service:
        client = client_of(service)

        def ask(thread: int) -> None:
            vectors = client.embed(texts[thread]).vectors
            found[thread] = np.allclose(vectors, fake.embed(texts[thread]).vectors, atol=1e-6)

        threads = [threading.Thread(target=ask, args=(thread,)) for thread in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert found == dict.fromkeys(range(8), True)


def test_limits_that_an_answer_states_are_kept_to() -> None:
    clock = SetClock()
    with running_service() as service:
        service.limit(ServiceLimits(requests_per_minute=30, tokens_per_minute=6000), clock=clock)
        client = client_of(service, clock=clock)
        for _ in range(10):
            client.embed(TEXTS)

    assert service.refused == 0
    assert sum(clock.slept) >= 15


def test_nothing_of_the_environment_reaches_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and headers for OpenAI are not for whoever else is asked."""
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET"):
        monkeypatch.setenv(f"OPENAI_{name}", "s3cret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: s3cret\nX-Secret: s3cret")
    monkeypatch.setenv("OPENAI_BASE_URL", UNREACHABLE)

    with running_service() as service:
        OpenAIEmbedder(model="stub", base_url=service.url, dimension=DIMENSION).embed(TEXTS)
        client_of(service).embed(TEXTS)

    assert service.keys == [None, "Bearer k3y"]
    assert "s3cret" not in str(service.headers)


def test_no_log_quotes_a_text_or_a_key(caplog: pytest.LogCaptureFixture) -> None:
    with running_service(Answer(status=500), Answer(breaks=True)) as service:
        client = client_of(service)
        logging.getLogger("openai").setLevel(logging.DEBUG)
        with caplog.at_level(logging.DEBUG):
            client.embed(TEXTS)

    assert "/v1/embeddings" in caplog.text
    assert TEXTS[1] not in caplog.text
    assert "k3y" not in caplog.text


def test_a_model_s_vectors_are_not_taken_where_they_were_to_be_shorter() -> None:
    """A service that does not know ``dimensions`` answers with what the model has."""
    longer = Answer(body=answer_of(*[[1.0] * 32] * 3))
    with (
        running_service(longer) as service,
        pytest.raises(InvalidVectorError, match=r"shape \(3, 32\)"),
    ):
        OpenAIEmbedder(model="stub", base_url=service.url, dimension=DIMENSION, shorten=True).embed(
            TEXTS
        )


def test_requests_take_no_more_than_a_little_of_a_minute_s_tokens() -> None:
    small = OpenAIEmbedder(model="m", dimension=8, tokens_per_minute=1200)
    large = OpenAIEmbedder(model="m", dimension=8, document_prompt="passage: ")

    assert small.max_batch_bytes == 300
    assert large.max_batch_bytes == 300_000 - 64 * len("passage: ")


@pytest.mark.parametrize(
    ("answers", "charged"),
    [
        pytest.param([Answer(status=400)], 0, id="refused"),
        pytest.param([Answer(body=answer_of([1.0] * DIMENSION))], 1, id="too few vectors"),
        pytest.param([Answer(breaks=True), Answer(body=b'{"data": 5}')], 2, id="of another shape"),
        pytest.param([Answer(breaks=True), Answer(status=400)], 1, id="lost, then refused"),
    ],
)
def test_what_an_unusable_answer_cost_is_said(answers: list[Answer], charged: int) -> None:
    with running_service(*answers) as service, pytest.raises(PermanentError) as caught:
        client_of(service).embed(TEXTS)

    assert caught.value.charged_calls == service.calls == charged


def test_parts_of_a_call_that_are_lost_with_it_are_said_too() -> None:
    with running_service(Answer(), Answer(status=400)) as service:
        client = OpenAIEmbedder(
            model="stub", base_url=service.url, dimension=DIMENSION, max_batch=2
        )
        with pytest.raises(PermanentError, match="answered 400") as caught:
            client.embed(TEXTS)

    assert caught.value.charged_calls == service.calls == 1


def test_fields_that_only_one_service_knows_are_sent_and_are_part_of_the_model() -> None:
    """As Voyage is asked: the kind of a text is a field, and vectors come in base64."""
    with running_service() as service:
        client = OpenAIEmbedder(
            model="voyage",
            base_url=service.url,
            dimension=DIMENSION,
            encoding_format="base64",
            query_fields={"input_type": "query"},
            document_fields={"input_type": "document", "output_dimension": DIMENSION},
        )
        vectors = client.embed(TEXTS).vectors
        client.embed_queries(["a"])

    plain = OpenAIEmbedder(model="voyage", dimension=DIMENSION)
    assert np.allclose(vectors, FakeEmbedder(dimension=DIMENSION).embed(TEXTS).vectors, atol=1e-6)
    assert [
        (request["input_type"], request.get("output_dimension"), request["encoding_format"])
        for request in service.requests
    ] == [("document", DIMENSION, "base64"), ("query", None, "base64")]
    assert client.model_id != plain.model_id


@pytest.mark.parametrize(
    "embedding",
    [
        pytest.param("not base64", id="another alphabet"),
        pytest.param("AACAPw=", id="cut"),
        pytest.param("AAAA", id="no whole number of floats"),
    ],
)
def test_base64_that_is_none_is_refused(embedding: str) -> None:
    with pytest.raises(PermanentError, match="not one list of numbers per text"):
        read_vectors({"data": [{"index": 0, "embedding": embedding}]}, count=1, is_base64=True)


def test_lists_are_read_where_a_service_does_not_know_base64() -> None:
    answer = {"data": [{"index": 0, "embedding": [1.0, 2.0]}]}

    assert read_vectors(answer, count=1, is_base64=True).tolist() == [[1.0, 2.0]]
