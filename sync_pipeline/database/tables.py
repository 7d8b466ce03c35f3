"""The tables of our schema, for composing statements; ``migrations`` makes them.

Keys are compared byte by byte (collation C): no operating system upgrade can
reorder an index. Ids are text; UUIDs in canonical form.
"""

from __future__ import annotations

from functools import cache

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import UserDefinedType

KEY = Text(collation="C")
MOMENT = DateTime(timezone=True)


class Xid8(UserDefinedType[int]):
    """A transaction id of 64 bits, PostgreSQL's ``xid8``."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """Name in DDL."""
        return "XID8"


@cache
def state_tables(schema: str) -> MetaData:
    """Every table of our schema; ``.tables["<schema>.<name>"]``, or ``table`` for one."""
    metadata = MetaData(schema=schema)
    _index_state(metadata)
    _scopes(metadata)
    _embedding_cache(metadata)
    _quarantine(metadata)
    _change_event(metadata)
    _generation(metadata)
    _embedding_rate(metadata)
    _rate_limit(metadata)
    _embedding_batch(metadata)
    _sync_request(metadata)
    _sync_run(metadata)
    _run_heartbeat(metadata)
    _spending(metadata)
    _embedding_provider(metadata)
    return metadata


def table(schema: str, name: str) -> Table:
    """One table by its name."""
    return state_tables(schema).tables[f"{schema}.{name}"]


def _index_state(metadata: MetaData) -> None:
    Table(
        "index_state",
        metadata,
        Column("collection", KEY, primary_key=True),
        Column("document_id", KEY, primary_key=True),
        Column("point_id", Uuid(as_uuid=False), nullable=False),
        Column("scope", Text, nullable=False),
        Column("scope_key", KEY, nullable=False),
        Column("tenant_id", KEY),
        Column("entity_type", KEY, nullable=False),
        Column("db_id", KEY, nullable=False),
        Column("embed_hashes", JSONB, nullable=False, server_default=text("'{}'")),
        Column("payload_hash", Text),
        Column("status", Text, nullable=False),
        Column("view_status", JSONB),
        Column("error_code", Text),
        Column("last_error", Text),
        Column("retry_count", Integer, nullable=False, server_default=text("0")),
        Column("next_retry_at", MOMENT),
        Column("last_synced_at", MOMENT),
        Column("last_sync_attempt_at", MOMENT),
        Column("vector_version", Text),
        Column("source_snapshot_at", MOMENT),
        Column("previous_scope_key", KEY),
        Column("passages", JSONB),
        Column("truncated_views", ARRAY(Text), nullable=False, server_default=text("'{}'")),
        Column("created_at", MOMENT, nullable=False, server_default=func.now()),
        Column("updated_at", MOMENT, nullable=False, server_default=func.now()),
        CheckConstraint("scope IN ('global', 'tenant')", name="index_state_scope"),
        CheckConstraint(
            "status IN ('synced', 'pending', 'stale', 'failed')", name="index_state_status"
        ),
        Index("index_state_by_scope", "collection", "scope_key", "point_id"),
        Index("index_state_by_entity", "collection", "entity_type"),
        Index(
            "index_state_unsynced",
            "collection",
            "status",
            postgresql_where=text("status <> 'synced'"),
        ),
        Index(
            "index_state_departed",
            "collection",
            "previous_scope_key",
            postgresql_where=text("previous_scope_key IS NOT NULL"),
        ),
        Index(
            "index_state_next_retry",
            "next_retry_at",
            postgresql_where=text("next_retry_at IS NOT NULL"),
        ),
    )


def _scopes(metadata: MetaData) -> None:
    Table(
        "scope_state",
        metadata,
        Column("collection", KEY, primary_key=True),
        Column("scope_key", KEY, primary_key=True),
        Column("rows", BigInteger, nullable=False),
        Column("documents", BigInteger, nullable=False),
        Column("quarantined", BigInteger, nullable=False),
        Column("failed", BigInteger, nullable=False),
        Column("digest", Text),
        Column("watermark", MOMENT),
        Column("source_snapshot_at", MOMENT),
        Column("last_success_at", MOMENT),
        Column("last_full_at", MOMENT),
        Column("vanished_at", MOMENT),
        Column("updated_at", MOMENT, nullable=False, server_default=func.now()),
    )
    Table(
        "scope_entity_state",
        metadata,
        Column("collection", KEY, primary_key=True),
        Column("scope_key", KEY, primary_key=True),
        Column("entity_type", KEY, primary_key=True),
        Column("rows", BigInteger, nullable=False),
        Column("documents", BigInteger, nullable=False),
        Column("quarantined", BigInteger, nullable=False),
        Column("failed", BigInteger, nullable=False),
        Column("digest", Text),
        Column("feed_epoch", Text),
        Column("source_snapshot_at", MOMENT),
        Column("last_success_at", MOMENT),
        Column("last_full_at", MOMENT),
        Column("vanished_at", MOMENT),
        Column("updated_at", MOMENT, nullable=False, server_default=func.now()),
        Column("writing_token", BigInteger),
    )
    Table(
        "scope_lease",
        metadata,
        Column("scope_key", KEY, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("token", BigInteger, nullable=False),
        Column("expires_at", MOMENT, nullable=False),
    )


def _embedding_cache(metadata: MetaData) -> None:
    Table(
        "embedding_cache",
        metadata,
        Column("model_id", KEY, primary_key=True),
        Column("text_hash", KEY, primary_key=True),
        Column("vector", LargeBinary, nullable=False),
        Column("dimension", Integer, nullable=False),
        Column("created_at", MOMENT, nullable=False, server_default=func.now()),
        Column("unused_since", MOMENT),
        Index(
            "embedding_cache_unused",
            "model_id",
            postgresql_where=text("unused_since IS NOT NULL"),
        ),
    )
    Table(
        "cache_use",
        metadata,
        Column("scope_key", KEY, primary_key=True),
        Column("owner", Text, nullable=False),
        Column("since", MOMENT, nullable=False),
    )
    Table(
        "model_canary",
        metadata,
        Column("model_id", KEY, primary_key=True),
        Column("text_hash", KEY, primary_key=True),
        Column("vector", LargeBinary, nullable=False),
        Column("dimension", Integer, nullable=False),
        Column("same_as", KEY),
        Column("recorded_at", MOMENT, nullable=False, server_default=func.now()),
    )


def _quarantine(metadata: MetaData) -> None:
    Table(
        "quarantine",
        metadata,
        Column("scope_key", KEY, primary_key=True),
        Column("entity_type", KEY, primary_key=True),
        Column("db_id", KEY, primary_key=True),
        Column("reason", Text, nullable=False),
        Column("detail", Text, nullable=False),
        Column("row_count", BigInteger, nullable=False, server_default=text("1")),
        Column("attempts", Integer, nullable=False, server_default=text("1")),
        Column("first_seen_at", MOMENT, nullable=False, server_default=func.now()),
        Column("last_seen_at", MOMENT, nullable=False, server_default=func.now()),
    )


def _change_event(metadata: MetaData) -> None:
    Table(
        "change_event",
        metadata,
        Column("id", BigInteger, Identity(always=True), primary_key=True),
        Column("entity_type", Text, nullable=False),
        Column("db_id", Text),
        Column("operation", Text, nullable=False),
        Column("old_scope_key", Text),
        Column("new_scope_key", Text),
        Column("created_at", MOMENT, nullable=False, server_default=func.now()),
        Column("xid", Xid8, nullable=False, server_default=func.pg_current_xact_id()),
        CheckConstraint(
            "operation IN ('insert', 'update', 'delete', 'truncate')",
            name="change_event_operation",
        ),
        Index(
            "change_event_new_scope",
            "new_scope_key",
            postgresql_where=text("new_scope_key IS NOT NULL"),
        ),
        Index(
            "change_event_old_scope",
            "old_scope_key",
            postgresql_where=text("old_scope_key IS DISTINCT FROM new_scope_key"),
        ),
        Index(
            "change_event_everywhere",
            "entity_type",
            postgresql_where=text("old_scope_key IS NULL AND new_scope_key IS NULL"),
        ),
    )


def _generation(metadata: MetaData) -> None:
    Table(
        "generation",
        metadata,
        Column("collection", KEY, primary_key=True),
        Column("alias", KEY, nullable=False),
        Column("model_id", Text, nullable=False),
        Column("dimension", Integer, nullable=False),
        Column("views", JSONB, nullable=False),
        Column("sparse_id", Text, nullable=False),
        Column("description", Text, nullable=False),
        Column("is_active", Boolean, nullable=False),
        Column("created_at", MOMENT, nullable=False, server_default=func.now()),
        Column("recipe", JSONB),
        Column("served_at", MOMENT),
        Column("retired_at", MOMENT),
        Column("refusal", Text),
        Column("view_models", JSONB),
    )


def _embedding_rate(metadata: MetaData) -> None:
    Table(
        "embedding_rate",
        metadata,
        Column("model_id", KEY, primary_key=True),
        Column("texts_per_second", Double, nullable=False),
        Column("measured_at", MOMENT, nullable=False, server_default=func.now()),
    )


def _rate_limit(metadata: MetaData) -> None:
    Table(
        "rate_limit",
        metadata,
        Column("account", KEY, primary_key=True),
        Column("requests_at", MOMENT),
        Column("tokens_at", MOMENT),
        Column("blocked_until", MOMENT),
        Column("requests_per_minute", Double),
        Column("tokens_per_minute", Double),
        Column("asked_at", MOMENT),
        Column("turn_at", MOMENT),
        Column("updated_at", MOMENT, nullable=False, server_default=func.now()),
    )


def _embedding_batch(metadata: MetaData) -> None:
    Table(
        "embedding_batch",
        metadata,
        Column("name", KEY, primary_key=True),
        Column("batch_id", Text),
        Column("planned_at", MOMENT, nullable=False, server_default=func.now()),
    )
    Table(
        "embedding_batch_text",
        metadata,
        Column("cache_key", KEY, primary_key=True),
        Column("text_hash", KEY, primary_key=True),
        Column("batch", KEY, nullable=False),
        Index("embedding_batch_text_by_batch", "batch"),
    )


def _sync_request(metadata: MetaData) -> None:
    Table(
        "sync_request",
        metadata,
        Column("id", Uuid(as_uuid=False), primary_key=True),
        Column("requested_by", Text, nullable=False),
        Column("requested_at", MOMENT, nullable=False, server_default=func.now()),
        Column("scope_keys", JSONB, nullable=False),
        Column("mode", Text, nullable=False),
        Column("force", Boolean, nullable=False),
        Column("max_deleted_fraction", Double),
        Column("approve_deletions", BigInteger),
        Column("status", Text, nullable=False),
        Column("run_ids", JSONB, nullable=False, server_default=text("'{}'")),
        Column("error", Text),
        Column("updated_at", MOMENT, nullable=False, server_default=func.now()),
        CheckConstraint(
            "status IN ('pending', 'started', 'done', 'failed')", name="sync_request_status"
        ),
        CheckConstraint("mode IN ('full', 'incremental')", name="sync_request_mode"),
        Index(
            "sync_request_open",
            "requested_at",
            postgresql_where=text("status IN ('pending', 'started')"),
        ),
    )


def _sync_run(metadata: MetaData) -> None:
    Table(
        "sync_run",
        metadata,
        Column("run_id", KEY, primary_key=True),
        Column("scope_key", KEY, primary_key=True),
        Column("mode", Text, nullable=False),
        Column("status", Text, nullable=False),
        Column("started_at", MOMENT, nullable=False),
        Column("finished_at", MOMENT, nullable=False),
        Column("counts", JSONB, nullable=False),
        Column("seconds", JSONB, nullable=False),
        Column("error", Text),
        Column("facts", JSONB, nullable=False, server_default=text("'{}'")),
        CheckConstraint("status IN ('success', 'failed', 'skipped')", name="sync_run_status"),
        Index("sync_run_finished", "finished_at"),
        Index("sync_run_by_scope", "scope_key", "finished_at"),
        Index(
            "sync_run_refused",
            "scope_key",
            "finished_at",
            postgresql_where=text("facts ->> 'error' = 'MassDeletionRefusedError'"),
        ),
    )


def _run_heartbeat(metadata: MetaData) -> None:
    Table(
        "run_heartbeat",
        metadata,
        Column("run_id", KEY, primary_key=True),
        Column("step_key", KEY, primary_key=True),
        Column("process", Text, nullable=False),
        Column("beat_at", MOMENT, nullable=False, server_default=func.now()),
    )


def _spending(metadata: MetaData) -> None:
    Table(
        "embedding_usage",
        metadata,
        Column("day", Date, primary_key=True),
        Column("scope_key", KEY, primary_key=True),
        Column("model_id", KEY, primary_key=True),
        Column("run_id", KEY, primary_key=True),
        Column("purpose", KEY, primary_key=True),
        Column("provider", KEY, primary_key=True),
        *(
            Column(name, kind, nullable=False, server_default=text("0"))
            for name, kind in (
                ("calls", BigInteger),
                ("texts", BigInteger),
                ("tokens", BigInteger),
                ("cost", Numeric),
                ("unconfirmed_calls", BigInteger),
                ("unconfirmed_tokens", BigInteger),
                ("unconfirmed_cost", Numeric),
            )
        ),
        Column("updated_at", MOMENT, nullable=False, server_default=func.now()),
    )
    Table(
        "embedding_budget",
        metadata,
        Column("kind", KEY, primary_key=True),
        Column("key", KEY, primary_key=True),
        *(
            Column(name, kind, nullable=False, server_default=text("0"))
            for name, kind in (
                ("tokens", BigInteger),
                ("cost", Numeric),
                ("reserved_tokens", BigInteger),
                ("reserved_cost", Numeric),
            )
        ),
        Column("updated_at", MOMENT, nullable=False, server_default=func.now()),
    )
    Table(
        "embedding_reservation",
        metadata,
        Column("call_id", Uuid(as_uuid=False), primary_key=True),
        Column("day", Date, nullable=False),
        Column("scope_key", KEY, nullable=False),
        Column("model_id", KEY, nullable=False),
        Column("run_id", KEY, nullable=False),
        Column("purpose", KEY, nullable=False),
        Column("tokens", BigInteger, nullable=False),
        Column("cost", Numeric, nullable=False),
        Column("budgets", JSONB, nullable=False),
        Column("made_at", MOMENT, nullable=False, server_default=func.now()),
    )


def _embedding_provider(metadata: MetaData) -> None:
    Table(
        "embedding_provider",
        metadata,
        Column("provider", KEY, primary_key=True),
        Column("failures", Integer, nullable=False),
        Column("retry_at", MOMENT),
        Column("error_code", Text),
        Column("error", Text),
        Column("failed_at", MOMENT),
    )
