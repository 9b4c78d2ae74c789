"""
How a provider's API is reached and as whom: one `[[provider_api]]` of the settings.

The address comes from here and from nowhere else: nothing that a payload or an answer says is ever called.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from shared.event import Frozen
from shared.matching.patterns import PatternError, PatternList
from shared.matching.repository import InvalidRepositoryUrl, repository_key

ProviderName = Literal["github", "gitlab", "gitea", "forgejo", "bitbucket", "azure"]

_PUBLIC_HOSTS = {"github": "github.com", "gitlab": "gitlab.com", "bitbucket": "bitbucket.org", "azure": "dev.azure.com"}
_OF_PUBLIC_HOST = {"github.com": "https://api.github.com"}
_OF_ANY_HOST = {
    "github": "https://{host}/api/v3",
    "gitlab": "https://{host}/api/v4",
    "gitea": "https://{host}/api/v1",
    "forgejo": "https://{host}/api/v1",
    "bitbucket": "https://api.bitbucket.org/2.0",
    "azure": "https://dev.azure.com",
}
_ALONE = "x"


class ProviderAccess(Frozen):
    """
    One provider on one host.

    `host` is the host of the repositories, with the path in front of them where a forge has one; `url` is where the API is, by default where the
    provider has it. `repositories` and `branches` are pattern lists that narrow what stacks follow. `hook_url` is what the URLs of our
    hooks at GitHub begin with; with it GitHub is asked for the deliveries that failed.
    """

    kind: ProviderName
    host: str = Field(default="", max_length=253)
    url: str = Field(default="", max_length=2_000)
    user: str = Field(default="", max_length=200)
    token: SecretStr = SecretStr("")
    token_file: str = ""
    repositories: str = ""
    branches: str = ""
    hook_url: str = Field(default="", max_length=2_000)

    @model_validator(mode="before")
    @classmethod
    def _read_token(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(path := values.get("token_file"), str) or not path:
            return values
        if values.get("token"):
            raise ValueError("token and token_file: give one of them")
        try:
            return {**values, "token": Path(path).read_text(encoding="utf-8").strip()}
        except OSError as error:
            raise ValueError(f"token_file: {path} can not be read: {error.strerror}") from None
        except UnicodeDecodeError:  # which carries the whole file
            raise ValueError(f"token_file: {path} is not UTF-8") from None

    @field_validator("host")
    @classmethod
    def _as_in_keys(cls, host: str) -> str:
        if not host:
            return host
        try:
            return repository_key(f"https://{host.strip('/')}/{_ALONE}").removesuffix(f"/{_ALONE}")
        except InvalidRepositoryUrl as error:
            raise ValueError(f"host: {error}") from None

    @field_validator("url")
    @classmethod
    def _require_url(cls, url: str) -> str:
        if not url:
            return url
        try:
            parts = urlsplit(url)
            is_plain = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # of a port that is no number; it quotes what may be a part of a password
            is_plain = False
        if not is_plain or "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError("url: write http(s)://host/path, without a user, query or fragment")
        return url.rstrip("/")

    @field_validator("token")
    @classmethod
    def _require_token(cls, token: SecretStr) -> SecretStr:
        # What a header can not hold would be quoted in the error of whoever tries to send it.
        if not token.get_secret_value().isascii() or not token.get_secret_value().isprintable():
            raise ValueError("the token has characters that no token has")
        return token

    @model_validator(mode="after")
    def _require_enough(self) -> Self:
        if not self.token.get_secret_value():
            raise ValueError("there is no token: set token or token_file")
        if not self.repository_host:
            raise ValueError(f"{self.kind} needs a host")
        if self.hook_url and self.kind != "github":
            raise ValueError("hook_url: only GitHub tells which deliveries have failed")
        try:
            PatternList.parse(self.repositories, ignore_case=True)
            PatternList.parse(self.branches)
        except PatternError as error:
            raise ValueError(f"repositories or branches: {error}") from None
        return self

    @property
    def repository_host(self) -> str:
        """What the keys of its repositories begin with, without the slash."""
        return self.host or _PUBLIC_HOSTS.get(self.kind, "")

    @property
    def api_url(self) -> str:
        """Where the API is, without a slash at the end."""
        host = self.repository_host
        return self.url or _OF_PUBLIC_HOST.get(host) or _OF_ANY_HOST[self.kind].format(host=host)

    def has(self, key: str) -> bool:
        """Whether the repository with that key is on its host and not left out."""
        if not key.startswith(f"{self.repository_host}/"):
            return False
        name = key.removeprefix(f"{self.repository_host}/")
        return not self.repositories or PatternList.parse(self.repositories, ignore_case=True).matches(key, name)

    def follows(self, branch: str) -> bool:
        """Whether that branch is not left out."""
        return not self.branches or PatternList.parse(self.branches).matches(branch)
