"""All scopes at a glance, in one statement over the tables of our schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Final

from sqlalchemy import (
    CTE,
    BigInteger,
    Column,
    ColumnElement,
    DateTime,
    Engine,
    Numeric,
    Select,
    Text,
    and_,
    any_,
    case,
    cast,
    column,
    func,
    literal,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by
from sqlalchemy.sql.base import ReadOnlyColumnCollection
from sqlalchemy.sql.elements import CollectionAggregate

from sync_pipeline.core.errors import MassDeletionRefusedError
from sync_pipeline.core.landing.bounds import LandedUntil
from sync_pipeline.core.landing.completions import Completion
from sync_pipeline.core.ports import (
    MAX_LEASE_SECONDS,
    EntityTrouble,
    RecordedScope,
    ScopeOrder,
    ScopePage,
    ScopeTotals,
    ViewTrouble,
)
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database
from sync_pipeline.database.tables import table

_SHOWN: Final = tuple(field.name for field in fields(RecordedScope))
_ORDER: Final = {
    ScopeOrder.PROBLEMS: ("severity", "failed", "quarantined"),
    ScopeOrder.SCOPE: (),
    ScopeOrder.ROWS: ("rows",),
    ScopeOrder.COVERAGE: ("coverage",),
    ScopeOrder.FAILED: ("failed",),
    ScopeOrder.QUARANTINED: ("quarantined",),
    ScopeOrder.IN_SYNC_TO: ("in_sync_to",),
    ScopeOrder.LAST_SUCCESS: ("last_success_at",),
}


class PostgresOverview:
    """``Overview`` of one collection in PostgreSQL."""

    def __init__(
        self,
        engine: Engine,
        schema: str = DEFAULT_SCHEMA,
        *,
        collection: str,
        retries: Retries | None = None,
    ) -> None:
        self._collection = collection
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._entity = table(schema, "scope_entity_state")
        self._document = table(schema, "index_state")
        self._quarantine = table(schema, "quarantine")
        self._lease = table(schema, "scope_lease")
        self._run = table(schema, "sync_run")

    def list_scopes(
        self,
        *,
        entity_types: Sequence[str],
        page: ScopePage,
        landed: Sequence[LandedUntil] = (),
    ) -> tuple[list[RecordedScope], int]:
        """One page of scopes, and how many there are on all pages."""
        if "\0" in page.containing:
            # No key has it, and the driver refuses to send it.
            return [], 0
        scopes = self._scopes(entity_types, keys=page.scope_keys, landed=landed)
        conditions = []
        if page.containing:
            conditions.append(scopes.c.scope_key.icontains(page.containing, autoescape=True))
        if page.only_blocked:
            conditions.append(scopes.c.blocked_deletions.is_not(None))
        if page.only_problems:
            conditions.append(scopes.c.severity > 0)
        names = _ORDER[page.order]
        columns = [*(scopes.c[name] for name in names)]
        order = [
            it.desc().nulls_last() if page.is_descending else it.asc().nulls_first()
            for it in columns
        ]
        key = scopes.c.scope_key
        is_by_key = page.order is ScopeOrder.SCOPE and page.is_descending
        order.append(key.desc() if is_by_key else key.asc())
        chosen = select(*(scopes.c[name] for name in _SHOWN)).where(*conditions)
        query = chosen.order_by(*order).limit(page.limit).offset(page.offset)
        # A statement of its own: counted in a window, all rows would be carried along and sorted.
        count = select(func.count()).select_from(scopes).where(*conditions)
        rows, total = self._database.look_up(
            "listing scopes",
            lambda it: (it.execute(query).mappings().all(), it.scalar(count) or 0),
            nothing=((), 0),
        )
        return [RecordedScope(**row) for row in rows], total

    def sum_up(
        self,
        *,
        entity_types: Sequence[str],
        scope_keys: Sequence[str] | None,
        landed: Sequence[LandedUntil] = (),
    ) -> ScopeTotals:
        """All scopes together, or these."""
        scopes = self._scopes(entity_types, keys=scope_keys, landed=landed)
        columns = scopes.c

        def number(of: ColumnElement[Any]) -> ColumnElement[Any]:
            return func.count().filter(of)

        def total(of: ColumnElement[Any]) -> ColumnElement[Any]:
            return func.coalesce(func.sum(of), 0)

        query = select(
            func.count().label("scopes"),
            *(
                total(columns[name]).label(name)
                for name in ("rows", "possible", "synced", "failed", "pending", "quarantined")
            ),
            number(columns.failed > 0).label("failed_scopes"),
            number(columns.blocked_deletions.is_not(None)).label("blocked"),
            number(columns.is_cut_off).label("cut_off"),
            number(columns.snapshot_at.is_(None)).label("never_synced"),
            number(columns.vanished_at.is_not(None)).label("vanished"),
            number(columns.is_running).label("running"),
            func.min(columns.in_sync_to).label("in_sync_to"),
            func.max(columns.last_success_at).label("last_success_at"),
        )
        row = self._database.run("summing up scopes", lambda it: it.execute(query).mappings().one())
        times = {"in_sync_to", "last_success_at"}
        sums: dict[str, Any] = {
            name: value if name in times else int(value) for name, value in row.items()
        }
        return ScopeTotals(**sums)

    def list_troubles(
        self, *, entity_types: Sequence[str], scope_keys: Sequence[str]
    ) -> list[EntityTrouble]:
        """Entities of these scopes with failed documents or quarantined rows."""
        documents, rows = self._document.c, self._quarantine.c
        failed = (
            select(
                documents.scope_key,
                documents.entity_type,
                func.count().label("failed"),
                self._latest(documents.error_code).label("error_code"),
                self._latest(documents.last_error).label("error"),
            )
            .where(
                documents.collection == self._collection,
                documents.status == "failed",
                documents.scope_key == _one_of(scope_keys),
                documents.entity_type == _one_of(entity_types),
            )
            .group_by(documents.scope_key, documents.entity_type)
            .cte("failed")
        )
        quarantined = (
            select(
                rows.scope_key,
                rows.entity_type,
                cast(func.sum(rows.row_count), BigInteger).label("quarantined"),
            )
            .where(rows.scope_key == _one_of(scope_keys), rows.entity_type == _one_of(entity_types))
            .group_by(rows.scope_key, rows.entity_type)
            .cte("quarantined")
        )
        joined = failed.join(
            quarantined,
            and_(
                failed.c.scope_key == quarantined.c.scope_key,
                failed.c.entity_type == quarantined.c.entity_type,
            ),
            full=True,
        )
        query = (
            select(
                func.coalesce(failed.c.scope_key, quarantined.c.scope_key).label("scope_key"),
                func.coalesce(failed.c.entity_type, quarantined.c.entity_type).label("entity_type"),
                func.coalesce(failed.c.failed, 0).label("failed"),
                func.coalesce(quarantined.c.quarantined, 0).label("quarantined"),
                failed.c.error_code,
                failed.c.error,
            )
            .select_from(joined)
            .order_by(column("scope_key"), column("entity_type"))
        )
        by_view = self._by_view(entity_types, scope_keys)
        return [
            EntityTrouble(**row, by_view=by_view.get((row["scope_key"], row["entity_type"]), {}))
            for row in self._database.read_named("looking for what is wrong", query)
        ]

    def _latest(self, of: ColumnElement[Any]) -> ColumnElement[Any]:
        """Of the document that was tried last."""
        tried_at = self._document.c.last_sync_attempt_at
        return func.array_agg(aggregate_order_by(of, tried_at.desc().nulls_last()))[1]

    def _by_view(
        self, entity_types: Sequence[str], scope_keys: Sequence[str]
    ) -> dict[tuple[str, str], dict[str | None, ViewTrouble]]:
        """Failures per scope key and entity by the view that they name."""
        documents = self._document.c
        views = (
            func.jsonb_each_text(documents.view_status)
            .table_valued(column("key", Text), column("value", Text))
            .lateral("views")
        )
        query = (
            select(
                documents.scope_key,
                documents.entity_type,
                views.c.key,
                func.count(),
                self._latest(documents.last_error),
            )
            .select_from(self._document.outerjoin(views, views.c.value == "failed"))
            .where(
                documents.collection == self._collection,
                documents.status == "failed",
                documents.scope_key == _one_of(scope_keys),
                documents.entity_type == _one_of(entity_types),
            )
            .group_by(documents.scope_key, documents.entity_type, views.c.key)
        )
        by_view: dict[tuple[str, str], dict[str | None, ViewTrouble]] = {}
        for scope_key, entity_type, view, failed, error in self._database.read(
            "looking for views that fail", query
        ):
            by_view.setdefault((scope_key, entity_type), {})[view] = ViewTrouble(
                failed=failed, error=error
            )
        return by_view

    def _scopes(
        self,
        entity_types: Sequence[str],
        *,
        keys: Sequence[str] | None,
        landed: Sequence[LandedUntil],
    ) -> CTE:
        """Every scope of which anything is recorded, with what its columns come to."""
        parts = [
            part if keys is None else part.where(part.selected_columns[0] == _one_of(keys))
            for part in (
                self._recorded(entity_types),
                self._failed(entity_types),
                self._quarantined(entity_types),
                self._running(),
                self._blocked(),
            )
        ]
        names = ("recorded", "failing", "unusable", "held", "refused")
        recorded, failed, quarantined, running, blocked = (
            part.cte(name) for part, name in zip(parts, names, strict=True)
        )
        every = (
            select(recorded.c.scope_key)
            .union(*(select(it.c.scope_key) for it in (failed, quarantined, running, blocked)))
            .cte("every")
        )
        key = every.c.scope_key
        is_running = running.c.scope_key.is_not(None)
        counted = (
            select(
                key,
                *(
                    func.coalesce(value, 0).label(name)
                    for name, value in {
                        "entities": recorded.c.entities,
                        "rows": recorded.c.rows,
                        "documents": recorded.c.documents,
                        "failed": failed.c.failed,
                        "pending": failed.c.pending,
                        "quarantined": quarantined.c.quarantined,
                    }.items()
                ),
                case((recorded.c.entities == len(entity_types), recorded.c.snapshot_at)).label(
                    "snapshot_at"
                ),
                recorded.c.last_success_at,
                case((recorded.c.entities == len(entity_types), recorded.c.last_full_at)).label(
                    "last_full_at"
                ),
                recorded.c.vanished_at,
                is_running.label("is_running"),
                and_(func.coalesce(recorded.c.is_written, False), ~is_running).label("is_cut_off"),
                blocked.c.blocked_deletions,
                blocked.c.blocked_of,
                blocked.c.blocked_at,
            )
            .select_from(every)
            .join(recorded, recorded.c.scope_key == key, isouter=True)
            .join(failed, failed.c.scope_key == key, isouter=True)
            .join(quarantined, quarantined.c.scope_key == key, isouter=True)
            .join(running, running.c.scope_key == key, isouter=True)
            .join(blocked, blocked.c.scope_key == key, isouter=True)
            .cte("counted")
        )
        return _judged(counted, landed=landed)

    def _recorded(self, entity_types: Sequence[str]) -> Select[Any]:
        columns = self._entity.c

        def unless_unknown(of: ColumnElement[Any], value: ColumnElement[Any]) -> ColumnElement[Any]:
            return case((func.bool_and(of.is_not(None)), value))

        return (
            select(
                columns.scope_key,
                func.count().label("entities"),
                cast(func.sum(columns.rows), BigInteger).label("rows"),
                cast(func.sum(columns.documents), BigInteger).label("documents"),
                unless_unknown(
                    columns.source_snapshot_at, func.min(columns.source_snapshot_at)
                ).label("snapshot_at"),
                func.min(columns.last_success_at).label("last_success_at"),
                unless_unknown(columns.last_full_at, func.min(columns.last_full_at)).label(
                    "last_full_at"
                ),
                unless_unknown(columns.vanished_at, func.max(columns.vanished_at)).label(
                    "vanished_at"
                ),
                func.bool_or(columns.writing_token.is_not(None)).label("is_written"),
            )
            .where(
                columns.collection == self._collection, columns.entity_type == _one_of(entity_types)
            )
            .group_by(columns.scope_key)
        )

    def _failed(self, entity_types: Sequence[str]) -> Select[Any]:
        """Answered by the partial index of what is not synced."""
        columns = self._document.c

        def count(status: str) -> ColumnElement[Any]:
            return func.count().filter(columns.status == status).label(status)

        return (
            select(columns.scope_key, count("failed"), count("pending"))
            .where(
                columns.collection == self._collection,
                columns.status != "synced",
                columns.entity_type == _one_of(entity_types),
            )
            .group_by(columns.scope_key)
        )

    def _quarantined(self, entity_types: Sequence[str]) -> Select[Any]:
        columns = self._quarantine.c
        return (
            select(
                columns.scope_key,
                cast(func.sum(columns.row_count), BigInteger).label("quarantined"),
            )
            .where(columns.entity_type == _one_of(entity_types))
            .group_by(columns.scope_key)
        )

    def _running(self) -> Select[Any]:
        """Leases that are held; as in ``ScopeStates.acquire``, one that ends too late is not."""
        columns = self._lease.c
        left = func.extract("epoch", columns.expires_at - func.clock_timestamp())
        return select(columns.scope_key).where(left > 0, left <= MAX_LEASE_SECONDS)

    def _blocked(self) -> Select[Any]:
        """The last refusal of every scope, unless a success has followed it."""
        run, later = self._run.c, self._run.alias("later").c
        is_settled = (
            select(literal(1))
            .where(
                later.scope_key == run.scope_key,
                or_(
                    later.finished_at > run.finished_at,
                    and_(later.finished_at == run.finished_at, later.run_id > run.run_id),
                ),
                or_(later.status == "success", _is_refused(later)),
            )
            .exists()
        )
        return select(
            run.scope_key,
            _number(run.facts["total"]).label("blocked_deletions"),
            _number(run.facts["total_indexed"]).label("blocked_of"),
            run.finished_at.label("blocked_at"),
        ).where(_is_refused(run), ~is_settled)


def _judged(counted: CTE, *, landed: Sequence[LandedUntil]) -> CTE:
    """Add what ``RecordedScope`` works out, so that the database can sort by it."""
    columns = counted.c
    possible = func.greatest(columns.rows - columns.quarantined, 0)
    in_step = columns.documents - columns.failed - columns.pending
    synced = func.least(func.greatest(in_step, 0), possible)
    severity = case(
        (columns.blocked_deletions.is_not(None), 4),
        (or_(columns.failed > 0, columns.is_cut_off), 3),
        (or_(columns.snapshot_at.is_(None), synced < possible), 2),
        (or_(columns.quarantined > 0, columns.vanished_at.is_not(None)), 1),
        else_=0,
    )
    return select(
        counted,
        _in_sync_to(columns, landed=landed).label("in_sync_to"),
        possible.label("possible"),
        synced.label("synced"),
        case((possible > 0, cast(synced, Numeric) / possible), else_=1).label("coverage"),
        severity.label("severity"),
    ).cte("judged")


def _in_sync_to(
    columns: ReadOnlyColumnCollection[str, Any], *, landed: Sequence[LandedUntil]
) -> ColumnElement[Any]:
    """As ``landing.bounds.in_sync_to``; the least of a moment and NULL is the moment there."""
    moment: ColumnElement[Any] = columns.snapshot_at
    for until in landed:
        complete_at = _complete_before(until.completions, columns.snapshot_at)
        bounded = case(
            (moment.is_not(None) & complete_at.is_not(None), func.least(moment, complete_at))
        )
        is_meant = columns.scope_key == until.scope_key
        moment = bounded if until.scope_key is None else case((is_meant, bounded), else_=moment)
    return moment


def _complete_before(
    completions: Sequence[Completion], moment: ColumnElement[Any]
) -> ColumnElement[Any]:
    """As ``landing.completions.complete_before``."""
    moments = ARRAY(DateTime(timezone=True))
    told = (
        func.unnest(
            cast([it.applied_at for it in completions], moments),
            cast([it.complete_at for it in completions], moments),
        )
        .table_valued("applied_at", "complete_at")
        .render_derived()
    )
    return select(func.max(told.c.complete_at)).where(told.c.applied_at <= moment).scalar_subquery()


def _is_refused(run: ReadOnlyColumnCollection[str, Column[Any]]) -> ColumnElement[bool]:
    """In the words of the index ``sync_run_refused``; only a literal lets it be used."""
    name = literal_column(f"'{MassDeletionRefusedError.__name__}'", Text)
    is_refused: ColumnElement[bool] = run.facts["error"].astext == name
    return is_refused


def _number(fact: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(fact.astext, BigInteger)


def _one_of(values: Sequence[str]) -> CollectionAggregate[bool]:
    return any_(literal(list(values), ARRAY(Text)))
