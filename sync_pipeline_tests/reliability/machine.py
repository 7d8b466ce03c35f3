"""A state machine over a whole installation: rows change, runs fail, and the promises hold."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Literal, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from sync_pipeline.core.cleanup import CleanupPolicy
from sync_pipeline.core.entity import Condition, Entity
from sync_pipeline.core.errors import (
    MassDeletionRefusedError,
    PermanentError,
    ScopeBusyError,
    SupersededError,
    TransientError,
    UnconfirmedSyncError,
)
from sync_pipeline.core.reports import ScopeReport, SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.context import SyncContext
from sync_pipeline.engine.questions.follow import pending_scopes
from sync_pipeline.engine.questions.plan import plan_scope
from sync_pipeline.engine.questions.quiet import quiet_scopes
from sync_pipeline.engine.removal.cache import prune_cache
from sync_pipeline.engine.steps.sync import sync_scope
from sync_pipeline_tests.engine.steps import SteppedRun
from sync_pipeline_tests.engine.world import MATERIAL, UNGUARDED, World, counts
from sync_pipeline_tests.engine.world import WORK as PLAIN_WORK
from sync_pipeline_tests.fakes.feed import FakeChangeFeed
from sync_pipeline_tests.fakes.row_source import Row
from sync_pipeline_tests.reliability.faults import (
    Fault,
    FussyStore,
    KilledError,
    Run,
    context_of,
    fault_at,
    outage,
)
from sync_pipeline_tests.reliability.oracle import (
    ID_COLUMNS,
    ODD,
    POISON,
    TYPES,
    Key,
    documents,
    owner_of,
)
from sync_pipeline_tests.reliability.tables import Loss, WatchedTables

TENANTS: Final = ("acme", "globex", "initech")
SCOPES: Final = ("global", *TENANTS)
LEASE_SECONDS: Final = 60
OVERLAP_SECONDS: Final = 300

WORK: Final = replace(
    PLAIN_WORK,
    id=ID_COLUMNS["works"],
    only=(Condition("status", ("active", None)),),
)
"""Its rows have two columns for an id, and count only where their status is one of two."""
ENTITIES: Final = (MATERIAL, WORK)

MATERIALS: Final = [Key("materials", (str(number),)) for number in range(10)]
WORKS: Final = [
    Key("works", values)
    for values in [
        ("a/b", "c"),
        ("a", "b/c"),
        ("a~1b", "c"),
        ("a-b", "c"),
        ("a", "b-c"),
        ("a~", "1b/c"),
        ("~", "1"),
        ("a", ""),
        ("", "a"),
        ("1", "1"),
    ]
]
"""Some are the same text where their values are joined carelessly."""

KEYS: Final = {"materials": MATERIALS, "works": WORKS}


class Load(NamedTuple):
    """What a loader puts in a table's place: a bit for each of its rows."""

    same: int
    """Those that are there stay as they are."""
    other: int
    """Others of these become new ones."""
    tenant: str | None


keys = st.sampled_from([*MATERIALS, *WORKS])
tables = st.sampled_from([*TYPES])
places = st.integers(0, 19)
names = st.sampled_from(
    ["cement", "sand", "gravel  fine", "Ёлка", "cement M500", "a", "", "  ", None]
) | st.sampled_from([f"cement {POISON}", f"sand {ODD}"])
units = st.sampled_from(["kg", "m3", "", None])
owners = st.sampled_from([*TENANTS, *TENANTS, None])
loads = st.builds(Load, st.integers(0, 2**10 - 1), st.integers(0, 2**10 - 1), owners)
EVERYTHING: Final = frozenset((key, entity.name) for key in SCOPES for entity in ENTITIES)
scopes = st.sampled_from(SCOPES)
modes: st.SearchStrategy[SyncMode] = st.sampled_from(["full", "incremental"])
losses: st.SearchStrategy[Loss] = st.sampled_from(["removed", "outdated", "unable", "emptied"])
Disturbance = Literal["table replaced", "feed lost", "feed removed", "feed installed"]
disturbances: st.SearchStrategy[Disturbance] = st.sampled_from(
    ["table replaced", "table replaced", "feed lost", "feed removed", "feed installed"]
)
LOOKS: Final = ["feed.status", "feed.read", "source.open_snapshot", "feed.consume"]
"""Calls of a run that decide what the next one knows."""
looks = st.sampled_from(LOOKS)
moments = st.integers(1, 65)
"""A run with a little to do has about so many."""
late_writes = st.sampled_from(
    ["store.upsert", "state.record_synced", "store.write_payloads", "store.delete", "state.delete"]
)


@dataclass(frozen=True, slots=True)
class _OpenTransaction:
    key: Key
    row: Row
    loses_event: bool


