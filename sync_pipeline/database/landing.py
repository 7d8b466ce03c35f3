"""Records of other systems in PostgreSQL, in the tables of ``landing_tables``."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine

from sync_pipeline.core.errors import (
    LandingBusyError,
    LandingSupersededError,
    LandingTableError,
    StagedRowsLostError,
    StateEncodingError,
)
from sync_pipeline.core.landing.completions import noted
from sync_pipeline.core.landing.passes import (
    Page,
    PassState,
    PassSurvey,
    Position,
    after_page,
)
from sync_pipeline.core.landing.records import MappedPage
from sync_pipeline.core.landing.spec import Landing, LandingMode
from sync_pipeline.core.ports import (
    OWNER_SEPARATOR,
    AbsentRow,
    Applied,
    ApplyOrder,
    LandingFence,
    LandingRecord,
    RejectedRecord,
)
from sync_pipeline.core.retrying import Retries
from sync_pipeline.database.engine import DEFAULT_SCHEMA, Database, psycopg_of
from sync_pipeline.database.landing_apply import Tables, absent_rows, apply_pass, survey_pass
from sync_pipeline.database.landing_rows import (
    applied_of,
    completions_of,
    landing_record,
    pass_state,
)
from sync_pipeline.database.landing_tables import STAGED_COLUMNS, prepare, views_over
from sync_pipeline.processes import is_gone

_PASSES_KEPT: Final = 50
"""Of each landing, to look at what became of them."""

_COUNTS: Final = ("pages", "records", "staged", "overlapping", "without_id", "refused")
_STATE_COLUMNS: Final = sql.SQL(
    "pass_id, landing, mode, mapping_digest, started_at, since, position, is_fetched, pages, "
    "records, staged, overlapping, without_id, refused, rejected, fields_seen, unknown_fields, "
    "first_total, last_total, doubt, mended_seams, requests, waited_seconds, resumed"
)


class PostgresLandings:
    """``LandingStore`` in PostgreSQL: the database of the landed tables.

    Args:
        engine: Of that database.
        schema: Of our own tables there.
        retries: For a database that does not answer.
    """

    def __init__(
        self, engine: Engine, schema: str = DEFAULT_SCHEMA, *, retries: Retries | None = None
    ) -> None:
        self._database = Database(engine, schema=schema, retries=retries or Retries())
        self._schema = schema

    def prepare(self, landings: Sequence[Landing]) -> list[str]:
        """Make tables and columns that are missing."""
        if not landings:
            return []
        return self._database.run(
            "making the tables of landings",
            lambda it: prepare(psycopg_of(it), landings, schema=self._schema),
        )

    def get(self, landing: Landing) -> LandingRecord:
        """What is recorded of one landing."""

        def work(connection: Connection) -> LandingRecord:
            driver = psycopg_of(connection)
            if not self._is_there(driver):
                return LandingRecord(landing=landing.name, rows=0)
            row = self._one(
                driver,
                "SELECT c.*, (SELECT count(*) FROM {rejected} r WHERE r.landing = c.landing) "
                "AS rejected FROM {cursor} c WHERE landing = %(landing)s",
                landing=landing.name,
            )
            opened = self._one(
                driver,
                "SELECT {state_columns} FROM {passes} WHERE landing = %(landing)s "
                "AND state = 'open' ORDER BY started_at DESC LIMIT 1",
                landing=landing.name,
            )
            views = views_over(driver, landing.table)
            return landing_record(landing.name, row, opened, views=views)

        return self._database.run("looking at a landing", work)

    def iter_rejected(self, landing: str) -> Iterator[RejectedRecord]:
        """What was wrong, oldest first."""

        def work(connection: Connection) -> list[dict[str, Any]]:
            driver = psycopg_of(connection)
            if not self._is_there(driver):
                return []
            return self._all(
                driver,
                "SELECT landing, pass_id, page, place, source_key, reason, field, detail, "
                "rejected_at FROM {rejected} WHERE landing = %(landing)s ORDER BY id",
                landing=landing,
            )

        for row in self._database.run("listing rejected records", work):
            yield RejectedRecord(**row)

    def acquire(self, landing: str, *, owner: str, ttl_seconds: float) -> LandingFence:
        """Take or renew the right to land; that of a process which is gone is taken at once."""

        def work(connection: Connection) -> dict[str, Any]:
            driver = psycopg_of(connection)
            self._execute(
                driver,
                "INSERT INTO {cursor} (landing) VALUES (%(landing)s) ON CONFLICT DO NOTHING",
                landing=landing,
            )
            held = self._one(
                driver,
                "SELECT owner, extract(epoch FROM expires_at - clock_timestamp())::float "
                "AS seconds FROM {cursor} WHERE landing = %(landing)s FOR UPDATE",
                landing=landing,
            )
            assert held is not None  # noqa: S101 - made above
            is_free = (
                held["owner"] == owner
                or held["seconds"] <= 0
                or is_gone(held["owner"].partition(OWNER_SEPARATOR)[0])
            )
            if not is_free:
                return held
            taken = self._one(
                driver,
                "UPDATE {cursor} SET token = token + (owner <> %(owner)s)::int, "
                "owner = %(owner)s, expires_at = clock_timestamp() + %(ttl)s * interval '1 second' "
                "WHERE landing = %(landing)s RETURNING token",
                landing=landing,
                owner=owner,
                ttl=ttl_seconds,
            )
            assert taken is not None  # noqa: S101 - locked above
            return taken

        row = self._database.run("taking the lease of a landing", work)
        if "token" not in row:
            raise LandingBusyError(
                landing=landing, owner=row["owner"], seconds_left=max(row["seconds"], 0.0)
            )
        return LandingFence(landing, owner, row["token"])

    def renew(self, fence: LandingFence, *, ttl_seconds: float) -> None:
        """Keep the lease."""

        def work(connection: Connection) -> None:
            driver = psycopg_of(connection)
            self._require(driver, fence)
            self._execute(
                driver,
                "UPDATE {cursor} SET expires_at = clock_timestamp() + %(ttl)s * "
                "interval '1 second' WHERE landing = %(landing)s",
                landing=fence.landing,
                ttl=ttl_seconds,
            )

        self._database.run("renewing the lease of a landing", work)

    def release(self, fence: LandingFence) -> None:
        """Give the lease back; its token stays used up."""
        self._database.run(
            "giving the lease of a landing back",
            lambda it: self._execute(
                psycopg_of(it),
                "UPDATE {cursor} SET expires_at = clock_timestamp() WHERE landing = %(landing)s "
                "AND owner = %(owner)s AND token = %(token)s",
                landing=fence.landing,
                owner=fence.owner,
                token=fence.token,
            ),
        )

    def open_pass(
        self,
        fence: LandingFence,
        landing: Landing,
        *,
        mode: LandingMode,
        since: datetime | None,
        resumes: bool,
    ) -> PassState:
        """Go on with the open pass of this mode, or begin one."""
        # Made before: a commit whose answer was lost finds its own pass.
        pass_id = str(uuid.uuid4())

        def work(connection: Connection) -> PassState:
            driver = psycopg_of(connection)
            self._require(driver, fence)
            opened = self._one(
                driver,
                "SELECT {state_columns}, request_digest, "
                "extract(epoch FROM clock_timestamp() - started_at)::float AS age_seconds, "
                "(SELECT count(*) FROM {staged} s WHERE s._pass_id = "
                "p.pass_id) AS left FROM {passes} p WHERE landing = %(landing)s "
                "AND mode = %(mode)s AND state = 'open'",
                tables=Tables.of(landing, schema=self._schema),
                landing=landing.name,
                mode=mode,
            )
            if opened is not None:
                age_seconds, left = opened.pop("age_seconds"), opened.pop("left")
                request_digest = opened.pop("request_digest")
                state = pass_state(opened)
                if state.pass_id == pass_id:
                    return state
                if (
                    (resumes or state.is_fetched)
                    and state.mapping_digest == landing.mapping_digest
                    and request_digest == landing.request_digest
                    and age_seconds < landing.max_pass_age_seconds
                    and left == state.staged
                ):
                    return pass_state(self._resumed(driver, state))
                self._drop(driver, landing, state.pass_id)
            self._execute(
                driver,
                "DELETE FROM {staged} WHERE _pass_id NOT IN "
                "(SELECT pass_id FROM {passes} WHERE landing = %(landing)s AND state = 'open')",
                tables=Tables.of(landing, schema=self._schema),
                landing=landing.name,
            )
            begun = self._one(
                driver,
                "INSERT INTO {passes} (pass_id, landing, mode, mapping_digest, request_digest, "
                "started_at, since) VALUES (%(pass_id)s, %(landing)s, %(mode)s, %(digest)s, "
                "%(request_digest)s, clock_timestamp(), %(since)s) RETURNING {state_columns}",
                pass_id=pass_id,
                landing=landing.name,
                mode=mode,
                digest=landing.mapping_digest,
                request_digest=landing.request_digest,
                since=since,
            )
            assert begun is not None  # noqa: S101 - RETURNING
            return pass_state(begun)

        return self._database.run("beginning a pass", work)

    def _resumed(self, driver: psycopg.Connection[Any], state: PassState) -> dict[str, Any]:
        row = self._one(
            driver,
            "UPDATE {passes} SET resumed = resumed + 1 WHERE pass_id = %(pass_id)s "
            "RETURNING {state_columns}",
            pass_id=state.pass_id,
        )
        assert row is not None  # noqa: S101 - locked by the lease
        return row

    def drop_pass(self, fence: LandingFence, landing: Landing, state: PassState) -> None:
        """Forget a pass and what it staged."""

        def work(connection: Connection) -> None:
            driver = psycopg_of(connection)
            self._require(driver, fence)
            self._drop(driver, landing, state.pass_id)

        self._database.run("dropping a pass", work)

    def _drop(self, driver: psycopg.Connection[Any], landing: Landing, pass_id: str) -> None:
        tables = Tables.of(landing, schema=self._schema)
        for statement in (
            "DELETE FROM {staged} WHERE _pass_id = %(pass_id)s",
            "DELETE FROM {rejected} WHERE landing = %(landing)s AND pass_id = %(pass_id)s",
            "UPDATE {passes} SET state = 'dropped', ended_at = now() WHERE pass_id = %(pass_id)s",
        ):
            self._execute(driver, statement, tables=tables, pass_id=pass_id, landing=landing.name)

    def commit_page(
        self,
        fence: LandingFence,
        landing: Landing,
        state: PassState,
        page: Page,
        mapped: MappedPage,
    ) -> PassState:
        """Keep what a page brought, and where the pass goes on."""
        after = after_page(state, page, mapped)

        def work(connection: Connection) -> None:
            driver = psycopg_of(connection)
            self._require(driver, fence, is_staging=True)
            if not self._advance(driver, state, after):
                return
            self._stage(driver, landing, after, mapped)
            self._reject(driver, landing, after, mapped)

        try:
            self._database.run("keeping a page of records", work)
        except StateEncodingError as error:
            raise LandingTableError(
                landing=landing.name,
                table=landing.table,
                reason="its database has an encoding that lacks a character of the records",
                remedy="Land in a database with `ENCODING 'UTF8'`; nothing was landed.",
            ) from error
        return after

    def _advance(self, driver: psycopg.Connection[Any], state: PassState, after: PassState) -> bool:
        """Record the page; False where it was recorded by an attempt whose answer was lost."""
        done = self._execute(
            driver,
            "UPDATE {passes} SET position = %(position)s, is_fetched = %(is_fetched)s, "
            "pages = %(pages)s, records = %(records)s, staged = %(staged)s, "
            "overlapping = %(overlapping)s, without_id = %(without_id)s, refused = %(refused)s, "
            "rejected = %(rejected)s, fields_seen = %(fields_seen)s, "
            "unknown_fields = %(unknown_fields)s, first_total = %(first_total)s, "
            "last_total = %(last_total)s, doubt = %(doubt)s, mended_seams = %(mended_seams)s, "
            "requests = %(requests)s, waited_seconds = %(waited_seconds)s "
            "WHERE pass_id = %(pass_id)s AND state = 'open' AND pages = %(before)s",
            **{name: getattr(after, name) for name in _COUNTS},
            pass_id=state.pass_id,
            before=state.pages,
            position=None if after.position is None else Jsonb(after.position),
            is_fetched=after.is_fetched,
            rejected=Jsonb(dict(after.rejected)),
            fields_seen=Jsonb(dict(after.fields_seen)),
            unknown_fields=Jsonb(sorted(after.unknown_fields)),
            first_total=after.first_total,
            last_total=after.last_total,
            doubt=after.doubt,
            mended_seams=after.mended_seams,
            requests=after.requests,
            waited_seconds=after.waited_seconds,
        )
        if done:
            return True
        recorded = self._one(
            driver,
            "SELECT state, pages, staged FROM {passes} WHERE pass_id = %(pass_id)s",
            pass_id=state.pass_id,
        )
        if recorded is None or recorded["state"] != "open" or recorded["pages"] > after.pages:
            raise LandingSupersededError(landing=state.landing, holder="another pass")
        if recorded["pages"] < state.pages:
            raise StagedRowsLostError(
                landing=state.landing, staged=recorded["staged"], expected=state.staged
            )
        return False

    def _stage(
        self,
        driver: psycopg.Connection[Any],
        landing: Landing,
        state: PassState,
        mapped: MappedPage,
    ) -> None:
        if not mapped.rows:
            return
        tables = Tables.of(landing, schema=self._schema)
        columns = [*STAGED_COLUMNS, *landing.column_types]
        copy = sql.SQL("COPY {} ({}) FROM STDIN").format(
            tables.staged, sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with driver.cursor() as cursor, cursor.copy(copy) as copied:
            for row in mapped.rows:
                copied.write_row(
                    (
                        state.pass_id,
                        state.pages,
                        row.place,
                        row.is_gone,
                        row.id,
                        row.source_key,
                        row.tenant_id,
                        row.is_global,
                        row.changed_at,
                        *row.values,
                    )
                )

    def _reject(
        self,
        driver: psycopg.Connection[Any],
        landing: Landing,
        state: PassState,
        mapped: MappedPage,
    ) -> None:
        if not mapped.rejections:
            return
        copy = self._composed(
            "COPY {rejected} (landing, pass_id, page, place, source_key, reason, field, detail) "
            "FROM STDIN"
        )
        with driver.cursor() as cursor, cursor.copy(copy) as copied:
            for it in mapped.rejections:
                copied.write_row(
                    (
                        landing.name,
                        state.pass_id,
                        state.pages,
                        it.place,
                        it.source_key,
                        it.reason,
                        it.field,
                        it.detail,
                    )
                )

    def survey(self, landing: Landing, state: PassState) -> PassSurvey:
        """Count what is staged against the table."""
        tables = Tables.of(landing, schema=self._schema)
        return self._database.run(
            "counting what a pass brought",
            lambda it: survey_pass(psycopg_of(it), tables, landing, state),
        )

    def list_absent(self, landing: Landing, state: PassState, *, limit: int) -> list[AbsentRow]:
        """Rows without a record, by id."""
        tables = Tables.of(landing, schema=self._schema)
        return self._database.run(
            "listing rows without a record",
            lambda it: absent_rows(psycopg_of(it), tables, landing, state, limit=limit),
        )

    def stage_gone(
        self, fence: LandingFence, landing: Landing, state: PassState, keys: Sequence[str]
    ) -> PassState:
        """Stage that what the origin called by these keys is gone."""
        after = replace(state, staged=state.staged + len(keys), pages=state.pages + 1)

        def work(connection: Connection) -> None:
            driver = psycopg_of(connection)
            self._require(driver, fence, is_staging=True)
            if not self._advance(driver, state, after):
                return
            tables = Tables.of(landing, schema=self._schema)
            copy = sql.SQL("COPY {} (_pass_id, _page, _place, _gone, source_key) FROM STDIN")
            with driver.cursor() as cursor, cursor.copy(copy.format(tables.staged)) as copied:
                for place, key in enumerate(keys):
                    copied.write_row((state.pass_id, after.pages, place, True, key))

        self._database.run("keeping what is gone", work)
        return after

    def apply(
        self, fence: LandingFence, landing: Landing, state: PassState, order: ApplyOrder
    ) -> Applied:
        """Make the table what was staged, and end the pass."""
        tables = Tables.of(landing, schema=self._schema)

        def work(connection: Connection) -> Applied:
            driver = psycopg_of(connection)
            self._require(driver, fence)
            recorded = self._one(
                driver,
                "SELECT state, applied FROM {passes} WHERE pass_id = %(pass_id)s FOR UPDATE",
                pass_id=state.pass_id,
            )
            if recorded is not None and recorded["state"] == "applied":
                # The answer to an earlier attempt was lost.
                return applied_of(recorded["applied"])
            applied = apply_pass(driver, tables, landing, state, order)
            self._end(driver, landing, state, order, applied)
            return applied

        return self._database.run("landing what a pass brought", work)

    def _end(
        self,
        driver: psycopg.Connection[Any],
        landing: Landing,
        state: PassState,
        order: ApplyOrder,
        applied: Applied,
    ) -> None:
        tables = Tables.of(landing, schema=self._schema)
        is_full = state.mode == "full"
        is_refused = applied.refused is not None
        is_complete = order.is_complete and not is_refused
        row = self._one(
            driver,
            "UPDATE {cursor} SET rows = %(rows)s, applied_at = now(), failed_at = NULL, "
            "error = NULL, not_before = NULL, mapping_digest = CASE WHEN %(is_full)s THEN "
            "%(digest)s ELSE mapping_digest END, complete_at = CASE WHEN %(is_complete)s THEN "
            "greatest(complete_at, %(began)s) ELSE complete_at END, needs_full_pass = CASE WHEN "
            "%(is_complete)s THEN NULL ELSE needs_full_pass END, content_at = CASE WHEN "
            "%(is_changed)s OR content_at IS NULL THEN clock_timestamp() ELSE content_at END, "
            "follow_token = coalesce(%(token)s, follow_token) WHERE landing = %(landing)s "
            "RETURNING content_at, completions",
            landing=landing.name,
            rows=applied.table_rows,
            is_full=is_full,
            digest=state.mapping_digest,
            is_complete=is_complete,
            is_changed=bool(applied.new or applied.changed or applied.deleted),
            began=state.started_at,
            token=None if order.token is None or is_refused else Jsonb(order.token),
        )
        if is_complete and row is not None:
            completions = noted(
                completions_of(row["completions"]),
                complete_at=state.started_at,
                content_at=row["content_at"],
            )
            self._execute(
                driver,
                "UPDATE {cursor} SET completions = %(completions)s WHERE landing = %(landing)s",
                landing=landing.name,
                completions=Jsonb(
                    [[it.applied_at.isoformat(), it.complete_at.isoformat()] for it in completions]
                ),
            )
        if not is_refused:
            self._execute(
                driver,
                "UPDATE {cursor} SET changed_at = greatest(changed_at, (SELECT least(%(began)s, "
                "max(source_modified_at)) FROM {staged} WHERE _pass_id = %(pass_id)s "
                "HAVING max(source_modified_at) IS NOT NULL)) WHERE landing = %(landing)s",
                tables=tables,
                landing=landing.name,
                began=state.started_at,
                pass_id=state.pass_id,
            )
        self._execute(
            driver,
            "UPDATE {passes} SET state = 'applied', ended_at = now(), applied = %(applied)s "
            "WHERE pass_id = %(pass_id)s",
            pass_id=state.pass_id,
            applied=Jsonb(asdict(applied)),
        )
        if is_full:
            self._execute(
                driver,
                "DELETE FROM {rejected} WHERE landing = %(landing)s AND pass_id NOT IN "
                "(SELECT pass_id FROM {passes} WHERE landing = %(landing)s AND (state = 'open' OR "
                "started_at >= %(began)s))",
                landing=landing.name,
                began=state.started_at,
            )
        self._execute(
            driver,
            "DELETE FROM {passes} WHERE landing = %(landing)s AND state <> 'open' AND pass_id NOT "
            "IN (SELECT pass_id FROM {passes} WHERE landing = %(landing)s ORDER BY started_at DESC "
            "LIMIT %(kept)s)",
            landing=landing.name,
            kept=_PASSES_KEPT,
        )
        tables.clear_staged(driver, pass_id=state.pass_id)

    def note_failure(
        self, landing: str, error: str, *, retry_after_seconds: float | None = None
    ) -> None:
        """Record that the last run failed."""

        def work(connection: Connection) -> None:
            self._execute(
                psycopg_of(connection),
                "INSERT INTO {cursor} (landing, failed_at, error, not_before) VALUES "
                "(%(landing)s, now(), %(error)s, now() + %(after)s * interval '1 second') "
                "ON CONFLICT (landing) DO UPDATE SET failed_at = excluded.failed_at, "
                "error = excluded.error, not_before = excluded.not_before",
                landing=landing,
                error=error,
                after=retry_after_seconds,
            )

        self._database.run("recording a failed landing", work)

    def note_token(
        self, fence: LandingFence, token: Position, *, needs_full_pass: str | None = None
    ) -> None:
        """Record where following goes on."""

        def work(connection: Connection) -> None:
            driver = psycopg_of(connection)
            self._require(driver, fence)
            self._execute(
                driver,
                "UPDATE {cursor} SET follow_token = %(token)s, needs_full_pass = "
                "coalesce(%(reason)s, needs_full_pass) WHERE landing = %(landing)s",
                landing=fence.landing,
                token=Jsonb(token),
                reason=needs_full_pass,
            )
            if needs_full_pass is not None:
                self._execute(
                    driver,
                    "UPDATE {passes} SET state = 'dropped', ended_at = now() "
                    "WHERE landing = %(landing)s AND state = 'open'",
                    landing=fence.landing,
                )

        self._database.run("recording where to follow on", work)

    def _require(
        self, driver: psycopg.Connection[Any], fence: LandingFence, *, is_staging: bool = False
    ) -> None:
        """Hold the lease of a landing until the end of the transaction.

        Args:
            driver: In the transaction.
            fence: Of the run.
            is_staging: Whether the transaction only stages: then nobody waits until it is on disk,
                for a crash of the server empties the staged table anyway, and the pass begins anew.
        """
        row = self._one(
            driver,
            "SELECT owner, token, CASE WHEN %(lazily)s "
            "THEN set_config('synchronous_commit', 'off', true) END AS lazily "
            "FROM {cursor} WHERE landing = %(landing)s FOR UPDATE",
            landing=fence.landing,
            lazily=is_staging,
        )
        if row is None or (row["owner"], row["token"]) != (fence.owner, fence.token):
            holder = "nobody" if row is None else row["owner"]
            raise LandingSupersededError(landing=fence.landing, holder=holder)

    def _is_there(self, driver: psycopg.Connection[Any]) -> bool:
        row = driver.execute(
            "SELECT to_regclass(%s) IS NOT NULL",
            [sql.Identifier(self._schema, "landing_cursor").as_string()],
        ).fetchone()
        return bool(row and row[0])

    def _composed(self, statement: str, tables: Tables | None = None) -> sql.Composed:
        return sql.SQL(statement).format(
            cursor=sql.Identifier(self._schema, "landing_cursor"),
            passes=sql.Identifier(self._schema, "landing_pass"),
            rejected=sql.Identifier(self._schema, "landing_rejected"),
            state_columns=_STATE_COLUMNS,
            staged=sql.SQL("") if tables is None else tables.staged,
        )

    def _execute(
        self,
        driver: psycopg.Connection[Any],
        statement: str,
        *,
        tables: Tables | None = None,
        **values: object,
    ) -> int:
        return driver.execute(self._composed(statement, tables), values).rowcount

    def _all(
        self,
        driver: psycopg.Connection[Any],
        statement: str,
        *,
        tables: Tables | None = None,
        **values: object,
    ) -> list[dict[str, Any]]:
        with driver.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(self._composed(statement, tables), values).fetchall()

    def _one(
        self,
        driver: psycopg.Connection[Any],
        statement: str,
        *,
        tables: Tables | None = None,
        **values: object,
    ) -> dict[str, Any] | None:
        rows = self._all(driver, statement, tables=tables, **values)
        return rows[0] if rows else None
