"""What the row source promises of databases that are not UTF-8 (scenario S66)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import pytest
import sqlalchemy as sa

from sync_pipeline.core.document import MAX_TEXT_CHARACTERS
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.core.undecodable import is_undecodable
from sync_pipeline.database.engine import make_engine
from sync_pipeline.database.urls import driver_url
from sync_pipeline.sources.postgres import PostgresRowSource
from sync_pipeline_tests.encoded import encoded_database
from sync_pipeline_tests.sources.counting import count_rows

ITEM: Final = Entity(
    name="item", table="items", views=(("text", ("name",)),), payload=(("maker", "maker"),)
)
ACME: Final = Scope("acme")
TABLE: Final = """
CREATE TABLE items (id text PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false,
                    name text, maker text)
"""


@dataclass(frozen=True, slots=True)
class Encoding:
    """An encoding, a text that it has, and bytes that are no text in it, if it has such."""

    name: str
    text: str
    codec: str
    spoiled: bytes | None
    foreign: str
    """A text that it cannot hold, though the program can."""


ENCODINGS: Final = (
    Encoding("UTF8", "Крéпи 株", "utf-8", None, ""),
    Encoding("SQL_ASCII", "Crépi 株", "utf-8", b"B\xe9ton", ""),
    Encoding("WIN1251", "Кирпич № 5", "cp1251", b"\x98", "株"),
    Encoding("LATIN1", "Béton désactivé", "latin-1", None, "Бетон"),
    # A letter of JIS X 0212 in three bytes that Unicode has no equal for.
    Encoding("EUC_JP", "株式会社", "euc-jp", b"\x8f\xa1\xa1", "\U0001f600"),
)


@contextmanager
def shop(url: str, encoding: Encoding) -> Iterator[sa.Engine]:
    """A table of three sound rows, one spoiled one where there can be one, and another tenant's."""
    with encoded_database(url, encoding.name) as made:
        engine = make_engine(driver_url(made, "psycopg"))
        try:
            with engine.begin() as connection:
                connection.exec_driver_sql(TABLE)
            for row_id, tenant in (("1", "acme"), ("2", "acme"), ("3", "globex"), ("4", None)):
                put(engine, row_id, encoding.text.encode(encoding.codec), tenant=tenant)
            yield engine
        finally:
            engine.dispose()


def put(
    engine: sa.Engine, row_id: str, raw: bytes, *, tenant: str | None = "acme", maker: bytes = b"A"
) -> None:
    """Write bytes as the application of another encoding does it: the server converts nothing."""
    with engine.begin() as connection:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        connection.exec_driver_sql(f"SET LOCAL client_encoding = '{encoding}'")
        connection.exec_driver_sql("DELETE FROM items WHERE id = %s", (row_id,))
        owner = None if tenant is None else tenant.encode()
        written = ", ".join(map(_literal, (row_id.encode(), owner, raw, maker)))
        names = "id, tenant_id, name, maker"
        connection.exec_driver_sql(f"INSERT INTO items ({names}) VALUES ({written})")  # noqa: S608


def _literal(raw: bytes | None) -> str:
    """Bytes as PostgreSQL reads them in a statement of the database's own encoding."""
    return "NULL" if raw is None else "E'" + "".join(f"\\x{byte:02x}" for byte in raw) + "'"


def read(engine: sa.Engine, scope: Scope = ACME) -> dict[str, tuple[object, ...]]:
    """Rows of a scope by id."""
    with PostgresRowSource(engine).open_snapshot([ITEM]) as snapshot:
        batches = snapshot.iter_rows(entity=ITEM, scope=scope, batch_size=2)
        return {str(row[0]): tuple(row) for batch in batches for row in batch}


@pytest.fixture(params=ENCODINGS, ids=lambda each: each.name)
def encoding(request: pytest.FixtureRequest) -> Encoding:
    found: Encoding = request.param
    return found


@pytest.fixture
def engine_of(database_url: str, encoding: Encoding) -> Iterator[sa.Engine]:
    with shop(database_url, encoding) as engine:
        yield engine


def test_s66_texts_read_the_same_from_every_encoding(
    engine_of: sa.Engine, encoding: Encoding
) -> None:
    """Every scope, its rows, ids, counts and digests, in whatever encoding they are kept."""
    source = PostgresRowSource(engine_of)

    assert source.list_scopes([ITEM]) == [GLOBAL, ACME, Scope("globex")]
    assert {row_id: row[3] for row_id, row in read(engine_of).items()} == {
        "1": encoding.text,
        "2": encoding.text,
    }
    with source.open_snapshot([ITEM]) as snapshot:
        ids = [found for batch in snapshot.iter_ids(entity=ITEM, scope=ACME) for found in batch]
        assert sorted(ids) == ["1", "2"]
        assert count_rows(snapshot, entity=ITEM, scope=ACME) == 2
        one = snapshot.digest(entities=[ITEM], scope=ACME)
    assert source.digest_by_scope([ITEM])["acme"] == one


