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
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.markup import escape

from benchmarks.catalogue import CatalogueSize
from benchmarks.child import BenchmarkError
from benchmarks.home import Home, Server
from benchmarks.machine import machine_facts, package_versions
from benchmarks.results import Figure, Outcome, Results
from benchmarks.run import outcome_table
from benchmarks.workbench import SIZES, Workbench

TITLE: Final = "This checkout against another one, both at once"
COMMANDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "first": ("first sync", ("sync", "all")),
    "unchanged": ("sync all --force", ("sync", "all", "--force")),
    "skipped": ("sync all, nothing to do", ("sync", "all")),
    "verify": ("verify all", ("verify", "all")),
}
"""By name what it is called and its words; on an index in step, but for the first."""
_LOOK_SECONDS: Final = 0.02


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
    programs = [_program_of(options.other), Path(sys.executable).with_name("sync-pipeline")]
    folder = Path(tempfile.mkdtemp(prefix="spb-"))
    server = Server(folder)
    bench = Workbench(
        suite="quick",
        scale=1.0,
        sizes=SIZES["quick"],
        folder=folder,
        server=server,
        rivals_python=Path(sys.executable),
        say=lambda text: console.print(f"[dim]{text}[/]", highlight=False),
    )
    size = CatalogueSize(rows=options.rows)
    try:
        figures = _measure(bench, programs, size=size, rounds=options.rounds)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    note = f"{options.rows:,} rows; the other one is {_commit(options.other)}."
    return Outcome(name="against", title=TITLE, figures=figures, notes=(note,))


def _measure(
    bench: Workbench, programs: Sequence[Path], *, size: CatalogueSize, rounds: int
) -> tuple[Figure, ...]:
    """Per command the seconds of both, and round by round this one's over the other's."""
    seconds: dict[str, list[list[float]]] = {name: [] for name in COMMANDS}
    for number in range(rounds):
        homes = [bench.new_home(size, provider="hashing") for _ in programs]
        for name, (label, words) in COMMANDS.items():
            bench.say(f"round {number + 1} of {rounds}: {label}")
            seconds[name].append(run_both(programs, homes, words, is_reversed=number % 2 == 1))
        for home in homes:
            bench.server.drop(home.database_url)
            shutil.rmtree(home.folder)
    figures: list[Figure] = []
    for name, (label, _) in COMMANDS.items():
        others, ours = zip(*seconds[name], strict=True)
        ratios = tuple(ours_of / other for other, ours_of in seconds[name])
        figures += [
            Figure(key=f"{name}/other", label=f"{label}: the other", unit="s", samples=others),
            Figure(key=f"{name}/this", label=f"{label}: this one", unit="s", samples=ours),
            Figure(key=f"{name}/ratio", label=f"{label}: this / other", unit="x", samples=ratios),
        ]
        bench.say(f"{label}: {median(ratios):.3f} x")
    return tuple(figures)


def run_both(
    programs: Sequence[Path], homes: Sequence[Home], words: Sequence[str], *, is_reversed: bool
) -> list[float]:
    """Start one command in every home at once; the seconds of each, in the order of the homes.

    Args:
        programs: The command line of each.
        homes: Where each runs.
        words: The command.
        is_reversed: Whether the last one is started first: the first is a little ahead.

    Raises:
        BenchmarkError: one of them ended with an error.
    """
    places = list(range(len(homes)))
    processes: dict[int, subprocess.Popen[bytes]] = {}
    began = time.perf_counter()
    for place in reversed(places) if is_reversed else places:
        homes[place].folder.mkdir(parents=True, exist_ok=True)
        processes[place] = subprocess.Popen(
            [str(programs[place]), "--json", *words],
            env={**homes[place].environment, "PYTHONPATH": ""},
            cwd=homes[place].folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    seconds: dict[int, float] = {}
    while len(seconds) < len(processes):
        time.sleep(_LOOK_SECONDS)
        for place, process in processes.items():
            if place not in seconds and process.poll() is not None:
                seconds[place] = time.perf_counter() - began
                if process.returncode:
                    raise BenchmarkError(
                        f"`{' '.join(words)}` of {programs[place]} ended with code "
                        f"{process.returncode}"
                    )
    return [seconds[place] for place in places]


def _program_of(checkout: Path) -> Path:
    """The command line of another checkout.

    Raises:
        BenchmarkError: it has no environment.
    """
    program = checkout.resolve() / ".venv" / "bin" / "sync-pipeline"
    if not program.is_file():
        raise BenchmarkError(f"{checkout} has no environment: run `make setup` there")
    return program


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
        "--out", type=Path, help="folder of the results, one inside per other commit"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
