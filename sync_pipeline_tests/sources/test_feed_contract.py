"""What every change feed promises, asked of PostgreSQL and of the fake."""

from __future__ import annotations

from typing import Protocol

import pytest
import sqlalchemy as sa

from sync_pipeline.core.changes import ChangedRow, ChangeFeed, FeedState, Operation
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import SourceSchemaError
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.sources.feed.change_feed import PostgresChangeFeed
from sync_pipeline_tests.fakes.feed import FakeChangeFeed

ACME = Scope("acme")
GLOBEX = Scope("globex")
UNUSABLE = "GLOBAL"
"""A tenant id that no tenant can have."""

MATERIAL = Entity(name="material", table="materials", views=(("text", ("name",)),))
WORK = Entity(name="work", table="works", views=(("text", ("name",)),))
ENTITIES = [MATERIAL, WORK]


class Catalogue(Protocol):
    """Tables with rows, and the feed that watches them."""

    @property
    def feed(self) -> ChangeFeed: ...

    def insert(self, entity: Entity, db_id: str, *, tenant: str | None) -> None: ...

    def rename(self, entity: Entity, db_id: str) -> None: ...

    def move(self, entity: Entity, db_id: str, *, tenant: str | None) -> None: ...

    def delete(self, entity: Entity, db_id: str) -> None: ...

    def truncate(self, entity: Entity) -> None: ...

    def lose(self, entity: Entity) -> None:
        """Let a change get past the feed."""

    def make_unable(self, entity: Entity) -> None:
        """Replace the table by something that cannot have a feed."""


class PostgresCatalogue:
    """Real tables with real triggers."""

    def __init__(self, engine: sa.Engine) -> None:
        self.feed = PostgresChangeFeed(engine)
        self._engine = engine
        metadata = sa.MetaData()
        self._tables = {
            entity.name: sa.Table(
                entity.table,
                metadata,
                sa.Column("id", sa.Text, primary_key=True),
                sa.Column("tenant_id", sa.Text),
                sa.Column("is_global", sa.Boolean, server_default=sa.false()),
                sa.Column("name", sa.Text, server_default="n"),
                sa.Column("unit", sa.Text),
            )
            for entity in ENTITIES
        }
        metadata.create_all(engine)

    def insert(self, entity: Entity, db_id: str, *, tenant: str | None) -> None:
        self._execute(self._tables[entity.name].insert().values(id=db_id, tenant_id=tenant))

    def rename(self, entity: Entity, db_id: str) -> None:
        table = self._tables[entity.name]
        self._execute(table.update().where(table.c.id == db_id).values(name=table.c.name + "x"))

    def move(self, entity: Entity, db_id: str, *, tenant: str | None) -> None:
        table = self._tables[entity.name]
        self._execute(table.update().where(table.c.id == db_id).values(tenant_id=tenant))

    def delete(self, entity: Entity, db_id: str) -> None:
        table = self._tables[entity.name]
        self._execute(table.delete().where(table.c.id == db_id))

    def truncate(self, entity: Entity) -> None:
        self._execute(sa.text(f"TRUNCATE {entity.table}"))

    def lose(self, entity: Entity) -> None:
        self._execute(
            sa.text(
                f"ALTER TABLE {entity.table} DISABLE TRIGGER ALL; UPDATE {entity.table} SET "  # noqa: S608
                f"name = 'x'; ALTER TABLE {entity.table} ENABLE TRIGGER ALL"
            )
        )

    def make_unable(self, entity: Entity) -> None:
        self._execute(
            sa.text(
                f"ALTER TABLE {entity.table} RENAME TO kept; "  # noqa: S608
                f"CREATE VIEW {entity.table} AS SELECT * FROM kept"
            )
        )

    def _execute(self, statement: sa.Executable) -> None:
        with self._engine.begin() as connection:
            connection.execute(statement)


