"""
PostgreSQL for the tests and the benchmarks: one that is given, or a private cluster from an installed server.

A private cluster listens on 127.0.0.1 alone, has no socket file, and several run side by side.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from dev import private, processes
from dev.host import Failed, Host, Unavailable, apt_install
from dev.private import Folder, Given

INSTALL_HINT = "PostgreSQL is missing: install postgresql, or set KGW_TEST_DATABASE_URL to a database of your own."
LAYOUTS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
UNPRIVILEGED = ("postgres", "nobody")
START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0

# https://www.postgresql.org/docs/current/server-shutdown.html
_FAST = signal.SIGINT
_IMMEDIATE = signal.SIGQUIT
_STATUS_LINE = 7  # of postmaster.pid, from 0; the server writes "ready" there once it accepts connections


class Cluster:
    """
    A private PostgreSQL cluster, new and empty, for root and for ordinary users.

    As a context manager it starts, and in the end stops and deletes its data. In between `kill` and `stop` keep the
    data and the URL, and `start` goes on from there. As root the server runs as an unprivileged user.
    """

    def __init__(self, state: Path, binaries: Path, *, durable: bool) -> None:
        """
        `durable` is whether commits wait for the disk (fsync). Without it they survive a killed server, which is all
        that tests ask, but not a power cut; a benchmark must pay for it.
        """
        self._binaries = binaries
        self._durable = durable
        self._account = _unprivileged_account() if os.geteuid() == 0 else None
        self._folder = Folder.create(state, "postgres")
        self._data = _data_folder(self._folder, self._account)
        (self._port,) = private.free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://kgw@127.0.0.1:{self._port}/postgres"

    @property
    def folder(self) -> Path:
        return self._folder.path

    @property
    def data(self) -> Path:
        return self._data

    @property
    def pid(self) -> int | None:
        """The postmaster while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start, and return when it accepts connections. Raises Failed with the end of its log when it does not."""
        if self.pid:
            return
        if not (self._data / "PG_VERSION").exists():
            self._create()
        process = self._process = self._spawn(
            self._binaries / "postgres",
            *("-D", str(self._data)),
            *("-c", "listen_addresses=127.0.0.1", "-c", f"port={self._port}", "-c", "unix_socket_directories="),
            *("-c", f"fsync={'on' if self._durable else 'off'}", "-c", f"cluster_name={self._folder.name}"),
        )
        self._folder.record(process.pid)
        processes.wait_until(lambda: process.poll() is not None or self._is_ready(), START_TIMEOUT)
        if process.poll() is not None or not self._is_ready():
            raise Failed(f"PostgreSQL did not start:\n{private.tail(self._log)}")

    def kill(self) -> None:
        """
        End it as a crash would: no checkpoint, recovery at the next start.

        An immediate shutdown and not SIGKILL: that would leave the server's children and shared memory behind.
        """
        self._end(_IMMEDIATE)

    def stop(self) -> None:
        """End it in good order; open connections are closed."""
        self._end(_FAST)

    def close(self) -> None:
        """Stop, and delete its data."""
        self.stop()
        remove(self._folder)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _log(self) -> Path:
        return self.folder / "output.log"

    def _create(self) -> None:
        options = ["--username=kgw", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        if not self._durable:
            options.append("--no-sync")
        creation = self._spawn(self._binaries / "initdb", "-D", str(self._data), *options)
        try:
            code = creation.wait(START_TIMEOUT)
        finally:
            creation.kill()
        if code:
            raise Failed(f"initdb failed:\n{private.tail(self._log)}")

    def _spawn(self, program: Path, *arguments: str) -> subprocess.Popen[bytes]:
        account = self._account
        with self._log.open("ab") as output:
            return subprocess.Popen(
                [program, *arguments],
                # Not the person's folder, which the unprivileged user may not enter.
                cwd=self._data,
                env=self._folder.mark | {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )

    def _is_ready(self) -> bool:
        file = self._data / "postmaster.pid"
        lines = file.read_text().splitlines() if file.exists() else []
        return len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"

    def _end(self, signum: int) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signum)
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def find(
    state: Path, *, given: str | None, host: Host, durable: bool, layouts: Sequence[str] = LAYOUTS
) -> Cluster | Given:
    """
    The database server to use, not started yet: the given URL, an installed server, or apt and then the server.

    Raises Unavailable with the line that says what to install.
    """
    if given:
        return Given(given)
    provide(given=given, host=host, layouts=layouts)
    if binaries := installed(host, layouts):
        return Cluster(state, binaries, durable=durable)
    raise Unavailable(INSTALL_HINT)


def provide(*, given: str | None, host: Host, layouts: Sequence[str] = LAYOUTS) -> None:
    """Fetch what `find` would have to fetch, so that later commands need no network. Raises Unavailable."""
    if given or installed(host, layouts):
        return
    if not (apt_install("postgresql", host) and installed(host, layouts)):
        raise Unavailable(INSTALL_HINT)


def installed(host: Host, layouts: Sequence[str] = LAYOUTS) -> Path | None:
    """The folder with the programs of the newest installed server."""
    folders = [Path(match) for layout in layouts for match in Path("/").glob(layout.lstrip("/"))]
    on_path = host.which("postgres")
    candidates = [*sorted(folders, key=_version, reverse=True), *([Path(on_path).parent] if on_path else [])]
    return next((each for each in candidates if (each / "initdb").exists() and (each / "postgres").exists()), None)


def end_cluster(folder: Folder) -> None:
    """End the server that a killed command left, and delete its data."""
    if not folder.end(_IMMEDIATE, 10.0):
        folder.end(signal.SIGKILL, 10.0)
    remove(folder)


def remove(folder: Folder) -> None:
    shutil.rmtree(_outside(folder), ignore_errors=True)
    folder.remove()


def _data_folder(folder: Folder, account: pwd.struct_passwd | None) -> Path:
    """
    Where the data lies: in the server's folder, but in the system's temporary one if its user cannot get there.

    A checkout under /root is such a place.
    """
    if account is None:
        data = folder.path / "data"
        data.mkdir(mode=0o700)
        return data
    os.chown(folder.path, account.pw_uid, account.pw_gid)
    inside = all(_may_enter(parent, account) for parent in folder.path.parents)
    data = folder.path / "data" if inside else _outside(folder)
    data.mkdir(mode=0o700)
    os.chown(data, account.pw_uid, account.pw_gid)
    return data


def _outside(folder: Folder) -> Path:
    return Path(tempfile.gettempdir(), f"kgw-{folder.name}")


def _may_enter(folder: Path, account: pwd.struct_passwd) -> bool:
    found = folder.stat()
    if found.st_uid == account.pw_uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.pw_gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _unprivileged_account() -> pwd.struct_passwd:
    accounts = {each.pw_name: each for each in pwd.getpwall()}
    for name in UNPRIVILEGED:
        if name in accounts:
            return accounts[name]
    raise Unavailable("PostgreSQL refuses to run as root, and there is no user postgres or nobody.")


def _version(binaries: Path) -> tuple[int, ...]:
    digits = "".join(each if each.isdigit() else " " for each in str(binaries))
    return tuple(int(each) for each in digits.split())
