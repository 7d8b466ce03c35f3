"""What every ``RunHeartbeats`` promises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from sync_pipeline.core.liveness import WHOLE_RUN
from sync_pipeline.core.ports import RunHeartbeats
from sync_pipeline.database.run_heartbeats import PostgresRunHeartbeats
from sync_pipeline.processes import process_name

Machines = Callable[[str], RunHeartbeats]


def test_a_sign_of_life_is_young_and_names_its_process(heartbeats_of: Machines) -> None:
    here = heartbeats_of("here")
    here.beat(run_id="run-1", step_key="embedded_documents")

    (beat,) = here.list_all()
    assert (beat.run_id, beat.step_key, beat.is_gone) == ("run-1", "embedded_documents", False)
    assert beat.process.startswith("here:")
    assert 0 <= beat.age_seconds < 30


def test_a_run_and_each_of_its_steps_are_apart(heartbeats_of: Machines) -> None:
    here = heartbeats_of("here")
    for run_id, step_key in (("run-2", "b"), ("run-1", "b"), ("run-1", WHOLE_RUN), ("run-1", "a")):
        here.beat(run_id=run_id, step_key=step_key)

    here.end(run_id="run-1", step_key="a")

    beats = [(beat.run_id, beat.step_key) for beat in here.list_all()]
    assert beats == [("run-1", WHOLE_RUN), ("run-1", "b"), ("run-2", "b")]


def test_a_step_that_another_process_took_over_is_not_ended_by_the_first(
    heartbeats_of: Machines,
) -> None:
    first = heartbeats_of("here")
    first.beat(run_id="run-1", step_key="a")
    second = heartbeats_of("there")
    second.beat(run_id="run-1", step_key="a")

    first.end(run_id="run-1", step_key="a")

    (beat,) = second.list_all()
    assert beat.process.startswith("there:")


def test_ending_what_never_began_is_no_error(heartbeats_of: Machines) -> None:
    heartbeats_of("here").end(run_id="run-1", step_key="a")


def test_runs_that_are_over_are_forgotten_with_all_their_steps(heartbeats_of: Machines) -> None:
    here = heartbeats_of("here")
    for run_id, step_key in (("run-1", "a"), ("run-1", "b"), ("run-2", "a")):
        here.beat(run_id=run_id, step_key=step_key)

    assert here.forget(["run-1", "never heard of"]) == 2

    assert [beat.run_id for beat in here.list_all()] == ["run-2"]


@pytest.mark.process
def test_ages_are_told_by_the_clock_of_the_database(engine: Engine) -> None:
    here = PostgresRunHeartbeats(engine)
    here.beat(run_id="run-1", step_key="a")
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE sync_pipeline.run_heartbeat SET beat_at = now() - interval '1 hour'")
        )

    (beat,) = here.list_all()
    assert 3600 <= beat.age_seconds < 3660
    assert beat.process == process_name()

    here.beat(run_id="run-1", step_key="a")
    assert here.list_all()[0].age_seconds < 30
