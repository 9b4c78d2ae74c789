import os
import stat
from pathlib import Path

import pytest

from dev.host import apt_install
from tests.unit.dev.hosts import Machine


def test_services_are_denied_while_apt_installs_and_allowed_after(tmp_path: Path) -> None:
    seen: list[str] = []

    def on_install(package: str) -> int:
        assert os.access(machine.policy, os.X_OK)
        seen.append(machine.policy.read_text())
        return 0

    machine = Machine(tmp_path, programs=["apt-get"], root=True, debian=True, on_install=on_install)

    assert apt_install("rabbitmq-server", machine.host())
    assert seen == ["#!/bin/sh\nexit 101\n"]
    assert not machine.policy.exists()
    assert [command[-1] for command in machine.executed] == ["update", "rabbitmq-server"]


def test_an_existing_policy_comes_back_when_apt_fails(tmp_path: Path) -> None:
    machine = Machine(tmp_path, programs=["apt-get"], root=True, debian=True, on_install=lambda package: 100)
    machine.policy.write_text("mine")
    machine.policy.chmod(0o750)

    assert not apt_install("rabbitmq-server", machine.host())
    assert machine.policy.read_text() == "mine"
    assert stat.S_IMODE(machine.policy.stat().st_mode) == 0o750


def test_an_existing_policy_comes_back_after_a_killed_installation(tmp_path: Path) -> None:
    machine = Machine(tmp_path, programs=["apt-get"], root=True, debian=True)
    machine.policy.with_name("policy-rc.d.kgw-saved").write_text("mine")
    machine.policy.write_text("#!/bin/sh\nexit 101\n")

    assert apt_install("rabbitmq-server", machine.host())
    assert machine.policy.read_text() == "mine"
    assert [each.name for each in tmp_path.iterdir()] == ["policy-rc.d"]


@pytest.mark.parametrize(
    ("root", "debian", "programs"),
    [(False, True, ["apt-get"]), (True, False, ["apt-get"]), (True, True, [])],
    ids=["not root", "not Debian", "no apt-get"],
)
def test_nothing_is_installed_elsewhere(tmp_path: Path, root: bool, debian: bool, programs: list[str]) -> None:
    machine = Machine(tmp_path, programs=programs, root=root, debian=debian)

    assert not apt_install("rabbitmq-server", machine.host())
    assert machine.executed == []
