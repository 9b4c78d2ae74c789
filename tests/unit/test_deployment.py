"""What people deploy with says only what is so: every variable is a setting, every command a verb, every path there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from typer.main import get_command

from kgw.cli import app
from shared.settings import CONFIG_PATH_KEY, PROCESSES, environment_names

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"ingress", "worker", "console", "shared", "kgw"}
DISTRIBUTION = "komodo-global-webhook"
UNITS = sorted((ROOT / "systemd").glob("*.service"))

_OURS = re.compile(r"\b(?:KGW|KOMODO)_[A-Z0-9_]+\b")
_NEEDED = re.compile(r"\$\{(\w+):\?[^}]+\}")


def fields() -> dict[str, FieldInfo]:
    """Every setting there is, by its key."""
    return {name: field for kind in PROCESSES.values() for name, field in kind.model_fields.items()}


def environment() -> set[str]:
    """Every variable that is read."""
    names = {name for key, field in fields().items() for name in environment_names(key, field)}
    return names | {f"{name}_FILE" for name in names} | {CONFIG_PATH_KEY}


def verbs() -> set[str]:
    """Every verb of the command."""
    return set(getattr(get_command(app), "commands", {}))


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """docker-compose.yml, parsed."""
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return parsed


@pytest.fixture
def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The services that run our image."""
    return {name: one for name, one in compose["services"].items() if "build" in one}


@pytest.mark.parametrize(
    "name", ["docker-compose.yml", "example.env", "Dockerfile", *(f"systemd/{u.name}" for u in UNITS)]
)
def test_every_variable_of_ours_is_a_setting(name: str) -> None:
    named = set(_OURS.findall((ROOT / name).read_text()))

    assert named <= environment()


def test_every_service_of_ours_runs_a_verb_of_the_command(ours: dict[str, dict[str, Any]]) -> None:
    assert {name: one["command"] for name, one in ours.items()} == {
        name: [name] for name in ("migrate", "ingress", "worker", "console")
    }
    assert set(ours) <= verbs()


def test_every_service_of_ours_is_hardened_and_left_alone_by_komodo(ours: dict[str, dict[str, Any]]) -> None:
    for one in ours.values():
        assert one["read_only"] is True
        assert one["cap_drop"] == ["ALL"]
        assert one["security_opt"] == ["no-new-privileges:true"]
        assert "komodo.skip" in one["labels"]


def test_what_stays_up_is_restarted_and_watched(compose: dict[str, Any]) -> None:
    for name, one in compose["services"].items():
        assert one["init" if "init" in one else "image"], name
        if name != "migrate":
            assert one["restart"] == "unless-stopped", name
            assert one["healthcheck"]["test"][0] == "CMD", name


def test_workers_can_be_scaled(ours: dict[str, dict[str, Any]]) -> None:
    assert not {"ports", "container_name", "hostname"} & set(ours["worker"])


def test_only_the_listener_is_published_to_other_machines(compose: dict[str, Any]) -> None:
    published = {name: one["ports"] for name, one in compose["services"].items() if "ports" in one}

    assert published == {"ingress": ["9130:9130"], "console": ["127.0.0.1:9132:9132"]}


def test_each_process_is_handed_its_own_secrets_alone(ours: dict[str, dict[str, Any]]) -> None:
    kinds = {"migrate": {"KGW_DATABASE_URL"}} | {
        process: {
            name for key, field in PROCESSES[process].model_fields.items() for name in environment_names(key, field)
        }
        for process in ("ingress", "worker", "console")
    }

    for name, one in ours.items():
        assert set(one["environment"]) <= kinds[name], name


