"""What the checks find, one defect at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from sync_pipeline.core.hashing import point_id
from sync_pipeline.core.point import CollectionSpec, StoredPoint
from sync_pipeline.core.ports import EntitySnapshot
from sync_pipeline.core.scope import GLOBAL, Scope
from sync_pipeline.engine.questions.checks import (
    CheckResult,
    KnownDocument,
    known_document_is_found,
    points_carry_their_scope,
    points_match_rows,
    vectors_are_valid,
)
from sync_pipeline.engine.records import ScopeRecord

ACME = Scope("acme")


def record(**documents: int) -> ScopeRecord:
    """What was recorded of entities by name; ``failed`` of each."""
    failed = documents.pop("failed", 0)
    entities = {
        name: EntitySnapshot(
            scope_key="acme",
            entity_type=name,
            rows=count + 1,
            documents=count,
            quarantined=1,
            failed=failed,
            digest=None,
            feed_epoch=None,
            source_snapshot_at=None,
            last_success_at=None,
            last_full_at=None,
            vanished_at=None,
            writing_token=None,
        )
        for name, count in documents.items()
    }
    return ScopeRecord(tuple(entities), entities)


def spec(dimension: int) -> CollectionSpec:
    return CollectionSpec(
        alias="documents",
        model_id="m",
        dimension=dimension,
        views=("text",),
        sparse_id="bm25-english",
    )


def point(row_id: str = "a1", *, scope: Scope = ACME, **payload: object) -> StoredPoint:
    identity = f"{scope.kind}-material-{row_id}"
    return StoredPoint(
        point_id=point_id(identity),
        payload={
            "document_id": identity,
            "scope_key": scope.key,
            "tenantId": scope.tenant_id,
            "isGlobal": scope.is_global,
            "scope": scope.kind,
            "text": f"cement {row_id}",
            "embed_hash": {"text": "h"},
            **payload,
        },
        vectors={"text": np.array([0.6, 0.8], dtype=np.float32)},
    )


@pytest.mark.parametrize(
    ("points", "failed", "recorded", "passed"),
    [
        pytest.param(10, 0, None, True, id="one point per document"),
        pytest.param(9, 0, None, False, id="one is missing"),
        pytest.param(11, 0, None, False, id="one too many"),
        pytest.param(8, 2, None, True, id="failed documents without an older point"),
        pytest.param(10, 2, None, True, id="failed documents with their older points"),
        pytest.param(7, 2, None, False, id="more missing than failed"),
        pytest.param(8, 0, 8, True, id="two moved to another scope since"),
        pytest.param(8, 0, 10, False, id="two lost, and the record does not know"),
    ],
)
def test_points_are_counted_against_documents(
    points: int, *, failed: int, recorded: int | None, passed: bool
) -> None:
    result = points_match_rows(
        points={"material": points},
        record=record(material=10, failed=failed),
        recorded=None if recorded is None else {"material": recorded},
    )

    assert result.passed is passed
    assert (result.facts["points"], result.facts["rows"]) == (points, 11)


def test_a_scope_without_a_successful_sync_cannot_match() -> None:
    result = points_match_rows(points={"material": 3}, record=ScopeRecord(("material",), {}))

    assert (result.passed, result.facts) == (False, {"points": 3, "rows": "unknown"})


def test_too_many_points_of_one_entity_do_not_make_up_for_too_few_of_another() -> None:
    result = points_match_rows(
        points={"material": 11, "work": 9}, record=record(material=10, work=10)
    )

    assert not result.passed
    assert result.facts["differing"] == (
        "material: 11 points for 10 documents, work: 9 points for 10 documents"
    )


def test_points_of_an_entity_that_the_settings_do_not_name_are_not_counted() -> None:
    result = points_match_rows(points={"material": 10, "lamp": 40}, record=record(material=10))

    assert (result.passed, result.facts["points"]) == (True, 10)


@pytest.mark.parametrize(
    ("wrong", "scope"),
    [
        pytest.param({"scope_key": "globex"}, ACME, id="key of another tenant"),
        pytest.param({"tenantId": "globex"}, ACME, id="another tenant"),
        pytest.param({"tenantId": "acme"}, GLOBAL, id="global, yet owned"),
        pytest.param({"isGlobal": True}, ACME, id="owned, yet global"),
        pytest.param({"isGlobal": None}, GLOBAL, id="unknown"),
        pytest.param({"document_id": "global-material-a1"}, ACME, id="id of another kind"),
        pytest.param({"document_id": "tenant-material-zz"}, ACME, id="id of another point"),
    ],
)
def test_a_point_that_names_another_owner_is_found(
    wrong: Mapping[str, object], scope: Scope
) -> None:
    stranger = point("a2", scope=scope, **wrong)

    result = points_carry_their_scope(scope=scope, sample=[point("a1", scope=scope), stranger])

    assert not result.passed
    assert result.facts == {"sampled": 2, "wrong": 1, "examples": stranger.point_id}


def test_points_of_the_scope_pass() -> None:
    results = [
        points_carry_their_scope(scope=scope, sample=[point("a1", scope=scope)])
        for scope in (ACME, GLOBAL)
    ]

    assert [result.passed for result in results] == [True, True]


def test_a_point_without_the_owner_fields_is_found() -> None:
    bare = StoredPoint(point_id=point("a1").point_id, payload={"scope_key": "acme"})

    assert not points_carry_their_scope(scope=ACME, sample=[bare]).passed


@pytest.mark.parametrize(
    "vectors",
    [
        pytest.param({"text": np.array([1.0], dtype=np.float32)}, id="too short"),
        pytest.param({"text": np.array([np.nan, 0.0], dtype=np.float32)}, id="not a number"),
        pytest.param({"text": np.array([np.inf, 0.0], dtype=np.float32)}, id="infinite"),
        pytest.param({"text": np.zeros(2, dtype=np.float32)}, id="zero"),
        pytest.param({"text": np.array([3.0, 4.0], dtype=np.float32)}, id="not of length 1"),
        pytest.param({}, id="missing"),
        pytest.param({"other": np.array([0.6, 0.8], dtype=np.float32)}, id="of another view"),
    ],
)
def test_a_vector_unfit_for_search_is_found(vectors: Mapping[str, np.ndarray]) -> None:
    bad = replace(point("a2"), vectors=vectors)

    result = vectors_are_valid(sample=[point("a1"), bad], spec=spec(2), passages={})

    assert not result.passed
    assert (result.facts["wrong"], result.facts["examples"]) == (1, bad.point_id)


def test_sound_vectors_pass() -> None:
    assert vectors_are_valid(sample=[point("a1"), point("a2")], spec=spec(2), passages={}).passed


def both_views(row_id: str) -> dict[str, object]:
    """A payload with the hashes of two views."""
    return {**point(row_id).payload, "embed_hash": {"text": "h", "other": "o"}}


def asked(view: str, *hits: StoredPoint) -> CheckResult:
    """What is said of ``a2``, searched for by one view, with these hits."""
    known = KnownDocument(point=point("a2"), view=view, vector=np.zeros(3, dtype=np.float32))
    return known_document_is_found(found={view: (known, hits)}, documents=2)


def test_every_view_has_to_find_its_document() -> None:
    known = KnownDocument(point=point("a2"), view="text", vector=np.zeros(3, dtype=np.float32))
    other = replace(known, view="other", point=replace(known.point, payload=both_views("a2")))

    result = known_document_is_found(
        found={"text": (known, [known.point]), "other": (other, [point("a1")])}, documents=2
    )

    assert not result.passed
    assert result.facts["views"] == "other: not found, text: 1"
    assert result.facts["lost"] == "other: tenant-material-a2"


def test_a_document_is_found_at_its_place() -> None:
    result = asked("text", point("a1", embed_hash={"text": "another"}), point("a2"))

    assert result.passed
    assert result.facts["place"] == 2


def test_another_document_of_the_very_same_text_will_do() -> None:
    twin = point("a9")
    assert twin.embed_hashes == point("a2").embed_hashes

    result = asked("text", twin)

    assert result.passed


def test_a_document_that_its_own_text_does_not_find_is_named() -> None:
    stranger = point("a1", embed_hash={"text": "another"})

    result = asked("text", stranger)

    assert not result.passed
    assert result.facts["document_id"] == "tenant-material-a2"


def test_no_fact_holds_a_text() -> None:
    results = [
        asked("text"),
        points_carry_their_scope(scope=GLOBAL, sample=[point("a1")]),
        vectors_are_valid(sample=[point("a1")], spec=spec(3), passages={}),
    ]

    assert not any("cement" in str(result.facts) for result in results)
