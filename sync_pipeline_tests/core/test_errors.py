"""Messages say what happened, where, with which numbers, and what to do."""

from __future__ import annotations

import pickle

import pytest

from sync_pipeline.core import errors
from sync_pipeline.core.errors import SyncPipelineError

EXAMPLES = [
    errors.SettingsError(origin="a.yaml", mistakes=["`x`: unknown; remove it"]),
    errors.SettingsError(origin="a.yaml", mistakes=["one", "two"]),
    errors.SourceSchemaError(database="db", mistakes=["no table"]),
    errors.UnknownScopeError(scope_key="acne", tenant_count=3, similar=["acme"]),
    errors.UnknownScopeError(scope_key="acne", tenant_count=3),
    errors.ModelUnavailableError(model="m", reason="not found"),
    errors.StoreLockedError(path="index", holder="process 7", waited_seconds=30),
    errors.CollectionMissingError(collection="documents_1", store="the index"),
    errors.RejectedPointError(document_id="d", reason="too odd"),
    errors.IsolationError(scope_key="acme", document_ids=["d"]),
    errors.GroupFailedError(
        scopes=9, synced=5, skipped=1, errors={"acme": "too odd", "globex": "x" * 999}, not_begun=1
    ),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_a_message_is_sentences_and_has_its_facts_as_attributes(error: SyncPipelineError) -> None:
    message = str(error)

    assert len(message) > 20
    assert "None" not in message
    assert vars(error).keys() > errors.MESSAGE_PARTS


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_a_message_ends_with_its_remedy_which_is_a_value_too(error: SyncPipelineError) -> None:
    is_told_with_what = isinstance(error, errors.SettingsError | errors.RejectedPointError)

    assert bool(error.remedy) is not is_told_with_what
    assert str(error).startswith(error.what)
    assert str(error).removeprefix(error.what).strip() == str(error.remedy)


def test_an_error_keeps_its_remedy_on_the_way_to_another_process() -> None:
    sent = errors.StoreUnavailableError("it is 3.5 s late. So.", remedy="Wait. Then try again.")

    received = pickle.loads(pickle.dumps(sent))  # noqa: S301 - ours

    assert str(received) == "it is 3.5 s late. So. Wait. Then try again."
    assert (received.what, received.remedy) == (sent.what, sent.remedy)


def test_mistakes_are_counted_in_words() -> None:
    one, two = EXAMPLES[:2]

    assert str(one).startswith("1 mistake in the settings (a.yaml):\n  - ")
    assert str(two).startswith("2 mistakes in the settings")


def test_a_similar_tenant_is_suggested_only_where_there_is_one() -> None:
    with_hint, without = EXAMPLES[3:5]

    assert "Did you mean 'acme'?" in str(with_hint)
    assert "Did you mean" not in str(without)


def test_an_isolation_error_does_not_name_the_foreign_documents() -> None:
    error = errors.IsolationError(scope_key="acme", document_ids=["tenant-material-secret"])

    assert "secret" not in str(error)


def test_every_error_has_one_kind() -> None:
    kinds = (errors.ConfigurationError, errors.TransientError, errors.PermanentError)
    named = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, SyncPipelineError)
    ]

    for error in named:
        assert sum(issubclass(error, kind) for kind in kinds) <= 1
