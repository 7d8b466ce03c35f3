"""The queries over one source table, composed from quoted identifiers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from sync_pipeline.core.document import MAX_ROW_ID_CHARACTERS, MAX_TEXT_CHARACTERS
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.scope import MAX_KEY_LENGTH, Scope
from sync_pipeline.sources.encoding import MAX_BYTES_PER_CHARACTER, equals_any
from sync_pipeline.sources.layout import Column, Table
from sync_pipeline.sources.values import JsonText, NumericText

NATIVE_TYPES: Final = frozenset({"bool", "int2", "int4", "int8", "float4", "float8"})
"""Payload types that arrive as bool, int or float."""

DATE_TYPES: Final = frozenset({"date", "time", "timetz", "timestamp", "timestamptz"})
"""Payload types that come as ISO 8601 text; ``infinity`` and year 20,000 too."""

MAX_DUPLICATES_SHOWN: Final = 5

_SPELLINGS: Final[dict[str, Callable[[str], object]]] = {
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch,
    "int8": re.compile(r"0|-?[1-9][0-9]{0,17}").fullmatch,
    "int4": re.compile(r"0|-?[1-9][0-9]{0,8}").fullmatch,
}
"""How ids of types other than text look as the server writes them, within range for certain."""


class _TypeNamed(sa.types.UserDefinedType[Any]):
    """A type by the name that the server's own catalogue gives it, quoted there."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_kw: object) -> str:
        return self.name


