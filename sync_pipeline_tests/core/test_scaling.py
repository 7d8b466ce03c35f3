"""Scale on paper: the arithmetic, by numbers worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sync_pipeline.core import measured
from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.core.scaling import Scale, due_scopes, plan_scale, read_scale

ROUND = {
    "SYNC_SECONDS": 0.001,
    "COMPARE_SECONDS": 0.0001,
    "DIGEST_SECONDS": 0.00001,
    "POINT_DISK_BYTES": 3000.0,
    "POINT_RESIDENT_BYTES": 4000.0,
    "POINT_OWN_BYTES": 500.0,
    "STATE_BYTES": 600.0,
    "CACHE_BYTES": 1700.0,
    "STAGING_BYTES": 100.0,
    "RUN_BYTES": 90_000.0,
    "RUN_SECONDS": 1.0,
    "GROUPED_BYTES": 5_000.0,
    "GROUPED_SECONDS": 0.2,
    "SUBMITTED_PER_SECOND": 2.0,
    "WORKER_SHARE": 0.5,
}


@pytest.fixture(autouse=True)
def _round_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that can be reckoned with by hand."""
    for name, value in ROUND.items():
        monkeypatch.setattr(measured, name, replace(getattr(measured, name), value=value))


SMALL = Scale(rows=100_000, tenants=10, texts=100, distinct=0.5, changed=0.1)
"""50,000 texts; half of the rows in the largest scope, 5,000 with each tenant."""


def test_a_first_sync_by_one_worker() -> None:
    plan = plan_scale(SMALL)

    assert plan.first_embed_seconds == pytest.approx(500)
    assert plan.first_write_seconds == pytest.approx(100)
    assert plan.first_seconds == pytest.approx(600)


def test_more_workers_embed_at_once_and_the_largest_scope_is_written_by_one() -> None:
    plan = plan_scale(replace(SMALL, workers=4))

    assert plan.first_embed_seconds == pytest.approx(250)  # each at half its speed
    assert plan.first_write_seconds == pytest.approx(50)  # half of the rows, alone


def test_scopes_alike_are_written_side_by_side() -> None:
    plan = plan_scale(replace(SMALL, workers=4, largest=0.1))

    assert plan.first_write_seconds == pytest.approx(25)


def test_a_night() -> None:
    plan = plan_scale(SMALL)

    # 11 scopes with a change each; digests 1 s, 100,000 rows 10 s, 11 runs 11 s.
    assert plan.night_runs == 11
    assert plan.night_submit_seconds == pytest.approx(5.5)
    assert plan.night_compare_seconds == pytest.approx(22)
    # 10,000 rows changed: 5,000 texts 50 s, 10 s to write.
    assert plan.night_embed_seconds == pytest.approx(50)
    assert plan.night_seconds == pytest.approx(82)


def test_a_night_is_as_long_as_it_takes_to_submit_its_runs() -> None:
    plan = plan_scale(Scale(rows=1_000_000, tenants=1_000_000, changed=0.5, workers=1e6))

    assert plan.night_seconds == plan.night_submit_seconds
    assert plan.night_submit_seconds == pytest.approx(500_001 / 2)


def test_groups_share_runs_and_leave_less_behind() -> None:
    alone = plan_scale(replace(SMALL, retention_days=3))
    grouped = plan_scale(replace(SMALL, group=5, retention_days=3))

    assert (alone.night_runs, grouped.night_runs) == (11, 3)
    assert alone.dagster_bytes_per_night == pytest.approx(990_000)
    assert grouped.dagster_bytes_per_night == pytest.approx(55_000)
    assert grouped.dagster_bytes == pytest.approx(165_000)
    assert alone.night_compare_seconds - grouped.night_compare_seconds == pytest.approx(11 * 0.8)


