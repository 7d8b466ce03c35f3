"""What the MongoDB origin does when things go wrong, on a stub that can be told to."""

from __future__ import annotations

import itertools
import logging
import os
import traceback
from collections.abc import Iterator
from typing import Any, Final

import pytest
from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync_pipeline.core.errors import (
    OriginConfigurationError,
    OriginUnavailableError,
    StoppedError,
    SyncPipelineError,
)
from sync_pipeline.core.landing.fields import parse_field
from sync_pipeline.core.landing.spec import ColumnRule, Landing, Owner
from sync_pipeline.core.waiting import stoppable
from sync_pipeline_tests.origins.mongo_data import StubCollection
from sync_pipeline_tests.origins.mongo_server import Failure, MongoStub
from sync_pipeline_tests.origins.mongo_site import (
    TOOLS,
    MongoSite,
    ids_of,
    pages_of,
    stub_site,
)

pytestmark = pytest.mark.process

QUIET: Final = 0.2
BROKEN: Final = Failure()
BUSY: Final = Failure(code=262, name="ExceededTimeLimit")
PASSWORD: Final = "p@ss/w0rd:geheim"
ENCODED: Final = "p%40ss%2Fw0rd%3Ageheim"


@pytest.fixture
def site() -> Iterator[MongoSite]:
    with stub_site() as opened:
        yield opened


@pytest.fixture
def stub(site: MongoSite) -> MongoStub:
    assert site.stub is not None
    return site.stub


@pytest.fixture
def tools(stub: MongoStub) -> StubCollection:
    return stub.collection("directory", "tools")


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{"_id": number, "name": f"tool {number}"} for number in numbers]


# --- what is asked for --------------------------------------------------------------------


