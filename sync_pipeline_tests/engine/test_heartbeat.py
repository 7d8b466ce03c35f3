"""Who gives signs of life: a run as a whole, or a step whose process is another one."""

from __future__ import annotations

import pytest

from sync_pipeline.core.liveness import WHOLE_RUN
from sync_pipeline.engine.heartbeat import beating
from sync_pipeline_tests.fakes.state import FakeRunHeartbeats


def seen(heartbeats: FakeRunHeartbeats) -> list[tuple[str, str]]:
    return [(beat.run_id, beat.step_key) for beat in heartbeats.list_all()]


def test_a_step_of_a_run_that_another_process_executes_has_signs_of_its_own() -> None:
    heartbeats = FakeRunHeartbeats()

    with beating(heartbeats, run_id="run-1", step_key="embed", lease_ttl_seconds=60):
        assert seen(heartbeats) == [("run-1", "embed")]

    assert seen(heartbeats) == []


def test_a_step_in_the_process_of_its_run_has_none_beside_those_of_the_run() -> None:
    heartbeats = FakeRunHeartbeats()

    with beating(heartbeats, run_id="run-1", lease_ttl_seconds=60):
        with beating(heartbeats, run_id="run-1", step_key="embed", lease_ttl_seconds=60):
            assert seen(heartbeats) == [("run-1", WHOLE_RUN)]
        with beating(heartbeats, run_id="run-2", step_key="embed", lease_ttl_seconds=60):
            assert seen(heartbeats) == [("run-1", WHOLE_RUN), ("run-2", "embed")]


def test_once_a_run_has_ended_a_step_of_it_has_its_own_again() -> None:
    heartbeats = FakeRunHeartbeats()

    with (
        pytest.raises(KeyboardInterrupt),
        beating(heartbeats, run_id="run-1", lease_ttl_seconds=60),
    ):
        raise KeyboardInterrupt

    with beating(heartbeats, run_id="run-1", step_key="embed", lease_ttl_seconds=60):
        assert ("run-1", "embed") in seen(heartbeats)


def test_a_process_that_was_forked_off_in_a_run_has_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heartbeats = FakeRunHeartbeats()

    with beating(heartbeats, run_id="run-1", lease_ttl_seconds=60):
        monkeypatch.setattr("os.getpid", lambda: 4_194_305)
        with beating(heartbeats, run_id="run-1", step_key="embed", lease_ttl_seconds=60):
            assert seen(heartbeats) == [("run-1", WHOLE_RUN), ("run-1", "embed")]
        monkeypatch.undo()
