"""The log file: lines of JSON, from several processes, and no trouble when it cannot be written."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from logging.handlers import BufferingHandler
from pathlib import Path

import pytest

from sync_pipeline import redaction
from sync_pipeline.core.errors import ConfigurationError, StoreUnavailableError
from sync_pipeline.log_file import LogFile, log_to_file, stop_logging_to_file
from sync_pipeline.redaction import hide
from sync_pipeline_tests.engine.world import World
from sync_pipeline_tests.fakes.embedder import POISON
from sync_pipeline_tests.logged import Logged

CANARY = "hunter2canary"
_log = logging.getLogger("sync_pipeline.tests")


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(redaction, "_known", set())
    factory = logging.getLogRecordFactory()
    yield
    stop_logging_to_file()
    logging.setLogRecordFactory(factory)


@pytest.fixture
def logged(tmp_path: Path) -> Logged:
    """An open log, with everything in it."""
    path = tmp_path / "log.jsonl"
    log_to_file(path, level="debug")
    return Logged(path)


def test_a_line_says_when_who_where_and_what(logged: Logged) -> None:
    _log.warning("trying again in %.0f s", 2)

    line = logged.lines[-1]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line.pop("host")
    assert line.pop("process")
    assert line == {
        "level": "warning",
        "logger": "sync_pipeline.tests",
        "message": "trying again in 2 s",
    }


def test_an_environment_is_named_in_every_line_once_it_is_known(logged: Logged) -> None:
    _log.warning("before")
    log_to_file(logged.path, level="debug", environment="staging")
    _log.warning("then")
    log_to_file(logged.path, level="debug")
    _log.warning("still")

    told = {line["message"]: line.get("environment") for line in logged.lines}
    assert (told["before"], told["then"], told["still"]) == (None, "staging", "staging")


def test_the_file_is_its_owners_alone(logged: Logged) -> None:
    assert stat.S_IMODE(logged.path.stat().st_mode) == 0o600


def test_every_step_of_a_scope_has_a_line_at_its_start_and_at_its_end(logged: Logged) -> None:
    world = World()
    world.put_many("1", "2")

    world.run(run_id="run-7")

    steps = logged.events("step_started", "step_ended")
    assert [(it["step"], it["event"].removeprefix("step_")) for it in steps] == [
        (step, event)
        for step in ("export", "compare", "embed", "seal", "upsert", "cleanup")
        for event in ("started", "ended")
    ]
    assert {(it["run_id"], it["scope"]) for it in steps} == {("run-7", "acme")}
    ended = {it["step"]: it for it in logged.events("step_ended")}
    assert ended["export"]["counts"] == {"rows": 2, "documents": 2}
    assert ended["embed"]["counts"] == {"embedded_texts": 2, "embedded_tokens": 6}
    assert ended["upsert"]["counts"] == {"points_written": 2}
    assert ended["cleanup"]["counts"] == {"indexed": 2}
    assert all(it["seconds"] >= 0 for it in ended.values())


def test_a_step_that_fails_says_why_and_what_to_do(logged: Logged) -> None:
    world = World()
    world.put_many("1", "2")
    world.run()
    world.remove("1", "2")

    with pytest.raises(Exception, match="refused to delete"):
        world.run()

    (failed,) = logged.events("step_failed")
    assert (failed["step"], failed["level"], failed["scope"]) == ("cleanup", "error", "acme")
    assert failed["error"]["code"] == "MassDeletionRefusedError"
    assert "refused to delete 2 of 2 points" in failed["error"]["message"]
    assert "sync-pipeline sync" in failed["error"]["remedy"]


def test_a_step_that_is_stopped_says_what_it_had_done(logged: Logged) -> None:
    world = World()
    world.set_options(upsert_batch_size=1)
    world.put_many("1", "2")

    world.run(sync=replace(world.sync, should_stop=lambda: len(world.points) == 1))

    (stopped,) = logged.events("step_stopped")
    assert (stopped["level"], stopped["error"]["code"]) == ("warning", "StoppedError")
    assert (stopped["step"], stopped["counts"]) == ("upsert", {"points_written": 1})


def test_no_text_of_a_document_is_ever_logged(logged: Logged) -> None:
    world = World()
    world.put("1", name=f"{CANARY} cement")
    world.put("2", name=f"{CANARY} {POISON}")
    world.put("3", name=None, unit=None, price=CANARY)
    world.put("4", name=f"{CANARY} bad number", price=float("nan"))
    world.store.fail_next("upsert", RuntimeError(f"row {CANARY}"))

    with pytest.raises(RuntimeError):
        world.run()
    world.run()
    world.found("acme", CANARY)

    assert len(logged.events("step_failed")) == 1
    assert logged.events("step_failed")[0]["error"]["code"] == "RuntimeError"
    assert logged.events("step_ended")
    assert CANARY not in logged.text


def test_records_of_libraries_stay_out(logged: Logged) -> None:
    logging.getLogger("sqlalchemy.engine").error("INSERT %s", CANARY)

    assert CANARY not in logged.text


def test_an_error_of_others_is_named_without_its_message(logged: Logged) -> None:
    try:
        raise ValueError(CANARY)
    except ValueError as error:
        _log.error("not foreseen: %s", type(error).__name__, exc_info=error)

    line = logged.lines[-1]
    assert line["error"]["code"] == "ValueError"
    assert "test_an_error_of_others" in line["error"]["at"][0]
    assert CANARY not in logged.text


def test_secrets_are_masked_in_messages_and_in_every_field(logged: Logged) -> None:
    hide([CANARY])

    _log.warning("key %s", CANARY, extra={"fields": {"a": [{"b": f"x {CANARY}"}]}})
    _log.warning("postgresql://app:other@db/shop")

    assert CANARY not in logged.text
    assert logged.lines[-2]["a"] == [{"b": "x ***"}]
    assert "postgresql://app:***@db/shop" in logged.text


def test_what_would_end_a_line_is_an_escape(logged: Logged) -> None:
    """Given to the handler alone: pytest's own log cannot send half a character to its parent."""
    odd = 'a\nb\r\x00\x1b"\u2028\udc80'
    record = _log.makeRecord(_log.name, logging.WARNING, __file__, 0, "%s", (odd,), None)

    with closing(LogFile(logged.path)) as alone:
        alone.handle(record)

    assert logged.lines[-1]["message"] == odd


