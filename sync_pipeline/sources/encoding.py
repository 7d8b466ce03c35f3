"""Reading text of databases that are not UTF-8, where a value may be no text at all.

A database without an encoding (SQL_ASCII) holds any bytes, and most other encodings have
bytes that no Unicode character answers to. The server refuses a whole batch of rows for one
such value. Here such rows are read as bytes and decoded one by one; what cannot be decoded
comes as ``core.undecodable`` describes. In a UTF-8 database everything can, and nothing here
costs anything.

In SQL_ASCII a character is a byte to the server: texts are cut by bytes there.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from sync_pipeline.core.document import MAX_LONG_TEXT_CHARACTERS, MAX_TEXT_CHARACTERS
from sync_pipeline.core.undecodable import is_undecodable
from sync_pipeline.sources.errors import UNDECODABLE_STATES, describe_url, source_errors

UTF8: Final = "UTF8"
SQL_ASCII: Final = "SQL_ASCII"

MAX_BYTES_PER_CHARACTER: Final = 4
"""Of UTF-8. A limit on characters times this keeps them all where the server counts bytes."""

_CUTS: Final = frozenset({MAX_TEXT_CHARACTERS, MAX_TEXT_CHARACTERS + 1, MAX_LONG_TEXT_CHARACTERS})
"""Lengths in bytes at which a text may have been cut in the middle of a character."""

_CONVERT: Final = sa.text("""
SELECT convert_from(raw, :encoding)
FROM unnest(CAST(:raws AS bytea[])) WITH ORDINALITY AS given (raw, position) ORDER BY position
""")


def encoding_of(connection: sa.Connection) -> str:
    """The database's encoding, as the server told it when the connection was made."""
    driver: Any = connection.connection.driver_connection
    return driver.info.parameter_status("server_encoding") or UTF8


def read_encoding(engine: sa.Engine) -> str:
    """The encoding of a source.

    Raises:
        SourceUnavailableError: it cannot be reached.
        ConfigurationError: not with these settings.
    """
    with source_errors(describe_url(engine.url)), engine.connect() as connection:
        return encoding_of(connection)


def fetch(connection: sa.Connection, statement: sa.Select[Any]) -> Sequence[Any]:
    """All rows of a statement, with text that may be undecodable.

    Args:
        connection: In a transaction.
        statement: Its columns are labelled; those of text have that type.
    """
    encoding = encoding_of(connection)
    if encoding == UTF8:
        return connection.execute(statement).all()
    if encoding != SQL_ASCII:
        rows: Sequence[Any] | None = _attempt(connection, statement)
        if rows is not None:
            return rows
    return [row for batch in _read_raw(connection, statement, encoding) for row in batch]


def stream(
    connection: sa.Connection, statement: sa.Select[Any], *, batch_size: int
) -> Iterator[Sequence[Any]]:
    """Rows of a statement in batches, through a cursor on the server; otherwise as ``fetch``."""
    encoding = encoding_of(connection)
    if encoding == UTF8 or (encoding != SQL_ASCII and _decodes(connection, statement)):
        options = {"yield_per": batch_size}
        with connection.execute(statement, execution_options=options) as result:
            for batch in result.partitions():
                yield batch
                # The end is known without asking for it.
                if len(batch) < batch_size:
                    return
    else:
        yield from _read_raw(connection, statement, encoding, batch_size=batch_size)


def holdable(connection: sa.Connection, texts: Sequence[str]) -> Sequence[str]:
    """Those texts that the database can hold at all; others occur nowhere in it."""
    if encoding_of(connection) in {UTF8, SQL_ASCII} or all(map(str.isascii, texts)):
        return texts
    probe = sa.select(sa.func.cardinality(sa.cast(sa.literal(list(texts)), ARRAY(sa.Text))))
    if _attempt(connection, probe) is not None:
        return texts
    if len(texts) == 1:
        return []
    half = len(texts) // 2
    return [*holdable(connection, texts[:half]), *holdable(connection, texts[half:])]


