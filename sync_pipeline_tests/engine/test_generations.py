"""A new model, beside the one that serves: filled, gone live, gone back from, dropped."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sync_pipeline.core.changes import Operation
from sync_pipeline.core.embedded import Embedded
from sync_pipeline.core.errors import (
    ConfigurationError,
    IndexMismatchError,
    OutOfStepError,
    TransientError,
)
from sync_pipeline.core.gate import GatePolicy
from sync_pipeline.core.scope import Scope
from sync_pipeline.engine.questions.search import SearchRequest, search
from sync_pipeline.engine.records import in_step_to, read_records
from sync_pipeline.engine.switching import (
    drop,
    go_back,
    go_live,
    go_live_when_filled,
    plan_expiry,
)
from sync_pipeline_tests.engine.world import UNGUARDED, World
from sync_pipeline_tests.fakes.embedder import POISON, FakeEmbedder
from sync_pipeline_tests.fakes.feed import FakeChangeFeed
from sync_pipeline_tests.fakes.watched import When, watch_context

ACME = Scope("acme")


@pytest.fixture
def changed() -> World:
    """Synced with one model; the settings name another one now."""
    world = World()
    world.put_many("1", "2", "3")
    world.put_many("7", "8", tenant_id="globex")
    world.put("9", tenant_id=None, is_global=True)
    world.run_all()
    world.use_model("better")
    return world


def fill(world: World) -> None:
    """Sync every scope in the generation of the settings, and what comes after each."""
    for scope in world.source.list_scopes(world.entities):
        world.run(scope.key)
        go_live_when_filled(world.sync)


def fill_without_going_live(world: World) -> None:
    for scope in world.source.list_scopes(world.entities):
        world.run(scope.key)


def installed_feed(world: World) -> FakeChangeFeed:
    world.feed = FakeChangeFeed()
    world.feed.install(world.entities)
    return world.feed


def change(world: World, row_id: str) -> None:
    """Add a row that only its event tells of."""
    assert isinstance(world.feed, FakeChangeFeed)
    row = world.put(row_id)
    row["updated_at"] = world.source.now - timedelta(days=300)
    world.feed.record(Operation.INSERT, entity_type="material", db_id=row_id, old=None, new="acme")


def ids_in(world: World, collection: str, key: str = "acme") -> list[str]:
    held = world.store.points(collection).values()
    return sorted(str(it.payload["dbId"]) for it in held if it.payload["scope_key"] == key)


def test_the_old_generation_serves_until_the_new_one_is_filled(changed: World) -> None:
    old = changed.serves

    changed.run("global")
    changed.run("acme")

    assert go_live_when_filled(changed.sync) is None
    assert changed.serves == old
    assert changed.found("acme") != []
    assert changed.collection != old


def test_it_goes_live_once_every_scope_is_filled(changed: World) -> None:
    old = changed.serves
    before = sorted(changed.found("acme"))

    fill(changed)

    assert changed.serves == changed.collection != old
    assert sorted(changed.found("acme")) == before
    assert changed.is_clean("acme")
    records = {it.collection: it for it in changed.generations.list_all(alias="documents")}
    assert records[changed.collection].is_serving
    assert records[str(old)].retired_at is not None


def test_searches_are_embedded_by_the_model_of_the_generation_that_serves(changed: World) -> None:
    new, old = changed.embedder, changed.models["fake-embedder"]
    asked = len(old.queries), len(new.queries)

    changed.found("acme")
    before = len(old.queries) - asked[0], len(new.queries) - asked[1]
    fill(changed)
    changed.found("acme")

    assert before == (1, 0)
    assert len(new.queries) - asked[1] == 1
    assert len(old.queries) - asked[0] == 1


def test_the_one_that_serves_follows_changes_while_the_new_one_is_filled(changed: World) -> None:
    old = str(changed.serves)
    changed.run("global")
    changed.put("4")
    changed.remove("1")

    changed.run("acme")

    assert ids_in(changed, old) == ids_in(changed, changed.collection) == ["2", "3", "4"]
    assert "tenant-material-4" in changed.found("acme")
    assert "tenant-material-1" not in changed.found("acme")


def test_what_served_before_follows_too_and_going_back_loses_and_resurrects_nothing(
    changed: World,
) -> None:
    old = str(changed.serves)
    fill(changed)
    new = changed.collection
    changed.put("4")
    changed.remove("1")
    changed.run("acme")

    back, in_step_to = go_back(changed.sync)

    assert changed.serves == back.collection == old
    assert in_step_to is not None
    assert sorted(changed.found("acme")) == sorted(
        [f"tenant-material-{row}" for row in "234"] + ["global-material-9"]
    )
    assert ids_in(changed, new) == ["2", "3", "4"]


def test_after_going_back_nothing_goes_live_by_itself(changed: World) -> None:
    old = changed.serves
    fill(changed)
    go_back(changed.sync)

    fill(changed)

    assert changed.serves == old
    assert go_live(changed.sync).went_live
    assert changed.serves == changed.collection


def test_there_is_nothing_to_go_back_to_at_first() -> None:
    world = World()
    world.put("1")
    world.run()

    with pytest.raises(ConfigurationError, match="no generation to go back to"):
        go_back(world.sync)


def test_a_text_is_embedded_once_per_model(changed: World) -> None:
    fill(changed)
    embedded = len(changed.embedder.embedded), len(changed.models["fake-embedder"].embedded)

    fill(changed)
    go_back(changed.sync)
    fill(changed)

    assert (
        len(changed.embedder.embedded),
        len(changed.models["fake-embedder"].embedded),
    ) == embedded


def test_dropping_removes_points_and_records_and_spares_the_other(changed: World) -> None:
    old = str(changed.serves)
    fill(changed)
    kept = changed.everything()["points"]

    gone = drop(changed.sync, collection=old)

    assert gone.documents == 6
    assert changed.store.list_collections() == [changed.collection]
    assert {collection for collection, _ in changed.state.documents} == {changed.collection}
    assert changed.sync.collection(old).records.scopes.list_all() == []
    assert changed.generations.describe(old) is None
    assert changed.everything()["points"] == kept
    assert changed.run("acme").status == "success"


def test_what_serves_is_never_dropped(changed: World) -> None:
    with pytest.raises(ConfigurationError, match="nothing was dropped"):
        drop(changed.sync, collection=str(changed.serves))
    with pytest.raises(ConfigurationError, match="there is no generation 'documents_unknown'"):
        drop(changed.sync, collection="documents_unknown")


def test_a_generation_that_is_dropped_while_it_is_kept_in_step_is_no_error(changed: World) -> None:
    old = str(changed.serves)
    fill(changed)
    changed.put("4")

    def drop_it(called: str, when: When) -> None:
        if called == "source.open_snapshot" and when == "before" and old in collections():
            changed.store.drop_collection(old)

    def collections() -> list[str]:
        return changed.store.list_collections()

    report = changed.run(sync=watch_context(changed.sync, drop_it))

    assert report.status == "success"
    assert ids_in(changed, changed.collection) == ["1", "2", "3", "4"]


def test_a_scope_that_is_not_filled_holds_it_back_and_says_so(changed: World) -> None:
    changed.run("global")
    changed.run("acme")

    switched = go_live(changed.sync)

    assert not switched.went_live
    assert switched.reason is not None
    assert switched.reason.startswith("1 of 3 scopes are not filled: globex")
    assert changed.generations.records[changed.collection].refusal is None
    changed.run("globex")
    went_live = go_live_when_filled(changed.sync)
    assert went_live is not None
    assert went_live.went_live


def test_a_tenant_that_is_nowhere_synced_yet_is_waited_for(changed: World) -> None:
    changed.put("n1", tenant_id="newcomer")
    for key in ("global", "acme", "globex"):
        changed.run(key)
        assert go_live_when_filled(changed.sync) is None

    changed.run("newcomer")
    went_live = go_live_when_filled(changed.sync)

    assert went_live is not None
    assert went_live.went_live


def test_documents_that_would_vanish_hold_it_back(changed: World) -> None:
    changed.put_many(*(f"m{number}" for number in range(40)))
    old_model = changed.embedder
    changed.use_model("fake-embedder")
    changed.run("acme")
    changed.embedder = old_model
    for key in ("global", "acme", "globex"):
        changed.run(key)
    # As if its points had been lost after it was filled.
    with changed.sync.index() as index:
        ids = [point.point_id for point in changed.points.values()][:30]
        index.delete(ids, scope_key="acme")

    switched = go_live(changed.sync)

    assert switched.reason is not None
    assert "would vanish from searches" in switched.reason
    assert changed.serves != changed.collection


def test_rows_that_move_all_the_time_do_not_hold_it_back(changed: World) -> None:
    """What serves has them in their old scope too."""
    fill_without_going_live(changed)
    changed.put("1", tenant_id="globex")

    switched = go_live(changed.sync)

    assert (switched.went_live, switched.reason) == (True, None)


def test_a_document_that_is_in_a_wrong_scope_in_it_alone_holds_it_back(changed: World) -> None:
    fill_without_going_live(changed)
    held = changed.store.points(changed.collection).values()
    point = next(it for it in held if it.payload["dbId"] == "1")
    moved = replace(point, payload={**point.payload, "scope_key": "globex"})
    changed.store.upsert(changed.collection, [moved])

    switched = go_live(changed.sync)

    assert switched.reason is not None
    assert "scope 'acme' does not verify (0 missing, 0 extra, 1 of another scope" in switched.reason
    assert changed.serves != changed.collection


def test_entities_that_the_settings_lack_hold_it_back(changed: World) -> None:
    changed.use_model("fake-embedder")
    changed.put("w1", table="works")
    changed.run("acme")
    changed.use_model("better")
    changed.entities = changed.entities[:1]

    fill(changed)

    assert changed.serves != changed.collection
    refusal = changed.generations.records[changed.collection].refusal
    assert refusal is not None
    assert "1 of work" in refusal


def test_a_collection_that_finds_nothing_is_held_back(changed: World) -> None:
    changed.store.finds_nothing_in.add(changed.collection)

    fill(changed)

    assert changed.serves != changed.collection
    refusal = changed.generations.records[changed.collection].refusal
    assert refusal is not None
    assert refusal.startswith("view 'text' finds 0 of 6 known documents by their own text")


def test_after_a_refusal_only_somebody_tries_again(changed: World) -> None:
    changed.store.finds_nothing_in.add(changed.collection)
    fill(changed)
    changed.store.finds_nothing_in.clear()

    fill(changed)
    by_itself = changed.serves
    by_hand = go_live(changed.sync)

    assert by_itself != changed.collection
    assert by_hand.went_live
    assert changed.generations.records[changed.collection].refusal is None


def test_an_alias_of_somebody_else_is_left_alone(changed: World) -> None:
    changed.generations.records.clear()

    with pytest.raises(IndexMismatchError, match="was built with other settings"):
        changed.run("acme")
    with pytest.raises(IndexMismatchError):
        go_live(changed.sync)


def test_one_that_nobody_can_open_is_replaced_all_the_same(changed: World) -> None:
    old = changed.serves
    changed.models.pop("fake-embedder")

    with pytest.raises(IndexMismatchError, match="was built with model fake-embedder"):
        changed.found("acme")
    fill(changed)

    assert changed.serves == changed.collection != old
    assert changed.found("acme") != []


def test_one_that_cannot_be_kept_in_step_is_told_and_the_new_one_filled(changed: World) -> None:
    changed.put("4", name=f"cement {POISON}")
    broken = changed.models["fake-embedder"]
    broken.failures = {call: ConfigurationError("no key") for call in range(1, 1000)}

    with pytest.raises(OutOfStepError, match=r"is in step in .* but .* is not in step: no key"):
        changed.run("acme")

    assert ids_in(changed, changed.collection) == ["1", "2", "3"]


def test_events_wait_until_every_generation_has_answered_them(changed: World) -> None:
    feed = installed_feed(changed)
    fill_without_going_live(changed)
    change(changed, "4")
    pending = len(feed.read(ACME).event_ids)
    broken = changed.models["fake-embedder"]
    failing = broken.failures
    broken.failures = {call: ConfigurationError("no key") for call in range(1, 1000)}

    with pytest.raises(OutOfStepError):
        changed.run("acme", mode="incremental")
    waiting = len(feed.read(ACME).event_ids)
    broken.failures = failing
    changed.run("acme", mode="incremental")

    assert (pending, waiting, len(feed.read(ACME).event_ids)) == (1, 1, 0)
    assert ids_in(changed, str(changed.serves)) == ids_in(changed, changed.collection)


def test_one_that_was_passed_by_compares_everything_when_it_is_wanted_again(
    changed: World,
) -> None:
    installed_feed(changed)
    fill(changed)
    changed.use_model("third")
    changed.run("acme")
    third = changed.collection
    changed.use_model("better")
    change(changed, "4")
    changed.run("acme", mode="incremental")
    changed.use_model("third")

    report = changed.run("acme", mode="incremental")

    assert report.note is not None
    assert "compared in full" in report.note
    assert ids_in(changed, third) == ["1", "2", "3", "4"]


def test_a_crash_between_the_alias_and_its_record_is_mended_by_the_next_sync(
    changed: World,
) -> None:
    fill_without_going_live(changed)

    def crash(called: str, when: When) -> None:
        if called == "generations.note_serving" and when == "before":
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        go_live(watch_context(changed.sync, crash))
    assert changed.serves == changed.collection
    assert not changed.generations.records[changed.collection].is_serving

    changed.run("acme")

    serving = [it.collection for it in changed.generations.records.values() if it.is_serving]
    assert serving == [changed.collection]


def test_deletions_are_guarded_while_two_generations_are_kept(changed: World) -> None:
    changed.put_many(*(f"m{number}" for number in range(60)))
    changed.run("acme")
    changed.source.tables["materials"] = changed.source.tables["materials"][:2]

    with pytest.raises(Exception, match="refused to delete"):
        changed.run("acme")
    held = ids_in(changed, str(changed.serves))
    changed.set_options(cleanup=UNGUARDED)
    changed.run("acme")

    assert len(held) == 63
    assert ids_in(changed, str(changed.serves)) == ids_in(changed, changed.collection)


def test_a_generation_expires_once_its_time_is_over(changed: World) -> None:
    old = str(changed.serves)
    fill(changed)
    records = changed.generations.list_all(alias="documents")
    now = max(it.retired_at for it in records if it.retired_at is not None)

    def expired(after: timedelta) -> list[str]:
        return plan_expiry(records, wanted=changed.collection, keep_seconds=3600, now=now + after)

    assert expired(timedelta(minutes=59)) == []
    assert expired(timedelta(minutes=61)) == [old]
    never_finished = replace(records[0], served_at=None, retired_at=None)
    assert plan_expiry(
        [never_finished], wanted="another", keep_seconds=3600, now=now + timedelta(days=3650)
    ) == [never_finished.collection]


def test_an_answer_of_a_search_survives_a_switch_and_a_drop_in_the_middle(changed: World) -> None:
    old = str(changed.serves)
    fill_without_going_live(changed)

    def switch(called: str, when: When) -> None:
        if called == "embedder.embed_queries" and when == "after" and changed.serves == old:
            go_live(changed.sync)
            drop(changed.sync, collection=old)

    watched = watch_context(changed.sync, switch)

    found = search(watched, scope=ACME, request=SearchRequest(text="cement"))

    assert len(found.hits) == 4


def test_a_model_that_could_not_be_compared_writes_nothing_and_searches_go_on(
    changed: World,
) -> None:
    unsettled = replace(changed.sync, unsettled=TransientError("the provider is away"))
    before = changed.everything()

    with pytest.raises(TransientError, match="the provider is away"):
        changed.run("acme", sync=unsettled)

    assert changed.everything() == before
    assert changed.store.list_collections() == [changed.serves]
    assert changed.found("acme") != []


class LostQueries(FakeEmbedder):
    """Documents as they should be; every search text gets the vector of another one."""

    def embed_queries(self, texts: Sequence[str]) -> Embedded:
        return super().embed_queries([f"something else than {text}" for text in texts])


def label(folder: Path, texts: dict[str, str]) -> Path:
    """Labelled queries: the text of each row, of which it is the only right answer."""
    path = folder / "queries.jsonl"
    lines = [
        {"query": text, "scope": "acme", "relevant": {f"tenant-material-{row_id}": 3}}
        for row_id, text in texts.items()
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_one_that_answers_labelled_queries_worse_is_held_back(
    changed: World, tmp_path: Path
) -> None:
    # All of the same words: only their meaning tells them apart.
    texts = {
        f"p{number}": " ".join(words)
        for number, words in enumerate(itertools.permutations(["oak", "ash", "elm", "yew"]))
    }
    changed.use_model("fake-embedder")
    for row_id, text in texts.items():
        changed.put(row_id, name=text)
    changed.run("acme")
    queries = {row_id: f"{text} kg" for row_id, text in texts.items()}
    changed.set_options(gate=GatePolicy(queries=label(tmp_path, queries)))
    changed.models["lost"] = LostQueries(model_id="lost")
    changed.use_model("lost")

    fill(changed)
    refusal = changed.generations.records[changed.collection].refusal
    changed.use_model("better")
    fill(changed)

    assert refusal is not None
    assert refusal.startswith("it answers 24 labelled queries worse: nDCG@10 0.")
    assert "instead of 1.000" in refusal
    assert changed.serves == changed.collection


def test_labelled_queries_that_cannot_be_read_hold_it_back(changed: World, tmp_path: Path) -> None:
    changed.set_options(gate=GatePolicy(queries=tmp_path / "missing.jsonl"))

    fill(changed)

    refusal = changed.generations.records[changed.collection].refusal
    assert refusal is not None
    assert "missing.jsonl cannot be read: No such file" in refusal
    assert refusal.endswith("Set `index.gate_queries` to a file of labelled queries, or to null.")


def test_scopes_are_in_step_to_the_one_furthest_behind_and_to_nothing_while_one_is_unknown() -> (
    None
):
    world = World()
    world.put("1")
    world.put("7", tenant_id="globex")
    world.run_all()
    records = read_records(world.sync)
    known = [record.snapshot_at for record in records.values()]

    assert in_step_to(records, scopes=len(records)) == min(filter(None, known))
    assert in_step_to(records, scopes=len(records) + 1) is None
    assert in_step_to({}, scopes=0) is None
