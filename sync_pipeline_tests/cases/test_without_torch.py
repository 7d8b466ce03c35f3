"""What a person waits for does not load torch: it takes seconds, and half a gigabyte."""

from __future__ import annotations

import re

import pytest

from sync_pipeline_tests.cases.installation import Case

SETTINGS = """
entities: [{name: item, table: items, views: {text: [name]}}]
embedding: {provider: sentence-transformers, dtype: DTYPE, device: cpu}
"""
HEAVY = {"torch", "transformers", "sentence_transformers"}
_IMPORTED = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)


@pytest.fixture(params=["float32", "bfloat16"])
def shop(case: Case, request: pytest.FixtureRequest) -> Case:
    """Ten rows of a tenant, and the bundled model."""
    case.sql(
        "CREATE TABLE items (id int PRIMARY KEY, tenant_id text, is_global boolean DEFAULT false, "
        "name text)",
        "INSERT INTO items "
        "SELECT i, 'acme', false, 'copper pipe ' || i FROM generate_series(1, 10) i",
    )
    case.settings(SETTINGS.replace("DTYPE", request.param))
    case.environment = {
        "SYNC_PIPELINE__EMBEDDING__PROVIDER": "sentence-transformers",
        "PYTHONPROFILEIMPORTTIME": "1",
    }
    return case


def imported(shop: Case, *arguments: str) -> set[str]:
    """The libraries that a command imports; it has to end well."""
    done = shop.run(*arguments)
    assert done.returncode == 0, done.stdout + _IMPORTED.sub("", done.stderr)
    names = _IMPORTED.findall(done.stderr)
    assert "sync_pipeline.cli.main" in names
    return {name.partition(".")[0] for name in names}


@pytest.mark.process
@pytest.mark.model
def test_a_few_texts_are_synced_asked_for_and_examined_without_torch(shop: Case) -> None:
    first = imported(shop, "sync", "all")
    shop.sql("UPDATE items SET name = name || ' new'")

    again = imported(shop, "sync", "all")
    asked = imported(shop, "search", "pipes of copper", "--tenant", "acme")
    examined = imported(shop, "doctor")

    assert not HEAVY & (first | again | asked | examined)
    assert "tokenizers" in asked
    assert shop.found("pipes of copper", tenant="acme")


@pytest.mark.process
@pytest.mark.model
def test_many_texts_are_not_left_to_numpy(shop: Case) -> None:
    shop.sql(
        "INSERT INTO items "
        "SELECT i, 'acme', false, 'steel tube ' || i FROM generate_series(11, 400) i"
    )

    assert {"torch", "onnxruntime"} & imported(shop, "sync", "all")
