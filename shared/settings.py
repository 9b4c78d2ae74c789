"""
Settings: environment over file over default, one class per process so that none holds what it has no use for.

Every secret may come from a file named in `<NAME>_FILE`. What Komodo has a name for keeps Komodo's name; everything else is `KGW_…`.
One optional TOML file, named by `KGW_CONFIG`, holds the same keys in lower case.
"""

from __future__ import annotations

import json
import os
import tomllib
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from shared.errors import Misconfigured
from shared.provider_api.access import ProviderAccess

CONFIG_PATH_KEY = "KGW_CONFIG"
MIN_SECRET_KEY = 32
_PLACEHOLDERS = frozenset({"changeme", "change-me", "a_random_secret", "secret", "password", "your-secret", "xxx"})


def environment_names(name: str, field: FieldInfo) -> list[str]:
    """The environment variables that set the field, first wins."""
    if isinstance(field.validation_alias, AliasChoices):
        return [choice for choice in field.validation_alias.choices if isinstance(choice, str) and choice.isupper()]
    return [f"KGW_{name.upper()}"]


class _SecretFiles(PydanticBaseSettingsSource):
    """`<NAME>_FILE`: the value is what the file holds, without the line end."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        for name in environment_names(field_name, field):
            if path := os.environ.get(f"{name}_FILE"):
                return _read(f"{name}_FILE", path).rstrip("\r\n"), field_name, False
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


class _ConfigFile(PydanticBaseSettingsSource):
    """The optional TOML file; a key that no process knows is refused, so that a misspelt one is not silently ignored."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        path = os.environ.get(CONFIG_PATH_KEY)
        if not path:
            return {}
        try:
            values = tomllib.loads(_read(CONFIG_PATH_KEY, path))
        except tomllib.TOMLDecodeError as error:
            raise Misconfigured(f"{CONFIG_PATH_KEY}: {path} is not TOML: {error}") from None
        known = {name for kind in PROCESSES.values() for name in kind.model_fields}
        if unknown := sorted(set(values) - known):
            raise Misconfigured(f"{CONFIG_PATH_KEY}: {path} has keys that nothing reads: {', '.join(unknown)}")
        return {name: value for name, value in values.items() if name in self.settings_cls.model_fields}


def _read(key: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise Misconfigured(f"{key}: {path} can not be read: {error.strerror}") from None
    except UnicodeDecodeError:  # which carries the whole file
        raise Misconfigured(f"{key}: {path} is not UTF-8") from None


def _require_no_placeholder(value: SecretStr) -> SecretStr:
    if value.get_secret_value().strip().lower() in _PLACEHOLDERS:
        raise ValueError("is a placeholder: set a random secret of 32 characters or more")
    return value


# A secret that others must know to get in; what examples have in its place is refused.
OwnSecret = Annotated[SecretStr, AfterValidator(_require_no_placeholder)]


def _require_length(value: SecretStr) -> SecretStr:
    if 0 < len(value.get_secret_value()) < MIN_SECRET_KEY:
        raise ValueError(f"is short: set {MIN_SECRET_KEY} random characters or more, and never change them")
    return value


# A secret that others must be unable to guess from what it has encrypted; it is hashed and not stretched.
SecretKey = Annotated[SecretStr, AfterValidator(_require_no_placeholder), AfterValidator(_require_length)]


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """
    The networks of a list with commas, an address alone being a network of one; raises ValueError for what is none.

    Those of IPv4 that are written as IPv6 are IPv4's.
    """
    return tuple(_network(part.strip()) for part in text.split(",")) if text.strip() else ()


def _network(text: str) -> IPv4Network | IPv6Network:
    found = ip_network(text)
    mapped = getattr(found.network_address, "ipv4_mapped", None)
    return found if mapped is None else IPv4Network((mapped, found.prefixlen - 96))


def _require_networks(value: str) -> str:
    networks(value)
    return value


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:  # which carries the whole text
        raise ValueError("is not JSON") from None


# Tables in the file, a JSON list in a variable.
ProviderAccesses = Annotated[list[ProviderAccess], NoDecode, BeforeValidator(_from_json)]


class Settings(BaseSettings):
    """What every process has."""

    model_config = SettingsConfigDict(
        env_prefix="KGW_", extra="ignore", populate_by_name=True, frozen=True, hide_input_in_errors=True
    )

    amqp_url: SecretStr = SecretStr("amqp://guest:guest@127.0.0.1:5672/")
    amqp_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9_.-]{0,40}$")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["standard", "json"] = "standard"
    public_url: str = ""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, _SecretFiles(settings_cls), _ConfigFile(settings_cls)


