"""
Child processes of the commands: run one to its end, pass a stop signal on once, leave nothing behind.

Nothing here ends a process that it was not told of by pid, by process group or by a mark that only our children carry.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 30.0
_PROC = Path("/proc")

_Stream = int | IO[bytes] | None


class Interrupted(BaseException):
    """A stop signal arrived. It passes `except Exception`, as KeyboardInterrupt does."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        return 128 + self.signum


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise `Interrupted` on the first stop signal and ignore later ones, so that cleaning up is never cut short."""

    # A handler and not SIG_IGN: an ignored signal would stay ignored in every child.
    def ignore(signum: int, frame: FrameType | None) -> None:
        return

    def interrupt(signum: int, frame: FrameType | None) -> None:
        for each in STOP_SIGNALS:
            signal.signal(each, ignore)
        raise Interrupted(signum)

    before = {each: signal.signal(each, interrupt) for each in STOP_SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: _Stream = None,
    stdout: _Stream = None,
    stderr: _Stream = None,
) -> int:
    """
    Run a command to its end and return its exit code, 128 + n when signal n ended it.

    It has a session of its own: a terminal's Ctrl-C reaches it through us alone, once. A child that does not
    end within `GRACE` seconds of the signal is killed together with its process group.
    """
    child = subprocess.Popen(
        command, env=env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
    )
    try:
        code = child.wait()
    except Interrupted as interrupted:
        child.send_signal(signal.SIGINT if interrupted.signum == signal.SIGINT else signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE)
        raise
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return code if code >= 0 else 128 - code


def wait_until(condition: Callable[[], bool], timeout: float, interval: float = 0.05) -> bool:
    """Wait until the condition holds; False when `timeout` seconds were not enough."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(interval)
    return True


def send(pid: int, signum: int) -> None:
    """Send a signal to a process that may have ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signum)


def command_line(pid: int) -> str:
    """The arguments of a process, separated by spaces; empty when it is gone, also when only its zombie is left."""
    if _PROC.joinpath("self").exists():
        return _read(_PROC / str(pid) / "cmdline").replace(b"\0", b" ").decode(errors="replace")
    return _ps("-ww", "-o", "command=", "-p", str(pid)).strip()


def carriers(entry: str) -> list[int]:
    """The processes that were started with this `NAME=value` in their environment, as far as we may look."""
    if _PROC.joinpath("self").exists():
        wanted = os.fsencode(entry)
        pids = (int(each.name) for each in _PROC.iterdir() if each.name.isdigit())
        return [pid for pid in pids if wanted in _read(_PROC / str(pid) / "environ").split(b"\0")]
    lines = (line.split(maxsplit=1) for line in _ps("axeww", "-o", "pid=,command=").splitlines())
    return [int(pid) for pid, rest in lines if f" {entry} " in f"{rest} " and int(pid) != os.getpid()]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # gone, or another user's
        return b""


def _ps(*options: str) -> str:
    return subprocess.run(["/bin/ps", *options], capture_output=True, text=True, check=False).stdout


def say(line: str) -> None:
    """Tell the person at the terminal; standard output is the children's."""
    print(line, file=sys.stderr, flush=True)
