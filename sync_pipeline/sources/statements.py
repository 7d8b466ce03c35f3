"""The queries over one source table, composed from quoted identifiers."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from sync_pipeline.core.document import MAX_ROW_ID_CHARACTERS, longest_text
from sync_pipeline.core.entity import Archive, Condition, Constant, Criterion, Entity, Sharing
from sync_pipeline.core.ports import Weakness
from sync_pipeline.core.row_id import ESCAPES, SEPARATOR, split_row_id
from sync_pipeline.core.scope import MAX_KEY_LENGTH, Scope
from sync_pipeline.sources.check import find_weakness
from sync_pipeline.sources.columns import cut_text, payload_of, text_of
from sync_pipeline.sources.encoding import MAX_BYTES_PER_CHARACTER, equals_any
from sync_pipeline.sources.layout import Column, Table
from sync_pipeline.sources.ranking import as_number
from sync_pipeline.sources.times import (
    TimeColumn,
    finite_seconds,
    is_changed_since,
    is_older_than,
    must_be_measured,
    newest,
    why_not_plausible,
)

_TEXTS: Final = frozenset({"text", "character varying", "character"})
"""Declared types that take every text; a domain over one may refuse some."""

_SPELLINGS: Final[dict[str, Callable[[str], object]]] = {
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch,
    "int8": re.compile(r"0|-?[1-9][0-9]{0,17}").fullmatch,
    "int4": re.compile(r"0|-?[1-9][0-9]{0,8}").fullmatch,
    "text": lambda _: True,
    "varchar": lambda _: True,
}
"""How ids look as the server writes them, within range for certain, by type."""

_COMPARABLE_IDS: Final = frozenset({*_SPELLINGS, "int2", "numeric", "bpchar", "name", "date"})
"""Types of ids that have an equality, by which their index is used."""


class _TypeNamed(sa.types.UserDefinedType[Any]):
    """A type by the name that the server's own catalogue gives it, quoted there."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_kw: object) -> str:
        return self.name


