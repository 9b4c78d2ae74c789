"""
The virtual environment of a checkout: made once, filled from the locks by hash, and left alone until one of them changes.

It is made without pip's bundle, because Debian's python3 comes without ensurepip; whatever installer the machine has
brings the pinned uv, and uv does the rest.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dev import processes
from dev.host import Failed, Host, Unavailable, apt_install

CACHES = (".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache", "build", "dist")
NO_INSTALLER = "pip is missing: install python3-pip (or uv), then run this again."

_STANDARD_ERROR = 2
_SYSTEM_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_PIP_WITH_PYTHON_OPTION = (22, 3)
# Settings of pip's that would send packages elsewhere than into .venv or refuse it.
_MISLEADING = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_VIRTUALENV", "PIP_PYTHON")
_FOREIGN_PYTHON = ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "CONDA_PREFIX", "UV_PYTHON", "UV_PROJECT_ENVIRONMENT")

Execute = Callable[[Sequence[str], Mapping[str, str], Path], int]


@dataclass(frozen=True)
class Checkout:
    """The folder that `run` lies in, and what the commands keep there."""

    root: Path

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def state(self) -> Path:
        return self.root / ".dev"

    def tool(self, name: str) -> str:
        return str(self.venv / "bin" / name)


def child_environment(checkout: Checkout, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for programs of .venv: as ours, without another Python's traces, with .venv's programs first."""
    kept = {name: value for name, value in environ.items() if name not in _FOREIGN_PYTHON}
    return kept | {"PATH": f"{checkout.venv / 'bin'}{os.pathsep}{environ.get('PATH', os.defpath)}"}


def prepare(checkout: Checkout, *, host: Host, execute: Execute) -> bool:
    """
    Bring .venv in line with the locks; False when it already is.

    Safe to call from several commands at once: one works and the others wait for it. Raises Unavailable when the
    machine has no installer, Failed when a step fails.
    """
    if _is_current(checkout):
        return False
    with _locked(checkout.state / "setup.lock"):
        if _is_current(checkout):
            return False
        _build(checkout, host, execute)
        return True


def run_quietly(command: Sequence[str], env: Mapping[str, str], cwd: Path) -> int:
    """The `execute` of real life: standard output is for the person's own commands, errors are shown."""
    return processes.run(command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=_STANDARD_ERROR)


def _build(checkout: Checkout, host: Host, execute: Execute) -> None:
    processes.say("Setting up .venv from the locks; this is done once.")
    env = _installer_environment(checkout)

    def step(command: Sequence[str | Path]) -> None:
        if execute([str(part) for part in command], env, checkout.root):
            raise Failed(f"Setting up .venv failed at: {' '.join(str(part) for part in command[:4])} …")

    if not _has_base(checkout):
        step([base_python(), "-m", "venv", "--without-pip", "--clear", checkout.venv])
        step([*find_installer(checkout, host), "--require-hashes", "-r", "dev/installer.lock"])
        _write_stamp(checkout, {"base": base_hash(checkout)})
    uv = [checkout.tool("uv"), "--quiet", "pip"]
    target = ["--python", str(checkout.python)]
    # uv itself is in the list, because whatever is not gets removed.
    step([*uv, "sync", *target, "--require-hashes", "dev/installer.lock", "requirements/dev.lock"])
    step([*uv, "install", *target, "--no-deps", "--no-build-isolation", "--editable", "."])
    _write_stamp(checkout, {"base": base_hash(checkout), "whole": whole_hash(checkout)})


