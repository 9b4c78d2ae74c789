"""`kgw config`: every setting with its origin, and no secret whatever it is (I9)."""

from __future__ import annotations

from pathlib import Path
from string import ascii_letters, digits

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from kgw.configuration import effective
from shared.errors import Misconfigured
from shared.settings import PROCESSES, environment_names
from tests.unit.kgw.command import environment, kgw

# They begin as no other word of the output does.
SECRETS = st.text(ascii_letters + digits + "/+=-_!$%", min_size=9, max_size=60).map("Xk7".__add__)
PLAIN_SECRETS = ("KOMODO_WEBHOOK_SECRET", "KOMODO_API_KEY", "KOMODO_API_SECRET", "KGW_API_TOKEN")


def shown(process: str, key: str) -> tuple[str, str]:
    """The value and the origin that are printed for a setting."""
    (found,) = [setting for setting in effective() if (setting.process, setting.key) == (process, key)]
    return found.value, found.origin


@given(secrets=st.tuples(*[SECRETS] * len(PLAIN_SECRETS)), password=SECRETS, form=st.sampled_from(["table", "json"]))
@settings(max_examples=30, deadline=None)
def test_no_secret_of_the_environment_is_printed(secrets: tuple[str, ...], password: str, form: str) -> None:
    urls = {
        "KGW_AMQP_URL": f"amqp://kgw:{password}@broker:5672/",
        "KGW_DATABASE_URL": f"postgresql://kgw:{password}@database/kgw",
    }
    with environment(**dict(zip(PLAIN_SECRETS, secrets, strict=True)), **urls):
        ended = kgw("config", "--format", form)

    assert ended.code == 0
    for secret in (*secrets, password):
        assert secret not in ended.out + ended.err


@pytest.mark.parametrize("key", ["KOMODO_ADDRESS", "KGW_PUBLIC_URL", "KGW_CONSOLE_URL", "KGW_INGRESS_URL"])
def test_a_password_inside_an_address_is_not_printed(key: str) -> None:
    with environment(**{key: "https://someone:Xk7fQ2mZ9wLr@host.example.com/path"}):
        ended = kgw("config")

    assert ended.code == 0
    assert key in ended.out
    assert "Xk7fQ2mZ9wLr" not in ended.out


def test_a_refused_secret_is_not_printed_either() -> None:
    with environment(KOMODO_WEBHOOK_SECRET="a_random_secret", KGW_API_TOKEN="Xk7fQ2mZ9wLr"):
        ended = kgw("config")

    assert ended.code == 78
    assert ended.err.startswith("kgw: KOMODO_WEBHOOK_SECRET: ")
    assert "a_random_secret" not in ended.out + ended.err


def test_every_setting_of_every_process_is_there() -> None:
    with environment():
        found = {(setting.process, setting.key) for setting in effective()}

    assert found == {
        (process, environment_names(name, field)[0])
        for process, kind in PROCESSES.items()
        for name, field in kind.model_fields.items()
    }


def test_a_secret_tells_whether_it_is_set() -> None:
    with environment(KOMODO_API_KEY="Xk7fQ2mZ9wLr"):
        assert shown("worker", "KOMODO_API_KEY") == ("(set)", "environment")
        assert shown("worker", "KOMODO_API_SECRET") == ("(not set)", "default")


def test_a_default_secret_is_not_printed() -> None:
    """The default URLs hold a password, if a well-known one."""
    with environment():
        ended = kgw("config")
        values = [getattr(kind(), name) for kind in PROCESSES.values() for name in kind.model_fields]
    texts = {value.get_secret_value() for value in values if isinstance(value, SecretStr)} - {""}

    assert texts
    assert not [text for text in texts if text in ended.out]


def test_the_origin_is_the_source_that_wins(tmp_path: Path) -> None:
    file = tmp_path / "kgw.toml"
    file.write_text('log_level = "error"\namqp_prefix = "file."\nworker_port = 1\n')
    token = tmp_path / "token"
    token.write_text("Xk7fQ2mZ9wLr\n")
    with environment(KGW_CONFIG=str(file), KGW_LOG_LEVEL="debug", KGW_API_TOKEN_FILE=str(token)):
        assert shown("worker", "KGW_LOG_LEVEL") == ("debug", "environment")
        assert shown("worker", "KGW_AMQP_PREFIX") == ("file.", "file")
        assert shown("worker", "KGW_WORKER_PORT") == ("1", "file")
        assert shown("console", "KGW_API_TOKEN") == ("(set)", "KGW_API_TOKEN_FILE")
        assert shown("worker", "KGW_LOG_FORMAT") == ("standard", "default")


def test_a_second_name_in_the_environment_wins_over_a_file_for_the_first(tmp_path: Path) -> None:
    address = tmp_path / "address"
    address.write_text("http://file.example.com")
    with environment(KOMODO_HOST="http://host.example.com", KOMODO_ADDRESS_FILE=str(address)):
        assert shown("worker", "KOMODO_ADDRESS") == ("http://host.example.com", "environment")


def test_an_empty_file_name_is_no_origin() -> None:
    with environment(KGW_API_TOKEN_FILE=""):
        assert shown("console", "KGW_API_TOKEN") == ("(not set)", "default")


def test_json_says_the_same_as_the_table() -> None:
    with environment(KGW_LOG_LEVEL="warning"):
        found = orjson.loads(kgw("config", "-f", "json").out)
        expected = [
            {"process": setting.process, "key": setting.key, "value": setting.value, "origin": setting.origin}
            for setting in effective()
        ]

    assert found == expected


def test_a_setting_that_is_wrong_is_named() -> None:
    with environment(KGW_WORKER_PORT="eighty"), pytest.raises(Misconfigured, match=r"^KGW_WORKER_PORT: "):
        effective()
