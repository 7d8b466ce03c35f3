from __future__ import annotations

from typing import Any

import pytest

from sync_pipeline.core.document import read_document_id
from sync_pipeline.core.explanation import (
    DocumentFinding,
    Explanation,
    Outcome,
    PointFinding,
    ScopeFinding,
    explanation_for,
    judge,
)

ACME = ("global", "acme")
NAME = "tenant-material-1"


def finding(scope_key: str, *, point_of: str | None = None, **changes: Any) -> DocumentFinding:
    point = None
    if point_of is not None:
        point = PointFinding(
            scope_key=point_of, synced_at=None, has_current_text=True, has_current_payload=True
        )
    scope = ScopeFinding(
        scope_key=scope_key, last_success_at=None, in_sync_to=None, lease=None, pending_events=None
    )
    values: dict[str, Any] = {
        "document_id": NAME,
        "has_row": True,
        "text": "plaster",
        "rejection": None,
        "record": None,
        "point": point,
        "scope": scope,
    }
    return DocumentFinding(**(values | changes))


def explained(*documents: DocumentFinding, fault: str | None = None) -> Explanation:
    verdict = judge(documents, entity_type="material", db_id="1", index_fault=fault)
    return Explanation(entity_type="material", db_id="1", documents=documents, verdict=verdict)


def test_a_document_of_another_scope_is_not_there() -> None:
    whole = explained(finding("globex", point_of="globex"))

    assert explanation_for(whole, document_id=NAME, scope_keys=ACME) is None


def test_an_own_row_whose_point_is_still_anothers_is_not_synced_and_names_nobody() -> None:
    whole = explained(finding("acme", point_of="globex"))

    own = explanation_for(whole, document_id=NAME, scope_keys=ACME)

    assert own is not None
    assert own.verdict.outcome is Outcome.NOT_SYNCED
    assert "globex" not in repr(own)


def test_two_owners_of_one_id_do_not_learn_of_each_other() -> None:
    whole = explained(finding("acme", point_of="acme"), finding("globex", point_of="acme"))
    assert whole.verdict.outcome is Outcome.AMBIGUOUS

    own = explanation_for(whole, document_id=NAME, scope_keys=ACME)
    other = explanation_for(whole, document_id=NAME, scope_keys=("global", "globex"))

    assert own is not None
    assert own.verdict.outcome is Outcome.SEARCHABLE
    assert "globex" not in repr(own)
    assert other is not None
    assert "acme" not in repr(other)


def test_only_the_document_that_was_asked_about_is_judged() -> None:
    gone = finding("global", document_id="global-material-1", has_row=False, point_of="global")
    whole = explained(gone, finding("acme", point_of="acme"))

    own = explanation_for(whole, document_id=NAME, scope_keys=ACME)

    assert own is not None
    assert own.verdict.outcome is Outcome.SEARCHABLE


def test_an_index_of_other_settings_stays_the_verdict() -> None:
    whole = explained(finding("acme"), fault="another model")

    own = explanation_for(whole, document_id=NAME, scope_keys=ACME)

    assert own is not None
    assert own.verdict.outcome is Outcome.OTHER_SETTINGS


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("tenant-material-17", ("material", "17"), id="a tenant's"),
        pytest.param("global-work-a-b-c", ("work", "a-b-c"), id="a row id with hyphens"),
        pytest.param("shared-work-1", None, id="of no kind"),
        pytest.param("tenant-material-", None, id="without a row"),
        pytest.param("tenant--1", None, id="without an entity"),
        pytest.param("nonsense", None, id="nonsense"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_a_document_id_is_read_as_it_was_made(name: str, expected: tuple[str, str] | None) -> None:
    assert read_document_id(name) == expected
