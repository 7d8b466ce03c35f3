"""The embedded server starts, is shared, stops, and comes back after SIGKILL."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from sync_pipeline.core.errors import ConfigurationError
from sync_pipeline.database.embedded import embedded_database_url, stop_embedded_database
from sync_pipeline.database.embedded_server import MAX_SOCKET_PATH_BYTES
from sync_pipeline.database.urls import driver_url

PATIENCE_SECONDS = 30.0

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(short_folder: Path) -> Iterator[Path]:
    """A data folder that does not exist yet, its server stopped afterwards."""
    yield short_folder / "pg"
    stop_embedded_database(short_folder / "pg")


def query(url: str, statement: str) -> object:
    """Run one statement and commit; the first value of its result, if it has one."""
    with psycopg.connect(driver_url(url, "libpq")) as connection:
        cursor = connection.execute(statement.encode())
        found = cursor.fetchone() if cursor.description else None
    return found and found[0]


def start_program(folder: Path, then: str = "", **options: object) -> subprocess.Popen[str]:
    """Start another process that uses the server, prints its URL, and does something else."""
    program = f"""
        import sys, time, psycopg
        from pathlib import Path
        from sync_pipeline.database.embedded import embedded_database_url
        from sync_pipeline.database.urls import driver_url
        url = embedded_database_url(Path({str(folder)!r}), **{options!r})
        connection = psycopg.connect(driver_url(url, "libpq"), autocommit=True)
        print(url, flush=True)
        {then}
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,  # ends in `end`: a program that reads it stays until then
        stdout=subprocess.PIPE,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> int:
    with process:
        process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    end(process)


