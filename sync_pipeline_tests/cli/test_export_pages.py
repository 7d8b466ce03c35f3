from __future__ import annotations

from collections.abc import Iterator

import pytest

from sync_pipeline.cli.export import (
    Line,
    ScopeKind,
    choose_entities,
    page,
    scope_choice,
)
from sync_pipeline.cli.scopes import ScopeChoice, ScopeWord
from sync_pipeline.core.entity import Entity
from sync_pipeline.core.errors import ConfigurationError

MATERIAL = Entity(name="material", table="shop.materials", views=(("text", ("name",)),))
WORK = Entity(name="work", table="jobs", views=(("text", ("name",)),))


def lines(ids: str) -> Iterator[Line]:
    return ({"document_id": found} for found in ids)


@pytest.mark.parametrize(
    ("word", "entities"),
    [
        pytest.param("all", [MATERIAL, WORK], id="all"),
        pytest.param("material", [MATERIAL], id="name"),
        pytest.param("materials", [MATERIAL], id="table without its schema"),
        pytest.param("works", [WORK], id="plural"),
        pytest.param("jobs", [WORK], id="table"),
    ],
)
def test_entities_are_chosen_by(word: str, entities: list[Entity]) -> None:
    assert choose_entities(word, configured=[MATERIAL, WORK]) == entities


def test_an_unknown_entity_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigurationError, match="no entity 'tools'; say all, or one of materials"):
        choose_entities("tools", configured=[MATERIAL, WORK])


@pytest.mark.parametrize(
    ("kind", "tenant", "choice"),
    [
        pytest.param(None, None, ScopeChoice(ScopeWord.ALL), id="everything"),
        pytest.param(ScopeKind.GLOBAL, None, ScopeChoice(ScopeWord.GLOBAL), id="global"),
        pytest.param(ScopeKind.TENANT, None, ScopeChoice(ScopeWord.TENANTS), id="every tenant"),
        pytest.param(None, "acme", ScopeChoice(ScopeWord.TENANT, ("acme",)), id="one tenant"),
        pytest.param(
            ScopeKind.TENANT, "acme", ScopeChoice(ScopeWord.TENANT, ("acme",)), id="tenant, named"
        ),
    ],
)
def test_scopes_follow_from_both_options(
    kind: ScopeKind | None, tenant: str | None, choice: ScopeChoice
) -> None:
    assert scope_choice(kind, tenant=tenant) == choice


def test_no_tenant_owns_global_documents() -> None:
    with pytest.raises(ConfigurationError, match="exclude each other"):
        scope_choice(ScopeKind.GLOBAL, tenant="acme")


def test_everything_is_streamed_in_the_order_of_reading() -> None:
    assert list(page(lines("cab"), limit=None, offset=0)) == list(lines("cab"))


def test_pages_are_cut_from_the_order_of_ids() -> None:
    first = list(page(lines("dcbae"), limit=2, offset=0))
    second = list(page(lines("ebdac"), limit=2, offset=2))
    rest = list(page(lines("bcade"), limit=None, offset=4))

    assert first + second + rest == list(lines("abcde"))


def test_beyond_the_end_there_is_nothing() -> None:
    assert list(page(lines("abc"), limit=5, offset=3)) == []
