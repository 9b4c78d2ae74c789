"""The command's exit codes, and that an error of ours is one line on standard error."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.unit.kgw.command import environment, kgw

AWAY = "http://127.0.0.1:1"
ID = "0198f3a0-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("verb", "values", "line"),
    [
        ("ingress", {}, "kgw: KOMODO_WEBHOOK_SECRET is not set"),
        ("worker", {}, "kgw: KOMODO_ADDRESS is not set"),
        ("console", {"KGW_CONSOLE_BIND_IP": "0.0.0.0"}, "kgw: KGW_API_TOKEN is not set: "),  # noqa: S104
        ("all", {"KGW_INGRESS_PORT": "many"}, "kgw: KGW_INGRESS_PORT: "),
        ("migrate", {"KGW_DATABASE_URL": "mysql://kgw:Xk7fQ2mZ9wLr@host/kgw"}, "kgw: KGW_DATABASE_URL"),
        ("config", {"KGW_LOG_LEVEL": "loud"}, "kgw: KGW_LOG_LEVEL: "),
        (f"tail {ID}", {"KGW_AMQP_PREFIX": "no blanks"}, "kgw: KGW_AMQP_PREFIX: "),
        (f"tail {ID}", {"KGW_CONSOLE_URL": "console.example.com"}, "kgw: KGW_CONSOLE_URL"),
    ],
)
def test_a_wrong_setting_ends_with_78_and_one_line(verb: str, values: dict[str, str], line: str) -> None:
    with environment(**values):
        ended = kgw(*verb.split())

    assert ended.code == 78
    assert ended.err.startswith(line)
    assert ended.err.count("\n") == 1
    assert "Xk7fQ2mZ9wLr" not in ended.err
    assert ended.out == ""


def test_sending_needs_the_secret(tmp_path: Path) -> None:
    body = tmp_path / "push.json"
    body.write_text("{}")
    with environment():
        ended = kgw("send", str(body))

    assert (ended.code, ended.err) == (78, "kgw: KOMODO_WEBHOOK_SECRET is not set\n")


def test_an_unknown_provider_ends_with_78(tmp_path: Path) -> None:
    body = tmp_path / "push.json"
    body.write_text("{}")
    with environment(KOMODO_WEBHOOK_SECRET="Zy0Qn4f2ReZcJq1rQ9mSTu7b"):
        ended = kgw("send", str(body), "--provider", "sourceforge")

    assert ended.code == 78
    assert ended.err.startswith("kgw: --provider: sourceforge is none of ")


def test_a_console_that_is_away_ends_with_69() -> None:
    with environment(KGW_CONSOLE_URL=AWAY):
        ended = kgw("tail", ID)

    assert (ended.code, ended.err) == (69, "kgw: the console does not answer: ConnectError\n")


def test_an_ingress_that_is_away_ends_with_69(tmp_path: Path) -> None:
    body = tmp_path / "push.json"
    body.write_text("{}")
    with environment(KGW_INGRESS_URL=AWAY, KOMODO_WEBHOOK_SECRET="Zy0Qn4f2ReZcJq1rQ9mSTu7b"):
        ended = kgw("send", str(body))

    assert (ended.code, ended.err) == (69, "kgw: the ingress does not answer: ConnectError\n")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["tail"], ["tail", ID, "--timeout", "soon"], ["send", "no-such-file.json"], []]
)
def test_wrong_usage_ends_with_2(arguments: list[str]) -> None:
    with environment():
        assert kgw(*arguments).code == 2


def test_the_version_is_the_distributions() -> None:
    with environment():
        ended = kgw("--version")

    assert (ended.code, ended.out) == (0, version("komodo-global-webhook") + "\n")


def test_the_module_is_the_command() -> None:
    ended = subprocess.run([sys.executable, "-m", "kgw", "--version"], capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout) == (0, version("komodo-global-webhook") + "\n")


@pytest.mark.parametrize("verb", ["ingress", "worker", "console", "all", "migrate", "send", "tail", "doctor", "config"])
def test_every_verb_explains_itself(verb: str) -> None:
    ended = kgw(verb, "--help")

    assert ended.code == 0
    assert f"kgw {verb}" in ended.out