class FakeCatalogue:
    """Remembers who owns which row."""

    def __init__(self) -> None:
        self.feed = FakeChangeFeed()
        self._owners: dict[tuple[str, str], str] = {}

    def insert(self, entity: Entity, db_id: str, *, tenant: str | None) -> None:
        self._owners[entity.name, db_id] = tenant or GLOBAL.key
        self._record(Operation.INSERT, entity, db_id, new=tenant or GLOBAL.key)

    def rename(self, entity: Entity, db_id: str) -> None:
        owner = self._owners[entity.name, db_id]
        self._record(Operation.UPDATE, entity, db_id, old=owner, new=owner)

    def move(self, entity: Entity, db_id: str, *, tenant: str | None) -> None:
        old = self._owners[entity.name, db_id]
        self._owners[entity.name, db_id] = tenant or GLOBAL.key
        self._record(Operation.UPDATE, entity, db_id, old=old, new=tenant or GLOBAL.key)

    def delete(self, entity: Entity, db_id: str) -> None:
        old = self._owners.pop((entity.name, db_id))
        self._record(Operation.DELETE, entity, db_id, old=old)

    def truncate(self, entity: Entity) -> None:
        self.feed.record(Operation.TRUNCATE, entity_type=entity.name)

    def lose(self, entity: Entity) -> None:
        self.feed.lose(entity.name)

    def make_unable(self, entity: Entity) -> None:
        self.feed.unable[entity.name] = "it is a view"

    def _record(
        self,
        operation: Operation,
        entity: Entity,
        db_id: str,
        *,
        old: str | None = None,
        new: str | None = None,
    ) -> None:
        self.feed.record(operation, entity_type=entity.name, db_id=db_id, old=old, new=new)


@pytest.fixture(params=["fake", pytest.param("postgres", marks=pytest.mark.process)])
def catalogue(request: pytest.FixtureRequest) -> Catalogue:
    made: Catalogue
    if request.param == "fake":
        made = FakeCatalogue()
    else:
        made = PostgresCatalogue(request.getfixturevalue("engine"))
    made.feed.install(ENTITIES)
    return made


def states(feed: ChangeFeed, entities: list[Entity]) -> dict[str, FeedState]:
    return {status.entity_type: status.state for status in feed.status(entities)}


def consume_all(feed: ChangeFeed, *scopes: Scope) -> None:
    for scope in scopes:
        feed.consume(feed.read(scope))


# --- installing -------------------------------------------------------------------------


def test_installing_twice_makes_nothing_the_second_time(catalogue: Catalogue) -> None:
    made = catalogue.feed.install(ENTITIES)

    assert made == []
    assert set(states(catalogue.feed, ENTITIES).values()) == {FeedState.INSTALLED}


def test_an_entity_that_maps_other_columns_is_outdated_until_installed_again(
    catalogue: Catalogue,
) -> None:
    changed = Entity(name="work", table="works", views=(("text", ("name", "unit")),))

    before = states(catalogue.feed, [MATERIAL, changed])
    made = catalogue.feed.install([MATERIAL, changed])

    assert before == {"material": FeedState.INSTALLED, "work": FeedState.OUTDATED}
    assert len(made) == 1
    assert set(states(catalogue.feed, [MATERIAL, changed]).values()) == {FeedState.INSTALLED}


def test_a_removed_feed_leaves_no_events_and_other_feeds_alone(catalogue: Catalogue) -> None:
    catalogue.insert(MATERIAL, "m1", tenant="acme")
    catalogue.insert(WORK, "w1", tenant="acme")

    removed = catalogue.feed.remove([MATERIAL])
    catalogue.insert(MATERIAL, "m2", tenant="acme")
    catalogue.insert(WORK, "w2", tenant="acme")

    assert len(removed) == 1
    assert states(catalogue.feed, ENTITIES) == {
        "material": FeedState.ABSENT,
        "work": FeedState.INSTALLED,
    }
    assert catalogue.feed.read(ACME).rows == {ChangedRow("work", "w1"), ChangedRow("work", "w2")}


def test_removing_twice_is_not_an_error(catalogue: Catalogue) -> None:
    catalogue.feed.remove(ENTITIES)

    assert catalogue.feed.remove(ENTITIES) == []
    assert catalogue.feed.pending() == {}
    assert not catalogue.feed.read(ACME).event_ids