def test_pages_are_read_as_a_majority_has_them_and_no_older_than_the_pass(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert(*numbered(*range(4)))

    pages_of(site.origin())

    finds = stub.asked("find")
    assert len(finds) == 2
    assert all(find["readConcern"]["level"] == "majority" for find in finds)
    assert all("afterClusterTime" in find["readConcern"] for find in finds)
    assert all(find["$readPreference"] == {"mode": "primaryPreferred"} for find in finds)


def test_an_address_that_says_from_where_to_read_is_obeyed(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert({"_id": 1})

    pages_of(site.origin(url=f"{stub.url}?readPreference=secondaryPreferred"))

    assert stub.asked("find")[0]["$readPreference"] == {"mode": "secondaryPreferred"}


def test_a_field_that_no_query_can_name_has_whole_documents_fetched(
    site: MongoSite, tools: StubCollection
) -> None:
    landing = Landing(
        name="tools",
        connection="directory",
        table="landing.tools",
        id=(("_id",),),
        key=("_id",),
        owner=Owner(),
        columns=(ColumnRule(name="price", fields=(parse_field('"price.net"'),)),),
    )
    tools.insert(*[{"_id": n, "price.net": n, "other": 1} for n in range(4)])

    pages = pages_of(site.origin(landing))

    assert pages[-1].records == [{"_id": "3", "price.net": 3, "other": 1}]


def test_an_answer_that_is_cut_by_its_size_is_a_short_page_and_no_end(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert(*[{"_id": n, "name": "x" * 1_000} for n in range(10)])
    stub.batch_bytes = 2_500

    pages = pages_of(site.origin(page_size=5))

    assert ids_of(pages) == [str(n) for n in range(10)]
    assert [len(page.records) for page in pages] == [2] * 5
    assert stub.open_cursors == 0


def test_nothing_is_asked_before_it_has_to_be(site: MongoSite, stub: MongoStub) -> None:
    origin = site.origin()

    assert origin.traits.follows
    assert stub.commands == []


# --- outages ------------------------------------------------------------------------------


def test_a_broken_connection_is_made_again_and_nothing_is_missed(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert(*numbered(*range(10)))
    pages = site.origin().pages(since=None, start=None)
    first = next(pages)

    stub.cut()

    assert ids_of([first, *pages]) == [str(n) for n in range(10)]


@pytest.mark.parametrize("failure", [BROKEN, BUSY], ids=["broken", "busy"])
def test_what_fails_for_a_while_is_asked_again(
    site: MongoSite, stub: MongoStub, tools: StubCollection, failure: Failure
) -> None:
    tools.insert(*numbered(*range(4)))
    # The driver tries a second time by itself.
    stub.fail("find", failure, times=3)

    pages = pages_of(site.origin(attempts=3))

    assert ids_of(pages) == [str(n) for n in range(4)]
    assert site.waited
    assert pages[0].requests > 3


def test_what_fails_again_and_again_is_unavailable_after_so_many_attempts(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert({"_id": 1})
    stub.fail("find", Failure(code=8, name="UnknownError", message="no luck"), times=100)

    with pytest.raises(OriginUnavailableError, match=r"'tools': .*'directory'.* no luck .code 8"):
        pages_of(site.origin(attempts=3))

    assert len(stub.asked("find")) == 3


def test_a_server_that_is_not_there_is_unavailable(site: MongoSite, stub: MongoStub) -> None:
    with (
        stub.away(),
        pytest.raises(OriginUnavailableError, match="'directory' does not answer"),
    ):
        pages_of(site.origin(timeout_seconds=0.2, attempts=2))


def test_a_primary_that_steps_down_is_looked_for_again(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert({"_id": 1})
    stub.fail("find", Failure(code=189, name="PrimarySteppedDown"), times=3)

    assert ids_of(pages_of(site.origin())) == ["1"]


def test_after_an_outage_another_origin_goes_on_where_it_was(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert(*numbered(*range(10)))
    pages = site.origin(attempts=1).pages(since=None, start=None)
    first = next(pages)
    stub.fail("find", BUSY, times=2)
    with pytest.raises(OriginUnavailableError):
        list(pages)

    rest = pages_of(site.origin(), first.resume)

    assert ids_of([first, *rest]) == [str(n) for n in range(10)]


def test_a_stop_is_heard_between_attempts(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert({"_id": 1})
    stub.fail("find", BUSY, times=100)

    with stoppable(lambda: bool(site.waited)), pytest.raises(StoppedError, match="stopped"):
        pages_of(site.origin())


# --- settings that do not fit ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "said"),
    [
        pytest.param(13, "may not do this", id="rights"),
        pytest.param(18, "refuses user or password", id="login"),
        pytest.param(8000, "refuses user or password", id="login at Atlas"),
        pytest.param(73, "does not take the names", id="name"),
    ],
)
def test_what_no_retry_helps_with_is_said_at_once(
    site: MongoSite, stub: MongoStub, tools: StubCollection, code: int, said: str
) -> None:
    tools.insert({"_id": 1})
    stub.fail("find", Failure(code=code), times=100)

    with pytest.raises(OriginConfigurationError, match=said):
        pages_of(site.origin())

    assert site.waited == []


def test_a_view_is_refused(site: MongoSite, stub: MongoStub) -> None:
    stub.collection("directory", "tools").create(kind="view")

    with pytest.raises(OriginConfigurationError, match=r"directory\.tools .* is a view"):
        pages_of(site.origin())


def test_a_user_that_may_not_list_collections_reads_all_the_same(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert({"_id": 1})
    stub.fail("listCollections", Failure(code=13))

    assert ids_of(pages_of(site.origin())) == ["1"]
    assert stub.asked("listCollections")[1]["authorizedCollections"] is True


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://localhost", id="scheme"),
        pytest.param("mongodb://localhost/?colour=red", id="unknown option"),
        pytest.param("mongodb://localhost/?serverSelectionTimeoutMS=soon", id="value"),
        pytest.param(f"mongodb://reader:{PASSWORD}@localhost/", id="password not encoded"),
        pytest.param("mongodb://localhost:99999/", id="port"),
    ],
)
def test_an_address_that_cannot_be_used_is_named_but_not_shown(site: MongoSite, url: str) -> None:
    with pytest.raises(OriginConfigurationError, match="'directory' cannot be used") as raised:
        pages_of(site.origin(url=url))

    shown = "".join(traceback.format_exception(raised.value))
    assert "geheim" not in shown
    assert url not in shown


def test_a_password_is_in_no_message_and_no_log(
    site: MongoSite, stub: MongoStub, tools: StubCollection, caplog: pytest.LogCaptureFixture
) -> None:
    tools.insert({"_id": 1})
    url = stub.url.replace("mongodb://", f"mongodb://reader:{ENCODED}@")
    origin = site.origin(url=url)

    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(OriginConfigurationError, match="refuses user or password") as raised,
    ):
        pages_of(origin)

    shown = f"{raised.value!r} {raised.value} {origin!r} {caplog.text} " + "".join(
        traceback.format_exception(raised.value)
    )
    for secret in (PASSWORD, ENCODED, "geheim"):
        assert secret not in shown


def test_an_error_that_quotes_the_password_is_told_without_it(
    site: MongoSite, stub: MongoStub
) -> None:
    stub.fail("saslStart", Failure(code=8, message=f"odd: {PASSWORD} {ENCODED}"), times=9)
    origin = site.origin(
        url=stub.url.replace("mongodb://", f"mongodb://reader:{ENCODED}@"), attempts=1
    )

    with pytest.raises(SyncPipelineError, match=r"odd: \*\*\* \*\*\*") as raised:
        pages_of(origin)

    assert "geheim" not in str(raised.value)


# --- changes --------------------------------------------------------------------------------


def test_without_a_replica_set_full_passes_work_and_following_says_what_it_needs() -> None:
    with stub_site(is_replica_set=False) as site:
        site.collection("tools").insert(*numbered(*range(4)))

        pages = pages_of(site.origin())
        told = "\n".join(site.origin(follows=False).examine(TOOLS))
        with (
            pytest.raises(OriginConfigurationError, match=r"rs\.initiate.*full passes need no"),
            site.origin().follow(None, wait_seconds=QUIET) as stream,
        ):
            next(stream)

    assert ids_of(pages) == [str(n) for n in range(4)]
    assert "no replica set: only full passes" in told


def test_a_server_that_refuses_change_streams_says_what_they_need(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert({"_id": 1})
    stub.fail("aggregate", Failure(code=40573))

    with (
        pytest.raises(OriginConfigurationError, match="full passes need no replica set"),
        site.origin().follow(None, wait_seconds=QUIET) as stream,
    ):
        next(stream)


def test_an_oplog_that_forgot_asks_for_a_full_pass(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert({"_id": 1})
    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        token = next(stream).token
    tools.insert({"_id": 2})
    stub.forget_oplog()

    with site.origin().follow(token, wait_seconds=QUIET) as stream:
        hints = next(stream)
        tools.insert({"_id": 3})
        after = next(stream)

    assert hints.needs_full_pass is not None
    assert "oplog is too short" in hints.needs_full_pass
    assert hints.token["resume"]["_data"] > token["resume"]["_data"]
    assert after.keys == {"3"}


def test_tokens_of_quiet_hints_keep_a_collection_from_being_forgotten(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert({"_id": 1})
    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        next(stream)
        stub.collection("directory", "clients").insert(*numbered(*range(50)))
        token = next(stream).token
    stub.forget_oplog()
    tools.insert({"_id": 2})

    with site.origin().follow(token, wait_seconds=QUIET) as stream:
        hints = next(stream)

    assert hints.needs_full_pass is None
    assert hints.keys == {"2"}


@pytest.mark.parametrize("command", ["aggregate", "getMore"])
@pytest.mark.parametrize("code", [260, 280, 286, 10334])
def test_a_lost_place_asks_for_a_full_pass_whenever_it_is_noticed(
    site: MongoSite, stub: MongoStub, tools: StubCollection, command: str, code: int
) -> None:
    tools.insert({"_id": 1})
    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        token = next(stream).token
    stub.fail(command, Failure(code=code, labels=("NonResumableChangeStreamError",)))

    with site.origin().follow(token, wait_seconds=QUIET) as stream:
        hints = next(stream)
        tools.insert({"_id": 2})
        assert next(stream).keys == {"2"}

    assert hints.needs_full_pass is not None


def test_that_a_full_pass_is_needed_is_not_forgotten_in_an_outage(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert({"_id": 1})
    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        next(stream)
        stub.fail("aggregate", BUSY, times=3)
        tools.drop()
        hints = next(stream)

    assert hints.needs_full_pass == "the collection was dropped"
    assert site.waited


def test_a_lost_cursor_of_a_stream_misses_no_change(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert({"_id": 1})

    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        next(stream)
        stub.lose_cursors()
        tools.insert({"_id": 2})
        assert next(stream).keys == {"2"}
        stub.cut()
        tools.insert({"_id": 3})
        assert next(stream).keys == {"3"}


def test_an_error_that_ends_a_stream_misses_no_change(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert({"_id": 1})

    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        next(stream)
        tools.insert({"_id": 2})
        stub.fail("getMore", Failure(code=8))
        hints = next(stream)

    assert hints.keys == {"2"}
    assert site.waited


def test_a_stream_that_cannot_be_opened_again_is_unavailable(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert({"_id": 1})

    with (
        site.origin(timeout_seconds=0.2, attempts=2).follow(None, wait_seconds=QUIET) as stream,
        stub.away(),
        pytest.raises(OriginUnavailableError, match="does not answer"),
    ):
        list(stream)


def test_documents_stay_on_the_server_while_changes_are_told(
    site: MongoSite, stub: MongoStub, tools: StubCollection
) -> None:
    tools.insert({"_id": 1})

    with site.origin().follow(None, wait_seconds=QUIET) as stream:
        next(stream)

    [options, projection] = stub.asked("aggregate")[0]["pipeline"]
    assert options == {"$changeStream": {}}
    assert set(projection["$project"]) == {"operationType", "documentKey", "clusterTime"}


def test_nothing_is_left_open(site: MongoSite, stub: MongoStub, tools: StubCollection) -> None:
    tools.insert(*numbered(*range(10)))
    origin = site.origin()
    next(origin.pages(since=None, start=None))
    with origin.follow(None, wait_seconds=QUIET) as stream:
        next(stream)

    assert stub.open_cursors == 0


def test_examining_says_that_following_would_be_refused() -> None:
    with stub_site(is_replica_set=False) as site:
        site.collection("tools").insert({"_id": 1, "name": "saw", "price": 1})
        told = site.origin(follows=True).examine(TOOLS)

        said = list(itertools.islice(told, 3))
        with pytest.raises(OriginConfigurationError, match="replica set"):
            list(told)

    assert "only full passes" in said[0]


# --- whatever happens between pages -----------------------------------------------------------


@pytest.fixture(scope="module")
def shared_site() -> Iterator[MongoSite]:
    with stub_site() as opened:
        yield opened


_keys = st.one_of(
    st.integers(-20, 20),
    st.sampled_from(["a", "b", "c", "7", "x y"]),
    st.integers(0, 9).map(lambda n: ObjectId(f"65f00000000000000000000{n}")),
    st.booleans(),
)
_steps = st.lists(
    st.lists(st.tuples(st.sampled_from(["put", "delete"]), _keys), max_size=6), max_size=12
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    first=st.lists(_keys, min_size=1, max_size=25, unique_by=lambda key: (type(key), key)),
    steps=_steps,
    page_size=st.integers(1, 5),
    cuts=st.sets(st.integers(0, 10)),
)
def test_what_lives_throughout_comes_exactly_once(
    shared_site: MongoSite,
    first: list[Any],
    steps: list[list[tuple[str, Any]]],
    page_size: int,
    cuts: set[int],
) -> None:
    name = f"tools_{os.urandom(6).hex()}"
    collection = shared_site.collection(name)
    alive = {_told_apart(key): key for key in first}
    collection.insert(*[{"_id": key, "name": _told_apart(key)} for key in alive.values()])
    throughout = set(alive)
    origin = shared_site.origin(collection=name, page_size=page_size)
    pages = origin.pages(since=None, start=None)

    came: list[str] = []
    for number in itertools.count():
        page = next(pages)
        came += [record["name"] for record in page.records]  # type: ignore[index]  # documents
        if page.is_last:
            break
        for what, key in steps[number] if number < len(steps) else []:
            here = _told_apart(key)
            if what == "put" and here not in alive:
                collection.insert({"_id": key, "name": here})
                alive[here] = key
            elif what == "delete" and here in alive:
                collection.delete(alive.pop(here))
                throughout.discard(here)
        if number in cuts:
            origin.close()
            pages = origin.pages(since=None, start=page.resume)

    assert {name: came.count(name) for name in throughout} == dict.fromkeys(throughout, 1)
    origin.close()


def _told_apart(key: Any) -> str:
    return f"{type(key).__name__} {key}"
