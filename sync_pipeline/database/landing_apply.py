"""Making a landing table what a pass has staged: the statements of one transaction.

``MERGE`` compares before it writes, so a row that is as it should be is neither written nor
locked, and a statement trigger sees no row of it. ``INSERT ... ON CONFLICT`` would lock every
row before it looks. New and changed rows first, deletes last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Self

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from sync_pipeline.core.errors import StagedRowsLostError
from sync_pipeline.core.landing.absence import AbsentRows
from sync_pipeline.core.landing.passes import PassState, PassSurvey
from sync_pipeline.core.landing.spec import Landing, split_table
from sync_pipeline.core.ports import AbsentRow, Applied, ApplyOrder
from sync_pipeline.database.landing_tables import staged_name

# A row landed since the pass began gives way only to a record that changed later.
_MAY_CHANGE: Final = "(t.updated_at <= %(began)s OR s.source_modified_at >= t.source_modified_at)"
_IS_ABSENT: Final = """
t.updated_at <= %(began)s
AND NOT EXISTS (SELECT FROM {staged} s WHERE s._pass_id = %(pass_id)s AND s.id = t.id)
AND NOT EXISTS (
    SELECT FROM {staged} s WHERE s._pass_id = %(pass_id)s AND s.source_key = t.source_key
)
"""
"""No record came for a row that was there when the pass began."""

_KEEP_NEWEST: Final = """
DELETE FROM {staged} d USING (
    SELECT ctid, row_number() OVER (
        PARTITION BY id ORDER BY source_modified_at DESC NULLS LAST, _page DESC, _place DESC
    ) AS place
    FROM {staged} WHERE _pass_id = %(pass_id)s AND id IS NOT NULL
) r
WHERE d.ctid = r.ctid AND r.place > 1
"""
_TOLD_GONE: Final = """
EXISTS (SELECT FROM {staged} s WHERE s._pass_id = %(pass_id)s AND s.source_key = t.source_key
        AND (s._gone OR s.id <> t.id) AND {may_change})
AND NOT EXISTS (SELECT FROM {staged} s WHERE s._pass_id = %(pass_id)s AND s.id = t.id
                AND NOT s._gone)
"""
"""What a record itself says: it is marked as gone, or has become another row."""
_SURVEY: Final = """
SELECT count(*) AS staged, count(DISTINCT s.id) AS distinct_ids,
       (SELECT count(*) FROM {landed}) AS table_rows,
       (SELECT count(*) FROM {landed} t WHERE {is_absent}) AS absent,
       {filled} AS filled
FROM {staged} s WHERE s._pass_id = %(pass_id)s
"""
_LIST_ABSENT: Final = """
SELECT t.id, t.source_key FROM {landed} t WHERE {is_absent} ORDER BY t.id LIMIT %(limit)s
"""
_COUNT: Final = """
SELECT (SELECT count(*) FROM {landed}) AS before,
       (SELECT count(*) FROM {staged} s WHERE s._pass_id = %(pass_id)s AND NOT s._gone
        AND NOT EXISTS (SELECT FROM {landed} t WHERE t.id = s.id)) AS new,
       (SELECT count(*) FROM {staged} s WHERE s._pass_id = %(pass_id)s AND NOT s._gone) AS present,
       (SELECT count(*) FROM {landed} t WHERE {told_gone}) AS told,
       (SELECT count(*) FROM {landed} t WHERE {is_absent}) AS absent,
       (SELECT count(*) FROM {landed} t WHERE {is_absent} AND ({may_go})) AS absent_going
"""
_MERGE: Final = """
MERGE INTO {landed} AS t
USING (SELECT * FROM {staged} WHERE _pass_id = %(pass_id)s AND NOT _gone) AS s
ON t.id = s.id
WHEN MATCHED AND ROW({old}) IS DISTINCT FROM ROW({new}) AND {may_change}
    THEN UPDATE SET {assigned}, source_modified_at = s.source_modified_at, updated_at = now()
WHEN NOT MATCHED
    THEN INSERT (id, {columns}, source_modified_at, updated_at)
    VALUES (s.id, {new}, s.source_modified_at, now())
