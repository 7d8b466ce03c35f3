"""Standard streams as people have them: of any encoding, closed, or with a reader that left.

What a stream's encoding lacks is written as an escape. A reader that goes away
(``export | head``) ends the program quietly; work that only tells about itself
on standard error goes on.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Final, TextIO, cast

READER_GONE: Final = 141
"""Exit code after the reader of our output left: what a shell reports for SIGPIPE."""
CANNOT_WRITE: Final = 1
"""Exit code where the output cannot be written, on a full disk for instance."""

_OUT: Final = 1
_ERR: Final = 2


def prepare_streams() -> None:
    """Make standard output and standard error fit for any text, reader and end.

    Called first of all: a file or socket opened before would take the number of a
    stream that was closed from the start, and be written into.
    """
    for number in (0, _OUT, _ERR):
        _occupy(number)
    sys.stdout = _prepared(sys.stdout, _Output(_OUT, "wb", closefd=False))
    sys.stderr = _prepared(sys.stderr, _Tolerant(_ERR, "wb", closefd=False))


def flush_output() -> None:
    """Write what is left of the output, so that its failure has an exit code and no traceback."""
    sys.stdout.flush()


def holds_any_text(stream: TextIO) -> bool:
    """Whether the stream's encoding has every character."""
    try:
        return codecs.lookup(stream.encoding or "ascii").name.startswith("utf")
    except LookupError:
        return False


class _Output(io.FileIO):
    """Standard output, which ends the program when it cannot be written any more."""

    def write(self, data: bytes) -> int:  # type: ignore[override]  # whatever has a buffer
        try:
            return super().write(data)
        except BrokenPipeError:
            _discard(self.fileno())
            raise SystemExit(READER_GONE) from None
        except OSError as error:
            _discard(self.fileno())
            print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)  # noqa: T201
            raise SystemExit(CANNOT_WRITE) from None


class _Tolerant(io.FileIO):
    """Standard error; what nobody can read is dropped."""

    def write(self, data: bytes) -> int:  # type: ignore[override]  # whatever has a buffer
        left = memoryview(data)
        try:
            while left:
                left = left[super().write(left) :]
        except OSError:
            _discard(self.fileno())
        return len(data)


def _occupy(number: int) -> None:
    """Give a stream that was closed from the start a place where everything vanishes."""
    try:
        os.fstat(number)
    except OSError:
        opened = os.open(os.devnull, os.O_RDWR)
        os.dup2(opened, number)
        if opened != number:
            os.close(opened)


def _discard(number: int) -> None:
    """Send everything that is still to come to nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    os.close(nowhere)


def _prepared(stream: TextIO | None, target: io.FileIO) -> TextIO:
    """A stream like ``stream`` that escapes what its encoding lacks, and writes to ``target``."""
    is_err = target.fileno() == _ERR
    if stream is not None and not isinstance(stream, io.TextIOWrapper):
        return stream
    encoding = "utf-8" if stream is None else stream.encoding
    by_line = is_err or (stream is not None and (stream.line_buffering or stream.write_through))
    # A line that a signal interrupts would stay in a buffer, and be written once more at the end.
    buffer = target if is_err else io.BufferedWriter(cast(io.RawIOBase, target))
    return io.TextIOWrapper(
        cast(io.BufferedWriter, buffer),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=by_line,
        write_through=is_err,
    )
