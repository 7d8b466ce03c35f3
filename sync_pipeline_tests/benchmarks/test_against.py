"""Two checkouts at once: each is measured by itself, whichever is started first."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.against import main, run_both
from benchmarks.child import BenchmarkError
from benchmarks.home import Home

pytestmark = pytest.mark.process


def program(folder: Path, name: str, *, does: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return path


def homes(folder: Path, programs: list[Path]) -> list[Home]:
    return [
        Home(
            folder=folder / name,
            database_url="postgresql://",
            provider="hashing",
            program=str(program),
        )
        for name, program in zip(("other", "this"), programs, strict=True)
    ]


@pytest.mark.parametrize("is_reversed", [False, True])
def test_each_is_measured_by_itself(tmp_path: Path, *, is_reversed: bool) -> None:
    programs = [
        program(tmp_path, "slow", does='sleep 2; echo "$@" > said'),
        program(tmp_path, "fast", does='echo "$@" > said'),
    ]

    slow, fast = run_both(homes(tmp_path, programs), ["sync", "all"], is_reversed=is_reversed)

    assert slow >= 2
    assert fast < slow
    assert (tmp_path / "other" / "said").read_text() == "--json sync all\n"
    assert (tmp_path / "this" / "said").read_text() == "--json sync all\n"


def test_a_command_that_fails_is_named(tmp_path: Path) -> None:
    programs = [program(tmp_path, "well", does="true"), program(tmp_path, "ill", does="exit 3")]

    with pytest.raises(BenchmarkError, match="`ill --json verify all` ended with code 3"):
        run_both(homes(tmp_path, programs), ["verify", "all"], is_reversed=False)


def test_a_checkout_without_an_environment_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 1

    said = " ".join(capsys.readouterr().out.split())
    assert "has no environment: run `make setup` there" in said
