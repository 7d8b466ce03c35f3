"""Standard streams of other encodings, closed ones, and readers that leave (scenario S66)."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from typing import Final

import pytest

from sync_pipeline.cli.streams import READER_GONE, holds_any_text

PROLOGUE: Final = (
    "import sys\n"
    "from sync_pipeline.cli.streams import flush_output, prepare_streams\n"
    "prepare_streams()\n"
)
UTF8: Final = {"PYTHONIOENCODING": "utf-8"}


def script(
    code: str, *, redirected: str = "", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run code after ``prepare_streams``, in a shell that redirects its streams."""
    return subprocess.run(
        ["/bin/bash", "-c", f'"$0" -c "$1" {redirected}', sys.executable, PROLOGUE + code],
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        timeout=60,
    )


@pytest.mark.process
@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", rb"caf\xe9 \u0433\u0438\u043f\u0441 \U0001f600"),
        ("latin-1", b"caf\xe9 \\u0433\\u0438\\u043f\\u0441 \\U0001f600"),
        ("cp1251", rb"caf\xe9 " + "гипс".encode("cp1251") + rb" \U0001f600"),
        ("utf-8", "café гипс \U0001f600".encode()),
    ],
)
def test_s66_what_an_encoding_lacks_is_escaped_on_both_streams(
    encoding: str, expected: bytes
) -> None:
    """No text fails to be written; what the encoding has is written in it."""
    text = "'caf\\u00e9 \\u0433\\u0438\\u043f\\u0441 \\U0001f600'"

    done = script(f"print({text}); print({text}, file=sys.stderr)", PYTHONIOENCODING=encoding)

    assert (done.returncode, done.stdout, done.stderr) == (0, expected + b"\n", expected + b"\n")


@pytest.mark.process
def test_s66_a_lone_surrogate_is_escaped_too() -> None:
    """Bytes of a command line or a database that are no text are seen."""
    done = script("print('B\\udce9ton')", PYTHONIOENCODING="utf-8")

    assert done.stdout == b"B\\udce9ton\n"


@pytest.mark.process
def test_s66_a_reader_that_leaves_ends_the_program_quietly() -> None:
    """The exit code is that of SIGPIPE, and nothing is said."""
    code = "for n in range(200_000): print('x' * 80)\nflush_output()"

    done = script(code, redirected='| head -1; exit "${PIPESTATUS[0]}"')

    assert (done.returncode, done.stderr) == (READER_GONE, b"")
    assert done.stdout == b"x" * 80 + b"\n"


@pytest.mark.process
def test_s66_a_reader_of_errors_that_leaves_stops_nothing() -> None:
    """The work goes on without telling about itself."""
    code = "for n in range(2_000): print('x' * 80, file=sys.stderr)\nprint('done')"

    done = script(code, redirected="2> >(exec true)")

    assert (done.returncode, done.stdout) == (0, b"done\n")


@pytest.mark.process
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_s66_closed_streams_are_no_fault_and_no_other_file_takes_their_place(closed: str) -> None:
    """A file that is opened later is not written into by what was meant for a stream."""
    code = (
        "import os, tempfile\n"
        "file = tempfile.TemporaryFile()\n"
        "print('out', flush=True); print('err', file=sys.stderr, flush=True)\n"
        "os.write(file.fileno(), b'kept')\n"
        "file.seek(0)\n"
        "sys.exit(7 if file.read() == b'kept' and file.fileno() > 2 else 8)\n"
    )

    assert script(code, redirected=closed).returncode == 7


@pytest.mark.process
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110
def test_s66_a_full_disk_ends_with_one_line() -> None:
    """What cannot be written is said once, without a traceback."""
    done = script("print('x' * 100_000)\nflush_output()", redirected="> /dev/full")

    assert done.returncode == 1
    assert done.stderr.startswith(b"error: the output cannot be written: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("encoding", "holds"),
    [("utf-8", True), ("UTF8", True), ("utf-16", True), ("ascii", False), ("latin1", False)],
)
def test_s66_only_unicode_holds_any_text(*, encoding: str, holds: bool) -> None:
    """JSON is written in ASCII to every other stream."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)

    assert holds_any_text(stream) is holds
