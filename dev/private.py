"""
Folders of what a command starts: who owns one, which processes belong to it, how those of a killed command are found.

The owner holds a lock on a file in the folder. The kernel releases it however the owner ends, so a folder whose lock
can be taken is stale, and no pid needs to be compared.
"""

import fcntl
import os
import secrets
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from dev import processes

MARK = "KGW_PRIVATE_FOLDER"
_OWNER = "owner.lock"
_PROCESSES = "processes"

# Below the range from which Linux, macOS and Windows take the ports of outgoing connections.
_PORTS = range(20_000, 32_000)


class Server(Protocol):
    """A server that the commands use: a context manager that starts it, and stops it if it is ours."""

    @property
    def url(self) -> str: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class Given:
    """A server that someone else runs. It is used and left alone."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class Folder:
    """The folder of one private server or one child of a command, owned until `remove`. Its name is unique."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def create(cls, state: Path, kind: str) -> "Folder":
        """Make `kind-XXXX` in the state folder. It appears there under its name with the lock already held."""
        name = f"{kind}-{secrets.token_hex(4)}"
        state.mkdir(parents=True, exist_ok=True)
        hidden = state / f".{name}"
        hidden.mkdir(mode=0o700)
        lock = os.open(hidden / _OWNER, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return cls(hidden.rename(state.resolve() / name), lock)

    @classmethod
    def claim(cls, path: Path) -> "Folder | None":
        """Take over a folder whose owner has ended, or return None while it lives or is another user's."""
        try:
            lock = os.open(path / _OWNER, os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return None
        return cls(path.resolve(), lock)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def kind(self) -> str:
        return self.name.rpartition("-")[0]

    @property
    def token(self) -> str:
        return self.name.rpartition("-")[2]

    @property
    def mark(self) -> dict[str, str]:
        """The environment entry by which every descendant is recognized."""
        return {MARK: str(self.path)}

    def record(self, pid: int) -> None:
        """Remember a process whose environment we may not be allowed to read, because it runs as another user."""
        with (self.path / _PROCESSES).open("a") as file:
            file.write(f"{pid}\n")

    def processes(self) -> list[int]:
        """
        The living processes that belong here.

        A recorded pid counts only while its command line holds the folder's name: pids are used again.
        """
        file = self.path / _PROCESSES
        recorded = [int(line) for line in file.read_text().split()] if file.exists() else []
        ours = {pid for pid in recorded if self.name in processes.command_line(pid)}
        return sorted(ours | set(processes.carriers(f"{MARK}={self.path}")))

    def end(self, signum: int, timeout: float) -> bool:
        """Send a signal to every process that belongs here and wait, in seconds; False when some are still there."""
        for pid in self.processes():
            processes.send(pid, signum)
        return processes.wait_until(lambda: not self.processes(), timeout)

    def end_and_remove(self, grace: float = 5.0) -> None:
        """End every process that belongs here, the reluctant ones by force, and delete the folder."""
        if not self.end(signal.SIGTERM, grace):
            self.end(signal.SIGKILL, grace)
        self.remove()

    def remove(self) -> None:
        """Delete the folder with everything in it and give up the lock."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.release()

    def release(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def stale(state: Path) -> Iterator[Folder]:
    """The folders whose owner was killed, each taken over by the caller, who ends its server and removes it."""
    for path in sorted(state.glob("*-*/")):
        if folder := Folder.claim(path):
            yield folder


def in_use(state: Path) -> list[str]:
    """The names of the folders that a living command owns."""
    owned = []
    for path in sorted(state.glob("*-*/")):
        if folder := Folder.claim(path):
            folder.release()
        elif (path / _OWNER).exists():
            owned.append(path.name)
    return owned


def free_ports(count: int) -> list[int]:
    """Distinct TCP ports that nothing listens on at 127.0.0.1."""
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            if (listener := _try_port(_PORTS[secrets.randbelow(len(_PORTS))])) is not None:
                held.append(listener)
        return [listener.getsockname()[1] for listener in held]
    finally:
        for listener in held:
            listener.close()


def _try_port(port: int) -> socket.socket | None:
    listener = socket.socket()
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        return None
    return listener


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log, for the message that says why a server did not start."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