def server_processes(folder: Path) -> list[psutil.Process]:
    """Every process that works in the data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder):
                found.append(process)
        except psutil.Error:
            continue
    return found


def is_running(folder: Path) -> bool:
    return bool(server_processes(folder))


def kill_hard(*processes: psutil.Process) -> None:
    """Send SIGKILL and wait for the end, which comes a little later."""
    for process in processes:
        process.kill()
    psutil.wait_procs(processes, timeout=PATIENCE_SECONDS)


def is_gone(process: psutil.Process) -> bool:
    """Whether it ends, collected or not; a server does so after it has removed its files."""
    gone, _ = psutil.wait_procs([process], timeout=10)
    return bool(gone) or process.status() == psutil.STATUS_ZOMBIE


def postmaster(folder: Path) -> psutil.Process:
    return psutil.Process(int((folder / "postmaster.pid").read_text().split()[0]))


# --- starting and sharing ---------------------------------------------------------------


def test_a_server_starts_in_a_folder_that_does_not_exist_yet(folder: Path) -> None:
    url = embedded_database_url(folder / "below" / "it")

    version = query(url, "SHOW server_version")

    assert url.startswith("postgresql+psycopg://postgres@/postgres?host=")
    assert str(version).startswith("18.")
    stop_embedded_database(folder / "below" / "it")


def test_asking_again_gives_the_same_server(folder: Path) -> None:
    first = embedded_database_url(folder)
    pid = postmaster(folder).pid

    second = embedded_database_url(folder)

    assert (second, postmaster(folder).pid) == (first, pid)


def test_a_database_of_its_own_is_made_once(folder: Path) -> None:
    url = embedded_database_url(folder, database="dagster")
    query(url, "CREATE TABLE kept (id int)")

    again = embedded_database_url(folder, database="dagster")

    assert again == url
    assert query(again, "SELECT current_database()") == "dagster"
    assert query(again, "SELECT count(*) FROM kept") == 0


def test_processes_that_start_at_once_share_one_server_and_the_last_stops_it(folder: Path) -> None:
    programs = [start_program(folder, then="sys.stdin.read()") for _ in range(3)]

    urls = {first_line(program) for program in programs}
    statuses = [end(program) for program in programs]

    assert len(urls) == 1
    assert statuses == [0, 0, 0]
    assert not is_running(folder)


def test_the_server_runs_on_while_another_process_uses_it(folder: Path) -> None:
    url = embedded_database_url(folder)
    other = start_program(folder)

    end(other)

    assert query(url, "SELECT 1") == 1


def test_a_process_that_does_not_count_as_user_leaves_the_server_running(folder: Path) -> None:
    program = start_program(folder, stop_at_exit=False)
    url = first_line(program)

    end(program)

    assert query(url, "SELECT 1") == 1


def test_the_server_is_not_stopped_under_somebody_who_looks_into_it(folder: Path) -> None:
    program = start_program(folder, then="sys.stdin.read()")
    url = first_line(program)

    with psycopg.connect(driver_url(url, "libpq"), application_name="psql") as guest:
        end(program)
        found = guest.execute("SELECT 1").fetchone()

    assert found == (1,)


def test_stopping_twice_is_not_an_error(folder: Path) -> None:
    embedded_database_url(folder)

    stop_embedded_database(folder)
    stop_embedded_database(folder)

    assert not is_running(folder)


def test_a_process_that_removed_its_folder_makes_nothing_new_when_it_ends(folder: Path) -> None:
    data = folder / "pg"
    program = start_program(
        data,
        then="import shutil; from sync_pipeline.database.embedded import stop_embedded_database; "
        f"stop_embedded_database(Path({str(data)!r})); shutil.rmtree({str(folder)!r})",
    )

    status = end(program)

    assert status == 0
    assert not folder.exists()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("x" * 120, id="path too long for a socket"),
        pytest.param("with 'quotes', (signs) & spaces", id="path with special characters"),
        pytest.param("каталог", id="path in another script"),
    ],
)
def test_any_folder_will_do(folder: Path, name: str) -> None:
    data = folder / name / "pg"

    url = embedded_database_url(data)

    socket_folder = Path(str(query(url, "SHOW unix_socket_directories")))
    assert query(url, "SELECT 1") == 1
    assert len(os.fsencode(socket_folder)) < MAX_SOCKET_PATH_BYTES
    assert socket_folder.stat().st_mode & 0o077 == 0
    stop_embedded_database(data)
    socket_folder.rmdir()


# --- SIGKILL ----------------------------------------------------------------------------


def test_after_sigkill_of_a_process_the_next_one_to_leave_stops_the_server(folder: Path) -> None:
    program = start_program(folder, then="time.sleep(600)")
    first_line(program)
    kill(program)
    ran_on = is_running(folder)

    end(start_program(folder))

    assert ran_on
    assert not is_running(folder)


def test_after_sigkill_of_everything_what_was_committed_is_there(folder: Path) -> None:
    program = start_program(
        folder,
        then="connection.execute('CREATE TABLE kept AS SELECT 42 AS answer'); "
        "connection.autocommit = False; connection.execute('DELETE FROM kept'); "
        "print('written', flush=True); time.sleep(600)",
    )
    first_line(program)
    assert first_line(program) == "written"

    kill_hard(*server_processes(folder))
    kill(program)
    url = embedded_database_url(folder)

    assert query(url, "SELECT answer FROM kept") == 42


def test_after_sigkill_of_the_postmaster_its_busy_backends_are_waited_for(folder: Path) -> None:
    url = embedded_database_url(folder)
    query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    busy = start_program(
        folder, then="connection.execute('SELECT count(*) FROM generate_series(1, 20000000)')"
    )
    first_line(busy)
    time.sleep(0.2)

    kill_hard(postmaster(folder))
    again = embedded_database_url(folder)

    assert query(again, "SELECT answer FROM kept") == 42
    end(busy)


@pytest.mark.parametrize(
    "left",
    [
        pytest.param("{pid}\n{folder}\n1700000000\n5432\n{folder}\n\n1 2\nready\n", id="reused id"),
        pytest.param("{pid}\n{folder}\n1700000000\n", id="cut off"),
        pytest.param("", id="empty"),
    ],
)
def test_a_pid_file_that_names_a_strange_process_does_not_prevent_a_start(
    folder: Path, left: str
) -> None:
    embedded_database_url(folder)
    stop_embedded_database(folder)
    (folder / "postmaster.pid").write_text(left.format(pid=os.getpid(), folder=folder))

    url = embedded_database_url(folder)

    assert query(url, "SELECT 1") == 1


def test_an_initialisation_that_was_killed_is_begun_again(folder: Path) -> None:
    partial = folder.with_name("pg.partial")
    partial.mkdir(parents=True)
    (partial / "PG_VERSION").write_text("18\n")

    url = embedded_database_url(folder)

    assert query(url, "SELECT 1") == 1
    assert not partial.exists()


# --- what cannot work -------------------------------------------------------------------


def test_a_folder_with_other_files_is_left_alone(folder: Path) -> None:
    folder.mkdir()
    (folder / "photo.jpg").write_text("mine")

    with pytest.raises(ConfigurationError, match="holds files but no database"):
        embedded_database_url(folder)

    assert [file.name for file in folder.iterdir()] == ["photo.jpg"]


@pytest.mark.parametrize("name", ["$(reboot)", "`reboot`", 'a"b', "a\\b"])
def test_a_path_that_a_shell_would_change_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match="Set `SYNC_PIPELINE_HOME` to a plain path"):
        embedded_database_url(folder / name)

    assert not (folder / name).exists()


def test_a_folder_that_cannot_be_made_is_a_configuration_error(folder: Path) -> None:
    folder.write_text("a file")

    with pytest.raises(ConfigurationError, match=r"cannot use .*Set `SYNC_PIPELINE_HOME`"):
        embedded_database_url(folder / "below" / "pg")

    folder.unlink()


def test_a_damaged_folder_is_reported_with_its_log(folder: Path) -> None:
    embedded_database_url(folder)
    stop_embedded_database(folder)
    (folder / "postgresql.conf").write_text("max_connections = many\n")

    with pytest.raises(ConfigurationError, match=r"did not start or stop: .*Its log is .*/pg/log"):
        embedded_database_url(folder)


def test_a_server_of_another_major_version_is_refused(folder: Path) -> None:
    embedded_database_url(folder)
    stop_embedded_database(folder)
    (folder / "PG_VERSION").write_text("16\n")

    with pytest.raises(
        ConfigurationError, match=r"was made by PostgreSQL 16, and the embedded one is 18"
    ):
        embedded_database_url(folder)


def test_sigterm_of_a_program_leaves_a_server_that_can_be_used(folder: Path) -> None:
    program = start_program(folder, then="time.sleep(600)")
    url = first_line(program)

    program.send_signal(signal.SIGTERM)
    end(program)

    assert query(url, "SELECT 1") == 1


# --- a home that goes away while its server runs ----------------------------------------


def test_a_server_whose_folder_was_removed_takes_nothing_from_the_next_one(folder: Path) -> None:
    embedded_database_url(folder)
    left = postmaster(folder)
    shutil.rmtree(folder)

    url = embedded_database_url(folder)

    assert is_gone(left)
    assert query(url, "SELECT 1") == 1
    assert postmaster(folder).pid != left.pid


def test_a_server_that_runs_without_its_socket_is_started_again(folder: Path) -> None:
    url = embedded_database_url(folder)
    query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    before = postmaster(folder)
    (folder / ".s.PGSQL.5432").unlink()

    again = embedded_database_url(folder)

    assert query(again, "SELECT answer FROM kept") == 42
    assert is_gone(before)


def test_a_folder_that_was_moved_while_its_server_ran_works_where_it_is_now(folder: Path) -> None:
    query(embedded_database_url(folder), "CREATE TABLE kept AS SELECT 42 AS answer")
    elsewhere = folder.with_name("elsewhere")
    folder.rename(elsewhere)

    url = embedded_database_url(elsewhere)

    assert query(url, "SELECT answer FROM kept") == 42
    stop_embedded_database(elsewhere)


def test_who_used_a_folder_that_was_removed_does_not_stop_its_successor(folder: Path) -> None:
    data = folder / "pg"
    earlier = start_program(data, then="sys.stdin.read()")
    first_line(earlier)
    shutil.rmtree(folder)
    later = start_program(data, then="sys.stdin.read()")
    url = first_line(later)

    end(earlier)

    assert query(url, "SELECT 1") == 1
    end(later)
    assert not is_running(data)


def test_a_folder_that_was_removed_is_used_again_by_the_same_process(folder: Path) -> None:
    data = folder / "pg"
    program = start_program(
        data,
        then=f"import shutil; shutil.rmtree({str(folder)!r}); "
        f"embedded_database_url(Path({str(data)!r})); print('again', flush=True); "
        "sys.stdin.read()",
    )
    first_line(program)
    assert first_line(program) == "again"
    ran = is_running(data)

    end(program)

    assert ran
    assert not is_running(data)