def test_a_feed_of_an_entity_no_longer_configured_is_left_over_and_can_be_removed(
    catalogue: Catalogue,
) -> None:
    before = states(catalogue.feed, [MATERIAL])

    catalogue.feed.remove()

    assert before == {"material": FeedState.INSTALLED, "work": FeedState.LEFTOVER}
    assert states(catalogue.feed, []) == {}


def test_status_counts_events_and_says_how_old_the_oldest_is(catalogue: Catalogue) -> None:
    catalogue.insert(MATERIAL, "m1", tenant="acme")
    catalogue.insert(MATERIAL, "m2", tenant="globex")

    material, work = catalogue.feed.status(ENTITIES)

    assert (material.pending, work.pending) == (2, 0)
    assert material.oldest_seconds is not None
    assert 0 <= material.oldest_seconds < 600
    assert work.oldest_seconds is None


# --- epochs ------------------------------------------------------------------------------


def epochs(catalogue: Catalogue) -> dict[str, str | None]:
    return {status.entity_type: status.epoch for status in catalogue.feed.status(ENTITIES)}


def test_what_leaves_events_leaves_the_epoch_too(catalogue: Catalogue) -> None:
    before = epochs(catalogue)

    catalogue.insert(MATERIAL, "m1", tenant="acme")
    catalogue.rename(MATERIAL, "m1")
    consume_all(catalogue.feed, ACME)
    catalogue.delete(MATERIAL, "m1")
    catalogue.feed.install(ENTITIES)

    assert None not in before.values()
    assert epochs(catalogue) == before


def test_a_change_that_got_past_the_feed_of_one_entity_ends_its_epoch(
    catalogue: Catalogue,
) -> None:
    catalogue.insert(MATERIAL, "m1", tenant="acme")
    before = epochs(catalogue)

    catalogue.lose(MATERIAL)
    after = epochs(catalogue)

    assert after["material"] != before["material"]
    assert after["work"] == before["work"]


def test_a_feed_that_was_away_comes_back_with_another_epoch(catalogue: Catalogue) -> None:
    before = epochs(catalogue)

    catalogue.feed.remove([WORK])
    away = epochs(catalogue)
    catalogue.feed.install(ENTITIES)

    assert away["work"] is None
    assert None is not epochs(catalogue)["work"] != before["work"]


def test_a_table_that_cannot_have_a_feed_is_left_out(catalogue: Catalogue) -> None:
    catalogue.make_unable(MATERIAL)

    before = states(catalogue.feed, ENTITIES)
    made = catalogue.feed.install(ENTITIES)
    again = catalogue.feed.install(ENTITIES)

    assert before == {"material": FeedState.UNABLE, "work": FeedState.INSTALLED}
    assert made == ["no more feed of entity 'material'"]
    assert again == []
    assert states(catalogue.feed, ENTITIES) == before
    assert epochs(catalogue)["material"] is None
    assert catalogue.feed.status(ENTITIES)[0].detail


def test_where_no_table_can_have_a_feed_installing_is_refused(catalogue: Catalogue) -> None:
    catalogue.make_unable(MATERIAL)

    with pytest.raises(SourceSchemaError, match="is a view"):
        catalogue.feed.install([MATERIAL])


# --- which scopes, which rows -----------------------------------------------------------


def test_pending_groups_by_scope_the_oldest_first(catalogue: Catalogue) -> None:
    catalogue.insert(MATERIAL, "m1", tenant="globex")
    catalogue.insert(WORK, "w1", tenant="acme")
    catalogue.rename(MATERIAL, "m1")

    pending = catalogue.feed.pending()

    assert [(key, found.events) for key, found in pending.items()] == [("globex", 2), ("acme", 1)]
    assert list(catalogue.feed.pending(limit_scopes=1)) == ["globex"]
    assert not any(found.has_truncate for found in pending.values())


def test_a_batch_names_each_changed_row_of_the_scope_once(catalogue: Catalogue) -> None:
    catalogue.insert(MATERIAL, "m1", tenant="acme")
    catalogue.rename(MATERIAL, "m1")
    catalogue.insert(WORK, "w1", tenant="acme")
    catalogue.insert(MATERIAL, "m2", tenant="globex")
    catalogue.delete(MATERIAL, "m1")

    batch = catalogue.feed.read(ACME)

    assert batch.rows == {ChangedRow("material", "m1"), ChangedRow("work", "w1")}
    assert len(batch.event_ids) == 4
    assert not batch.has_truncate
    assert not batch.has_more


