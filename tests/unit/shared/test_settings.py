"""Settings: where a value may come from, which is refused and how that is said, and that no secret ever shows (I9)."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr

from shared.errors import Misconfigured
from shared.settings import (
    PROCESSES,
    CliSettings,
    ConsoleSettings,
    IngressSettings,
    Settings,
    StoreSettings,
    WorkerSettings,
    environment_names,
    load,
    require,
)

SECRETS = {
    "amqp_url": Settings,
    "database_url": StoreSettings,
    "webhook_secret": IngressSettings,
    "webhook_secret_old": IngressSettings,
    "komodo_api_key": WorkerSettings,
    "komodo_api_secret": WorkerSettings,
    "api_token": ConsoleSettings,
}


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """These variables and no other setting of ours."""
    with pytest.MonkeyPatch.context() as patch:
        _forget_settings(patch)
        for name, value in values.items():
            patch.setenv(name, value)
        yield


def _forget_settings(patch: pytest.MonkeyPatch) -> None:
    for kind in PROCESSES.values():
        for name, field in kind.model_fields.items():
            for variable in environment_names(name, field):
                patch.delenv(variable, raising=False)
                patch.delenv(f"{variable}_FILE", raising=False)
    patch.delenv("KGW_CONFIG", raising=False)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    _forget_settings(monkeypatch)


def key_of(name: str, kind: type[Settings]) -> str:
    return environment_names(name, kind.model_fields[name])[0]


def shown(value: Any) -> str:
    """A setting as a test compares it."""
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@pytest.mark.parametrize("kind", PROCESSES.values(), ids=PROCESSES)
def test_no_setting_is_needed(kind: type[Settings]) -> None:
    assert load(kind).log_level == "info"


@pytest.mark.parametrize(
    ("kind", "name", "field"),
    [
        (IngressSettings, "KGW_INGRESS_PORT", "ingress_port"),
        (IngressSettings, "KOMODO_WEBHOOK_SECRET", "webhook_secret"),
        (CliSettings, "KOMODO_WEBHOOK_SECRET", "webhook_secret"),
        (WorkerSettings, "KOMODO_ADDRESS", "komodo_address"),
        (WorkerSettings, "KOMODO_HOST", "komodo_address"),
        (WorkerSettings, "KOMODO_API_KEY", "komodo_api_key"),
        (WorkerSettings, "KOMODO_API_SECRET", "komodo_api_secret"),
        (WorkerSettings, "KGW_DATABASE_URL", "database_url"),
        (ConsoleSettings, "KGW_API_TOKEN", "api_token"),
    ],
)
def test_what_komodo_has_a_name_for_keeps_it_and_the_rest_is_ours(kind: type[Settings], name: str, field: str) -> None:
    with environment(**{name: "4711"}):
        assert shown(getattr(load(kind), field)) == "4711"


@pytest.mark.parametrize("name", ["WEBHOOK_SECRET", "API_TOKEN", "DATABASE_URL", "AMQP_URL"])
def test_a_variable_of_somebody_else_is_not_ours(name: str) -> None:
    with environment(**{name: "theirs"}):
        values = [shown(getattr(load(kind), field)) for kind in PROCESSES.values() for field in kind.model_fields]

    assert "theirs" not in values


def test_of_komodos_two_names_for_its_address_the_newer_wins() -> None:
    with environment(KOMODO_ADDRESS="https://address", KOMODO_HOST="https://host"):
        assert load(WorkerSettings).komodo_address == "https://address"


def test_one_process_does_not_hold_anothers_secrets() -> None:
    assert "komodo_api_secret" not in IngressSettings.model_fields
    assert "webhook_secret" not in WorkerSettings.model_fields


# Files


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_every_secret_may_come_from_a_file_without_its_line_end(tmp_path: Path, name: str, end: str) -> None:
    kind = SECRETS[name]
    path = tmp_path / "secret"
    path.write_bytes(f" ü of a file {end}".encode())

    with environment(**{f"{key_of(name, kind)}_FILE": str(path)}):
        assert shown(getattr(load(kind), name)) == " ü of a file "


def test_the_variable_itself_wins_over_its_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("of the file")

    with environment(KOMODO_API_KEY="of the environment", KOMODO_API_KEY_FILE=str(path)):
        assert shown(load(WorkerSettings).komodo_api_key) == "of the environment"


def test_an_empty_file_variable_is_none() -> None:
    """Compose writes one for every `${NAME:-}`."""
    with environment(KOMODO_API_KEY_FILE="", KGW_CONFIG=""):
        assert shown(load(WorkerSettings).komodo_api_key) == ""


@pytest.mark.parametrize("name", ["KOMODO_WEBHOOK_SECRET_FILE", "KGW_CONFIG"])
def test_a_file_that_can_not_be_read_is_named_with_its_key(tmp_path: Path, name: str) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with environment(**{name: str(path)}), pytest.raises(Misconfigured, match=f"{name}: {path} can not be read"):
            load(IngressSettings)


@pytest.mark.parametrize("name", ["KOMODO_WEBHOOK_SECRET_FILE", "KGW_CONFIG"])
def test_a_file_that_is_no_text_is_named_without_what_it_holds(tmp_path: Path, name: str) -> None:
    path = tmp_path / "binary"
    path.write_bytes(b"hunter2\xff")

    with environment(**{name: str(path)}), pytest.raises(Misconfigured, match=f"{name}: {path} is not UTF-8") as raised:
        load(IngressSettings)

    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


def test_the_config_file_holds_every_processes_keys(tmp_path: Path) -> None:
    path = tmp_path / "kgw.toml"
    path.write_text('log_level = "debug"\ningress_port = 1\nlease_seconds = 2.5\nwebhook_secret = "of the file"\n')

    with environment(KGW_CONFIG=str(path)):
        assert load(IngressSettings).ingress_port == 1
        assert shown(load(IngressSettings).webhook_secret) == "of the file"
        assert load(WorkerSettings).lease_seconds == 2.5
        assert load(ConsoleSettings).log_level == "debug"


def test_environment_over_secret_file_over_config_file_over_default(tmp_path: Path) -> None:
    config, secret = tmp_path / "kgw.toml", tmp_path / "secret"
    config.write_text('komodo_api_key = "config"\nkomodo_api_secret = "config"\nkomodo_address = "config"\n')
    secret.write_text("secret file")

    with environment(
        KGW_CONFIG=str(config),
        KOMODO_API_KEY="environment",
        KOMODO_API_KEY_FILE=str(secret),
        KOMODO_API_SECRET_FILE=str(secret),
        KOMODO_HOST="environment",
    ):
        settings = load(WorkerSettings)

    assert shown(settings.komodo_api_key) == "environment"
    assert shown(settings.komodo_api_secret) == "secret file"
    assert settings.komodo_address == "environment"
    assert settings.lease_seconds == 30.0


def test_what_a_program_says_wins_over_everything(tmp_path: Path) -> None:
    with environment(KOMODO_ADDRESS="environment", KGW_LEASE_SECONDS="5"):
        settings = WorkerSettings(komodo_address="program", lease_seconds=7)

    assert (settings.komodo_address, settings.lease_seconds) == ("program", 7)


def test_a_misspelt_key_of_the_config_file_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "kgw.toml"
    path.write_text('log_levle = "debug"\nwebhook_secert = "hunter2"\n[table]\na = 1\n')

    with environment(KGW_CONFIG=str(path)), pytest.raises(Misconfigured) as raised:
        load(IngressSettings)

    assert "log_levle, table, webhook_secert" in raised.value.reason
    assert "hunter2" not in raised.value.reason


def test_a_config_file_that_is_no_toml_is_refused_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "kgw.toml"
    path.write_text('log_level = "info"\nwebhook_secret = hunter2\n')

    with environment(KGW_CONFIG=str(path)), pytest.raises(Misconfigured, match=r"is not TOML: .*line 2") as raised:
        load(IngressSettings)

    assert "hunter2" not in "".join(traceback.format_exception(raised.value))


# Values

REFUSED: dict[str, tuple[type[Settings], str, str]] = {
    "a port out of range": (IngressSettings, "KGW_INGRESS_PORT", "65536"),
    "a port that is no number": (IngressSettings, "KGW_INGRESS_PORT", "http"),
    "an unknown level": (WorkerSettings, "KGW_LOG_LEVEL", "loud"),
    "an unknown format": (WorkerSettings, "KGW_LOG_FORMAT", "xml"),
    "a prefix that is no name": (WorkerSettings, "KGW_AMQP_PREFIX", "a b"),
    "a prefix too long": (WorkerSettings, "KGW_AMQP_PREFIX", "x" * 41),
    "no workers": (WorkerSettings, "KGW_WORKER_CONCURRENCY", "0"),
    "a lease of no time": (WorkerSettings, "KGW_LEASE_SECONDS", "0"),
    "no number": (WorkerSettings, "KGW_LEASE_SECONDS", "nan"),
    "longer than the broker waits": (WorkerSettings, "KGW_HAND_OVER_AFTER", "1501"),
    "a body too large": (IngressSettings, "KGW_MAX_BODY_BYTES", "104857601"),
    "a key that can be guessed": (IngressSettings, "KGW_SECRET_KEY", "x" * 31),
    "a timeout of no time": (IngressSettings, "KGW_PUBLISH_TIMEOUT", "0"),
}


@pytest.mark.parametrize(("kind", "key", "value"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_value_is_refused_in_one_line_that_names_the_key(kind: type[Settings], key: str, value: str) -> None:
    with environment(**{key: value}), pytest.raises(Misconfigured, match=f"^{key}: ") as raised:
        load(kind)

    assert "\n" not in raised.value.reason


@pytest.mark.parametrize("value", ["changeme", "A_RANDOM_SECRET", " secret ", "password", "xxx"])
@pytest.mark.parametrize(
    ("kind", "key"),
    [
        (IngressSettings, "KOMODO_WEBHOOK_SECRET"),
        (IngressSettings, "KGW_SECRET_KEY"),
        (ConsoleSettings, "KGW_API_TOKEN"),
    ],
)
def test_a_placeholder_is_no_secret(kind: type[Settings], key: str, value: str) -> None:
    with environment(**{key: value}), pytest.raises(Misconfigured, match=f"^{key}: .*is a placeholder"):
        load(kind)


def test_a_placeholder_in_a_file_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("changeme\n")

    with environment(KOMODO_WEBHOOK_SECRET_FILE=str(path)), pytest.raises(Misconfigured, match="is a placeholder"):
        load(IngressSettings)


def test_what_must_be_set_is_asked_for_by_its_name() -> None:
    settings = load(WorkerSettings)

    with pytest.raises(Misconfigured, match=r"^KOMODO_ADDRESS is not set$"):
        require(settings, "log_level", "komodo_address", "komodo_api_key")
    with pytest.raises(Misconfigured, match=r"^KOMODO_API_KEY is not set$"):
        require(settings, "komodo_api_key")
    require(settings, "log_level", "amqp_url")


# Secrets


@given(st.data(), st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=6, max_size=60))
def test_no_secret_shows_in_any_form_of_the_settings(data: st.DataObject, secret: str) -> None:
    name = data.draw(st.sampled_from(sorted(SECRETS)))
    kind = SECRETS[name]
    blank = f"{load(kind)!r} {load(kind)} {load(kind).model_dump()} {load(kind).model_dump_json()}"
    assume(secret not in blank)

    with environment(**{key_of(name, kind): secret}):
        settings = load(kind)

    assert shown(getattr(settings, name)) == secret
    assert secret not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


@given(st.data(), st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=6, max_size=60))
def test_no_value_shows_in_the_text_of_an_error(data: st.DataObject, value: str) -> None:
    """Not of the one that is wrong either: who mixes up two lines writes a secret into the wrong one."""
    kind, key, _ = data.draw(st.sampled_from(list(REFUSED.values())))
    with environment(**{key: "\x01"}):
        usual = failure(kind)
    assume(value not in usual)

    with environment(**{key: value, "KGW_AMQP_URL": value, "KOMODO_WEBHOOK_SECRET": value}):
        assert value not in failure(kind)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=6, max_size=60), st.booleans())
def test_no_value_of_the_config_file_shows_in_the_text_of_an_error(value: str, is_toml: bool) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    line = f'ingress_port = "{quoted}"' if is_toml else f"ingress_port = ={value}"
    with TemporaryDirectory() as folder:
        path = Path(folder, "kgw.toml")
        path.write_text(line + "\n")
        with environment(KGW_CONFIG=str(path)):
            told = failure(IngressSettings)
    assume(value not in str(path) and not value.strip().isdecimal())

    assert told.startswith("KGW_")
    assert value not in told


def failure(kind: type[Settings]) -> str:
    """What is said of wrong settings; empty when they are right."""
    try:
        load(kind)
    except Misconfigured as error:
        return error.reason if error.__cause__ is None else f"{error.reason}, because of {error.__cause__!r}"
    return ""