"""
# Two statements: with an OR between them the server compares every row with every record.
_DELETE_TOLD: Final = "DELETE FROM {landed} t WHERE {told_gone}"
_DELETE_ABSENT: Final = "DELETE FROM {landed} t WHERE {is_absent} AND ({may_go})"
_FORGET_ABSENT: Final = """
DELETE FROM {absent} a WHERE a.landing = %(landing)s
AND NOT EXISTS (SELECT FROM {landed} t WHERE t.id = a.id AND {is_absent})
"""
_NOTE_ABSENT: Final = """
INSERT INTO {absent} (landing, id, pass_id)
SELECT %(landing)s, t.id, %(pass_id)s FROM {landed} t WHERE {is_absent}
ON CONFLICT DO NOTHING
"""
_MAY_GO: Final = {
    AbsentRows.STAY: "false",
    AbsentRows.ALL: "true",
    AbsentRows.LOOKED_UP: "t.id = ANY(%(looked_up)s)",
    AbsentRows.TWICE_ABSENT: "EXISTS (SELECT FROM {absent} a WHERE a.landing = %(landing)s "
    "AND a.id = t.id AND a.pass_id <> %(pass_id)s)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The tables of one landing, for statements."""

    landed: sql.Identifier
    staged: sql.Identifier
    absent: sql.Identifier
    columns: tuple[str, ...]
    """Of the landed table that a record decides, beside id and times."""
    mapped: tuple[str, ...]

    @classmethod
    def of(cls, landing: Landing, *, schema: str) -> Self:
        """Those of a landing."""
        mapped = tuple(landing.column_types)
        return cls(
            landed=sql.Identifier(*split_table(landing.table)),
            staged=sql.Identifier(schema, staged_name(landing)),
            absent=sql.Identifier(schema, "landing_absent"),
            columns=("tenant_id", "is_global", "source_key", *mapped),
            mapped=mapped,
        )

    @property
    def filled(self) -> sql.Composed:
        """A query for an object that says of each mapped column whether there is a value in it."""
        pairs = [
            sql.SQL("{}, coalesce(bool_or({} IS NOT NULL), false)").format(
                sql.Literal(name), sql.Identifier(name)
            )
            for name in self.mapped
        ]
        return sql.SQL("(SELECT jsonb_build_object({}) FROM {})").format(
            sql.SQL(", ").join(pairs), self.landed
        )

    def compose(
        self, statement: str, *, is_full: bool = True, may_go: str = "false"
    ) -> sql.Composed:
        """A statement of this module with its tables, columns and conditions.

        Args:
            statement: One of those above.
            is_full: Whether it is about every record; otherwise nothing is absent, and what the
                table is filled with is not asked.
            may_go: Which absent rows go.
        """
        text = statement
        for name, condition in (
            ("{may_go}", may_go),
            ("{told_gone}", _TOLD_GONE),
            ("{is_absent}", _IS_ABSENT if is_full else "false"),
            ("{may_change}", _MAY_CHANGE),
        ):
            text = text.replace(name, condition)
        names = list(map(sql.Identifier, self.columns))

        def listed(form: str) -> sql.Composed:
            return sql.SQL(", ").join(sql.SQL(form).format(name) for name in names)

        return sql.SQL(text).format(
            landed=self.landed,
            staged=self.staged,
            absent=self.absent,
            filled=self.filled if is_full else sql.SQL("'{}'::jsonb"),
            columns=listed("{}"),
            old=listed("t.{}"),
            new=listed("s.{}"),
            assigned=sql.SQL(", ").join(sql.SQL("{} = s.{}").format(name, name) for name in names),
        )

    def clear_staged(self, driver: psycopg.Connection[Any], *, pass_id: str) -> None:
        """Remove what a pass staged; at once where there is nothing else."""
        others = driver.execute(
            sql.SQL("SELECT FROM {} WHERE _pass_id <> %s LIMIT 1").format(self.staged), [pass_id]
        ).fetchone()
        if others is None:
            driver.execute(sql.SQL("TRUNCATE {}").format(self.staged))
        else:
            driver.execute(
                sql.SQL("DELETE FROM {} WHERE _pass_id = %s").format(self.staged), [pass_id]
            )


