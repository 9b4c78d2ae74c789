"""Which hook an address has, and which secrets count there, and when."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from ingress.hooks import Hook, Hooks, configured
from ingress.providers import PROVIDERS
from shared.errors import Misconfigured
from shared.hook import GLOBAL, SealedHook
from shared.sealing import Sealing
from tests.builders import NOON, at
from tests.named_hooks import SEALING, a_hook, sealed


def hooks_with(*kept: SealedHook, sealing: Sealing = SEALING) -> Hooks:
    """The global hook with one secret, and these."""
    hooks = Hooks(["global secret"])
    hooks.take(kept, sealing)
    return hooks


def known(hook: Hook) -> set[bytes]:
    """Those of the secrets that somebody knows."""
    return set(hook.secrets_at(NOON)) & {b"global secret", b"new", b"old", b"web secret"}


def test_the_global_hook_has_its_secrets_in_order() -> None:
    assert Hooks(["new", "old"]).find("github", GLOBAL).secrets_at(NOON) == (b"new", b"old")


@pytest.mark.parametrize("secrets", [[], [""], ["  "], ["good", ""]])
def test_a_hook_that_would_be_open_to_everyone_does_not_start(secrets: list[str]) -> None:
    with pytest.raises(Misconfigured, match="KOMODO_WEBHOOK_SECRET"):
        Hooks(secrets)


def test_a_named_hook_has_its_own_secrets_at_every_provider() -> None:
    hooks = hooks_with(a_hook("web", "web secret"))

    assert all(known(hooks.find(auth, "web")) == {b"web secret"} for auth in PROVIDERS)
    assert known(hooks.find("github", GLOBAL)) == {b"global secret"}


STRANGERS: dict[str, tuple[str, str]] = {
    "an unknown name": ("github", "nobody"),
    "another provider's hook": ("gitlab", "web"),
    "a disabled hook": ("github", "off"),
    "a hook that was sealed with another key": ("github", "foreign"),
}


@pytest.mark.parametrize(("auth", "name"), STRANGERS.values(), ids=STRANGERS)
def test_an_address_without_a_usable_hook_has_a_decoy(auth: str, name: str) -> None:
    hooks = hooks_with(
        a_hook("web", "web secret", provider="github"),
        a_hook("off", "web secret", disabled=True),
        a_hook("foreign", sealed("foreign", "web secret", sealing=Sealing("f" * 32))),
    )

    decoy = hooks.find(auth, name)

    assert known(decoy) == set()
    assert decoy.provider is PROVIDERS[auth]
    assert decoy.secrets_at(NOON) == hooks.find(auth, name).secrets_at(at(1e9))
    assert (decoy.max_body_bytes, decoy.allowed) == (None, None)


def test_every_address_has_as_many_secrets_as_the_hook_with_the_most() -> None:
    """The time that refusing takes must not tell which hooks exist, nor that one is being rotated."""
    old = sealed("web", "old", until=at(60))
    hooks = hooks_with(a_hook("web", "new", old, sealed("web", "older")), a_hook("other", "web secret"))

    names = ("web", "other", "nobody", GLOBAL)
    counts = {len(hooks.find(auth, name).secrets_at(at(s))) for auth in PROVIDERS for name in names for s in (0, 60)}
    assert counts == {3}


def test_what_pads_a_hook_is_known_to_nobody() -> None:
    hooks = hooks_with(a_hook("web", "new", "old"))

    padding = [hooks.find(auth, GLOBAL).secrets_at(NOON)[1] for auth in PROVIDERS]
    assert len(set(padding)) == len(PROVIDERS)
    assert all(len(secret) >= 32 for secret in padding)


def test_an_old_secret_counts_until_it_ends_and_the_others_keep_their_position() -> None:
    hook = hooks_with(
        a_hook("web", "new", sealed("web", "old", until=at(60)), sealed("web", "older", until=at(120)))
    ).find("github", "web")

    assert hook.secrets_at(at(59.9)) == (b"new", b"old", b"older")
    new, ended, older = hook.secrets_at(at(60))
    assert (new, older) == (b"new", b"older")
    assert ended not in (b"new", b"old", b"older")
    assert len(ended) == 32


def test_what_was_taken_last_is_in_force() -> None:
    hooks = hooks_with(a_hook("web", "old"), a_hook("gone", "web secret"))

    hooks.take([a_hook("web", "new")], SEALING)

    assert known(hooks.find("github", "web")) == {b"new"}
    assert known(hooks.find("github", "gone")) == set()
    assert len(hooks.find("github", "web").secrets_at(NOON)) == 1


def test_nothing_takes_the_place_of_the_global_hook() -> None:
    hooks = hooks_with(a_hook(GLOBAL, "web secret"))

    assert known(hooks.find("github", GLOBAL)) == {b"global secret"}


BROKEN: dict[str, dict[str, Any]] = {
    "a provider of a later version": {"provider": "smoke-signals"},
    "a pattern that is none": {"repositories": "\\(\\"},
    "options of another provider": {"provider": "github", "options": {}},
    "options that are none": {"provider": "generic", "options": {"no such": 1}},
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_hook_that_can_not_be_used_is_left_out_with_a_warning(broken: dict[str, Any]) -> None:
    """It must not become a hook without its limits."""
    hooks = Hooks(["global secret"])

    with structlog.testing.capture_logs() as lines:
        usable = hooks.take([a_hook("bad", "web secret", **broken), a_hook("web", "web secret")], SEALING)

    assert usable == 1
    assert [known(hooks.find(auth, "bad")) for auth in PROVIDERS] == [set()] * len(PROVIDERS)
    assert known(hooks.find("github", "web")) == {b"web secret"}
    assert [(line["event"], line["hook"], line["log_level"]) for line in lines] == [("hook_left_out", "bad", "warning")]
    assert lines[0]["reason"]


def test_a_wrong_key_is_a_warning_that_names_it() -> None:
    with structlog.testing.capture_logs() as lines:
        hooks = hooks_with(a_hook("web", "web secret"), sealing=Sealing("another key, of 32 characters or more"))

    assert known(hooks.find("github", "web")) == set()
    assert [line["event"] for line in lines] == ["hook_secret_left_out", "hook_left_out"]
    assert all("KGW_SECRET_KEY" in line["reason"] for line in lines)


def test_a_new_key_reads_what_was_made_with_it() -> None:
    """So a hook can be rotated after its key was lost."""
    hooks = hooks_with(a_hook("web", "new", sealed("web", "old", sealing=Sealing("f" * 32))))

    assert known(hooks.find("github", "web")) == {b"new"}


def test_a_secret_of_another_hook_is_not_taken_for_its_own() -> None:
    hooks = hooks_with(a_hook("web", sealed("other", "web secret")))

    assert known(hooks.find("github", "web")) == set()


def test_no_secret_shows_in_what_a_hook_prints() -> None:
    hook = hooks_with(a_hook("web", "web secret")).find("github", "web")

    assert "web secret" not in f"{hook!r} {hook.secrets[0]!r}"


def test_a_generic_hook_reads_by_its_own_options() -> None:
    plain, own = configured("generic", {}), configured("generic", {"verify": {"way": "token"}})

    assert plain is not own
    assert configured("github", None) is PROVIDERS["github"]


def test_what_the_log_may_name_is_only_a_hook_that_there_is() -> None:
    hooks = Hooks(["a secret of the tests"])

    assert hooks.knows("github", "global")
    assert not hooks.knows("github", "a-token-in-the-wrong-place")
