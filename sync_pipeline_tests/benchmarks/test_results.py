"""Results survive being written, and limits are judged by the median."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.results import Figure, Limit, Outcome, Results, fullest, newest_of_each


def figure(*samples: float, limit: Limit | None = None, key: str = "sync") -> Figure:
    return Figure(key=key, label="sync", unit="s", samples=samples, limit=limit)


def results(*figures: Figure, suite: str = "quick") -> Results:
    return Results(
        suite=suite,
        date="2026-01-02",
        scale=1.0,
        machine={"cpu": "an abacus", "cores": 2},
        versions={"numpy": "2"},
        outcomes=(Outcome(name="speed", title="Speed", figures=figures, seconds=1.0),),
    )


def test_the_value_of_a_figure_is_the_median() -> None:
    assert figure(1.0, 9.0, 2.0).value == 2.0


def test_a_figure_needs_a_sample() -> None:
    with pytest.raises(ValueError, match="figure 'sync' has no samples"):
        figure()


@pytest.mark.parametrize(
    ("sample", "is_minimum", "holds"),
    [
        pytest.param(2.0, False, True, id="at the most that is allowed"),
        pytest.param(2.1, False, False, id="above the most that is allowed"),
        pytest.param(2.0, True, True, id="at the least that is asked"),
        pytest.param(1.9, True, False, id="below the least that is asked"),
    ],
)
def test_a_limit_is_kept_up_to_itself(*, sample: float, is_minimum: bool, holds: bool) -> None:
    limit = Limit(value=2.0, reason="a promise", is_minimum=is_minimum)

    assert figure(sample, limit=limit).holds is holds


def test_without_a_limit_nothing_is_judged() -> None:
    assert figure(1.0).holds is None
    assert results(figure(1.0)).broken == []


def test_broken_limits_are_named() -> None:
    slow = figure(3.0, limit=Limit(value=2.0, reason="a promise"), key="slow")

    broken = results(figure(1.0), slow).broken

    assert [found.key for _, found in broken] == ["slow"]


def test_results_read_back_are_those_that_were_written(tmp_path: Path) -> None:
    written = results(figure(1.0, 2.0, limit=Limit(value=2.0, reason="a promise")))

    path = written.write(tmp_path)

    assert path.name == "2026-01-02-quick.json"
    assert Results.read(path) == written


def test_the_file_tells_other_readers_what_follows_from_the_samples(tmp_path: Path) -> None:
    path = results(figure(1.0, 2.0, limit=Limit(value=1.0, reason="a promise"))).write(tmp_path)

    (kept,) = json.loads(path.read_text())["outcomes"][0]["figures"]

    assert (kept["value"], kept["holds"]) == (1.5, False)


def test_results_of_another_version_are_refused(tmp_path: Path) -> None:
    path = results(figure(1.0)).write(tmp_path)
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 0'))

    with pytest.raises(ValueError, match="another schema version than 1"):
        Results.read(path)


def test_the_youngest_run_of_each_suite_is_shown(tmp_path: Path) -> None:
    full, quick = tmp_path / "2026-01-01-full.json", tmp_path / "2026-02-01-quick.json"
    for path in (full, tmp_path / "2025-12-31-full.json", quick):
        path.touch()

    assert newest_of_each(tmp_path, ("full", "quick")) == [full, quick]


def test_without_any_run_there_is_none_to_show(tmp_path: Path) -> None:
    assert newest_of_each(tmp_path, ("full", "quick")) == []


def test_a_benchmark_is_shown_from_the_fullest_suite_that_measured_it() -> None:
    left_out = Outcome(name="growth", title="Growth", skipped="only in the full suite")
    grown = Outcome(name="growth", title="Growth", figures=(figure(2.0),))
    rebuilt = Outcome(name="rebuild", title="Rebuild", figures=(figure(3.0),))
    full = replace(results(suite="full"), outcomes=(grown,))
    quick = replace(results(suite="quick"), outcomes=(left_out, rebuilt))

    found = fullest([full, quick], ("rebuild", "growth"))

    assert found == [(quick, rebuilt), (full, grown)]


def test_a_series_is_found_by_its_first_part() -> None:
    outcome = results(figure(1.0, key="part/read"), figure(2.0, key="parts")).outcomes[0]

    assert list(outcome.series("part")) == ["read"]


def test_a_figure_that_was_not_measured_is_named() -> None:
    with pytest.raises(KeyError, match="benchmark 'speed' has no figure 'light'"):
        results(figure(1.0)).outcomes[0].figure("light")