@pytest.mark.parametrize(
    "tenant", [pytest.param(None, id="no owner"), pytest.param(UNUSABLE, id="unusable owner")]
)
def test_rows_that_nobody_can_own_belong_to_the_global_scope(
    catalogue: Catalogue, tenant: str | None
) -> None:
    catalogue.insert(MATERIAL, "m1", tenant=tenant)

    batch = catalogue.feed.read(GLOBAL)

    assert list(catalogue.feed.pending()) == ["global"]
    assert batch.rows == {ChangedRow("material", "m1")}
    assert catalogue.feed.consume(batch) == 1
    assert catalogue.feed.pending() == {}


def test_a_limited_batch_has_the_oldest_events_and_says_that_there_are_more(
    catalogue: Catalogue,
) -> None:
    for number in range(5):
        catalogue.insert(MATERIAL, f"m{number}", tenant="acme")

    first = catalogue.feed.read(ACME, limit=3)
    catalogue.feed.consume(first)
    rest = catalogue.feed.read(ACME, limit=None)

    assert first.rows == {ChangedRow("material", f"m{number}") for number in range(3)}
    assert first.has_more
    assert rest.rows == {ChangedRow("material", f"m{number}") for number in (3, 4)}
    assert not rest.has_more


# --- consuming --------------------------------------------------------------------------


def test_what_was_not_consumed_comes_again(catalogue: Catalogue) -> None:
    catalogue.insert(MATERIAL, "m1", tenant="acme")

    first = catalogue.feed.read(ACME)
    second = catalogue.feed.read(ACME)

    assert first == second
    assert first.rows


def test_an_event_after_the_batch_was_read_survives_its_consumption(catalogue: Catalogue) -> None:
    catalogue.insert(MATERIAL, "m1", tenant="acme")
    batch = catalogue.feed.read(ACME)
    catalogue.rename(MATERIAL, "m1")

    catalogue.feed.consume(batch)

    assert catalogue.feed.pending()["acme"].events == 1


def test_consuming_twice_is_not_an_error(catalogue: Catalogue) -> None:
    catalogue.insert(MATERIAL, "m1", tenant="acme")
    batch = catalogue.feed.read(ACME)

    consumed = [catalogue.feed.consume(batch), catalogue.feed.consume(batch)]

    assert consumed == [1, 0]


@pytest.mark.parametrize(
    ("first", "second"),
    [pytest.param(ACME, GLOBEX, id="old owner first"), pytest.param(GLOBEX, ACME, id="new first")],
)
def test_a_move_survives_until_both_scopes_have_consumed_it(
    catalogue: Catalogue, first: Scope, second: Scope
) -> None:
    catalogue.insert(MATERIAL, "m1", tenant="acme")
    consume_all(catalogue.feed, ACME)
    catalogue.move(MATERIAL, "m1", tenant="globex")
    batches = {scope: catalogue.feed.read(scope) for scope in (ACME, GLOBEX)}

    catalogue.feed.consume(batches[first])
    left = catalogue.feed.pending()
    again = catalogue.feed.read(second)
    catalogue.feed.consume(batches[second])

    assert list(left) == [second.key]
    assert again == batches[second]
    assert catalogue.feed.pending() == {}
    assert not catalogue.feed.read(first).event_ids


def test_a_row_that_becomes_global_concerns_its_tenant_and_global(catalogue: Catalogue) -> None:
    catalogue.insert(MATERIAL, "m1", tenant="acme")
    consume_all(catalogue.feed, ACME)

    catalogue.move(MATERIAL, "m1", tenant=None)

    assert catalogue.feed.pending().keys() == {"acme", "global"}


def test_a_batch_of_one_scope_consumes_nothing_of_another(catalogue: Catalogue) -> None:
    catalogue.insert(MATERIAL, "m1", tenant="acme")
    catalogue.insert(MATERIAL, "g1", tenant="globex")

    consume_all(catalogue.feed, ACME)

    assert list(catalogue.feed.pending()) == ["globex"]


