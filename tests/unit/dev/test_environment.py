import os
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dev import environment, processes
from dev.environment import Checkout
from dev.host import Failed, Unavailable
from tests.unit.dev.hosts import Machine


@dataclass
class Steps:
    """Writes down the steps of a set-up; the one that makes the environment leaves an interpreter there."""

    checkout: Checkout
    failing: str = ""
    taken: list[str] = field(default_factory=list)
    environments: list[Mapping[str, str]] = field(default_factory=list)
    held: threading.Event | None = None

    def __call__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> int:
        if self.held:
            assert self.held.wait(10)
        name = next(step for step in ("venv", "sync", "--editable", "install") if step in command)
        self.taken.append(name)
        self.environments.append(env)
        if name == "venv":
            self.checkout.python.parent.mkdir(parents=True, exist_ok=True)
            self.checkout.python.touch()
        return 1 if name == self.failing else 0


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    files = ["pyproject.toml", "requirements/dev.lock", "requirements/run.lock"]
    for name in [*files, "dev/environment.py", "dev/installer.lock"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return Checkout(tmp_path)


def prepare(checkout: Checkout, steps: Steps) -> bool:
    return environment.prepare(checkout, host=Machine(checkout.root).host(), execute=steps)


def test_the_first_call_makes_everything_and_the_second_does_nothing(checkout: Checkout) -> None:
    steps = Steps(checkout)

    assert prepare(checkout, steps)
    assert steps.taken == ["venv", "install", "sync", "--editable"]
    assert not prepare(checkout, steps)
    assert len(steps.taken) == 4


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements/dev.lock", "dev/environment.py"])
def test_a_changed_file_brings_the_environment_in_line_without_making_it_anew(checkout: Checkout, changed: str) -> None:
    prepare(checkout, Steps(checkout))
    (checkout.root / changed).write_text("changed")
    steps = Steps(checkout)

    assert prepare(checkout, steps)
    assert steps.taken == ["sync", "--editable"]


def test_another_installer_makes_the_environment_anew(checkout: Checkout) -> None:
    prepare(checkout, Steps(checkout))
    (checkout.root / "dev" / "installer.lock").write_text("changed")
    steps = Steps(checkout)

    assert prepare(checkout, steps)
    assert steps.taken == ["venv", "install", "sync", "--editable"]


def test_a_moved_checkout_makes_the_environment_anew(checkout: Checkout, tmp_path: Path) -> None:
    """The scripts in .venv/bin hold the path of its interpreter."""
    prepare(checkout, Steps(checkout))
    elsewhere = Checkout(tmp_path.rename(tmp_path.with_name("elsewhere")))
    steps = Steps(elsewhere)

    assert prepare(elsewhere, steps)
    assert steps.taken[0] == "venv"


def test_a_failed_step_is_taken_again_next_time(checkout: Checkout) -> None:
    with pytest.raises(Failed, match="sync"):
        prepare(checkout, Steps(checkout, failing="sync"))
    steps = Steps(checkout)

    assert prepare(checkout, steps)
    assert steps.taken == ["sync", "--editable"]


def test_of_two_calls_at_once_one_works_and_the_other_waits(
    checkout: Checkout, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = Steps(checkout, held=threading.Event())
    results: list[bool] = []
    calls = [threading.Thread(target=lambda: results.append(prepare(checkout, steps))) for _ in range(2)]
    for call in calls:
        call.start()
    assert processes.wait_until(lambda: "Waiting" in capsys.readouterr().err, 10)
    assert steps.held is not None
    steps.held.set()
    for call in calls:
        call.join()

    assert sorted(results) == [False, True]
    assert steps.taken == ["venv", "install", "sync", "--editable"]


def test_another_pythons_settings_do_not_reach_the_programs_of_the_environment(checkout: Checkout) -> None:
    environ = {"VIRTUAL_ENV": "/elsewhere", "PYTHONPATH": "/elsewhere", "PATH": "/bin", "KGW_PORT": "1"}
    env = environment.child_environment(checkout, environ)

    assert env == {"PATH": f"{checkout.venv}/bin{os.pathsep}/bin", "KGW_PORT": "1"}


def test_pip_settings_that_lead_elsewhere_do_not_reach_the_installer(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror.invalid/simple")
    for name in ("UV_INDEX_URL", "UV_DEFAULT_INDEX"):
        monkeypatch.delenv(name, raising=False)
    steps = Steps(checkout)
    prepare(checkout, steps)

    assert "PIP_USER" not in steps.environments[0]
    assert steps.environments[0]["UV_DEFAULT_INDEX"] == "https://mirror.invalid/simple"


class TestInstaller:
    """The interpreter of .venv in these machines has no pip, and neither have the ones that are looked at."""

    @pytest.fixture(autouse=True)
    def without_pip(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        bare = tmp_path / "bare-python"
        bare.write_text("#!/bin/sh\nexit 1\n")
        bare.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(bare))
        monkeypatch.setattr(sys, "base_prefix", str(tmp_path))

    def test_uv_on_the_path_takes_the_place_of_pip(self, checkout: Checkout) -> None:
        command = environment.find_installer(checkout, Machine(checkout.root, programs=["uv"]).host())

        assert command == ["/bin/uv", "--quiet", "pip", "install", "--python", str(checkout.python)]

    def test_without_any_one_line_says_what_to_install(self, checkout: Checkout) -> None:
        with pytest.raises(Unavailable, match=r"^pip is missing: [^\n]+$"):
            environment.find_installer(checkout, Machine(checkout.root).host())

    def test_root_on_debian_asks_apt_for_pip(self, checkout: Checkout) -> None:
        machine = Machine(checkout.root, programs=["apt-get"], root=True, debian=True, on_install=lambda package: 100)
        with pytest.raises(Unavailable):
            environment.find_installer(checkout, machine.host())

        assert machine.executed[-1][-1] == "python3-pip"

    @pytest.mark.parametrize(("version", "fits"), [("22.2.1", False), ("22.3", True), ("26.0", True)])
    def test_pip_fits_from_the_version_that_can_install_elsewhere(
        self, checkout: Checkout, tmp_path: Path, version: str, fits: bool
    ) -> None:
        (tmp_path / "bare-python").write_text(f"#!/bin/sh\necho 'pip {version} from /nowhere (python 3.11)'\n")
        command = environment.find_installer(checkout, Machine(checkout.root, programs=["uv"]).host())

        assert command[0] == (str(tmp_path / "bare-python") if fits else "/bin/uv")


def test_clean_deletes_the_environment_the_state_and_caches_and_nothing_else(checkout: Checkout) -> None:
    prepare(checkout, Steps(checkout))
    (checkout.root / "dev" / "__pycache__").mkdir()
    environment.clean(checkout)

    assert sorted(each.name for each in checkout.root.iterdir()) == ["dev", "pyproject.toml", "requirements"]
    assert not (checkout.root / "dev" / "__pycache__").exists()
