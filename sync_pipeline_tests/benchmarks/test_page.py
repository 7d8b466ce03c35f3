"""The page quotes the results file, and is up to date."""

import json
from pathlib import Path

from benchmarks.images import FOLDER, IMAGES
from benchmarks.names import COMMANDS, CONTENDERS, SCENARIOS
from benchmarks.page import PAGE, page
from benchmarks.prose import SECTIONS
from benchmarks.results import (
    RESULTS_FOLDER,
    SUITES,
    Figure,
    Limit,
    Outcome,
    Results,
    fullest,
    newest_of_each,
)
from benchmarks.suites import BENCHMARKS, OF_SIZES


def figure(key: str, value: float, *, unit: str = "s", limit: Limit | None = None) -> Figure:
    return Figure(key=key, label=f"figure {key}", unit=unit, samples=(value,), limit=limit)


def write(folder: Path, *outcomes: Outcome) -> Path:
    machine = {"cpu": "an abacus", "cores": 2, "memory_gib": 4, "os": "stone", "python": "3"}
    return Results(
        suite="full",
        date="2026-01-02",
        scale=1.0,
        machine=machine,
        versions={"numpy": "2"},
        outcomes=outcomes,
    ).write(folder)


def test_the_committed_page_is_what_the_newest_results_give() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(newest_of_each(RESULTS_FOLDER, SUITES))


def test_the_committed_plots_are_drawn_from_the_newest_results() -> None:
    paths = newest_of_each(RESULTS_FOLDER, SUITES)
    origins = {run.suite: path.name for path in paths for run in [Results.read(path)]}

    for run, outcome in fullest([Results.read(path) for path in paths], tuple(IMAGES)):
        if outcome.skipped is None:
            drawn = (FOLDER / IMAGES[outcome.name]).read_text(encoding="utf-8")
            assert origins[run.suite] in drawn


def test_committed_results_name_no_folder_of_the_machine() -> None:
    for path in RESULTS_FOLDER.glob("*.json"):
        text = path.read_text(encoding="utf-8")

        assert not any(place in text for place in ("/tmp", "/home", "/work", "/root"))  # noqa: S108 - looked for, not used


def test_every_benchmark_is_explained_on_the_page() -> None:
    assert SECTIONS.keys() == BENCHMARKS.keys() | OF_SIZES.keys()


def test_the_page_shows_values_limits_and_whether_they_are_kept(tmp_path: Path) -> None:
    slow = figure("sync", 7.0, limit=Limit(value=5.0, reason="a promise"))
    path = write(tmp_path, Outcome(name="rebuild", title="Rebuilding", figures=(slow,)))

    text = page([path])

    assert "| Rebuilding | figure sync | 7.00 s | ≤ 5.00 s | **no** |" in text
    assert "an abacus" in text
    assert path.name in text


def test_what_was_not_measured_says_why(tmp_path: Path) -> None:
    path = write(tmp_path, Outcome(name="growth", title="Growth", skipped="no time"))

    assert "Not measured in this run: no time." in page([path])


def test_without_results_the_page_says_how_to_get_them() -> None:
    assert "make bench-full" in page([])


def test_contenders_stand_side_by_side(tmp_path: Path) -> None:
    figures = [figure("hashing/rows", 100, unit="rows")]
    for place, name in enumerate(CONTENDERS):
        figures += [figure(f"hashing/{name}/{scenario}", place + 1.5) for scenario in SCENARIOS]
    path = write(tmp_path, Outcome(name="side_by_side", title="S", figures=tuple(figures)))

    text = page([path])

    assert "| Free vectors, 100 rows | sync-pipeline | own script | LangChain index() |" in text
    assert "| nothing changed | 1.50 s | 2.50 s | 3.50 s |" in text


def test_growth_has_one_line_per_size_in_order(tmp_path: Path) -> None:
    figures = []
    for rows in (100_000, 10_000):
        figures.append(figure(f"memory/{rows}", 300, unit="MiB"))
        for command in COMMANDS:
            figures.append(figure(f"seconds/{command}/{rows}", 2.5))
            figures.append(figure(f"per_row/{command}/{rows}", 25.5, unit="us"))
    path = write(tmp_path, Outcome(name="growth", title="Growth", figures=tuple(figures)))

    lines = [line for line in page([path]).splitlines() if line.startswith("| 10")]

    assert [line.split(" | ")[0] for line in lines] == ["| 10,000", "| 100,000"]
    assert "2.50 s (25.5 us per row)" in lines[0]


def test_model_speeds_have_formats_across_and_batches_down(tmp_path: Path) -> None:
    speeds = {
        "speed/float32/8/1/sorted": 100.5,
        "speed/float32/8/2/sorted": 150.5,
        "speed/float32/8/2/unsorted": 140.5,
    }
    figures = tuple(figure(key, value, unit="texts/s") for key, value in speeds.items())
    path = write(tmp_path, Outcome(name="model_speed", title="Model", figures=figures))

    text = page([path])

    assert "| batches of 8 | 100 | 150 |" in text
    assert "| batches of 8, in the order given |  | 140 |" in text


def test_sizes_have_options_down_and_what_they_cost_across(tmp_path: Path) -> None:
    figures = (
        Figure(key="recall/defaults", label="", unit="%", samples=(96.5, 91.0, 98.25)),
        figure("recall/scalar", 98.1, unit="%"),
        figure("disk/defaults", 231.4, unit="MiB"),
        figure("disk/scalar", 255.1, unit="MiB"),
        figure("build/scalar", 30.2),
    )
    path = write(tmp_path, Outcome(name="index_sizes", title="Sizes", figures=figures))

    lines = [line.split(" | ") for line in page([path]).splitlines() if line.startswith("| ")]

    head = next(line for line in lines if line[0] == "| Options")
    rows = {
        line[0].removeprefix("| "): dict(zip(head, line, strict=True))
        for line in lines
        if line[0] in {"| defaults", "| scalar"}
    }
    assert rows["defaults"]["Recall@10"] == "96.5 % (91 to 98.2)"
    assert rows["scalar"]["Recall@10"] == "98.1 %"
    assert rows["scalar"]["On disk"] == "255 MiB"
    assert rows["scalar"]["Building |"] == "30.2 s |"
    assert rows["defaults"]["Building |"] == " |"


def test_the_results_file_is_plain_json(tmp_path: Path) -> None:
    path = write(tmp_path, Outcome(name="rebuild", title="R", figures=(figure("sync", 1.0),)))

    assert json.loads(path.read_text())["outcomes"][0]["name"] == "rebuild"