# --- truncates --------------------------------------------------------------------------


def test_a_truncate_is_named_to_every_scope_and_consumed_by_none_until_it_is_spread(
    catalogue: Catalogue,
) -> None:
    catalogue.truncate(MATERIAL)

    batches = [catalogue.feed.read(scope) for scope in (GLOBAL, ACME)]
    consumed = [catalogue.feed.consume(batch) for batch in batches]

    assert [batch.truncated for batch in batches] == [{"material"}, {"material"}]
    assert consumed == [0, 0]
    assert catalogue.feed.read(ACME).has_truncate
    assert catalogue.feed.pending()["global"].has_truncate


def test_a_spread_truncate_is_consumed_by_each_scope_for_itself(catalogue: Catalogue) -> None:
    catalogue.truncate(MATERIAL)
    catalogue.truncate(MATERIAL)

    spread = catalogue.feed.spread_truncates([GLOBAL, ACME, GLOBEX])
    consume_all(catalogue.feed, ACME)

    assert spread == 2
    assert catalogue.feed.pending().keys() == {"global", "globex"}
    assert catalogue.feed.read(GLOBEX).truncated == {"material"}
    assert not catalogue.feed.read(ACME).has_truncate


def test_spreading_twice_tells_no_scope_twice(catalogue: Catalogue) -> None:
    catalogue.truncate(MATERIAL)
    catalogue.feed.spread_truncates([GLOBAL, ACME])
    consume_all(catalogue.feed, ACME)

    spread = catalogue.feed.spread_truncates([GLOBAL, ACME])

    assert spread == 0
    assert list(catalogue.feed.pending()) == ["global"]


def test_a_truncate_is_not_lost_when_no_scope_is_known(catalogue: Catalogue) -> None:
    catalogue.truncate(MATERIAL)

    spread = catalogue.feed.spread_truncates([])

    assert spread == 0
    assert catalogue.feed.read(ACME).has_truncate


# --- listening --------------------------------------------------------------------------


def test_a_listener_hears_of_changes_after_it_was_opened(catalogue: Catalogue) -> None:
    catalogue.insert(MATERIAL, "m1", tenant="acme")

    with catalogue.feed.listen() as listener:
        before = listener.wait(0)
        catalogue.rename(MATERIAL, "m1")
        after = listener.wait(10)
        later = listener.wait(0)

    assert (before, after, later) == (False, True, False)


# --- several settings files on one database ---------------------------------------------


def test_only_events_of_the_entities_asked_for_are_seen_and_consumed(
    catalogue: Catalogue,
) -> None:
    catalogue.insert(MATERIAL, "m1", tenant="acme")
    catalogue.insert(WORK, "w1", tenant="acme")
    catalogue.insert(WORK, "w2", tenant="globex")

    pending = catalogue.feed.pending(entity_types=["material"])
    batch = catalogue.feed.read(ACME, entity_types=["material"], limit=1)
    catalogue.feed.consume(batch)

    assert {key: found.events for key, found in pending.items()} == {"acme": 1}
    assert batch.rows == {ChangedRow("material", "m1")}
    assert not batch.has_more
    assert catalogue.feed.read(ACME).rows == {ChangedRow("work", "w1")}
    assert catalogue.feed.pending(entity_types=["material"]) == {}
    assert not catalogue.feed.read(ACME, entity_types=[]).event_ids


def test_a_truncate_of_another_entity_is_not_spread(catalogue: Catalogue) -> None:
    catalogue.truncate(MATERIAL)
    catalogue.truncate(WORK)

    spread = catalogue.feed.spread_truncates([ACME], entity_types=["material"])

    assert spread == 1
    assert catalogue.feed.read(ACME, entity_types=["material"]).truncated == {"material"}
    assert list(catalogue.feed.pending(entity_types=["work"])) == ["global"]


# --- what left somebody's sight ---------------------------------------------------------

ROW = ChangedRow("material", "m1")
OTHER = ChangedRow("material", "m2")
SEES_ACME = ("global", "acme")