class InstallationMachine(RuleBasedStateMachine):
    """One source, one index, one record of it; several tenants; anything may happen."""

    steps: ClassVar[int] = 0
    """Steps of all machines of this process."""
    events: ClassVar[dict[str, int]] = {}
    """How often what came of a step, for the report."""

    def __init__(self) -> None:
        super().__init__()
        feed = FakeChangeFeed()
        self.world = World(entities=ENTITIES, store=FussyStore(), feed=feed)
        self.world.embedder.poison = POISON
        self.world.set_options(
            upsert_batch_size=2,
            delete_batch_size=2,
            embed_chunk_size=2,
            part_rows=4,
            lease_ttl_seconds=LEASE_SECONDS,
            incremental_overlap_seconds=OVERLAP_SECONDS,
            cleanup=CleanupPolicy(max_deleted_fraction=0.3, min_deletions_guarded=2),
        )
        by_table = {entity.table: entity for entity in ENTITIES}
        self.tables = WatchedTables(self.world.source, feed, by_table)
        self.oracle = self.tables.oracle
        self.numbers = itertools.count(1)
        self.open_transactions: list[_OpenTransaction] = []
        self.running: list[tuple[Run, SteppedRun]] = []
        self.loads = 0
        self.older_index: Any = None
        self.cache_was_lost = False
        self.left_alone: dict[str, object] = {}
        """What is kept of entities that have left the settings, as it was when they did."""
        self.unsure: set[tuple[str, str]] = set(EVERYTHING)
        """Scopes and entities that an incremental sync need not get right: a full one has to come
        first, under settings that name the entity."""

    @initialize(rows=st.integers(0, 2**16), order=st.permutations(SCOPES), has_feed=st.booleans())
    def begin_with_rows(self, rows: int, order: list[str], *, has_feed: bool) -> None:
        """Some rows of each scope, synced once."""
        if has_feed:
            self.tables.install(ENTITIES)
        changes: dict[Key, Row | None] = {}
        for place in range(16):
            if rows >> place & 1:
                key = (MATERIALS if place % 3 else WORKS)[place % 10]
                owner = order[place % 4]
                values = {"name": f"stone {place}", "is_global": owner == "global"}
                tenant = "acme" if owner == "global" else owner
                changes[key] = self.row(key, tenant_id=tenant, **values)
        self.commit(changes)
        self.run_all(order, "full")

    # --- the source -------------------------------------------------------------------------

    def some_row(self, place: int, table: str | None = None) -> Key | None:
        """One that is there, of a table or of any; None where there is none."""
        known = sorted(key for key in self.oracle.rows if table in {None, key.table})
        return known[place % len(known)] if known else None

    def row(self, key: Key, **values: Any) -> Row:
        row = {
            "tenant_id": "acme",
            "is_global": False,
            "status": "active",
            "name": "cement",
            "unit": "kg",
            "price": 1,
        }
        row |= dict(zip(ID_COLUMNS[key.table], key.values, strict=True))
        row |= self.oracle.rows.get(key, {})
        return row | values | {"updated_at": self.world.source.now}

    def new_name(self) -> str:
        """A name that no row has had."""
        return f"stone that is new {next(self.numbers)}"

    def commit(self, changes: dict[Key, Row | None], **how: bool) -> None:
        self.tables.commit(changes, **how)

    @rule(key=keys, name=names, unit=units, tenant=owners, is_global=st.booleans())
    def insert_or_update(
        self, key: Key, name: str | None, unit: str | None, tenant: str | None, *, is_global: bool
    ) -> None:
        values = {"name": name, "unit": unit, "tenant_id": tenant, "is_global": is_global}
        self.commit({key: self.row(key, **values)})

    @rule(first=st.integers(0, 9), count=st.integers(2, 8), tenant=owners)
    def insert_many(self, first: int, count: int, tenant: str | None) -> None:
        rows = [MATERIALS[(first + place) % 10] for place in range(count)]
        values = {"tenant_id": tenant, "is_global": tenant is None}
        self.commit({key: self.row(key, name=f"stone {key.row_id}", **values) for key in rows})

    @rule(key=keys, name=names)
    def change_text(self, key: Key, name: str | None) -> None:
        if key in self.oracle.rows:
            self.commit({key: self.row(key, name=name)})

    def change_one_of(self, scope_key: str, place: int) -> None:
        """Change the text of a row that a scope owns, if it has one."""
        owned = sorted(key for key, row in self.oracle.rows.items() if owner_of(row) == scope_key)
        if owned:
            self.loads += 1
            key = owned[place % len(owned)]
            self.commit({key: self.row(key, name=f"meanwhile {self.loads}")})

    @rule(key=keys, price=st.integers(0, 3))
    def change_payload(self, key: Key, price: int) -> None:
        if key in self.oracle.rows:
            self.commit({key: self.row(key, price=price)})

    @rule(key=keys, tenant=owners)
    def move(self, key: Key, tenant: str | None) -> None:
        if key in self.oracle.rows:
            self.commit({key: self.row(key, tenant_id=tenant)})

    @rule(key=keys)
    def flip_global(self, key: Key) -> None:
        if key in self.oracle.rows:
            self.commit({key: self.row(key, is_global=not self.oracle.rows[key]["is_global"])})

    @rule(place=places, which=st.booleans(), is_timed=st.booleans(), is_synced=st.booleans())
    def begin_or_cease_to_count(
        self, place: int, *, which: bool, is_timed: bool, is_synced: bool
    ) -> None:
        """A condition that is met or not is noticed whatever the time of the row says."""
        key = self.some_row(place, "works")
        if key is None:
            return
        before = self.oracle.rows[key]
        counted = before["status"] in {"active", None}
        status = ("hidden", "retired")[which] if counted else ("active", None)[which]
        row = self.row(key, status=status)
        if not is_timed:
            row["updated_at"] = before["updated_at"]
        self.count("row that counts no more" if counted else "row that counts")
        self.commit({key: row})
        if is_synced:
            self.run_owner(key)

    @rule(key=keys)
    def delete(self, key: Key) -> None:
        self.commit({key: None})

    @rule(key=keys)
    def delete_and_insert_again(self, key: Key) -> None:
        if key in self.oracle.rows:
            row = self.row(key, name="again")
            self.commit({key: None})
            self.commit({key: row})

    @rule(tenant=st.sampled_from(TENANTS))
    def truncate(self, tenant: str) -> None:
        self.commit(
            {
                key: None
                for key, row in self.oracle.rows.items()
                if row["tenant_id"] == tenant and not row["is_global"]
            }
        )

    @rule(place=places, name=names, is_synced=st.booleans())
    def change_text_and_not_the_time(
        self, place: int, name: str | None, *, is_synced: bool
    ) -> None:
        """As somebody does who does not know of ``updated_at``: only a feed tells."""
        key = self.some_row(place)
        if key is not None:
            row = self.row(key, name=name) | {"updated_at": self.oracle.rows[key]["updated_at"]}
            self.count("change without time")
            self.commit({key: row}, is_timed=False)
            if is_synced:
                self.run_owner(key)

    @rule(table=tables, load=loads)
    def replace_a_table(self, table: str, load: Load) -> None:
        """TRUNCATE and INSERT in one transaction, as loaders do."""
        self.count("table replaced")
        self.tables.replace(table, self.loaded(table, load))

    def loaded(self, table: str, load: Load) -> dict[Key, Row]:
        """What a loader brings: some of the rows that are there, some others."""
        rows: dict[Key, Row] = {}
        self.loads += 1
        for place, key in enumerate(KEYS[table]):
            if load.same >> place & 1 and key in self.oracle.rows:
                rows[key] = self.row(key)
            elif load.other >> place & 1:
                owner = {"tenant_id": load.tenant, "is_global": load.tenant is None}
                rows[key] = self.row(key, name=f"load {self.loads}", status="active", **owner)
        return rows

    @rule(key=keys, name=names, tenant=owners, loses_event=st.booleans())
    def open_transaction(
        self, key: Key, name: str | None, tenant: str | None, *, loses_event: bool
    ) -> None:
        """Write with today's time, visible only at the commit."""
        if loses_event:
            self.tables.miss(TYPES[key.table])
            self.feed.is_losing = True
        row = self.row(key, name=name, tenant_id=tenant)
        self.open_transactions.append(_OpenTransaction(key, row, loses_event=loses_event))

    @precondition(lambda self: self.open_transactions)
    @rule()
    def commit_late(self) -> None:
        found = self.open_transactions.pop(0)
        self.feed.is_losing = any(left.loses_event for left in self.open_transactions)
        limit = self.world.source.now - timedelta(seconds=OVERLAP_SECONDS)
        is_timed = found.row["updated_at"] >= limit  # type: ignore[operator]  # times
        self.count("late commit" if is_timed else "commit too late for times")
        self.commit({found.key: found.row}, is_timed=is_timed, leaves_events=not found.loses_event)

    @rule(seconds=st.sampled_from([1, 100, 1000]))
    def let_time_pass(self, seconds: int) -> None:
        self.world.source.now += timedelta(seconds=seconds)
        self.world.clock.advance(seconds=seconds)

    # --- the feed ---------------------------------------------------------------------------

    @property
    def feed(self) -> FakeChangeFeed:
        return self.tables.feed

    @precondition(lambda self: not self.open_transactions)
    @rule()
    def install_the_feed(self) -> None:
        """Waits for whoever is writing the tables, as losing it does."""
        self.count("feed installed")
        self.tables.install(self.world.entities)

    @precondition(lambda self: not self.open_transactions)
    @rule(table=tables, how=losses)
    def lose_the_feed(self, table: str, how: Loss) -> None:
        if self.tables.is_fed(TYPES[table]):
            self.count(f"feed {how}")
            self.tables.lose(table, how)

    @rule(place=places, name=names, is_synced=st.booleans())
    def change_past_the_feed(self, place: int, name: str | None, *, is_synced: bool) -> None:
        """As a loader does that has triggers switched off for itself."""
        key = self.some_row(place)
        if key is not None and self.tables.is_fed(TYPES[key.table]):
            row = self.row(key, name=name) | {"updated_at": self.oracle.rows[key]["updated_at"]}
            self.count("change past the feed")
            self.tables.miss(TYPES[key.table])
            self.commit({key: row}, is_timed=False, leaves_events=False)
            if is_synced:
                self.run_owner(key)

    @rule()
    def follow_the_feed(self) -> None:
        """What ``watch`` does when it is woken: every scope of which events tell."""
        for scope in pending_scopes(self.world.sync, self.feed):
            self.count("followed")
            self.run(scope.key, "incremental")

    # --- what is lost -----------------------------------------------------------------------

    @rule(place=st.integers(0, 20))
    def lose_a_point(self, place: int) -> None:
        held = self.world.store._collections.get(self.world.collection)
        if held is not None and held.points:
            del held.points[sorted(held.points)[place % len(held.points)]]
        self.lost()

    @rule(what=st.sampled_from(["index", "alias", "state", "scopes", "cache", "generations"]))
    def lose(self, what: str) -> None:
        if what == "index":
            self.world.store.drop_collection(self.world.collection)
        elif what == "alias":
            self.world.store._aliases.clear()
        elif what == "state":
            self.world.state.documents.clear()
        elif what == "scopes":
            self.world.scopes.entities.clear()
        elif what == "cache":
            self.world.cache.vectors.clear()
            self.cache_was_lost = True
        else:
            self.world.generations.records.clear()
        self.lost()

    @rule(older_than=st.sampled_from([timedelta(0), timedelta(0), timedelta(days=30)]))
    def prune_the_cache(self, older_than: timedelta) -> None:
        """Runs that are under way lose nothing by it, see ``outage``."""
        try:
            report = prune_cache(self.world.sync, older_than=older_than)
        except PermanentError:
            self.count("prune refused")
        else:
            self.count("pruned" if report.deleted else "pruned nothing")

    @rule()
    def keep_the_index(self) -> None:
        store = self.world.store
        self.older_index = copy.deepcopy((store._collections, store._aliases))

    @precondition(lambda self: self.older_index is not None)
    @rule()
    def put_the_older_index_back(self) -> None:
        store = self.world.store
        store._collections, store._aliases = copy.deepcopy(self.older_index)
        self.lost()

    def pairs(self, key: str) -> set[tuple[str, str]]:
        """A scope with each entity of the settings."""
        return {(key, entity.name) for entity in self.world.entities}

    def is_unsure(self, key: str) -> bool:
        """Whether an incremental sync of a scope need not get it right."""
        return not self.unsure.isdisjoint(self.pairs(key))

    def lost(self) -> None:
        """Something that no run did has happened to what is kept."""
        self.unsure |= set(EVERYTHING)
        self.left_alone = self.of_others()

    # --- the settings -----------------------------------------------------------------------

    @rule(entities=st.sampled_from([ENTITIES, ENTITIES, (MATERIAL,), (WORK,)]))
    def edit_the_settings(self, entities: tuple[Entity, ...]) -> None:
        """An entity leaves, or comes back; a run that is under way keeps the settings it has."""
        if not self.running:
            self.count(f"{len(entities)} entities")
            self.world.entities = entities
            self.left_alone = self.of_others()

    def of_others(self) -> dict[str, object]:
        """All that is kept of entities which the settings do not name."""
        names = {entity.name for entity in self.world.entities}
        world = self.world
        return {
            "points": {
                name: (dict(point.payload), {v: a.tobytes() for v, a in point.vectors.items()})
                for name, point in world.points.items()
                if point.payload["type"] not in names
            },
            "records": [
                known for known in world.state.documents.values() if known.entity_type not in names
            ],
            "syncs": [known for key, known in world.scopes.entities.items() if key[2] not in names],
            "quarantine": {
                (key, row): found
                for key, listed in world.quarantine.rejections.items()
                for row, found in listed.items()
                if row[0] not in names
            },
        }

    # --- runs -------------------------------------------------------------------------------

    def start(self, key: str, mode: SyncMode = "full", fault: Fault | None = None) -> Run:
        run = Run(key=key, run_id=self.world.new_run_id(), mode=mode, fault=fault)
        run.has_lost_feed = mode == "incremental" and self.has_lost_feed(key)
        return run

    def full_syncs(self, key: str) -> dict[str, datetime]:
        """When each entity of the settings was last compared in full, as far as it was."""
        records = [
            self.world.scopes.entities.get((self.world.collection, key, entity.name))
            for entity in self.world.entities
        ]
        return {
            known.entity_type: known.last_full_at
            for known in records
            if known is not None and known.last_full_at is not None
        }

    def has_lost_feed(self, key: str) -> bool:
        """Whether events that a scope relied on may have got lost since."""
        known = self.full_syncs(key).items()
        return any(self.tables.is_lost(name, since=since) for name, since in known)

    def relies_on_feed(self, key: str) -> bool:
        """Whether each entity of a scope was last compared in full when it had a feed."""
        known = self.full_syncs(key)
        return len(known) == len(self.world.entities) and all(
            name in self.tables.looks[since].epochs for name, since in known.items()
        )

    def is_told(self, key: str) -> bool:
        """Whether an incremental sync can know of every change of a scope, or has to ask."""
        known = self.full_syncs(key).items()
        return all(self.tables.is_told(name, since=since) for name, since in known)

    def sync(self, run: Run, *, policy: CleanupPolicy | None = None) -> ScopeReport:
        """Take a whole run; wait for the lease of one that died."""
        context = context_of(run, world=self.world, tables=self.tables)
        if policy is not None:
            context = replace(context, options=replace(context.options, cleanup=policy))
        try:
            return self._sync(context, run)
        except ScopeBusyError:
            self.world.clock.advance(seconds=LEASE_SECONDS + 1)
            return self._sync(context, run)

    def _sync(self, context: SyncContext, run: Run) -> ScopeReport:
        scope = Scope.from_key(run.key)
        return sync_scope(context, scope=scope, run_id=run.run_id, mode=run.mode)

    def count(self, event: str) -> None:
        self.events[event] = self.events.get(event, 0) + 1

    @rule(key=scopes, mode=modes)
    def run(self, key: str, mode: SyncMode) -> None:
        self.is_accepted(key, mode)

    def is_accepted(self, key: str, mode: SyncMode) -> bool:
        """Sync a scope; whether it was not refused for what it would delete."""
        run = self.start(key, mode)
        is_quiet = mode == "incremental" and self.is_quiet(run)
        try:
            report = self.sync(run)
        except MassDeletionRefusedError as error:
            self.count("refused")
            assert not is_quiet
            if mode == "full":
                self.check_refusal(run, error)
            return False
        self.count(f"{mode} sync")
        if is_quiet:
            self.count("would have been left out")
            assert report.note is None
            assert not counts(report)
        if run.has_lost_feed:
            self.count("lost feed made good")
            assert report.note is not None
        elif mode == "incremental" and report.note is None:
            self.count("incremental sync that stayed one")
        self.check_success(run)
        return True

    def is_quiet(self, run: Run) -> bool:
        """Whether an incremental sync of all scopes would leave this one out."""
        context = context_of(run, world=self.world, tables=self.tables)
        return bool(quiet_scopes(context, scopes=[Scope.from_key(run.key)]))

    def run_owner(self, key: Key) -> None:
        """Sync the scope of a row, as soon as it has changed."""
        owner = owner_of(self.oracle.rows[key])
        if owner is not None:
            self.run(owner, "incremental")

    @rule(order=st.permutations(SCOPES), mode=modes)
    def run_all(self, order: list[str], mode: SyncMode) -> None:
        for key in order:
            self.run(key, mode)

    @rule(key=scopes)
    def run_twice(self, key: str) -> None:
        """The second run finds nothing to do."""
        if not self.succeeds(key):
            return
        refused = any(doc.is_refused for doc in self.wanted(key).values())
        before = self.world.everything()
        calls = self.start(key)

        report = self.sync(calls)

        self.count("second sync")
        assert report.new + report.changed == report.failed
        assert report.payload_changed + report.deleted + report.repaired == 0
        if not refused:
            assert self.world.everything() == before
            writes = {"store.upsert", "store.write_payloads", "store.delete", "embedder.embed"}
            assert not writes & calls.calls.keys()

    @rule(key=scopes, off_by=st.sampled_from([0, 0, 1, -1]))
    def approve_deletions(self, key: str, off_by: int) -> None:
        """An approval is good for exactly the number it names."""
        try:
            self.sync(self.start(key))
        except MassDeletionRefusedError as error:
            refused = error
        else:
            return
        policy = replace(
            self.world.options.cleanup, approved_deletions=max(1, refused.total + off_by)
        )
        run = self.start(key)
        is_right = policy.approved_deletions == refused.total
        try:
            self.sync(run, policy=policy)
        except MassDeletionRefusedError:
            assert not is_right
            self.count("wrong approval")
        else:
            assert is_right
            self.count("approved")
            self.check_success(run)

    @rule(key=scopes)
    def plan(self, key: str) -> None:
        """A plan writes nothing, and says what the sync then does."""
        before = self.world.everything()
        plan = plan_scope(self.world.sync, scope=Scope.from_key(key))
        assert self.world.everything() == before
        run = self.start(key)
        try:
            report = self.sync(run)
        except MassDeletionRefusedError:
            # A plan asks no model: what will be refused, it counts as written.
            has_refused = any(document.is_refused for document in self.wanted(key).values())
            assert has_refused or plan.blocked_by is not None
            return
        self.check_success(run)
        self.count("plan")
        assert plan.blocked_by is None
        assert (plan.new, plan.changed, plan.payload_changed, plan.unchanged) == (
            report.new,
            report.changed,
            report.payload_changed,
            report.unchanged,
        )

    @rule(key=scopes, table=tables, mode=modes)
    def see_nothing(self, key: str, table: str, mode: SyncMode) -> None:
        """A table that nobody holds still, such as a foreign one, is read while it is replaced.

        An entity that the scope had and that has no row now is not emptied. Tables that
        leave events are held still; should one of them be read so all the same, it is by a
        full sync.
        """
        entity = TYPES[table]
        if entity not in self.world.sync.entity_names:
            return
        mode = "full" if self.tables.is_fed(entity) else mode
        before = {name for name in self.points(key) if f"-{entity}-" in name}
        is_sure = mode == "full" or not self.is_unsure(key)
        run = self.start(key, mode)
        run.unseen = table
        try:
            self.sync(run)
        except MassDeletionRefusedError:
            self.count("refused to empty")
        else:
            assert not (before and is_sure)
            self.unsure |= self.pairs(key)
        if is_sure:
            assert before <= self.points(key).keys()

    # --- runs that go wrong -----------------------------------------------------------------

    def attempt(self, run: Run, work: Callable[[], object]) -> bool:
        """Do what may fail in the ways that a fault or a race explains; whether it did not."""
        try:
            work()
        except KilledError:
            self.count("killed")
        except TransientError as error:
            has_lost_a_vector = "left the embedding cache" in str(error)
            assert self.cache_was_lost or not has_lost_a_vector, "a prune took it from a run"
            self.count("outage")
        except SupersededError:
            self.count("superseded")
        except UnconfirmedSyncError:
            self.count("unconfirmed")
        except MassDeletionRefusedError:
            self.count("refused")
        else:
            self.count("went through")
            return True
        return False

    @rule(key=scopes, mode=modes, moment=moments)
    def be_killed(self, key: str, mode: SyncMode, moment: int) -> None:
        run = self.start(key, mode)
        run.fault = Fault(moment=moment, happen=run.die)
        self.attempt(run, lambda: self.sync(run))

    @rule(key=scopes, mode=modes, moment=moments)
    def meet_an_outage(self, key: str, mode: SyncMode, moment: int) -> None:
        def happen(place: str) -> None:
            raise outage(place)

        run = self.start(key, mode, Fault(moment=moment, happen=happen))
        self.attempt(run, lambda: self.sync(run))

    @rule(key=scopes, other=st.none() | scopes, moment=moments, change=keys, tenant=owners)
    def be_interrupted(
        self, *, key: str, other: str | None, moment: int, change: Key, tenant: str | None
    ) -> None:
        """In the middle of one run a row changes and another run comes and goes.

        Where both are of one scope, the first has been asleep for longer than its lease. Its
        snapshot is the older one: nothing it still does may undo what the other has done.
        """

        def between() -> Run:
            self.commit({change: self.row(change, tenant_id=tenant, name=self.new_name())})
            if other in {None, key}:
                self.world.clock.advance(seconds=LEASE_SECONDS + 1)
            return self.start(other or key)

        self.overtake(self.start(key), between, moment=moment)

    @rule(
        key=scopes,
        mode=modes,
        when=moments | looks,
        what=disturbances,
        table=tables,
        load=loads,
    )
    def be_disturbed(
        self,
        *,
        key: str,
        mode: SyncMode,
        when: int | str,
        what: Disturbance,
        table: str,
        load: Load,
    ) -> None:
        """In the middle of a run a table is replaced, or a feed comes or goes."""

        def happen(place: str) -> None:
            del place
            self.count(f"{what} beside a run")
            if what == "table replaced":
                self.tables.replace(table, self.loaded(table, load))
            elif what == "feed lost":
                self.change_past_the_feed(load.same, "past the feed", is_synced=False)
            elif what == "feed removed" and not self.open_transactions:
                self.lose_the_feed(table, "removed")
            elif not self.open_transactions:
                self.install_the_feed()

        self.disturb(self.start(key, mode), fault_at(when, happen))

    @rule(key=scopes, mode=modes, when=moments | looks, places=st.tuples(places, places))
    def be_told_meanwhile(
        self, *, key: str, mode: SyncMode, when: int | str, places: tuple[int, int]
    ) -> None:
        """While a run sees to one change of its scope, there is another one."""

        def happen(place: str) -> None:
            is_between = self.relies_on_feed(key) and place in LOOKS
            self.count("change between two looks" if is_between else "change beside a run")
            self.change_one_of(key, places[1])

        if not self.open_transactions:
            self.install_the_feed()
        if self.is_unsure(key) or self.has_lost_feed(key) or not self.relies_on_feed(key):
            self.run(key, "full")
        self.change_one_of(key, places[0])
        self.disturb(self.start(key, mode), fault_at(when, happen))

    def disturb(self, run: Run, fault: Fault) -> None:
        """Have something happen in the middle of a run; the next one has to know of it."""
        run.fault = fault
        self.attempt(run, lambda: self.sync(run))
        self.run(run.key, "incremental")

    @rule(key=scopes, change=keys, place=late_writes, returns=st.booleans())
    def oversleep(self, *, key: str, change: Key, place: str, returns: bool) -> None:
        """Between its look at the lease and a write, a run sleeps for longer than the lease.

        Meanwhile the row that it is about to write or to delete becomes another one, and
        another run of the scope comes and goes. The late write must undo nothing of it.
        Or the row returns to what it was, so that no newer write stands against the late one:
        then the next sync has to know that it may not take the record's word.
        """
        owner = {"tenant_id": "acme" if key == "global" else key, "is_global": key == "global"}
        before = self.oracle.rows.get(change)
        self.commit({change: self.row(change, **owner, name=self.new_name(), price=1)})
        if place not in {"store.upsert", "state.record_synced"} and not self.succeeds(key):
            return
        if place == "store.write_payloads":
            self.commit({change: self.row(change, price=2)})
        elif place.endswith("delete"):
            self.commit({change: None})

        def between() -> Run:
            self.world.clock.advance(seconds=LEASE_SECONDS + 1)
            if not returns:
                row = self.row(change, **owner, name=self.new_name(), price=3)
            elif before is not None:
                row = before | {"updated_at": self.world.source.now}
            else:
                row = None
            self.commit({change: row})
            return self.start(key)

        run = self.start(key)
        if self.overtake(run, between, may_undo=returns, place=place):
            self.count("overslept, the row as before" if returns else "overslept")
            if returns and not self.is_accepted(key, "incremental"):
                return
            if not any(document.is_refused for document in self.wanted(key).values()):
                assert self.world.is_clean(key)

    def overtake(
        self, run: Run, between: Callable[[], Run], *, may_undo: bool = False, **when: Any
    ) -> bool:
        """Have another run come and go in the middle of one, which must undo nothing of it.

        Args:
            run: The one that is overtaken.
            between: Changes what is to be changed meanwhile; the other run.
            may_undo: Whether it may undo something after all, for the next run to make good.
            when: Moment or place, as ``Fault`` has them.

        Returns:
            Whether the other run went through.
        """
        overtakers: list[Run] = []

        def happen(place: str) -> None:
            del place
            run.is_alone = False
            other = between()
            if self.attempt(other, lambda: self.sync(other)):
                overtakers.append(other)
                self.check_success(other)

        run.fault = Fault(happen=happen, **when)
        self.attempt(run, lambda: self.sync(run))
        for other in [] if may_undo else overtakers:
            if other.key == run.key and self.has_noted_a_late_write(run.key):
                # A point that the other had no need of may be back, for no newer one was there.
                self.check_success(other, may_have_more=True)
                self.count("late write noted")
                if not self.is_accepted(run.key, "incremental"):
                    continue
            self.check_success(other)
        return bool(overtakers)

    def has_noted_a_late_write(self, key: str) -> bool:
        """Whether a run says that it wrote after another one had taken its scope."""
        scope = Scope.from_key(key)
        recorded = self.world.sync.scopes.list_entities(scopes=[scope])
        return any(entity.writing_token is not None for entity in recorded)

    @precondition(lambda self: len(self.running) < 3)
    @rule(key=scopes, mode=modes)
    def begin_in_steps(self, key: str, mode: SyncMode) -> None:
        run = self.start(key, mode)
        context = context_of(run, world=self.world, tables=self.tables)
        stepped = SteppedRun(context, scope_key=key, run_id=run.run_id, mode=mode)
        self.running.append((run, stepped))

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 2), steps=st.integers(1, 4))
    def take_steps(self, which: int, steps: int) -> None:
        run, stepped = self.running[which % len(self.running)]
        for _ in range(steps):
            if not stepped.is_done:
                self.attempt(run, stepped.step)
        if stepped.is_done:
            self.running.remove((run, stepped))
            self.count("stepped sync")

    # --- what must hold ---------------------------------------------------------------------

    def wanted(self, key: str) -> dict[str, Any]:
        found = documents(self.oracle.rows, scope_key=key)
        return {name: document for name, document in found.items() if self.is_named(name)}

    def is_named(self, document_id: str) -> bool:
        """Whether the settings name the document's entity."""
        return document_id.split("-")[1] in {entity.name for entity in self.world.entities}

    def points(self, key: str) -> dict[str, Any]:
        """Points of a scope that the settings are about, by document id."""
        return {
            name: point
            for name, point in self.world.points.items()
            if point.payload["scope_key"] == key and self.is_named(name)
        }

    def succeeds(self, key: str) -> bool:
        run = self.start(key)
        try:
            self.sync(run)
        except MassDeletionRefusedError:
            return False
        self.check_success(run)
        return True

    def check_success(self, run: Run, *, may_have_more: bool = False) -> None:
        """After a run that reports success the scope is exactly what the rows say.

        Args:
            run: That succeeded.
            may_have_more: Whether points without a row may be there, which the next run removes.
        """
        if run.mode == "incremental" and not run.has_lost_feed:
            if self.is_unsure(run.key) or not self.is_told(run.key):
                self.count("not told of")
                return
        else:
            self.unsure -= self.pairs(run.key)
        wanted, points = self.wanted(run.key), self.points(run.key)
        must = {name for name, document in wanted.items() if not document.is_refused}
        assert must <= points.keys()
        assert may_have_more or points.keys() <= wanted.keys()
        for name in must:
            payload, document = points[name].payload, wanted[name]
            found = (payload["text"], payload["unit"], payload.get("price"))
            assert found == (document.text, document.unit, document.price)
            for vector in points[name].vectors.values():
                assert np.array_equal(vector, self.world.embedder.vector(document.text))

    def check_refusal(self, run: Run, error: MassDeletionRefusedError) -> None:
        """A refused run has written everything and deleted nothing, and was right to refuse."""
        wanted = self.wanted(run.key)
        must = {name for name, document in wanted.items() if not document.is_refused}
        points = set(self.points(run.key))
        stale = points - wanted.keys()
        assert must <= points
        assert len(stale) == error.total
        kind = f"-{error.entity_type}-"
        stale = {name for name in stale if kind in name}
        points = {name for name in points if kind in name}
        assert (len(stale), len(points)) == (error.stale, error.indexed)
        assert len(stale) > max(2, int(len(points) * 0.3)) or stale == points

    @rule(tenant=st.sampled_from(TENANTS))
    def search(self, tenant: str) -> None:
        """A tenant sees its own documents and global ones."""
        if self.world.store._aliases:
            for name in self.world.found(tenant, "cement sand stone"):
                scope_key = self.world.points[name].payload["scope_key"]
                assert scope_key in {"global", tenant}
                assert self.is_named(name)

    @invariant()
    def what_the_settings_do_not_name_is_left_alone(self) -> None:
        if len(self.world.entities) < len(ENTITIES):
            assert self.of_others() == self.left_alone

    @invariant()
    def every_point_belongs_where_it_is(self) -> None:
        type(self).steps += 1
        for name, point in self.world.points.items():
            payload = point.payload
            key = str(payload["scope_key"])
            assert (key, name, payload["text"]) in self.oracle.ever
            assert payload["tenantId"] == (None if key == "global" else key)
            assert payload["isGlobal"] == (key == "global")

    def teardown(self) -> None:
        """However it was left, it converges: one clean run of each scope, then nothing to do."""
        self.running.clear()
        self.world.entities = ENTITIES
        self.world.clock.advance(seconds=LEASE_SECONDS + 1)
        for key in SCOPES:
            run = self.start(key)
            self.sync(run, policy=UNGUARDED)
            self.check_success(run)
        for key in SCOPES:
            run = self.start(key)
            report = self.sync(run, policy=UNGUARDED)
            self.check_success(run)
            assert report.payload_changed + report.repaired == 0
            if not any(document.is_refused for document in self.wanted(key).values()):
                assert self.world.is_clean(key)