class StoreSettings(Settings):
    """Where the store is: `sqlite:///path` or `postgresql://user:password@host/name`."""

    database_url: SecretStr = SecretStr("sqlite:///kgw.db")


class SealedStoreSettings(StoreSettings):
    """Where the store is, and the key that opens what is sealed in it. Without the key there are no named hooks."""

    secret_key: SecretKey = SecretStr("")


class IngressSettings(SealedStoreSettings):
    """The ingress: no Komodo credentials. It reads named hooks from the store, beside the way of a delivery, and only when it has the key."""

    ingress_bind_ip: str = "127.0.0.1"
    ingress_port: int = Field(default=9130, ge=0, le=65535)
    webhook_secret: OwnSecret = Field(default=SecretStr(""), validation_alias=AliasChoices("KOMODO_WEBHOOK_SECRET"))
    webhook_secret_old: OwnSecret = SecretStr("")
    hooks_file: str = Field(default="kgw-hooks.json", min_length=1)
    hooks_interval: float = Field(default=5.0, ge=0.05, le=3600)
    trusted_proxies: Annotated[str, AfterValidator(_require_networks)] = ""
    max_body_bytes: int = Field(default=25 * 1024 * 1024, ge=1024, le=100 * 1024 * 1024)
    publish_timeout: float = Field(default=2.0, gt=0, le=60)
    spool: str = Field(default="kgw-spool.db", min_length=1)
    spool_max_bytes: int = Field(default=1024**3, ge=1024 * 1024, le=1024**4)


class KomodoSettings(Settings):
    """How to reach Komodo Core, and as whom."""

    komodo_address: str = Field(default="", validation_alias=AliasChoices("KOMODO_ADDRESS", "KOMODO_HOST"))
    komodo_api_key: SecretStr = Field(default=SecretStr(""), validation_alias=AliasChoices("KOMODO_API_KEY"))
    komodo_api_secret: SecretStr = Field(default=SecretStr(""), validation_alias=AliasChoices("KOMODO_API_SECRET"))


class WorkerSettings(StoreSettings, KomodoSettings):
    """A worker. Lengths of time are seconds."""

    worker_bind_ip: str = "127.0.0.1"
    worker_port: int = Field(default=9131, ge=0, le=65535)
    worker_concurrency: int = Field(default=100, ge=1, le=1000)
    lease_seconds: float = Field(default=30.0, ge=1, le=600)
    update_interval: float = Field(default=1.0, gt=0, le=60)
    stack_cache_seconds: float = Field(default=5.0, ge=0, le=300)
    hand_over_after: float = Field(default=1200.0, gt=0, le=1500)
    komodo_patience: float = Field(default=3600.0, gt=0, le=86_400)
    duplicate_window: float = Field(default=300.0, ge=0, le=86_400)
    reconcile_interval: float = Field(default=15.0, gt=0, le=3600)
    catch_up_interval: float = Field(default=0.0, ge=0, le=86_400)
    provider_api: ProviderAccesses = []
    shutdown_grace: float = Field(default=10.0, ge=0, le=300)


class ConsoleSettings(StoreSettings):
    """The console's API."""

    console_bind_ip: str = "127.0.0.1"
    console_port: int = Field(default=9132, ge=0, le=65535)
    api_token: OwnSecret = SecretStr("")


class CliSettings(Settings):
    """What the command needs to reach the other processes."""

    console_url: str = "http://127.0.0.1:9132"
    ingress_url: str = "http://127.0.0.1:9130"
    api_token: SecretStr = SecretStr("")
    webhook_secret: SecretStr = Field(default=SecretStr(""), validation_alias=AliasChoices("KOMODO_WEBHOOK_SECRET"))


PROCESSES: dict[str, type[Settings]] = {
    "ingress": IngressSettings,
    "worker": WorkerSettings,
    "console": ConsoleSettings,
    "cli": CliSettings,
}

S = TypeVar("S", bound=Settings)


def load(kind: type[S]) -> S:
    """Read the settings of one process; raises `Misconfigured` with one line that names the key."""
    try:
        return kind()
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        field = kind.model_fields.get(name)
        key = environment_names(name, field)[0] if field else name
        inside = "".join(f"{part}: " for part in problem["loc"][1:])
        raise Misconfigured(f"{key}: {inside}{problem['msg']}") from None


def require(settings: Settings, *names: str) -> None:
    """Refuse to start without these; raises `Misconfigured` that names the first missing key."""
    for name in names:
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not text:
            key = environment_names(name, type(settings).model_fields[name])[0]
            raise Misconfigured(f"{key} is not set")