def find_installer(checkout: Checkout, host: Host) -> list[str]:
    """
    The beginning of a command that installs into .venv: the first way that this machine has.

    Raises Unavailable with the line that says what to install.
    """
    pips = dict.fromkeys([base_python(), sys.executable])
    for python in pips:
        if command := _pip_of([python, "-m", "pip"], checkout):
            return command
    if uv := host.which("uv"):
        return [uv, "--quiet", "pip", "install", "--python", str(checkout.python)]
    if host.answers([str(checkout.python), "-m", "ensurepip"]):
        return [str(checkout.python), "-m", "pip", "--quiet", "install"]
    for name in ("pip3", "pip"):
        if (pip := host.which(name)) and (command := _pip_of([pip], checkout)):
            return command
    if apt_install("python3-pip", host) and (command := _pip_of(["/usr/bin/python3", "-m", "pip"], checkout)):
        return command
    raise Unavailable(NO_INSTALLER)


def base_python() -> str:
    """The interpreter that .venv is made of: ours, or the one below ours when we run in a virtual environment."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    below = Path(sys.base_prefix, "bin", version)
    return str(below) if below.exists() else sys.executable


def _pip_of(command: list[str], checkout: Checkout) -> list[str] | None:
    """`pip --python` installs into an environment that has no pip of its own, from version 22.3 on."""
    try:
        answer = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    found = re.match(r"pip (\d+)\.(\d+)", answer.stdout)
    if answer.returncode or not found or tuple(map(int, found.groups())) < _PIP_WITH_PYTHON_OPTION:
        return None
    return [*command, "--quiet", "--python", str(checkout.python), "install"]


def _installer_environment(checkout: Checkout) -> dict[str, str]:
    env = {name: value for name, value in child_environment(checkout).items() if name not in _MISLEADING}
    env |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "UV_PYTHON_DOWNLOADS": "never"}
    # uv does not read pip's settings; a machine behind a mirror has often told pip alone.
    if "PIP_INDEX_URL" in env and not any(name in env for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX")):
        env["UV_DEFAULT_INDEX"] = env["PIP_INDEX_URL"]
    # Certificates that an administrator added are in the system's store alone; a bare system has no store at all,
    # and there uv's own list is the one that works.
    if _SYSTEM_CERTIFICATES.exists():
        env.setdefault("UV_SYSTEM_CERTS", "1")
    return env


def base_hash(checkout: Checkout) -> str:
    """What the bare environment hangs on: the interpreter, the place (scripts hold it) and uv's version."""
    made_of = [sys.version, base_python(), str(checkout.root.resolve())]
    return _digest(made_of, [checkout.root / "dev" / "installer.lock"])


def whole_hash(checkout: Checkout) -> str:
    """What the filled environment hangs on: the base, the locks, pyproject.toml and this file."""
    locks = sorted((checkout.root / "requirements").glob("*.lock"))
    files = [*locks, checkout.root / "pyproject.toml", checkout.root / "dev" / "environment.py"]
    return _digest([base_hash(checkout)], files)


def _digest(texts: Sequence[str], files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for part in [text.encode() for text in texts] + [file.read_bytes() for file in files]:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


def _is_current(checkout: Checkout) -> bool:
    return _has_base(checkout) and _read_stamp(checkout).get("whole") == whole_hash(checkout)


def _has_base(checkout: Checkout) -> bool:
    return checkout.python.exists() and _read_stamp(checkout).get("base") == base_hash(checkout)


def _stamp(checkout: Checkout) -> Path:
    return checkout.venv / "kgw-setup.json"  # in the environment, so that it goes when that goes


def _read_stamp(checkout: Checkout) -> dict[str, str]:
    try:
        stamp = json.loads(_stamp(checkout).read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _write_stamp(checkout: Checkout, stamp: dict[str, str]) -> None:
    new = _stamp(checkout).with_suffix(".new")
    new.write_text(json.dumps(stamp))
    new.replace(_stamp(checkout))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            processes.say("Waiting for another command that sets up .venv.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def clean(checkout: Checkout) -> None:
    """Delete the environment, the state and every cache."""
    for name in (".venv", ".dev", *CACHES):
        shutil.rmtree(checkout.root / name, ignore_errors=True)
    for cache in [each for each in checkout.root.rglob("__pycache__") if each.is_dir()]:
        shutil.rmtree(cache, ignore_errors=True)
