"""What benchmarks find: figures with their samples and limits, and the file they are kept in."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

SCHEMA_VERSION: Final = 1

RESULTS_FOLDER: Final = Path(__file__).resolve().parent / "results"
SUITES: Final = ("full", "quick", "sizes")
"""Whose newest results are shown, the fullest suite first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a figure has to keep."""

    value: float
    reason: str
    """Where it comes from, for people; with the numbers that it was made of."""
    is_minimum: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number that was measured, maybe several times."""

    key: str
    """Names it within its benchmark; parts of a series are joined by ``/``."""
    label: str
    unit: str
    samples: tuple[float, ...]
    limit: Limit | None = None

    def __post_init__(self) -> None:
        if not self.samples:
            raise ValueError(f"figure {self.key!r} has no samples")

    @property
    def value(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def holds(self) -> bool | None:
        """Whether the limit is kept; None where there is none."""
        if self.limit is None:
            return None
        if self.limit.is_minimum:
            return self.value >= self.limit.value
        return self.value <= self.limit.value

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        limit = values["limit"]
        return cls(
            key=values["key"],
            label=values["label"],
            unit=values["unit"],
            samples=tuple(values["samples"]),
            limit=None if limit is None else Limit(**limit),
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, with what follows from them for other readers."""
        return {**asdict(self), "value": self.value, "holds": self.holds}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one benchmark found, or why it found nothing."""

    name: str
    title: str
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: str | None = None
    """Why it was not measured."""
    has_failed: bool = False
    """Whether it was begun and could not be measured."""
    seconds: float = 0.0

    def figure(self, key: str) -> Figure:
        """One figure by its key.

        Raises:
            KeyError: it was not measured.
        """
        for figure in self.figures:
            if figure.key == key:
                return figure
        raise KeyError(f"benchmark {self.name!r} has no figure {key!r}")

    def series(self, prefix: str) -> dict[str, Figure]:
        """Figures whose key begins with ``<prefix>/``, by the rest of it."""
        start = f"{prefix}/"
        return {
            figure.key.removeprefix(start): figure
            for figure in self.figures
            if figure.key.startswith(start)
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what ``to_dict`` wrote."""
        return cls(
            name=values["name"],
            title=values["title"],
            figures=tuple(map(Figure.from_dict, values["figures"])),
            notes=tuple(values["notes"]),
            skipped=values["skipped"],
            has_failed=values["has_failed"],
            seconds=values["seconds"],
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "figures": [figure.to_dict() for figure in self.figures]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """One run of a suite."""

    suite: str
    date: str
    """ISO date of the run."""
    scale: float
    """1 for the sizes that the limits are made for; smaller to try the benchmarks out."""
    machine: Mapping[str, object]
    versions: Mapping[str, str]
    outcomes: tuple[Outcome, ...] = field(default=())

    def outcome(self, name: str) -> Outcome | None:
        """What one benchmark found, None where it was not asked or left out."""
        found = (outcome for outcome in self.outcomes if outcome.name == name)
        return next((outcome for outcome in found if outcome.skipped is None), None)

    @property
    def broken(self) -> list[tuple[Outcome, Figure]]:
        """Figures that do not keep their limit."""
        return [
            (outcome, figure)
            for outcome in self.outcomes
            for figure in outcome.figures
            if figure.holds is False
        ]

    def write(self, folder: Path) -> Path:
        """Keep the results as ``<date>-<suite>.json``; a run of the same day is replaced."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.date}-{self.suite}.json"
        values = {
            "schema_version": SCHEMA_VERSION,
            **asdict(self),
            "outcomes": [outcome.to_dict() for outcome in self.outcomes],
        }
        path.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a results file.

        Raises:
            ValueError: it was written by another version of the benchmarks.
        """
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("schema_version") != SCHEMA_VERSION:
            raise ValueError(f"{path.name} has another schema version than {SCHEMA_VERSION}")
        values["outcomes"] = tuple(map(Outcome.from_dict, values["outcomes"]))
        return cls(**values)


def newest_of_each(folder: Path, suites: Sequence[str]) -> list[Path]:
    """The youngest results file of each of the suites that has one."""
    found = (sorted(folder.glob(f"????-??-??-{suite}.json")) for suite in suites)
    return [files[-1] for files in found if files]


def fullest(runs: Sequence[Results], names: Sequence[str]) -> list[tuple[Results, Outcome]]:
    """Each benchmark with the first run that measured it.

    Args:
        runs: Of several suites, the one to be preferred first.
        names: Benchmarks, in the order wanted.
    """
    found: dict[str, tuple[Results, Outcome]] = {}
    for run in runs:
        for outcome in run.outcomes:
            if outcome.name not in found or found[outcome.name][1].skipped is not None:
                found[outcome.name] = (run, outcome)
    return [found[name] for name in names if name in found]
