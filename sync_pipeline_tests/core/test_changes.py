"""Digests of scopes, who owns what, and when events can be relied on."""

from __future__ import annotations

import pytest

from sync_pipeline.core.changes import (
    EntityDigest,
    FeedState,
    FeedStatus,
    covered_entities,
    owner_key,
    scope_digest,
    why_not_covered,
)

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


# --- epochs -----------------------------------------------------------------------------


def offer(
    state: FeedState = FeedState.INSTALLED,
    *,
    epoch: str | None = None,
    detail: str = "",
    blind_spots: tuple[str, ...] = (),
) -> FeedStatus:
    return FeedStatus(
        entity_type="offer",
        state=state,
        detail=detail,
        pending=0,
        oldest_seconds=None,
        epoch=epoch,
        blind_spots=blind_spots,
    )


@pytest.mark.parametrize(
    ("status", "recorded", "why"),
    [
        pytest.param(offer(epoch="e"), "e", None, id="the same"),
        pytest.param(
            offer(epoch="e", blind_spots=("what others are called",)), "e", None, id="blind spot"
        ),
        pytest.param(
            offer(epoch="f"),
            "e",
            "the feed of offer was replaced or switched off since the last full sync",
            id="another",
        ),
        pytest.param(
            offer(epoch="e"),
            None,
            "the feed of offer was not there at the last full sync",
            id="none was kept",
        ),
        pytest.param(
            offer(blind_spots=("a subscription writes it",)),
            "e",
            "the feed of offer does not see every change: a subscription writes it",
            id="a hole",
        ),
        pytest.param(
            offer(),
            "e",
            "a transaction that still runs changed rows of offer and could leave no event",
            id="losing now",
        ),
        pytest.param(
            offer(FeedState.ABSENT), None, "no feed of offer is installed", id="not installed"
        ),
        pytest.param(
            offer(FeedState.ABSENT),
            "e",
            "the feed of offer was removed since the last full sync",
            id="removed",
        ),
        pytest.param(
            offer(FeedState.UNABLE, detail="it is a view"),
            "e",
            "offer cannot have a feed: it is a view",
            id="cannot have one",
        ),
        pytest.param(
            offer(FeedState.OUTDATED, detail="a trigger is disabled", epoch="e"),
            "e",
            "the feed of offer does not see every change: a trigger is disabled",
            id="outdated",
        ),
    ],
)
def test_events_are_relied_on_only_where_the_epoch_is_the_one_that_was_kept(
    status: FeedStatus, recorded: str | None, why: str | None
) -> None:
    epochs = {} if recorded is None else {"offer": recorded}

    assert why_not_covered(status, recorded=recorded) == why
    assert covered_entities([status], epochs) == ({"offer"} if why is None else set())
