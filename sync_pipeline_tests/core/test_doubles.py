from __future__ import annotations

import pytest

from sync_pipeline.core.doubles import Doubled
from sync_pipeline.core.scope import Scope


@pytest.mark.parametrize(
    ("rows", "holder", "keeper"),
    [
        pytest.param({"acme": 2}, None, None, id="nobody can tell two rows of one scope apart"),
        pytest.param({"acme": 2}, "acme", None, id="nor which of them was indexed"),
        pytest.param({"acme": 1, "globex": 1}, None, "acme", id="the first by key"),
        pytest.param({"acme": 1, "globex": 1}, "globex", "globex", id="who has it keeps it"),
        pytest.param({"acme": 1, "globex": 1}, "other", "acme", id="whoever has no row does not"),
        pytest.param({"acme": 2, "globex": 1}, "acme", "globex", id="who can tell its row"),
        pytest.param({"acme": 2, "globex": 3}, "acme", None, id="nobody can"),
    ],
)
def test_the_document_belongs_to(rows: dict[str, int], holder: str | None, keeper: str) -> None:
    assert Doubled(rows).keeper(holder=holder) == keeper


def test_other_tenants_are_counted_and_not_named() -> None:
    found = Doubled({"acme": 2, "globex": 1, "initech": 1}).describe(scope=Scope("acme"))

    assert found == "the id is not unique: 2 rows of this scope and 2 of other tenants have it"
