"""A state machine of model changes: begin, fill, switch, roll back, drop, crash at every point."""

from __future__ import annotations

import os
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.errors import (
    ConfigurationError,
)
from sync_pipeline.core.reports import SyncMode
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.engine.steps import embed, export, upsert
from sync_pipeline.engine.switching import (
    drop,
    drop_expired,
    go_back,
    go_live,
    go_live_when_filled,
)
from sync_pipeline_tests.engine.world import UNGUARDED, World
from sync_pipeline_tests.fakes.feed import FakeChangeFeed
from sync_pipeline_tests.fakes.watched import When, watch_context
from sync_pipeline_tests.reliability.test_state_machine import in_turn, record_at_once

EXAMPLES: Final = int(os.environ.get("SYNC_PIPELINE_CHAOS", "0")) * 20 or 20
SCOPES: Final = ("global", "acme", "globex")
MODELS: Final = ("fake-embedder", "second", "third")
LEASE_SECONDS: Final = 60

scopes = st.sampled_from(SCOPES)
models = st.sampled_from(MODELS)
modes: st.SearchStrategy[SyncMode] = st.sampled_from(["full", "incremental"])
rows = st.integers(0, 7)


class KilledError(BaseException):
    """The process is gone."""


class GenerationMachine(RuleBasedStateMachine):
    """Rows of three scopes, three models, and whatever an operator or a crash may do."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.feed = FakeChangeFeed()
        self.world.feed = self.feed
        self.world.set_options(
            cleanup=UNGUARDED, upsert_batch_size=2, delete_batch_size=2, part_rows=4
        )
        self.ever: set[tuple[str, str]] = set()
        """Scope key and text of every document that there ever was."""
        self.versions = 0

    @initialize(has_feed=st.booleans())
    def begin(self, *, has_feed: bool) -> None:
        if has_feed:
            self.feed.install(self.world.entities)
        for row in range(6):
            self.put(row, SCOPES[row % 3])
        self.sync_all()

    # --- rows ---------------------------------------------------------------------------

    def known(self) -> dict[str, Any]:
        return {str(row["id"]): row for row in self.world.source.tables["materials"]}

    def owner(self, row_id: str) -> str | None:
        row = self.known().get(row_id)
        if row is None:
            return None
        return "global" if row["is_global"] else str(row["tenant_id"])

    def tell(self, row_id: str, before: str | None) -> None:
        after = self.owner(row_id)
        operation = (
            Operation.UPDATE
            if before and after
            else (Operation.INSERT if after else Operation.DELETE)
        )
        self.feed.record(operation, entity_type="material", db_id=row_id, old=before, new=after)

    @rule(row=rows, scope=scopes)
    def put(self, row: int, scope: str) -> None:
        before = self.owner(str(row))
        self.versions += 1
        name = f"stone {row} of {self.versions}"
        is_global = scope == "global"
        self.world.put(
            str(row), name=name, is_global=is_global, tenant_id=None if is_global else scope
        )
        self.ever.add((scope, f"{name} kg"))
        self.tell(str(row), before)

    @rule(row=rows)
    def delete(self, row: int) -> None:
        before = self.owner(str(row))
        if before is not None and len(self.known()) > 1:
            self.world.remove(str(row))
            self.tell(str(row), before)

    # --- syncs --------------------------------------------------------------------------

    @rule(scope=scopes, mode=modes)
    def sync(self, scope: str, mode: SyncMode) -> None:
        self.world.run(scope, mode=mode)
        go_live_when_filled(self.world.sync)

    @rule()
    def sync_all(self) -> None:
        for scope in SCOPES:
            self.sync(scope, "full")
        for scope in SCOPES:
            # What moved while the others were synced is in its last scope now.
            self.sync(scope, "full")
        serving = str(self.world.serves)
        assert self.held(serving) == self.expected()
        for record in self.world.generations.list_all(alias="documents"):
            is_kept = record.served_at is not None or record.collection == self.world.collection
            if is_kept and record.collection in self.world.store.list_collections():
                assert self.held(record.collection) == self.expected(), record.model_id

    @rule(scope=scopes, mode=modes, moment=st.integers(1, 160))
    def sync_and_be_killed(self, scope: str, mode: SyncMode, moment: int) -> None:
        self.killed_at(moment, lambda sync: self.world.run(scope, sync=sync, mode=mode))

    # --- generations --------------------------------------------------------------------

    @rule(model=models)
    def change_the_model(self, model: str) -> None:
        self.world.use_model(model)

    @rule()
    def switch(self) -> None:
        before = self.world.serves
        switched = go_live(self.world.sync)
        assert switched.serves == self.world.serves
        if switched.reason is not None:
            assert self.world.serves == before

    @rule(moment=st.integers(1, 60))
    def switch_and_be_killed(self, moment: int) -> None:
        self.killed_at(moment, go_live)

    @rule()
    def roll_back(self) -> None:
        try:
            record, _ = go_back(self.world.sync)
        except ConfigurationError:
            return
        assert self.world.serves == record.collection

    @rule(place=st.integers(0, 3), moment=st.integers(0, 12))
    def drop_one(self, place: int, moment: int) -> None:
        records = self.world.generations.list_all(alias="documents")
        record = records[place % len(records)]
        if record.collection == self.world.serves:
            return
        self.killed_at(moment, lambda sync: drop(sync, collection=record.collection))

    @rule()
    def let_the_time_of_grace_pass(self) -> None:
        self.world.clock.advance(seconds=self.world.options.keep_generations_seconds + 1)
        drop_expired(self.world.sync)
        assert len(self.world.generations.list_all(alias="documents")) <= 2

    def killed_at(self, moment: int, work: Any) -> None:
        """Do something that dies at its n-th call of a port, if it has so many; 0 never dies."""
        calls = 0

        def die(called: str, when: When) -> None:
            nonlocal calls
            del called, when
            calls += 1
            if calls == moment:
                raise KilledError

        try:
            work(watch_context(self.world.sync, die))
        except KilledError:
            self.world.clock.advance(seconds=LEASE_SECONDS + 1)

    # --- what always holds --------------------------------------------------------------

    def held(self, collection: str) -> set[tuple[str, str]]:
        points = self.world.store.points(collection).values()
        return {(str(it.payload["scope_key"]), str(it.payload["text"])) for it in points}

    def expected(self) -> set[tuple[str, str]]:
        return {
            (str(self.owner(row_id)), f"{row['name']} kg") for row_id, row in self.known().items()
        }

    @invariant()
    def searches_are_answered_from_one_whole_generation(self) -> None:
        if self.world.serves is None:
            return
        for scope in SCOPES:
            found = search(
                self.world.sync,
                scope=Scope.from_key(scope),
                request=SearchRequest(text="stone", limit=100),
            )
            for hit in found.hits:
                key = str(hit.payload["scope_key"])
                assert key in {"global", scope}
                assert (key, hit.text) in self.ever

    @precondition(lambda self: self.world.serves is not None)
    @invariant()
    def one_generation_at_most_is_recorded_as_serving(self) -> None:
        records = self.world.generations.list_all(alias="documents")
        assert sum(record.is_serving for record in records) <= 1
        assert self.world.serves in self.world.store.list_collections()


@pytest.mark.timeout(900)
def test_s20_whatever_happens_around_model_changes_no_promise_is_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """S19: nor does a vector of one model ever answer for another."""
    for module in (export, embed, upsert):
        monkeypatch.setattr(module, "read_ahead", in_turn, raising=False)
        monkeypatch.setattr(module, "record_behind", record_at_once, raising=False)
    run_state_machine_as_test(
        GenerationMachine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=20,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
