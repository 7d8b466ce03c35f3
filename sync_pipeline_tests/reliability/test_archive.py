"""Archived documents in a real database and a real index."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipeline.core.entity import Archive, Condition, TimeKind
from sync_pipeline.core.errors import SourceSchemaError
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.due import judge_scopes
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.engine.questions.status import scope_status
from sync_pipeline.engine.questions.verify import verify_scope
from sync_pipeline_tests.reliability.site import MATERIAL, Site

ACME = Scope("acme")
RULE = Archive(when=(Condition("unit", ("done", "gone")),), older_than_days=90)


def with_vectors(site: Site) -> set[str]:
    """Row ids of the points that have a vector."""
    with site.sync.index() as index:
        digests = [
            str(name)
            for batch in index.iter_digests(scope_key="acme", views=site.sync.views)
            for name in batch.point_ids.astype("U36")
        ]
        points = index.retrieve(digests, with_vectors=True)
    return {str(point.payload["dbId"]) for point in points if point.vectors}


def found(site: Site, **request: object) -> set[str]:
    wanted = SearchRequest(text="cement", limit=100, **request)  # type: ignore[arg-type]
    return {str(hit.payload["dbId"]) for hit in search(site.sync, scope=ACME, request=wanted).hits}


AGE = "UPDATE materials SET updated_at = now() - make_interval(days => :days) WHERE id = ANY(:ids)"
KIND = "UPDATE materials SET unit = :unit WHERE id = ANY(:ids)"


def test_old_rows_of_a_kind_lose_their_vectors_and_come_back(site: Site) -> None:
    site.entity = replace(MATERIAL, archive=RULE)
    site.fill(6)
    site.sql(KIND, unit="done", ids=["m0001", "m0002", "m0003"])
    site.sql(KIND, unit=None, ids=["m0006"])
    site.run()
    everything = {f"m{number:04}" for number in range(1, 7)}
    assert with_vectors(site) == everything

    site.sql(AGE, days=91, ids=["m0001", "m0004", "m0006"])
    site.sql(AGE, days=89, ids=["m0002"])
    due = judge_scopes(site.sync, scopes=[ACME])[0].is_due
    report = site.run()

    assert due
    assert (report.archived, report.changed, report.embedded_texts) == (1, 1, 0)
    assert with_vectors(site) == everything - {"m0001"}
    assert found(site, mode="text") == everything
    assert found(site, mode="dense") == everything - {"m0001"}
    assert found(site) == everything
    assert verify_scope(site.sync, scope=ACME).is_clean
    status = scope_status(site.sync, scope=ACME)
    assert (status.archived, status.points, status.coverage) == (1, 6, 1.0)

    site.sql("UPDATE materials SET unit = 'kg' WHERE id = 'm0001'")
    back = site.run()

    # The unit is part of the text, and this text is new.
    assert (back.archived, back.embedded_texts) == (0, 1)
    assert with_vectors(site) == everything
    assert verify_scope(site.sync, scope=ACME).is_clean


def test_an_incremental_sync_sees_what_was_touched(site: Site) -> None:
    site.entity = replace(MATERIAL, archive=RULE)
    site.fill(3)
    site.run()
    site.sql(KIND, unit="gone", ids=["m0001"])
    site.sql("UPDATE materials SET updated_at = now() WHERE id = 'm0001'")
    site.run(mode="incremental")

    assert with_vectors(site) == {"m0001", "m0002", "m0003"}


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        pytest.param(
            TimeKind.EPOCH_SECONDS, "extract(epoch FROM updated_at)::bigint", id="seconds"
        ),
        pytest.param(TimeKind.LOCAL, "updated_at AT TIME ZONE 'UTC'", id="local"),
    ],
)
def test_ages_are_told_by_every_kind_of_time(site: Site, kind: TimeKind, column: str) -> None:
    site.fill(2)
    site.sql(AGE, days=100, ids=["m0001"])
    view = f"CREATE VIEW dated AS SELECT *, {column} AS changed FROM materials"  # noqa: S608
    site.sql(view)
    site.entity = replace(
        MATERIAL,
        table="dated",
        updated_at="changed",
        updated_at_kind=kind,
        updated_at_zone="UTC" if kind is TimeKind.LOCAL else None,
        archive=Archive(when=(), older_than_days=90),
    )

    assert site.run().archived == 1
    assert with_vectors(site) == {"m0002"}


def test_a_rule_over_a_column_that_is_not_there_is_named(site: Site) -> None:
    rule = Archive(when=(Condition("state", ("done",)),), older_than_days=90)
    site.entity = replace(MATERIAL, archive=rule)

    with pytest.raises(SourceSchemaError, match="state"):
        site.run()