def test_every_secret_that_is_needed_is_asked_for_by_name_and_stands_in_the_example(compose: dict[str, Any]) -> None:
    needed = set(_NEEDED.findall((ROOT / "docker-compose.yml").read_text()))
    example = re.findall(r"^#? ?(\w+)=", (ROOT / "example.env").read_text(), re.MULTILINE)

    assert needed == {
        "RABBITMQ_PASSWORD",
        "KOMODO_WEBHOOK_SECRET",
        "KOMODO_ADDRESS",
        "KOMODO_API_KEY",
        "KOMODO_API_SECRET",
        "KGW_API_TOKEN",
    }
    assert needed <= set(example)


def test_every_volume_is_declared_and_rabbitmq_keeps_its_name(compose: dict[str, Any]) -> None:
    mounted = {volume.split(":")[0] for one in compose["services"].values() for volume in one.get("volumes", ())}

    assert mounted == set(compose["volumes"])
    assert compose["services"]["rabbitmq"]["hostname"]


def test_the_image_copies_only_what_is_there_and_what_the_build_may_see() -> None:
    copied = [
        Path(source)
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert set(map(str, copied)) >= PACKAGES
    for source in copied:
        assert (ROOT / source).exists(), source
        assert any(source.match(pattern) for pattern in kept), source


def test_the_image_runs_the_command_as_somebody_else_than_root() -> None:
    last = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]

    assert 'ENTRYPOINT ["kgw"]' in last
    assert "\nUSER kgw\n" in last
    assert "KGW_INGRESS_BIND_IP=0.0.0.0" in last


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_every_unit_starts_a_verb_of_the_command(unit: Path) -> None:
    started = re.findall(r"^Exec\w+=/opt/kgw/bin/kgw (\S+)$", unit.read_text(), re.MULTILINE)

    assert started
    assert set(started) <= verbs()
    assert started[-1] in unit.name


def test_the_reference_file_names_every_setting_with_its_variables_and_its_default() -> None:
    text = (ROOT / "config.toml").read_text()
    described = dict(_described(text))
    defaults = tomllib.loads("\n".join(line.removeprefix("# ") for line in text.splitlines() if " = " in line))

    assert tomllib.loads(text) == {}
    assert described == {
        key: " or ".join(environment_names(key, field)) + _secret_note(key, field) for key, field in fields().items()
    }
    assert defaults == {key: _plain(field.default) for key, field in fields().items()}


def _described(text: str) -> Iterator[tuple[str, str]]:
    pairs = re.findall(r"^# env: (.+)\n# (\w+) = ", text, re.MULTILINE)
    return ((key, names) for names, key in pairs)


def _secret_note(key: str, field: FieldInfo) -> str:
    if field.annotation is not SecretStr:
        return ""
    return f", or {environment_names(key, field)[0]}_FILE"


def _plain(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def test_the_settings_can_be_read_from_the_reference_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = (ROOT / "config.toml").read_text().splitlines()
    uncommented = tmp_path / "config.toml"
    uncommented.write_text("\n".join(line.removeprefix("# ") for line in lines if " = " in line))
    for name in environment():
        monkeypatch.delenv(name, raising=False)
    plain = {process: kind() for process, kind in PROCESSES.items()}

    monkeypatch.setenv(CONFIG_PATH_KEY, str(uncommented))

    assert {process: kind() for process, kind in PROCESSES.items()} == plain


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, as pip would build it."""
    built = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return Path(next(iter(built)))


def test_the_wheel_holds_the_five_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    sources = {str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}

    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert {name for name in names if name.endswith(".py")} == sources


def test_the_command_runs_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    begin = "import sys, kgw.cli; assert kgw.cli.__file__.startswith(sys.path[0]); sys.exit(kgw.cli.main())"

    # Isolated from this checkout: what is not in the wheel is not found.
    told = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {begin}", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert told.returncode == 0, told.stderr
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] in told.stdout


def test_the_five_packages_belong_to_us_alone() -> None:
    owners = packages_distributions()

    assert {package: set(owners.get(package, [DISTRIBUTION])) for package in PACKAGES} == {
        package: {DISTRIBUTION} for package in PACKAGES
    }
