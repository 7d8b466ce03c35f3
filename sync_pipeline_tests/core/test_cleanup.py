from __future__ import annotations

import pytest

from sync_pipeline.core.cleanup import CleanupPolicy, plan_cleanup
from sync_pipeline.core.errors import MassDeletionRefusedError
from sync_pipeline.core.scope import GLOBAL, Scope

ACME = Scope("acme")


def stale(count: int) -> set[str]:
    return {f"{number:036}" for number in range(count)}


@pytest.mark.parametrize(
    ("indexed", "allowed"),
    [
        pytest.param(1000, 100, id="a tenth"),
        pytest.param(100, 20, id="a small number always"),
        pytest.param(15, 14, id="never everything"),
        pytest.param(0, 0, id="nothing of nothing"),
    ],
)
def test_the_allowance_follows_the_scope(indexed: int, allowed: int) -> None:
    assert CleanupPolicy().allowance(indexed) == allowed


def test_a_fraction_of_one_allows_everything() -> None:
    assert CleanupPolicy(max_deleted_fraction=1).allowance(15) == 15


def test_stale_points_come_back_sorted() -> None:
    planned = plan_cleanup(
        scope=ACME,
        stale={"material": {"b", "a", "c"}},
        indexed={"material": 100},
        policy=CleanupPolicy(),
    )

    assert planned == ["a", "b", "c"]


def test_an_empty_export_does_not_wipe_a_scope() -> None:
    with pytest.raises(MassDeletionRefusedError, match="100 of 100 points in scope 'acme'"):
        plan_cleanup(
            scope=ACME,
            stale={"material": stale(100)},
            indexed={"material": 100},
            policy=CleanupPolicy(),
        )


def test_an_empty_export_does_not_wipe_a_small_scope_either() -> None:
    with pytest.raises(MassDeletionRefusedError, match="3 of 3 points"):
        plan_cleanup(
            scope=ACME,
            stale={"material": stale(3)},
            indexed={"material": 3},
            policy=CleanupPolicy(),
        )


@pytest.mark.parametrize(
    ("scope", "command"),
    [
        pytest.param(ACME, "sync tenant acme --approve-deletions 3", id="a tenant"),
        pytest.param(GLOBAL, "sync global --approve-deletions 3", id="the global scope"),
        pytest.param(
            Scope("a b; rm"), "sync tenant 'a b; rm' --approve-deletions 3", id="a strange name"
        ),
    ],
)
def test_the_refusal_names_the_command_that_approves_it(scope: Scope, command: str) -> None:
    with pytest.raises(MassDeletionRefusedError, match=command):
        plan_cleanup(
            scope=scope,
            stale={"material": stale(3)},
            indexed={"material": 3},
            policy=CleanupPolicy(),
        )


def test_the_approved_number_is_deleted_whatever_the_share() -> None:
    policy = CleanupPolicy(approved_deletions=100)

    planned = plan_cleanup(
        scope=ACME, stale={"material": stale(100)}, indexed={"material": 100}, policy=policy
    )

    assert len(planned) == 100


@pytest.mark.parametrize(
    "count", [pytest.param(99, id="fewer"), pytest.param(101, id="more than approved")]
)
def test_another_number_than_the_approved_one_is_refused(count: int) -> None:
    policy = CleanupPolicy(approved_deletions=100)

    with pytest.raises(MassDeletionRefusedError, match=f"approved 100, but {count} would go"):
        plan_cleanup(
            scope=ACME, stale={"material": stale(count)}, indexed={"material": 200}, policy=policy
        )


def test_what_the_policy_allows_anyway_needs_no_approval() -> None:
    policy = CleanupPolicy(approved_deletions=100)

    planned = plan_cleanup(
        scope=ACME, stale={"material": stale(20)}, indexed={"material": 200}, policy=policy
    )

    assert len(planned) == 20


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"max_deleted_fraction": 1.5}, id="more than all"),
        pytest.param({"max_deleted_fraction": -0.1}, id="less than nothing"),
        pytest.param({"min_deletions_guarded": -1}, id="a negative count"),
        pytest.param({"approved_deletions": 0}, id="an approval of nothing"),
    ],
)
def test_a_policy_out_of_range_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"between 0 and 1|[01] or more"):
        CleanupPolicy(**values)  # type: ignore[arg-type]  # wrong on purpose


def test_an_entity_is_not_emptied_whatever_its_share_of_the_scope() -> None:
    with pytest.raises(MassDeletionRefusedError, match="3 of 3 of entity 'work'") as refused:
        plan_cleanup(
            scope=ACME,
            stale={"work": stale(3)},
            indexed={"material": 10_000, "work": 3},
            policy=CleanupPolicy(),
        )

    assert (refused.value.entity_type, refused.value.stale, refused.value.indexed) == ("work", 3, 3)


def test_each_entity_has_its_own_allowance() -> None:
    planned = plan_cleanup(
        scope=ACME,
        stale={"material": {"a"}, "work": {"b"}},
        indexed={"material": 2, "work": 2},
        policy=CleanupPolicy(max_deleted_fraction=0, min_deletions_guarded=1),
    )

    assert planned == ["a", "b"]


def test_what_is_approved_is_the_number_of_the_whole_scope() -> None:
    policy = CleanupPolicy(approved_deletions=5)

    def plan(works: int) -> list[str]:
        return plan_cleanup(
            scope=ACME,
            stale={"material": {"x", "y"}, "work": stale(works)},
            indexed={"material": 100, "work": works},
            policy=policy,
        )

    assert len(plan(3)) == 5
    with pytest.raises(
        MassDeletionRefusedError, match=r"delete 6 of 104 .* approved 5, but 6 would go"
    ):
        plan(4)


def test_a_refusal_names_the_entity_that_would_lose_most() -> None:
    with pytest.raises(MassDeletionRefusedError, match="4 of 4 of entity 'work'") as refused:
        plan_cleanup(
            scope=ACME,
            stale={"lamp": {"a"}, "work": stale(4)},
            indexed={"lamp": 1, "work": 4},
            policy=CleanupPolicy(),
        )

    assert refused.value.total == 5
