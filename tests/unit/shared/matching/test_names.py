"""What an event's repository may be called."""

from __future__ import annotations

from shared.event import Repository
from shared.matching.repository import key_or_none, keys_of, names_of

TWO_HOSTS = Repository(
    key="git.example.com/acme/app",
    full_name="Acme/App",
    urls=("https://git.example.com/Acme/App.git", "ssh://git@ssh.example.com:2222/acme/app.git", "not a url", ""),
)


def test_every_url_gives_a_key_and_what_is_no_url_gives_none() -> None:
    assert keys_of(TWO_HOSTS) == {"git.example.com/acme/app", "ssh.example.com/acme/app"}


def test_the_names_are_the_keys_and_the_full_name_in_lower_case() -> None:
    assert names_of(TWO_HOSTS) == ("git.example.com/acme/app", "ssh.example.com/acme/app", "acme/app")


def test_an_event_without_a_repository_has_no_names() -> None:
    assert keys_of(None) == frozenset()
    assert names_of(None) == ()


def test_a_repository_without_urls_has_its_full_name() -> None:
    assert names_of(Repository(full_name="Acme/App")) == ("acme/app",)


def test_komodos_two_fields_are_a_key_or_nothing() -> None:
    assert key_or_none("GitHub.com", "Acme/App") == "github.com/acme/app"
    assert key_or_none("https://git.example.com", "acme/app") == "git.example.com/acme/app"
    assert key_or_none("github.com", "") is None
    assert key_or_none("", "acme/app") is None
    assert key_or_none("github.com", "../../etc") is None
