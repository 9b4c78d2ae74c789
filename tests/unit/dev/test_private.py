import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dev import private, processes
from dev.private import Folder

OWNER = """
import subprocess, sys
from pathlib import Path
from dev.private import Folder
folder = Folder.create(Path(sys.argv[1]), "command")
child = subprocess.Popen(["/bin/sleep", "600"], env=folder.mark, start_new_session=True)
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def checkout_root() -> Path:
    return Path(private.__file__).resolve().parent.parent


def test_a_folder_of_a_living_owner_is_not_stale(tmp_path: Path) -> None:
    folder = Folder.create(tmp_path, "rabbitmq")

    assert list(private.stale(tmp_path)) == []
    assert private.in_use(tmp_path) == [folder.name]

    folder.remove()
    assert not folder.path.exists()


def test_what_a_killed_command_left_is_found_and_ended(tmp_path: Path, checkout_root: Path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path)], cwd=checkout_root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with owner:
        assert owner.stdout is not None
        orphan = int(owner.stdout.readline())
        assert list(private.stale(tmp_path)) == []
        owner.kill()

    (folder,) = private.stale(tmp_path)
    assert folder.processes() == [orphan]
    folder.end_and_remove()

    assert processes.command_line(orphan) == ""
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_only_mentions_the_folder_is_left_alone(tmp_path: Path) -> None:
    folder = Folder.create(tmp_path, "rabbitmq")
    bystander = subprocess.Popen(["/bin/sleep", "600"], env={"PWD": str(folder.path)})
    folder.record(bystander.pid)
    try:
        assert folder.processes() == []
        folder.end_and_remove()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_process_that_ignores_the_polite_signal_is_killed(tmp_path: Path) -> None:
    folder = Folder.create(tmp_path, "command")
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    stubborn = subprocess.Popen(
        ["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"} | folder.mark, stdout=subprocess.PIPE
    )
    with stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        folder.end_and_remove(grace=0.3)

    assert stubborn.returncode == -signal.SIGKILL


def test_free_ports_are_distinct() -> None:
    assert len(set(private.free_ports(20))) == 20
