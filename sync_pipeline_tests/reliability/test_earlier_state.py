"""An installation of an earlier release, which recorded per scope alone, goes on as it is."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from sync_pipeline.core.reports import ScopeReport
from sync_pipeline.core.scope import Scope
from sync_pipeline.database.migrate import migrate
from sync_pipeline.engine.questions.sight import in_sync_by_scope
from sync_pipeline.migrations.versions import r0003_entities
from sync_pipeline.stores.edge.requests import PAYLOAD_INDEXES
from sync_pipeline_tests.reliability.site import Site

ACME = Scope("acme")


@pytest.fixture
def upgraded(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Ten rows, synced with state tables and an index as they were made before."""
    with monkeypatch.context() as earlier:
        earlier.delitem(PAYLOAD_INDEXES, "type")
        site.fill(10)
        site.run("global")
        site.run()
    site.sql(
        "UPDATE sync_pipeline.scope_state SET digest = 'of all entities'",
        "DROP VIEW sync_pipeline.document_status",
        "DROP VIEW sync_pipeline.document_view_status",
        "ALTER TABLE sync_pipeline.index_state DROP COLUMN passages, DROP COLUMN truncated_views",
        "CREATE VIEW sync_pipeline.document_status AS SELECT document.*, "
        "scope.last_full_at AS last_seen_at, scope.last_success_at AS scope_last_success_at, "
        "scope.last_full_at AS scope_last_full_at, scope.vanished_at AS scope_vanished_at "
        "FROM sync_pipeline.index_state AS document "
        "LEFT JOIN sync_pipeline.scope_state AS scope USING (collection, scope_key)",
        "DROP TABLE sync_pipeline.scope_entity_state",
        "DROP TABLE sync_pipeline.sync_request, sync_pipeline.sync_run",
        "DROP TABLE sync_pipeline.run_heartbeat, sync_pipeline.rate_limit",
        "DROP TABLE sync_pipeline.embedding_batch, sync_pipeline.embedding_batch_text",
        "DROP TABLE sync_pipeline.embedding_usage, sync_pipeline.embedding_budget",
        "DROP TABLE sync_pipeline.embedding_reservation, sync_pipeline.embedding_provider",
        "DROP TABLE sync_pipeline.model_canary, sync_pipeline.cache_use",
        "ALTER TABLE sync_pipeline.embedding_cache DROP COLUMN unused_since",
        "ALTER TABLE sync_pipeline.quarantine DROP COLUMN row_count",
        "ALTER TABLE sync_pipeline.generation DROP COLUMN recipe, DROP COLUMN served_at, "
        "DROP COLUMN retired_at, DROP COLUMN refusal, DROP COLUMN view_models",
    )
    site.sql(
        "UPDATE sync_pipeline.alembic_version SET version_num = :version",
        version=r0003_entities.down_revision,
    )
    assert migrate(site.engine)[0] == r0003_entities.revision
    return site


def kept(site: Site) -> dict[str, Any]:
    """Points and records, byte for byte."""
    with site.engine.connect() as connection:
        records = connection.execute(
            text("SELECT ctid::text, xmin::text, document_id FROM sync_pipeline.index_state")
        ).all()
    return {"points": site.payloads(), "records": sorted(map(tuple, records))}


def done(report: ScopeReport) -> tuple[int, ...]:
    return (report.new, report.changed, report.payload_changed, report.deleted, report.repaired)


def test_a_full_sync_of_an_earlier_installation_writes_nothing(upgraded: Site) -> None:
    before = kept(upgraded)
    embedded = len(upgraded.embedder.embedded)

    report = upgraded.run()

    assert (done(report), report.unchanged) == ((0, 0, 0, 0, 0), 10)
    assert kept(upgraded) == before
    assert len(upgraded.embedder.embedded) == embedded


def test_an_earlier_installation_goes_on_incrementally(upgraded: Site) -> None:
    upgraded.sql(
        "UPDATE materials SET updated_at = '2000-01-01'",
        "UPDATE materials SET name = 'sand', updated_at = now() WHERE id = 'm0003'",
    )

    report = upgraded.run(mode="incremental")

    assert (report.rows, done(report), report.note) == (1, (0, 1, 0, 0, 0), None)


def test_an_earlier_installation_says_up_to_when_it_is_in_sync(upgraded: Site) -> None:
    assert None not in in_sync_by_scope(upgraded.sync, scope=ACME).values()
    assert upgraded.is_clean()
    assert len(upgraded.found("acme")) == 10