class TableStatements:
    """Queries over the table of one entity.

    Text is compared byte by byte (``COLLATE "C"``): a collation that ignores
    case must not give one tenant another's rows.
    """

    def __init__(self, *, entity: Entity, table: Table) -> None:
        self.has_unique_ids = table.is_unique(entity.id)
        """Whether the database itself rules out that two rows have the same id."""
        self._entity = entity
        self._table = table
        self._from = sa.table(
            sa.quoted_name(table.name, quote=True),
            *(sa.column(sa.quoted_name(name, quote=True)) for name in table.columns),
            schema=sa.quoted_name(table.schema, quote=True),
        )
        self._is_global = self._column(entity.is_global).is_(sa.true())
        self._tenant = self._column(entity.tenant)
        # One character beyond what is allowed, so that too long a value is seen to be one.
        self._tenant_text = sa.collate(_text(self._tenant, _characters(MAX_KEY_LENGTH + 1)), "C")
        self._id_text = _text(self._column(entity.id), _characters(MAX_ROW_ID_CHARACTERS + 1))

    def rows(self, condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
        """``(id, tenant, is_global, *view columns, *payload columns)``, labelled by position."""
        expressions: list[sa.ColumnElement[Any]] = [
            self._id_text,
            self._tenant_text,
            self._is_global,
            *(_text(self._column(name), MAX_TEXT_CHARACTERS) for name in self._entity.view_columns),
            *map(self._payload, self._entity.payload_columns),
        ]
        labelled = (part.label(f"c{position}") for position, part in enumerate(expressions))
        return sa.select(*labelled).select_from(self._from).where(condition)

    def ids(self, *, scope: Scope) -> sa.Select[Any]:
        """Ids of the rows that the scope owns."""
        return (
            sa.select(self._id_text.label("id"))
            .select_from(self._from)
            .where(self._owned_by(scope), self._column(self._entity.id).is_not(None))
        )

    def among(self, ids: Sequence[str]) -> sa.ColumnElement[bool]:
        """Rows with one of these ids.

        Compared in the column's own type, so that its index serves, where every id
        is spelled as the server would spell it; otherwise as text.
        """
        column = self._column(self._entity.id)
        declared = self._table.columns[self._entity.id]
        texts = sa.literal(list(ids), ARRAY(sa.Text))
        is_spelled_so = _SPELLINGS.get(declared.base_type)
        if is_spelled_so is not None and all(map(is_spelled_so, ids)):
            typed = sa.cast(texts, ARRAY(_TypeNamed(declared.type_name)))
            return column == sa.any_(typed)
        return sa.cast(column, sa.Text) == sa.any_(texts)

    def changed_ids(self, condition: sa.ColumnElement[bool], *, since: datetime) -> sa.Select[Any]:
        """Ids of rows whose time of change is not before ``since``."""
        changed_at = self._column(str(self._entity.updated_at))
        moment = sa.literal(since, sa.DateTime(timezone=True))
        return (
            sa.select(self._id_text.label("id"))
            .select_from(self._from)
            .where(condition, sa.or_(changed_at >= moment, changed_at.is_(None)))
        )

    def count(self, condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
        """How many rows there are."""
        return sa.select(sa.func.count()).select_from(self._from).where(condition)

    def owners(self, row_id: str | None = None) -> sa.Select[Any]:
        """``(is_global, tenant, rows)`` per owner; the tenant of global rows is NULL.

        Args:
            row_id: Only owners of rows with this id.
        """
        tenant = sa.case((self._is_global, sa.null()), else_=self._tenant_text)
        grouped = (self._is_global.label("is_global"), tenant.label("tenant"))
        return (
            sa.select(*grouped, sa.func.count().label("rows"))
            .select_from(self._from)
            .where(sa.true() if row_id is None else self.among([row_id]))
            .group_by(sa.text("1"), sa.text("2"))
        )

    def duplicates(self, *, scope: Scope) -> sa.Select[Any]:
        """Ids that a row of the scope shares with another row that becomes a document.

        Document ids do not contain the tenant, so two tenants' rows count too.
        """
        return (
            sa.select(self._id_text.label("id"))
            .select_from(self._from)
            .where(sa.or_(self._is_global, self._tenant.is_not(None)))
            .group_by(self._is_global, sa.text("1"))
            .having(sa.func.count() > 1, sa.func.bool_or(self._owned_by(scope)))
            .order_by(sa.text("1"))
            .limit(MAX_DUPLICATES_SHOWN)
        )

    def tenant_cast(self, tenant_id: str) -> sa.Select[Any]:
        """Fails where the text is no value of the tenant column's type."""
        return sa.select(self._as_tenant(tenant_id))

    def in_scope(self, scope: Scope, *, unusable: Sequence[str] = ()) -> sa.ColumnElement[bool]:
        """Rows of a scope; global ones include those that no scope can own.

        Args:
            scope: Whose rows.
            unusable: Texts of the tenant column that cannot be tenant ids.
        """
        if not scope.is_global:
            return self._owned_by(scope)
        ownerless = [equals_any(self._tenant_text, unusable)] if unusable else []
        return sa.or_(self._is_global, self._tenant.is_(None), *ownerless)

    def _owned_by(self, scope: Scope) -> sa.ColumnElement[bool]:
        """Compare in the column's own type, so that its index serves, and again as text.

        The second comparison makes ``007`` and ``7``, or ``ACME`` and ``acme`` in
        a citext column, two tenants.
        """
        if scope.tenant_id is None:
            return self._is_global
        return sa.and_(
            self._column(self._entity.is_global).is_not(sa.true()),
            self._tenant == self._as_tenant(scope.tenant_id),
            self._tenant_text == scope.tenant_id,
        )

    def _as_tenant(self, tenant_id: str) -> sa.ColumnElement[Any]:
        type_name = self._table.columns[self._entity.tenant].type_name
        return sa.cast(sa.literal(tenant_id, sa.Text), _TypeNamed(type_name))

    def _payload(self, name: str) -> sa.ColumnElement[Any]:
        column = self._column(name)
        declared: Column = self._table.columns[name]
        if declared.base_type in NATIVE_TYPES:
            return column
        if declared.base_type == "numeric":
            return sa.type_coerce(sa.cast(column, sa.Text), NumericText)
        if declared.is_array or declared.base_type in {"json", "jsonb"}:
            # to_jsonb would decode escapes, and fail the whole fetch on one "\u0000".
            cut = _text(sa.func.to_json(column), MAX_TEXT_CHARACTERS + 1)
            return sa.type_coerce(cut, JsonText)
        if declared.base_type in DATE_TYPES:
            return sa.func.to_json(column).op("#>>")(sa.literal_column("'{}'"))
        return _text(column, MAX_TEXT_CHARACTERS)

    def _column(self, name: str) -> sa.ColumnElement[Any]:
        return self._from.c[name]


def _characters(number: int) -> int:
    """A limit that cuts no text of so many characters, where the server counts bytes too."""
    return number * MAX_BYTES_PER_CHARACTER


def _text(expression: sa.ColumnElement[Any], limit: int) -> sa.ColumnElement[str]:
    """The value as text, cut by the server: a text of 10 MB never gets here."""
    return sa.func.left(sa.cast(expression, sa.Text), limit, type_=sa.Text)