def equals_any(expression: sa.ColumnElement[str], texts: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a text is one of these, which ``fetch`` may have returned as undecodable."""
    sound = [text for text in texts if not is_undecodable(text)]
    raw = [text.encode(errors="surrogateescape") for text in texts if is_undecodable(text)]
    return sa.or_(
        *([expression == sa.any_(sa.literal(sound, ARRAY(sa.Text)))] if sound else []),
        *([_raw(expression) == sa.any_(sa.literal(raw, ARRAY(sa.LargeBinary)))] if raw else []),
    )


def _attempt(connection: sa.Connection, statement: Any, values: Any = None) -> Any:
    """All rows, or None where the server refuses a text; the transaction goes on."""
    try:
        with connection.begin_nested():
            return connection.execute(statement, values).all()
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) not in UNDECODABLE_STATES:
            raise
        return None


def _decodes(connection: sa.Connection, statement: sa.Select[Any]) -> bool:
    """Have the server convert every text of a statement, without sending any."""
    read = statement.subquery()
    converted = (sa.func.count(sa.func.convert_to(c, UTF8)) for c in read.c if _is_text(c))
    return _attempt(connection, sa.select(*converted)) is not None


def _read_raw(
    connection: sa.Connection,
    statement: sa.Select[Any],
    encoding: str,
    *,
    batch_size: int = 4096,
) -> Iterator[Sequence[Any]]:
    """Rows of a statement, their texts read as bytes and decoded here."""
    read = statement.subquery()
    at = [position for position, column in enumerate(read.c) if _is_text(column)]
    raw = sa.select(*(_raw(c).label(c.name) if _is_text(c) else c for c in read.c))
    row_of: Any = namedtuple("Row", read.c.keys())  # type: ignore[misc]  # noqa: PYI024 - its fields are those of the query
    types = [column.type for column in read.c]
    with connection.execute(raw, execution_options={"yield_per": batch_size}) as result:
        for batch in result.partitions():
            raw_values = {value for row in batch for value in map(row.__getitem__, at)} - {None}
            texts = dict(
                zip(raw_values, _decode(connection, list(raw_values), encoding), strict=True)
            )
            yield [
                row_of(
                    *(
                        _processed(connection, types[position], texts.get(value))
                        if position in at
                        else value
                        for position, value in enumerate(row)
                    )
                )
                for row in batch
            ]


def _processed(connection: sa.Connection, kind: Any, text: str | None) -> object:
    """What the type of a column makes of its text; one that is undecodable stays so."""
    if isinstance(kind, sa.types.TypeDecorator) and not is_undecodable(text):
        return kind.process_result_value(text, connection.dialect)
    return text


def _decode(connection: sa.Connection, raws: Sequence[bytes], encoding: str) -> list[str]:
    if encoding == SQL_ASCII:
        return [_as_utf8(raw) for raw in raws]
    return _convert(connection, raws, encoding)


def _as_utf8(raw: bytes) -> str:
    """Decode a value of a database that says no encoding: newer programs write UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        is_cut = len(raw) in _CUTS and error.reason == "unexpected end of data"
        return (raw[: error.start] if is_cut else raw).decode(errors="surrogateescape")


def _convert(connection: sa.Connection, raws: Sequence[bytes], encoding: str) -> list[str]:
    """Have the server decode values, so that they read as they always did; halve on failure."""
    if all(map(bytes.isascii, raws)):
        return [raw.decode() for raw in raws]
    rows = _attempt(connection, _CONVERT, {"raws": list(raws), "encoding": encoding})
    if rows is not None:
        return [text for (text,) in rows]
    if len(raws) == 1:
        return [raws[0].decode("ascii", errors="surrogateescape")]
    half = len(raws) // 2
    return [
        *_convert(connection, raws[:half], encoding),
        *_convert(connection, raws[half:], encoding),
    ]


def _is_text(column: sa.ColumnElement[Any]) -> bool:
    kind = column.type
    inner = kind.impl if isinstance(kind, sa.types.TypeDecorator) else kind
    return isinstance(inner, sa.Text)


def _raw(expression: sa.ColumnElement[Any]) -> sa.ColumnElement[bytes]:
    """The bytes of a text as the database has them: nothing is converted to SQL_ASCII."""
    text = sa.type_coerce(expression, sa.Text)
    return sa.func.convert_to(text, SQL_ASCII, type_=sa.LargeBinary)
