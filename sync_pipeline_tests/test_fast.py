"""What is fast is found out, and what is not so fast is named."""

from __future__ import annotations

import pytest

from sync_pipeline_tests.conftest import REPOSITORY
from sync_pipeline_tests.fast import (
    MODEL_LIBRARIES,
    SLOW_FIXTURES,
    SLOW_FOLDERS,
    SLOW_MARKS,
    is_fast,
    offence,
)

BAD = """
    import os, socket, subprocess, time
    import pytest

    @pytest.fixture
    def server():
        with socket.socket() as opened:
            opened.bind(("127.0.0.1", 0))
            yield

    def test_program():
        try:
            subprocess.run(["true"])
        except Exception:
            pass

    def test_socket():
        with socket.socket() as opened:
            opened.connect(("127.0.0.1", 9))

    def test_fixture(server):
        pass

    @pytest.mark.process
    def test_marked():
        subprocess.run(["true"], check=True)

    def test_good():
        time.sleep(0)
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A folder with tests that are fast, and some that only seem so."""
    marks = "\n".join(f"    {name}: here too" for name in sorted({*SLOW_MARKS, "fast"}))
    pytester.makeini(f"[pytest]\nmarkers =\n{marks}")
    pytester.makeconftest("pytest_plugins = ['sync_pipeline_tests.fast']")
    pytester.makepyfile(BAD)
    return pytester


@pytest.mark.parametrize("mark", sorted(SLOW_MARKS))
def test_whatever_carries_such_a_mark_is_not_fast(mark: str) -> None:
    assert is_fast(marks={"parametrize"}, fixtures={"tmp_path"})
    assert not is_fast(marks={"parametrize", mark}, fixtures={"tmp_path"})


@pytest.mark.parametrize("fixture", sorted(SLOW_FIXTURES))
def test_whatever_needs_such_a_fixture_is_not_fast(fixture: str) -> None:
    assert not is_fast(marks=set(), fixtures={"tmp_path", fixture})


@pytest.mark.parametrize("library", sorted(MODEL_LIBRARIES))
def test_importing_the_models_library_is_an_offence_and_any_other_is_none(library: str) -> None:
    assert offence("import", (library, None)) == f"imports {library}"
    assert offence("import", ("json", None)) is None
    assert offence("open", ("a file",)) is None


@pytest.mark.parametrize("folder", sorted(SLOW_FOLDERS))
def test_the_folders_that_are_left_out_are_there(folder: str) -> None:
    assert (REPOSITORY / "sync_pipeline_tests" / folder / "__init__.py").is_file()


def test_a_fast_test_that_starts_a_program_or_opens_a_socket_fails_and_says_what_to_write(
    project: pytest.Pytester,
) -> None:
    result = project.runpytest_inprocess("-m", "fast", "-p", "no:randomly", "-p", "no:xdist")

    result.assert_outcomes(passed=1, failed=2, errors=1, deselected=1)
    result.stdout.fnmatch_lines(
        [
            "*Failed: a fast test opens a socket: mark it with pytest.mark.process*",
            "*Failed: a fast test starts a program: mark it with pytest.mark.process*",
        ]
    )


def test_a_fast_test_that_takes_long_fails_and_says_what_to_write(
    project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as strict:
        strict.setattr("sync_pipeline_tests.fast.MOST_SECONDS", -1.0)
        result = project.runpytest_inprocess("-m", "fast", "-k", "good", "-p", "no:randomly")

    result.assert_outcomes(failed=1, deselected=4)
    result.stdout.fnmatch_lines(["*Failed: a fast test takes 0.0 s of CPU: mark it with *slow*"])


@pytest.mark.process
def test_without_the_option_nothing_is_guarded(project: pytest.Pytester) -> None:
    result = project.runpytest_inprocess("-k", "marked or program", "-p", "no:randomly")

    result.assert_outcomes(passed=2, deselected=3)