def test_less_is_written_at_a_higher_level(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log_to_file(path, level="error")

    _log.warning("a warning")
    _log.error("an error")

    assert [line["message"] for line in Logged(path).lines[1:]] == ["an error"]


def test_a_file_that_logrotate_moved_away_is_made_again(logged: Logged, tmp_path: Path) -> None:
    rotated = logged.path.rename(tmp_path / "log.jsonl.1")

    _log.warning("after")

    assert [line["message"] for line in logged.lines] == ["after"]
    assert "after" not in rotated.read_text()
    assert stat.S_IMODE(logged.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("place", "message"),
    [
        pytest.param("nowhere/log.jsonl", "No such file or directory", id="no such folder"),
        pytest.param(".", "Is a directory", id="a folder"),
    ],
)
def test_a_file_that_cannot_be_opened_is_refused(tmp_path: Path, place: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        log_to_file(tmp_path / place)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="No space left on device"):
        log_to_file(Path("/dev/full"))


def test_a_pipe_that_nobody_reads_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(ConfigurationError, match="No such device or address"):
        log_to_file(tmp_path / "pipe")


def test_lines_that_are_lost_later_are_one_warning_and_no_error(
    logged: Logged, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_number: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    _log.warning("lost")
    _log.warning("lost too")
    monkeypatch.undo()
    _log.warning("kept")

    told = [it.getMessage() for it in caplog.records if "are lost" in it.getMessage()]
    said = f"lines of the log {logged.path} are lost, the work goes on: No space left on device"
    assert told == [said]
    assert logged.lines[-1]["message"] == "kept"


def test_a_line_that_was_cut_off_does_not_spoil_the_next(
    logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda number, data: write(number, data[:10]))
    _log.warning("cut off")
    monkeypatch.undo()

    _log.warning("whole")

    assert json.loads(logged.text.splitlines()[-1])["message"] == "whole"


WRITER = """
import logging, sys
from pathlib import Path
from sync_pipeline.log_file import log_to_file
log_to_file(Path(sys.argv[1]))
for number in range(100):
    logging.getLogger("sync_pipeline.x").info("%s", f"{sys.argv[2]} " * 10_000)
"""


@pytest.mark.process
def test_processes_that_share_a_file_do_not_mix_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    words = [sys.executable, "-c", WRITER, str(path)]

    writers = [subprocess.Popen([*words, letter]) for letter in "abc"]

    assert [writer.wait() for writer in writers] == [0, 0, 0]
    messages = [line["message"] for line in Logged(path).lines if line["logger"].endswith(".x")]
    assert sorted(messages) == [f"{letter} " * 10_000 for letter in "abc" for _ in range(100)]


WARNED = """
import logging, sys
from pathlib import Path
from sync_pipeline.log_file import log_to_file
log_to_file(Path(sys.argv[1]))
logging.getLogger("sync_pipeline.x").info("everyday")
logging.getLogger("sync_pipeline.x").warning("look")
"""


@pytest.mark.process
def test_where_nobody_has_set_up_logging_warnings_are_still_shown(tmp_path: Path) -> None:
    words = [sys.executable, "-c", WARNED, str(tmp_path / "log.jsonl")]

    done = subprocess.run(words, capture_output=True, text=True, check=True)

    assert done.stderr == "look\n"


def test_without_a_file_nothing_is_told_to_anybody() -> None:
    listening = BufferingHandler(100)
    world = World()
    world.put("1")
    world.store.fail_next("upsert", StoreUnavailableError("down"))

    logging.getLogger().addHandler(listening)
    try:
        with pytest.raises(StoreUnavailableError, match="down"):
            world.run()
    finally:
        logging.getLogger().removeHandler(listening)

    assert listening.buffer == []
