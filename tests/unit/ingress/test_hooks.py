"""Which secrets a hook has."""

import pytest

from ingress.hooks import GLOBAL, Hooks
from shared.errors import Misconfigured


def test_the_global_hook_has_its_secrets_in_order() -> None:
    assert Hooks(["new", "old"]).secrets_of(GLOBAL) == (b"new", b"old")


@pytest.mark.parametrize("secrets", [[], [""], ["  "], ["good", ""]])
def test_a_hook_that_would_be_open_to_everyone_does_not_start(secrets: list[str]) -> None:
    with pytest.raises(Misconfigured, match="KOMODO_WEBHOOK_SECRET"):
        Hooks(secrets)


def test_an_unknown_hook_has_as_many_secrets_as_the_global_one_and_none_of_them() -> None:
    hooks = Hooks(["new", "old"])

    unknown = hooks.secrets_of("nobody")

    assert [len(secret) for secret in unknown] == [3, 3]
    assert not set(unknown) & {b"new", b"old"}
    assert hooks.secrets_of("nobody") == unknown