def test_s66_a_value_that_is_no_text_costs_its_row_and_no_other(
    engine_of: sa.Engine, encoding: Encoding
) -> None:
    """It comes as undecodable, with its id; rows and scopes around it as ever."""
    if encoding.spoiled is None:
        pytest.skip(f"all bytes are text in {encoding.name}")
    put(engine_of, "5", encoding.spoiled)
    put(engine_of, "6", b"fine", maker=encoding.spoiled)

    rows = read(engine_of)

    assert rows.keys() == {"1", "2", "5", "6"}
    assert {row_id for row_id, row in rows.items() if any(map(is_undecodable, row))} == {"5", "6"}
    assert rows["1"][3] == rows["2"][3] == encoding.text
    assert rows["6"][3] == "fine"
    assert str(rows["5"][3]).encode(errors="surrogateescape") == encoding.spoiled
    source = PostgresRowSource(engine_of)
    assert source.count_by_scope([ITEM])["acme"] == 4


def test_s66_a_digest_sees_what_the_reader_sees_of_bytes(
    engine_of: sa.Engine, encoding: Encoding
) -> None:
    """The digest of a scope moves when bytes do, of the scope alone, and back with them."""
    if encoding.spoiled is None:
        pytest.skip(f"all bytes are text in {encoding.name}")
    source = PostgresRowSource(engine_of)
    sound = source.digest_by_scope([ITEM])

    put(engine_of, "2", encoding.spoiled)
    spoiled = source.digest_by_scope([ITEM])
    with source.open_snapshot([ITEM]) as snapshot:
        one = snapshot.digest(entities=[ITEM], scope=ACME)
    put(engine_of, "2", encoding.text.encode(encoding.codec))

    assert {key for key in sound if sound[key] != spoiled[key]} == {"acme"}
    assert spoiled["acme"] == one
    put(engine_of, "2", encoding.text.encode(encoding.codec))
    assert source.digest_by_scope([ITEM]) == sound


def test_s66_an_owner_that_is_no_text_is_nobody(engine_of: sa.Engine, encoding: Encoding) -> None:
    """A row of such a tenant comes with global, where it is counted and set aside."""
    if encoding.spoiled is None:
        pytest.skip(f"all bytes are text in {encoding.name}")
    with engine_of.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL client_encoding = '{encoding.name}'")
        connection.exec_driver_sql(
            f"INSERT INTO items VALUES ('7', {_literal(encoding.spoiled)}, false, 'lost')"  # noqa: S608
        )

    source = PostgresRowSource(engine_of)

    assert source.list_scopes([ITEM]) == [GLOBAL, ACME, Scope("globex")]
    assert read(engine_of, GLOBAL).keys() == {"4", "7"}
    assert source.count_by_scope([ITEM])["global"] == 2
    with source.open_snapshot([ITEM]) as snapshot:
        assert snapshot.digest(entities=[ITEM], scope=GLOBAL)["item"].rows == 2


def test_s66_what_a_database_cannot_hold_is_not_in_it(
    engine_of: sa.Engine, encoding: Encoding
) -> None:
    """Tenants and ids of other letters are asked about without a fault, among those it holds."""
    source = PostgresRowSource(engine_of)
    foreign = encoding.foreign or "\U0001f600"

    assert read(engine_of, Scope(foreign)) == {}
    with source.open_snapshot([ITEM]) as snapshot:
        assert snapshot.digest(entities=[ITEM], scope=Scope(foreign)) == {}
        assert snapshot.list_owners(entity=ITEM, row_id=foreign) == []
        found = snapshot.iter_rows(entity=ITEM, scope=ACME, ids=["1", foreign, "9"])
        assert [row[0] for batch in found for row in batch] == ["1"]


def test_s66_a_long_text_is_cut_between_characters(database_url: str) -> None:
    """Where a character is a byte to the server, a cut text of UTF-8 is still a text."""
    with shop(database_url, ENCODINGS[1]) as engine:
        put(engine, "8", b"a" + "株".encode() * MAX_TEXT_CHARACTERS)

        row = read(engine)["8"]

        assert not any(map(is_undecodable, row))
        assert str(row[3]).startswith("a株株")
