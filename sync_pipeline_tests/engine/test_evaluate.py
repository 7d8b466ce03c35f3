"""Labelled queries are asked as anybody asks, and judged by what can be found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import ConfigurationError, StoppedError
from sync_pipeline.core.fusion import Fusion
from sync_pipeline.core.labelled import LabelledQuery
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.engine.questions.evaluate import (
    Evaluation,
    System,
    SystemReport,
    evaluate,
)
from sync_pipeline.engine.roles import generation_called
from sync_pipeline_tests.engine.world import World

ACME = Scope("acme")


@pytest.fixture
def stocked(world: World) -> World:
    """Two global documents, one of ``acme`` and one of ``globex``."""
    for row_id, name in (("g1", "gypsum plaster"), ("g2", "copper tube")):
        world.put(row_id, name=name, is_global=True, tenant_id=None)
    world.put("a", name="oak board")
    world.put("b", name="solar panel", tenant_id="globex")
    world.run_all()
    return world


def query(text: str, *tags: str, scope: Scope = ACME, **grades: int) -> LabelledQuery:
    """Of documents by their row id: ``g1=3``."""
    named = {
        f"{'global' if row_id.startswith('g') else 'tenant'}-material-{row_id}": grade
        for row_id, grade in grades.items()
    }
    return LabelledQuery(text=text, scope=scope, grades=named, tags=tags)


def judge(world: World, *queries: LabelledQuery, k: int = 10) -> Evaluation:
    return evaluate([System(name="settings", sync=world.sync)], queries, k=k)


def means(system: SystemReport, metric: str = "ndcg_at_10") -> Mapping[str, float]:
    return {
        ranking.mode: getattr(ranking.overall, metric).mean
        for ranking in system.rankings
        if ranking.view is None
    }


def test_what_is_found_first_has_all_marks(stocked: World) -> None:
    found = judge(stocked, query("gypsum plaster kg", g1=3))

    (system,) = found.systems
    for metric in ("recall_at_k", "ndcg_at_10", "mrr"):
        assert means(system, metric) == {"dense": 1, "text": 1, "hybrid": 1}
    assert system.collection == stocked.collection
    assert system.model_id == stocked.embedder.model_id
    assert found.comparisons == []


def test_by_words_nothing_is_found_that_shares_none(stocked: World) -> None:
    (system,) = judge(stocked, query("xylophone", g1=3)).systems

    assert means(system)["text"] == 0
    assert means(system)["dense"] > 0


def test_the_depth_of_the_recall_is_k(stocked: World) -> None:
    asked = query("gypsum tube", g1=1, g2=1)

    shallow, deep = (judge(stocked, asked, k=k).systems[0] for k in (1, 2))

    assert means(shallow, "recall_at_k")["text"] == 0.5
    assert means(deep, "recall_at_k")["text"] == 1


def test_labels_that_are_not_in_the_index_are_counted_and_left_out(stocked: World) -> None:
    found = judge(
        stocked,
        query("gypsum plaster kg", g1=3, g7=3, g8=0),
        query("marble", g9=2),
        query("oak board kg", a=1),
    )

    labels = found.labels
    assert (labels.queries, labels.evaluated, labels.documents) == (3, 2, 4)
    assert (labels.missing, labels.hidden) == (2, 0)
    assert labels.missing_examples == ["global-material-g7", "global-material-g9"]
    assert means(found.systems[0]) == {"dense": 1, "text": 1, "hybrid": 1}


def test_labels_of_another_scope_are_counted_and_never_asked_for(stocked: World) -> None:
    found = judge(stocked, query("solar panel kg", b=3), query("oak board kg", a=3))

    assert (found.labels.evaluated, found.labels.missing, found.labels.hidden) == (1, 0, 1)
    assert found.labels.hidden_examples == ["tenant-material-b"]


def test_a_query_is_asked_as_its_scope(stocked: World) -> None:
    found = judge(
        stocked,
        query("solar panel kg", scope=Scope("globex"), b=3),
        query("copper tube kg", scope=GLOBAL, g2=3),
        query("oak board kg", scope=ACME, a=3),
    )

    assert found.labels.evaluated == 3
    assert means(found.systems[0]) == {"dense": 1, "text": 1, "hybrid": 1}


def test_documents_of_entities_that_left_the_settings_are_not_there(stocked: World) -> None:
    stocked.put("g3", name="laying of tiles", is_global=True, tenant_id=None, table="works")
    stocked.run("global")
    asked = LabelledQuery(text="tiles", scope=ACME, grades={"global-work-g3": 1})

    with_works = judge(stocked, asked, query("oak board kg", a=1))
    stocked.entities = stocked.entities[:1]
    without = judge(stocked, asked, query("oak board kg", a=1))

    assert with_works.labels.missing == 0
    assert without.labels.missing == 1


def test_where_nothing_can_be_found_there_is_nothing_to_judge(stocked: World) -> None:
    with pytest.raises(
        ConfigurationError,
        match="none of the 2 labelled documents can be found: 1 are not in the index, 1 belong",
    ):
        judge(stocked, query("marble", g9=2), query("solar panel", b=3))


def test_two_generations_are_compared_by_what_both_can_find(stocked: World) -> None:
    before = stocked.collection
    stocked.use_model("other-model")
    stocked.run("global")
    new = stocked.sync
    old = generation_called(new, before)

    found = evaluate(
        [System(name="old", sync=old), System(name="new", sync=new)],
        [query("gypsum plaster kg", g1=3), query("oak board kg", a=3)],
    )

    # The new one has no document of acme yet.
    assert (found.labels.evaluated, found.labels.missing) == (1, 1)
    assert [system.collection for system in found.systems] == [before, stocked.collection]
    assert [system.model_id for system in found.systems] == ["fake-embedder", "other-model"]
    assert [means(system)["dense"] for system in found.systems] == [1, 1]
    assert {one.ndcg_at_10.mean for one in found.comparisons} == {0}


def test_a_generation_that_there_is_not_is_refused_with_those_that_there_are(
    stocked: World,
) -> None:
    with pytest.raises(
        ConfigurationError, match=f"no generation 'documents_x' .* there are {stocked.collection}"
    ):
        generation_called(stocked.sync, "documents_x")


def test_a_generation_that_nobody_can_open_is_refused(stocked: World) -> None:
    before = stocked.collection
    stocked.use_model("other-model")
    stocked.models.clear()

    with pytest.raises(ConfigurationError, match="did not record its settings"):
        generation_called(stocked.sync, before)


def test_results_are_given_for_each_tag_too(stocked: World) -> None:
    found = judge(
        stocked,
        query("gypsum plaster kg", "en", "plain", g1=3),
        query("xylophone", "en", g1=3),
    )

    assert found.tags == {"en": 2, "plain": 1}
    (text,) = [ranking for ranking in found.systems[0].rankings if ranking.mode == "text"]
    by_tag = {tag: score.ndcg_at_10.mean for tag, score in text.by_tag.items()}
    assert by_tag == {"en": 0.5, "plain": 1}
    assert text.overall.ndcg_at_10.mean == 0.5


def test_the_order_of_queries_of_several_scopes_is_kept(stocked: World) -> None:
    found = judge(
        stocked,
        query("oak board kg", "found", a=3),
        query("xylophone", "lost", scope=GLOBAL, g1=3),
        query("gypsum plaster kg", "found", g1=3),
    )

    (text,) = [ranking for ranking in found.systems[0].rankings if ranking.mode == "text"]
    assert {tag: score.mrr.mean for tag, score in text.by_tag.items()} == {"found": 1, "lost": 0}


def test_systems_are_compared_with_the_first_query_by_query(stocked: World) -> None:
    # By its words the first query means this one, and by its meaning g1.
    stocked.put("w", name="gypsum plaster gypsum plaster")
    stocked.run("acme")
    asked = [query("gypsum plaster kg", "en", w=3), query("oak board kg", a=3)]
    by_meaning, by_words = (
        replace(stocked.sync, fusion=Fusion(method="rrf", weights={ranking: 10}))
        for ranking in ("text", "bm25")
    )

    found = evaluate(
        [System(name="settings", sync=by_meaning), System(name="words", sync=by_words)], asked
    )

    assert [system.fusion.weights for system in found.systems] == [{"text": 10}, {"bm25": 10}]
    compared = {(one.mode, one.tag): one for one in found.comparisons}
    assert set(compared) == {
        (mode, tag) for mode in ("dense", "text", "hybrid") for tag in (None, "en")
    }
    assert {(one.baseline, one.system) for one in found.comparisons} == {("settings", "words")}
    before, after = (means(system)["hybrid"] for system in found.systems)
    assert compared["hybrid", None].ndcg_at_10.mean == pytest.approx(after - before)
    assert compared["hybrid", "en"].mrr.better == 1
    assert compared["dense", None].ndcg_at_10.p_value == 1


def test_each_of_several_views_is_judged_alone_too() -> None:
    entity = Entity(
        name="material", table="materials", views=(("name", ("name",)), ("unit", ("unit",)))
    )
    world = World(entities=(entity,))
    world.put("g1", name="gypsum plaster", unit="bag", is_global=True, tenant_id=None)
    world.put("g2", name="copper tube", unit="metre", is_global=True, tenant_id=None)
    world.run_all()

    (system,) = judge(world, query("bag", scope=GLOBAL, g1=3), k=1).systems

    found = {
        (ranking.mode, ranking.view): ranking.overall.recall_at_k.mean
        for ranking in system.rankings
    }
    assert set(found) == {
        ("dense", None), ("text", None), ("hybrid", None),
        ("dense", "name"), ("hybrid", "name"), ("dense", "unit"), ("hybrid", "unit"),
    }  # fmt: skip
    assert found["dense", "unit"] == 1


def test_the_same_texts_are_embedded_once_for_all_ways_to_search(stocked: World) -> None:
    judge(stocked, query("gypsum", g1=3), query("tube", g2=3))

    assert sorted(stocked.embedder.queries) == ["gypsum", "tube"]


def test_it_stops_between_batches(stocked: World) -> None:
    stopping = replace(stocked.sync, should_stop=lambda: True)

    with pytest.raises(StoppedError, match="stopped in scope 'acme'"):
        evaluate([System(name="settings", sync=stopping)], [query("gypsum", g1=3)])
