"""S71: small machines and other people's shells: programs with exactly that environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from sync_pipeline.database.embedded import stop_embedded_database
from sync_pipeline.database.embedded_programs import SYSTEM_USER
from sync_pipeline_tests.conftest import REPOSITORY

PROGRAM: Final = str(Path(sys.executable).with_name("sync-pipeline"))
CRON: Final = {"PATH": "/usr/bin:/bin"}
"""All that cron gives a program, besides a HOME that not every container has."""
HASHING: Final = {"SYNC_PIPELINE__EMBEDDING__PROVIDER": "hashing"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def can_unshare() -> bool:
    """Whether we may have a file system of our own, to take files away from a program."""
    try:
        return not subprocess.run(["unshare", "-m", "true"], check=False).returncode  # noqa: S607
    except FileNotFoundError:
        return False


as_root = pytest.mark.skipif(
    os.geteuid() != 0 or not can_unshare(), reason="needs root and a mount namespace"
)


@pytest.fixture
def folder(short_folder: Path) -> Iterator[Path]:
    """Where programs run; the server that they leave there is stopped."""
    yield short_folder
    for postgres in short_folder.rglob("postgres/PG_VERSION"):
        stop_embedded_database(postgres.parent)


def run(
    *words: str,
    folder: Path,
    environment: Mapping[str, str] = CRON,
    before: Callable[[], object] | None = None,
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *words],
        cwd=folder,
        env={**HASHING, **environment},
        preexec_fn=before,
        capture_output=True,
        text=True,
        check=False,
    )


def answer(*words: str, folder: Path, **surroundings: Any) -> Any:
    done = run("--json", *words, folder=folder, **surroundings)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def changed_machine(*changes: str, words: Sequence[str], folder: Path) -> str:
    """Change the files of the machine for one program only, run it there, tell what it says."""
    script = "\n".join(["set -e", *changes, f"cd {folder}", '"$@" 2>&1'])
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", PROGRAM, *words],  # noqa: S607
        env={**HASHING, **CRON},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("name", "umask"),
    [
        pytest.param("plain", 0o022, id="no HOME"),
        pytest.param("with spaces & 'quotes'", 0o022, id="a home with spaces"),
        pytest.param("x" * 120, 0o022, id="a home too long for a socket"),
        pytest.param("plain", 0o077, id="a umask for oneself"),
        pytest.param("plain", 0o777, id="a umask for nobody"),
        pytest.param("plain", 0, id="no umask"),
    ],
)
def test_s71_a_first_sync_works_with_hardly_an_environment(
    folder: Path, name: str, umask: int
) -> None:
    place = folder / name
    place.mkdir()

    def ask(*words: str) -> Any:
        return answer(*words, folder=place, before=lambda: os.umask(umask))

    ask("sample", "load", "builtin")
    synced = ask("sync", "all")
    status = ask("status")

    assert synced["ok"]
    assert synced["totals"]["documents"] > 0
    assert all(scope["coverage"] == 1 for scope in status["scopes"])


def test_s71_a_shell_that_is_set_up_for_another_server_changes_nothing(folder: Path) -> None:
    """What psql and others take from the environment is not meant for the embedded server."""
    for_psql = {
        "PGHOST": "db.example.org",
        "PGPORT": "55432",
        "PGUSER": "somebody",
        "PGDATABASE": "theirs",
        "PGPASSWORD": "secret",
        "PGDATESTYLE": "German",
        "PGTZ": "Asia/Kathmandu",
        "PGCLIENTENCODING": "LATIN1",
    }

    def ask(*words: str) -> Any:
        return answer(*words, folder=folder, environment={**CRON, **for_psql})

    ask("sample", "load", "builtin")
    synced = ask("sync", "all")
    status = ask("status")

    assert synced["ok"]
    assert synced["totals"]["documents"] > 0
    assert all(scope["coverage"] == 1 for scope in status["scopes"])


LEAVES_OUT_THE_USER: Final = (
    "cp -a /etc {folder}/etc",
    "mount --bind {folder}/etc /etc",
    f"for file in passwd shadow group gshadow; do sed -i '/^{SYSTEM_USER}:/d' /etc/$file; done",
)


@as_root
def test_s71_root_without_the_user_that_runs_the_server_has_it_made(folder: Path) -> None:
    changes = [line.format(folder=folder) for line in LEAVES_OUT_THE_USER]
    words = ["sh", "-c", f"{PROGRAM} database url; {PROGRAM} database stop; id -un {SYSTEM_USER}"]

    said = changed_machine(*changes, words=["--version"], folder=folder)
    made = subprocess.run(
        ["unshare", "-m", "sh", "-c", "\n".join([*changes, f"cd {folder}", '"$@"']), "sh", *words],  # noqa: S607
        env={**HASHING, **CRON},
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()

    assert said.startswith("sync-pipeline ")
    assert made[0].startswith("postgresql://postgres@/postgres?host=")
    assert made[1:] == ["The embedded PostgreSQL does not run any more.", SYSTEM_USER]


@as_root
def test_s71_where_no_user_can_be_made_one_message_names_the_cause(folder: Path) -> None:
    changes = [line.format(folder=folder) for line in LEAVES_OUT_THE_USER]
    hidden = "for at in /usr/sbin /sbin /usr/local/sbin; do mount -t tmpfs none $at; done"

    said = changed_machine(*changes, hidden, words=["database", "url"], folder=folder)

    [line] = said.splitlines()
    assert f"the user '{SYSTEM_USER}' that would run the embedded one cannot be made" in line
    assert "there is no program `useradd` here. Make it (`useradd --system pgserver`)" in line


@as_root
def test_s71_a_checkout_that_cannot_be_written_needs_a_home_and_says_so(folder: Path) -> None:
    top = REPOSITORY.resolve()
    read_only = (f"mount --bind {top} {top}", f"mount -o remount,bind,ro {top}", f"cd {top}")

    refused = changed_machine(*read_only, words=["database", "url"], folder=top)
    url = changed_machine(
        *read_only, f"export SYNC_PIPELINE_HOME={folder}", words=["database", "url"], folder=top
    )

    [line] = refused.splitlines()
    assert "Read-only file system. Set `SYNC_PIPELINE_HOME` to a folder that you may write" in line
    assert url.startswith("postgresql://postgres@/postgres?host=")


@as_root
def test_s71_a_user_without_a_name_is_told_what_postgresql_needs(folder: Path) -> None:
    folder.chmod(0o777)
    # Such users come with containers, in which everybody may read the program.
    reads_everything = ["--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"]
    become = ["setpriv", "--reuid", "54321", "--clear-groups", *reads_everything]
    done = subprocess.run(
        [*become, PROGRAM, "database", "url"],
        cwd=folder,
        env=CRON,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert "runs as user 54321, who has no name on this machine" in done.stderr


# --- a home that goes away --------------------------------------------------------------


def postmaster(folder: Path) -> psutil.Process:
    pid_file = folder / ".sync-pipeline" / "postgres" / "postmaster.pid"
    return psutil.Process(int(pid_file.read_text().split()[0]))


def is_gone(process: psutil.Process) -> bool:
    """Whether it ends; a server does so a moment after it has removed its files."""
    gone, _ = psutil.wait_procs([process], timeout=10)
    return bool(gone) or process.status() == psutil.STATUS_ZOMBIE


def clean(folder: Path, *, environment: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "-f", str(REPOSITORY / "Makefile"), "clean", f"VENV={environment}"],  # noqa: S607
        cwd=folder,
        env=CRON,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("has_environment", [True, False], ids=["with venv", "without"])
def test_s71_make_clean_stops_the_services_before_it_removes_their_home(
    folder: Path, *, has_environment: bool
) -> None:
    answer("database", "url", folder=folder)
    server, environment = postmaster(folder), folder / "venv"
    if has_environment:
        environment.mkdir()

    done = clean(folder, environment=environment)

    assert done.returncode == 0
    assert is_gone(server)
    assert [left.name for left in folder.iterdir()] == []


def test_s71_make_clean_leaves_a_process_alone_that_only_has_the_servers_number(
    folder: Path,
) -> None:
    data = folder / ".sync-pipeline" / "postgres"
    data.mkdir(parents=True)
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n")

    done = clean(folder, environment=folder / "venv")

    assert (done.returncode, data.exists()) == (0, False)


@pytest.mark.parametrize("seconds", [0, 75], ids=["at once", "and the old server has noticed"])
def test_s71_a_home_removed_under_its_server_is_used_again(folder: Path, seconds: int) -> None:
    answer("sample", "load", "builtin", folder=folder)
    left = postmaster(folder)
    shutil.rmtree(folder / ".sync-pipeline")

    answer("sample", "load", "builtin", folder=folder)
    psutil.wait_procs([left], timeout=seconds)
    synced = answer("sync", "all", folder=folder)

    assert is_gone(left)
    assert synced["ok"]


KEEPS_AN_OLD_SERVER: Final = """
    from pathlib import Path
    from sync_pipeline.database import embedded, embedded_server
    embedded_server._end_servers_without_data = lambda folder: None
    home = Path.cwd() / ".sync-pipeline"
    print(embedded.embedded_database_url(home / "postgres", stop_at_exit=False))
"""


def test_s71_a_server_that_lost_its_socket_to_an_older_one_is_replaced(folder: Path) -> None:
    """What an earlier version left: both run, and the older one takes the socket along.

    Its home was moved away: of one that was removed not every server goes on.
    """
    answer("database", "url", folder=folder)
    older = postmaster(folder)
    (folder / ".sync-pipeline").rename(folder / "moved")
    command = [sys.executable, "-c", textwrap.dedent(KEEPS_AN_OLD_SERVER)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    unreachable = postmaster(folder)
    older.terminate()
    psutil.wait_procs([older], timeout=30)

    loaded = answer("sample", "load", "builtin", folder=folder)

    assert loaded["rows"]
    assert is_gone(unreachable)