def departed(catalogue: Catalogue, keys: tuple[str, ...] = SEES_ACME) -> set[ChangedRow]:
    with catalogue.feed.departures(keys) as departures:
        found = departures.among([ROW, OTHER])
    assert catalogue.feed.has_departures(keys) or not found
    return found


@pytest.fixture
def two_rows(catalogue: Catalogue) -> Catalogue:
    """``m1`` and ``m2`` of everybody, and nothing pending."""
    catalogue.insert(MATERIAL, "m1", tenant=None)
    catalogue.insert(MATERIAL, "m2", tenant=None)
    consume_all(catalogue.feed, GLOBAL)
    return catalogue


def test_nothing_has_left_while_nothing_is_pending(two_rows: Catalogue) -> None:
    assert departed(two_rows) == set()


def test_a_row_that_was_changed_or_stays_in_sight_has_not_left(two_rows: Catalogue) -> None:
    two_rows.rename(MATERIAL, "m1")
    assert not two_rows.feed.has_departures(SEES_ACME)
    two_rows.move(MATERIAL, "m2", tenant="acme")

    assert departed(two_rows) == set()
    assert departed(two_rows, ("global", "globex")) == {OTHER}


def test_a_row_that_moved_away_or_was_deleted_has_left(two_rows: Catalogue) -> None:
    two_rows.move(MATERIAL, "m1", tenant="globex")
    two_rows.delete(MATERIAL, "m2")

    assert departed(two_rows) == {ROW, OTHER}
    assert departed(two_rows, ("global", "globex")) == {OTHER}


def test_a_row_that_came_back_has_not_left_however_often_it_went(two_rows: Catalogue) -> None:
    for _ in range(3):
        two_rows.move(MATERIAL, "m1", tenant="globex")
        assert departed(two_rows) == {ROW}
        two_rows.move(MATERIAL, "m1", tenant=None)
        assert departed(two_rows) == set()


def test_what_the_other_scope_has_yet_to_process_says_nothing_of_ours(
    two_rows: Catalogue,
) -> None:
    two_rows.move(MATERIAL, "m1", tenant="globex")
    two_rows.move(MATERIAL, "m1", tenant=None)
    consume_all(two_rows.feed, GLOBAL)

    assert two_rows.feed.pending().keys() == {"globex"}
    assert departed(two_rows) == set()
    assert not two_rows.feed.has_departures(SEES_ACME)


def test_rows_of_an_emptied_table_have_left_but_for_those_that_came_after(
    two_rows: Catalogue,
) -> None:
    two_rows.truncate(MATERIAL)
    emptied = departed(two_rows)
    two_rows.insert(MATERIAL, "m2", tenant="acme")
    filled = departed(two_rows)
    two_rows.feed.spread_truncates([GLOBAL, ACME])

    assert (emptied, filled) == ({ROW, OTHER}, {ROW})
    assert ROW in departed(two_rows)


def test_what_is_consumed_while_one_looks_is_known_all_the_same(two_rows: Catalogue) -> None:
    two_rows.move(MATERIAL, "m1", tenant="globex")

    with two_rows.feed.departures(SEES_ACME) as departures:
        consume_all(two_rows.feed, GLOBAL, GLOBEX)
        found = departures.among([ROW, OTHER])

    assert found == {ROW}
    assert departed(two_rows) == set()


def test_without_a_feed_nothing_is_known_to_have_left(two_rows: Catalogue) -> None:
    two_rows.feed.remove()
    two_rows.delete(MATERIAL, "m1")

    assert departed(two_rows) == set()
    assert not two_rows.feed.has_departures(SEES_ACME)


def test_an_event_waits_until_its_scopes_have_processed_it(two_rows: Catalogue) -> None:
    two_rows.rename(MATERIAL, "m1")
    (event,) = two_rows.feed.read(GLOBAL).event_ids

    def waits(keys: tuple[str, ...], up_to: int) -> bool:
        return two_rows.feed.has_pending(keys, up_to=up_to)

    assert waits(SEES_ACME, event)
    assert waits(SEES_ACME, event + 5)
    assert not waits(SEES_ACME, event - 1)
    assert not waits(("globex",), event)
    consume_all(two_rows.feed, GLOBAL)
    assert not waits(SEES_ACME, event)
