"""Which runs can never end by themselves."""

from __future__ import annotations

import pytest

from sync_pipeline.core.liveness import WHOLE_RUN, Heartbeat, why_dead


def beat(step_key: str, *, age: float = 0, is_gone: bool = False) -> Heartbeat:
    return Heartbeat(
        run_id="run-1", step_key=step_key, process="there:7:1", age_seconds=age, is_gone=is_gone
    )


@pytest.mark.parametrize(
    ("beats", "ended", "expected"),
    [
        pytest.param([beat(WHOLE_RUN, age=180)], [], None, id="as long as it may be silent"),
        pytest.param(
            [beat(WHOLE_RUN, age=181)],
            [],
            "its process has given no sign of life for 181 s (there:7:1)",
            id="silent for longer",
        ),
        pytest.param(
            [beat(WHOLE_RUN, is_gone=True)],
            [],
            "its process was killed",
            id="killed on this machine",
        ),
        pytest.param(
            [beat(WHOLE_RUN), beat("embed_part[part_0001]", age=200)],
            [],
            "step 'embed_part[part_0001]' has given no sign of life for 200 s (there:7:1)",
            id="whoever starts the steps lives, and a step was lost",
        ),
        pytest.param(
            [beat(WHOLE_RUN), beat("a", age=200)], ["a"], None, id="a lost step that has failed"
        ),
        pytest.param(
            [beat(WHOLE_RUN), beat("a", age=1, is_gone=True)],
            [],
            None,
            id="a step that was killed here is left to its executor",
        ),
        pytest.param([], [], None, id="nothing is known"),
    ],
)
def test_a_run_is_dead_when_whoever_owes_a_sign_of_life_is_silent(
    beats: list[Heartbeat], ended: list[str], expected: str | None
) -> None:
    assert why_dead(beats, silent_seconds=180, ended_steps=ended) == expected
