"""A named hook's versions: which of its secrets count, and until when."""

from __future__ import annotations

from base64 import b64decode
from datetime import timedelta

import pytest
from pydantic import ValidationError

from shared.hook import MAX_SECRETS, SealedHook, new_secret
from tests.builders import NOON, at
from tests.named_hooks import a_hook, sealed

HOUR = timedelta(hours=1)


def ends(hook: SealedHook) -> list[float | None]:
    """When the secrets end, newest first, in seconds after noon."""
    instants = (secret.expires_at for secret in hook.secrets)
    return [None if instant is None else (instant - NOON).total_seconds() for instant in instants]


def test_a_rotation_puts_the_new_secret_first_and_lets_the_old_one_end() -> None:
    hook = a_hook("web", "old").rotated("new", now=at(60), grace=HOUR)

    assert hook.secrets[0].sealed == "new"
    assert ends(hook) == [None, 3660]
    assert hook.secrets[1].is_valid(at(3659))
    assert not hook.secrets[1].is_valid(at(3660))


def test_without_grace_the_old_secrets_are_gone() -> None:
    hook = a_hook("web", "old").rotated("new", now=at(60), grace=timedelta())

    assert ends(hook) == [None]


def test_a_secret_that_ends_earlier_still_does() -> None:
    hook = a_hook("web", "old").rotated("newer", now=NOON, grace=HOUR).rotated("newest", now=NOON, grace=2 * HOUR)

    assert ends(hook) == [None, 7200, 3600]


def test_a_shorter_grace_ends_all_of_them() -> None:
    hook = a_hook("web", "old").rotated("newer", now=NOON, grace=2 * HOUR).rotated("newest", now=NOON, grace=HOUR)

    assert ends(hook) == [None, 3600, 3600]


def test_what_has_ended_is_forgotten() -> None:
    hook = a_hook("web", sealed("web", "old"), sealed("web", "older", until=at(-1)))

    assert ends(hook.rotated("new", now=NOON, grace=HOUR)) == [None, 3600]


def test_a_hook_keeps_the_newest_secrets_only() -> None:
    hook = a_hook("web", "first")
    for number in range(2 * MAX_SECRETS):
        hook = hook.rotated(str(number), now=NOON, grace=HOUR)

    assert [secret.sealed for secret in hook.secrets] == ["9", "8", "7", "6", "5"]


def test_no_two_versions_have_one_instant() -> None:
    """A clock that stands still or goes back must not make a change look like the version before."""
    versions = [a_hook("web", "secret")]
    for seconds in (0, 0, -5, 5):
        versions.append(versions[-1].changed(now=at(seconds)))

    assert len({version.changed_at for version in versions}) == len(versions)
    assert versions == sorted(versions, key=lambda version: version.changed_at)


@pytest.mark.parametrize("name", ["", "Web", "we b", "../web", "web/a", "-web", "w" * 64, "wéb", "web\n"])
def test_a_name_stands_in_a_url_as_it_is(name: str) -> None:
    with pytest.raises(ValidationError):
        a_hook(name, "secret")


@pytest.mark.parametrize("size", [0, 1023, 100 * 1024 * 1024 + 1])
def test_a_size_has_bounds(size: int) -> None:
    with pytest.raises(ValidationError):
        a_hook("web", "secret", max_body_bytes=size)


def test_the_json_of_a_hook_is_the_hook() -> None:
    hook = a_hook("web", "new", sealed("web", "old", until=at(0.000001)), provider="gitlab", options={"a": [1]})

    assert SealedHook.model_validate_json(hook.model_dump_json()) == hook


def test_a_secret_has_32_random_bytes() -> None:
    token, signing = new_secret(is_signing=False), new_secret(is_signing=True)

    assert len(b64decode(token + "=", altchars=b"-_", validate=True)) == 32
    assert len(b64decode(signing.removeprefix("whsec_"), validate=True)) == 32
    assert len({new_secret(is_signing=False) for _ in range(100)}) == 100
