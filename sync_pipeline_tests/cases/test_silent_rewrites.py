"""A supplier's catalogue that is rewritten past its triggers, with the feed installed."""

from __future__ import annotations

import pytest

from sync_pipeline_tests.cases.installation import Case

SWAP = (
    "CREATE TABLE offers_new (LIKE offers INCLUDING ALL)",
    (
        "INSERT INTO offers_new SELECT id, tenant_id, is_global, name || ' (2026)', unit, size, "
        "updated_at FROM offers WHERE id > 1"
    ),
    (
        "BEGIN; ALTER TABLE offers RENAME TO offers_old; ALTER TABLE offers_new RENAME TO offers; "
        "COMMIT"
    ),
)


@pytest.fixture
def offers(case: Case) -> Case:
    """Thirty offers, synced in full with the feed installed."""
    case.settings(
        "entities: [{name: offer, table: offers, updated_at: updated_at, "
        "views: {text: [name, size, unit]}, payload: {unit: unit}}]"
    )
    case.sql(
        "CREATE TYPE unit AS ENUM ('pc', 'kg')",
        "CREATE TABLE offers (id int PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false, "
        "name text, unit unit, size text, updated_at timestamptz)",
        "INSERT INTO offers SELECT g, 'acme', false, 'offer ' || g, 'pc', g || ' cm', '2024-01-01' "
        "FROM generate_series(1, 30) g",
    )
    assert case.run("feed", "install").returncode == 0
    assert case.scopes("sync", "all")["acme"]["new"] == 30
    return case


REWRITES = {
    "the label of an enum is renamed": ("ALTER TYPE unit RENAME VALUE 'pc' TO 'piece'",),
    "a migration rewrites a column": (
        "ALTER TABLE offers ALTER COLUMN size TYPE text USING replace(size, ' cm', '0 mm')",
    ),
    "a loader switches triggers off and on": (
        "ALTER TABLE offers DISABLE TRIGGER ALL",
        "UPDATE offers SET name = name || '!'",
        "ALTER TABLE offers ENABLE TRIGGER ALL",
    ),
    "the events are thrown away": (
        "UPDATE offers SET name = name || '!'",
        "TRUNCATE sync_pipeline.change_event",
    ),
    "the events cannot be written": (
        (
            "BEGIN; LOCK TABLE sync_pipeline.change_event; "
            "ALTER TABLE sync_pipeline.change_event RENAME TO away; "
            "UPDATE offers SET name = name || '!'; "
            "ALTER TABLE sync_pipeline.away RENAME TO change_event; COMMIT"
        ),
    ),
}


@pytest.mark.parametrize("rewrite", REWRITES.values(), ids=REWRITES)
def test_s62_what_got_past_the_feed_is_made_good_by_the_next_incremental_sync(
    offers: Case, rewrite: tuple[str, ...]
) -> None:
    """Every text is another, and no event tells of it."""
    offers.sql(*rewrite)

    report = offers.scopes("sync", "all", "--mode", "incremental")["acme"]

    assert (report["status"], report["changed"]) == ("success", 30)
    assert offers.ask("verify", "all")["ok"]


def test_s62_a_loader_that_replicates_is_followed(offers: Case) -> None:
    """Its triggers fire in every session."""
    offers.sql(
        "BEGIN; SET LOCAL session_replication_role = replica; "
        "UPDATE offers SET name = 'loaded' WHERE id <= 3; COMMIT"
    )

    report = offers.scopes("sync", "all", "--mode", "incremental")["acme"]

    assert report["changed"] == 3
    assert offers.ask("verify", "all")["ok"]


def test_s62_status_says_that_the_feed_went_with_the_old_table(offers: Case) -> None:
    """And what to do."""
    offers.sql(*SWAP)

    said = offers.run("feed", "status").stdout

    assert "outdated" in said
    assert "the feed is gone from public.offers" in said
    assert "which is offers_old now; run `sync-pipeline feed install`" in said


@pytest.mark.parametrize("is_mended", [False, True], ids=["as it is", "feed installed anew"])
def test_s62_a_replaced_table_is_looked_at_as_a_whole(offers: Case, *, is_mended: bool) -> None:
    """Though the supplier's own times of change are kept."""
    offers.sql(*SWAP)
    if is_mended:
        assert offers.run("feed", "install").returncode == 0

    report = offers.scopes("sync", "all", "--mode", "incremental")["acme"]

    assert (report["status"], report["changed"], report["deleted"]) == ("success", 29, 1)
    assert offers.ask("verify", "all")["ok"]


def test_s62_after_a_full_look_events_are_relied_on_again(offers: Case) -> None:
    """A lost moment costs one comparison of all rows, not all of them from then on."""
    offers.sql(*SWAP)
    offers.run("feed", "install")
    offers.scopes("sync", "all")
    offers.sql("UPDATE offers SET name = 'one' WHERE id = 7")

    report = offers.scopes("sync", "all", "--mode", "incremental")["acme"]

    assert (report["rows"], report["changed"]) == (1, 1)


def test_s69_a_view_does_not_keep_the_feed_from_the_other_tables(offers: Case) -> None:
    """Installing says what its incremental syncs go by."""
    offers.sql("CREATE VIEW cheap AS SELECT * FROM offers WHERE id < 5")
    offers.settings(
        "entities:\n"
        "  - {name: offer, table: offers, views: {text: [name]}}\n"
        "  - {name: cheap, table: cheap, updated_at: updated_at, views: {text: [name]}}\n"
        "  - {name: cheapest, table: cheap, views: {text: [name]}}\n"
    )

    done = offers.run("feed", "install")
    states = {one["entity_type"]: one["state"] for one in offers.ask("feed", "status")["entities"]}

    assert done.returncode == 0
    assert "cheap: public.cheap is a view, whose changes PostgreSQL cannot report" in done.stdout
    assert "incremental syncs look at its column 'updated_at' instead" in done.stdout
    assert "cheapest: public.cheap is a view" in done.stdout
    assert states == {"offer": "installed", "cheap": "unable", "cheapest": "unable"}