def test_bytes_grow_with_rows_copies_texts_and_numbers() -> None:
    plan = plan_scale(replace(SMALL, replication=2, views=2, dimension=512))

    # Two vectors of 512 numbers where one of 384 was measured: 640 more numbers per point.
    assert plan.index_disk_bytes == pytest.approx(200_000 * (3000 + 2560))
    assert plan.index_memory_bytes == pytest.approx(200_000 * (4000 + 2560))
    assert plan.index_least_memory_bytes == pytest.approx(200_000 * (500 + 640))
    assert plan.state_bytes == pytest.approx(60_000_000)
    assert plan.cache_bytes == pytest.approx(100_000 * (1700 + 512))


def test_staged_are_the_scopes_under_way() -> None:
    assert plan_scale(SMALL).staging_bytes == pytest.approx(5_000_000)
    assert plan_scale(replace(SMALL, workers=3)).staging_bytes == pytest.approx(6_000_000)
    assert plan_scale(replace(SMALL, workers=99)).staging_bytes == pytest.approx(10_000_000)


def test_connections_are_those_of_all_workers_with_dagsters() -> None:
    plan = plan_scale(replace(SMALL, workers=9, connections=10))

    assert plan.connections == 108
    assert plan.first_to_give_way is not None
    assert plan.first_to_give_way.part == "PostgreSQL connections"
    assert plan.first_to_give_way.load == pytest.approx(108 / 97)


def test_memory_is_that_of_all_nodes_and_small_copies_take_less() -> None:
    large = Scale(rows=2**30, node_gib=32)  # 4000 or 500 GiB
    asked = {
        (small, nodes): plan_scale(replace(large, small=small, nodes=nodes)).limits
        for small in (0, 1)
        for nodes in (1, 16)
    }

    loads = {
        key: limit.load
        for key, limits in asked.items()
        for limit in limits
        if limit.part == "memory of the index"
    }
    assert loads == {(0, 1): 125, (0, 16): 7.8125, (1, 1): 15.625, (1, 16): 0.9765625}


def test_nothing_gives_way_in_a_small_installation() -> None:
    assert plan_scale(SMALL).first_to_give_way is None


def test_the_embedded_index_gives_way_to_a_server_and_more_workers_mean_one() -> None:
    alone = plan_scale(Scale(rows=3_000_000, texts=1e6))
    several = plan_scale(Scale(rows=3_000_000, texts=1e6, workers=2))

    assert "embedded index" in [limit.part for limit in alone.limits if limit.load > 1]
    assert "embedded index" not in [limit.part for limit in several.limits]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        pytest.param(0.0, 0, id="nothing changed"),
        pytest.param(1.0, 11, id="everything changed"),
        pytest.param(0.5, 10 * (1 - 0.5**2) + 1, id="two rows of each tenant"),
    ],
)
def test_a_scope_is_due_where_one_of_its_rows_changed(changed: float, expected: float) -> None:
    scale = Scale(rows=40, tenants=10, largest=0.5, changed=changed)

    assert due_scopes(scale) == pytest.approx(expected)


def test_keys_are_read_with_what_is_known_here_below_them() -> None:
    read = read_scale("rows=1e6, tenants=1_000,texts=50", defaults={"texts": 300, "dimension": 768})

    assert read == Scale(rows=1_000_000, tenants=1000, texts=50, dimension=768)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("tenants=3", "needs rows", id="no rows"),
        pytest.param("rows=10,tenant=3", "did you mean tenants", id="a key mistyped"),
        pytest.param("rows=many", "number from 1 .* for rows, not 'many'", id="no number"),
        pytest.param("rows=nan", "not 'nan'", id="not a number at all"),
        pytest.param("rows", "not ''", id="no value"),
        pytest.param("rows=10,changed=2", "from 0 to 1 for changed", id="a share above one"),
        pytest.param("rows=10,workers=0", "from 1 .* for workers", id="no workers"),
        pytest.param("rows=10,rows=20", "says rows twice", id="said twice"),
        pytest.param("rows=10,tenants=11", "fewer rows", id="more tenants than rows"),
    ],
)
def test_a_mistake_is_named_with_what_to_write(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_scale(text)
