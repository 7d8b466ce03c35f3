"""A search shows a scope its own documents and the global ones, and never another's."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import (
    ConfigurationError,
    IndexMismatchError,
    IsolationError,
    TransientError,
)
from sync_pipeline.core.filters import Range
from sync_pipeline.core.fusion import Fusion
from sync_pipeline.core.point import Point, SearchQuery, StoredPoint
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.engine.questions.search import (
    ALONE,
    MAX_LIMIT,
    MAX_QUERY_CHARACTERS,
    SearchRequest,
    Sharing,
    build_query,
    search,
    search_batch,
)
from sync_pipeline.service.threads import SharedReads
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.watched import watch_context

ACME = Scope("acme")


@pytest.fixture
def stocked(world: World) -> World:
    """One global document, one each of two tenants, all of the same text."""
    world.put("g", name="cement", is_global=True, tenant_id=None)
    world.put("a", name="cement", price=5)
    world.put("b", name="cement", tenant_id="globex")
    world.put("w", name="cement works", table="works")
    world.run_all()
    return world


def test_a_tenant_finds_its_own_and_the_global_documents(stocked: World) -> None:
    assert sorted(stocked.found("acme")) == [
        "global-material-g",
        "tenant-material-a",
        "tenant-work-w",
    ]
    assert sorted(stocked.found("globex")) == ["global-material-g", "tenant-material-b"]


def test_a_search_as_global_finds_global_documents_only(stocked: World) -> None:
    assert stocked.found("global") == ["global-material-g"]


def test_a_tenant_without_documents_finds_the_global_ones(stocked: World) -> None:
    assert stocked.found("nobody") == ["global-material-g"]


def test_an_entity_narrows_a_search(stocked: World) -> None:
    assert stocked.found("acme", entity_type="work") == ["tenant-work-w"]


def test_a_filter_on_a_payload_field_narrows_a_search(stocked: World) -> None:
    assert stocked.found("acme", filters={"price": [5]}) == ["tenant-material-a"]


def test_a_range_narrows_a_search(stocked: World) -> None:
    assert stocked.found("acme", ranges={"price": [Range(gte=5, lt=10)]}) == ["tenant-material-a"]
    assert stocked.found("acme", ranges={"price": [Range(gt=10)]}) == []


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        pytest.param(Range(gte=1), "numbers", id="numbers"),
        pytest.param(Range(gte=date(2026, 1, 1)), "dates", id="dates"),
    ],
)
def test_a_range_of_a_field_of_texts_is_an_error_and_not_silence(
    stocked: World, wanted: Range, kind: str
) -> None:
    message = f"no range of {kind} can find anything by unit: .* Compare them with unit=VALUE"

    with pytest.raises(ConfigurationError, match=message):
        stocked.found("acme", ranges={"unit": [wanted]})


def test_a_range_of_a_field_without_values_finds_nothing(world: World) -> None:
    world.put("a", name="cement", unit=None)
    world.run_all()

    assert world.found("acme", ranges={"unit": [Range(gte=1)]}) == []


def test_an_excluded_value_narrows_a_search(stocked: World) -> None:
    found = stocked.found("acme", excluded={"price": [10]}, entity_type="material")

    assert found == ["tenant-material-a"]


def query_of(world: World, request: SearchRequest, *, scope: Scope = ACME) -> SearchQuery:
    vector = world.embedder.vector(request.text)
    return build_query(world.sync, scope=scope, request=request, vectors={"text": vector})


def test_two_spellings_of_a_path_are_one(stocked: World) -> None:
    request = SearchRequest(
        text="cement",
        filters={"unit.a": ["x"], 'unit."a"': ["y"], 'unit."a.b"': ["z"]},
        ranges={"price": [Range(gt=1)], '"price"': [Range(lt=5)]},
    )

    query = query_of(stocked, request)

    assert query.equals == {
        "unit.a": ("x", "y"),
        'unit."a.b"': ("z",),
        "type": ["material", "work"],
    }
    assert query.ranges == {"price": (Range(gt=1), Range(lt=5))}


def test_a_filter_cannot_widen_a_search(stocked: World) -> None:
    found = stocked.found("acme", filters={"price": [10, 5]}, entity_type="material")

    assert sorted(found) == ["global-material-g", "tenant-material-a"]


def test_hits_show_text_and_payload_without_our_bookkeeping_and_vectors(stocked: World) -> None:
    result = search(stocked.sync, scope=ACME, request=SearchRequest(text="works", limit=1))

    (hit,) = result.hits
    assert hit.text == "cement works"
    assert not {"embed_hash", "payload_hash", "source_revision", "schema_version"} & set(
        hit.payload
    )
    assert hit.payload["scope_key"] == "acme"


@pytest.mark.parametrize(
    "owner",
    [
        pytest.param("globex", id="another tenant"),
        pytest.param(None, id="no scope at all"),
        pytest.param("ACME", id="another spelling"),
    ],
)
def test_a_store_that_returns_a_foreign_document_is_caught_and_nothing_is_shown(
    stocked: World, owner: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = stocked.store.query

    def lying(collection: str, wanted: SearchQuery) -> list[tuple[float, StoredPoint]]:
        hits = query(collection, wanted)
        score, point = hits[-1]
        payload = {name: value for name, value in point.payload.items() if name != "scope_key"}
        payload |= {} if owner is None else {"scope_key": owner}
        return [*hits, (score, replace(point, payload=payload))]

    monkeypatch.setattr(stocked.store, "query", lying)

    with pytest.raises(IsolationError, match="'acme' returned 1 documents of other scopes"):
        stocked.found("acme")


def test_a_point_whose_scope_was_lost_is_not_found_by_anybody(stocked: World) -> None:
    held = stocked.store._collections[stocked.collection].points
    point = stocked.points["tenant-material-a"]
    payload = {name: value for name, value in point.payload.items() if name != "scope_key"}
    held[point.point_id] = Point(
        point_id=point.point_id, vectors=point.vectors, sparse=point.sparse, payload=payload
    )

    assert "tenant-material-a" not in stocked.found("acme")
    assert "tenant-material-a" not in stocked.found("globex")


def test_the_query_names_exactly_the_visible_scopes(stocked: World) -> None:
    request = SearchRequest(text="cement")

    assert query_of(stocked, request).scope_keys == ("global", "acme")
    assert query_of(stocked, request, scope=GLOBAL).scope_keys == ("global",)


@pytest.mark.parametrize("text", ["", "  \n", "x" * (MAX_QUERY_CHARACTERS + 1)])
def test_an_empty_or_endless_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a search text has 1 to 2000 characters"):
        SearchRequest(text=text)


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1, 10**9])
def test_a_limit_out_of_range_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="limit lies between 1 and 100"):
        SearchRequest(text="cement", limit=limit)


@pytest.mark.parametrize(
    "field", ["scope_key", "tenantId", "isGlobal", "document_id", "text", "embed_hash"]
)
@pytest.mark.parametrize("spelling", ["{}", '"{}"', "{}.a", "{}[]", '"{}"[0]'])
def test_a_filter_on_a_field_of_our_own_is_refused(field: str, spelling: str) -> None:
    path = spelling.format(field)

    with pytest.raises(ValueError, match=f"cannot filter on {field}"):
        SearchRequest(text="cement", filters={path: ["globex"]})
    with pytest.raises(ValueError, match=f"cannot filter on {field}"):
        SearchRequest(text="cement", ranges={path: [Range(gt=1)]})
    with pytest.raises(ValueError, match=f"cannot filter on {field}"):
        SearchRequest(text="cement", excluded={path: ["globex"]})


def test_a_filter_that_asks_too_much_is_refused_before_anything_is_embedded() -> None:
    with pytest.raises(ValueError, match="one search may have 400"):
        SearchRequest(text="cement", filters={"price": list(range(500))})


def test_a_filter_on_what_is_no_path_is_refused() -> None:
    with pytest.raises(ValueError, match="is no path to a payload value"):
        SearchRequest(text="cement", filters={"unit..a": ["x"]})


def test_a_filter_on_an_unknown_field_is_refused(stocked: World) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot filter on colour; .* are price, unit"):
        stocked.found("acme", filters={"colour": ["red"]})
    with pytest.raises(ConfigurationError, match=r"cannot filter on colour; "):
        stocked.found("acme", excluded={"colour.hue": ["red"]})


def test_an_unknown_view_is_refused(stocked: World) -> None:
    with pytest.raises(ConfigurationError, match="no view body; the configured ones are text"):
        stocked.found("acme", views=("body",))


def test_a_search_before_the_first_sync_says_what_to_do(world: World) -> None:
    with pytest.raises(ConfigurationError, match="run `sync-pipeline sync all` first"):
        world.found("acme")


def test_a_search_with_another_model_than_the_index_was_built_with_is_refused(
    stocked: World,
) -> None:
    stocked.embedder.model_id = "another-model"

    with pytest.raises(IndexMismatchError, match="Vectors of two models cannot be mixed"):
        stocked.found("acme")


def test_in_sync_to_is_the_older_snapshot_of_the_two_visible_scopes(stocked: World) -> None:
    snapshots = {
        key: stocked.sync.scopes.get(scope=Scope.from_key(key)) for key in ("global", "acme")
    }
    stocked.run("acme")

    result = search(stocked.sync, scope=ACME, request=SearchRequest(text="cement"))

    assert snapshots["global"] is not None
    assert result.in_sync_to == snapshots["global"].source_snapshot_at


def test_a_sync_that_ends_while_the_index_is_asked_makes_no_answer_newer_than_its_hits(
    stocked: World,
) -> None:
    before = search(stocked.sync, scope=ACME, request=SearchRequest(text="cement")).in_sync_by_scope

    def run_a_sync(call: str, when: str) -> None:
        if (call, when) == ("store.query", "after"):
            stocked.run("acme")

    watched = watch_context(stocked.sync, run_a_sync)
    during = search(watched, scope=ACME, request=SearchRequest(text="cement")).in_sync_by_scope
    after = search(stocked.sync, scope=ACME, request=SearchRequest(text="cement")).in_sync_by_scope

    assert during == before
    assert after != before


def test_in_sync_to_is_unknown_where_a_visible_scope_was_never_synced(world: World) -> None:
    world.put("1")
    world.run("acme")

    result = search(world.sync, scope=ACME, request=SearchRequest(text="cement"))

    assert result.in_sync_to is None
    assert len(result.hits) == 1


# --- modes, thresholds, explanations, batches -------------------------------------------


def hits(world: World, text: str = "cement", **request: Any) -> list[str]:
    wanted = SearchRequest(text=text, **request)
    return [hit.document_id for hit in search(world.sync, scope=ACME, request=wanted).hits]


def test_a_search_by_words_alone_embeds_nothing(stocked: World) -> None:
    assert set(hits(stocked, mode="text")) == set(hits(stocked, mode="hybrid"))
    asked = list(stocked.embedder.queries)

    hits(stocked, mode="text")

    assert stocked.embedder.queries == asked


def test_a_search_by_words_alone_finds_no_other_words(stocked: World) -> None:
    assert hits(stocked, "plaster", mode="text") == []
    assert hits(stocked, "plaster", mode="dense") != []


def test_hits_below_a_threshold_are_left_out(stocked: World) -> None:
    request = SearchRequest(text="cement", mode="dense")
    scores = [hit.score for hit in search(stocked.sync, scope=ACME, request=request).hits]

    above = replace(request, score_threshold=scores[0])

    assert len(scores) > 1
    assert len(search(stocked.sync, scope=ACME, request=above).hits) == scores.count(scores[0])


def test_an_explained_search_says_which_ranking_has_a_hit_where(stocked: World) -> None:
    plain = search(stocked.sync, scope=ACME, request=SearchRequest(text="cement works"))
    request = SearchRequest(text="cement works", explain=True)

    result = search(stocked.sync, scope=ACME, request=request)

    assert (plain.rankings, result.hits) == (None, plain.hits)
    assert result.rankings is not None
    places = result.rankings[result.hits[0].document_id]
    assert set(places) <= {"text", "bm25"}
    assert places["bm25"] == 1
    assert all(result.rankings[hit.document_id] for hit in result.hits)
    owners = {stocked.points[name].payload["scope_key"] for name in result.rankings}
    assert owners == {"acme", "global"}


def test_a_batch_answers_as_its_searches_would_alone_and_embeds_each_text_once(
    stocked: World,
) -> None:
    requests = [
        SearchRequest(text="cement"),
        SearchRequest(text="works", limit=1),
        SearchRequest(text="cement", mode="text"),
        SearchRequest(text="cement", filters={"price": [5]}),
        SearchRequest(text="cement", filters={"price": []}),
    ]
    alone = [search(stocked.sync, scope=ACME, request=request).hits for request in requests]
    stocked.embedder.queries.clear()

    results = search_batch(stocked.sync, scope=ACME, requests=requests)

    assert [result.hits for result in results] == alone
    assert sorted(stocked.embedder.queries) == ["cement", "works"]


def test_source_and_record_are_asked_while_the_model_works(stocked: World) -> None:
    asked = threading.Event()

    def model_waits_for_record(call: str, when: str) -> None:
        if (call, when) == ("scopes.list_entities", "after"):
            asked.set()
        if (call, when) == ("embedder.embed_queries", "before"):
            assert asked.wait(10), "the record is asked only after the model"

    watched = watch_context(stocked.sync, model_waits_for_record)
    with ThreadPoolExecutor(1) as ahead:
        (result,) = search_batch(
            watched,
            scope=ACME,
            requests=[SearchRequest(text="cement")],
            sharing=Sharing(ahead=SharedReads(ahead)),
        )

    assert result == search(stocked.sync, scope=ACME, request=SearchRequest(text="cement"))


def test_what_is_asked_ahead_fails_the_search_as_if_it_were_asked_in_place(
    stocked: World,
) -> None:
    def no_record(call: str, when: str) -> None:
        if (call, when) == ("scopes.list_entities", "before"):
            raise TransientError("the database is gone")

    watched = watch_context(stocked.sync, no_record)
    with ThreadPoolExecutor(1) as ahead:
        for sharing in (ALONE, Sharing(ahead=SharedReads(ahead))):
            with pytest.raises(TransientError, match="the database is gone"):
                search_batch(
                    watched,
                    scope=ACME,
                    requests=[SearchRequest(text="cement")],
                    sharing=sharing,
                )


def test_one_bad_search_refuses_its_batch(stocked: World) -> None:
    requests = [SearchRequest(text="cement"), SearchRequest(text="cement", views=("title",))]

    with pytest.raises(ConfigurationError, match="no view title"):
        search_batch(stocked.sync, scope=ACME, requests=requests)


# --- several views ----------------------------------------------------------------------


@pytest.fixture
def two_views() -> World:
    """Two documents, each called as the other one is described."""
    entity = Entity(
        name="material", table="materials", views=(("title", ("name",)), ("about", ("unit",)))
    )
    world = World(entities=(entity,))
    world.put("by-title", name="gypsum", unit="plaster")
    world.put("by-about", name="plaster", unit="gypsum")
    world.run_all()
    return world


@pytest.mark.parametrize("view", ["title", "about"])
def test_a_view_is_searched_alone_or_counts_by_its_weight(two_views: World, view: str) -> None:
    expected = f"tenant-material-by-{view}"
    weighted = replace(two_views.sync, fusion=Fusion(weights={view: 3}))

    alone = two_views.found("acme", "gypsum", mode="dense", views=(view,))
    result = search(weighted, scope=ACME, request=SearchRequest(text="gypsum", mode="dense"))
    both = {hit.document_id: hit.score for hit in result.hits}

    assert alone[0] == expected
    assert max(both, key=lambda name: both[name]) == expected
    assert len(both) == 2
