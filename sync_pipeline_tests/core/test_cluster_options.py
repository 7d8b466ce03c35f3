"""What follows from keeping points more than once."""

from __future__ import annotations

import pytest

from sync_pipeline.core.cluster_options import ClusterOptions


def test_nothing_said_is_the_server_s_own_way() -> None:
    options = ClusterOptions()

    assert options.kept == {}
    assert (options.confirming, options.comparing, options.ordering) == (None, None, "weak")


@pytest.mark.parametrize(
    ("copies", "confirming"),
    [pytest.param(2, 2, id="two"), pytest.param(3, 2, id="three"), pytest.param(5, 3, id="five")],
)
def test_with_several_copies_most_of_them_have_to_know(copies: int, confirming: int) -> None:
    options = ClusterOptions(replication_factor=copies)

    assert options.confirming == confirming
    assert (options.comparing, options.ordering) == ("majority", "medium")
    assert options.kept == {
        "replication_factor": copies,
        "write_consistency_factor": confirming,
    }


def test_one_copy_is_confirmed_and_read_as_ever() -> None:
    options = ClusterOptions(replication_factor=1)

    assert options.kept == {"replication_factor": 1}
    assert (options.comparing, options.ordering) == (None, "weak")


def test_what_is_said_is_taken() -> None:
    options = ClusterOptions(
        replication_factor=3,
        write_consistency_factor=1,
        write_ordering="weak",
        read_consistency=1,
    )

    assert (options.confirming, options.comparing, options.ordering) == (1, 1, "weak")


def test_what_is_fixed_at_the_making_is_never_changed() -> None:
    options = ClusterOptions(shard_number=6, payload_on_disk=False)

    assert options.kept == {"shard_number": 6, "payload_on_disk": False}
    assert options.changeable == {"payload_on_disk": False}
