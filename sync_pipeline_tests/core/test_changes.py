"""Digests of scopes, and who owns what."""

from __future__ import annotations

import pytest

from sync_pipeline.core.changes import EntityDigest, owner_key, scope_digest

MATERIAL = EntityDigest(rows=3, xor=-17)
WORK = EntityDigest(rows=1, xor=5)


def test_the_order_of_entities_does_not_matter() -> None:
    first = scope_digest(config="c", entities={"material": MATERIAL, "work": WORK})
    second = scope_digest(config="c", entities={"work": WORK, "material": MATERIAL})

    assert first == second
    assert len(first) == 32


def test_an_entity_without_rows_counts_as_absent() -> None:
    empty = EntityDigest(rows=0, xor=0)

    assert scope_digest(config="c", entities={"work": WORK, "material": empty}) == scope_digest(
        config="c", entities={"work": WORK}
    )


@pytest.mark.parametrize(
    ("config", "entities"),
    [
        pytest.param("d", {"material": MATERIAL}, id="configuration"),
        pytest.param("c", {"material": WORK}, id="rows"),
        pytest.param("c", {"material": EntityDigest(rows=4, xor=-17)}, id="only their number"),
        pytest.param("c", {"work": MATERIAL}, id="entity"),
        pytest.param("c", {"material": MATERIAL, "work": WORK}, id="one entity more"),
        pytest.param("c", {}, id="no rows"),
    ],
)
def test_whatever_differs_gives_another_digest(
    config: str, entities: dict[str, EntityDigest]
) -> None:
    before = scope_digest(config="c", entities={"material": MATERIAL})

    assert scope_digest(config=config, entities=entities) != before


@pytest.mark.parametrize(
    ("key", "scope_key"),
    [
        pytest.param("acme", "acme", id="tenant"),
        pytest.param("global", "global", id="global"),
        pytest.param("Global", "global", id="mistaken for global"),
        pytest.param(" acme", "global", id="unusable"),
        pytest.param("", "global", id="empty"),
    ],
)
def test_rows_of_unusable_owners_belong_to_global(key: str, scope_key: str) -> None:
    assert owner_key(key) == scope_key
