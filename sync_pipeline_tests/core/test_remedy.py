"""What can be done about an error: as a terminal shows it, and from what is kept of a failure."""

from __future__ import annotations

import pickle
from typing import get_args

import pytest

from sync_pipeline.core import errors
from sync_pipeline.core.errors import SyncPipelineError
from sync_pipeline.core.remedy import (
    NOTHING,
    Action,
    ApproveDeletions,
    ChangeSetting,
    LandRecords,
    Migrate,
    Remedy,
    RetryDocument,
    RollBackIndex,
    Show,
    SwitchIndex,
    SyncScopes,
    VerifyScopes,
    actions_after,
)
from sync_pipeline.core.scope import GLOBAL_KEY

SHOWN: list[tuple[Action, str, dict[str, object]]] = [
    (
        SyncScopes(),
        "sync-pipeline sync all",
        {"scopes": ["all"], "mode": "full", "force": False},
    ),
    (
        SyncScopes(scope_key=GLOBAL_KEY, force=True),
        "sync-pipeline sync global --force",
        {"scopes": ["global"], "mode": "full", "force": True},
    ),
    (
        SyncScopes(scope_key="o'neill"),
        "sync-pipeline sync tenant 'o'\"'\"'neill'",
        {"scopes": ["tenant:o'neill"], "mode": "full", "force": False},
    ),
    (
        ApproveDeletions(scope_key="acme", deletions=40),
        "sync-pipeline sync tenant acme --approve-deletions 40",
        {"scope": "acme", "deletions": 40},
    ),
    (
        RetryDocument(
            document_id="tenant-material-a 1",
            scope_key="acme",
            entity_type="material",
            db_id="a 1",
        ),
        "sync-pipeline failed retry material 'a 1' --now",
        {"document_id": "tenant-material-a 1"},
    ),
    (VerifyScopes(), "sync-pipeline verify all", {"scopes": ["all"]}),
    (
        VerifyScopes(scope_key="acme"),
        "sync-pipeline verify tenant acme",
        {"scopes": ["tenant:acme"]},
    ),
    (SwitchIndex(), "sync-pipeline index switch", {}),
    (RollBackIndex(), "sync-pipeline index rollback", {}),
    (LandRecords(landing="products"), "sync-pipeline land products", {"landing": "products"}),
    (
        LandRecords(landing="products", approve_deletions=431),
        "sync-pipeline land products --approve-deletions 431",
        {"landing": "products", "approve_deletions": 431},
    ),
    (Migrate(), "sync-pipeline migrate", {}),
    (Show("tenants"), "sync-pipeline tenants", {"what": "tenants"}),
    (ChangeSetting("index.url"), "index.url", {"setting": "index.url"}),
]


@pytest.mark.parametrize(("action", "words", "arguments"), SHOWN, ids=lambda it: str(it)[:30])
def test_an_action_is_a_command_and_arguments(
    action: Action, words: str, arguments: dict[str, object]
) -> None:
    assert (action.words, action.arguments) == (words, arguments)


def test_every_kind_of_action_is_tried_here() -> None:
    assert {type(action) for action, _, _ in SHOWN} == set(get_args(Action))


def test_a_remedy_reads_as_its_sentence_and_keeps_its_actions() -> None:
    remedy = Remedy.of("Run ", SyncScopes(), ", or set ", ChangeSetting("index.url"), " {aright}.")

    assert str(remedy) == "Run `sync-pipeline sync all`, or set `index.url` {aright}."
    assert remedy.actions == (SyncScopes(), ChangeSetting("index.url"))
    assert pickle.loads(pickle.dumps(remedy)) == remedy  # noqa: S301 - ours


def test_a_remedy_of_nothing_is_none() -> None:
    assert not Remedy.of("")
    assert Remedy.of("") == NOTHING
    assert str(NOTHING) == ""
    assert SyncPipelineError("so it is.").remedy == NOTHING


REFUSED_DELETION = errors.MassDeletionRefusedError(
    scope_key="acme",
    entity_type="material",
    stale=30,
    indexed=50,
    allowed=5,
    total=40,
    total_indexed=60,
)


def test_a_refused_deletion_names_its_approval_as_it_always_has() -> None:
    assert REFUSED_DELETION.remedy.actions == (ApproveDeletions(scope_key="acme", deletions=40),)
    assert str(REFUSED_DELETION).endswith(
        "Look at the source first. If the rows are really gone, approve exactly this once: "
        "`sync-pipeline sync tenant acme --approve-deletions 40`."
    )


FAILURES: list[SyncPipelineError] = [
    REFUSED_DELETION,
    errors.CollectionMissingError(collection="documents_1", store="the index"),
    errors.IncompleteExportError(scope_key="acme", expected=3, read=2),
    errors.SourceSchemaError(database="db", mistakes=["no table"]),
    errors.ModelUnavailableError(model="m", reason="not found"),
    errors.ModelChangedError(
        model_id="m", lowest_cosine=0.5, tolerance=0.99, compared=8, with_what="before"
    ),
    errors.TooManyQuarantinedError(scope_key="acme", quarantined=3, rows=4, fraction=0.5),
    errors.SupersededError(scope_key="acme", detail="a newer run has written"),
]


@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_what_is_kept_of_a_failed_run_leads_to_what_its_error_named(
    error: SyncPipelineError,
) -> None:
    found = actions_after(type(error).__name__, scope_key="acme", facts=vars(error))

    assert error.remedy.actions
    assert set(error.remedy.actions) <= set(found)


def test_a_run_that_was_killed_is_run_again() -> None:
    again = SyncScopes(scope_key="acme", force=True)

    assert actions_after(None, scope_key="acme", facts={}) == (again,)
    assert actions_after("StoreUnavailableError", scope_key="acme", facts={}) == (again,)


def test_a_refused_deletion_of_which_no_number_is_kept_offers_nothing() -> None:
    assert actions_after("MassDeletionRefusedError", scope_key="acme", facts={}) == ()
