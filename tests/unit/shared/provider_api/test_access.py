"""A `[[provider_api]]`: where the API is, which repositories are its own, what is refused, and that the token never shows (I9)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from shared.errors import Misconfigured
from shared.provider_api.access import ProviderAccess
from shared.settings import WorkerSettings, load
from tests.unit.kgw.command import environment, kgw

TOKEN = "Xk7-a-token-that-never-shows"


def access(**values: Any) -> ProviderAccess:
    return ProviderAccess.model_validate({"kind": "github", "token": TOKEN} | values)


@pytest.mark.parametrize(
    ("values", "url"),
    [
        ({"kind": "github"}, "https://api.github.com"),
        ({"kind": "github", "host": "www.github.com"}, "https://api.github.com"),
        ({"kind": "github", "host": "github.example.com"}, "https://github.example.com/api/v3"),
        ({"kind": "gitlab"}, "https://gitlab.com/api/v4"),
        ({"kind": "gitlab", "host": "git.example.com/gitlab"}, "https://git.example.com/gitlab/api/v4"),
        ({"kind": "gitea", "host": "git.example.com"}, "https://git.example.com/api/v1"),
        ({"kind": "forgejo", "host": "codeberg.org"}, "https://codeberg.org/api/v1"),
        ({"kind": "bitbucket"}, "https://api.bitbucket.org/2.0"),
        ({"kind": "azure"}, "https://dev.azure.com"),
        ({"kind": "gitea", "host": "git.lan", "url": "http://10.0.0.5:3000/api/v1/"}, "http://10.0.0.5:3000/api/v1"),
    ],
)
def test_the_api_is_where_the_provider_has_it_or_where_it_was_said_to_be(values: dict[str, Any], url: str) -> None:
    assert access(**values).api_url == url


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"token": ""}, "there is no token"),
        ({"token": "a\nb"}, "characters that no token has"),
        ({"token": "schlüssel"}, "characters that no token has"),
        ({"kind": "gitea"}, "gitea needs a host"),
        ({"kind": "svn"}, "Input should be"),
        ({"host": "a b"}, "host: "),
        ({"url": "ftp://api.example.com"}, "url: write"),
        ({"url": "https://user:pass@api.example.com"}, "url: write"),
        ({"url": "https://api.example.com/?a=1"}, "url: write"),
        ({"url": "https://api.example.com:port"}, "url: write"),
        ({"kind": "gitlab", "hook_url": "https://hooks.example.com/"}, "only GitHub"),
        ({"repositories": "!"}, "repositories or branches"),
        ({"branches": "\\(\\"}, "repositories or branches"),
        ({"tokken": "x"}, "Extra inputs"),
        ({"token_file": "/nowhere/token", "token": ""}, "token_file: /nowhere/token can not be read"),
        ({"token_file": "/nowhere/token"}, "give one of them"),
    ],
)
def test_what_can_not_work_is_refused_and_not_repeated(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        access(**values)

    told = str(caught.value)
    assert said in told
    assert TOKEN not in told
    assert "user:pass" not in told


def test_a_token_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    assert access(token="", token_file=str(tmp_path / "token")).token.get_secret_value() == TOKEN


def test_a_token_file_that_is_no_text_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(TOKEN.encode() + b"\xff")

    with pytest.raises(ValidationError) as caught:
        access(token="", token_file=str(tmp_path / "token"))

    assert "is not UTF-8" in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_the_token_never_shows() -> None:
    assert TOKEN not in f"{access()!r} {access()} {access().model_dump()}"


@pytest.mark.parametrize(
    ("values", "key", "has"),
    [
        ({}, "github.com/acme/app", True),
        ({}, "github.com.example.com/acme/app", False),
        ({}, "gitlab.com/acme/app", False),
        ({"repositories": "acme/*"}, "github.com/acme/app", True),
        ({"repositories": "github.com/ACME/*"}, "github.com/acme/app", True),
        ({"repositories": "acme/*, !acme/app"}, "github.com/acme/app", False),
        ({"repositories": "other/*"}, "github.com/acme/app", False),
    ],
)
def test_an_access_has_the_repositories_of_its_host_that_are_not_left_out(
    values: dict[str, Any], key: str, has: bool
) -> None:
    assert access(**values).has(key) is has


def test_it_stands_as_tables_in_the_file(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        f'[[provider_api]]\nkind = "github"\ntoken = "{TOKEN}"\n\n'
        f'[[provider_api]]\nkind = "gitea"\nhost = "git.example.com"\ntoken = "{TOKEN}"\n'
    )
    with environment(KGW_CONFIG=str(config)):
        found = load(WorkerSettings).provider_api

    assert [one.repository_host for one in found] == ["github.com", "git.example.com"]


def test_it_stands_as_json_in_a_variable_or_its_file(tmp_path: Path) -> None:
    told = f'[{{"kind": "azure", "token": "{TOKEN}"}}]'
    (tmp_path / "apis").write_text(told)
    with environment(KGW_PROVIDER_API=told):
        by_value = load(WorkerSettings).provider_api
    with environment(KGW_PROVIDER_API_FILE=str(tmp_path / "apis")):
        by_file = load(WorkerSettings).provider_api

    assert by_value == by_file == [access(kind="azure")]


@pytest.mark.parametrize("told", [f"{TOKEN}", f'{{"token": "{TOKEN}"}}', f'[{{"kind": "gitea", "token": "{TOKEN}"}}]'])
def test_a_bad_one_is_told_by_its_key_and_without_the_token(told: str) -> None:
    with environment(KGW_PROVIDER_API=told), pytest.raises(Misconfigured) as caught:
        load(WorkerSettings)

    assert caught.value.reason.startswith("KGW_PROVIDER_API: ")
    assert TOKEN not in caught.value.reason


def test_a_bad_one_among_several_is_told_by_its_place_and_key() -> None:
    told = f'[{{"kind": "github", "token": "{TOKEN}"}}, {{"kind": "svn", "token": "{TOKEN}"}}]'
    with environment(KGW_PROVIDER_API=told), pytest.raises(Misconfigured, match=r"KGW_PROVIDER_API: 1: kind: Input"):
        load(WorkerSettings)


@pytest.mark.parametrize("form", ["table", "json"])
def test_i9_the_settings_are_printed_without_it(form: str) -> None:
    with environment(KGW_PROVIDER_API=f'[{{"kind": "github", "token": "{TOKEN}"}}]'):
        ended = kgw("config", "--format", form)

    assert ended.code == 0
    assert "github" in ended.out
    assert TOKEN not in ended.out + ended.err
