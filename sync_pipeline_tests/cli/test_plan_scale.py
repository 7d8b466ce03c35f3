"""``plan --scale``: arithmetic on paper, with what this installation knows of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sync_pipeline.cli.scale import duration, size
from sync_pipeline.core.measured import TEXTS_PER_SECOND
from sync_pipeline.settings import ScheduleSettings, Settings, SourceSettings
from sync_pipeline_tests.cli.installed import CommandLine

SCALE = "rows=1000000,tenants=100,workers=2"


@pytest.fixture
def new(run: CommandLine, tmp_path: Path) -> CommandLine:
    """Nothing is installed; whoever opens it fails."""
    run.settings = Settings(home=tmp_path)
    run.installation = None  # type: ignore[assignment]  # must not be asked
    return run


@pytest.fixture
def used(run: CommandLine, tmp_path: Path) -> CommandLine:
    """An installation whose embedded database is there; its model made 500 texts/s."""
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("18")
    run.settings = Settings(home=tmp_path)
    run.sync.rates.record(model_id=run.sync.models.main.model_id, texts=1000, seconds=2)
    return run


def test_it_says_what_is_needed_and_what_gives_way(new: CommandLine) -> None:
    result = new("plan", "--scale", "rows=1e9,tenants=100,workers=4")

    assert result.exit_code == 0
    assert "index on disk" in result.stdout
    assert result.stdout.count("gives way: ") == 4
    assert "memory of the index gives way: `index.vectors_on_disk: true`" in result.stdout
    assert "nothing is installed here yet" in result.stdout


def test_nothing_is_started_for_it(new: CommandLine, tmp_path: Path) -> None:
    assert new("plan", "--scale", SCALE).exit_code == 0

    assert list(tmp_path.iterdir()) == []


def test_programs_get_numbers_in_seconds_and_bytes(new: CommandLine) -> None:
    answer = json.loads(new("plan", "--scale", SCALE, "--json").stdout)

    assert answer["ok"] is True
    assert answer["scale"]["texts"] == TEXTS_PER_SECOND.value
    assert answer["connections"] == 24
    assert answer["first_to_give_way"] is None
    assert {"part", "needed", "carried", "unit", "remedy"} == answer["limits"][0].keys()


def test_what_the_installation_recorded_and_is_set_to_beats_the_benchmarks(
    used: CommandLine,
) -> None:
    used.settings = used.settings.model_copy(
        update={
            "source": SourceSettings(max_connections=4),
            "schedule": ScheduleSettings(run_retention_days=3),
        }
    )
    scale = json.loads(used("plan", "--scale", SCALE, "--json").stdout)["scale"]

    assert (scale["texts"], scale["dimension"]) == (500, 64)
    assert (scale["connections"], scale["retention_days"]) == (4, 3)
    assert "This installation embedded 500 texts/s" in used("plan", "--scale", SCALE).stdout


def test_what_is_asked_for_beats_what_is_known(used: CommandLine) -> None:
    asked = f"{SCALE},texts=9,dimension=1024,connections=7"
    scale = json.loads(used("plan", "--scale", asked, "--json").stdout)["scale"]

    assert (scale["texts"], scale["dimension"], scale["connections"]) == (9, 1024, 7)


def test_a_state_with_a_database_of_its_own_has_connections_of_its_own(new: CommandLine) -> None:
    url = "postgresql://somebody@nowhere.invalid/"
    new.settings = Settings.model_validate(
        {
            "home": new.settings.home,
            "source": {"url": f"{url}shop"},
            "state": {"url": f"{url}state", "max_connections": 5},
        }
    )
    new.use(new.sync)

    scale = json.loads(new("plan", "--scale", SCALE, "--json").stdout)["scale"]

    assert scale["connections"] == 15


def test_it_goes_with_neither_scopes_nor_a_file(run: CommandLine) -> None:
    for words in (["all"], ["--out", "plan.json"]):
        result = run("plan", *words, "--scale", SCALE)

        assert result.exit_code == 2
        assert "is about no scopes" in result.stderr


def test_without_it_scopes_are_needed(run: CommandLine) -> None:
    result = run("plan")

    assert result.exit_code == 2
    assert "plan needs SCOPES" in result.stderr


@pytest.mark.parametrize(
    ("seconds", "shown"), [(1.25, "1.2 s"), (119, "119 s"), (120, "2 min"), (3 * 86_400, "3 d")]
)
def test_durations_are_in_the_largest_unit_of_which_there_are_two(
    seconds: float, shown: str
) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("size_bytes", "shown"), [(512, "512 B"), (1536, "1.5 KiB"), (5 * 2**40, "5 TiB")]
)
def test_sizes_are_in_binary_units(size_bytes: float, shown: str) -> None:
    assert size(size_bytes) == shown
