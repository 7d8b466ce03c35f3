"""What state databases of other encodings can hold (scenario S66)."""

from __future__ import annotations

import pytest

from sync_pipeline.core.errors import StateEncodingError
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.encoding import check_encoding, escaped, holds_all
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.index_state import PostgresIndexState
from sync_pipeline.database.migrate import migrate
from sync_pipeline.database.urls import driver_url
from sync_pipeline_tests.database.documents import ACME, COLLECTION, failure
from sync_pipeline_tests.encoded import encoded_database


@pytest.mark.parametrize(
    ("state", "source", "expected"),
    [
        pytest.param("UTF8", "EUC_JP", True, id="Unicode holds all"),
        pytest.param("SQL_ASCII", "UTF8", True, id="bytes hold all"),
        pytest.param("LATIN1", "LATIN1", True, id="the same"),
        pytest.param("LATIN1", "UTF8", False, id="fewer"),
        pytest.param("LATIN1", "SQL_ASCII", False, id="any bytes may come"),
        pytest.param("LATIN1", "WIN1251", False, id="others"),
    ],
)
def test_s66_which_encoding_holds_what_another_has(
    state: str, source: str, *, expected: bool
) -> None:
    """Unicode and bytes hold everything, any other encoding only its own."""
    assert holds_all(state, source=source) is expected


def test_s66_the_source_is_asked_only_where_the_state_is_narrow(database_url: str) -> None:
    """Of a state in UTF-8 nothing more has to be known."""

    def ask() -> str:
        pytest.fail("the source was asked")

    engine = make_engine(database_url)
    check_encoding(engine, "not_made_yet", source_encoding=ask)
    engine.dispose()


def test_s66_a_state_that_was_made_earlier_is_used_as_it_is(database_url: str) -> None:
    """Its ids may all be plain; it was made before anybody looked."""
    with encoded_database(database_url, "LATIN1") as url:
        engine = make_engine(driver_url(url, "psycopg"))
        try:
            with pytest.raises(StateEncodingError, match="has the encoding LATIN1"):
                check_encoding(engine, "sync_pipeline", source_encoding=lambda: "UTF8")
            migrate(engine)

            check_encoding(engine, "sync_pipeline", source_encoding=lambda: "UTF8")
        finally:
            engine.dispose()


def test_s66_a_message_in_any_script_is_recorded_and_an_id_is_refused(database_url: str) -> None:
    """In LATIN1, what another program said is kept with escapes; an id must be kept as it is."""
    with encoded_database(database_url, "LATIN1") as url:
        engine = make_engine(driver_url(url, "psycopg"))
        try:
            migrate(engine)
            state = PostgresIndexState(engine, collection=COLLECTION)

            state.record_failed(scope=ACME, failures=[failure(1, "é: 拒否 😀")])
            with pytest.raises(StateEncodingError, match="while recording failed documents"):
                state.record_failed(scope=Scope("株"), failures=[failure(2, "fine")])

            assert [found.error for found in state.list_failed()] == [
                r"\xe9: \u62d2\u5426 \U0001f600"
            ]
        finally:
            engine.dispose()


def test_s66_an_escaped_text_is_ascii() -> None:
    """And one that was so stays as it is."""
    assert escaped("é 株 \U0001f600 a") == r"\xe9 \u682a \U0001f600 a"
    assert escaped("plain") == "plain"