class TableStatements:
    """Queries over the rows that count of one entity's table.

    Text is compared byte by byte (``COLLATE "C"``): a collation that ignores
    case must not give one tenant another's rows.
    """

    def __init__(self, *, entity: Entity, table: Table) -> None:
        self.has_unique_ids = table.is_unique(entity.id)
        """Whether the database itself rules out that two rows have the same id."""
        self.entity = entity
        self._table = table
        self._from = sa.table(
            sa.quoted_name(table.name, quote=True),
            *(sa.column(sa.quoted_name(name, quote=True)) for name in table.columns),
            schema=sa.quoted_name(table.schema, quote=True),
        )
        self._counts = sa.and_(sa.true(), *map(self._meets, entity.only))
        # One character beyond what is allowed, so that too long a value is seen to be one.
        tenant: sa.ColumnElement[Any]
        if isinstance(entity.tenant, Constant) or not entity.owner_columns:
            value = entity.tenant.value if isinstance(entity.tenant, Constant) else None
            tenant = sa.cast(sa.literal(value, sa.Text), sa.Text)
        else:
            tenant = cut_text(self._column(entity.tenant), _characters(MAX_KEY_LENGTH + 1))
        self._tenant_text = sa.collate(tenant, "C")
        self._is_global = self._shared()
        self._id_text = self._joined_id()

    def rows(
        self, condition: sa.ColumnElement[bool], *, now: datetime, is_ranked: bool = False
    ) -> sa.Select[Any]:
        """The columns that ``SourceSnapshot.iter_rows`` names, labelled by position.

        Args:
            condition: Which rows.
            now: What ages are counted from.
            is_ranked: Whether what the priority asks is among them: it is no part of a document.
        """
        expressions: list[sa.ColumnElement[Any]] = [
            self._id_text,
            self._tenant_text,
            self._is_global,
            *(
                text_of(*self._declared(name), longest=longest_text(self.entity, name))
                for name in self.entity.view_columns
            ),
            *(payload_of(*self._declared(name)) for name in self.entity.payload_columns),
            *(map(self._rank, self.entity.priority) if is_ranked else ()),
            *([] if self.entity.archive is None else [self._is_archived(self.entity.archive, now)]),
        ]
        labelled = (part.label(f"c{position}") for position, part in enumerate(expressions))
        return self._select(*labelled).where(condition)

    def ids(self, *, scope: Scope) -> sa.Select[Any]:
        """Ids of the rows that the scope owns."""
        return self._select(self._id_text.label("id")).where(
            self._owned_by(scope), *(column.is_not(None) for column in self._id_columns)
        )

    def among(self, ids: Sequence[str]) -> sa.ColumnElement[bool]:
        """Rows with one of these ids.

        Compared in the columns' own types, so that their index serves, where every id
        is spelled as the server would spell it; otherwise as text.
        """
        names = self.entity.id
        ids = [row_id for row_id in ids if "\0" not in row_id]
        splits = (split_row_id(row_id, columns=len(names)) for row_id in ids)
        split = [values for values in splits if values is not None]
        pairs = [
            self._compared(name, [values[place] for values in split])
            for place, name in enumerate(names)
        ]
        # A collation may take two ids for one: they are compared byte by byte once more.
        is_exact = sa.collate(self._id_text, "C") == sa.any_(sa.literal(list(ids), ARRAY(sa.Text)))
        if len(pairs) == 1:
            [(column, texts)] = pairs
            return sa.and_(column == sa.any_(texts), is_exact)
        unnested = sa.select(*(sa.func.unnest(texts) for _, texts in pairs))
        return sa.and_(sa.tuple_(*(column for column, _ in pairs)).in_(unnested), is_exact)

    def changed_ids(self, condition: sa.ColumnElement[bool], *, since: datetime) -> sa.Select[Any]:
        """Ids of rows whose time of change is not before ``since``, see ``sources.times``."""
        return self._select(self._id_text.label("id")).where(
            condition, is_changed_since(self._changed_at, entity=self.entity, since=since)
        )

    @property
    def must_measure_times(self) -> bool:
        """Whether the times of change have to be looked at before they are relied on."""
        return must_be_measured(self._changed_at[1], entity=self.entity)

    def newest_change(self, condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
        """The newest time of change, see ``sources.times``."""
        return newest(self._changed_at, self._select, condition, entity=self.entity)

    def newest_by_owner(self) -> sa.Select[Any]:
        """``(is_global, tenant, newest)`` per owner with a time of change (``finite_seconds``)."""
        tenant = sa.case((self._is_global, sa.null()), else_=self._tenant_text)
        seconds = finite_seconds(self._changed_at, entity=self.entity)
        return (
            self._select(
                self._is_global.label("is_global"),
                tenant.label("tenant"),
                sa.func.max(seconds).label("newest"),
            )
            .where(seconds.is_not(None))
            .group_by(sa.text("1"), sa.text("2"))
        )

    def why_not_plausible(self, value: float | None, *, now: datetime) -> str | None:
        """Say what is wrong with the newest time of change, None where nothing is."""
        column = self._changed_at[1]
        return why_not_plausible(value, column=column, entity=self.entity, now=now)

    def any_row(self, condition: sa.ColumnElement[bool]) -> sa.Select[Any]:
        """One row that meets the condition, without its values."""
        return self._select(sa.literal_column("1")).where(condition).limit(1)

    def owners(self, row_id: str | None = None) -> sa.Select[Any]:
        """``(is_global, tenant, rows)`` per owner; the tenant of global rows is NULL.

        Args:
            row_id: Only owners of rows with this id.
        """
        tenant = sa.case((self._is_global, sa.null()), else_=self._tenant_text)
        grouped = (self._is_global.label("is_global"), tenant.label("tenant"))
        return (
            self._select(*grouped, sa.func.count().label("rows"))
            .where(sa.true() if row_id is None else self.among([row_id]))
            .group_by(sa.text("1"), sa.text("2"))
        )

    def doubled(self, *, scope: Scope, ids: Sequence[str] | None = None) -> sa.Select[Any]:
        """``(id, tenant, rows)`` of ids of the scope that several rows would be a document by.

        Document ids do not contain the tenant, so all tenants' rows count. Only rows that
        share an id with one of the scope are looked at: two rows cost two rows, where
        an index begins with the id.

        Args:
            scope: Whose ids.
            ids: Only these.
        """
        among = sa.true() if ids is None else self.among(ids)
        columns = [self._comparable(name) for name in self.entity.id]
        mine = self._select(*columns).where(self._owned_by(scope), among)
        key = columns[0] if len(columns) == 1 else sa.tuple_(*columns)
        is_document = self._is_global if scope.is_global else self._owned_by_a_tenant()
        tenant = sa.null() if scope.is_global else self._tenant_text
        groups = (
            self._select(
                self._id_text.label("id"),
                sa.cast(tenant, sa.Text).label("tenant"),
                sa.func.count().label("rows"),
                sa.func.sum(sa.func.count()).over(partition_by=self._id_text).label("all_rows"),
            )
            .where(is_document, among, key.in_(mine))
            .group_by(sa.text("1"), sa.text("2"))
        ).subquery()
        return (
            sa.select(groups.c.id, groups.c.tenant, groups.c.rows)
            .where(groups.c.all_rows > 1, groups.c.id.is_not(None))
            .order_by(groups.c.id, groups.c.tenant)
        )

    def all_doubled(self) -> sa.Select[Any]:
        """``(id, count of such ids)``: an example of ids that several rows have, of any scope."""
        groups = (
            self._select(self._id_text.label("id"))
            .where(sa.or_(self._is_global, self._owned_by_a_tenant()))
            .group_by(self._is_global, sa.text("1"))
            .having(sa.func.count() > 1)
        ).subquery()
        columns: tuple[sa.ColumnElement[Any], ...] = (sa.func.min(groups.c.id), sa.func.count())
        return sa.select(*columns)

    def weakness(self) -> Weakness | None:
        """Say why the id may collide by what the catalogue says, see ``find_weakness``."""
        return find_weakness(self.entity, table=self._table)

    def tenant_cast(self, tenant_id: str) -> sa.Select[Any] | None:
        """Fails where the text is no value of the tenant column's type; None where all are."""
        if not self._has_tenant_column:
            return None
        declared = self._table.columns[str(self.entity.tenant)]
        return None if declared.type_name in _TEXTS else sa.select(self._as_tenant(tenant_id))

    def condition_probes(self) -> dict[str, sa.Select[Any]]:
        """Per setting what fails where a column cannot be compared with its values; read no row."""
        archive = () if self.entity.archive is None else self.entity.archive.when
        ranked = (rule for criterion in self.entity.priority for rule in criterion.when)
        rules = {"only": self.entity.only, "archive": archive, "priority": tuple(ranked)}
        one: sa.ColumnElement[Any] = sa.literal_column("1")
        return {
            setting: sa.select(one).select_from(self._from).where(*map(self._meets, rule)).limit(0)
            for setting, rule in rules.items()
            if rule
        }

    def in_scope(
        self, scope: Scope, *, unusable: Sequence[str] = ()
    ) -> sa.ColumnElement[bool] | None:
        """Rows of a scope; global ones include those that no scope can own.

        Args:
            scope: Whose rows.
            unusable: Texts of the tenant column that cannot be tenant ids.

        Returns:
            A condition; None where the settings say that the scope has no rows.
        """
        if not scope.is_global:
            return self._owned_by(scope) if self._can_be_owned_by(scope) else None
        if not self._has_tenant_column:
            return None if self.entity.is_global is Sharing.NONE else self._is_global
        ownerless = [equals_any(self._tenant_text, unusable)] if unusable else []
        return sa.or_(
            self._is_global,
            self._column(str(self.entity.tenant)).is_(None),
            *ownerless,
        )

    @property
    def has_unusable_owners(self) -> bool:
        """Whether there can be rows whose owner no tenant can be."""
        return self._has_tenant_column

    def _select(self, *columns: Any) -> sa.Select[Any]:
        return sa.select(*columns).select_from(self._from).where(self._counts)

    @property
    def _has_tenant_column(self) -> bool:
        return self.entity.tenant in self.entity.owner_columns

    def _can_be_owned_by(self, scope: Scope) -> bool:
        tenant = self.entity.tenant
        if self.entity.is_global is Sharing.ALL:
            return False
        return not isinstance(tenant, Constant) or tenant.value == scope.tenant_id

    def _owned_by(self, scope: Scope) -> sa.ColumnElement[bool]:
        """Compare in the column's own type, so that its index serves, and again as text.

        The second comparison makes ``007`` and ``7``, or ``ACME`` and ``acme`` in
        a citext column, two tenants.
        """
        if scope.tenant_id is None:
            return self._is_global
        if not self._can_be_owned_by(scope):
            return sa.false()
        if not self._has_tenant_column:
            return sa.not_(self._is_global)
        return sa.and_(
            sa.not_(self._is_global),
            self._column(str(self.entity.tenant)) == self._as_tenant(scope.tenant_id),
            self._tenant_text == scope.tenant_id,
        )

    def _owned_by_a_tenant(self) -> sa.ColumnElement[bool]:
        return sa.and_(sa.not_(self._is_global), self._tenant_text.is_not(None))

    def _shared(self) -> sa.ColumnElement[bool]:
        rule = self.entity.is_global
        if isinstance(rule, str):
            return self._column(rule).is_(sa.true())
        if rule is Sharing.WITHOUT_TENANT:
            return self._column(str(self.entity.tenant)).is_(None)
        return sa.literal_column("true" if rule is Sharing.ALL else "false", sa.Boolean)

    @property
    def _id_columns(self) -> list[sa.ColumnElement[Any]]:
        return [self._column(name) for name in self.entity.id]

    def _joined_id(self) -> sa.ColumnElement[str]:
        """As ``core.row_id.join_row_id``; NULL where one of several columns is."""
        longest = _characters(MAX_ROW_ID_CHARACTERS + 1)
        texts = [cut_text(column, longest) for column in self._id_columns]
        if len(texts) == 1:
            return texts[0]
        joined: sa.ColumnElement[str] | None = None
        for text in texts:
            escaped: sa.ColumnElement[str] = text
            for plain, escape in ESCAPES:
                escaped = sa.func.replace(escaped, plain, escape, type_=sa.Text)
            joined = escaped if joined is None else joined.concat(SEPARATOR).concat(escaped)
        return sa.func.left(joined, longest, type_=sa.Text)

    def _comparable(self, name: str) -> sa.ColumnElement[Any]:
        column, declared = self._column(name), self._table.columns[name]
        is_comparable = declared.is_enum or declared.base_type in _COMPARABLE_IDS
        return column if is_comparable else sa.cast(column, sa.Text)

    def _compared(
        self, name: str, texts: Sequence[str]
    ) -> tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]:
        """A column of the id and an array to compare it with."""
        declared = self._table.columns[name]
        array = sa.literal(list(texts), ARRAY(sa.Text))
        is_spelled_so = _SPELLINGS.get(declared.base_type)
        if is_spelled_so is not None and all(map(is_spelled_so, texts)):
            return self._column(name), sa.cast(array, ARRAY(_TypeNamed(declared.type_name)))
        return sa.cast(self._column(name), sa.Text), array

    def _as_tenant(self, tenant_id: str) -> sa.ColumnElement[Any]:
        type_name = self._table.columns[str(self.entity.tenant)].type_name
        return sa.cast(sa.literal(tenant_id, sa.Text), _TypeNamed(type_name))

    def _declared(self, name: str) -> tuple[sa.ColumnElement[Any], Column]:
        return self._column(name), self._table.columns[name]

    def _meets(self, condition: Condition) -> sa.ColumnElement[bool]:
        column = self._column(condition.column)
        type_name = self._table.columns[condition.column].type_name
        accepted = [
            column.is_(None)
            if value is None
            else column == sa.cast(sa.literal(_written(value), sa.Text), _TypeNamed(type_name))
            for value in condition.accepted
        ]
        return sa.or_(*accepted)

    def _is_archived(self, archive: Archive, now: datetime) -> sa.ColumnElement[bool]:
        since = now - timedelta(days=archive.older_than_days)
        is_old = is_older_than(self._changed_at, entity=self.entity, since=since)
        rule = sa.and_(is_old, *map(self._meets, archive.when))
        # NULL where a column of the rule is: then it does not hold.
        return sa.func.coalesce(rule, sa.false(), type_=sa.Boolean)

    def _rank(self, criterion: Criterion) -> sa.ColumnElement[Any]:
        """Whether the conditions are met, or the text of the number that a column comes to."""
        if criterion.column is None:
            rule = sa.and_(sa.true(), *map(self._meets, criterion.when))
            return sa.func.coalesce(rule, sa.false(), type_=sa.Boolean)
        return as_number(*self._declared(criterion.column))

    @property
    def _changed_at(self) -> TimeColumn:
        name = str(self.entity.updated_at)
        return self._column(name), self._table.columns[name]

    def _column(self, name: str) -> sa.ColumnElement[Any]:
        return self._from.c[name]


def _characters(number: int) -> int:
    """A limit that cuts no text of so many characters, where the server counts bytes too."""
    return number * MAX_BYTES_PER_CHARACTER


def _written(value: object) -> str:
    """A value of the settings as PostgreSQL reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
