"""
What this machine offers: its tools, and the packages that root may add on Debian and Ubuntu.

Everything that looks for a server asks a `Host`, so that the search can be tested with another machine.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev import processes

POLICY = Path("/usr/sbin/policy-rc.d")


class Failed(Exception):
    """A step went wrong; the message says which."""

    exit_code = 1


class Unavailable(Failed):
    """Something that must be there is not; the message is one line that says what to install."""

    exit_code = 69  # EX_UNAVAILABLE of sysexits.h


@dataclass(frozen=True)
class Host:
    """
    The machine as a search for servers sees it.

    `execute` runs a command with additions to the environment and returns its exit code; `answers` runs one quietly
    and says whether it succeeded.
    """

    execute: Callable[[Sequence[str], Mapping[str, str]], int]
    answers: Callable[[Sequence[str]], bool]
    which: Callable[[str], str | None]
    is_root: bool
    is_debian: bool
    policy: Path = POLICY

    @classmethod
    def here(cls) -> "Host":
        return cls(_execute, _answers, shutil.which, is_root=os.geteuid() == 0, is_debian=_is_debian())

    @property
    def has_apt(self) -> bool:
        return self.is_root and self.is_debian and self.which("apt-get") is not None


def apt_install(package: str, host: Host) -> bool:
    """Install a Debian package without letting it start a service; False where apt is missing or refuses."""
    apt = host.which("apt-get")
    if not host.has_apt or apt is None:
        return False
    processes.say(f"Installing {package} with apt, without starting services.")
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    options = ["-qq", "-o", "DPkg::Lock::Timeout=120"]
    with services_denied(host.policy):
        # An old list is often good enough, so a mirror that cannot be reached is reported by the second step alone.
        host.execute([apt, *options, "update"], env)
        return host.execute([apt, *options, "install", "-y", "--no-install-recommends", package], env) == 0


@contextmanager
def services_denied(policy: Path) -> Iterator[None]:
    """
    Keep packages from starting services, by invoke-rc.d's own switch, and put an existing policy back afterwards.

    https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt: exit code 101 forbids the action.
    """
    saved = policy.with_name(policy.name + ".kgw-saved")
    if os.path.lexists(policy) and not os.path.lexists(saved):
        policy.rename(saved)
    policy.unlink(missing_ok=True)
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)
        if os.path.lexists(saved):
            saved.rename(policy)


def _execute(command: Sequence[str], env: Mapping[str, str]) -> int:
    return processes.run(
        command, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=None
    )


def _answers(command: Sequence[str]) -> bool:
    try:
        return (
            subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def _is_debian() -> bool:
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return False
    return "debian" in [release.get("ID"), *release.get("ID_LIKE", "").split()]