def survey_pass(
    driver: psycopg.Connection[Any], tables: Tables, landing: Landing, state: PassState
) -> PassSurvey:
    """Count what is staged against the table.

    Raises:
        StagedRowsLostError: fewer rows are staged than the pass has brought.
    """
    # Its statistics are those of an empty table otherwise.
    driver.execute(sql.SQL("ANALYZE {}").format(tables.staged))
    with driver.cursor(row_factory=dict_row) as cursor:
        survey = tables.compose(_SURVEY, is_full=state.mode == "full")
        found = cursor.execute(survey, _values(landing, state)).fetchone()
    assert found is not None  # noqa: S101 - a row of counts
    filled = found.pop("filled")
    _require_all(found["staged"], state)
    return PassSurvey(
        **found, filled_columns=frozenset(name for name, is_so in filled.items() if is_so)
    )


def absent_rows(
    driver: psycopg.Connection[Any],
    tables: Tables,
    landing: Landing,
    state: PassState,
    *,
    limit: int,
) -> list[AbsentRow]:
    """Rows without a record, by id."""
    values = {**_values(landing, state), "limit": limit}
    rows = driver.execute(tables.compose(_LIST_ABSENT), values).fetchall()
    return [AbsentRow(id=row_id, source_key=key) for row_id, key in rows]


def apply_pass(
    driver: psycopg.Connection[Any],
    tables: Tables,
    landing: Landing,
    state: PassState,
    order: ApplyOrder,
) -> Applied:
    """Do it, in the open transaction, whose owner holds the lease.

    Raises:
        StagedRowsLostError: fewer rows are staged than the pass has brought.
    """
    values = {**_values(landing, state), "looked_up": sorted(order.looked_up)}
    _require_all(_count_staged(driver, tables, state), state)
    driver.execute(tables.compose(_KEEP_NEWEST), values)
    driver.execute(sql.SQL("ANALYZE {}").format(tables.staged))
    is_full = state.mode == "full"
    may_go = _MAY_GO[order.absent]
    counts = tables.compose(_COUNT, is_full=is_full, may_go=may_go)
    row = driver.execute(counts, values).fetchone()
    assert row is not None  # noqa: S101 - a row of counts
    before, new, present, told, absent, absent_going = row
    # All of the absent, confirmed or not: what would go little by little is judged as a whole.
    verdict = order.judge(told + (0 if order.absent is AbsentRows.STAY else absent), before)
    written = driver.execute(tables.compose(_MERGE), values).rowcount
    deleted = 0
    if verdict.is_allowed:
        if told:
            deleted += driver.execute(tables.compose(_DELETE_TOLD), values).rowcount
        if absent_going:
            statement = tables.compose(_DELETE_ABSENT, may_go=may_go)
            deleted += driver.execute(statement, values).rowcount
    if order.absent is AbsentRows.TWICE_ABSENT:
        driver.execute(tables.compose(_FORGET_ABSENT), values)
        driver.execute(tables.compose(_NOTE_ABSENT), values)
    return Applied(
        new=new,
        changed=written - new,
        unchanged=present - written,
        deleted=deleted,
        absent=absent,
        waiting=absent - absent_going,
        table_rows=before + new - deleted,
        refused=None if verdict.is_allowed else verdict,
    )


def _values(landing: Landing, state: PassState) -> dict[str, Any]:
    return {"pass_id": state.pass_id, "began": state.started_at, "landing": landing.name}


def _count_staged(driver: psycopg.Connection[Any], tables: Tables, state: PassState) -> int:
    statement = sql.SQL("SELECT count(*) FROM {} WHERE _pass_id = %s").format(tables.staged)
    row = driver.execute(statement, [state.pass_id]).fetchone()
    return row[0] if row else 0


def _require_all(staged: int, state: PassState) -> None:
    """Notice that rows are missing: a crash of the server empties an unlogged table."""
    if staged != state.staged:
        raise StagedRowsLostError(landing=state.landing, staged=staged, expected=state.staged)
