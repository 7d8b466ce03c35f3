"""What a change costs: this checkout and another one run the same command at the same time.

A shared machine is twice as fast in one minute as in the next, and runs in turn differ by a third
for that alone. Two that run at once have the same minute: their ratio differed by 2 to 4 % from
round to round where those of runs in turn differed by 30 %. Each has a database, an index and a
home of its own; what both wait for, such as the database's processes, slows down both.

``python -m benchmarks.against ../before`` needs another checkout with its environment
(``make setup`` there).
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final, get_args

from rich.console import Console
from rich.markup import escape

from benchmarks import source
from benchmarks.catalogue import CatalogueSize
from benchmarks.child import BenchmarkError
from benchmarks.home import PROGRAM, Home, Provider
from benchmarks.machine import machine_facts, package_versions
from benchmarks.results import Figure, Outcome, Results
from benchmarks.run import outcome_table
from benchmarks.workbench import SIZES, Workbench, open_bench

TITLE: Final = "This checkout against another one, both at once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A command, and what is done before it in each home."""

    name: str
    label: str
    words: tuple[str, ...] = ("sync", "all")
    before: Callable[[Home, CatalogueSize], None] = lambda _home, _size: None


def _change_texts(home: Home, size: CatalogueSize) -> None:
    count, moved = size.rows // 100, size.rows // 200
    source.change_texts(home.database_url, count=count, round_=1)
    source.delete_rows(home.database_url, count=moved, round_=2)
    source.insert_rows(home.database_url, count=moved, round_=3, size=size)


def _change_prices(home: Home, size: CatalogueSize) -> None:
    source.change_prices(home.database_url, count=size.rows // 100, round_=4)


TURNS: Final = (
    Turn(name="first", label="first sync"),
    Turn(name="unchanged", label="sync all --force", words=("sync", "all", "--force")),
    Turn(name="skipped", label="sync all, nothing to do"),
    Turn(
        name="texts", label="1 % of texts changed, 0.5 % deleted, 0.5 % new", before=_change_texts
    ),
    Turn(name="prices", label="1 % of prices changed", before=_change_prices),
    Turn(name="rebuild", label="a lost index", before=lambda home, _: home.lose_index()),
    Turn(name="verify", label="verify all", words=("verify", "all")),
)
"""What both do in each round, in this order."""
_NO_PATH: Final = {"PYTHONPATH": ""}
"""Else a checkout could run the other one's code."""


def main(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console()
    try:
        outcome = _compared(options, console)
    except BenchmarkError as error:
        console.print(f"[red]failed[/]: {escape(str(error))}", highlight=False)
        return 1
    console.print(outcome_table(outcome))
    if options.out is not None:
        results = Results(
            suite="quick",
            date=datetime.now(UTC).date().isoformat(),
            scale=1.0,
            machine=machine_facts(),
            versions=package_versions(),
            outcomes=(outcome,),
        )
        kept_at = results.write(options.out / _commit(options.other))
        console.print(f"Results: {kept_at}", highlight=False)
    return 0


def _compared(options: argparse.Namespace, console: Console) -> Outcome:
    """Measure with a server and a folder for the length of it.

    Raises:
        BenchmarkError: the other checkout has no environment, or a command failed.
    """
    programs = [_program_of(options.other), PROGRAM]
    with open_bench(
        "quick", say=lambda text: console.print(f"[dim]{text}[/]", highlight=False)
    ) as bench:
        size = CatalogueSize(rows=options.rows)
        figures = _measure(
            bench, programs, size=size, rounds=options.rounds, provider=options.provider
        )
    note = (
        f"{options.rows:,} rows, vectors by {options.provider}; the other one is "
        f"{_commit(options.other)}."
    )
    return Outcome(name="against", title=TITLE, figures=figures, notes=(note,))


def _measure(
    bench: Workbench,
    programs: Sequence[str],
    *,
    size: CatalogueSize,
    rounds: int,
    provider: Provider,
) -> tuple[Figure, ...]:
    """Per turn the seconds of both, and round by round this one's over the other's."""
    seconds: dict[str, list[list[float]]] = {turn.name: [] for turn in TURNS}
    for number in range(rounds):
        homes = [
            replace(bench.new_home(size, provider=provider), settings=_NO_PATH, program=program)
            for program in programs
        ]
        for turn in TURNS:
            bench.say(f"round {number + 1} of {rounds}: {turn.label}")
            for home in homes:
                turn.before(home, size)
            seconds[turn.name].append(run_both(homes, turn.words, is_reversed=number % 2 == 1))
        for home in homes:
            bench.server.drop(home.database_url)
            shutil.rmtree(home.folder)
    figures: list[Figure] = []
    for turn in TURNS:
        name, label = turn.name, turn.label
        before, now = zip(*seconds[name], strict=True)
        ratios = tuple(after / earlier for earlier, after in seconds[name])
        figures += [
            Figure(key=f"{name}/other", label=f"{label}: the other", unit="s", samples=before),
            Figure(key=f"{name}/this", label=f"{label}: this one", unit="s", samples=now),
            Figure(key=f"{name}/ratio", label=f"{label}: this / other", unit="x", samples=ratios),
        ]
        bench.say(f"{label}: {median(ratios):.3f} x")
    return tuple(figures)


def run_both(homes: Sequence[Home], words: Sequence[str], *, is_reversed: bool) -> list[float]:
    """Run one command in every home at once; the seconds of each, in the order of the homes.

    Args:
        homes: Where it runs, each with its program.
        words: The command.
        is_reversed: Whether the last one is started first: the first is a little ahead.

    Raises:
        ChildFailedError: one of them ended with an error.
    """
    places = range(len(homes))
    with ThreadPoolExecutor(len(homes)) as pool:
        running = {
            place: pool.submit(homes[place].run, "--json", *words)
            for place in (reversed(places) if is_reversed else places)
        }
    return [running[place].result().seconds for place in places]


def _program_of(checkout: Path) -> str:
    """The command line of another checkout.

    Raises:
        BenchmarkError: it has no environment.
    """
    program = checkout.resolve() / ".venv" / "bin" / "sync-pipeline"
    if not program.is_file():
        raise BenchmarkError(f"{checkout} has no environment: run `make setup` there")
    return str(program)


def _commit(checkout: Path) -> str:
    """The commit that is checked out, shortened."""
    finished = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"],  # noqa: S607 - whichever there is
        check=True,
        capture_output=True,
        text=True,
    )
    return finished.stdout.strip()


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what a change costs.")
    parser.add_argument("other", type=Path, help="another checkout, with its environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=SIZES["quick"].rows)
    parser.add_argument(
        "--provider", choices=get_args(Provider), default="hashing", help="of the vectors"
    )
    parser.add_argument(
        "--out", type=Path, help="folder of the results, one inside per other commit"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
